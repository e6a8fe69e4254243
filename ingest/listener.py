"""The MQTT end point in the process: gateways publish straight to it.

It speaks MQTT 5 and 3.1.1, takes QoS 0 and 1, and acknowledges a message only after the journal
has it on disk. Messages that arrive while a batch is being written form the next batch, so a
single sync serves everything that came meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

from ingest.journal_records import Message
from ingest.mqtt_connection import Connection, Hold, ListenerCounts, State
from ingest.mqtt_packets import Reason
from ingest.mqtt_users import PasswordCheck

__all__ = ["Listener", "ListenerCounts", "ListenerError", "ListenerSettings"]

log = logging.getLogger(__name__)

_DOOR = "listener"
_SWEEP_S = 0.25
_FULL_BATCH_BYTES = 1 << 20


class ListenerError(RuntimeError):
    """The listener cannot start."""


class Appender(Protocol):
    """The part of a journal that the doors need."""

    def append(self, messages: Sequence[Message]) -> range:
        """Write messages and sync them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerSettings:
    """How the listener is set up.

    Attributes:
        bind: Address to listen on.
        port: Port to listen on; 0 takes a free one.
        users: Password hash by user name (`mqtt_users`); None lets everyone in.
        max_packet_bytes: A longer packet ends its connection.
        receive_maximum: Messages one client may have under way, not yet acknowledged.
        max_connections: More clients than this are turned away.
        max_pending_bytes: No client is read while more than this waits to be written.
        batch_ms: How long the first message of a batch waits for company.
        connect_timeout_s: A connection without CONNECT is closed after this.
        packet_timeout_s: A connection that stops in the middle of a packet is closed after this.
        max_keep_alive_s: MQTT 5 clients are told to show life at least this often.
    """

    bind: str = "127.0.0.1"
    port: int = 1883
    users: Mapping[str, str] | None = None
    max_packet_bytes: int = 1 << 20
    receive_maximum: int = 1000
    max_connections: int = 20_000
    max_pending_bytes: int = 64 << 20
    batch_ms: float = 2.0
    connect_timeout_s: float = 10.0
    packet_timeout_s: float = 60.0
    max_keep_alive_s: int = 3600


@dataclass(slots=True)
class _Batch:
    """Messages that are written together, and who gets which acknowledgements."""

    messages: list[Message] = field(default_factory=list)
    acks: dict[Connection, list[bytes]] = field(default_factory=dict)
    counts: dict[Connection, int] = field(default_factory=dict)
    size: int = 0


class Listener:
    """An MQTT end point in a thread of its own.

    Args:
        journal: Where messages go; `append` returns once they are on disk.
        settings: How it is set up.
    """

    def __init__(self, journal: Appender, settings: ListenerSettings) -> None:
        self.settings = settings
        self.counts = ListenerCounts()
        self.port = settings.port
        self.topics: dict[bytes, str] = {}
        self.receive_maximum = settings.receive_maximum
        self.max_packet_bytes = settings.max_packet_bytes
        self.max_keep_alive_s = settings.max_keep_alive_s
        self.needs_password = settings.users is not None
        self._journal = journal
        self._passwords = PasswordCheck(settings.users or {})
        self._connections: set[Connection] = set()
        self._sessions: dict[tuple[str, str], Connection] = {}
        self._held: set[Connection] = set()
        self._batch = _Batch()
        self._in_flight = False
        self._pending_bytes = 0
        self._timer: asyncio.Handle | None = None
        self._refusing = False
        self._thread: threading.Thread | None = None
        self._ready = threading.Event()
        self._failure: OSError | None = None

    # -- from other threads -----------------------------------------------------------------

    def start(self) -> None:
        """Start the thread; when this returns, `port` is open.

        Raises:
            ListenerError: The address cannot be listened on.
        """
        self._writer = ThreadPoolExecutor(1, "listener-journal")
        self._checkers = ThreadPoolExecutor(2, "listener-passwords")
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            self._thread.join()
            self._shut_executors()
            raise ListenerError(
                f"cannot listen for MQTT on {self.settings.bind}:{self.settings.port} "
                f"({self._failure.strerror or self._failure}): choose another port, or stop what "
                f"uses this one"
            ) from self._failure

    def stop(self, timeout: float = 10.0) -> None:
        """Stop reading, write and acknowledge what came, tell the clients, and end. [s]."""
        if self._thread is None or not self._thread.is_alive():
            return
        self._loop.call_soon_threadsafe(self._stopping.set_result, timeout)
        self._thread.join()
        self._shut_executors()

    def _shut_executors(self) -> None:
        self._writer.shutdown(wait=not self._in_flight)
        self._checkers.shutdown(wait=False, cancel_futures=True)

    # -- the loop ---------------------------------------------------------------------------

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping: asyncio.Future[float] = self._loop.create_future()
        try:
            server = await self._loop.create_server(
                lambda: Connection(self, door=_DOOR),
                self.settings.bind,
                self.settings.port,
                backlog=1024,
            )
        except OSError as error:
            self._failure = error
            self._ready.set()
            return
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        log.info("listening for MQTT on %s:%d", self.settings.bind, self.port)
        sweeper = self._loop.create_task(self._sweep())
        timeout = await self._stopping
        server.close()
        sweeper.cancel()
        await self._drain(self._loop.time() + timeout)

    async def _drain(self, deadline: float) -> None:
        """Finish what was begun, and close every connection."""
        for connection in self._connections:
            connection.hold(Hold.BACKLOG)
        self._flush()
        while (self._in_flight or self._batch.counts) and self._loop.time() < deadline:
            await asyncio.sleep(0.005)
        for connection in list(self._connections):
            connection.end(Reason.SHUTTING_DOWN)
        while self._connections and self._loop.time() < deadline:
            await asyncio.sleep(0.005)
        for connection in list(self._connections):
            connection.cut()
        while self._connections:
            await asyncio.sleep(0)

    async def _sweep(self) -> None:
        """Close connections that are silent for too long."""
        settings = self.settings
        while True:
            await asyncio.sleep(_SWEEP_S)
            now = self._loop.time()
            for connection in list(self._connections):
                if connection.state is not State.CLOSED and connection.overdue(
                    now, connect_s=settings.connect_timeout_s, packet_s=settings.packet_timeout_s
                ):
                    self.counts.timeouts += 1
                    log.info("%s: closed: silent for too long", connection.name)
                    connection.end(Reason.KEEP_ALIVE_TIMEOUT)

    # -- what connections ask for -----------------------------------------------------------

    def now_us(self) -> int:
        """Return microseconds since 1970-01-01 UTC."""
        return time.time_ns() // 1000

    def now_s(self) -> float:
        """Return the loop's own seconds."""
        return self._loop.time()

    def opened(self, connection: Connection) -> bool:
        """Take in a new connection; False when there are too many."""
        if len(self._connections) >= self.settings.max_connections or self._stopping.done():
            self.counts.refused_connections += 1
            return False
        self._connections.add(connection)
        self.counts.connections += 1
        self.counts.open_now = len(self._connections)
        connection.keep_socket_alive()
        return True

    def lost(self, connection: Connection) -> None:
        """Forget a connection."""
        self._connections.discard(connection)
        self._held.discard(connection)
        self.counts.open_now = len(self._connections)
        if self._sessions.get(connection.session) is connection:
            del self._sessions[connection.session]

    def take_over(self, connection: Connection) -> None:
        """Close the connection that had the same client id before."""
        before = self._sessions.get(connection.session)
        self._sessions[connection.session] = connection
        if before is not None and before is not connection:
            self.counts.take_overs += 1
            before.end(Reason.TAKEN_OVER)

    def check(self, connection: Connection, user: str, password: bytes) -> None:
        """Check a password off the loop, and tell the connection."""

        def tell(future: asyncio.Future[bool]) -> None:
            if not future.cancelled():
                connection.checked(right=future.exception() is None and future.result())

        future = self._loop.run_in_executor(
            self._checkers, self._passwords.is_right, user, password
        )
        future.add_done_callback(tell)

    def after(self, seconds: float, transport: asyncio.Transport) -> None:
        """Cut a connection off that has not closed by then."""
        self._loop.call_later(seconds, transport.abort)

    def accept(
        self, connection: Connection, messages: list[Message], acks: list[bytes], size: int
    ) -> None:
        """Take messages to be written, and the acknowledgements they earn."""
        batch = self._batch
        batch.messages += messages
        if connection in batch.acks:
            batch.acks[connection] += acks
            batch.counts[connection] += len(messages)
        else:
            batch.acks[connection] = acks
            batch.counts[connection] = len(messages)
        batch.size += size
        self._pending_bytes += size
        self.counts.messages += len(messages)
        connection.pending += len(messages)
        if connection.pending > self.receive_maximum:
            connection.hold(Hold.BACKLOG)
        if self._pending_bytes > self.settings.max_pending_bytes:
            self._held.add(connection)
            connection.hold(Hold.CROWD)
        self._schedule()

    # -- batches ----------------------------------------------------------------------------

    def _schedule(self) -> None:
        if self._in_flight:
            return
        if self._batch.size >= _FULL_BATCH_BYTES:
            self._flush()
        elif self._timer is None:
            self._timer = self._loop.call_later(self.settings.batch_ms / 1000, self._flush)

    def _flush(self) -> None:
        """Hand the batch to the writer thread."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._in_flight or not self._batch.counts:
            return
        batch, self._batch = self._batch, _Batch()
        self._in_flight = True
        future = self._loop.run_in_executor(self._writer, self._journal.append, batch.messages)
        future.add_done_callback(lambda done: self._written(batch, done))

    def _written(self, batch: _Batch, future: asyncio.Future[range]) -> None:
        """Acknowledge a batch that is on disk, or turn its senders away."""
        self._in_flight = False
        self._pending_bytes -= batch.size
        self.counts.batches += 1
        error = future.exception()
        if error is None:
            self._refusing = False
            for connection, acks in batch.acks.items():
                connection.written(acks, batch.counts[connection])
        else:
            self._refuse(batch, error)
        if self._held and self._pending_bytes <= self.settings.max_pending_bytes // 2:
            held, self._held = self._held, set()
            for connection in held:
                connection.release(Hold.CROWD)
        self._flush()

    def _refuse(self, batch: _Batch, error: BaseException) -> None:
        """Acknowledge nothing: the senders keep their messages and send them again."""
        self.counts.journal_refusals += len(batch.messages)
        if not self._refusing:
            log.error("messages are refused: %s", error)
        self._refusing = True
        for connection, count in batch.counts.items():
            connection.pending -= count
            connection.end(Reason.QUOTA_EXCEEDED)
