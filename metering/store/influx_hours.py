"""Derived hours in InfluxDB: spans are replaced, periods are read.

A field that has its usual value is not written (`SHARE_DEFAULTS`), so that a whole, measured hour
is two numbers. Hours that come again are written over; only what vanishes is deleted.
"""

from __future__ import annotations

import hashlib
import threading
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from metering.periods import Period, to_us
from metering.readings import Codes, Mask, encode
from metering.series import Series
from metering.store.influx_client import Influx
from metering.store.influx_columns import Points, ask, select
from metering.store.influx_lines import SHARE_DEFAULTS, hour_lines, source_line
from metering.store.influx_read import METERS_PER_QUERY, READ_ALL_METERS, clusters
from metering.store.influx_schema import (
    NS_PER_US,
    SOURCE,
    Nanoseconds,
    flux_text,
    flux_time,
    ql_any,
    span_ns,
    stored_name,
    to_times,
)
from metering.store.port import SeriesKind, Span, StoreUnavailable

_FIELDS = ("source", "value", *SHARE_DEFAULTS)
_EVER = (-(2**63), 2**63)

_Groups: TypeAlias = dict[tuple[Period, str | None], set[str]]
"""Spans of one period and quantity: their subjects."""


@dataclass(frozen=True, slots=True)
class _Hours:
    """Hours as they are kept: which, and their fields; NaN where one is not there."""

    subjects: tuple[str, ...]
    quantities: tuple[str, ...]
    subject: Codes
    quantity: Codes
    start: Nanoseconds
    fields: dict[str, NDArray[np.float64]]

    def __len__(self) -> int:
        return len(self.start)


class Hours:
    """The derived bucket."""

    def __init__(self, influx: Influx, bucket: str) -> None:
        self._influx, self._bucket = influx, bucket
        self._sources: dict[float, str] = {}
        self._lock = threading.Lock()

    def replace(self, kind: SeriesKind, series: Series, spans: Sequence[Span]) -> None:
        """Put hours in the place of everything the spans hold.

        What is there is read first. An hour that comes again is written over in its place; one
        that does not, or whose value is not known any more, is deleted before.
        """
        groups = _grouped(spans)
        there = self._held(kind, groups)
        again = _places(there, series)
        unknown = np.zeros(len(there), np.bool_)
        hits = again >= 0
        unknown[again[hits]] = np.isnan(series.value[hits])
        kept = np.zeros(len(there), np.bool_)
        kept[again[hits]] = True
        gone = ~kept | (unknown & ~np.isnan(there.fields["value"]))
        for low, high, predicate in _deletes(kind, there, gone, _group_of(there, groups)):
            self._influx.delete(self._bucket, low, high, predicate)
        spelled = {name: _spelled(there.fields[name], again, gone) for name in SHARE_DEFAULTS}
        codes = self._codes(series.sources)
        per_hour = np.array(codes, np.float64)[series.source] if codes else np.empty(0)
        self._influx.write(self._bucket, hour_lines(kind, series, per_hour, spelled))

    def read(
        self,
        kind: SeriesKind,
        period: Period,
        *,
        subjects: Sequence[str] | None,
        quantities: Sequence[str] | None,
    ) -> Series:
        """The hours of a period, unsorted."""
        low, high = span_ns(period)
        parts = [self._series(part) for part in self._parts(kind, low, high, subjects, quantities)]
        return Series.concat([part for part in parts if len(part)])

    def quantities(self, kind: SeriesKind) -> list[tuple[str, str]]:
        """Every subject and quantity that has hours, sorted."""
        only = '  |> filter(fn: (r) => r._field == "source")\n  |> first()\n'
        flux = self._source(kind, *_EVER) + only
        found = ask(self._influx, flux, tags=("subject", "quantity"), timed=False)
        return sorted(set(zip(found.tags["subject"], found.tags["quantity"], strict=True)))

    def forget(self) -> None:
        """Delete all hours."""
        for kind in ("energy", "emissions"):
            self._influx.delete(self._bucket, *_EVER, f'_measurement="{kind}"')

    def forget_sources(self) -> None:
        """Let go of what is remembered, when the store is another one."""
        with self._lock:
            self._sources = {}

    def _source(self, kind: str, low_ns: int, high_ns: int) -> str:
        return (
            f"from(bucket: {flux_text(self._bucket)})\n"
            f"  |> range(start: {flux_time(low_ns)}, stop: {flux_time(high_ns)})\n"
            f"  |> filter(fn: (r) => r._measurement == {flux_text(kind)})\n"
        )

    def _parts(
        self,
        kind: SeriesKind,
        low_ns: int,
        high_ns: int,
        subjects: Sequence[str] | None,
        quantities: Sequence[str] | None,
    ) -> Iterator[_Hours]:
        if low_ns >= high_ns or (quantities is not None and not len(quantities)):
            return
        only = [] if quantities is None else [ql_any("quantity", [*map(stored_name, quantities)])]
        for where in _subject_conditions(subjects):
            points = select(
                self._influx,
                self._bucket,
                kind,
                low_ns=low_ns,
                high_ns=high_ns,
                tags=("quantity", "subject"),
                fields=_FIELDS,
                where=[*where, *only],
            )
            yield _only(_hours_of(points), subjects)

    def _held(self, kind: SeriesKind, groups: _Groups) -> _Hours:
        """What the spans hold."""
        parts: list[_Hours] = []
        for stretch in _stretches({period for period, _ in groups}):
            within = {key: names for key, names in groups.items() if stretch.contains(key[0].start)}
            subjects = sorted(set().union(*within.values()))
            for part in self._parts(kind, *span_ns(stretch), subjects, None):
                parts.append(_take(part, _group_of(part, within) >= 0))
        return _together(parts)

    def _series(self, hours: _Hours) -> Series:
        found, place = np.unique(hours.fields["source"], return_inverse=True)
        names = [self._source_name(float(code)) for code in found]
        columns: dict[str, Any] = {
            name: np.where(np.isnan(hours.fields[name]), usual, hours.fields[name])
            for name, usual in SHARE_DEFAULTS.items()
        }
        columns["flags"] = columns["flags"].astype(np.int32)
        return Series(
            subjects=hours.subjects,
            quantities=hours.quantities,
            sources=tuple(names),
            subject=hours.subject,
            quantity=hours.quantity,
            start=to_times(hours.start),
            value=hours.fields["value"],
            source=place.astype(np.int32),
            **columns,
        )

    def _codes(self, sources: Sequence[str]) -> list[float]:
        """The codes of sources, whose texts are written where they are new."""
        codes = [source_code(name) for name in sources]
        with self._lock:
            fresh = {c: n for c, n in zip(codes, sources, strict=True) if c not in self._sources}
            if fresh:
                self._influx.write(self._bucket, [source_line(n, c) for c, n in fresh.items()])
                self._sources |= fresh
        return codes

    def _source_name(self, code: float) -> str:
        with self._lock:
            if code not in self._sources:
                self._load_sources()
            if code not in self._sources:
                raise StoreUnavailable(
                    f"The bucket {self._bucket} at {self._influx.url} holds hours made from "
                    f"{code:.0f} and does not say what that is. Clear the derived hours and "
                    f"compute them again: tanyuan rebuild."
                )
            return self._sources[code]

    def _load_sources(self) -> None:
        flux = (
            f"from(bucket: {flux_text(self._bucket)})\n"
            f"  |> range(start: 1970-01-01T00:00:00Z, stop: 1970-01-01T00:00:01Z)\n"
            f"  |> filter(fn: (r) => r._measurement == {flux_text(SOURCE)})\n"
        )
        found = ask(self._influx, flux, tags=("name",), timed=False)
        self._sources |= dict(zip(found.value.tolist(), found.tags["name"], strict=True))


def source_code(name: str) -> float:
    """A whole number below 2**52 for what hours are made from, the same in every process."""
    return float(int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest()) >> 12)


def _subject_conditions(subjects: Sequence[str] | None) -> Iterator[list[str]]:
    if subjects is None or len(subjects) > READ_ALL_METERS:
        yield []
        return
    stored = sorted({stored_name(name) for name in subjects})
    for i in range(0, len(stored), METERS_PER_QUERY):
        yield [ql_any("subject", stored[i : i + METERS_PER_QUERY])]


def _hours_of(points: Points) -> _Hours:
    """The points that are hours: each has a source."""
    return _take(
        _Hours(
            points.names["subject"],
            points.names["quantity"],
            points.codes["subject"],
            points.codes["quantity"],
            points.time,
            {name: points.field(name) for name in _FIELDS},
        ),
        ~np.isnan(points.field("source")),
    )


def _take(hours: _Hours, which: Mask) -> _Hours:
    return _Hours(
        hours.subjects,
        hours.quantities,
        hours.subject[which],
        hours.quantity[which],
        hours.start[which],
        {name: column[which] for name, column in hours.fields.items()},
    )


def _only(hours: _Hours, subjects: Sequence[str] | None) -> _Hours:
    if subjects is None or len(subjects) <= READ_ALL_METERS:
        return hours
    wanted = set(subjects)
    return _take(hours, np.array([n in wanted for n in hours.subjects], np.bool_)[hours.subject])


def _together(parts: Sequence[_Hours]) -> _Hours:
    subjects, subject = encode([name for part in parts for name in part.subjects])
    quantities, quantity = encode([name for part in parts for name in part.quantities])
    at_s = np.cumsum([0, *(len(part.subjects) for part in parts)])
    at_q = np.cumsum([0, *(len(part.quantities) for part in parts)])
    none: NDArray[Any] = np.empty(0, np.intp)
    return _Hours(
        subjects,
        quantities,
        np.concatenate(
            [none, *(subject[p.subject + at_s[i]] for i, p in enumerate(parts) if len(p))]
        ).astype(np.int32),
        np.concatenate(
            [none, *(quantity[p.quantity + at_q[i]] for i, p in enumerate(parts) if len(p))]
        ).astype(np.int32),
        np.concatenate([none, *(p.start for p in parts)]).astype(np.int64),
        {name: np.concatenate([np.empty(0), *(p.fields[name] for p in parts)]) for name in _FIELDS},
    )


def _grouped(spans: Sequence[Span]) -> _Groups:
    groups: _Groups = defaultdict(set)
    for span in spans:
        groups[span.period, span.quantity].add(span.subject)
    return groups


def _stretches(periods: Collection[Period]) -> list[Period]:
    """A few periods that hold all of these, and do not overlap."""
    ordered = sorted(period for period in periods if period.start < period.end)
    starts = np.array([to_us(period.start) for period in ordered], "datetime64[us]")
    found: list[Period] = []
    for group in clusters(starts):
        low = ordered[group[0]].start
        high = max(ordered[i].end for i in group)
        while found and found[-1].end > low:
            last = found.pop()
            low, high = last.start, max(high, last.end)
        found.append(Period(low, high))
    return found


def _group_of(hours: _Hours, groups: _Groups) -> NDArray[np.intp]:
    """For each hour one of the groups whose spans hold it, or -1."""
    found = np.full(len(hours), -1, np.intp)
    for i, ((period, quantity), subjects) in enumerate(groups.items()):
        low, high = span_ns(period)
        subject = np.array([name in subjects for name in hours.subjects], np.bool_)
        meant = np.array([quantity in (None, name) for name in hours.quantities], np.bool_)
        timely = (hours.start >= low) & (hours.start < high)
        found[subject[hours.subject] & meant[hours.quantity] & timely] = i
    return found


def _places(there: _Hours, series: Series) -> NDArray[np.intp]:
    """For each hour of a series the place where it is there already, or -1."""
    if not len(there) or not len(series):
        return np.full(len(series), -1, np.intp)
    _, subject = encode([*there.subjects, *series.subjects])
    _, quantity = encode([*there.quantities, *series.quantities])
    subjects = np.concatenate(
        [subject[there.subject], subject[series.subject + len(there.subjects)]]
    )
    quantities = np.concatenate(
        [quantity[there.quantity], quantity[series.quantity + len(there.quantities)]]
    )
    start = np.concatenate([there.start, series.start.astype(np.int64) * NS_PER_US])
    order = np.lexsort((start, quantities, subjects))
    same = np.zeros(len(order), np.bool_)
    same[1:] = True
    for column in (start, quantities, subjects):
        same[1:] &= column[order][1:] == column[order][:-1]
    found = np.full(len(series), -1, np.intp)
    pairs = np.flatnonzero(same)  # the sort is stable: what is there comes before what is new
    found[order[pairs] - len(there)] = order[pairs - 1]
    return found


def _spelled(column: NDArray[np.float64], again: NDArray[np.intp], gone: Mask) -> Mask:
    """Where a field must be written because the point has it already."""
    if not len(column):
        return np.zeros(len(again), np.bool_)
    return np.asarray((again >= 0) & ~np.isnan(column[again]) & ~gone[again])


def _deletes(
    kind: str, there: _Hours, gone: Mask, group: NDArray[np.intp]
) -> Iterator[tuple[int, int, str]]:
    """Spans to be deleted: hours of one subject and quantity that follow one another and all go.

    Args:
        kind: The measurement.
        there: All hours that the spans hold.
        gone: Which of them go.
        group: In which span each is: between two of the same span there is no hour that stays.
    """
    if not gone.any():
        return
    order = np.lexsort((there.start, there.quantity, there.subject))
    new = np.ones(len(order), np.bool_)
    new[1:] = False
    for column in (there.subject, there.quantity, group, gone):
        new[1:] |= column[order][1:] != column[order][:-1]
    starts = np.flatnonzero(new)
    ends = np.append(starts[1:], len(order)) - 1
    for low, high in zip(order[starts].tolist(), order[ends].tolist(), strict=True):
        if gone[low]:
            predicate = (
                f'_measurement="{kind}"'
                f" AND subject={_quoted(there.subjects[there.subject[low]])}"
                f" AND quantity={_quoted(there.quantities[there.quantity[low]])}"
            )
            yield int(there.start[low]), int(there.start[high]) + 1, predicate


def _quoted(name: str) -> str:
    """A tag value in a delete predicate."""
    return '"' + stored_name(name).replace('"', '\\"') + '"'
