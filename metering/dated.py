"""Attributes that change over time, in a site's own days."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from zoneinfo import ZoneInfo

from metering.periods import Period, local_day, midnight


@dataclass(frozen=True, slots=True)
class DatedValue:
    """A value with the site days on which it holds; None: since ever, for ever."""

    value: float
    valid_from: date | None = None
    valid_until: date | None = None


@dataclass(frozen=True, slots=True)
class Dated:
    """An attribute that changes, such as an area. Values are in order and do not overlap."""

    values: tuple[DatedValue, ...] = ()

    @property
    def known(self) -> bool:
        """Whether anything is known at all."""
        return bool(self.values)

    def on(self, day: date) -> float | None:
        """The value on a site day; None where it is not known."""
        for each in self.values:
            after = each.valid_from is None or each.valid_from <= day
            if after and (each.valid_until is None or day < each.valid_until):
                return each.value
        return None

    def mean(self, period: Period, *, tz: ZoneInfo) -> float | None:
        """The mean over a period, weighted by time; None if any of it is not known."""
        if period.start == period.end:
            return self.on(local_day(period.start, tz=tz))
        parts: list[tuple[float, float]] = []
        for each in self.values:
            start, end = period.start, period.end
            if each.valid_from is not None:
                start = max(start, midnight(each.valid_from, tz=tz))
            if each.valid_until is not None:
                end = min(end, midnight(each.valid_until, tz=tz))
            if start < end:
                parts.append((each.value, (end - start).total_seconds()))
        if sum(seconds for _, seconds in parts) != period.seconds:
            return None
        if len(parts) == 1:
            return parts[0][0]
        return sum(value * seconds for value, seconds in parts) / period.seconds


NEVER_KNOWN = Dated()
"""An attribute of which nothing is known."""


@dataclass(frozen=True, slots=True)
class HeatingSeason:
    """The days on which a site is heated, given as month and day; `until` is not included."""

    first: tuple[int, int]
    until: tuple[int, int]

    def days(self, year: int) -> tuple[date, date]:
        """First day and first day after of the season that begins in `year`."""
        start = date(year, *self.first)
        end = date(year, *self.until)
        return start, end if end > start else date(year + 1, *self.until)
