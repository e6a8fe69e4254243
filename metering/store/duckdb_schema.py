"""The tables of the DuckDB store, and what the process remembers of them.

Names are kept once, as rows of dictionary tables, and coded as integers everywhere else. Times are
UTC without a zone. There is no primary key: it would cost ten times the space and five times the
time; that a key is there once is the work of `duckdb_readings.add`.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from metering.readings import Codes
from metering.series import SHARES
from metering.store.duckdb_columns import fetch
from metering.store.duckdb_indicators import COLUMNS, TABLE
from metering.store.duckdb_instance import Cursor
from metering.store.extents import Extents
from metering.store.port import StoreDamaged, StoreUnavailable

SCHEMA_VERSION = 1

NameKind: TypeAlias = Literal[
    "meters", "registers", "journals", "subjects", "quantities", "sources"
]
NAME_KINDS: tuple[NameKind, ...] = (
    "meters",
    "registers",
    "journals",
    "subjects",
    "quantities",
    "sources",
)

_READINGS = """(
    meter INTEGER NOT NULL, register INTEGER NOT NULL, read_at TIMESTAMP NOT NULL,
    value DOUBLE NOT NULL, flags INTEGER NOT NULL, received_at TIMESTAMP NOT NULL,
    journal INTEGER NOT NULL, sequence BIGINT NOT NULL)"""

_HOURS = f"""(
    subject INTEGER NOT NULL, quantity INTEGER NOT NULL, start TIMESTAMP NOT NULL,
    duration_s DOUBLE NOT NULL, value DOUBLE NOT NULL,
    {", ".join(f"{share} DOUBLE NOT NULL" for share in SHARES)},
    flags INTEGER NOT NULL, source INTEGER NOT NULL)"""

_TABLES: dict[str, str] = {
    "meta": "(name VARCHAR NOT NULL, value VARCHAR NOT NULL)",
    **dict.fromkeys(map(str, NAME_KINDS), "(code INTEGER NOT NULL, name VARCHAR NOT NULL)"),
    "readings": _READINGS,
    "superseded": _READINGS,
    "energy": _HOURS,
    "emissions": _HOURS,
    TABLE: COLUMNS,
}


@dataclass(frozen=True, slots=True)
class Names:
    """A dictionary table: the name of every code, and the code of every name."""

    table: tuple[str, ...]
    code_of: Mapping[str, int]

    def codes(self, names: Iterable[str]) -> Codes:
        """The codes of those names that are known."""
        found = [self.code_of[name] for name in names if name in self.code_of]
        return np.array(found, np.int32)


@dataclass(frozen=True, slots=True)
class Known:
    """What the process remembers of the file as it is after a commit. Never changed in place."""

    store_id: str
    names: Mapping[NameKind, Names]
    extents: Extents
    """Of the readings that count."""


def load(cursor: Cursor, path: Path) -> Known:
    """Read what is to be remembered, after making the tables if the file is new.

    Raises:
        StoreUnavailable: A newer version made the file.
        StoreDamaged: The file is not a store.
    """
    present = {str(name) for (name,) in cursor.execute("SHOW TABLES").fetchall()}
    if not present:
        _create(cursor)
    elif TABLE not in present and present >= set(_TABLES) - {TABLE}:
        cursor.execute(f"CREATE TABLE {TABLE} {COLUMNS}")
    elif not present >= set(_TABLES):
        raise StoreDamaged(
            f"Wanted the tables of a store in {path}, found {', '.join(sorted(present))}. "
            f"Move the file away and make the store again from the journal: tanyuan rebuild."
        )
    meta = dict(cursor.execute("SELECT name, value FROM meta").fetchall())
    if (version := int(meta["schema_version"])) > SCHEMA_VERSION:
        raise StoreUnavailable(
            f"A newer Tanyuan made the store {path}: schema {version}, this one knows "
            f"{SCHEMA_VERSION}. Start the newer one, or make the store again: tanyuan rebuild."
        )
    return Known(
        store_id=meta["store_id"],
        names={kind: _load_names(cursor, path, kind) for kind in NAME_KINDS},
        extents=_load_extents(cursor),
    )


def with_names(cursor: Cursor, known: Known, kind: NameKind, names: Sequence[str]) -> Known:
    """Give those of the names that have none a code, in the table and in the answer."""
    old = known.names[kind]
    new = [name for name in dict.fromkeys(names) if name not in old.code_of]
    if not new:
        return known
    codes = range(len(old.table), len(old.table) + len(new))
    cursor.execute(
        f"INSERT INTO {kind} SELECT unnest($codes), unnest($names)",
        {"codes": list(codes), "names": new},
    )
    code_of = {**old.code_of, **dict(zip(new, codes, strict=True))}
    return replace(known, names={**known.names, kind: Names(old.table + tuple(new), code_of)})


def forget(cursor: Cursor, known: Known, *, derived_only: bool) -> Known:
    """Empty the tables. Without readings the store is another one and gets another name."""
    for table in ("energy", "emissions", TABLE):
        cursor.execute(f"DELETE FROM {table}")
    if derived_only:
        return known
    for table in ("readings", "superseded", *NAME_KINDS):
        cursor.execute(f"DELETE FROM {table}")
    store_id = uuid.uuid4().hex
    cursor.execute("UPDATE meta SET value = $id WHERE name = 'store_id'", {"id": store_id})
    return Known(store_id, dict.fromkeys(NAME_KINDS, Names((), {})), no_extents())


def no_extents() -> Extents:
    """Of no registers at all."""
    code, time = np.empty(0, np.int32), np.empty(0, "datetime64[us]")
    return Extents(code, code, np.empty(0, np.int64), time, time)


def _create(cursor: Cursor) -> None:
    cursor.execute("BEGIN TRANSACTION")
    for table, columns in _TABLES.items():
        cursor.execute(f"CREATE TABLE {table} {columns}")
    cursor.execute(
        "INSERT INTO meta VALUES ('schema_version', $version), ('store_id', $id), ('checks', '0')",
        {"version": str(SCHEMA_VERSION), "id": uuid.uuid4().hex},
    )
    cursor.execute("COMMIT")


def _load_names(cursor: Cursor, path: Path, kind: NameKind) -> Names:
    rows = cursor.execute(f"SELECT code, name FROM {kind} ORDER BY code").fetchall()
    if [code for code, _ in rows] != list(range(len(rows))):
        raise StoreDamaged(
            f"The names of {kind} in {path} have gaps. "
            f"Make the store again from the journal: tanyuan rebuild."
        )
    table = tuple(str(name) for _, name in rows)
    return Names(table, {name: code for code, name in enumerate(table)})


def _load_extents(cursor: Cursor) -> Extents:
    found = fetch(
        cursor,
        "SELECT meter, register, count(*) AS n, min(read_at) AS first, max(read_at) AS last "
        "FROM readings GROUP BY meter, register ORDER BY meter, register",
    )
    return Extents(found["meter"], found["register"], found["n"], found["first"], found["last"])
