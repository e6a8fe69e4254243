"""Derived hours in DuckDB: spans are replaced, periods are read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from metering.periods import Period, to_us
from metering.series import SHARES, Series
from metering.store.duckdb_columns import covering, fetch, registered, within
from metering.store.duckdb_instance import Cursor
from metering.store.duckdb_schema import Known, with_names
from metering.store.port import SeriesKind, Span

_VALUES = ("start", "duration_s", "value", *SHARES, "flags")
_COLUMNS = ", ".join(("subject", "quantity", *_VALUES, "source"))

_ANY = -1
"""The code of a span that means all quantities."""


def replace_hours(
    cursor: Cursor, known: Known, kind: SeriesKind, series: Series, spans: Sequence[Span]
) -> Known:
    """Clear the spans and put the hours there."""
    _clear(cursor, known, kind, spans)
    if not len(series):
        return known
    known = with_names(cursor, known, "subjects", series.subjects)
    known = with_names(cursor, known, "quantities", series.quantities)
    known = with_names(cursor, known, "sources", series.sources)
    hours = {
        "subject": known.names["subjects"].codes(series.subjects)[series.subject],
        "quantity": known.names["quantities"].codes(series.quantities)[series.quantity],
        **{name: getattr(series, name) for name in _VALUES},
        "source": known.names["sources"].codes(series.sources)[series.source],
    }
    with registered(cursor, new_hours=hours):
        cursor.execute(f"INSERT INTO {kind} SELECT {_COLUMNS} FROM new_hours").fetchall()
    return known


def read_hours(
    cursor: Cursor,
    known: Known,
    kind: SeriesKind,
    period: Period,
    *,
    subjects: Sequence[str] | None,
    quantities: Sequence[str] | None,
) -> Series:
    """The hours of a period, unsorted."""
    condition, parameters = within("start", [(to_us(period.start), to_us(period.end))])
    views = {}
    if subjects is not None:
        views["asked_subjects"] = {"code": known.names["subjects"].codes(subjects)}
        condition += " AND subject IN (SELECT code FROM asked_subjects)"
    if quantities is not None:
        views["asked_quantities"] = {"code": known.names["quantities"].codes(quantities)}
        condition += " AND quantity IN (SELECT code FROM asked_quantities)"
    with registered(cursor, **views):
        found = fetch(cursor, f"SELECT {_COLUMNS} FROM {kind} WHERE {condition}", parameters)
    return Series(
        subjects=known.names["subjects"].table,
        quantities=known.names["quantities"].table,
        sources=known.names["sources"].table,
        **found,
    )


def read_quantities(cursor: Cursor, known: Known, kind: SeriesKind) -> list[tuple[str, str]]:
    """Every subject and quantity that has hours, sorted."""
    subjects, quantities = known.names["subjects"].table, known.names["quantities"].table
    pairs = cursor.execute(f"SELECT DISTINCT subject, quantity FROM {kind}").fetchall()
    return sorted((subjects[s], quantities[q]) for s, q in pairs)


def _clear(cursor: Cursor, known: Known, kind: SeriesKind, spans: Sequence[Span]) -> None:
    subjects, quantities = known.names["subjects"].code_of, known.names["quantities"].code_of
    any_or: dict[str | None, int] = {None: _ANY}
    any_or.update(quantities)
    held = dict.fromkeys(s for s in spans if s.subject in subjects and s.quantity in any_or)
    if not held:
        return
    low = np.array([to_us(span.period.start) for span in held], "datetime64[us]")
    high = np.array([to_us(span.period.end) for span in held], "datetime64[us]")
    subject = np.array([subjects[span.subject] for span in held], np.int32)
    quantity = np.array([any_or[span.quantity] for span in held], np.int32)
    condition, parameters = within("h.start", covering(low, high))
    views = {"subject": subject, "quantity": quantity, "f": low, "t": high}
    with registered(cursor, spans=views):
        cursor.execute(
            f"DELETE FROM {kind} WHERE rowid IN (SELECT h.rowid FROM {kind} h "
            f"JOIN spans s ON h.subject = s.subject AND h.start >= s.f AND h.start < s.t "
            f"WHERE (s.quantity = {_ANY} OR s.quantity = h.quantity) AND {condition})",
            parameters,
        ).fetchall()
