"""A collector on an outside broker: journal, then acknowledge.

Two threads: one talks to the broker, the other writes batches to the journal. Everything that
touches the paho client happens on the first one, through paho's interface for outside loops,
because a paho client that is used from two threads, or that reconnects by itself, can die with
its thread or acknowledge a message of an earlier connection. Each connection gets a new client;
the session lives in the broker, so whatever was not acknowledged comes again. Plain messages are
taken off the socket before paho reads them (`subscriber_socket`).
"""

from __future__ import annotations

import logging
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

import paho.mqtt.client as paho
from paho.mqtt.reasoncodes import ReasonCode

from ingest.journal_records import Message
from ingest.mqtt_packets import MQTT_5
from ingest.segments import JournalError
from ingest.subscriber_client import connect, make_client, subscribe
from ingest.subscriber_socket import PUBACK, Connected, PublishSocket

log = logging.getLogger(__name__)

_DOOR = "subscriber"
_BATCH_MESSAGES = 5000
_READ_TURN = 500
_RETRY_JOURNAL_S = 1.0
_TURN_S = 0.5
_CLIENT_LENGTH = 200
_ACK_BYTES = len(PUBACK) + 2


class BrokerUrlInvalid(ValueError):
    """A broker address cannot be used."""


class Appender(Protocol):
    """The part of a journal that the doors need."""

    def append(self, messages: Sequence[Message]) -> range:
        """Write messages and sync them."""


@dataclass(frozen=True, slots=True)
class Broker:
    """Where a broker is, and as whom to go there."""

    host: str
    port: int
    user: str | None
    tls: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriberSettings:
    """How the subscriber is set up.

    Attributes:
        broker: `mqtt[s]://user@host:port`.
        password: For the user; never part of the address, so that no log shows it.
        filters: Topic filters.
        group: Shared-subscription group: its collectors divide the messages among them.
        client_id: Names the session in the broker; each collector needs its own.
        version: 5, or 4 for MQTT 3.1.1.
        session_expiry_s: How long an MQTT 5 broker keeps messages while we are away.
        receive_maximum: Messages an MQTT 5 broker may have under way to us.
        queue_messages: Nothing is read while this many wait to be written.
        batch_ms: How long the first message of a batch waits for company.
        keep_alive_s: How often a silent connection is probed.
        reconnect_min_s: First wait after a connection is lost; doubles from then on.
        reconnect_max_s: Longest wait.
        ca_file: Certificates to trust with mqtts; None takes the system's.
    """

    broker: str
    password: str | None = field(default=None, repr=False)
    filters: tuple[str, ...] = ("tanyuan/#",)
    group: str | None = None
    client_id: str = "tanyuan"
    version: int = MQTT_5
    session_expiry_s: int = 7 * 86_400
    receive_maximum: int = 1000
    queue_messages: int = 20_000
    batch_ms: float = 1.0
    keep_alive_s: int = 30
    reconnect_min_s: float = 0.5
    reconnect_max_s: float = 30.0
    ca_file: Path | None = None


@dataclass(slots=True)
class SubscriberCounts:
    """What the subscriber has done since it started; only ever counted up."""

    connections: int = 0
    disconnections: int = 0
    messages: int = 0
    bytes: int = 0
    acked: int = 0
    batches: int = 0
    malformed: int = 0
    journal_refusals: int = 0


@dataclass(frozen=True, slots=True)
class _Taken:
    """Messages that came together over one connection, and the PUBACKs for them."""

    connection: int
    messages: list[Message]
    acks: bytes


def parse_broker_url(url: str) -> Broker:
    """Read `mqtt[s]://user@host:port`.

    Raises:
        BrokerUrlInvalid: It is something else, or holds a password.
    """
    wanted = "expected mqtt[s]://user@host:port"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise BrokerUrlInvalid(f"broker address: {wanted} ({error})") from error
    if parts.password is not None:
        raise BrokerUrlInvalid(
            "broker address: it holds a password, which logs would show; set the password apart"
        )
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or parts.path not in ("", "/"):
        raise BrokerUrlInvalid(f"broker address {url!r}: {wanted}")
    tls = parts.scheme == "mqtts"
    user = unquote(parts.username) if parts.username else None
    return Broker(parts.hostname, port or (8883 if tls else 1883), user, tls)


class Subscriber:
    """Takes messages from a broker into the journal, for as long as it runs.

    Args:
        journal: Where messages go; `append` returns once they are on disk.
        settings: How it is set up.

    Raises:
        BrokerUrlInvalid: The address of the broker cannot be used.
    """

    def __init__(self, journal: Appender, settings: SubscriberSettings) -> None:
        self.settings = settings
        self.counts = SubscriberCounts()
        self.connected = False
        self.last_error: str | None = None
        self._broker = parse_broker_url(settings.broker)
        self._journal = journal
        self._name = settings.client_id[:_CLIENT_LENGTH]
        self._queue: deque[_Taken] = deque()
        self._filled = threading.Condition()
        self._written: deque[_Taken] = deque()
        self._unwritten = 0
        self._connection = 0
        self._stopping = threading.Event()
        self._closing = threading.Event()
        self._aborting = threading.Event()
        self._threads: list[threading.Thread] = []
        self._wake_up, self._woken = socket.socketpair()
        for end in (self._wake_up, self._woken):
            end.setblocking(False)

    def start(self) -> None:
        """Start; a broker that is away is waited for."""
        for name, work in (("subscriber", self._talk), ("subscriber-journal", self._write)):
            thread = threading.Thread(target=work, name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self, timeout: float = 10.0) -> None:
        """Write and acknowledge what came, say goodbye, and end; the session stays. [s]."""
        if not self._threads:
            return
        deadline = time.monotonic() + timeout
        talker, writer = self._threads
        self._stopping.set()
        self._wake()
        talker.join(max(0.0, deadline - time.monotonic()))
        self._finish(self._closing)
        writer.join(max(0.0, deadline - time.monotonic()))
        self._finish(self._aborting)
        for thread in self._threads:
            thread.join(_TURN_S)
        self._threads = []
        self._wake_up.close()
        self._woken.close()

    def _finish(self, step: threading.Event) -> None:
        step.set()
        self._wake()
        with self._filled:
            self._filled.notify_all()

    # -- the network thread -----------------------------------------------------------------

    def _talk(self) -> None:
        """Keep a connection up."""
        delay_s = self.settings.reconnect_min_s
        while not self._stopping.is_set():
            before = self.counts.connections
            try:
                self._stay_connected()
            except Exception as error:  # noqa: BLE001 - whatever a broker sends, go on
                self._note(f"{self.settings.broker}: {error or type(error).__name__}")
            if self.connected:
                self.connected = False
                self.counts.disconnections += 1
            if self.counts.connections > before:
                delay_s = self.settings.reconnect_min_s
            self._stopping.wait(delay_s)
            delay_s = min(delay_s * 2, self.settings.reconnect_max_s)

    def _stay_connected(self) -> None:
        """Connect, and exchange packets until the connection ends."""
        self._connection += 1
        client = make_client(self.settings, self._broker, self._wrapped)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        try:
            connect(client, self.settings, self._broker)
            code: int = paho.MQTT_ERR_SUCCESS
            while code == paho.MQTT_ERR_SUCCESS and client.socket() is not None:
                if self._stopping.is_set() and self._is_done(client):
                    client.disconnect()
                    return
                code = self._turn(client)
            if not self._stopping.is_set() and self.connected:
                self._note(f"{self.settings.broker}: connection lost: {paho.error_string(code)}")
        finally:
            client.on_disconnect = None
            sock = client.socket()
            if sock is not None:
                sock.close()

    def _is_done(self, client: paho.Client) -> bool:
        if self._aborting.is_set():
            return True
        sock: object = client.socket()
        sending = isinstance(sock, PublishSocket) and sock.wants_write
        return not (self._unwritten or self._written or sending)

    def _turn(self, client: paho.Client) -> int:
        """Wait for something to do, and do it."""
        self._acknowledge(client)
        sock: Any = client.socket()
        if sock is None:
            return paho.MQTT_ERR_CONN_LOST
        reading = self._unwritten < self.settings.queue_messages and not self._stopping.is_set()
        pending = reading and hasattr(sock, "pending") and sock.pending() > 0
        own = sock if isinstance(sock, PublishSocket) else None
        writing = client.want_write() or (own is not None and own.wants_write)
        # poll, not select: a listener beside us may hold more than 1,024 open files.
        turn = select.poll()
        turn.register(self._woken, select.POLLIN)
        turn.register(sock, (select.POLLIN * reading) | (select.POLLOUT * writing))
        ready = dict(turn.poll(0 if pending else _TURN_S * 1000))
        if ready.get(self._woken.fileno()):
            self._woken.recv(4096)
        events = ready.get(sock.fileno(), 0)
        broken = events & (select.POLLERR | select.POLLHUP | select.POLLNVAL)
        code: int = paho.MQTT_ERR_SUCCESS
        if (events & select.POLLIN) or pending or broken:
            code = self._read(client)
        if events & select.POLLOUT and code == paho.MQTT_ERR_SUCCESS:
            if own is not None:
                own.flush()
            code = client.loop_write()
        return code or client.loop_misc()

    def _read(self, client: paho.Client) -> int:
        """Read what has come, for a turn."""
        until = self.counts.messages + _READ_TURN
        code: int = paho.MQTT_ERR_SUCCESS
        more = True
        while more and code == paho.MQTT_ERR_SUCCESS and self.counts.messages < until:
            sock: object = client.socket()
            if isinstance(sock, PublishSocket):
                more = sock.read()
                code = self._take(client, sock)
            else:
                before = self.counts.messages
                code = client.loop_read()
                more = self.counts.messages > before
        return code

    def _take(self, client: paho.Client, sock: PublishSocket) -> int:
        """Take the messages that were read, and let paho read what is for it."""
        while True:
            self._put(*sock.take(time.time_ns() // 1000))
            if not sock.is_for_paho:
                return paho.MQTT_ERR_SUCCESS
            code = client.loop_read()
            if code != paho.MQTT_ERR_SUCCESS or client.socket() is None:
                return code

    def _put(self, messages: list[Message], acks: bytes) -> None:
        """Hand messages over to be written."""
        if not messages:
            return
        self.counts.messages += len(messages)
        self.counts.bytes += sum(len(message.payload) for message in messages)
        with self._filled:
            self._queue.append(_Taken(self._connection, messages, acks))
            self._unwritten += len(messages)
            if len(self._queue) == 1:
                self._filled.notify()

    def _acknowledge(self, client: paho.Client) -> None:
        """Acknowledge what is on disk, if it came over this very connection.

        A packet identifier of an earlier connection may by now belong to another message.
        """
        acks = b""
        while self._written:
            taken = self._written.popleft()
            if taken.connection == self._connection:
                acks += taken.acks
        if not acks:
            return
        self.counts.acked += len(acks) // _ACK_BYTES
        sock: object = client.socket()
        if isinstance(sock, PublishSocket):
            sock.acknowledge(acks)
            return
        for at in range(len(PUBACK), len(acks), _ACK_BYTES):
            client.ack(int.from_bytes(acks[at : at + 2], "big"), 1)

    def _wrapped(self, sock: Connected) -> PublishSocket:
        version = self.settings.version
        return PublishSocket(sock, version=version, door=_DOOR, client=self._name)

    def _on_connect(
        self,
        client: paho.Client,
        _data: object,
        flags: paho.ConnectFlags,
        reason: ReasonCode,
        _properties: object,
    ) -> None:
        if reason.is_failure:
            self._note(f"{self.settings.broker} refuses {self.settings.client_id}: {reason}")
            return
        self.connected, self.last_error = True, None
        self.counts.connections += 1
        log.info(
            "connected to %s as %s, session %s",
            self.settings.broker,
            self.settings.client_id,
            "resumed" if flags.session_present else "new",
        )
        subscribe(client, self.settings)

    def _on_subscribe(
        self,
        _client: paho.Client,
        _data: object,
        _packet_id: int,
        reasons: list[ReasonCode],
        _properties: object,
    ) -> None:
        for topic, reason in zip(self.settings.filters, reasons, strict=False):
            if reason.is_failure:
                self._note(f"{self.settings.broker} refuses a subscription to {topic}: {reason}")

    def _on_disconnect(
        self,
        _client: paho.Client,
        _data: object,
        flags: paho.DisconnectFlags,
        reason: ReasonCode,
        _properties: object,
    ) -> None:
        if flags.is_disconnect_packet_from_server:
            self._note(f"{self.settings.broker} ends the connection: {reason}")

    def _on_message(self, client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        """Take a message that was left to paho."""
        ack = PUBACK + message.mid.to_bytes(2, "big") if message.qos else b""
        try:
            topic = message.topic
        except UnicodeDecodeError:
            self.counts.messages += 1
            self.counts.bytes += len(message.payload)
            self.counts.malformed += 1
            self._written.append(_Taken(self._connection, [], ack))
            return
        received_at = time.time_ns() // 1000
        payload = bytes(message.payload)
        self._put([Message(received_at, topic, payload, _DOOR, self._name)], ack)

    def _note(self, error: str) -> None:
        if error != self.last_error:
            log.warning("%s", error)
        self.last_error = error

    def _wake(self) -> None:
        try:
            self._wake_up.send(b"\0")
        except OSError:
            return  # full, so it wakes anyway; or closed, so no one sleeps

    # -- the writer thread ------------------------------------------------------------------

    def _write(self) -> None:
        """Write what came, batch after batch."""
        while True:
            with self._filled:
                self._filled.wait_for(lambda: self._queue or self._closing.is_set())
            if not self._queue:
                return
            if not self._stopping.is_set():
                time.sleep(self.settings.batch_ms / 1000)
            batch: list[_Taken] = []
            count = 0
            with self._filled:
                while self._queue and count < _BATCH_MESSAGES:
                    batch.append(self._queue.popleft())
                    count += len(batch[-1].messages)
            if not self._append([message for taken in batch for message in taken.messages]):
                return
            self._written.extend(batch)
            with self._filled:
                self._unwritten -= count
            self._wake()

    def _append(self, messages: list[Message]) -> bool:
        """Append until it works; False when told to give up."""
        refused = False
        while not self._aborting.is_set():
            try:
                self._journal.append(messages)
            except JournalError as error:
                refused = True
                self.counts.journal_refusals += 1
                self._note(str(error))
                self._aborting.wait(_RETRY_JOURNAL_S)
            else:
                self.counts.batches += 1
                if refused:
                    self.last_error = None
                return True
        return False
