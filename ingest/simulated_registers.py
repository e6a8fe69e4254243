"""The registers of the made-up park: digits, multiplier and tenure put on what truly flows."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from math import ceil, floor
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ingest.simulated_loads import STEP, generator
from metering.meter_points import Meter, MeterPoint
from metering.periods import Period
from metering.readings import Floats
from metering.units import REGISTERS, Kind, unit_ratio

ENERGY: Final = {
    "electricity": "active_import",
    "heat": "heat",
    "gas": "gas_volume",
    "water": "water_volume",
}
"""The register that is a carrier's figure."""

DECIMALS: Final = {
    "active_import": 2, "active_export": 2, "active_power": 4, "heat": 1, "volume": 2,
    "volume_supply_temperature": 0, "volume_return_temperature": 0, "supply_temperature": 1,
    "return_temperature": 1, "flow": 2, "gas_volume": 2, "water_volume": 3, "air_temperature": 1,
}  # fmt: skip
"""Digits after the point that a register shows unless loads.yaml says otherwise."""


@dataclass(frozen=True, slots=True, eq=False)
class Signal:
    """What a register of a point counts or shows, before any meter."""

    register: str
    values: Floats
    """Counters: the amount of each step, canonical. Others: the value at each instant."""
    decimals: int | None = None
    """Digits after the point; None: the register's usual ones."""
    unit: str | None = None
    """The unit the meter sends; None: the canonical one, unsaid."""


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """One register of one meter while it served a point, and what it truly showed."""

    point: str
    serial: str
    register: str
    first: int
    """The first instant at which it is read; instants are the edges of the year's steps."""
    counts: NDArray[np.int64]
    """At each instant from `first` on, in units of the last digit, not rolled over."""
    before: int
    """What it showed when its time began, in the same counts."""
    decimals: int
    ratio: float
    """From the unit it shows to the canonical one. [1]"""
    multiplier: float
    capacity: int | None
    """In counts; None: it never rolls over."""
    cumulative: bool = True
    unit: str | None = None
    """The unit it sends; None: the canonical one, unsaid."""
    for_good: bool = True
    """Whether the meter stays after the year."""
    year: Floats = field(default_factory=lambda: np.empty(0))
    """For each instant of the whole year, whoever metered it: what had passed by then, or what is
    shown then; in counts of this meter. What comes after the year is made of it."""

    @property
    def last(self) -> int:
        """The last instant at which it is read."""
        return self.first + len(self.counts) - 1

    def shown(self, low: int, high: int) -> Floats:
        """What it shows at the instants low ≤ i < high, all within its time, in its own unit."""
        counts = self.counts[low - self.first : high - self.first]
        if self.capacity is not None:
            counts = counts % self.capacity
        shown: Floats = counts / 10**self.decimals
        return shown

    def serves(self, position: float) -> bool:
        """Whether the meter is read at a position in steps; the last one of the year for ever."""
        return position >= self.first and (position <= self.last or self.for_good)

    def shown_at(self, position: float, *, cycle: int) -> float:
        """What it shows between or after the instants of the year, in its own unit.

        Args:
            position: In steps since the year began, within the meter's time.
            cycle: So many last steps of the year come again and again after it.
        """
        if position <= self.last:
            place = position - self.first
            if self.cumulative:
                counts = floor(np.interp(place, np.arange(len(self.counts)), self.counts))
            else:
                counts = int(self.counts[ceil(place)])
        else:
            counts = self._after_the_year(position, cycle)
        if self.capacity is not None:
            counts %= self.capacity
        return float(counts / 10**self.decimals)

    def _after_the_year(self, position: float, cycle: int) -> int:
        end = len(self.year) - 1
        start = end - cycle
        again, rest = divmod(position - end, cycle)
        if not self.cumulative:
            return round(float(self.year[ceil(start + rest)]))
        passed = np.interp(start + rest, np.arange(end + 1), self.year) - self.year[start]
        counted = again * (self.year[end] - self.year[start]) + passed
        return int(self.counts[-1]) + floor(float(counted))

    def advance(self, low: int, high: int) -> int:
        """How many counts it made in the steps low ≤ k < high."""
        start = self.before if low < self.first else self.counts[min(low, self.last) - self.first]
        stop = self.before if high < self.first else self.counts[min(high, self.last) - self.first]
        return int(stop) - int(start)

    def amount(self, counts: int | NDArray[np.int64]) -> float | Floats:
        """Counts in the canonical unit, after the multiplier."""
        amount: float | Floats = counts * self.multiplier * self.ratio / 10**self.decimals
        return amount


def run_of(
    signal: Signal,
    point: MeterPoint,
    meter: Meter,
    period: Period,
    *,
    seed: int,
    rolls_over: datetime | None = None,
) -> Run:
    """Let a meter count a signal while it serves the point.

    Its register begins where the exchange record says; else so that it ends there, or rolls over
    in the quarter hour after `rolls_over`; else somewhere far from its capacity.
    """
    kind = REGISTERS[signal.register]
    cumulative = kind.kind is Kind.CUMULATIVE
    decimals = DECIMALS[signal.register] if signal.decimals is None else signal.decimals
    ratio = unit_ratio(signal.unit, to=kind.unit) if signal.unit else 1.0
    multiplier = meter.multiplier if kind.multiplied else 1.0
    scale = multiplier * ratio / 10**decimals
    begin, end = (_position(instant, period) for instant in (meter.starts, meter.ends))
    first, last = int(np.ceil(begin)), int(np.floor(end))
    per_unit = 10**decimals / ratio
    capacity = meter.capacity_of(signal.register) if cumulative else None
    in_counts = None if capacity is None else round(capacity * per_unit)
    if cumulative:
        at = np.concatenate([[begin], np.arange(first, last + 1), [end]])
        counts = np.floor(_passed(signal, at, since=begin) / scale).astype(np.int64)
        start = _recorded_start(counts, meter, signal.register, per_unit)
        if start is None and rolls_over is not None and in_counts is not None:
            step = int(_position(rolls_over, period)) - first + 1
            start = in_counts - int(counts[step] + counts[step + 1]) // 2
        if start is None:
            rng = generator(seed, f"{meter.serial} {signal.register}")
            start = int(rng.integers(5_000 * 10**decimals, 60_000 * 10**decimals))
        counts += start
        before, counts = int(counts[0]), counts[1:-1]
        year = np.concatenate([[0.0], np.cumsum(signal.values)]) / scale
    else:
        year = signal.values / scale
        counts = np.round(year[first : last + 1]).astype(np.int64)
        before = int(counts[0])
    return Run(
        point.id, meter.serial, signal.register, first, counts, before, decimals, ratio,
        multiplier, in_counts, cumulative, signal.unit, meter.removed is None, year,
    )  # fmt: skip


def _recorded_start(
    counts: NDArray[np.int64], meter: Meter, register: str, per_unit: float
) -> int | None:
    """What a register began at so that it shows what the exchange record says.

    Args:
        counts: What it counted from its beginning, at its installation first, at its removal last.
        meter: With its record.
        register: Which of its registers.
        per_unit: Counts in one canonical unit.

    Returns:
        None where nothing is recorded.
    """
    for fixture, counted in ((meter.installed, counts[0]), (meter.removed, counts[-1])):
        if fixture is not None and register in fixture.registers:
            return round(fixture.registers[register] * per_unit) - int(counted)
    return None


def unmetered_of(signal: Signal, point: MeterPoint, period: Period) -> float:
    """What flowed in the year while the point had no meter, in the canonical unit."""
    lost = 0.0
    for before, after in pairwise(point.meters):
        low, high = (_position(instant, period) for instant in (before.ends, after.starts))
        lost += float(_passed(signal, np.array([high]), since=low)[0])
    return lost


def _position(instant: datetime, period: Period) -> float:
    """An instant in steps since the year began, clipped to the year."""
    inside = min(max(instant, period.start), period.end)
    return (inside - period.start) / STEP


def _passed(signal: Signal, at: Floats, *, since: float) -> Floats:
    """What passed from one position to others, evenly within a step, in the canonical unit."""
    total = np.concatenate([[0.0], np.cumsum(signal.values)])
    edges = np.arange(len(total), dtype=np.float64)
    passed: Floats = np.interp(at, edges, total) - np.interp(since, edges, total)
    return passed
