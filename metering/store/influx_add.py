"""Readings into InfluxDB: plainly where their keys are new, and beside what is there where not.

There are no transactions. What makes a batch safe to be half applied, done again, or applied late:

- every journal has series of its own, and one writer at a time, so that processes never overwrite
  another's; whoever begins to write one looks at what others left there (`ReadingStore.begin`), and
  asks before every request whether it still may (`check`);
- a point of `reading` is complete in one line: values with their flags and provenance;
- a row that is to be replaced there is first written to `superseded`, and never deleted;
- what counts is worked out anew from all rows whenever they are read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from metering.periods import Times
from metering.readings import Codes, Mask, Readings
from metering.store.extents import Extents
from metering.store.influx_client import Influx
from metering.store.influx_lines import reading_lines, superseded_lines
from metering.store.influx_nearest import register_ends
from metering.store.influx_read import Kept, Reader, Scope
from metering.store.influx_schema import READING, SUPERSEDED
from metering.store.resolve import counting_rows, plain_flags, resolve
from metering.store.sorting import Index, sorted_readings

_ANY: Final = np.int32(0)
_EVER: Final = (np.datetime64(-(2**53), "us"), np.datetime64(2**53, "us"))


@dataclass(slots=True)
class Reach:
    """How far the readings of journals reach, as long as this process alone writes them.

    A batch beyond it has keys that are not there yet and needs no look at what is there.
    """

    codes: dict[str, dict[str, int]] = field(default_factory=lambda: {"meter": {}, "register": {}})
    points: dict[str, Extents] = field(default_factory=dict)
    """Of each journal's meters."""
    registers: dict[str, Extents] = field(default_factory=dict)
    """Of each journal's registers."""

    def forget(self, journal: str) -> None:
        """Learn anew how far a journal reaches, because others may have written it."""
        self.points.pop(journal, None)
        self.registers.pop(journal, None)

    def code(self, kind: str, names: Sequence[str]) -> Codes:
        """Numbers for names that stay the same while the process runs."""
        table = self.codes[kind]
        return np.array([table.setdefault(name, len(table)) for name in names], np.int32)


def load_reach(reader: Reader, reach: Reach, journal: str) -> None:
    """Learn how far a journal's readings reach, if that is not known yet."""
    if journal in reach.points:
        return
    meters, registers, times = [], [], [np.empty(0, "datetime64[us]")]
    for choice in ("first", "last"):
        for m, r, t in register_ends(reader, Scope(journal=journal), *_EVER, choice):
            meters += m
            registers += r
            times.append(t)
    _extend(
        reach,
        journal,
        reach.code("meter", meters),
        reach.code("register", registers),
        np.concatenate(times),
    )


class Adding:
    """One batch on its way into the store."""

    def __init__(
        self,
        influx: Influx,
        reader: Reader,
        reach: Reach,
        check: Callable[[], None] | None = None,
    ) -> None:
        self._influx, self._reader, self._reach = influx, reader, reach
        self._check = check

    def add(self, batch: Readings) -> Readings:
        """Write a batch of finite values.

        Returns:
            All rows of the same journals for those of its keys that were looked up or came more
            than once; empty in the usual case.
        """
        rows = replace(batch, value=batch.value + 0.0, flags=plain_flags(batch.flags))
        looked_up = [Readings.empty()]
        for code in np.unique(rows.journal).tolist():
            mine = rows.take(np.asarray(rows.journal == code))
            looked_up.append(self._add_journal(mine, rows.journals[code]))
        return Readings.concat(looked_up)

    def _add_journal(self, rows: Readings, journal: str) -> Readings:
        load_reach(self._reader, self._reach, journal)
        meter = self._reach.code("meter", rows.meters)[rows.meter]
        register = self._reach.code("register", rows.registers)[rows.register]
        point, repeated = _points_of(meter, register, rows)
        there = self._reach.points[journal].cover(meter, np.zeros_like(meter), rows.read_at)
        touched = repeated
        if there.any():
            touched = repeated | self._reach.registers[journal].cover(meter, register, rows.read_at)
        # a point that is contested in one register is written as a whole, or it would be torn
        contested = np.zeros(len(rows), np.bool_)
        if touched.any():
            of_point = np.zeros(int(point.max()) + 1, np.bool_)
            of_point[point[touched]] = True
            contested = of_point[point]
        _extend(self._reach, journal, meter, register, rows.read_at)
        plain = rows.take(~contested)
        lines = reading_lines(plain.take(~there[~contested]), spelled_out=False)
        lines += reading_lines(plain.take(there[~contested]), spelled_out=True)
        self._write(lines)
        if not contested.any():
            return Readings.empty()
        return self._settle(rows.take(contested), journal)

    def _write(self, lines: Sequence[bytes]) -> None:
        self._influx.write(self._reader.bucket, lines, check=self._check)

    def _settle(self, rows: Readings, journal: str) -> Readings:
        """Bring rows together with those that are there, and write what changes."""
        held, beside = self._there(rows, journal)
        every = Readings.concat([held, beside.rows, rows])
        found = resolve(every)
        first_new = len(held) + len(beside.rows)

        moved = found.superseded
        moved = moved[(moved < len(held)) | (moved >= first_new)]
        away = every.take(moved)
        slots = _free_slots(every.take(np.arange(len(held), first_new)), beside.slot, away)
        self._write(superseded_lines(away, slots))

        changed = found.counting[found.counting >= len(held)]
        counting = every.take(changed)
        known = _same_points(every, held=len(held))[changed]
        lines = reading_lines(counting.take(~known), spelled_out=False)
        lines += reading_lines(counting.take(known), spelled_out=True)
        self._write(lines)
        return every

    def _there(self, rows: Readings, journal: str) -> tuple[Readings, Kept]:
        """What is kept at the points of these rows: the rows that count, and the others."""
        scope = Scope([rows.meters[i] for i in np.unique(rows.meter)], journal=journal)
        held = self._reader.rows_near(READING, rows.read_at, scope).rows
        beside = self._reader.rows_near(SUPERSEDED, rows.read_at, scope)
        of_held = _among_points(held, rows)
        of_beside = _among_points(beside.rows, rows)
        return held.take(of_held), Kept(beside.rows.take(of_beside), beside.slot[of_beside])


def contested_keys(batch: Readings, others: Readings) -> Readings:
    """What counts for the keys of a batch that came with different values, sorted.

    Args:
        batch: The batch.
        others: All other rows that may have these keys.
    """
    every = Readings.concat([batch, others])
    mine = _ids(every.meter, every.register, every.read_at)
    asked = np.zeros(int(mine.max(initial=-1)) + 1, np.bool_)
    asked[mine[: len(batch)]] = True
    every = every.take(asked[mine])
    found = resolve(every)
    return sorted_readings(counting_rows(every, found).take(found.conflict))


def _extend(reach: Reach, journal: str, meter: Codes, register: Codes, read_at: Times) -> None:
    """Let the reach hold these times, before they are written."""
    for known, minor in ((reach.points, np.zeros_like(meter)), (reach.registers, register)):
        order = np.lexsort((read_at, minor, meter))
        new = Extents.of_keys(meter[order], minor[order], read_at[order])
        known[journal] = known[journal].together(new) if journal in known else new


def _points_of(meter: Codes, register: Codes, rows: Readings) -> tuple[NDArray[np.intp], Mask]:
    """The point (meter and time) of every row, and whether its register came there repeatedly."""
    cell = np.zeros(len(rows), np.intp)
    cell[1:] = (meter[1:] != meter[:-1]) | (rows.read_at[1:] != rows.read_at[:-1])
    cell = np.cumsum(cell)
    first = np.flatnonzero(np.diff(cell, prepend=-1))
    point = _ids(meter[first], rows.read_at[first])[cell]
    key = point * (int(register.max(initial=0)) + 1) + register
    order = np.argsort(key, kind="stable")
    again = key[order][1:] == key[order][:-1]
    repeated = np.zeros(len(rows), np.bool_)
    repeated[order[1:][again]] = True
    repeated[order[:-1][again]] = True
    return point, repeated


def _ids(*columns: NDArray[Any]) -> NDArray[np.intp]:
    """A number for each different combination."""
    if not len(columns[0]):
        return np.empty(0, np.intp)
    order = np.lexsort(columns)
    new = np.zeros(len(order), np.intp)
    for column in columns:
        new[1:] |= column[order][1:] != column[order][:-1]
    found = np.empty(len(order), np.intp)
    found[order] = np.cumsum(new)
    return found


def _among_points(some: Readings, rows: Readings) -> Mask:
    """Which rows have the meter and time of one of the others; all of one journal."""
    both = Readings.concat([rows, some])
    point = _ids(both.meter, both.read_at)
    asked = np.zeros(int(point.max(initial=-1)) + 1, np.bool_)
    asked[point[: len(rows)]] = True
    return np.asarray(asked[point[len(rows) :]])


def _same_points(every: Readings, *, held: int) -> Mask:
    """Which rows are of a point that holds one of the first `held` rows."""
    point = _ids(every.meter, every.read_at)
    there = np.zeros(int(point.max(initial=-1)) + 1, np.bool_)
    there[point[:held]] = True
    return np.asarray(there[point])


def _free_slots(beside: Readings, slot: NDArray[np.int64], away: Readings) -> NDArray[np.int64]:
    """Places for rows of a meter and time behind those that are taken; one journal, same names."""
    point = _ids(
        np.concatenate([beside.meter, away.meter]), np.concatenate([beside.read_at, away.read_at])
    )
    next_free = np.zeros(int(point.max(initial=-1)) + 1, np.int64)
    np.maximum.at(next_free, point[: len(beside)], slot + 1)
    mine = point[len(beside) :]
    order: Index = np.argsort(mine, kind="stable")
    starts = np.flatnonzero(np.diff(mine[order], prepend=-1))
    rank = np.empty(len(mine), np.int64)
    lengths = np.diff(starts, append=len(mine))
    rank[order] = np.arange(len(mine)) - np.repeat(starts, lengths)
    return np.asarray(next_free[mine] + rank)
