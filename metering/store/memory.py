"""The store in memory: for tests, and as the plain statement of what the others must do.

All rows that came are kept in one table; what counts is worked out anew after every batch.
"""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

import numpy as np
from typing_extensions import override

from metering.periods import Period, from_us, to_us
from metering.readings import SET_ASIDE, Codes, Mask, Readings
from metering.series import Series
from metering.store.checks import check_finite, check_inside
from metering.store.indicators import Indicator, chosen
from metering.store.port import MeterSummary, ReadingStore, SeriesKind, Span, StoreUnavailable
from metering.store.resolve import counting_rows, resolve, superseded_rows
from metering.store.sorting import first_of_each, last_of_each, sorted_readings, sorted_series


class MemoryStore(ReadingStore):
    """Keeps everything in arrays, under one lock; forgets it with the process."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._open = True
        self._rows = self._counting = self._superseded = Readings.empty()
        self.clear()

    @property
    @override
    def store_id(self) -> str:
        return self._store_id

    @override
    def add(self, batch: Readings, *, check: Callable[[], None] | None = None) -> Readings:
        check_finite(batch)
        with self._lock:
            self._check_open()
            if check is not None:
                check()
            every = Readings.concat([self._rows, replace(batch, value=batch.value + 0.0)])
            found = resolve(every)
            self._rows = every.take(np.concatenate([found.counting, found.superseded]))
            self._counting = counting_rows(every, found)
            self._superseded = superseded_rows(every, found)
            touched = {(r.meter, r.register, r.read_at) for r in batch.rows()}
            contested = self._counting.take(found.conflict)
            keys = [(r.meter, r.register, r.read_at) in touched for r in contested.rows()]
            return sorted_readings(contested.take(np.array(keys, np.bool_)))

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
        rows = self._as_known(known_by)
        rows = rows.take(
            _among(rows.meters, rows.meter, meters)
            & _among(rows.registers, rows.register, registers)
        )
        good = rows.take((rows.flags & int(SET_ASIDE)) == 0)
        earlier = good.take(good.read_at < to_us(period.start))
        later = good.take(good.read_at >= to_us(period.end))
        return sorted_readings(
            Readings.concat(
                [
                    earlier.take(last_of_each(earlier, before)),
                    rows.take(_within(rows, period)),
                    later.take(first_of_each(later, after)),
                ]
            )
        )

    @override
    def superseded(self, period: Period, *, meters: Sequence[str] | None = None) -> Readings:
        with self._lock:
            self._check_open()
            rows = self._superseded
        return sorted_readings(
            rows.take(_within(rows, period) & _among(rows.meters, rows.meter, meters))
        )

    @override
    def latest(self, *, meters: Sequence[str] | None = None) -> Readings:
        rows = self._as_known(None)
        good = rows.take(
            ((rows.flags & int(SET_ASIDE)) == 0) & _among(rows.meters, rows.meter, meters)
        )
        return sorted_readings(good.take(last_of_each(good, 1)))

    @override
    def summaries(self) -> list[MeterSummary]:
        rows = self._as_known(None)
        found = []
        for i in np.flatnonzero(first_of_each(rows, 1)):
            same = (rows.meter == rows.meter[i]) & (rows.register == rows.register[i])
            found.append(
                MeterSummary(
                    meter=rows.meters[rows.meter[i]],
                    register=rows.registers[rows.register[i]],
                    count=int(same.sum()),
                    first_read_at=from_us(rows.read_at[same].min()),
                    last_read_at=from_us(rows.read_at[same].max()),
                    last_received_at=from_us(rows.received_at[same].max()),
                )
            )
        return found

    @override
    def count(self, period: Period) -> dict[str, int]:
        with self._lock:
            self._check_open()
            rows = self._rows
        found = Counter(rows.take(_within(rows, period)).meter.tolist())
        return {rows.meters[code]: count for code, count in found.items()}

    @override
    def replace(self, kind: SeriesKind, series: Series, *, spans: Sequence[Span]) -> None:
        check_inside(series, spans)
        with self._lock:
            self._check_open()
            kept = self._series[kind]
            cleared = np.zeros(len(kept), np.bool_)
            for span in spans:
                meant = None if span.quantity is None else [span.quantity]
                cleared |= (
                    _among(kept.subjects, kept.subject, [span.subject])
                    & _among(kept.quantities, kept.quantity, meant)
                    & _hours_within(kept, span.period)
                )
            self._series[kind] = sorted_series(Series.concat([kept.take(~cleared), series]))

    @override
    def series(
        self,
        kind: SeriesKind,
        period: Period,
        *,
        subjects: Sequence[str] | None = None,
        quantities: Sequence[str] | None = None,
    ) -> Series:
        with self._lock:
            self._check_open()
            kept = self._series[kind]
        return sorted_series(
            kept.take(
                _hours_within(kept, period)
                & _among(kept.subjects, kept.subject, subjects)
                & _among(kept.quantities, kept.quantity, quantities)
            )
        )

    @override
    def quantities(self, kind: SeriesKind) -> list[tuple[str, str]]:
        with self._lock:
            self._check_open()
            kept = self._series[kind]
        pairs = set(zip(kept.subject.tolist(), kept.quantity.tolist(), strict=True))
        return sorted((kept.subjects[s], kept.quantities[q]) for s, q in pairs)

    @override
    def put_indicators(self, rows: Sequence[Indicator]) -> None:
        with self._lock:
            self._check_open()
            self._indicators |= {row.key: row for row in rows}

    @override
    def indicators(
        self,
        period: Period,
        *,
        subjects: Sequence[str] | None = None,
        quantities: Sequence[str] | None = None,
    ) -> list[Indicator]:
        with self._lock:
            self._check_open()
            kept = list(self._indicators.values())
        return chosen(kept, period, subjects, quantities)

    @override
    def count_indicators(self, period: Period) -> int:
        return len(self.indicators(period))

    @override
    def drop_indicators(
        self, period: Period, *, subjects: Sequence[str], quantities: Sequence[str]
    ) -> None:
        with self._lock:
            gone = chosen(self._indicators.values(), period, subjects, quantities)
            for row in gone:
                del self._indicators[row.key]

    @override
    def clear(self, *, derived_only: bool = False) -> None:
        with self._lock:
            self._check_open()
            self._series: dict[SeriesKind, Series] = {
                "energy": Series.empty(),
                "emissions": Series.empty(),
            }
            self._indicators: dict[object, Indicator] = {}
            if not derived_only:
                self._store_id = uuid.uuid4().hex
                self._rows = self._counting = self._superseded = Readings.empty()

    @override
    def check(self) -> None:
        self._check_open()

    @override
    def close(self) -> None:
        self._open = False

    def _check_open(self) -> None:
        if not self._open:
            raise StoreUnavailable("The store in memory was closed; make another one.")

    def _as_known(self, known_by: datetime | None) -> Readings:
        with self._lock:
            self._check_open()
            if known_by is None:
                return self._counting
            every = self._rows
        known = every.take(every.received_at < to_us(known_by))
        return counting_rows(known, resolve(known))


def _among(names: Sequence[str], codes: Codes, wanted: Sequence[str] | None) -> Mask:
    if wanted is None:
        return np.ones(len(codes), np.bool_)
    asked = set(wanted)
    return np.array([name in asked for name in names], np.bool_)[codes]


def _within(rows: Readings, period: Period) -> Mask:
    return (rows.read_at >= to_us(period.start)) & (rows.read_at < to_us(period.end))


def _hours_within(hours: Series, period: Period) -> Mask:
    return (hours.start >= to_us(period.start)) & (hours.start < to_us(period.end))
