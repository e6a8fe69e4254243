"""Readings out of InfluxDB: rows as they are kept, and what counts among them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from metering.periods import Times
from metering.readings import Readings
from metering.store.influx_client import Influx
from metering.store.influx_columns import (
    NOWHERE,
    Answer,
    Index,
    Runs,
    ask,
    matching,
    runs_of,
    taken,
)
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
    stored_name,
    to_times,
    us_of,
)
from metering.store.resolve import counting_rows, resolve
from metering.store.sorting import sort_order, sorted_readings

log = logging.getLogger(__name__)

METERS_PER_QUERY: Final = 250
"""How many meters a query names; more are asked for in several."""
MAX_SPANS: Final = 8
"""In how many pieces of time readings that lie apart are looked for."""
READ_ALL_METERS: Final = 5000
"""From so many meters on, all are read and the others dropped."""

_TAGS: Final = {READING: ("journal", "meter"), SUPERSEDED: ("journal", "meter", "page")}


@dataclass(frozen=True, slots=True)
class Scope:
    """Which readings are meant."""

    meters: Sequence[str] | None = None
    registers: Sequence[str] | None = None
    journal: str | None = None
    """Only this one's."""
    not_journal: str | None = None
    """All but this one's."""

    def filters(self) -> Iterator[str]:
        """Filters in Flux; each for a part of the meters, so that no query grows too long."""
        if (self.meters is not None and not len(self.meters)) or (
            self.registers is not None and not len(self.registers)
        ):
            return
        rest = ""
        if self.registers is not None:
            rest += flux_any("_field", self.fields())
        if self.journal is not None:
            rest += flux_any("journal", [stored_name(self.journal)])
        if self.not_journal is not None:
            name = flux_text(stored_name(self.not_journal))
            rest += f"  |> filter(fn: (r) => r.journal != {name})\n"
        if self.meters is None or len(self.meters) > READ_ALL_METERS:
            yield rest
            return
        meters = sorted({stored_name(meter) for meter in self.meters})
        for i in range(0, len(meters), METERS_PER_QUERY):
            yield flux_any("meter", meters[i : i + METERS_PER_QUERY]) + rest

    def fields(self) -> list[str]:
        """The fields that say something about the registers."""
        own = [
            field
            for name in self.registers or ()
            for field in (
                stored_name(name),
                *(of_register(kind, name) for kind in (FLAGS, RECEIVED, SEQUENCE)),
            )
        ]
        return [*own, RECEIVED, SEQUENCE]

    def only(self, rows: Readings) -> Readings:
        """Drop the meters that were read because there were too many to name."""
        if self.meters is None or len(self.meters) <= READ_ALL_METERS or not len(rows):
            return rows
        wanted = set(self.meters)
        member = np.array([name in wanted for name in rows.meters], np.bool_)
        return rows.take(member[rows.meter])


@dataclass(frozen=True, slots=True)
class Kept:
    """Rows as they are kept, and where."""

    rows: Readings
    slot: Nanoseconds
    """The place of a superseded row among those of its meter, journal and time; else 0."""


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
        tags = ("_field", *_TAGS[measurement])
        columns = ", ".join(flux_text(name) for name in ("_time", "_value", *tags))
        if low_ns < high_ns:
            for filters in scope.filters():
                flux = self.source(low_ns, high_ns, measurement) + filters
                answer = ask(self.influx, f"{flux}  |> keep(columns: [{columns}])\n", tags=tags)
                parts.append(_gathered(answer, _TAGS[measurement]))
        parts = [part for part in parts if len(part.rows)] or parts[:1]
        rows = Readings.concat([part.rows for part in parts])
        return Kept(scope.only(rows), np.concatenate([part.slot for part in parts]))

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


def _gathered(answer: Answer, tags: Sequence[str]) -> Kept:
    """Rows from the tables of their values, flags and provenance."""
    fields = answer.names["_field"]
    registers = {name: i for i, name in enumerate(f for f in fields if not _is_ours(f) and f)}
    runs = runs_of(answer, tags)
    code_of_field = np.array([registers.get(name, NOWHERE) for name in fields], np.int32)
    values = runs.take(code_of_field[runs.field] != NOWHERE) if len(answer) else runs
    at = values.rows()
    register = np.repeat(code_of_field[values.field], values.length) if len(at) else at
    received = _of_each(answer, runs, values, registers, RECEIVED)
    sequence = _of_each(answer, runs, values, registers, SEQUENCE)
    flags = _own(answer, runs, values, registers, FLAGS, 0.0)
    ours = ~(np.isnan(received) | np.isnan(sequence))
    if not ours.all():
        log.warning("store: %d values in InfluxDB are not ours, left out", int((~ours).sum()))
    at, received, sequence = at[ours], received[ours], sequence[ours]
    rows = Readings(
        meters=answer.names["meter"],
        registers=tuple(plain_name(name) for name in registers),
        journals=answer.names["journal"],
        meter=answer.codes["meter"][at],
        register=register[ours].astype(np.int32),
        read_at=to_times(answer.time[at]),
        value=answer.value[at],
        flags=flags[ours].astype(np.int32),
        received_at=received.astype(np.int64).astype("datetime64[us]"),
        journal=answer.codes["journal"][at],
        sequence=sequence.astype(np.int64),
    )
    return Kept(rows, _slots(answer, at))


def _slots(answer: Answer, at: Index) -> Nanoseconds:
    slot = answer.time[at] % 1000
    if "page" in answer.names and len(at):
        pages = np.array([int(page or 0) for page in answer.names["page"]], np.int64)
        slot = slot + pages[answer.codes["page"][at]] * SLOTS
    return np.asarray(slot)


def _is_ours(field: str) -> bool:
    return field.startswith("~") and not field.startswith("~~")


def _of_each(
    answer: Answer, runs: Runs, values: Runs, registers: dict[str, int], kind: str
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """What each row's point says, or its register itself."""
    base = np.full(int(values.length.sum()), np.nan)
    if kind in answer.names["_field"]:
        code = answer.names["_field"].index(kind)
        base = taken(answer.value, matching(answer, values, runs.take(runs.field == code)), np.nan)
    own = _own(answer, runs, values, registers, kind, np.nan)
    return np.asarray(np.where(np.isnan(own), base, own))


def _own(
    answer: Answer, runs: Runs, values: Runs, registers: dict[str, int], kind: str, default: float
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """What the fields of single registers say; the default where they say nothing."""
    fields = answer.names["_field"]
    found = np.full(int(values.length.sum()), default)
    begins = np.cumsum(values.length) - values.length
    for name in registers:
        field = f"{kind}:{name}"
        if field not in fields:
            continue
        mine = np.flatnonzero(values.field == fields.index(name))
        asked = values.take(mine)
        others = runs.take(runs.field == fields.index(field))
        told = taken(answer.value, matching(answer, asked, others), default)
        offset = np.cumsum(asked.length) - asked.length
        place = np.arange(len(told)) + np.repeat(begins[mine] - offset, asked.length)
        found[place] = told
    return found
