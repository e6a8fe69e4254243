"""What the meters of the made-up park truly metered: the figures everything else is held against.

The truth is what the true registers counted, in whole counts of their last digit: the sum over any
span is exactly the register at its end minus the register at its start, times the multiplier.
What flowed while a point had no meter (an exchange) is no part of it; `unmetered` has that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Final

from ingest.simulated_loads import STEP
from ingest.simulated_registers import ENERGY, Run
from metering.periods import Every, Period, Times, edges, from_us
from metering.sites import Part, Site

MJ_PER_KWH: Final = 3.6


class NoTruth(LookupError):
    """The park has no such register, or the span is not one of whole quarter hours of its year."""


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """The year of the park, as its registers counted it."""

    site: Site
    period: Period
    runs: Mapping[tuple[str, str], Sequence[Run]]
    """Point and cumulative register -> the meters that counted it, oldest first."""
    unmetered: Mapping[tuple[str, str], float]
    """What flowed while a point had no meter, in the canonical unit."""

    def index(self, instant: datetime) -> int:
        """Which edge of the year's steps an instant is.

        Raises:
            NoTruth: It is none.
        """
        number, rest = divmod(instant - self.period.start, STEP)
        if rest or not self.period.start <= instant <= self.period.end:
            raise NoTruth(f"Wanted a quarter hour within {self.period}, found {instant}.")
        return number

    def amount(self, point: str, register: str, period: Period | None = None) -> float:
        """What a register of a point counted in a period, the year if None, in its canonical unit.

        Raises:
            NoTruth: There is no such register, or the period has no quarter-hour edges.
        """
        low, high = self._span(period)
        return float(sum(run.amount(run.advance(low, high)) for run in self._runs(point, register)))

    def amounts(
        self, point: str, register: str, every: Every, period: Period | None = None
    ) -> list[float]:
        """The same for each interval of a period, in the site's own time."""
        return [self.amount(point, register, each) for each in self.intervals(every, period)]

    def months(self, point: str, register: str) -> list[float]:
        """The twelve months."""
        return self.amounts(point, register, "month")

    def intervals(self, every: Every, period: Period | None = None) -> list[Period]:
        """The intervals of a period, the year if None."""
        marks: Times = edges(period or self.period, every, tz=self.site.timezone)
        ends = [from_us(mark) for mark in marks]
        return [Period(start, end) for start, end in pairwise(ends)]

    def used(
        self, carrier: str, building: str | None = None, period: Period | None = None
    ) -> float:
        """What a building or the whole park used of a carrier: kWh, water m³.

        Import + own generation - export of the boundary points; gas by its net calorific value.
        """
        total = 0.0
        for each in self.site.boundary(carrier, building):
            total += each.sign * self.point_used(each.point.id, period)
            back = (each.point.id, "active_export")
            if each.part is not Part.GENERATION and back in self.runs:
                total -= each.sign * self.amount(*back, period)
        return total

    def point_used(self, point: str, period: Period | None = None) -> float:
        """A point's own figure, what its carrier's register counted: kWh, water m³."""
        place = self.site.point(point)
        register = ENERGY.get(place.carrier, "")
        if place.role == Part.GENERATION and (point, "active_export") in self.runs:
            register = "active_export"
        amount = self.amount(point, register, period)
        if place.carrier == "gas" and place.net_calorific_value_mj_m3 is not None:
            amount *= place.net_calorific_value_mj_m3 / MJ_PER_KWH
        return amount

    def _runs(self, point: str, register: str) -> Sequence[Run]:
        found = self.runs.get((point, register))
        if found is None:
            known = ", ".join(sorted(r for p, r in self.runs if p == point)) or "none"
            raise NoTruth(f"No register {register!r} counts at {point!r}; it has: {known}.")
        return found

    def _span(self, period: Period | None) -> tuple[int, int]:
        span = period or self.period
        return self.index(span.start), self.index(span.end)
