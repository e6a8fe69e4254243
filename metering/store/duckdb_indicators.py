"""Indicators in the DuckDB store: one table, without dictionaries, because they are few."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC

from metering.periods import Period, to_us
from metering.store.duckdb_instance import Cursor
from metering.store.indicators import Indicator, latest_of_each

TABLE = "indicators"
COLUMNS = """(
    subject VARCHAR NOT NULL, about VARCHAR NOT NULL, quantity VARCHAR NOT NULL,
    moment TIMESTAMP NOT NULL, value DOUBLE NOT NULL, text VARCHAR NOT NULL)"""

_KEY = " AND ".join(f"i.{c} = n.{c}" for c in ("subject", "about", "quantity", "moment"))
_NEW = (
    "SELECT unnest($subjects) AS subject, unnest($abouts) AS about, "
    "unnest($quantities) AS quantity, unnest($ats) AS moment, unnest($vals) AS value, "
    "unnest($texts) AS text"
)


def put_indicators(cursor: Cursor, rows: Sequence[Indicator]) -> None:
    """Put rows in the place of those with the same keys."""
    new = latest_of_each(rows)
    if not new:
        return
    columns = {
        "subjects": [row.subject for row in new],
        "abouts": [row.about for row in new],
        "quantities": [row.quantity for row in new],
        "ats": [row.at.astimezone(UTC).replace(tzinfo=None) for row in new],
        "vals": [row.value for row in new],
        "texts": [row.text for row in new],
    }
    keys = {name: columns[name] for name in ("subjects", "abouts", "quantities", "ats")}
    same = _NEW.partition(", unnest($vals)")[0]
    cursor.execute(f"DELETE FROM {TABLE} AS i USING ({same}) AS n WHERE {_KEY}", keys)
    cursor.execute(f"INSERT INTO {TABLE} {_NEW}", columns)


def read_indicators(
    cursor: Cursor,
    period: Period,
    *,
    subjects: Sequence[str] | None,
    quantities: Sequence[str] | None,
) -> list[Indicator]:
    """The rows of a period, sorted."""
    wanted, values = _chosen(period, subjects, quantities)
    found = cursor.execute(
        f"SELECT subject, about, quantity, moment, value, text FROM {TABLE} WHERE {wanted}", values
    ).fetchall()
    return sorted(
        Indicator(subject, about, quantity, at.replace(tzinfo=UTC), value, text)
        for subject, about, quantity, at, value, text in found
    )


def count_indicators(cursor: Cursor, period: Period) -> int:
    """How many rows a period has."""
    wanted, values = _chosen(period, None, None)
    found = cursor.execute(f"SELECT count(*) FROM {TABLE} WHERE {wanted}", values).fetchone()
    return int(found[0]) if found else 0


def drop_indicators(
    cursor: Cursor, period: Period, *, subjects: Sequence[str], quantities: Sequence[str]
) -> None:
    """Forget the rows of a period, of these subjects and quantities."""
    wanted, values = _chosen(period, subjects, quantities)
    cursor.execute(f"DELETE FROM {TABLE} WHERE {wanted}", values)


def _chosen(
    period: Period, subjects: Sequence[str] | None, quantities: Sequence[str] | None
) -> tuple[str, dict[str, object]]:
    values: dict[str, object] = {
        "low": str(to_us(period.start)).replace("T", " "),
        "high": str(to_us(period.end)).replace("T", " "),
    }
    wanted = "moment >= CAST($low AS TIMESTAMP) AND moment < CAST($high AS TIMESTAMP)"
    if subjects is not None:
        wanted += " AND list_contains($subjects, subject)"
        values["subjects"] = list(subjects)
    if quantities is not None:
        wanted += " AND list_contains($quantities, quantity)"
        values["quantities"] = list(quantities)
    return wanted, values
