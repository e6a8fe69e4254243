"""Increments -> intervals: energy spread over time, with coverage and the share that is measured.

Energy is conserved: an increment is spread evenly over its own time and every part of it lands in
exactly one interval. Each interval is summed from its own parts in the order of time, so that the
same increments give the same bits whatever else is computed beside them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from metering.periods import Every, Period, Times, edges, from_us, local_day, midnight, to_us
from metering.readings import Codes, Flag, Floats
from metering.registers import Increments, Marks
from metering.series import Series

MEASURED_FOR: tuple[Every, ...] = ("hour", "day", "month", "year")
"""The calendar intervals for which an hour keeps how much of it counts as measured."""


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """The intervals of a span, and how long the calendar intervals around each are."""

    edges: Times
    """Shape (m + 1,)."""
    limits_us: NDArray[np.int64]
    """The longest increment that counts as measured, per kind of interval. Shape (k, m). [us]"""

    def __len__(self) -> int:
        return len(self.edges) - 1

    @classmethod
    def hours(cls, period: Period, *, tz: ZoneInfo) -> Cells:
        """A site's hours, with the lengths of the hour, day, month and year that hold each."""
        marks = edges(period, "hour", tz=tz)
        limits = [np.diff(marks).astype(np.int64)]
        limits += [_calendar_length(marks, every, tz=tz) for every in MEASURED_FOR[1:]]
        return cls(marks, np.stack(limits))

    @classmethod
    def plain(cls, period: Period, every: Every, *, tz: ZoneInfo) -> Cells:
        """Intervals of one kind; each is its own measure."""
        marks = edges(period, every, tz=tz)
        return cls(marks, np.diff(marks).astype(np.int64)[None, :])


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """What is known of every cell of every stream. Shape (streams, m), measured (k, streams, m)."""

    amount: Floats
    """NaN where nothing is known."""
    coverage: Floats
    measured: Floats
    flags: Codes


def spread(steps: Increments, marks: Marks, cells: Cells, *, streams: int) -> Grid:
    """Spread increments evenly over their time, into cells.

    Args:
        steps: Sorted by stream and time; unknown amounts are NaN and cover nothing.
        marks: Readings set aside; their flags go to the cell that holds them.
        cells: The intervals wanted; what lies outside is left out.
        streams: How many streams there are; `steps.stream` counts from 0.
    """
    bounds = cells.edges.astype(np.int64)
    start, end = steps.start.astype(np.int64), steps.end.astype(np.int64)
    low, high = np.maximum(start, bounds[0]), np.minimum(end, bounds[-1])
    inside = np.flatnonzero(low < high)
    first = np.searchsorted(bounds, low[inside], side="right") - 1
    last = np.searchsorted(bounds, high[inside], side="left") - 1
    count = last - first + 1
    part = np.repeat(inside, count)
    within = np.arange(len(part)) - np.repeat(np.cumsum(count) - count, count)
    cell = np.repeat(first, count) + within
    time = np.minimum(high[part], bounds[cell + 1]) - np.maximum(low[part], bounds[cell])
    whole = end[part] - start[part]
    amount = steps.amount[part] * (time / whole)
    place = steps.stream[part].astype(np.int64) * len(cells) + cell
    size = streams * len(cells)
    known = ~np.isnan(amount)
    counts = known & ((steps.flags[part] & Flag.GAP) == 0)

    total = np.bincount(place[known], amount[known], minlength=size)
    covered = np.bincount(place[known], time[known], minlength=size)
    duration = np.tile(np.diff(bounds), streams).astype(np.float64)
    measured = []
    for limit in cells.limits_us:
        short = counts & (whole <= limit[cell])
        measured.append(np.bincount(place[short], time[short], minlength=size) / duration)
    flags = np.zeros(size, np.int32)
    flagged = np.flatnonzero(steps.flags[part])
    np.bitwise_or.at(flags, place[flagged], steps.flags[part[flagged]])
    _mark(flags, marks, bounds)
    shape = (streams, len(cells))
    return Grid(
        amount=np.where(covered > 0, total, np.nan).reshape(shape),
        coverage=(covered / duration).reshape(shape),
        measured=np.stack(measured).reshape(len(measured), *shape),
        flags=flags.reshape(shape),
    )


def _mark(flags: Codes, marks: Marks, bounds: NDArray[np.int64]) -> None:
    cell = np.searchsorted(bounds, marks.read_at.astype(np.int64), side="right") - 1
    inside = (cell >= 0) & (cell < len(bounds) - 1)
    place = marks.stream[inside].astype(np.int64) * (len(bounds) - 1) + cell[inside]
    np.bitwise_or.at(flags, place, marks.flags[inside])


def _calendar_length(marks: Times, every: Every, *, tz: ZoneInfo) -> NDArray[np.int64]:
    """The length of the calendar day, month or year around each cell. Shape (m,). [us]."""
    first, last = from_us(marks[0]), from_us(marks[-1])
    begin = local_day(first, tz=tz)
    begin = begin.replace(day=1) if every != "day" else begin
    begin = begin.replace(month=1) if every == "year" else begin
    end = local_day(last, tz=tz)
    stop = date(end.year + 1, 1, 1) if every == "year" else date.fromordinal(end.toordinal() + 32)
    stop = stop.replace(day=1) if every == "month" else stop
    around = edges(Period(midnight(begin, tz=tz), midnight(stop, tz=tz)), every, tz=tz)
    which = np.searchsorted(around, marks[:-1], side="right") - 1
    return np.diff(around).astype(np.int64)[which]


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """The rows of an answer: one for every interval of the asked span. Shape (m,)."""

    edges: Times
    """Shape (m + 1,)."""
    value: Floats
    coverage: Floats
    measured: Floats
    flags: Codes

    @classmethod
    def unknown(cls, marks: Times) -> Rows:
        """Intervals of which nothing is known."""
        size = len(marks) - 1
        none = np.zeros(size)
        return cls(marks, np.full(size, np.nan), none, none, np.zeros(size, np.int32))

    def flagged(self) -> Rows:
        """The same with `interpolated` where some of what is known is not measured."""
        loose = self.measured < self.coverage
        flags = self.flags | np.where(loose, np.int32(Flag.INTERPOLATED), np.int32(0))
        return Rows(self.edges, self.value, self.coverage, self.measured, flags)


def of_grid(grid: Grid, cells: Cells, stream: int) -> Rows:
    """One stream of a grid as the rows of an answer."""
    return Rows(
        cells.edges,
        grid.amount[stream],
        grid.coverage[stream],
        grid.measured[0][stream],
        grid.flags[stream],
    )


def roll_up(hours: Series, marks: Times, every: Every) -> Rows:
    """Add up the hours of one subject and quantity into calendar intervals.

    Args:
        hours: Sorted by start; hours that are missing are unknown.
        marks: Edges of the intervals, as `edges` gives them. Shape (m + 1,).
        every: Which kind of interval they are; decides what counts as measured.
    """
    size = len(marks) - 1
    cell = np.searchsorted(marks, hours.start, side="right") - 1
    inside = (cell >= 0) & (cell < size)
    if not inside.all():
        hours, cell = hours.take(inside), cell[inside]
    known = ~np.isnan(hours.value)
    total = np.bincount(cell[known], hours.value[known], minlength=size)
    covered = np.bincount(cell, hours.coverage * hours.duration_s, minlength=size)
    share = getattr(hours, f"measured_{every}")
    measured = np.bincount(cell, share * hours.duration_s, minlength=size)
    duration = np.diff(marks).astype(np.int64) / 1e6
    flags = np.zeros(size, np.int32)
    np.bitwise_or.at(flags, cell, hours.flags)
    anything = np.bincount(cell[known], minlength=size) > 0
    return Rows(
        marks, np.where(anything, total, np.nan), covered / duration, measured / duration, flags
    )


def combine(parts: list[tuple[Rows, float]], shared: int | None = None) -> Rows:
    """Add rows of several points, each with its sign.

    The value is the sum of what is known, unknown only where nothing is. Coverage and measured are
    the unweighted mean over the points.

    Args:
        parts: Rows over the same edges, with +1 or -1. At least one.
        shared: Over how many points the shares are averaged, if not over all parts.
    """
    first = parts[0][0]
    values = np.stack([rows.value * sign for rows, sign in parts])
    known = ~np.isnan(values)
    total = np.zeros(values.shape[1])
    for row in np.where(known, values, 0.0):
        total = total + row
    count = float(shared if shared is not None else len(parts))
    coverage = np.zeros(values.shape[1])
    measured = np.zeros(values.shape[1])
    flags = np.zeros(values.shape[1], np.int32)
    for rows, _ in parts:
        coverage = coverage + rows.coverage
        measured = measured + rows.measured
        flags |= rows.flags
    return Rows(
        first.edges,
        np.where(known.any(axis=0), total, np.nan),
        coverage / count,
        measured / count,
        flags,
    )


def hour_rows(
    grid: Grid,
    cells: Cells,
    *,
    subjects: list[str],
    quantities: list[str],
    sources: list[str],
    window: list[Period] | None = None,
) -> Series:
    """The hours of a grid about which something is known or to be said, as a `Series`.

    Args:
        grid: One row for every stream; four kinds of measured shares (hour, day, month, year).
        cells: The hours.
        subjects: The meter point of each stream.
        quantities: The register of each stream.
        sources: What each stream was made from.
        window: The hours each stream is asked for; all if None.
    """
    keep = (grid.coverage > 0) | (grid.flags != 0)
    if window is not None:
        for row, period in enumerate(window):
            low, high = np.searchsorted(cells.edges, [to_us(period.start), to_us(period.end)])
            keep[row, :low] = False
            keep[row, high:] = False
    stream, cell = np.nonzero(keep)
    table: dict[str, dict[str, int]] = {"s": {}, "q": {}, "m": {}}
    code = {
        key: np.array([table[key].setdefault(n, len(table[key])) for n in names], np.int32)
        for key, names in (("s", subjects), ("q", quantities), ("m", sources))
    }
    seconds = np.diff(cells.edges).astype(np.int64) / 1e6
    return Series(
        subjects=tuple(table["s"]),
        quantities=tuple(table["q"]),
        sources=tuple(table["m"]),
        subject=code["s"][stream],
        quantity=code["q"][stream],
        start=cells.edges[:-1][cell],
        duration_s=seconds[cell],
        value=grid.amount[keep],
        coverage=grid.coverage[keep],
        measured_hour=grid.measured[0][keep],
        measured_day=grid.measured[1][keep],
        measured_month=grid.measured[2][keep],
        measured_year=grid.measured[3][keep],
        flags=grid.flags[keep],
        source=code["m"][stream],
    )
