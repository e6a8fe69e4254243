"""The store in InfluxDB 2: the production shape. Several processes may share it.

Layout and guarantees: flux/README.md. In short: a point per meter, journal and time; whatever does
not count beside it; what counts is decided when it is read, by the rule of the port.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import numpy as np
from typing_extensions import override

from metering.periods import Period, to_us
from metering.readings import Readings
from metering.series import Series
from metering.store.checks import check_finite, check_inside
from metering.store.indicators import Indicator
from metering.store.influx_add import Adding, Reach, contested_keys
from metering.store.influx_client import Influx
from metering.store.influx_hours import Hours
from metering.store.influx_indicators import (
    count_indicators,
    drop_indicators,
    forget_indicators,
    put_indicators,
    read_indicators,
)
from metering.store.influx_meta import (
    Buckets,
    find_or_make_name,
    mark_journal,
    open_marks,
    read_marks,
    store_name,
)
from metering.store.influx_nearest import as_known, read_nearest
from metering.store.influx_read import Reader, Scope, apart, clusters
from metering.store.influx_schema import (
    READING,
    SUPERSEDED,
    check_fits,
    span_ns,
    us_of,
)
from metering.store.influx_summaries import count_rows, read_summaries
from metering.store.influx_turns import Span as TimeSpan
from metering.store.influx_turns import Turns
from metering.store.port import (
    MeterSummary,
    Opening,
    ReadingStore,
    SeriesKind,
    Span,
    StoreUnavailable,
)
from metering.store.resolve import resolve, superseded_rows
from metering.store.sorting import sorted_readings, sorted_series

log = logging.getLogger(__name__)

NAME_HOLDS_S: Final = 5.0
"""For how long the store's name is believed without asking again. [s]"""

_EVER_US: Final = (-(2**62), 2**62)
_END: Final = np.datetime64(2**53, "us")


def open_influx(
    url: str,
    *,
    org: str,
    token: str,
    bucket: str = "tanyuan",
    derived_bucket: str = "tanyuan_derived",
    timeout_s: float = 60.0,
    shard_days: int = 364,
) -> InfluxStore:
    """Open the store on a server; it is asked for the first time when it is first used.

    Args:
        url: Where the server is, such as `http://127.0.0.1:8086`.
        org: The organisation the buckets belong to.
        token: May read and write both buckets, and make them where they are missing.
        bucket: Readings.
        derived_bucket: Derived hours.
        timeout_s: How long the server may be silent before it counts as away. [s]
        shard_days: The length of the shards of buckets that are made; long ones cost least. [d]
    """
    buckets = Buckets(bucket, derived_bucket, shard_days)
    return _Opening(url, org, token, timeout_s, buckets)()


@dataclass(frozen=True, slots=True)
class _Opening:
    """What `open_influx` was told."""

    url: str
    org: str
    token: str = field(repr=False)
    timeout_s: float
    buckets: Buckets

    def __call__(self) -> InfluxStore:
        influx = Influx(self.url, org=self.org, token=self.token, timeout_s=self.timeout_s)
        return InfluxStore(influx, self.buckets, self)


@dataclass(slots=True)
class _Known:
    """What the process remembers of the buckets as long as they are the same."""

    store_id: str
    asked_at: float
    journals: set[str] = field(default_factory=set)
    """Those that are marked as writing here."""
    reach: Reach = field(default_factory=Reach)


class InfluxStore(ReadingStore):
    """Readings and hours in two buckets. Made by `open_influx`."""

    def __init__(self, influx: Influx, buckets: Buckets, opening: Opening) -> None:
        self._influx, self._buckets, self._opening = influx, buckets, opening
        self._reader = Reader(influx, buckets.readings)
        self._hours = Hours(influx, buckets.derived)
        self._readings_turns = Turns()
        self._hours_turns: dict[SeriesKind, Turns] = {"energy": Turns(), "emissions": Turns()}
        self._lock = threading.RLock()
        self._known: _Known | None = None

    @property
    @override
    def opening(self) -> Opening:
        return self._opening

    @property
    @override
    def store_id(self) -> str:
        """The name both buckets hold; asked again every few seconds, lest they were made anew.

        Raises:
            StoreUnavailable: The server does not say.
        """
        with self._lock:
            known = self._remembered()
            if time.monotonic() - known.asked_at > NAME_HOLDS_S:
                self._look_again(known)
                known = self._remembered()
            return known.store_id

    @override
    def begin(self, journal: str) -> None:
        with self._readings_turns.write(()), self._lock:
            if self._known is not None:
                self._known.reach.forget(journal)

    @override
    def add(self, batch: Readings, *, check: Callable[[], None] | None = None) -> Readings:
        check_finite(batch)
        check_fits(batch)
        if not len(batch):
            return Readings.empty()
        with self._readings_turns.write(_spans_us(batch)):
            known = self._remembered()
            mine = {batch.journals[i] for i in np.unique(batch.journal)}
            for journal in sorted(mine - known.journals):
                if check is not None:
                    check()
                mark_journal(self._influx, self._buckets.readings, journal)
                known.journals.add(journal)
            looked_up = Adding(self._influx, self._reader, known.reach, check).add(batch)
            self._look_again(known, whole=False)
            others = self._rows_of_others(batch, mine, known.journals)
        if not len(looked_up) and not len(others):
            return Readings.empty()
        return contested_keys(batch, Readings.concat([looked_up, others]))

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
        scope = Scope(meters, registers)
        low, high = (us_of(to_us(t)) for t in (period.start, period.end))
        reach = (_EVER_US[0] if before else low, _EVER_US[1] if after else high)
        with self._reading(*reach):
            earlier = read_nearest(
                self._reader, scope, count=before, until=period.start, known_by=known_by
            )
            inside = as_known(self._reader.rows(*span_ns(period), scope), known_by)
            later = read_nearest(
                self._reader, scope, count=after, since=period.end, known_by=known_by
            )
        parts = [part for part in (earlier, inside, later) if len(part)]
        return parts[0] if len(parts) == 1 else sorted_readings(Readings.concat(parts))

    @override
    def superseded(self, period: Period, *, meters: Sequence[str] | None = None) -> Readings:
        scope = Scope(meters)
        low, high = (us_of(to_us(t)) for t in (period.start, period.end))
        with self._reading(low, high):
            several = len(self._journals()) > 1
            beside = self._reader.kept(SUPERSEDED, *span_ns(period), scope).rows
            if several:
                counting = self._reader.kept(READING, *span_ns(period), scope).rows
            elif len(beside):
                named = Scope(sorted({beside.meters[i] for i in np.unique(beside.meter)}))
                counting = self._reader.rows_near(READING, beside.read_at, named).rows
            else:
                return Readings.empty()
        _, rows = apart(Readings.concat([counting, beside]))
        return sorted_readings(superseded_rows(rows, resolve(rows)))

    @override
    def latest(self, *, meters: Sequence[str] | None = None) -> Readings:
        with self._reading(*_EVER_US):
            return read_nearest(self._reader, Scope(meters), count=1, until=_END)

    @override
    def summaries(self) -> list[MeterSummary]:
        with self._reading(*_EVER_US):
            return read_summaries(self._reader)

    @override
    def count(self, period: Period) -> dict[str, int]:
        low, high = (us_of(to_us(t)) for t in (period.start, period.end))
        with self._reading(low, high):
            return count_rows(self._reader, *span_ns(period))

    @override
    def replace(self, kind: SeriesKind, series: Series, *, spans: Sequence[Span]) -> None:
        check_inside(series, spans)
        low = min((us_of(to_us(span.period.start)) for span in spans), default=0)
        high = max((us_of(to_us(span.period.end)) for span in spans), default=0)
        with self._hours_turns[kind].write([(low, high)]):
            known = self._remembered()
            self._hours.replace(kind, series, spans)
            self._look_again(known)

    @override
    def series(
        self,
        kind: SeriesKind,
        period: Period,
        *,
        subjects: Sequence[str] | None = None,
        quantities: Sequence[str] | None = None,
    ) -> Series:
        low, high = (us_of(to_us(t)) for t in (period.start, period.end))
        with self._reading(low, high, kind):
            hours = self._hours.read(kind, period, subjects=subjects, quantities=quantities)
        return sorted_series(hours)

    @override
    def quantities(self, kind: SeriesKind) -> list[tuple[str, str]]:
        with self._reading(*_EVER_US, kind):
            return self._hours.quantities(kind)

    @override
    def put_indicators(self, rows: Sequence[Indicator]) -> None:
        known = self._remembered()
        put_indicators(self._influx, self._buckets.derived, rows)
        if known.asked_at + NAME_HOLDS_S < time.monotonic():
            self._look_again(known)

    @override
    def indicators(
        self,
        period: Period,
        *,
        subjects: Sequence[str] | None = None,
        quantities: Sequence[str] | None = None,
    ) -> list[Indicator]:
        self._remembered()
        return read_indicators(
            self._influx,
            self._buckets.derived,
            period,
            subjects=subjects,
            quantities=quantities,
        )

    @override
    def count_indicators(self, period: Period) -> int:
        self._remembered()
        return count_indicators(self._influx, self._buckets.derived, period)

    @override
    def drop_indicators(
        self, period: Period, *, subjects: Sequence[str], quantities: Sequence[str]
    ) -> None:
        drop_indicators(self._influx, self._buckets.derived, period, subjects, quantities)

    @override
    def clear(self, *, derived_only: bool = False) -> None:
        with ExitStack() as turns:
            for each in (self._readings_turns, *self._hours_turns.values()):
                turns.enter_context(each.write([_EVER_US]))
            self._remembered()
            if derived_only:
                self._hours.forget()
                forget_indicators(self._influx, self._buckets.derived)
                return
            for bucket in (self._buckets.derived, self._buckets.readings):
                self._influx.delete(bucket, -(2**63), 2**63)
            self._forget()
            self._remembered()

    @override
    def check(self) -> None:
        with self._lock:
            known = self._remembered()
            for bucket in (self._buckets.readings, self._buckets.derived):
                self._influx.write(bucket, [b"check answered=1.0 0"])
            self._look_again(known)

    @override
    def close(self) -> None:
        self._influx.close()

    @contextmanager
    def _reading(self, low: int, high: int, kind: SeriesKind | None = None) -> Iterator[None]:
        """Read times of the readings, or of a kind of hours, while nobody writes them."""
        self._remembered()
        turns = self._readings_turns if kind is None else self._hours_turns[kind]
        with turns.read(low, high):
            yield

    def _remembered(self) -> _Known:
        """What is remembered of the buckets, after making them if they are missing at the start."""
        with self._lock:
            if self._known is None:
                name = open_marks(self._influx, self._buckets)
                marks = read_marks(self._influx, self._buckets.readings)
                self._known = _Known(name, time.monotonic(), set(marks.journals))
            return self._known

    def _forget(self) -> None:
        with self._lock:
            self._known = None
            self._hours.forget_sources()

    def _look_again(self, known: _Known, *, whole: bool = True) -> None:
        """Make sure that the buckets still are the store they were.

        Args:
            known: What is remembered of them.
            whole: Ask both, not only the one for readings.

        Raises:
            StoreUnavailable: They are not. From now on this is another, empty store.
        """
        marks = read_marks(self._influx, self._buckets.readings)
        name: str | None = known.store_id
        if whole or marks.stores != {name}:
            name = store_name(marks, read_marks(self._influx, self._buckets.derived))
        with self._lock:
            if name == known.store_id:
                known.asked_at = time.monotonic()
                known.journals |= marks.journals
                return
            self._forget()
            if name is None:
                name = find_or_make_name(self._influx, self._buckets)
            raise StoreUnavailable(
                f"The buckets {self._buckets.readings} and {self._buckets.derived} at "
                f"{self._influx.url} were cleared or made anew: they are the store {name} now, "
                f"no longer {known.store_id}. It is filled again from the journal."
            )

    def _journals(self) -> set[str]:
        marks = read_marks(self._influx, self._buckets.readings)
        return set(marks.journals)

    def _rows_of_others(self, batch: Readings, mine: set[str], known: set[str]) -> Readings:
        """Rows of other journals that may have the same keys, so that conflicts are told.

        They are looked for after the batch is written: of two processes that write the same key
        at once, the later one then sees it.
        """
        if len(known | mine) < 2:
            return Readings.empty()
        but = min(mine) if len(mine) == 1 else None
        scope = Scope(
            [batch.meters[i] for i in np.unique(batch.meter)],
            [batch.registers[i] for i in np.unique(batch.register)],
            not_journal=but,
        )
        kept = [self._reader.rows_near(m, batch.read_at, scope) for m in (READING, SUPERSEDED)]
        return Readings.concat([part.rows for part in kept])


def _spans_us(batch: Readings) -> list[TimeSpan]:
    times = batch.read_at
    return [(us_of(times[g].min()), us_of(times[g].max()) + 1) for g in clusters(times)]
