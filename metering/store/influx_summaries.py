"""Counts and ends of every register, from InfluxDB's own counting wherever that is exact."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Final

import numpy as np

from metering.periods import from_us
from metering.store.influx_columns import ask, select
from metering.store.influx_nearest import VALUES_ONLY, Register
from metering.store.influx_read import TAGS, Reader, Scope, counted, is_ours
from metering.store.influx_schema import (
    NS_PER_US,
    READING,
    RECEIVED,
    SEQUENCE,
    flux_any,
    flux_text,
    of_register,
    plain_name,
    stored_name,
)
from metering.store.port import MeterSummary
from metering.store.sorting import first_of_each

_TAGS: Final = ("_field", "meter", "journal")
_EVER: Final = (-(2**63), 2**63)

_METERS_AT_ONCE: Final = 20

_Key = tuple[str, str, str]
"""Meter, journal and field or register."""


@dataclass(slots=True)
class _Ends:
    """What is known of one register in one journal."""

    count: int = 0
    first: int = 0
    last: int = 0
    received: float | None = None
    """The newest arrival, if it could be told. [us]"""


def read_summaries(reader: Reader) -> list[MeterSummary]:
    """Counts and ends of every register, sorted.

    A register that several journals wrote at the same time, or whose newest arrival is not at its
    newest time, is read through; all others are counted by InfluxDB.
    """
    found = _counted(reader)
    unsure: list[Register] = []
    summaries = []
    for register, journals in found.items():
        ends = sorted(journals.values(), key=lambda e: (e.first, e.last))
        apart = all(a.last < b.first for a, b in pairwise(ends))
        received = [e.received for e in ends if e.received is not None]
        if not apart or len(received) < len(ends):
            unsure.append(register)
            continue
        summaries.append(
            MeterSummary(
                meter=register[0],
                register=register[1],
                count=sum(e.count for e in ends),
                first_read_at=_instant(ends[0].first),
                last_read_at=_instant(ends[-1].last),
                last_received_at=from_us(np.datetime64(int(max(received)), "us")),
            )
        )
    summaries += _read_through(reader, unsure)
    return sorted(summaries, key=lambda s: (s.meter, s.register))


def count_rows(reader: Reader, low_ns: int, high_ns: int) -> dict[str, int]:
    """How many rows of each meter lie in a span, superseded ones too, as InfluxDB counts them."""
    found: dict[str, int] = defaultdict(int)
    if low_ns >= high_ns:
        return found
    for measurement, tags in TAGS.items():
        points = select(
            reader.influx, reader.bucket, measurement,
            low_ns=low_ns, high_ns=high_ns, tags=tags, counted=True,
        )  # fmt: skip
        for name, column in points.fields.items():
            if not is_ours(name):
                for code, count in zip(points.codes["meter"], column, strict=True):
                    if count > 0:
                        found[points.names["meter"][code]] += int(count)
    return found


def _counted(reader: Reader) -> dict[Register, dict[str, _Ends]]:
    """Counts and ends of every register in every journal.

    Most meters have all registers at all times: then the ends are those of the meter's points,
    and InfluxDB is not asked for those of every register.
    """
    found: dict[Register, dict[str, _Ends]] = defaultdict(dict)
    odd: set[str] = set()
    ends = _ends(reader, f"  |> filter(fn: (r) => r._field == {flux_text(SEQUENCE)})\n")
    for meter, journal, counts in _counts(reader):
        points = counts.pop(SEQUENCE, 0)
        for register, count in counts.items():
            first, last = ends.get((meter, journal, SEQUENCE), (0, 0))
            found[meter, register][journal] = _Ends(count, first, last)
            if count != points:
                odd.add(meter)
    if odd:
        some = flux_any("meter", sorted(map(stored_name, odd))) if len(odd) <= 1000 else ""
        for (meter, journal, register), bounds in _ends(reader, some + VALUES_ONLY).items():
            if known := found[meter, register].get(journal):
                known.first, known.last = bounds
    _add_arrivals(reader, found)
    return found


def _counts(reader: Reader) -> Iterator[tuple[str, str, dict[str, int]]]:
    """For every meter and journal how many values its registers have, and how many its points."""
    points = select(
        reader.influx,
        reader.bucket,
        READING,
        low_ns=_EVER[0],
        high_ns=_EVER[1],
        tags=("journal", "meter"),
        counted=True,
    )
    columns = {
        name if name == SEQUENCE else plain_name(name): column.tolist()
        for name, column in points.fields.items()
        if name == SEQUENCE or not is_ours(name)
    }
    for i in range(len(points)):
        counts = {name: int(column[i]) for name, column in columns.items() if column[i] > 0}
        meter = points.names["meter"][points.codes["meter"][i]]
        yield meter, points.names["journal"][points.codes["journal"][i]], counts


def _ends(reader: Reader, only: str) -> dict[_Key, tuple[int, int]]:
    firsts = {key: time for key, time, _ in _selected(reader, only, "first")}
    lasts = {key: time for key, time, _ in _selected(reader, only, "last")}
    return {key: (firsts.get(key, time), time) for key, time in lasts.items()}


def _add_arrivals(reader: Reader, found: dict[Register, dict[str, _Ends]]) -> None:
    """The newest arrival of every register, where it can be told from its points' arrivals."""
    ours = f"  |> filter(fn: (r) => r._field =~ /^{RECEIVED}(:|$)/)\n"
    newest = {key: value for key, _, value in _selected(reader, ours, "max")}
    at_last = {key: (time, value) for key, time, value in _selected(reader, ours, "last")}
    for (meter, register), journals in found.items():
        for journal, ends in journals.items():
            of_points = newest.get((meter, journal, RECEIVED), -np.inf)
            own_field = (meter, journal, of_register(RECEIVED, register))
            own = newest.get(own_field, -np.inf)
            time, value = at_last.get((meter, journal, RECEIVED), (0, -np.inf))
            if own >= of_points:
                ends.received = own
            elif (
                time == ends.last
                and value == of_points
                and at_last.get(own_field, (None, 0.0))[0] != time
            ):
                ends.received = of_points


def _read_through(reader: Reader, registers: list[Register]) -> Iterator[MeterSummary]:
    wanted = set(registers)
    meters = sorted({meter for meter, _ in registers})
    for i in range(0, len(meters), _METERS_AT_ONCE):
        some = meters[i : i + _METERS_AT_ONCE]
        names = sorted({register for meter, register in registers if meter in some})
        rows = counted(reader.rows(*_EVER, Scope(some, names)))
        starts = np.flatnonzero(first_of_each(rows, 1))
        for low, high in zip(starts, np.append(starts[1:], len(rows)), strict=True):
            meter, register = rows.meters[rows.meter[low]], rows.registers[rows.register[low]]
            if (meter, register) in wanted:
                yield MeterSummary(
                    meter=meter,
                    register=register,
                    count=int(high - low),
                    first_read_at=from_us(rows.read_at[low]),
                    last_read_at=from_us(rows.read_at[high - 1]),
                    last_received_at=from_us(rows.received_at[low:high].max()),
                )


def _selected(reader: Reader, only: str, choice: str) -> Iterator[tuple[_Key, int, float]]:
    """What one of InfluxDB's selectors gives for every field. Times in ns."""
    flux = f"{reader.source(*_EVER, READING)}{only}  |> {choice}()\n"
    answer = ask(reader.influx, flux, tags=_TAGS)
    for meter, journal, name, time, value in zip(
        answer.tags["meter"],
        answer.tags["journal"],
        answer.tags["_field"],
        answer.time.tolist(),
        answer.value.tolist(),
        strict=True,
    ):
        yield (meter, journal, plain_name(name)), time, value


def _instant(ns: int) -> datetime:
    return from_us(np.datetime64(ns // NS_PER_US, "us"))
