"""An answer of InfluxDB as NumPy columns: rows of tables that follow one another.

InfluxDB gives every field of every series as a table of its own, in the order of time. What
belongs to one row of ours is gathered from several tables; where they have the same times, which
is nearly always, whole columns are laid side by side.

Buffers pass as they are: pyarrow's conversions to NumPy would import pandas.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from metering.readings import Codes, Floats
from metering.store.influx_client import Influx
from metering.store.influx_schema import Nanoseconds, plain_name

Index = NDArray[np.intp]

NOWHERE: Final = -1
"""No place in an answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Rows of an answer: times, values, and text columns as codes."""

    time: Nanoseconds
    value: Floats
    names: dict[str, tuple[str, ...]]
    """The names of each text column, as we know them (fields: as they are stored)."""
    codes: dict[str, Codes]

    def __len__(self) -> int:
        return len(self.value)


@dataclass(frozen=True, slots=True)
class Runs:
    """Where the tables of an answer begin, and how long they are."""

    start: Index
    length: Index
    field: Codes
    """Which field each is of."""
    series: NDArray[np.int64]
    """A number for the other tags of each."""

    def take(self, which: NDArray[Any]) -> Runs:
        """Some of the tables."""
        return Runs(self.start[which], self.length[which], self.field[which], self.series[which])

    def rows(self) -> Index:
        """The positions of all rows of these tables."""
        if not len(self.start):
            return np.empty(0, np.intp)
        offset = np.cumsum(self.length) - self.length
        shift = np.repeat(self.start - offset, self.length)
        return np.asarray(np.arange(int(self.length.sum())) + shift)


def ask(influx: Influx, flux: str, *, tags: Sequence[str], timed: bool = True) -> Answer:
    """The answer to a query that keeps `_value`, some tags and perhaps `_time`."""
    table = influx.query(flux, ["_value", *tags, *(["_time"] if timed else [])])
    names, codes = {}, {}
    for tag in tags:
        stored, codes[tag] = _text(table.column(tag))
        names[tag] = stored if tag == "_field" else tuple(plain_name(name) for name in stored)
    time = _numbers(table.column("_time"), np.int64) if timed else np.empty(0, np.int64)
    return Answer(time, _numbers(table.column("_value"), np.float64), names, codes)


def runs_of(answer: Answer, tags: Sequence[str]) -> Runs:
    """The tables of an answer that has the field and these tags."""
    field = answer.codes["_field"]
    series = np.zeros(len(answer), np.int64)
    for tag in tags:
        series = series * (len(answer.names[tag]) + 1) + answer.codes[tag]
    new = np.ones(len(answer), np.bool_)
    new[1:] = (field[1:] != field[:-1]) | (series[1:] != series[:-1])
    start = np.flatnonzero(new)
    length = np.diff(start, append=len(answer))
    return Runs(start, length, field[start], series[start])


def matching(answer: Answer, runs: Runs, others: Runs) -> Index:
    """For every row of some tables the row of the same time in a table of the same series.

    Args:
        answer: Where all of them are.
        runs: The tables whose rows are asked for.
        others: At most one table for each series.

    Returns:
        Positions in the answer, or `NOWHERE`.
    """
    rows = runs.rows()
    found = np.full(len(rows), NOWHERE, np.intp)
    if not len(others.start) or not len(rows):
        return found
    order = np.argsort(others.series, kind="stable")
    place = np.searchsorted(others.series[order], runs.series)
    other = order[np.minimum(place, len(order) - 1)]
    exists = others.series[other] == runs.series
    alike = exists & (others.length[other] == runs.length)
    begins = np.cumsum(runs.length) - runs.length

    shift = np.where(alike, others.start[other] - runs.start, 0)
    beside = rows + np.repeat(shift, runs.length)
    same = np.repeat(alike, runs.length) & (answer.time[beside] == answer.time[rows])
    whole = alike & np.logical_and.reduceat(same, begins)
    took = np.repeat(whole, runs.length)
    found[took] = beside[took]
    for i in np.flatnonzero(exists & ~whole).tolist():
        low, high = int(begins[i]), int(begins[i] + runs.length[i])
        first = int(others.start[other[i]])
        times = answer.time[first : first + int(others.length[other[i]])]
        wanted = answer.time[rows[low:high]]
        at = np.minimum(np.searchsorted(times, wanted), len(times) - 1)
        found[low:high] = np.where(times[at] == wanted, first + at, NOWHERE)
    return found


def taken(column: NDArray[Any], where: Index, default: NDArray[Any] | float) -> NDArray[Any]:
    """A column at some places, and another value where there is none."""
    if not len(column):
        return np.broadcast_to(default, where.shape).astype(column.dtype)
    return np.where(where == NOWHERE, default, column[np.maximum(where, 0)])


def _text(column: pa.ChunkedArray) -> tuple[tuple[str, ...], Codes]:
    """A coded text column, its dictionaries already one; no text at all is an empty name."""
    chunks = [chunk for chunk in column.chunks if len(chunk)]
    if not chunks:
        return (), np.empty(0, np.int32)
    names = tuple(chunks[0].dictionary.to_pylist())
    if any(chunk.null_count for chunk in chunks):
        names = (*names, "")
    parts = []
    for chunk in chunks:
        indices = chunk.indices.fill_null(len(names) - 1)
        parts.append(np.frombuffer(indices.buffers()[1], np.int32, len(chunk), indices.offset * 4))
    return names, np.concatenate(parts)


def _numbers(column: pa.ChunkedArray, kind: type[Any]) -> NDArray[Any]:
    parts = [
        np.frombuffer(chunk.buffers()[1], kind, len(chunk), chunk.offset * 8)
        for chunk in column.chunks
        if len(chunk)
    ]
    return np.concatenate(parts) if parts else np.empty(0, kind)
