"""Brings a database to the schema this program knows, and refuses one it does not know.

A revision is a file `migrations/versions/rNNNN_what.py`, each number one more than the last. A new
one is begun on a database at the newest schema, inside `database.writing() as connection`, with
`command.revision(alembic_config(connection), "what", rev_id="rNNNN", autogenerate=True)`; it is
then made to stand alone (plain column types), and the migration tests compare it with `tables.py`.

Alembic is imported only when there is something to migrate.
"""

from __future__ import annotations

import threading
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

from sqlalchemy import Connection, inspect, text

from metering.ledger.database import Database, LedgerRefused

if TYPE_CHECKING:
    from alembic.config import Config

MIGRATIONS = Path(__file__).with_name("migrations")

_PG_LOCK = 0x7461_6E79_7561_6E
"""The advisory lock under which PostgreSQL is migrated: "tanyuan" in ASCII."""

_alembic = threading.Lock()
"""Alembic keeps what it works on in module globals: one migration at a time in a process."""


def alembic_config(connection: Connection) -> Config:
    """What Alembic's commands need to work on an open connection."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def migrate(database: Database) -> None:
    """Bring a database to the newest revision; of several processes one does it.

    Raises:
        LedgerRefused: A newer program made the database.
        LedgerUnavailable: The database does not answer.
    """
    with _alembic, database.writing() as connection:
        _lock_for_migration(connection)
        if _known_revision(connection, database) != revisions()[0]:
            from alembic import command

            command.upgrade(alembic_config(connection), "head")


def check_revision(database: Database) -> None:
    """Return if a database is at the newest revision.

    Raises:
        LedgerRefused: It is at another one.
        LedgerUnavailable: The database does not answer.
    """
    with database.reading() as connection:
        revision = _known_revision(connection, database)
    if revision != revisions()[0]:
        raise LedgerRefused(
            f"The ledger {database.shown} is at schema {revision or 'none'}, this program needs "
            f"{revisions()[0]}: open it once with migration, as `tanyuan up` does."
        )


@cache
def revisions() -> tuple[str, ...]:
    """The revisions this program knows, newest first."""
    files = (MIGRATIONS / "versions").glob("r[0-9]*.py")
    return tuple(sorted((file.name.split("_")[0] for file in files), reverse=True))


def _lock_for_migration(connection: Connection) -> None:
    """Wait until no other process migrates; SQLite's write lock is already held."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _PG_LOCK})


def _known_revision(connection: Connection, database: Database) -> str | None:
    """The revision a database is at, None for an empty one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version"))
    revision = cast(str | None, found.scalar_one_or_none())
    if revision is not None and revision not in revisions():
        raise LedgerRefused(
            f"The ledger {database.shown} is at schema {revision}, made by a newer Tanyuan; this "
            f"one knows up to {revisions()[0]}. Install the newer version, or put back the copy "
            "of the ledger from before it."
        )
    return revision
