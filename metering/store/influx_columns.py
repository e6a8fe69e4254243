"""An answer of InfluxDB as NumPy columns.

Two kinds: of Flux, a row per value, for what its index answers at once (first, last, counts); of
InfluxQL, a row per point with all its fields, for everything that is read in bulk. Buffers pass as
they are: pyarrow's conversions to NumPy would import pandas.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from metering.readings import Codes, Floats, encode
from metering.store.influx_client import Influx
from metering.store.influx_schema import (
    Nanoseconds,
    flux_text,
    ns_within,
    plain_name,
    ql_name,
)


@dataclass(frozen=True, slots=True)
class Answer:
    """Values with their tags, one a row."""

    time: Nanoseconds
    """Empty if it was not asked for."""
    value: Floats
    tags: dict[str, list[str]]
    """For every row: tags as we know them, fields as they are stored."""

    def __len__(self) -> int:
        return len(self.value)


@dataclass(frozen=True, slots=True)
class Points:
    """Points with all their fields; NaN where a point has none."""

    time: Nanoseconds
    names: dict[str, tuple[str, ...]]
    """The names of each tag, as we know them."""
    codes: dict[str, Codes]
    fields: dict[str, Floats]
    """Fields as they are stored."""

    def __len__(self) -> int:
        return len(self.time)

    def field(self, name: str, default: float = np.nan) -> Floats:
        """A field of every point, or a number where it has none."""
        column = self.fields.get(name)
        if column is None:
            return np.full(len(self), default)
        return column if np.isnan(default) else np.where(np.isnan(column), default, column)


def ask(influx: Influx, flux: str, *, tags: Sequence[str], timed: bool = True) -> Answer:
    """The answer to a query for `_value`, some tags and perhaps `_time`.

    Args:
        influx: The server.
        flux: The query; it keeps these columns.
        tags: Which.
        timed: Whether `_time` is one of them.
    """
    kept = ("_value", *tags, *(("_time",) if timed else ()))
    columns = ", ".join(flux_text(name) for name in kept)
    table = influx.query(f"{flux}  |> keep(columns: [{columns}])\n")
    if not table.num_rows:
        return Answer(np.empty(0, np.int64), np.empty(0), {tag: [] for tag in tags})
    texts: dict[str, list[str]] = {}
    for tag in tags:
        names, codes = _text(table.column(tag))
        known = names if tag == "_field" else [plain_name(name) for name in names]
        texts[tag] = [known[code] for code in codes.tolist()]
    time = _numbers(table.column("_time"), np.int64) if timed else np.empty(0, np.int64)
    return Answer(time, _numbers(table.column("_value"), np.float64), texts)


def select(
    influx: Influx,
    bucket: str,
    measurement: str,
    *,
    low_ns: int,
    high_ns: int,
    tags: Sequence[str],
    fields: Sequence[str] | None = None,
    where: Sequence[str] = (),
    counted: bool = False,
) -> Points:
    """The points with low <= time < high, by series and time.

    Args:
        influx: The server.
        bucket: Where.
        measurement: Of what.
        low_ns: Start. [ns]
        high_ns: End. [ns]
        tags: The tags of the measurement that tell its series apart, sorted.
        fields: Only these; all if None.
        where: Conditions in InfluxQL that must all hold.
        counted: Not the points but one for each series, whose fields say how many it has.
    """
    wanted = "*::field" if fields is None else ", ".join(ql_name(name) for name in fields)
    wanted, skipped = ("count(*::field)", len("count_")) if counted else (wanted, 0)
    span = f"time >= {ns_within(low_ns)} AND time < {ns_within(high_ns)}"
    table = influx.select(
        bucket,
        f"SELECT {wanted} FROM {ql_name(measurement)} WHERE {' AND '.join([span, *where])} "
        f"GROUP BY {', '.join(tags)}",
    )
    if not table.num_rows:
        none = np.empty(0, np.int32)
        return Points(np.empty(0, np.int64), dict.fromkeys(tags, ()), dict.fromkeys(tags, none), {})
    series, code = _text(table.column(1))
    names: dict[str, tuple[str, ...]] = {}
    codes = {}
    for tag, values in zip(tags, _tag_values(series, tags), strict=True):
        names[tag], of_series = encode(values)
        codes[tag] = of_series[code]
    return Points(
        _numbers(table.column(2), np.int64),
        names,
        codes,
        {
            name[skipped:]: _numbers(pc.fill_null(table.column(i), np.nan), np.float64)
            for i, name in enumerate(table.column_names)
            if i > 2
        },
    )


def _tag_values(series: Sequence[str], tags: Sequence[str]) -> list[list[str]]:
    """The value of every tag for series such as `journal=j1,meter=park/A1`.

    No stored name holds a comma or an equals sign.
    """
    found: list[list[str]] = [[] for _ in tags]
    for text in series:
        pairs = dict(pair.split("=", 1) for pair in text.split(",") if pair)
        for values, tag in zip(found, tags, strict=True):
            values.append(plain_name(pairs.get(tag, "")))
    return found


def _text(column: pa.ChunkedArray) -> tuple[tuple[str, ...], Codes]:
    """A coded text column whose dictionaries are one already."""
    chunks = [chunk for chunk in column.chunks if len(chunk)]
    parts = [
        np.frombuffer(chunk.indices.buffers()[1], np.int32, len(chunk), chunk.offset * 4)
        for chunk in chunks
    ]
    return tuple(chunks[0].dictionary.to_pylist()), np.concatenate(parts)


def _numbers(column: pa.ChunkedArray, kind: type[Any]) -> NDArray[Any]:
    parts = [
        np.frombuffer(chunk.buffers()[1], kind, len(chunk), chunk.offset * 8)
        for chunk in column.chunks
        if len(chunk)
    ]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
