"""One open segment file of the journal: made, scanned after a crash, appended to, read.

A raw segment is a 36-byte header (mark, journal id, first sequence, CRC-32) followed by records
as `journal_records` describes them. The file name is the first sequence, so the last sequence of
a segment is known from the name of the next one; bytes beyond it were never acknowledged.
"""

from __future__ import annotations

import os
import struct
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

from ingest.journal_records import FRONT, MAX_BODY, Parser, Record, find_record

RAW_SUFFIX = ".log"
RAW_MARK = b"TYJOURN1"
HEADER = struct.Struct("<8s16sQI")
CHUNK_BYTES = 2 << 20
INDEX_BYTES = 256 << 10
DAY_US = 86_400_000_000


class JournalError(RuntimeError):
    """The journal cannot do what was asked; nothing was acknowledged."""


class JournalDamaged(JournalError):
    """Messages that were in the journal cannot be read any more."""

    def __init__(self, damage: Damage) -> None:
        super().__init__(str(damage))
        self.damage = damage
        self.first_lost, self.last_lost = damage.first_lost, damage.last_lost


@dataclass(frozen=True, slots=True)
class Damage:
    """A place in a segment file that cannot be read.

    Attributes:
        path: The file.
        offset: First byte that makes no sense.
        first_lost: First sequence that cannot be read.
        last_lost: Last sequence that cannot be read; `first_lost - 1` when none is lost.
        resume: Byte from where it can be read again.
        lost: The journal says so itself: it was put back from an older copy.
    """

    path: Path
    offset: int
    first_lost: int
    last_lost: int
    resume: int
    lost: bool = False

    def __str__(self) -> str:
        if self.lost:
            return (
                f"messages {self.first_lost} to {self.last_lost} are not in the journal "
                f"{self.path.parent} any more: it was put back from an older copy, and went on "
                f"after {self.last_lost}."
            )
        return (
            f"journal file {self.path} is damaged at byte {self.offset}: "
            f"messages {self.first_lost} to {self.last_lost} cannot be read. Put a good copy of "
            f"the file in its place, or go on after {self.last_lost}."
        )


def segment_name(first: int, suffix: str) -> str:
    """Return the name of the segment file that begins with a sequence."""
    return f"{first:020d}{suffix}"


def fsync_folder(folder: Path) -> None:
    """Make sure that names made, changed or removed in a folder survive a crash."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_whole(handle: int, data: bytes) -> None:
    """Write all bytes at the current position, however many calls it takes."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(handle, rest) :]


def header_bytes(mark: bytes, journal_id: str, first: int) -> bytes:
    """Return a segment's header."""
    front = struct.pack("<8s16sQ", mark, journal_id.encode("ascii"), first)
    return front + struct.pack("<I", crc32(front))


class RawSegment:
    """A segment that is not sealed yet, and what is known of its inside.

    `end` and `next_sequence` only ever name bytes that are safe to hand out; they move after
    the bytes are on disk.
    """

    def __init__(self, path: Path, first: int) -> None:
        self.path, self.first = path, first
        self.next_sequence, self.end = first, HEADER.size
        self.damages: list[Damage] = []
        self.days: Counter[int] = Counter()
        self.first_received_at: int | None = None
        self.last_received_at: int | None = None
        self._index = ([first], [HEADER.size])
        self._cursor = (first, HEADER.size)

    @classmethod
    def create(cls, folder: Path, journal_id: str, first: int, *, sync: bool) -> RawSegment:
        """Make a new, empty segment file; its name is on disk when this returns."""
        path = folder / segment_name(first, RAW_SUFFIX)
        handle = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o640)
        try:
            write_whole(handle, header_bytes(RAW_MARK, journal_id, first))
            if sync:
                os.fsync(handle)
        finally:
            os.close(handle)
        if sync:
            fsync_folder(folder)
        return cls(path, first)

    def grown(self, *, count: int, size: int, first_at: int, last_at: int) -> None:
        """Note that a batch was appended and is on disk."""
        sequences, offsets = self._index
        if self.end - offsets[-1] >= INDEX_BYTES:
            sequences.append(self.next_sequence)
            offsets.append(self.end)
        if self.first_received_at is None:
            self.first_received_at = first_at
        self.last_received_at = last_at
        self.days[first_at // DAY_US] += count
        self.next_sequence += count
        self.end += size

    def scan(self, parser: Parser, *, before: int | None = None) -> int:
        """Read on from `end` and take in every good record.

        Args:
            parser: Reads the records.
            before: The first sequence of the next segment, if there is one; records from there
                on were never acknowledged and are left out.

        Returns:
            Size of the file: bytes between `end` and it are the torn end of a write.
        """
        handle = os.open(self.path, os.O_RDONLY)
        try:
            size = os.fstat(handle).st_size
            while self.end < size and (before is None or self.next_sequence < before):
                if not self._scan_chunk(handle, size, parser, before):
                    break
        finally:
            os.close(handle)
        if before is not None and self.next_sequence < before:
            self.damages.append(
                Damage(self.path, self.end, self.next_sequence, before - 1, self.end)
            )
            self.next_sequence = before
        return size

    def _scan_chunk(self, handle: int, size: int, parser: Parser, before: int | None) -> bool:
        """Take in one chunk; False when nothing good follows."""
        length = CHUNK_BYTES
        while True:
            data = os.pread(handle, length, self.end)
            limit = 1 << 62 if before is None else before - self.next_sequence
            parsed = parser.parse(data, expected=self.next_sequence, limit=limit)
            if parsed.records or parsed.broken:
                break
            if not length < parsed.needed <= size - self.end:
                return False
            length = parsed.needed
        for record in parsed.records:
            self.days[record.received_at // DAY_US] += 1
        if parsed.records:
            times = (parsed.records[0].received_at, parsed.records[-1].received_at)
            self.grown(count=0, size=parsed.position, first_at=times[0], last_at=times[1])
            self.next_sequence = parsed.following
        return self._step_over(handle, size, before) if parsed.broken else True

    def _step_over(self, handle: int, size: int, before: int | None) -> bool:
        """Note the damage at `end` and go to the next good record; False when there is none."""
        damage = self._damage_at(handle, self.end, self.next_sequence, size, before)
        if damage is None:
            return False
        self.damages.append(damage)
        self.end, self.next_sequence = damage.resume, damage.last_lost + 1
        self._index[0].append(self.next_sequence)
        self._index[1].append(self.end)
        return True

    def _damage_at(
        self, handle: int, offset: int, expected: int, size: int, before: int | None
    ) -> Damage | None:
        """Describe the damage at an offset; None for the torn end of the last write."""
        data = os.pread(handle, size - offset, offset)
        hit = find_record(data, start=0, expected=expected)
        if hit is not None and (before is None or hit[1] < before):
            return Damage(self.path, offset, expected, hit[1] - 1, offset + hit[0])
        if before is not None:
            return Damage(self.path, offset, expected, before - 1, size)
        if len(data) >= FRONT.size:
            length, _, sequence, *_ = FRONT.unpack_from(data)
            whole = length <= MAX_BODY and len(data) >= 8 + length
            if sequence == expected and whole:
                return Damage(self.path, offset, expected, expected, offset + 8 + length)
        return None

    def read(
        self, wanted: int, *, limit: int, max_bytes: int, parser: Parser, handle: int | None = None
    ) -> list[Record]:
        """Return records from sequence `wanted` on, in order, at least one.

        Raises:
            JournalDamaged: The record wanted cannot be read.
            FileNotFoundError: The file was sealed or moved meanwhile.
        """
        own = os.open(self.path, os.O_RDONLY) if handle is None else handle
        try:
            return self._read(own, wanted, limit, max_bytes, parser)
        finally:
            if handle is None:
                os.close(own)

    def _read(
        self, handle: int, wanted: int, limit: int, max_bytes: int, parser: Parser
    ) -> list[Record]:
        expected, offset = self._locate(wanted)
        records: list[Record] = []
        end, size = self.end, min(CHUNK_BYTES, max(64 << 10, limit << 10))
        while len(records) < limit and max_bytes > 0 and offset < end:
            data = os.pread(handle, min(size, end - offset), offset)
            parsed = parser.parse(
                data, expected=expected, wanted=wanted, limit=limit - len(records)
            )
            records += parsed.records
            offset, expected = offset + parsed.position, parsed.following
            max_bytes -= parsed.position if records else 0
            if parsed.broken or (not parsed.position and parsed.needed <= size):
                if records:
                    break
                damage = self._known_damage(handle, offset, expected, end)
                if wanted <= damage.last_lost:
                    raise JournalDamaged(damage)
                offset, expected = damage.resume, damage.last_lost + 1
            size = max(size, parsed.needed)
        if not records:
            raise JournalDamaged(self._damage_of(wanted))
        self._cursor = (expected, offset)
        return records

    def _damage_of(self, wanted: int) -> Damage:
        """Return the damage that a sequence fell into."""
        for damage in self.damages:
            if damage.first_lost <= wanted <= damage.last_lost:
                return damage
        return Damage(self.path, self.end, wanted, self.next_sequence - 1, self.end)

    def _locate(self, wanted: int) -> tuple[int, int]:
        """Return the nearest place at or before a sequence that is known."""
        cursor = self._cursor
        sequences, offsets = self._index
        place = bisect_right(sequences, wanted) - 1
        if sequences[place] <= cursor[0] <= wanted:
            return cursor
        return sequences[place], offsets[place]

    def _known_damage(self, handle: int, offset: int, expected: int, end: int) -> Damage:
        for damage in self.damages:
            if damage.offset == offset:
                return damage
        found = self._damage_at(handle, offset, expected, end, self.next_sequence)
        damage = found or Damage(self.path, offset, expected, self.next_sequence - 1, end)
        self.damages.append(damage)
        return damage
