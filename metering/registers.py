"""Differences between readings: what is an increment, a rollover, a reset, a glitch, a gap.

Everything is decided by physics (capacity, multiplier, highest rate), by the exchange record, and
by a neighbourhood of `CONTEXT` readings on either side alone: a span computed again by itself
gives the same increments as the whole history does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from metering.periods import HOUR_US, Times
from metering.readings import SET_ASIDE, Codes, Flag, Floats, Mask

MAX_GLITCH: Final = 3
"""A run of at most so many readings between two that fit each other is set aside as a glitch."""

NEIGHBOURS: Final = 8
"""The usual spacing at an increment is the median length of it and so many on either side."""

CONTEXT: Final = 24
"""So many valid readings before and after a span decide its increments, with room for glitches."""

GAP_RATIO: Final = 2.5
"""A gap is longer than 1 h and than so many times the meter's usual spacing."""

DEFAULT_MAX_RATE: Final = 100_000.0
"""Highest believable rate of a meter that states none: 100 MW, or 100 000 m³/h. [unit/h]"""

RATE_SLACK: Final = 1.0
"""One count of the register is always allowed: short steps of a coarse register look fast."""


@dataclass(frozen=True, slots=True, eq=False)
class RegisterColumns:
    """Readings of registers at meter points, sorted by stream, segment and time. Shape (n,).

    A stream is one register at one meter point; a segment is one meter's time at it. Times are
    distinct within a segment; the last of one may be the first of the next.
    """

    stream: Codes
    segment: Codes
    read_at: Times
    value: Floats
    """As shown, before the multiplier."""
    flags: Codes
    capacity: Floats
    """Where the register begins again at zero; NaN if not stated. Before the multiplier."""
    multiplier: Floats
    max_rate: Floats
    """Highest possible rate, after the multiplier; NaN if not stated. [unit/h]"""
    interval: Mask
    """True where each reading is the amount since the one before (not a counter)."""

    def __len__(self) -> int:
        return len(self.value)

    def take(self, which: Mask | NDArray[np.intp]) -> RegisterColumns:
        """Some of the rows, by mask or index."""
        return RegisterColumns(
            self.stream[which],
            self.segment[which],
            self.read_at[which],
            self.value[which],
            self.flags[which],
            self.capacity[which],
            self.multiplier[which],
            self.max_rate[which],
            self.interval[which],
        )


@dataclass(frozen=True, slots=True, eq=False)
class Increments:
    """What passed between consecutive valid readings of one meter, sorted. Shape (n,)."""

    stream: Codes
    start: Times
    end: Times
    amount: Floats
    """In the register's unit, after the multiplier; NaN where it cannot be known."""
    flags: Codes

    def __len__(self) -> int:
        return len(self.amount)


@dataclass(frozen=True, slots=True, eq=False)
class Marks:
    """Readings that were set aside: their flags show in the interval that holds them."""

    stream: Codes
    read_at: Times
    flags: Codes


@dataclass(frozen=True, slots=True, eq=False)
class _Advance:
    """What steps between readings amount to, were the two of each of one meter. Shape (n,)."""

    amount: Floats
    """After the multiplier, unwrapped where it rolled over."""
    possible: Mask
    """Whether the circuit could have carried it."""
    rolled: Mask


_Rows: TypeAlias = slice | NDArray[np.intp]
_FIRST: Final = slice(None, -1)
_SECOND: Final = slice(1, None)


def increments(rows: RegisterColumns) -> tuple[Increments, Marks]:
    """Turn sorted readings into what passed between them.

    A cumulative register only counts up. If it fell, the fall is a glitch when the readings around
    a short run fit each other without it, a rollover when the circuit could have carried what that
    implies, and otherwise a reset: unknown, not zero and not a guess. Nothing passes between two
    meters at one point.

    Returns:
        The increments, in order, and the readings that took no part in them.

    Raises:
        ValueError: Rows are not sorted by stream, segment and time, or times repeat.
    """
    _check_order(rows)
    flags = rows.flags.copy()
    impossible = ~rows.interval & ((rows.value > rows.capacity) | (rows.value < 0))
    flags[impossible] |= Flag.IMPLAUSIBLE
    believed = np.flatnonzero((flags & SET_ASIDE) == 0)
    kept = rows if len(believed) == len(rows) else rows.take(believed)
    steps = _advance(kept, _FIRST, _SECOND)
    glitch = believed[_glitches(kept, steps.possible)]
    flags[glitch] |= Flag.GLITCH
    aside = (flags & (SET_ASIDE | Flag.GLITCH)) != 0
    marks = Marks(rows.stream[aside], rows.read_at[aside], flags[aside])
    if len(glitch):
        kept = rows.take(~aside)
        steps = _advance(kept, _FIRST, _SECOND)
    return _between(kept, flags[~aside] if len(marks.flags) else flags, steps), marks


def _check_order(rows: RegisterColumns) -> None:
    same = rows.stream[1:] == rows.stream[:-1]
    step = np.diff(rows.read_at).astype(np.int64)
    one_meter = rows.segment[1:] == rows.segment[:-1]
    backwards = (rows.stream[1:] < rows.stream[:-1]).any() or (same & (step < 0)).any()
    if backwards or (same & one_meter & (step == 0)).any():
        raise ValueError("Rows must be sorted by stream, segment and time, without repeated times.")


def _advance(rows: RegisterColumns, first: _Rows, second: _Rows) -> _Advance:
    """Judge the step from each first to its second reading, as if both were of one meter."""
    raw = rows.value[second] - rows.value[first]
    multiplier = rows.multiplier[second]
    hours = (rows.read_at[second] - rows.read_at[first]).view(np.int64) / HOUR_US
    limit = rows.max_rate[second]
    stated = ~np.isnan(limit)
    if not stated.all():
        limit = np.where(stated, limit, DEFAULT_MAX_RATE)
    limit = limit * hours
    limit += RATE_SLACK * multiplier
    amount = raw * multiplier
    possible = (raw >= 0) & (amount <= limit)
    rolled = np.zeros(len(raw), bool)
    fell = np.flatnonzero(raw < 0)
    if len(fell):
        capacity = rows.capacity[second][fell]
        wrapped = raw[fell] + capacity
        # Without a stated highest rate only a short way round is taken for a rollover.
        short = stated[fell] | (wrapped <= capacity / 10)
        over = short & (wrapped * multiplier[fell] <= limit[fell])
        rolled[fell] = over
        amount[fell[over]] = wrapped[over] * multiplier[fell[over]]
        possible |= rolled
    return _Advance(amount, possible, rolled)


def _glitches(rows: RegisterColumns, possible: Mask) -> Mask:
    """Mark short runs of readings without which their neighbours fit each other.

    Args:
        rows: Readings that are believed so far.
        possible: Whether each step from one row to the next is, as `_advance` judges it.
    """
    found = np.zeros(len(rows), bool)
    if len(rows) < 3:
        return found
    odd = np.flatnonzero(~possible & ~rows.interval[1:])
    same = rows.stream[odd + 1] == rows.stream[odd]
    suspect = odd[same & (rows.segment[odd + 1] == rows.segment[odd])]
    for run in range(1, MAX_GLITCH + 1):
        if not len(suspect):
            break
        spike = _fits(rows, suspect - run, suspect + 1)
        dip = _fits(rows, suspect, suspect + 1 + run)
        decided = spike | dip
        # Both explanations fit: a reset could look the same, unless it is a flicker of one count.
        fall = rows.value[suspect] - rows.value[suspect + 1]
        unclear = spike & dip & (fall > RATE_SLACK)
        spike, dip = spike & ~unclear, dip & ~unclear
        for offset in range(run):
            found[suspect[spike] - offset] = True
            found[suspect[dip] + 1 + offset] = True
        suspect = suspect[~decided]
    return found


def _fits(rows: RegisterColumns, first: NDArray[np.intp], second: NDArray[np.intp]) -> Mask:
    """Whether two readings belong to one meter at one point and fit each other."""
    inside = (first >= 0) & (second < len(rows))
    low, high = np.where(inside, first, 0), np.where(inside, second, 0)
    inside &= (rows.stream[low] == rows.stream[high]) & (rows.segment[low] == rows.segment[high])
    fits = np.zeros(len(first), bool)
    fits[inside] = _advance(rows, low[inside], high[inside]).possible
    return fits


def _between(rows: RegisterColumns, flags: Codes, steps: _Advance) -> Increments:
    """Make the increments between consecutive readings that are left."""
    same = (rows.stream[1:] == rows.stream[:-1]) & (rows.segment[1:] == rows.segment[:-1])
    first = np.flatnonzero(same)
    second = first + 1
    stream, segment = rows.stream[second], rows.segment[second]
    amount, possible, rolled = steps.amount[first], steps.possible[first], steps.rolled[first]
    start, end = rows.read_at[first], rows.read_at[second]
    each = rows.interval[second]
    # A conflict, an estimate or a missing clock at either end touches what lies between.
    marks = flags[first] | flags[second]
    odd = np.flatnonzero((rolled | ~possible) & ~each)
    fell = rows.value[second[odd]] < rows.value[first[odd]]
    marks[odd[rolled[odd]]] |= Flag.ROLLOVER
    marks[odd[fell & ~rolled[odd]]] |= Flag.RESET
    marks[odd[~fell]] |= Flag.IMPLAUSIBLE
    amount[~possible] = np.nan
    length = (end - start).view(np.int64)
    gap, usual = _gaps(stream, segment, length)
    marks[gap] |= Flag.GAP
    if each.any():
        # An interval's amount stands for its own time: across a gap that is the usual spacing.
        own = length.copy()
        own[gap] = usual
        start = np.where(each, end - own.view("timedelta64[us]"), start)
        amount = np.where(each, rows.value[second] * rows.multiplier[second], amount)
        marks[each] &= ~np.int32(Flag.GAP)
    return Increments(stream, start, end, amount, marks)


def _gaps(
    stream: Codes, segment: Codes, length: NDArray[np.int64]
) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """Which increments are gaps, and the usual spacing at each.

    The usual spacing is the median length of an increment and its neighbours; of an even number
    the lower middle counts, so that one long step among two is no usual one. [us]
    """
    long = np.flatnonzero(length > HOUR_US)
    offsets = np.arange(-NEIGHBOURS, NEIGHBOURS + 1)
    near = long[:, None] + offsets[None, :]
    inside = (near >= 0) & (near < len(length))
    near = np.where(inside, near, 0)
    inside &= stream[near] == stream[long][:, None]
    inside &= segment[near] == segment[long][:, None]
    lengths = np.where(inside, length[near], np.iinfo(np.int64).max)
    lengths.sort(axis=1)
    middle = (inside.sum(axis=1) - 1) // 2
    usual = lengths[np.arange(len(long)), middle]
    gap = length[long] > GAP_RATIO * usual
    return long[gap], usual[gap]
