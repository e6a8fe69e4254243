"""The socket of a collector's connection: plain messages are taken out before paho reads.

paho asks the system four times for a packet, makes an object of its properties, and sends every
PUBACK by itself; where a broker's queue is drained that is most of the work. Nearly all packets
are a PUBLISH of QoS 0 or 1 without properties. Those are cut out here and acknowledged together;
every other packet is left to paho, in its place among the messages.

Source: MQTT Version 5.0, OASIS Standard 2019-03-07, 2.1 and 3.3 (3.1.1 without the properties).
"""

from __future__ import annotations

import ssl
from typing import Protocol

from ingest.journal_records import Message
from ingest.mqtt_packets import MQTT_5

PUBACK = b"\x40\x02"
"""What stands before the packet identifier."""

_READ_BYTES = 16 << 10
_TOPICS_KEPT = 100_000
_WAIT = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Connected(Protocol):
    """A connected socket, with or without TLS."""

    def recv(self, buffer_size: int) -> bytes:
        """Return what has come, at most so many bytes."""

    def send(self, buffer: bytes | bytearray) -> int:
        """Send what goes, and say how much."""

    def close(self) -> None:
        """Close it."""

    def fileno(self) -> int:
        """Its number."""

    def setblocking(self, flag: bool) -> None:
        """Choose whether to wait."""


class PublishSocket:
    """A socket that keeps plain PUBLISH packets for us and shows paho the rest.

    Args:
        sock: The connected socket.
        version: The MQTT version that is spoken on it.
        door: What the journal is told of where messages came in.
        client: What it is told of who took them.
    """

    def __init__(self, sock: Connected, *, version: int, door: str, client: str) -> None:
        self._sock, self._version = sock, version
        self._door, self._client = door, client
        self._topics: dict[bytes, str] = {}
        self._came, self._need = bytearray(), 2
        self._for_paho = bytearray()
        self._end: bytes | OSError | None = None
        self._acks = bytearray()
        self._torn = False

    # -- what paho uses ---------------------------------------------------------------------

    def recv(self, buffer_size: int) -> bytes:
        """Return bytes of packets that were left to paho."""
        if self._for_paho:
            part = bytes(self._for_paho[:buffer_size])
            del self._for_paho[:buffer_size]
            return part
        if isinstance(self._end, OSError):
            raise self._end
        if self._end is None:
            raise BlockingIOError
        return self._end

    def send(self, buffer: bytes | bytearray) -> int:
        """Send a packet of paho's, unless acknowledgements are on their way."""
        if self._acks and not self._torn:
            raise BlockingIOError
        self._torn = True
        sent = self._sock.send(buffer)
        self._torn = sent < len(buffer)
        return sent

    def close(self) -> None:
        """Close the connection."""
        self._sock.close()

    def fileno(self) -> int:
        """The number of the socket."""
        return self._sock.fileno()

    def setblocking(self, flag: bool) -> None:
        """Choose whether to wait."""
        self._sock.setblocking(flag)

    def pending(self) -> int:
        """Bytes that came with TLS and were not read yet."""
        return self._sock.pending() if isinstance(self._sock, ssl.SSLSocket) else 0

    # -- what the subscriber uses -----------------------------------------------------------

    @property
    def is_for_paho(self) -> bool:
        """Whether paho has something to read, be it the end of the connection."""
        return bool(self._for_paho) or self._end is not None

    @property
    def wants_write(self) -> bool:
        """Whether acknowledgements wait for the socket."""
        return bool(self._acks)

    def read(self) -> bool:
        """Read once what has come; False if there was nothing."""
        try:
            data = self._sock.recv(_READ_BYTES)
        except _WAIT:
            return False
        except OSError as error:
            self._end = error
            return False
        if not data:
            self._end = data
        self._came += data
        return bool(data)

    def take(self, received_at: int) -> tuple[list[Message], bytes]:
        """Take messages out of what was read, up to a packet that is left to paho.

        Args:
            received_at: When they came, in microseconds since 1970-01-01 UTC.

        Returns:
            The messages, and the PUBACKs to be sent once they are on disk.
        """
        if len(self._came) < self._need:
            return [], b""
        data, at, need = bytes(self._came), 0, 2
        messages: list[Message] = []
        acks: list[bytes] = []
        new = tuple.__new__
        while len(data) - at >= need:
            body, stop = _extent(data, at)
            if not body or stop > len(data):
                need = stop - at
                continue
            parts = self._parts(data, data[at], body, stop)
            if parts is None:
                self._for_paho += data[at:stop]
                at = stop
                break
            topic, payload_at, packet_id = parts
            if packet_id:
                acks.append(PUBACK + packet_id)
            fields = (received_at, topic, data[payload_at:stop], self._door, self._client)
            messages.append(new(Message, fields))
            at = stop
        del self._came[:at]
        self._need = need
        return messages, b"".join(acks)

    def acknowledge(self, acks: bytes) -> None:
        """Send PUBACKs; what does not go now goes with the next `flush`."""
        self._acks += acks
        self.flush()

    def flush(self) -> None:
        """Send PUBACKs that wait, unless paho is in the middle of a packet."""
        if self._acks and not self._torn:
            try:
                del self._acks[: self._sock.send(self._acks)]
            except _WAIT:
                return
            except OSError as error:
                self._end = error

    def _parts(
        self, data: bytes, first: int, body: int, stop: int
    ) -> tuple[str, int, bytes] | None:
        """Topic, where the payload begins, and packet identifier; None if it is not plain."""
        if first & 0xF4 != 0x30 or stop - body < 2:
            return None
        topic_end = body + 2 + (data[body] << 8 | data[body + 1])
        id_end = topic_end + (first & 0x02)
        payload_at = id_end + (self._version == MQTT_5)
        if payload_at > stop or (payload_at > id_end and data[id_end]):
            return None
        name = data[body + 2 : topic_end]
        topic = self._topics.get(name) or self._topic(name)
        return (topic, payload_at, data[topic_end:id_end]) if topic else None

    def _topic(self, name: bytes) -> str:
        """Read a topic that was not seen before; empty if it is no text."""
        try:
            topic = name.decode()
        except UnicodeDecodeError:
            return ""
        if len(self._topics) >= _TOPICS_KEPT:
            self._topics.clear()
        self._topics[name] = topic
        return topic


def _extent(data: bytes, at: int) -> tuple[int, int]:
    """Where the body of a packet begins and where it ends; (0, how far must be read) if unknown.

    A length of more than four bytes is no MQTT: all that came is one packet, for paho to refuse.
    """
    length, shift = 0, 0
    for place in range(at + 1, at + 5):
        if place >= len(data):
            return 0, place + 1
        byte = data[place]
        length |= (byte & 0x7F) << shift
        if byte < 0x80:
            return place + 1, place + 1 + length
        shift += 7
    return at + 5, len(data)
