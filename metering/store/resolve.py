"""Which row counts for a register and time, of all that came: the rule of the port, on columns.

It is a function of the set of rows alone, so that order, repetition and batches do not matter.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metering.readings import SET_ASIDE, Codes, Flag, Mask, Readings
from metering.store.sorting import Index, name_ranks


@dataclass(frozen=True, slots=True)
class Resolution:
    """The rows of a set, apart: those that count and those that do not, as positions.

    A row that came more than once (same meter, register, time, journal and sequence) is in it
    once; should its copies differ, the smallest by arrival, value and flags stands for them.
    """

    counting: Index
    """One row for each meter, register and time; by meter name, register name and time."""
    conflict: Mask
    """Whether different values came. For each row that counts."""
    superseded: Index
    """All other rows; by name, name, time and then as they arrived."""
    superseded_by: Index
    """The place in `counting` of the row that counts instead. For each superseded row."""


def resolve(rows: Readings) -> Resolution:
    """Decide which rows count: see the module docstring of the port.

    Args:
        rows: All rows of the registers and times in question, any order, repeats allowed.
    """
    order, new_key = _once_each(rows)
    if not len(order):
        none = np.empty(0, np.intp)
        return Resolution(none, np.empty(0, np.bool_), none, none)
    starts = np.flatnonzero(new_key)
    key = np.cumsum(new_key) - 1
    believed = (rows.flags[order] & int(SET_ASIDE)) == 0
    eligible = np.flatnonzero(believed | ~np.logical_or.reduceat(believed, starts)[key])
    value, of_key = rows.value[order[eligible]], key[eligible]
    left = np.ones(len(eligible), np.bool_)
    left[1:] = (value[1:] != value[:-1]) | (of_key[1:] != of_key[:-1])

    firsts = np.flatnonzero(np.diff(of_key, prepend=-1))
    last_left = np.maximum.reduceat(np.where(left, eligible, 0), firsts)
    counts = np.zeros(len(order), np.bool_)
    counts[last_left] = True
    return Resolution(
        counting=order[last_left],
        conflict=np.add.reduceat(left.astype(np.intp), firsts) > 1,
        superseded=order[~counts],
        superseded_by=key[~counts],
    )


def counting_rows(rows: Readings, found: Resolution) -> Readings:
    """The rows that count, with `Flag.CONFLICT` where different values came, and only there.

    Sorted; the tables of names stay as they are.
    """
    kept = rows.take(found.counting)
    conflict = found.conflict.astype(np.int32) * np.int32(Flag.CONFLICT)
    return replace(kept, flags=plain_flags(kept.flags) | conflict)


def superseded_rows(rows: Readings, found: Resolution) -> Readings:
    """The rows that do not count. Sorted; the tables of names stay as they are."""
    kept = rows.take(found.superseded)
    return replace(kept, flags=plain_flags(kept.flags))


def plain_flags(flags: Codes) -> Codes:
    """The flags as they came: `Flag.CONFLICT` is set by the rule alone."""
    return flags & np.int32(~int(Flag.CONFLICT))


def _once_each(rows: Readings) -> tuple[Index, Mask]:
    """Every row once, by key and then as it arrived, and where a new key begins."""
    meter = name_ranks(rows.meters)[1][rows.meter]
    register = name_ranks(rows.registers)[1][rows.register]
    journal = name_ranks(rows.journals)[1][rows.journal]
    key = (rows.read_at, register, meter)
    identity = (rows.sequence, journal, *key)
    order = np.lexsort((plain_flags(rows.flags), rows.value, rows.received_at, *identity))
    order = order[_changes(order, identity)]
    order = order[np.lexsort([c[order] for c in (rows.sequence, journal, rows.received_at, *key)])]
    return order, _changes(order, key)


def _changes(order: Index, columns: tuple[NDArray[Any], ...]) -> Mask:
    """Where, in this order, a row differs from the one before it in any of the columns."""
    new = np.zeros(len(order), np.bool_)
    new[:1] = True
    for column in columns:
        ordered = column[order]
        new[1:] |= ordered[1:] != ordered[:-1]
    return new
