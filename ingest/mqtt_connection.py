"""One client of the listener: what it may say, and what it hears."""

from __future__ import annotations

import asyncio
import logging
import socket
import uuid
from dataclasses import dataclass
from enum import Enum, IntFlag
from typing import Protocol

from ingest import mqtt_answers
from ingest.journal_records import Message
from ingest.mqtt_frames import FrameReader
from ingest.mqtt_packets import (
    MQTT_5,
    Connect,
    Fault,
    Packet,
    Ping,
    Reason,
    Subscribe,
    Unsubscribe,
)

log = logging.getLogger(__name__)

_CLIENT_LENGTH = 200
_LINGER_S = 5.0
_KEEP_ALIVE_GRACE = 1.5


class State(Enum):
    """How far a connection has come."""

    NEW = "before CONNECT"
    CHECKING = "its password is being checked"
    OPEN = "accepted"
    CLOSED = "closed"


class Hold(IntFlag):
    """Why nothing is read from a connection for the moment."""

    NONE = 0
    BACKLOG = 1
    WRITING = 2
    CHECKING = 4
    CROWD = 8


@dataclass(slots=True)
class ListenerCounts:
    """What the listener has done since it started; only ever counted up, but `open_now`."""

    connections: int = 0
    open_now: int = 0
    messages: int = 0
    bytes: int = 0
    acked: int = 0
    batches: int = 0
    malformed: int = 0
    oversize: int = 0
    qos2: int = 0
    unsupported_version: int = 0
    refused_auth: int = 0
    refused_connections: int = 0
    refused_subscriptions: int = 0
    refused_topics: int = 0
    timeouts: int = 0
    take_overs: int = 0
    journal_refusals: int = 0


class Hub(Protocol):
    """What a connection needs of the listener."""

    counts: ListenerCounts
    receive_maximum: int
    max_packet_bytes: int
    max_keep_alive_s: int
    topics: dict[bytes, str]
    needs_password: bool

    def now_us(self) -> int:
        """Return microseconds since 1970-01-01 UTC."""

    def now_s(self) -> float:
        """Return the loop's own seconds."""

    def opened(self, connection: Connection) -> bool:
        """Take in a new connection; False when there are too many."""

    def lost(self, connection: Connection) -> None:
        """Forget a connection."""

    def accept(
        self, connection: Connection, messages: list[Message], acks: list[bytes], size: int
    ) -> None:
        """Take messages to be written, and the acknowledgements they earn."""

    def check(self, connection: Connection, user: str, password: bytes) -> None:
        """Check a password off the loop, and tell the connection."""

    def take_over(self, connection: Connection) -> None:
        """Close the connection that had the same client id before."""

    def after(self, seconds: float, transport: asyncio.Transport) -> None:
        """Cut a connection off that has not closed by then."""


class Connection(asyncio.Protocol):
    """The protocol of one TCP connection."""

    def __init__(self, hub: Hub, *, door: str) -> None:
        self._hub = hub
        self._frames = FrameReader(
            max_packet_bytes=hub.max_packet_bytes, topics=hub.topics, door=door
        )
        self._transport: asyncio.Transport | None = None
        self._answers: list[bytes] = []
        self._hold = Hold.NONE
        self._connect: Connect | None = None
        self.state = State.NEW
        self.session = ("", "")
        self.client = ""
        self.pending = 0
        self._keep_alive_s = 0
        self._heard_at = self._opened_at = hub.now_s()
        self._partial_since: float | None = None

    # -- asyncio ----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if not self._hub.opened(self):
            self.state = State.CLOSED
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self.state = State.CLOSED
        self._hub.lost(self)

    def data_received(self, data: bytes) -> None:
        """Take in bytes."""
        if self.state is State.CLOSED:
            return
        self._hub.counts.bytes += len(data)
        self._frames.feed(data)
        self._process(len(data))

    def pause_writing(self) -> None:
        """Read nothing from a client that does not read what it is sent."""
        self.hold(Hold.WRITING)

    def resume_writing(self) -> None:
        """Go on with a client that reads again."""
        self.release(Hold.WRITING)

    # -- packets ----------------------------------------------------------------------------

    def _process(self, size: int) -> None:
        """Handle everything that is complete."""
        messages: list[Message] = []
        acks: list[bytes] = []
        received_at, frames = self._hub.now_us(), self._frames
        progress = False
        while self.state in (State.NEW, State.OPEN):
            packet = frames.take(received_at, self.client, messages, acks)
            if packet is None:
                break
            progress = True
            if isinstance(packet, Fault):
                self._fail(packet)
            else:
                self._handle(packet)
        if messages or acks:
            progress = True
            self._hub.accept(self, messages, acks, size)
        self._note_life(progress=progress)
        if frames.refused_topics:
            self._hub.counts.refused_topics += frames.refused_topics
            frames.refused_topics = 0
        if self._answers and self._transport is not None:
            answers, self._answers = self._answers, []
            self._transport.write(b"".join(answers))

    def _note_life(self, *, progress: bool) -> None:
        """Note when a packet was last complete, and since when one is not."""
        now = self._hub.now_s()
        if progress:
            self._heard_at = now
        if not self._frames.partial:
            self._partial_since = None
        elif progress or self._partial_since is None:
            self._partial_since = now

    def _handle(self, packet: Packet) -> None:
        version = self._frames.version
        if isinstance(packet, Connect):
            self._on_connect(packet)
        elif isinstance(packet, Ping):
            self._answers.append(mqtt_answers.PINGRESP)
        elif isinstance(packet, Subscribe):
            self._hub.counts.refused_subscriptions += 1
            self._answers.append(mqtt_answers.suback(version, packet))
        elif isinstance(packet, Unsubscribe):
            self._answers.append(mqtt_answers.unsuback(version, packet))
        else:
            self._close(b"")

    def _on_connect(self, connect: Connect) -> None:
        self._connect = connect
        if connect.authentication_method is not None:
            self._refuse(Reason.BAD_AUTHENTICATION_METHOD)
        elif connect.version == MQTT_5 and connect.will_qos == 2:
            self._refuse(Reason.QOS_NOT_SUPPORTED)
        elif connect.version != MQTT_5 and not connect.client_id and not connect.clean_start:
            self._refuse(Reason.CLIENT_ID_NOT_VALID)
        elif not self._hub.needs_password:
            self._welcome(connect)
        elif connect.user is None or connect.password is None:
            self._hub.counts.refused_auth += 1
            self._refuse(Reason.NOT_AUTHORISED)
        else:
            self.state = State.CHECKING
            self.hold(Hold.CHECKING)
            self._hub.check(self, connect.user, connect.password)

    def checked(self, *, right: bool) -> None:
        """Go on with a connection whose password was checked."""
        if self.state is not State.CHECKING or self._connect is None:
            return
        if right:
            self._welcome(self._connect)
            self.release(Hold.CHECKING)
            self._process(0)
        else:
            log.warning("wrong user name or password from client %r", self._connect.client_id)
            self._hub.counts.refused_auth += 1
            self._refuse(Reason.BAD_USER_OR_PASSWORD)

    def _welcome(self, connect: Connect) -> None:
        """Accept a connection."""
        assigned = None if connect.client_id else f"tanyuan-{uuid.uuid4().hex}"
        client_id = connect.client_id or assigned or ""
        user = connect.user if self._hub.needs_password and connect.user else ""
        self.session = (user, client_id)
        self.client = (f"{user}/{client_id}" if user else client_id)[:_CLIENT_LENGTH]
        self._keep_alive_s = connect.keep_alive_s
        server_keep_alive_s = None
        longest = self._hub.max_keep_alive_s
        if connect.version == MQTT_5 and not 0 < connect.keep_alive_s <= longest:
            self._keep_alive_s = server_keep_alive_s = longest
        self.state = State.OPEN
        self._heard_at = self._hub.now_s()
        self._hub.take_over(self)
        self._answers.append(
            mqtt_answers.connack(
                connect,
                receive_maximum=self._hub.receive_maximum,
                max_packet_bytes=self._hub.max_packet_bytes,
                assigned_client_id=assigned,
                server_keep_alive_s=server_keep_alive_s,
            )
        )

    def _fail(self, fault: Fault) -> None:
        """Count what is wrong, say so where the protocol has a word for it, and close."""
        counts = self._hub.counts
        if fault.reason is Reason.PACKET_TOO_LARGE:
            counts.oversize += 1
        elif fault.reason is Reason.QOS_NOT_SUPPORTED:
            counts.qos2 += 1
        elif fault.reason is Reason.UNSUPPORTED_VERSION:
            counts.unsupported_version += 1
        else:
            counts.malformed += 1
        log.info("%s: closed: %s", self.name, fault.text)
        if self.state is State.OPEN:
            self.end(fault.reason)
        elif fault.answer_version:
            self._close(mqtt_answers.refusal(fault.answer_version, fault.reason))
        else:
            self._close(b"")

    @property
    def name(self) -> str:
        """Who this is, for the log."""
        peer = self._transport.get_extra_info("peername") if self._transport else None
        return f"{self.client or 'client'} at {peer[0] if peer else '?'}"

    # -- what the listener asks of it -------------------------------------------------------

    def written(self, acks: list[bytes], count: int) -> None:
        """Acknowledge messages: they are on disk."""
        self.pending -= count
        if self._transport is not None and acks and self.state is State.OPEN:
            self._transport.write(b"".join(acks))
            self._hub.counts.acked += len(acks)
        if self._hold & Hold.BACKLOG and self.pending <= self._hub.receive_maximum // 2:
            self.release(Hold.BACKLOG)

    def end(self, reason: Reason) -> None:
        """Close, and say why where the version has a word for it."""
        if self.state is State.OPEN:
            self._close(mqtt_answers.farewell(self._frames.version, reason))
        else:
            self._close(b"")

    def overdue(self, now: float, *, connect_s: float, packet_s: float) -> bool:
        """Say whether the client has been silent for longer than it may be."""
        if self._hold or self.state is State.CHECKING:
            self._heard_at = now
            return False
        if self.state is State.NEW:
            return now - self._opened_at > connect_s
        if self._partial_since is not None and now - self._partial_since > packet_s:
            return True
        limit_s = self._keep_alive_s * _KEEP_ALIVE_GRACE
        return bool(limit_s) and now - self._heard_at > limit_s

    def hold(self, why: Hold) -> None:
        """Stop reading."""
        if not self._hold and self._transport is not None:
            self._transport.pause_reading()
        self._hold |= why

    def release(self, why: Hold) -> None:
        """Read again, if nothing else is in the way."""
        if not self._hold & why:
            return
        self._hold &= ~why
        if not self._hold and self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def keep_socket_alive(self) -> None:
        """Let the system notice peers that vanished without a word."""
        sock = self._transport.get_extra_info("socket") if self._transport else None
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def cut(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def _refuse(self, reason: Reason) -> None:
        version = self._connect.version if self._connect else MQTT_5
        self._close(mqtt_answers.refusal(version, reason))

    def _close(self, last_words: bytes) -> None:
        if self.state is State.CLOSED or self._transport is None:
            return
        self.state = State.CLOSED
        self._transport.write(b"".join((*self._answers, last_words)))
        self._answers = []
        self._transport.close()
        self._hub.after(_LINGER_S, self._transport)
