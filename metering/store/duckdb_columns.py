"""Columns into DuckDB and out of it, and the bounds that let it skip what a query cannot need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from metering.periods import Times
from metering.store.duckdb_instance import Cursor

MAX_RANGES = 8
"""Into how many spans of time a query is cut at most."""


@contextmanager
def registered(cursor: Cursor, **tables: pa.Table) -> Iterator[None]:
    """Arrow tables as views of this cursor, while the block runs."""
    for name, table in tables.items():
        cursor.register(name, table)
    try:
        yield
    finally:
        for name in tables:
            cursor.unregister(name)


def fetch(
    cursor: Cursor, query: str, parameters: Mapping[str, object] | None = None
) -> dict[str, NDArray[Any]]:
    """All rows of a query as columns, perhaps not writable.

    Through a relation and Arrow: a month of 1,000 meters, 3 M rows, in 0.18 s on two cores, where
    `fetchnumpy` takes 0.75 s.
    """
    table = cursor.sql(query, params=dict(parameters or {})).to_arrow_table()
    return {name: table.column(name).to_numpy() for name in table.column_names}


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
