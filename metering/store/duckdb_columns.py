"""Columns into DuckDB and out of it, and the bounds that let it skip what a query cannot need.

Columns pass as Arrow buffers of their own: pyarrow's conversions from and to NumPy would import
pandas, 45 MB of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from metering.periods import Times
from metering.store.duckdb_instance import Cursor

_ARROW_TYPES: dict[np.dtype[Any], pa.DataType] = {
    np.dtype("int32"): pa.int32(),
    np.dtype("int64"): pa.int64(),
    np.dtype("float64"): pa.float64(),
    np.dtype("datetime64[us]"): pa.timestamp("us"),
}
_NUMPY_TYPES: dict[pa.DataType, np.dtype[Any]] = {
    arrow: dtype for dtype, arrow in _ARROW_TYPES.items()
}

MAX_RANGES = 8
"""Into how many spans of time a query is cut at most."""


@contextmanager
def registered(cursor: Cursor, **tables: Mapping[str, NDArray[Any]]) -> Iterator[None]:
    """Columns as views of this cursor, while the block runs."""
    for name, columns in tables.items():
        arrays = [_to_arrow(column) for column in columns.values()]
        cursor.register(name, pa.Table.from_arrays(arrays, names=list(columns)))
    try:
        yield
    finally:
        for name in tables:
            cursor.unregister(name)


def fetch(
    cursor: Cursor, query: str, parameters: Mapping[str, object] | None = None
) -> dict[str, NDArray[Any]]:
    """All rows of a query as columns, perhaps not writable; it has no nulls.

    Through a relation and Arrow: a month of 1,000 meters, 3 M rows, in 0.18 s on two cores, where
    `fetchnumpy` takes 0.75 s.
    """
    table = cursor.sql(query, params=dict(parameters or {})).to_arrow_table()
    return {name: _to_numpy(table.column(name)) for name in table.column_names}


def covering(low: Times, high: Times) -> list[tuple[np.datetime64, np.datetime64]]:
    """A few half-open spans that cover many: one far-off time must not widen a search to all.

    Args:
        low: Where each begins.
        high: Where each ends, not included.
    """
    if not len(low):
        return []
    order = np.argsort(low, kind="stable")
    low, reach = low[order], np.maximum.accumulate(high[order])
    gaps = low[1:] - reach[:-1]
    widest = np.argsort(-gaps.astype(np.int64), kind="stable")[: MAX_RANGES - 1]
    cuts = np.sort(widest[gaps[widest] > np.timedelta64(0, "us")])
    starts = [0, *(cuts + 1)]
    ends = [*cuts, len(low) - 1]
    return [(low[a], reach[b]) for a, b in zip(starts, ends, strict=True)]


def within(
    column: str, spans: list[tuple[np.datetime64, np.datetime64]]
) -> tuple[str, dict[str, object]]:
    """A condition that a time lies in one of the spans, and its parameters."""
    if not spans:
        return "(false)", {}
    terms = []
    parameters: dict[str, object] = {}
    for i, (low, high) in enumerate(spans):
        terms.append(f"({column} >= $low{i} AND {column} < $high{i})")
        parameters |= {f"low{i}": low.item(), f"high{i}": high.item()}
    return f"({' OR '.join(terms)})", parameters


def _to_arrow(column: NDArray[Any]) -> pa.Array:
    data = pa.py_buffer(np.ascontiguousarray(column).view(np.uint8))
    return pa.Array.from_buffers(_ARROW_TYPES[column.dtype], len(column), [None, data])


def _to_numpy(column: pa.ChunkedArray) -> NDArray[Any]:
    dtype = _NUMPY_TYPES[column.type]
    parts = [
        np.frombuffer(chunk.buffers()[1], dtype, len(chunk), chunk.offset * dtype.itemsize)
        for chunk in column.chunks
        if len(chunk)
    ]
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else np.empty(0, dtype)
