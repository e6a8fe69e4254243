"""One database behind the ledger: its connections, its transactions, and its failures in words.

All that differs between SQLite and PostgreSQL is here, in `postgres.py` and in the lock that
`schema.py` takes; the statements of `sql_ledger.py` are the same for both.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from operator import itemgetter
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DBAPIError,
    InterfaceError,
    InternalError,
    OperationalError,
    ProgrammingError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool

from metering.ledger.port import LedgerUnavailable

WAIT_S = 10
"""How long a call waits for another writer before it gives up."""

_WAL_PAUSE_S = 0.05

_REMEDIES = (
    ("locked", f"Another process has kept it for {WAIT_S} s: end that process, or try again."),
    ("lock timeout", f"Another process has kept it for {WAIT_S} s: end it, or try again."),
    ("readonly", "Let this user write the file and the folder it is in."),
    ("read-only", "It is a standby, or told to change nothing: name the server that is written."),
    ("permission denied", "Make the user that TANYUAN_LEDGER names the owner of the database."),
    ("authentication failed", "Correct the user or the password in TANYUAN_LEDGER."),
    ("no password supplied", "Put a password into TANYUAN_LEDGER, or into ~/.pgpass."),
    ("no pg_hba.conf entry", "Let that user and this address in by the server's pg_hba.conf."),
    ("too many c", "Raise max_connections of the server, or end what else uses it."),
    ("connection slots", "Raise max_connections of the server, or end what else uses it."),
    ("full", "Make room on its disk."),
    ("no space left", "Make room on its disk."),
    ("statement timeout", "The server is too busy: see what keeps it so, then try again."),
    ("malformed", "The file is damaged: put back a copy of it."),
    ("not a database", "The file is no SQLite database: move it away or put back a copy."),
    ("already exists", "The database holds tables of something else: name an empty one."),
)
_OTHER_REMEDY = "See that the database runs and that TANYUAN_LEDGER names it, then try again."

_PERMISSION_DENIED = "42501"
"""What PostgreSQL calls it, in SQLSTATE; SQLAlchemy takes it for a faulty statement."""


class LedgerRefused(LedgerUnavailable):
    """The ledger cannot be used until someone changes the program, the setting or the database."""


def _folder_remedy(url: URL) -> str:
    folder = Path(url.database or "").parent
    if not folder.is_dir():
        return f"The folder {folder} does not exist: make it, or correct TANYUAN_LEDGER."
    return f"See that {url.database} is a file and that this user may write the folder {folder}."


def _is_of_the_connection(error: SQLAlchemyError) -> bool:
    """Whether the database failed, and not the statement; the latter is a fault of ours."""
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    if isinstance(error, ProgrammingError):
        return getattr(error.orig, "sqlstate", None) == _PERMISSION_DENIED
    kinds = (OperationalError, InterfaceError, InternalError, PoolTimeout)
    return isinstance(error, kinds) or type(error) is DatabaseError


def _message(error: SQLAlchemyError, url: URL) -> str:
    cause = " ".join(str(error.orig if isinstance(error, DBAPIError) else error).split())
    text = cause.lower()
    remedy = next((what for sign, what in _REMEDIES if sign in text), _OTHER_REMEDY)
    if "unable to open" in text:
        remedy = _folder_remedy(url)
    return f"Cannot use the ledger {_shown(url)}: {cause.rstrip('.')}. {remedy}"


def _shown(url: URL) -> str:
    secrets = [name for name in url.query if "password" in name]
    return url.difference_update_query(secrets).render_as_string(hide_password=True)


class Database:
    """Connections to one database, for any number of threads."""

    def __init__(self, url: str | URL) -> None:
        self.url = _checked_url(url)
        self.shown = _shown(self.url)
        """The URL without its password, for messages."""
        self._engine = _engine(self.url)
        self._reading = self._engine.execution_options(ledger_reads=True)
        self._one_writer = threading.Lock() if self.is_sqlite else nullcontext()
        self._idle = threading.Condition()
        self._calls = 0
        self._closed = False

    @property
    def is_sqlite(self) -> bool:
        """Whether this is SQLite, where one process has one writer at a time."""
        return self.url.get_backend_name() == "sqlite"

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One transaction that only reads."""
        with self._call(), self._reading.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction; on disk when this ends without an error."""
        with self._call(), self._one_writer, self._engine.begin() as connection:
            yield connection

    def upsert(self, table: Table) -> sqlite.Insert | postgresql.Insert:
        """A statement that inserts a row, or replaces the one with the same key."""
        statement = self._insert(table)
        return statement.on_conflict_do_update(
            index_elements=list(table.primary_key),
            set_={c.name: statement.excluded[c.name] for c in table.c if not c.primary_key},
        )

    def upsert_plain(
        self, connection: Connection, table: Table, rows: Sequence[dict[str, object]]
    ) -> None:
        """Upsert thousands of rows whose columns need no conversion.

        The driver is handed the rows as they are, which takes half the time; every row must have
        every column.
        """
        compiled = self.upsert(table).compile(dialect=connection.dialect)
        order = compiled.positiontup
        if order is None:
            connection.exec_driver_sql(str(compiled), list(rows))
        else:
            connection.exec_driver_sql(str(compiled), list(map(itemgetter(*order), rows)))

    def insert_once(self, table: Table) -> sqlite.Insert | postgresql.Insert:
        """A statement that inserts a row unless there is one with the same key."""
        return self._insert(table).on_conflict_do_nothing(index_elements=list(table.primary_key))

    def close(self) -> None:
        """Wait for calls under way, then let go of every connection."""
        with self._idle:
            self._closed = True
            self._idle.wait_for(lambda: self._calls == 0)
        self._engine.dispose()

    def _insert(self, table: Table) -> sqlite.Insert | postgresql.Insert:
        return sqlite.insert(table) if self.is_sqlite else postgresql.insert(table)

    @contextmanager
    def _call(self) -> Iterator[None]:
        with self._idle:
            if self._closed:
                raise LedgerRefused("The ledger was closed: open it again.")
            self._calls += 1
        try:
            yield
        except SQLAlchemyError as error:
            if _is_of_the_connection(error):
                raise LedgerUnavailable(_message(error, self.url)) from error
            raise
        finally:
            with self._idle:
                self._calls -= 1
                self._idle.notify_all()


def _checked_url(url: str | URL) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise LedgerRefused(
            "Wanted an SQLAlchemy URL in TANYUAN_LEDGER, such as sqlite:////srv/park/ledger.sqlite "
            "or postgresql://user:password@host/tanyuan; what is there is not one."
        ) from error
    if "@" in (parsed.host or ""):
        raise LedgerRefused(
            "TANYUAN_LEDGER holds two @ before the host: write one that belongs to the user or the "
            "password as %40 (and / as %2F, : as %3A)."
        )
    if parsed.drivername in ("postgres", "postgresql"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite", "postgresql+psycopg"):
        raise LedgerRefused(
            f"Wanted sqlite or postgresql in TANYUAN_LEDGER, found {parsed.drivername}: "
            "other databases and drivers are not supported."
        )
    return parsed


def _engine(url: URL) -> Engine:
    if url.get_backend_name() == "sqlite":
        return _sqlite_engine(url)
    try:
        from metering.ledger.postgres import postgres_engine
    except ImportError as error:
        raise LedgerRefused(
            f"TANYUAN_LEDGER asks for PostgreSQL, but its driver cannot be loaded ({error}): "
            "pip install '.[postgresql]' in the program's folder."
        ) from error
    return postgres_engine(url, wait_s=WAIT_S)


def _sqlite_engine(url: URL) -> Engine:
    in_memory = url.database in (None, "", ":memory:") or url.query.get("mode") == "memory"
    # A database in memory is its connection: one for all threads, which take turns.
    size = {"pool_size": 1, "max_overflow": 0} if in_memory else {"max_overflow": -1}
    engine = create_engine(
        url,
        poolclass=QueuePool,
        connect_args={"timeout": WAIT_S, "check_same_thread": False},
        **size,
    )
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: sqlite3.Connection, _record: object) -> None:
    """Set up a new connection; the driver's own idea of transactions is switched off."""
    connection.isolation_level = None
    try:
        with closing(connection.cursor()) as cursor:
            _use_wal(cursor)
            cursor.execute("PRAGMA synchronous=FULL")
            cursor.execute("PRAGMA foreign_keys=ON")
    except sqlite3.Error:
        connection.close()
        raise


def _use_wal(cursor: sqlite3.Cursor) -> None:
    """Turn on the write-ahead log; SQLite may not wait for others here, so we do."""
    give_up_at = time.monotonic() + WAIT_S
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > give_up_at:
                raise
            time.sleep(_WAL_PAUSE_S)
        else:
            return


def _begin(connection: Connection) -> None:
    """Take the write lock at the start, so that no transaction fails for it in the middle."""
    reads = connection.get_execution_options().get("ledger_reads", False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")
