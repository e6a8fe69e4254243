"""Brings a database to the schema this program knows, and refuses one it does not know.

A new revision is written with `alembic revision --autogenerate`, run through `alembic_config`; its
file is then made to stand alone (plain column types), and the migration test compares both.
"""

from __future__ import annotations

import threading
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from metering.ledger.database import Database, LedgerRefused

MIGRATIONS = Path(__file__).with_name("migrations")

_PG_LOCK = 0x7461_6E79_7561_6E
"""The advisory lock under which PostgreSQL is migrated: "tanyuan" in ASCII."""

_alembic = threading.Lock()
"""Alembic keeps what it works on in module globals: one migration at a time in a process."""


def alembic_config(connection: Connection) -> Config:
    """What Alembic's commands need to work on an open connection."""
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
    scripts = ScriptDirectory(str(MIGRATIONS))
    return tuple(script.revision for script in scripts.walk_revisions())


def _lock_for_migration(connection: Connection) -> None:
    """Wait until no other process migrates; SQLite's write lock is already held."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _PG_LOCK})


def _known_revision(connection: Connection, database: Database) -> str | None:
    """The revision a database is at, None for an empty one."""
    revision = MigrationContext.configure(connection).get_current_revision()
    if revision is not None and revision not in revisions():
        raise LedgerRefused(
            f"The ledger {database.shown} is at schema {revision}, made by a newer Tanyuan; this "
            f"one knows up to {revisions()[0]}. Install the newer version, or put back the copy "
            "of the ledger from before it."
        )
    return revision
