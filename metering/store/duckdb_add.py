"""Readings into DuckDB: plainly where their keys are new, and by the rule of the port where not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metering.periods import Times
from metering.readings import Codes, Mask, Readings
from metering.store.duckdb_columns import covering, fetch, registered, within
from metering.store.duckdb_instance import Cursor
from metering.store.duckdb_read import COLUMNS, as_readings
from metering.store.duckdb_schema import Known, with_names
from metering.store.extents import Extents
from metering.store.resolve import counting_rows, plain_flags, resolve, superseded_rows
from metering.store.sorting import Index, sort_order, sorted_readings

_SAME_KEY = "r.meter = k.meter AND r.register = k.register AND r.read_at = k.read_at"
_MICROSECOND = np.timedelta64(1, "us")


@dataclass(frozen=True, slots=True)
class _Keys:
    """Different keys, sorted."""

    meter: Codes
    register: Codes
    read_at: Times

    def take(self, which: Mask | Index) -> _Keys:
        return _Keys(self.meter[which], self.register[which], self.read_at[which])

    def columns(self) -> dict[str, NDArray[Any]]:
        place = np.arange(len(self.meter), dtype=np.int64)
        return {
            "n": place,
            "meter": self.meter,
            "register": self.register,
            "read_at": self.read_at,
        }

    def bounds(self, column: str) -> tuple[str, dict[str, object]]:
        return within(column, covering(self.read_at, self.read_at + _MICROSECOND))


def add_readings(cursor: Cursor, known: Known, batch: Readings) -> tuple[Known, Readings]:
    """Add a batch, of finite values.

    Nearly always a batch is newer than what is there and is inserted without a look; keys inside
    the known extents of their registers are looked up.

    Returns:
        What is known afterwards, and the readings that count where different values came.
    """
    known = with_names(cursor, known, "meters", batch.meters)
    known = with_names(cursor, known, "registers", batch.registers)
    known = with_names(cursor, known, "journals", batch.journals)
    rows = _in_codes(known, batch)
    keys, key_of, repeated = _different_keys(rows)
    present = known.extents.cover(keys.meter, keys.register, keys.read_at)
    if present.any():
        present = _present(cursor, keys, among=present)
    contested = (repeated | present)[key_of]

    new = keys.take(~present)
    extents = known.extents.together(Extents.of_keys(new.meter, new.register, new.read_at))
    known = replace(known, extents=extents)
    if not contested.any():
        _insert(cursor, "readings", rows)
        return known, Readings.empty()
    _insert(cursor, "readings", rows.take(~contested))
    return known, _settle(cursor, known, rows.take(contested), stored=keys.take(present))


def _in_codes(known: Known, batch: Readings) -> Readings:
    """The batch in the store's codes, with positive zeros and without conflict flags."""
    columns = {
        "meter": known.names["meters"].codes(batch.meters)[batch.meter],
        "register": known.names["registers"].codes(batch.registers)[batch.register],
        "read_at": batch.read_at,
        "value": batch.value + 0.0,
        "flags": plain_flags(batch.flags),
        "received_at": batch.received_at,
        "journal": known.names["journals"].codes(batch.journals)[batch.journal],
        "sequence": batch.sequence,
    }
    return as_readings(known, columns)


def _different_keys(rows: Readings) -> tuple[_Keys, NDArray[np.intp], Mask]:
    """The keys of the rows, the place of each row's key among them, and which came repeatedly."""
    keys = _Keys(rows.meter, rows.register, rows.read_at)
    order = sort_order(rows.meter, rows.register, rows.read_at)
    if order is None:
        order = np.arange(len(rows))
    keys = keys.take(order)
    new = np.ones(len(rows), np.bool_)
    new[1:] = (
        (keys.read_at[1:] != keys.read_at[:-1])
        | (keys.meter[1:] != keys.meter[:-1])
        | (keys.register[1:] != keys.register[:-1])
    )
    key_of = np.empty(len(rows), np.intp)
    key_of[order] = np.cumsum(new) - 1
    starts = np.flatnonzero(new)
    return keys.take(starts), key_of, np.diff(starts, append=len(rows)) > 1


def _present(cursor: Cursor, keys: _Keys, *, among: Mask) -> Mask:
    """Which of the keys are stored; only those `among` them can be."""
    possible = keys.take(among)
    condition, parameters = possible.bounds("r.read_at")
    with registered(cursor, batch_keys=possible.columns()):
        found = fetch(
            cursor,
            f"SELECT k.n FROM readings r JOIN batch_keys k ON {_SAME_KEY} WHERE {condition}",
            parameters,
        )
    present = np.zeros(len(among), np.bool_)
    present[np.flatnonzero(among)[found["n"]]] = True
    return present


def _settle(cursor: Cursor, known: Known, rows: Readings, *, stored: _Keys) -> Readings:
    """Bring rows together with those stored under the same keys, and write what changes.

    Returns:
        The readings that count where different values came.
    """
    held = _rows_of(cursor, known, "readings", stored)
    moved = _rows_of(cursor, known, "superseded", stored)
    every = Readings.concat([held, moved, rows])
    found = resolve(every)
    counting, superseded = counting_rows(every, found), superseded_rows(every, found)

    there = found.counting < len(held)
    there &= counting.flags == every.flags[found.counting]
    if not there.all():
        changed = counting.take(~there)
        keys = _Keys(changed.meter, changed.register, changed.read_at)
        _delete(cursor, "readings", keys)
        _delete(cursor, "superseded", keys)
        _insert(cursor, "readings", changed)
    fresh = found.superseded >= len(held) + len(moved)
    _insert(cursor, "superseded", superseded.take(fresh | ~there[found.superseded_by]))
    return sorted_readings(counting.take(found.conflict))


def _rows_of(cursor: Cursor, known: Known, table: str, keys: _Keys) -> Readings:
    condition, parameters = keys.bounds("r.read_at")
    columns = ", ".join(f"r.{name}" for name in COLUMNS.split(", "))
    with registered(cursor, stored_keys=keys.columns()):
        found = fetch(
            cursor,
            f"SELECT {columns} FROM {table} r JOIN stored_keys k ON {_SAME_KEY} WHERE {condition}",
            parameters,
        )
    return as_readings(known, found)


def _delete(cursor: Cursor, table: str, keys: _Keys) -> None:
    condition, parameters = keys.bounds("r.read_at")
    with registered(cursor, changed_keys=keys.columns()):
        cursor.execute(
            f"DELETE FROM {table} WHERE rowid IN (SELECT r.rowid FROM {table} r "
            f"JOIN changed_keys k ON {_SAME_KEY} WHERE {condition})",
            parameters,
        ).fetchall()


def _insert(cursor: Cursor, table: str, rows: Readings) -> None:
    if not len(rows):
        return
    columns = {name: getattr(rows, name) for name in COLUMNS.split(", ")}
    with registered(cursor, new_rows=columns):
        cursor.execute(f"INSERT INTO {table} SELECT {COLUMNS} FROM new_rows").fetchall()
