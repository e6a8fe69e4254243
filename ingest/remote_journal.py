"""The bytes in which one process hands records of its journal to another.

Records travel as they lie in a segment, with their lengths and checksums, so that what arrives is
what was acknowledged or is refused.
"""

from __future__ import annotations

from collections.abc import Sequence

from ingest.journal_records import Encoder, Message, Parser, Record
from ingest.segments import JournalError

MEDIA = "application/vnd.tanyuan.records"


class JournalUnavailable(JournalError):
    """Another process's journal cannot be asked now; nothing was lost, ask again later."""


def encode_records(records: Sequence[Record]) -> bytes:
    """Records that follow each other, as bytes."""
    if not records:
        return b""
    messages = [Message(r.received_at, r.topic, r.payload, r.door, r.client) for r in records]
    return Encoder().encode(messages, first=records[0].sequence)


def decode_records(data: bytes, *, first: int, parser: Parser | None = None) -> list[Record]:
    """What `encode_records` wrote.

    Args:
        data: The bytes.
        first: The sequence the first record must have.
        parser: Remembers topics from call to call.

    Raises:
        JournalUnavailable: They are not whole.
    """
    parsed = (parser or Parser()).parse(data, expected=first)
    if parsed.position != len(data):
        raise JournalUnavailable(
            f"Wanted {len(data)} bytes of records from message {first} on, found them whole only "
            f"to byte {parsed.position}: cut or changed on the way. They are asked for again."
        )
    return parsed.records
