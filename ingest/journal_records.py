"""The bytes of one journal record: how a message is written down and read back.

A segment is a header and then records, one after the other, little-endian:

====== ======== ==========================================================
offset type     meaning
====== ======== ==========================================================
0      uint32   number of bytes from offset 8 to the end of the record
4      uint32   CRC-32 of those bytes
8      uint64   sequence, from 1, without gaps
16     int64    received_at, microseconds since 1970-01-01 UTC
24     uint16   bytes of the topic (UTF-8)
26     uint16   bytes of the client (UTF-8)
28     uint8    bytes of the door (UTF-8)
29     bytes    topic, client, door, and then the payload, as it came
====== ======== ==========================================================
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple
from zlib import crc32

PREFIX = struct.Struct("<II")
STAMP = struct.Struct("<Qq")
LENGTHS = struct.Struct("<HHB")
FRONT = struct.Struct("<IIQqHHB")
MIN_BODY = STAMP.size + LENGTHS.size
MAX_BODY = 1 << 29
_CACHED = 1 << 16


class Message(NamedTuple):
    """What came in through a door, before it has a number."""

    received_at: int
    topic: str
    payload: bytes
    door: str
    client: str


class Record(NamedTuple):
    """One message as the journal keeps it."""

    sequence: int
    received_at: int
    topic: str
    payload: bytes
    door: str
    client: str


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a run of bytes held.

    Attributes:
        records: The records asked for.
        position: Where the first byte after the last good record is.
        following: The sequence the record at `position` must have.
        needed: Bytes that record needs when the run ended inside it; 0 when it is unknown.
        broken: The bytes at `position` cannot be a record, however many more follow.
    """

    records: list[Record]
    position: int
    following: int
    needed: int
    broken: bool


class Encoder:
    """Turns messages into record bytes; remembers topics, which come again and again."""

    def __init__(self) -> None:
        self._envelopes: dict[tuple[str, str, str], bytes] = {}

    def encode(self, messages: Sequence[Message], *, first: int) -> bytes:
        """Return the records of the messages, numbered from `first`.

        Raises:
            ValueError: A topic, client or door is too long or not text, or a payload is too
                large to be kept.
        """
        chunks: list[bytes] = []
        envelopes, stamp, prefix = self._envelopes, STAMP.pack, PREFIX.pack
        for sequence, (received_at, topic, payload, door, client) in enumerate(messages, first):
            key = (topic, door, client)
            envelope = envelopes.get(key)
            if envelope is None:
                envelope = self._envelope(key)
            body = b"".join((stamp(sequence, received_at), envelope, payload))
            if len(body) > MAX_BODY:
                raise ValueError(f"{topic}: {len(payload)} bytes are too many for one message")
            chunks.append(prefix(len(body), crc32(body)))
            chunks.append(body)
        return b"".join(chunks)

    def _envelope(self, key: tuple[str, str, str]) -> bytes:
        topic, door, client = (text.encode() for text in key)
        if len(topic) > 0xFFFF or len(client) > 0xFFFF or len(door) > 0xFF:
            raise ValueError(
                f"topic, client and door may have 65535, 65535 and 255 bytes; "
                f"they have {len(topic)}, {len(client)} and {len(door)}"
            )
        envelope = LENGTHS.pack(len(topic), len(client), len(door)) + topic + client + door
        if len(self._envelopes) >= _CACHED:
            self._envelopes.clear()
        self._envelopes[key] = envelope
        return envelope


class Parser:
    """Reads records out of bytes; remembers topics, which come again and again."""

    def __init__(self) -> None:
        self._texts: dict[bytes, tuple[str, str, str]] = {}

    def parse(self, data: bytes, *, expected: int, wanted: int = 0, limit: int = 1 << 62) -> Parsed:
        """Read up to `limit` records from the start of `data`.

        Args:
            data: Begins exactly at a record.
            expected: The sequence of that record.
            wanted: Records before this sequence are stepped over.
            limit: How many records to return at most.
        """
        records: list[Record] = []
        view, texts, front, new = memoryview(data), self._texts, FRONT.unpack_from, tuple.__new__
        position, end, needed, broken = 0, len(data), 0, False
        last_front = end - FRONT.size
        while position <= last_front and len(records) < limit:
            length, checksum, sequence, received_at, topic, client, door = front(data, position)
            body = position + 8
            stop = body + length
            start = position + FRONT.size + topic + client + door
            if sequence != expected or start > stop or length > MAX_BODY:
                broken = True
                break
            if stop > end:
                needed = stop - position
                break
            if sequence >= wanted:
                if crc32(view[body:stop]) != checksum:
                    broken = True
                    break
                envelope = data[body + STAMP.size : start]
                text = texts.get(envelope) or self._text(envelope, topic, client)
                name, via, who = text
                fields = (sequence, received_at, name, data[start:stop], via, who)
                records.append(new(Record, fields))
            position = stop
            expected += 1
        return Parsed(records, position, expected, needed, broken)

    def _text(self, envelope: bytes, topic: int, client: int) -> tuple[str, str, str]:
        names = envelope[LENGTHS.size :]
        text = (
            names[:topic].decode(),
            names[topic + client :].decode(),
            names[topic : topic + client].decode(),
        )
        if len(self._texts) >= _CACHED:
            self._texts.clear()
        self._texts[envelope] = text
        return text


def find_record(data: bytes, *, start: int, expected: int) -> tuple[int, int] | None:
    """Find the next good record in bytes that are damaged.

    Args:
        data: Bytes from a segment.
        start: Where to begin to look.
        expected: The lowest sequence it may have; up to 65,536 later ones are looked for.

    Returns:
        Its place in `data` and its sequence, or None when there is none.
    """
    found: list[tuple[int, int]] = []
    for high in {expected >> 16, (expected >> 16) + 1}:
        hit = _find_high(data, start, expected, high)
        if hit is not None:
            found.append(hit)
    return min(found, default=None)


def _find_high(data: bytes, start: int, expected: int, high: int) -> tuple[int, int] | None:
    """Look for a record whose sequence, without its low 16 bits, is `high`."""
    needle = struct.pack("<Q", high << 16)[2:]
    at = data.find(needle, start + 10)
    for _ in range(1_000_000):
        if at < 0:
            return None
        position = at - 10
        sequence = (high << 16) | data[at - 2] | (data[at - 1] << 8)
        if sequence >= expected and _is_record(data, position):
            return position, sequence
        at = data.find(needle, at + 1)
    return None


def _is_record(data: bytes, position: int) -> bool:
    if len(data) - position < FRONT.size:
        return False
    length, checksum = PREFIX.unpack_from(data, position)
    stop = position + 8 + length
    return bool(
        MIN_BODY <= length <= MAX_BODY
        and stop <= len(data)
        and crc32(memoryview(data)[position + 8 : stop]) == checksum
    )
