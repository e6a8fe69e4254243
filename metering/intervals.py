"""Increments -> intervals: energy spread over time, with coverage and the share that is measured.

Energy is conserved: an increment is spread evenly over its own time and every part of it lands in
exactly one interval. Each interval is summed from its own parts in the order of time, so that the
same increments give the same bits whatever else is computed beside them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from metering.periods import Every, Period, Times, edges, from_us, local_day, midnight, to_us
from metering.readings import Codes, Flag, Floats, Mask
from metering.registers import Increments, Marks
from metering.series import Series

MEASURED_FOR: tuple[Every, ...] = ("hour", "day", "month", "year")
"""The calendar intervals for which an hour keeps how much of it counts as measured."""


_LONGEST_US = np.iinfo(np.int64).max


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


@dataclass(frozen=True, slots=True, eq=False)
class _Parts:
    """Increments cut at the bounds of cells: each part lies within one. Shape (n,)."""

    place: NDArray[np.int64]
    """Stream and cell as one number."""
    cell: NDArray[np.int64]
    time: Floats
    """Length of the part. [us]"""
    whole: NDArray[np.int64]
    """Length of the increment it is of. [us]"""
    amount: Floats
    """Of the whole increment."""
    flags: Codes


def spread(steps: Increments, marks: Marks, cells: Cells, *, streams: int) -> Grid:
    """Spread increments evenly over their time, into cells.

    Args:
        steps: Sorted by stream and time; unknown amounts are NaN and cover nothing.
        marks: Readings set aside; their flags go to the cell that holds them, if anything is
            known of it.
        cells: The intervals wanted; what lies outside is left out.
        streams: How many streams there are; `steps.stream` counts from 0.
    """
    bounds = cells.edges.astype(np.int64)
    parts = _parts(steps, bounds)
    place, cell, time, whole = parts.place, parts.cell, parts.time, parts.whole
    amount = parts.amount * (time / whole)
    size = streams * len(cells)
    known = ~np.isnan(amount)
    counts = known & ((parts.flags & Flag.GAP) == 0)

    total = _sum(place, amount, known, size)
    covered = _sum(place, time, known, size)
    duration = np.tile(np.diff(bounds), streams).astype(np.float64)
    measured = []
    unlimited = covered if (counts == known).all() else _sum(place, time, counts, size)
    for limit in cells.limits_us:
        odd = np.flatnonzero(whole > limit.min(initial=_LONGEST_US))
        odd = odd[counts[odd] & (whole[odd] > limit[cell[odd]])]
        short = unlimited
        if len(odd):
            fits = counts.copy()
            fits[odd] = False
            short = _sum(place, time, fits, size)
        measured.append(short / duration)
    flags = np.zeros(size, np.int32)
    flagged = np.flatnonzero(parts.flags)
    np.bitwise_or.at(flags, place[flagged], parts.flags[flagged])
    _mark(flags, marks, bounds, covered > 0)
    shape = (streams, len(cells))
    return Grid(
        amount=np.where(covered > 0, total, np.nan).reshape(shape),
        coverage=(covered / duration).reshape(shape),
        measured=np.stack(measured).reshape(len(measured), *shape),
        flags=flags.reshape(shape),
    )


def _parts(steps: Increments, bounds: NDArray[np.int64]) -> _Parts:
    """Cut increments at the bounds of cells; what lies outside is left out."""
    start, end = steps.start.view(np.int64), steps.end.view(np.int64)
    stream, amount, flags = steps.stream, steps.amount, steps.flags
    low, high = np.maximum(start, bounds[0]), np.minimum(end, bounds[-1])
    inside = np.flatnonzero(low < high)
    whole = end - start
    if len(inside) < len(low):
        low, high, whole = low[inside], high[inside], whole[inside]
        stream, amount, flags = stream[inside], amount[inside], flags[inside]
    cell = _cells_of(low, bounds)
    # Nearly all increments are shorter than a cell and lie within one.
    count = _cells_of(high - 1, bounds) - cell + 1
    if len(count) and count.max() > 1:
        part = np.repeat(np.arange(len(count)), count)
        within = np.arange(len(part)) - np.repeat(np.cumsum(count) - count, count)
        cell = cell[part] + within
        low, high = np.maximum(low[part], bounds[cell]), np.minimum(high[part], bounds[cell + 1])
        whole, stream, amount, flags = whole[part], stream[part], amount[part], flags[part]
    place = stream.astype(np.int64) * (len(bounds) - 1) + cell
    time = (high - low).astype(np.float64)
    return _Parts(place, cell, time, whole, amount, flags)


def _cells_of(at: NDArray[np.int64], bounds: NDArray[np.int64]) -> NDArray[np.int64]:
    """The cell that holds each instant; all lie between the first bound and the last."""
    lengths = np.diff(bounds)
    found: NDArray[np.int64]
    if len(at) and (lengths == lengths[0]).all():
        found = (at - bounds[0]) // lengths[0]
    else:
        found = np.searchsorted(bounds, at, side="right") - 1
    return found


def _sum(place: NDArray[np.int64], weight: Floats, which: Mask, size: int) -> Floats:
    """Add up the weights of some rows at each place, in the order of the rows."""
    if not which.all():
        place, weight = place[which], weight[which]
    return np.asarray(np.bincount(place, weights=weight, minlength=size), np.float64)


def _mark(flags: Codes, marks: Marks, bounds: NDArray[np.int64], known: Mask) -> None:
    cell = np.searchsorted(bounds, marks.read_at.astype(np.int64), side="right") - 1
    inside = (cell >= 0) & (cell < len(bounds) - 1)
    place = marks.stream[inside].astype(np.int64) * (len(bounds) - 1) + cell[inside]
    held = known[place]
    np.bitwise_or.at(flags, place[held], marks.flags[inside][held])


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


def scaled(rows: Rows, ratio: float) -> Rows:
    """The same intervals in another unit, or with the other sign; unknown where the ratio is."""
    if np.isnan(ratio):
        rows = replace(rows, coverage=rows.coverage * 0, measured=rows.measured * 0)
    return replace(rows, value=rows.value * ratio)


def prefer(first: Rows, other: Rows) -> Rows:
    """Cell by cell the rows of which more is known; the first where both know as much."""
    better = other.coverage > first.coverage
    return Rows(
        first.edges,
        np.where(better, other.value, first.value),
        np.where(better, other.coverage, first.coverage),
        np.where(better, other.measured, first.measured),
        np.where(better, other.flags, first.flags).astype(np.int32),
    )


def add_up(fine: Rows, marks: Times) -> Rows:
    """Add fine rows up into longer intervals; their shares are weighted by time.

    Args:
        fine: Rows whose edges hold all of `marks`.
        marks: Edges of the longer intervals. Shape (m + 1,).
    """
    size = len(marks) - 1
    cell = np.searchsorted(marks, fine.edges[:-1], side="right") - 1
    known = ~np.isnan(fine.value)
    total = np.bincount(cell[known], fine.value[known], minlength=size)
    anything = np.bincount(cell[known], minlength=size) > 0
    seconds = np.diff(fine.edges).astype(np.int64) / 1e6
    whole = np.diff(marks).astype(np.int64) / 1e6
    flags = np.zeros(size, np.int32)
    np.bitwise_or.at(flags, cell, fine.flags)
    return Rows(
        marks,
        np.where(anything, total, np.nan),
        np.bincount(cell, fine.coverage * seconds, minlength=size) / whole,
        np.bincount(cell, fine.measured * seconds, minlength=size) / whole,
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
