"""Readings out of DuckDB: whole periods, and the nearest readings around them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metering.periods import Period, Times, from_us, to_us
from metering.readings import SET_ASIDE, Readings
from metering.store.duckdb_columns import covering, fetch, registered, within
from metering.store.duckdb_instance import Cursor
from metering.store.duckdb_schema import Known
from metering.store.extents import Extents, series_key
from metering.store.port import MeterSummary
from metering.store.resolve import counting_rows, resolve
from metering.store.sorting import first_of_each, last_of_each, sort_order, sorted_readings

COLUMNS = "meter, register, read_at, value, flags, received_at, journal, sequence"

_MICROSECOND = np.timedelta64(1, "us")
_MIN_WINDOW_US = 1_000_000
_GROWTH = 8


def as_readings(known: Known, columns: dict[str, NDArray[Any]]) -> Readings:
    """Columns of the store as readings with the store's own codes."""
    return Readings(
        meters=known.names["meters"].table,
        registers=known.names["registers"].table,
        journals=known.names["journals"].table,
        **columns,
    )


def wanted_extents(
    known: Known, meters: Sequence[str] | None, registers: Sequence[str] | None
) -> Extents:
    """The extents of some meters and registers; of all if None."""
    wanted = known.extents
    if meters is not None:
        wanted = wanted.take(np.isin(wanted.meter, known.names["meters"].codes(meters)))
    if registers is not None:
        wanted = wanted.take(np.isin(wanted.register, known.names["registers"].codes(registers)))
    return wanted


def read_period(
    cursor: Cursor,
    known: Known,
    period: Period,
    *,
    table: str = "readings",
    meters: Sequence[str] | None = None,
    registers: Sequence[str] | None = None,
) -> Readings:
    """The rows of a table within a period, unsorted, in the store's codes."""
    condition, parameters = within("read_at", [(to_us(period.start), to_us(period.end))])
    views = {}
    if meters is not None:
        views["asked_meters"] = {"code": known.names["meters"].codes(meters)}
        condition += " AND meter IN (SELECT code FROM asked_meters)"
    if registers is not None:
        views["asked_registers"] = {"code": known.names["registers"].codes(registers)}
        condition += " AND register IN (SELECT code FROM asked_registers)"
    with registered(cursor, **views):
        found = fetch(cursor, f"SELECT {COLUMNS} FROM {table} WHERE {condition}", parameters)
    return as_readings(known, found)


def read_windows(
    cursor: Cursor,
    known: Known,
    wanted: Extents,
    *,
    low: Times,
    high: Times,
    known_by: datetime | None,
) -> Readings:
    """The readings that count in a window of each register, unsorted, in the store's codes.

    Args:
        cursor: Where they are.
        known: What is remembered of the file.
        wanted: The registers.
        low: Where the window of each begins.
        high: Where it ends, not included.
        known_by: As if nothing had arrived at or after this instant.
    """
    condition, parameters = within("r.read_at", covering(low, high))
    rows = f"SELECT {COLUMNS} FROM readings"
    if known_by is not None:
        parameters["known_by"] = to_us(known_by).item()
        early = "WHERE received_at < $known_by"
        rows = f"{rows} {early} UNION ALL SELECT {COLUMNS} FROM superseded {early}"
    windows = {"meter": wanted.meter, "register": wanted.register, "f": low, "t": high}
    with registered(cursor, windows=windows):
        found = fetch(
            cursor,
            f"SELECT r.* FROM ({rows}) r JOIN windows w ON r.meter = w.meter "
            f"AND r.register = w.register AND r.read_at >= w.f AND r.read_at < w.t "
            f"WHERE {condition}",
            parameters,
        )
    readings = as_readings(known, found)
    return readings if known_by is None else counting_rows(readings, resolve(readings))


def read_nearest(
    cursor: Cursor,
    known: Known,
    wanted: Extents,
    *,
    count: int,
    until: Times | None = None,
    since: Times | None = None,
    known_by: datetime | None = None,
) -> Readings:
    """The newest readings before a time, or the oldest from a time on, SET_ASIDE ones left out.

    Looks at as much time as usually holds the wanted number, and where a register has fewer looks
    again at eight times as much, until the first or last reading it ever had.

    Args:
        cursor: Where they are.
        known: What is remembered of the file.
        wanted: The registers.
        count: How many of each, at most.
        until: Before which time, for each register.
        since: From which time on, for each register; one of the two is given.
        known_by: As if nothing had arrived at or after this instant.
    """
    spacing = (wanted.last - wanted.first).astype(np.int64) // np.maximum(wanted.count - 1, 1)
    width = np.maximum(spacing * (count + 1), _MIN_WINDOW_US)
    if until is not None:
        near, has_any = np.minimum(until, wanted.last + _MICROSECOND), wanted.first < until
    else:
        assert since is not None
        near, has_any = np.maximum(since, wanted.first), wanted.last >= since
    found: list[Readings] = []
    left = np.flatnonzero(has_any & (count > 0))
    while len(left):
        asked = wanted.take(left)
        reach = width[left].astype("timedelta64[us]")
        if until is not None:
            low, high = np.maximum(near[left] - reach, asked.first), near[left]
            exhausted = low <= asked.first
        else:
            low, high = near[left], np.minimum(near[left] + reach, asked.last + _MICROSECOND)
            exhausted = high > asked.last
        rows = read_windows(cursor, known, asked, low=low, high=high, known_by=known_by)
        rows = _in_order(rows.take((rows.flags & int(SET_ASIDE)) == 0))
        rows = rows.take((last_of_each if until is not None else first_of_each)(rows, count))
        place = np.searchsorted(
            series_key(asked.meter, asked.register), series_key(rows.meter, rows.register)
        )
        done = exhausted | (np.bincount(place, minlength=len(left)) >= count)
        found.append(rows.take(done[place]))
        left = left[~done]
        width *= _GROWTH
    return Readings.concat(found)


def read_superseded(
    cursor: Cursor, known: Known, period: Period, *, meters: Sequence[str] | None
) -> Readings:
    """The rows of a period that do not count, by name, name, time and as they arrived."""
    rows = read_period(cursor, known, period, table="superseded", meters=meters)
    rows = sorted_readings(rows)
    return sorted_readings(rows.take(np.lexsort((rows.sequence, rows.journal, rows.received_at))))


def read_summaries(cursor: Cursor, known: Known) -> list[MeterSummary]:
    """Counts and ends of every register."""
    found = fetch(
        cursor,
        "SELECT meter, register, count(*) AS n, min(read_at) AS first, max(read_at) AS last, "
        "max(received_at) AS received FROM readings GROUP BY meter, register",
    )
    summaries = [
        MeterSummary(
            meter=known.names["meters"].table[found["meter"][i]],
            register=known.names["registers"].table[found["register"][i]],
            count=int(found["n"][i]),
            first_read_at=from_us(found["first"][i]),
            last_read_at=from_us(found["last"][i]),
            last_received_at=from_us(found["received"][i]),
        )
        for i in range(len(found["n"]))
    ]
    return sorted(summaries, key=lambda s: (s.meter, s.register))


def count_rows(cursor: Cursor, known: Known, period: Period) -> dict[str, int]:
    """How many rows of each meter a period has, superseded ones too."""
    condition, parameters = within("read_at", [(to_us(period.start), to_us(period.end))])
    rows = " UNION ALL ".join(
        f"SELECT meter FROM {table} WHERE {condition}" for table in ("readings", "superseded")
    )
    query = f"SELECT meter, count(*) AS n FROM ({rows}) GROUP BY meter"
    found = fetch(cursor, query, parameters)
    names = known.names["meters"].table
    return {
        names[code]: count
        for code, count in zip(found["meter"].tolist(), found["n"].tolist(), strict=True)
    }


def _in_order(rows: Readings) -> Readings:
    order = sort_order(rows.meter, rows.register, rows.read_at)
    return rows if order is None else rows.take(order)
