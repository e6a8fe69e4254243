"""The store in one DuckDB file: the embedded shape. It belongs to one process.

How it keeps apart what counts and what does not: `readings` holds the row that counts of every
key, `superseded` all others; a batch that touches a key again has its rows resolved anew in one
transaction. How it is opened, guarded and shared by threads: `duckdb_instance`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
from typing_extensions import override

from metering.periods import Period, to_us
from metering.readings import Readings
from metering.series import Series
from metering.store.checks import check_finite, check_inside
from metering.store.duckdb_add import add_readings
from metering.store.duckdb_indicators import (
    count_indicators,
    drop_indicators,
    put_indicators,
    read_indicators,
)
from metering.store.duckdb_instance import Instance
from metering.store.duckdb_read import (
    count_rows,
    read_nearest,
    read_period,
    read_summaries,
    read_superseded,
    read_windows,
    wanted_extents,
)
from metering.store.duckdb_schema import Known, forget, load
from metering.store.duckdb_series import read_hours, read_quantities, replace_hours
from metering.store.indicators import Indicator
from metering.store.port import MeterSummary, ReadingStore, SeriesKind, Span
from metering.store.sorting import sorted_readings, sorted_series


def open_duckdb(path: Path, *, memory_limit_mb: int = 1024, threads: int = 2) -> DuckDbStore:
    """Open the store in a file, or make it; what does not fit into memory spills beside it.

    Raises:
        StoreUnavailable: Another process holds the file, its folder cannot be used, or a newer
            version made it.
        StoreDamaged: The file or its log cannot be read.
    """
    return DuckDbStore(Instance(path, memory_limit_mb=memory_limit_mb, threads=threads, load=load))


class DuckDbStore(ReadingStore):
    """Readings and hours in a DuckDB file. Made by `open_duckdb`."""

    def __init__(self, instance: Instance[Known]) -> None:
        self._instance = instance

    @property
    @override
    def store_id(self) -> str:
        with self._instance.read() as (_, known):
            return known.store_id

    @override
    def add(self, batch: Readings, *, check: Callable[[], None] | None = None) -> Readings:
        check_finite(batch)
        if not len(batch):
            return Readings.empty()
        with self._instance.write() as writing:
            if check is not None:
                check()
            writing.state, conflicts = add_readings(writing.cursor, writing.state, batch)
        return conflicts

    @override
    def read(
        self,
        period: Period,
        *,
        meters: Sequence[str] | None = None,
        registers: Sequence[str] | None = None,
        before: int = 0,
        after: int = 0,
        known_by: datetime | None = None,
    ) -> Readings:
        with self._instance.read() as (cursor, known):
            wanted = wanted_extents(known, meters, registers)
            start, end = (np.full(len(wanted), to_us(t)) for t in (period.start, period.end))
            if known_by is None:
                inside = read_period(cursor, known, period, meters=meters, registers=registers)
            else:
                inside = read_windows(cursor, known, wanted, low=start, high=end, known_by=known_by)
            earlier = read_nearest(
                cursor, known, wanted, until=start, count=before, known_by=known_by
            )
            later = read_nearest(cursor, known, wanted, since=end, count=after, known_by=known_by)
        parts = [part for part in (earlier, inside, later) if len(part)]
        return sorted_readings(Readings.concat(parts))

    @override
    def superseded(self, period: Period, *, meters: Sequence[str] | None = None) -> Readings:
        with self._instance.read() as (cursor, known):
            return read_superseded(cursor, known, period, meters=meters)

    @override
    def latest(self, *, meters: Sequence[str] | None = None) -> Readings:
        with self._instance.read() as (cursor, known):
            wanted = wanted_extents(known, meters, None)
            end = wanted.last + np.timedelta64(1, "us")
            return sorted_readings(read_nearest(cursor, known, wanted, until=end, count=1))

    @override
    def summaries(self) -> list[MeterSummary]:
        with self._instance.read() as (cursor, known):
            return read_summaries(cursor, known)

    @override
    def count(self, period: Period) -> dict[str, int]:
        with self._instance.read() as (cursor, known):
            return count_rows(cursor, known, period)

    @override
    def replace(self, kind: SeriesKind, series: Series, *, spans: Sequence[Span]) -> None:
        check_inside(series, spans)
        with self._instance.write() as writing:
            writing.state = replace_hours(writing.cursor, writing.state, kind, series, spans)

    @override
    def series(
        self,
        kind: SeriesKind,
        period: Period,
        *,
        subjects: Sequence[str] | None = None,
        quantities: Sequence[str] | None = None,
    ) -> Series:
        with self._instance.read() as (cursor, known):
            hours = read_hours(
                cursor, known, kind, period, subjects=subjects, quantities=quantities
            )
        return sorted_series(hours)

    @override
    def quantities(self, kind: SeriesKind) -> list[tuple[str, str]]:
        with self._instance.read() as (cursor, known):
            return read_quantities(cursor, known, kind)

    @override
    def put_indicators(self, rows: Sequence[Indicator]) -> None:
        with self._instance.write() as writing:
            put_indicators(writing.cursor, rows)

    @override
    def indicators(
        self,
        period: Period,
        *,
        subjects: Sequence[str] | None = None,
        quantities: Sequence[str] | None = None,
    ) -> list[Indicator]:
        with self._instance.read() as (cursor, _):
            return read_indicators(cursor, period, subjects=subjects, quantities=quantities)

    @override
    def count_indicators(self, period: Period) -> int:
        with self._instance.read() as (cursor, _):
            return count_indicators(cursor, period)

    @override
    def drop_indicators(
        self, period: Period, *, subjects: Sequence[str], quantities: Sequence[str]
    ) -> None:
        with self._instance.write() as writing:
            drop_indicators(writing.cursor, period, subjects=subjects, quantities=quantities)

    @override
    def clear(self, *, derived_only: bool = False) -> None:
        with self._instance.write() as writing:
            writing.state = forget(writing.cursor, writing.state, derived_only=derived_only)

    @override
    def check(self) -> None:
        with self._instance.write() as writing:
            writing.cursor.execute(
                "UPDATE meta SET value = CAST(value AS BIGINT) + 1 WHERE name = 'checks'"
            )

    @override
    def close(self) -> None:
        self._instance.close()
