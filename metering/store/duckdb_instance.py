"""One open DuckDB file: its guards, its transactions, and what becomes of its errors.

Threads: a writer at a time, behind a lock, because batches are resolved against what is there; any
number of readers beside it, each with a cursor and a transaction of its own, so that it sees whole
batches and a long read delays nobody. What the process remembers of the file (names, extents) is
an immutable value that changes with the commit: a reader gets the one that fits its snapshot.

A fatal error, such as a full disk, spoils an instance until it is opened again. The next call does
that once the last reader has left, because DuckDB hands out the spoilt instance while one lives.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

import duckdb

from metering.store.port import StoreDamaged, StoreUnavailable

log = logging.getLogger(__name__)

Cursor: TypeAlias = duckdb.DuckDBPyConnection

S = TypeVar("S")

READERS_LEAVE_S = 60.0
"""How long a call waits for the readers of a spoilt instance. [s]"""

_DAMAGE = (
    "Corrupt",
    "checksum",
    "replaying WAL",
    "Could not read enough bytes",
    "not a valid DuckDB database",
)
_AWAY = (
    "No space left",
    "Could not write",
    "Permission denied",
    "Cannot open file",
    "Is a directory",
    "Read-only file system",
    "Too many open files",
)

_FATAL = (duckdb.FatalException, duckdb.InternalException, duckdb.SerializationException)

_open_paths: set[Path] = set()
_open_paths_lock = threading.Lock()


@dataclass
class Write(Generic[S]):
    """A transaction that writes."""

    cursor: Cursor
    state: S
    """What the process remembers of the file; the new value becomes valid with the commit."""


class Instance(Generic[S]):
    """Opens the file, hands out transactions, and opens it again after a fatal error."""

    def __init__(
        self, path: Path, *, memory_limit_mb: int, threads: int, load: Callable[[Cursor, Path], S]
    ) -> None:
        """Open the file, or make it.

        Args:
            path: The file.
            memory_limit_mb: What DuckDB may use before it spills beside the file. [MB]
            threads: On how many threads one query runs.
            load: Reads what is to be remembered of a file, after making its tables if it is new.
        """
        self.path = path.absolute()
        self._config: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": f"{memory_limit_mb}MB",
            "threads": threads,
            "autoload_known_extensions": False,
            "autoinstall_known_extensions": False,
            "allow_community_extensions": False,
        }
        self._load = load
        self._gate = threading.Condition()
        self._writing = threading.Lock()
        self._connection: Cursor | None = None
        self._state: S
        self._in_flight = 0
        self._spoilt = False
        with _open_paths_lock:
            if self.path in _open_paths:
                raise StoreUnavailable(f"The store {self.path} is open in this process already.")
            _open_paths.add(self.path)
        self._closed = False
        try:
            with self._translated(), self._gate:
                self._open()
        except BaseException:
            self.close()
            raise

    @contextmanager
    def read(self) -> Iterator[tuple[Cursor, S]]:
        """A snapshot, and what the process remembers of it.

        Raises:
            StoreUnavailable: The file does not answer; the next call opens it again.
            StoreDamaged: The file cannot be read.
        """
        with self._translated():
            cursor, state = self._enter()
            try:
                yield cursor, state
            finally:
                self._leave(cursor)

    @contextmanager
    def write(self) -> Iterator[Write[S]]:
        """A transaction that is committed at the end of the block, or rolled back.

        Raises:
            StoreUnavailable: Nothing of it was kept, or all: the commit was not confirmed.
            StoreDamaged: The file cannot be read.
        """
        with self._writing, self._translated():
            cursor, state = self._enter()
            try:
                written = Write(cursor, state)
                yield written
                with self._gate:
                    self._spoilt = True  # should anything come between, the file is read again
                    cursor.execute("COMMIT")
                    self._state = written.state
                    self._spoilt = False
            finally:
                self._leave(cursor)

    def close(self) -> None:
        """Let the readers leave, write the log into the file and let go of it."""
        with self._gate:
            if self._closed:
                return
            self._closed = True
            self._gate.wait_for(lambda: not self._in_flight, timeout=READERS_LEAVE_S)
            try:
                if self._connection is not None:
                    self._connection.close()
            except duckdb.Error as error:
                log.warning("store: %s closed with an error: %s", self.path, error)
            finally:
                self._connection = None
                with _open_paths_lock:
                    _open_paths.discard(self.path)

    def _open(self) -> None:
        wal = self.path.with_name(self.path.name + ".wal")
        if wal.exists() and not self.path.exists():
            log.warning("store: %s is left over from a file that is gone; dropped", wal)
            wal.unlink()
        connection = duckdb.connect(str(self.path), config=self._config)
        try:
            spill = str(self.path.with_name(self.path.name + ".tmp"))
            connection.execute("SET temp_directory = $spill", {"spill": spill})
            connection.execute("SET enable_external_access = false")
            connection.execute("SET lock_configuration = true")
            self._state = self._load(connection, self.path)
        except BaseException:
            connection.close()
            raise
        self._connection = connection

    def _enter(self) -> tuple[Cursor, S]:
        with self._gate:
            if not self._gate.wait_for(
                lambda: not (self._spoilt and self._in_flight), timeout=READERS_LEAVE_S
            ):
                raise StoreUnavailable(
                    f"The store {self.path} must be opened again and {self._in_flight} calls "
                    f"still use it. Ask again."
                )
            if self._closed:
                raise StoreUnavailable(f"The store {self.path} was closed; open it again.")
            if self._spoilt and self._connection is not None:
                with suppress(duckdb.Error):
                    self._connection.close()
                self._connection = None
            if self._connection is None:
                self._open()
                log.warning("store: %s was opened again", self.path)
            self._spoilt = False
            assert self._connection is not None
            cursor = self._connection.cursor()
            try:
                cursor.execute("BEGIN TRANSACTION")
                cursor.execute("SELECT 1 FROM meta LIMIT 1").fetchall()  # takes the snapshot, here
            except duckdb.Error:
                cursor.close()
                raise
            self._in_flight += 1
            return cursor, self._state

    def _leave(self, cursor: Cursor) -> None:
        with suppress(duckdb.Error):
            cursor.rollback()
        with suppress(duckdb.Error):
            cursor.close()
        with self._gate:
            self._in_flight -= 1
            self._gate.notify_all()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn what DuckDB raises when a file fails into the port's two errors."""
        try:
            yield
        except duckdb.Error as error:
            named = self._named(error)
            if named is None:
                raise
            with self._gate:
                self._spoilt = True
            raise named from error

    def _named(self, error: duckdb.Error) -> StoreUnavailable | StoreDamaged | None:
        text = str(error).splitlines()[0]
        opening = self._connection is None
        if "Could not set lock" in text:
            return StoreUnavailable(
                f"The store {self.path} is held by another process. End it, or ask it. ({text})"
            )
        if "version number" in text:
            return StoreUnavailable(
                f"The store {self.path} was written by another version of DuckDB. "
                f"Start the Tanyuan that wrote it, or make it again: tanyuan rebuild. ({text})"
            )
        if any(sign in text for sign in _AWAY):
            return StoreUnavailable(
                f"The store {self.path} cannot be used now. Make room or mend its folder, "
                f"then ask again; nothing that was kept is lost. ({text})"
            )
        fatal = isinstance(error, _FATAL)
        if any(sign in text for sign in _DAMAGE) or (opening and fatal):
            return StoreDamaged(
                f"The store {self.path} cannot be read. "
                f"Make it again from the journal: tanyuan rebuild. ({text})"
            )
        if fatal or isinstance(error, duckdb.OperationalError):
            return StoreUnavailable(
                f"The store {self.path} failed and is opened again by the next call. ({text})"
            )
        return None
