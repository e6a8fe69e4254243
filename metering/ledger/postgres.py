"""PostgreSQL behind the ledger: the driver, how long anything may take, and dead connections.

The driver is psycopg 3. Whatever befalls the server, a call ends within these times, either with
its answer or with `LedgerUnavailable`; the next call makes the connections it needs.

| what | ends after | by |
|---|---|---|
| a new connection | `WAIT_S` = 10 s | `connect_timeout` |
| waiting for another writer | `WAIT_S` = 10 s | `lock_timeout` in the server |
| one statement | `STATEMENT_S` = 20 s | `statement_timeout` in the server |
| a server that says nothing, frozen or gone | `SILENT_S` = 25 s | `PatientConnection` |
| a kept connection that is tried before it is used again | `PING_S` = 5 s | the same |
| a transaction of ours that stands still | `IDLE_S` = 60 s | `idle_in_transaction_…` there |
| a peer that vanished while nothing is said | 60 s | TCP keep-alives |

libpq cannot give up on a server whose kernel answers while its process does not; hence
`PatientConnection`. At most `CONNECTIONS` connections are open at once; a call that gets none
within `WAIT_S` is refused. A connection is tried before it is used again, so that a server that
was restarted costs no call.

A call is one transaction: it is kept whole or not at all, and on disk when it returns, also where
the server's default is otherwise (`synchronous_commit`). If the connection is lost while it is
committed, nobody can know which; the call is refused, and to make it again does no harm.

Any parameter of libpq in the URL (`?sslmode=verify-full&sslrootcert=…`, also a time above) wins
over what stands here. A password may also be in `~/.pgpass` or `PGPASSFILE`.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from typing import Any, TypeVar

import psycopg
from sqlalchemy import URL, Engine, create_engine, event
from typing_extensions import override

STATEMENT_S = 20
SILENT_S = 25.0
PING_S = 5.0
IDLE_S = 60
CONNECTIONS = 15
"""Of one ledger; PostgreSQL takes 100 of all its clients unless it is told otherwise."""

_KEPT = 5
_LOOK_EVERY_S = 0.1

_Result = TypeVar("_Result")


class PatientConnection(psycopg.Connection[Any]):
    """A connection that gives up, and is closed, when the server is silent for too long."""

    patience_s: float = SILENT_S

    @override
    def wait(
        self,
        gen: Generator[Any, Any, _Result],
        interval: float = _LOOK_EVERY_S,
        timeout: float | None = None,
    ) -> _Result:
        """Wait for an answer as long as there are signs of one."""
        # psycopg 3.2 knows no time-out here
        more = {} if timeout is None else {"timeout": timeout}
        return super().wait(self._impatient(gen), interval, **more)

    def _impatient(self, gen: Generator[Any, Any, _Result]) -> Generator[Any, Any, _Result]:
        try:
            wanted = next(gen)
            heard = time.monotonic()
            while True:
                ready = yield wanted
                now = time.monotonic()
                if ready:
                    heard = now
                elif now - heard >= self.patience_s:
                    self.pgconn.finish()
                    raise psycopg.OperationalError(
                        f"the server has not answered for {self.patience_s:g} s"
                    )
                wanted = gen.send(ready)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]


def postgres_engine(url: URL, *, wait_s: float) -> Engine:
    """Connections to a PostgreSQL that are bounded in time and number.

    Args:
        url: Of the driver psycopg.
        wait_s: How long a call waits for a connection, and for another writer.
    """
    engine = create_engine(
        url,
        pool_pre_ping=True,
        pool_size=_KEPT,
        max_overflow=CONNECTIONS - _KEPT,
        pool_timeout=wait_s,
        connect_args=_parameters(url, wait_s),
    )
    event.listen(engine, "do_connect", _connect)
    event.listen(engine, "checkin", _expect_a_ping)
    event.listen(engine, "checkout", _expect_work)
    return engine


def _parameters(url: URL, wait_s: float) -> dict[str, object]:
    """What the URL does not say itself."""
    limits = {
        "lock_timeout": wait_s,
        "statement_timeout": STATEMENT_S,
        "idle_in_transaction_session_timeout": IDLE_S,
    }
    options = [f"-c {name}={seconds * 1000:.0f}" for name, seconds in limits.items()]
    options += ["-c synchronous_commit=on", _text(url.query.get("options", ""))]
    own: dict[str, object] = {
        "application_name": "tanyuan",
        "connect_timeout": max(2, round(wait_s)),
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": 60_000,
    }
    missing = {name: value for name, value in own.items() if name not in url.query}
    return missing | {"options": " ".join(options).strip()}


def _text(value: str | tuple[str, ...]) -> str:
    return value if isinstance(value, str) else " ".join(value)


def _connect(
    _dialect: object, _record: object, args: Sequence[str], parameters: Mapping[str, Any]
) -> PatientConnection:
    return PatientConnection.connect(*args, **parameters)


def _expect_a_ping(connection: PatientConnection | None, _record: object) -> None:
    if connection is not None:
        connection.patience_s = PING_S


def _expect_work(connection: PatientConnection, _record: object, _proxy: object) -> None:
    connection.patience_s = SILENT_S
