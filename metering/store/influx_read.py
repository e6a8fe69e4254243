"""Readings out of InfluxDB: rows as they are kept, and what counts among them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from metering.periods import Times
from metering.readings import Codes, Mask, Readings
from metering.store.influx_client import Influx
from metering.store.influx_columns import Points, select
from metering.store.influx_schema import (
    FLAGS,
    NS_PER_US,
    READING,
    RECEIVED,
    SEQUENCE,
    SLOTS,
    SUPERSEDED,
    Nanoseconds,
    flux_any,
    flux_text,
    flux_time,
    of_register,
    plain_name,
    ql_any,
    ql_text,
    stored_name,
    to_times,
    us_of,
)
from metering.store.resolve import counting_rows, resolve
from metering.store.sorting import Index, sort_order, sorted_readings

log = logging.getLogger(__name__)

METERS_PER_QUERY: Final = 1000
"""How many meters a query names; more are asked for in several."""
MAX_SPANS: Final = 8
"""In how many pieces of time readings that lie apart are looked for."""
READ_ALL_METERS: Final = 5000
"""From so many meters on, all are read and the others dropped."""

TAGS: Final = {READING: ("journal", "meter"), SUPERSEDED: ("journal", "meter", "page")}
"""The tags that tell the series of a measurement apart."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Which readings are meant."""

    meters: Sequence[str] | None = None
    registers: Sequence[str] | None = None
    journal: str | None = None
    """Only this one's."""
    not_journal: str | None = None
    """All but this one's."""

    def in_flux(self) -> Iterator[str]:
        """Filters in Flux, for a part of the meters each."""
        for meters in self._groups():
            parts = [] if meters is None else [flux_any("meter", meters)]
            if self.registers is not None:
                parts.append(flux_any("_field", [*map(stored_name, self.registers)]))
            if self.journal is not None:
                parts.append(flux_any("journal", [stored_name(self.journal)]))
            yield "".join(parts)

    def in_influxql(self) -> Iterator[list[str]]:
        """Conditions in InfluxQL, for a part of the meters each."""
        for meters in self._groups():
            parts = [] if meters is None else [ql_any("meter", meters)]
            if self.journal is not None:
                parts.append(f"journal = {ql_text(stored_name(self.journal))}")
            if self.not_journal is not None:
                parts.append(f"journal != {ql_text(stored_name(self.not_journal))}")
            yield parts

    def fields(self) -> list[str] | None:
        """The fields that say something about the registers; None if all do."""
        if self.registers is None:
            return None
        own = [
            field
            for name in dict.fromkeys(self.registers)
            for field in (
                stored_name(name),
                *(of_register(kind, name) for kind in (FLAGS, RECEIVED, SEQUENCE)),
            )
        ]
        return [*own, RECEIVED, SEQUENCE]

    def _groups(self) -> Iterator[list[str] | None]:
        """Stored names of meters for one query after the other; None for all meters."""
        if self.registers is not None and not len(self.registers):
            return
        if self.meters is None or len(self.meters) > READ_ALL_METERS:
            yield None
            return
        meters = sorted({stored_name(meter) for meter in self.meters})
        for i in range(0, len(meters), METERS_PER_QUERY):
            yield meters[i : i + METERS_PER_QUERY]

    def meant(self, meters: Sequence[str], meter: Codes) -> Mask | None:
        """Which rows are of a meter that was asked for; None if all are."""
        if self.meters is None or len(self.meters) <= READ_ALL_METERS:
            return None
        wanted = set(self.meters)
        return np.array([name in wanted for name in meters], np.bool_)[meter]


@dataclass(frozen=True, slots=True)
class Kept:
    """Rows as they are kept, and where."""

    rows: Readings
    slot: Nanoseconds
    """The place of a superseded row among those of its meter, journal and time; else 0."""

    def take(self, which: Mask) -> Kept:
        """Some of the rows."""
        return Kept(self.rows.take(which), self.slot[which])


class Reader:
    """Reads one bucket of readings."""

    def __init__(self, influx: Influx, bucket: str) -> None:
        self.influx = influx
        self.bucket = bucket

    def source(self, low_ns: int, high_ns: int, measurement: str) -> str:
        """The beginning of a query."""
        return (
            f"from(bucket: {flux_text(self.bucket)})\n"
            f"  |> range(start: {flux_time(low_ns)}, stop: {flux_time(high_ns)})\n"
            f"  |> filter(fn: (r) => r._measurement == {flux_text(measurement)})\n"
        )

    def kept(self, measurement: str, low_ns: int, high_ns: int, scope: Scope) -> Kept:
        """The rows of a measurement with low <= time < high, unsorted."""
        parts = [_none()]
        for where in scope.in_influxql() if low_ns < high_ns else ():
            points = select(
                self.influx,
                self.bucket,
                measurement,
                low_ns=low_ns,
                high_ns=high_ns,
                tags=TAGS[measurement],
                fields=scope.fields(),
                where=where,
            )
            part = _rows_of(points)
            meant = scope.meant(part.rows.meters, part.rows.meter)
            parts.append(part if meant is None else part.take(meant))
        parts = [part for part in parts if len(part.rows)] or parts[:1]
        rows = Readings.concat([part.rows for part in parts])
        return Kept(rows, np.concatenate([part.slot for part in parts]))

    def rows(self, low_ns: int, high_ns: int, scope: Scope) -> Readings:
        """All rows of a span, unsorted; some more than once.

        What counts is read first: a row that is moved meanwhile is then seen twice, not never.
        """
        counting = self.kept(READING, low_ns, high_ns, scope).rows
        beside = self.kept(SUPERSEDED, low_ns, high_ns, scope).rows
        return Readings.concat([counting, beside]) if len(beside) else counting

    def rows_near(self, measurement: str, times: Times, scope: Scope) -> Kept:
        """The rows of a few spans that hold all these times, and little else."""
        parts = [_none()]
        for group in clusters(times):
            low, high = us_of(times[group].min()), us_of(times[group].max()) + 1
            parts.append(self.kept(measurement, low * NS_PER_US, high * NS_PER_US, scope))
        rows = Readings.concat([part.rows for part in parts])
        return Kept(rows, np.concatenate([part.slot for part in parts]))


def counted(rows: Readings) -> Readings:
    """What counts of all rows of the registers and times they are of, sorted."""
    alone, several = apart(rows)
    if not len(several):
        return alone
    return sorted_readings(Readings.concat([alone, counting_rows(several, resolve(several))]))


def apart(rows: Readings) -> tuple[Readings, Readings]:
    """Sorted rows whose register and time is there once, and the others."""
    order = sort_order(rows.meter, rows.register, rows.read_at)
    ordered = rows if order is None else rows.take(order)
    again = np.zeros(len(ordered), np.bool_)
    again[1:] = (
        (ordered.read_at[1:] == ordered.read_at[:-1])
        & (ordered.meter[1:] == ordered.meter[:-1])
        & (ordered.register[1:] == ordered.register[:-1])
    )
    if not again.any():
        return sorted_readings(ordered), ordered.take(again)
    several = again.copy()
    several[:-1] |= again[1:]
    return sorted_readings(ordered.take(~several)), ordered.take(several)


def clusters(times: Times) -> list[Index]:
    """The positions of many times, in a few groups of times that lie together, oldest first."""
    if not len(times):
        return []
    order = np.argsort(times, kind="stable")
    gaps = np.diff(times[order].astype(np.int64))
    widest = np.argsort(-gaps, kind="stable")[: MAX_SPANS - 1]
    cuts = np.sort(widest[gaps[widest] > 0]) + 1
    return list(np.split(order, cuts))


def _none() -> Kept:
    return Kept(Readings.empty(), np.empty(0, np.int64))


def _rows_of(points: Points) -> Kept:
    """A row for every register of every point, with its flags and provenance."""
    registers = [name for name in points.fields if not is_ours(name)]
    parts: list[NDArray[np.intp]] = []
    columns: dict[str, list[NDArray[Any]]] = {
        name: [] for name in ("value", FLAGS, RECEIVED, SEQUENCE)
    }
    received, sequence = points.field(RECEIVED), points.field(SEQUENCE)
    for name in registers:
        value = points.fields[name]
        at = np.flatnonzero(~np.isnan(value))
        parts.append(at)
        columns["value"].append(value[at])
        columns[FLAGS].append(points.field(f"{FLAGS}:{name}", 0.0)[at])
        for kind, of_point in ((RECEIVED, received), (SEQUENCE, sequence)):
            own = points.field(f"{kind}:{name}")[at]
            columns[kind].append(np.where(np.isnan(own), of_point[at], own))
    if not parts:
        return _none()
    at = np.concatenate(parts)
    register = np.repeat(np.arange(len(parts), dtype=np.int32), [len(part) for part in parts])
    value, flags, received, sequence = (np.concatenate(column) for column in columns.values())
    ours = ~(np.isnan(received) | np.isnan(sequence))
    if not ours.all():
        log.warning("store: %d values in InfluxDB are not ours, left out", int((~ours).sum()))
        at, register, value = at[ours], register[ours], value[ours]
        flags, received, sequence = flags[ours], received[ours], sequence[ours]
    rows = Readings(
        meters=points.names["meter"],
        registers=tuple(plain_name(name) for name in registers),
        journals=points.names["journal"],
        meter=points.codes["meter"][at],
        register=register,
        read_at=to_times(points.time[at]),
        value=value,
        flags=flags.astype(np.int32),
        received_at=received.astype(np.int64).astype("datetime64[us]"),
        journal=points.codes["journal"][at],
        sequence=sequence.astype(np.int64),
    )
    return Kept(rows, _slots(points)[at])


def _slots(points: Points) -> Nanoseconds:
    slot = points.time % NS_PER_US
    if "page" in points.names:
        pages = np.array([int(page) for page in points.names["page"]], np.int64)
        slot = slot + pages[points.codes["page"]] * SLOTS
    return np.asarray(slot)


def is_ours(field: str) -> bool:
    """Whether a field is no register but says something about one, or about the point."""
    return field.startswith("~") and not field.startswith("~~")
