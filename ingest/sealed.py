"""A closed segment: compressed in blocks that can be read one by one, and chained by SHA-256.

A sealed file is the 36-byte header of a segment with its own mark; zstd frames of about 256 KiB
of records each; an index (first sequence, offset, size and raw size of every frame); a manifest
as JSON; and a tail that says where the last two are. The manifest holds the SHA-256 of the
uncompressed records and the seal of the segment before it; the seal of a segment is the SHA-256
of its manifest, so that no segment can be changed without changing every later one.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from zlib import crc32

import zstandard

from ingest.journal_records import FRONT, Parser, Record
from ingest.segments import (
    DAY_US,
    HEADER,
    Damage,
    JournalDamaged,
    JournalError,
    RawSegment,
    fsync_folder,
    header_bytes,
)

SEALED_SUFFIX = ".sealed"
PARTIAL_SUFFIX = ".sealing"
SEALED_MARK = b"TYSEALED"
BLOCK_BYTES = 256 << 10
BLOCK = struct.Struct("<QQII")
TAIL = struct.Struct("<QQQI8s")
LEVEL = 3


class SealAbandoned(JournalError):
    """Sealing was told to stop; the raw segment is untouched."""


@dataclass(frozen=True, slots=True)
class Block:
    """Where one frame is, and which records it holds."""

    first: int
    offset: int
    size: int
    raw_size: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a sealed segment says of itself."""

    journal: str
    first: int
    last: int
    raw_bytes: int
    sha256: str
    previous: str
    first_received_at: int
    last_received_at: int
    days: dict[int, int]

    def to_bytes(self) -> bytes:
        """Return the form that is written and hashed."""
        document = {name: getattr(self, name) for name in self.__slots__}
        document["days"] = {str(day): count for day, count in sorted(self.days.items())}
        return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Manifest:
        """Read what `to_bytes` wrote."""
        document = json.loads(data)
        document["days"] = {int(day): count for day, count in document["days"].items()}
        return cls(**document)

    @property
    def seal(self) -> str:
        """The hash that the next segment carries."""
        return hashlib.sha256(self.to_bytes()).hexdigest()


@dataclass(frozen=True, slots=True)
class Footer:
    """Everything a sealed file holds besides the records."""

    manifest: Manifest
    blocks: tuple[Block, ...]
    firsts: tuple[int, ...]


def seal_segment(
    raw: RawSegment,
    *,
    journal_id: str,
    previous: str,
    parser: Parser,
    keep_on: Callable[[], bool] = lambda: True,
) -> Footer:
    """Write the sealed file of a raw segment and check it; the raw file stays.

    A crash at any moment leaves either no sealed file or a complete one.

    Args:
        raw: A segment that no one appends to any more, without damage.
        journal_id: The journal it belongs to.
        previous: Seal of the segment before it; empty for the first.
        parser: Reads the records.
        keep_on: Asked before every block; False abandons the work.

    Raises:
        SealAbandoned: `keep_on` said no.
        JournalDamaged: The raw segment cannot be read.
        JournalError: What was written reads back differently.
    """
    partial = raw.path.with_suffix(PARTIAL_SUFFIX)
    target = raw.path.with_suffix(SEALED_SUFFIX)
    try:
        with partial.open("wb") as file:
            footer = _write(file, raw, journal_id, previous, parser, keep_on)
            file.flush()
            os.fsync(file.fileno())
        if content_sha256(partial, read_footer(partial)) != footer.manifest.sha256:
            raise JournalError(f"{partial} reads back differently from what was written to it")
        os.replace(partial, target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    fsync_folder(target.parent)
    return footer


def _write(
    file: BinaryIO,
    raw: RawSegment,
    journal_id: str,
    previous: str,
    parser: Parser,
    keep_on: Callable[[], bool],
) -> Footer:
    compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True)
    digest, days, blocks = hashlib.sha256(), Counter[int](), list[Block]()
    times: list[int] = []
    file.write(header_bytes(SEALED_MARK, journal_id, raw.first))
    for data, records in _raw_blocks(raw, parser):
        if not keep_on():
            raise SealAbandoned(f"{raw.path} stays as it is; sealing it was stopped")
        frame = compressor.compress(data)
        blocks.append(Block(records[0].sequence, file.tell(), len(frame), len(data)))
        file.write(frame)
        digest.update(data)
        days.update(record.received_at // DAY_US for record in records)
        times += (records[0].received_at, records[-1].received_at)
    manifest = Manifest(
        journal=journal_id,
        first=raw.first,
        last=raw.next_sequence - 1,
        raw_bytes=raw.end - HEADER.size,
        sha256=digest.hexdigest(),
        previous=previous,
        first_received_at=times[0],
        last_received_at=times[-1],
        days=dict(days),
    )
    _write_footer(file, blocks, manifest)
    return Footer(manifest, tuple(blocks), tuple(block.first for block in blocks))


def _write_footer(file: BinaryIO, blocks: list[Block], manifest: Manifest) -> None:
    index_at = file.tell()
    footer = b"".join(BLOCK.pack(b.first, b.offset, b.size, b.raw_size) for b in blocks)
    manifest_at = index_at + len(footer)
    footer += manifest.to_bytes()
    file.write(footer)
    end = index_at + len(footer)
    file.write(TAIL.pack(index_at, manifest_at, end, crc32(footer), SEALED_MARK))


def _raw_blocks(raw: RawSegment, parser: Parser) -> Iterator[tuple[bytes, list[Record]]]:
    """Cut a raw segment into runs of whole records."""
    handle = os.open(raw.path, os.O_RDONLY)
    try:
        offset, expected, size = HEADER.size, raw.first, BLOCK_BYTES
        while offset < raw.end:
            data = os.pread(handle, min(size, raw.end - offset), offset)
            parsed = parser.parse(data, expected=expected)
            if parsed.records:
                yield data[: parsed.position], parsed.records
                offset, expected, size = offset + parsed.position, parsed.following, BLOCK_BYTES
            elif size < parsed.needed <= raw.end - offset:
                size = parsed.needed
            else:
                raise JournalDamaged(
                    Damage(raw.path, offset, expected, raw.next_sequence - 1, raw.end)
                )
    finally:
        os.close(handle)


def read_footer(path: Path) -> Footer:
    """Read index and manifest of a sealed file.

    Raises:
        JournalError: They are damaged.
        FileNotFoundError: There is no such file.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        if size >= HEADER.size + TAIL.size:
            file.seek(size - TAIL.size)
            index_at, manifest_at, end, checksum, mark = TAIL.unpack(file.read(TAIL.size))
            if mark == SEALED_MARK and HEADER.size <= index_at <= manifest_at <= end < size:
                file.seek(index_at)
                footer = file.read(end - index_at)
                if crc32(footer) == checksum:
                    return _footer(footer, manifest_at - index_at)
    raise JournalError(
        f"the index at the end of the sealed journal file {path} is damaged; "
        f"put a good copy of the file in its place"
    )


def salvage_footer(path: Path) -> Footer:
    """Make the index of a sealed file again, from its blocks, when its end is damaged.

    The records can then be read, but nothing vouches for them: the manifest is a new one.

    Raises:
        JournalError: Not one block can be read.
    """
    data, position = path.read_bytes(), HEADER.size
    blocks: list[Block] = []
    last = 0
    while (position := data.find(zstandard.FRAME_HEADER, position)) >= 0:
        unpacker = zstandard.ZstdDecompressor().decompressobj()
        try:
            raw = unpacker.decompress(memoryview(data)[position:])
        except zstandard.ZstdError:
            position += 1
            continue
        size = len(data) - position - len(unpacker.unused_data)
        first = FRONT.unpack_from(raw)[2]
        last = Parser().parse(raw, expected=first).following - 1
        blocks.append(Block(first, position, size, len(raw)))
        position += size
    if not blocks:
        raise JournalError(f"not one block of {path} can be read; put a good copy in its place")
    manifest = Manifest("", blocks[0].first, last, 0, "", "", 0, 0, {})
    return Footer(manifest, tuple(blocks), tuple(block.first for block in blocks))


def _footer(data: bytes, index_size: int) -> Footer:
    blocks = tuple(Block(*fields) for fields in BLOCK.iter_unpack(data[:index_size]))
    manifest = Manifest.from_bytes(data[index_size:])
    return Footer(manifest, blocks, tuple(block.first for block in blocks))


def read_block(handle: int, block: Block) -> bytes:
    """Return the records of one block, uncompressed.

    Raises:
        zstandard.ZstdError: The block is damaged.
    """
    frame = os.pread(handle, block.size, block.offset)
    data = zstandard.ZstdDecompressor().decompress(frame, max_output_size=block.raw_size)
    if len(data) != block.raw_size:
        raise zstandard.ZstdError(f"block has {len(data)} bytes instead of {block.raw_size}")
    return data


def content_sha256(path: Path, footer: Footer) -> str:
    """Hash the uncompressed records of a sealed file.

    Raises:
        JournalDamaged: A block cannot be read.
    """
    digest = hashlib.sha256()
    handle = os.open(path, os.O_RDONLY)
    try:
        for number in range(len(footer.blocks)):
            digest.update(_checked_block(handle, path, footer, number))
    finally:
        os.close(handle)
    return digest.hexdigest()


def read_sealed(
    path: Path, footer: Footer, wanted: int, *, limit: int, max_bytes: int, parser: Parser
) -> list[Record]:
    """Return records from sequence `wanted` on, in order, at least one.

    Raises:
        JournalDamaged: The block of the record wanted cannot be read.
        FileNotFoundError: The file was moved meanwhile.
    """
    records: list[Record] = []
    handle = os.open(path, os.O_RDONLY)
    try:
        number = max(0, bisect_right(footer.firsts, wanted) - 1)
        while number < len(footer.blocks) and len(records) < limit and max_bytes > 0:
            if records and records[-1].sequence + 1 != footer.firsts[number]:
                break
            try:
                data = _checked_block(handle, path, footer, number)
            except JournalDamaged:
                if records:
                    break
                raise
            parsed = parser.parse(
                data, expected=footer.firsts[number], wanted=wanted, limit=limit - len(records)
            )
            records += parsed.records
            max_bytes -= len(data)
            number += 1
    finally:
        os.close(handle)
    following = records[0].sequence if records else footer.manifest.last + 1
    if following != wanted:
        raise JournalDamaged(Damage(path, 0, wanted, following - 1, 0))
    return records


def _checked_block(handle: int, path: Path, footer: Footer, number: int) -> bytes:
    block = footer.blocks[number]
    try:
        return read_block(handle, block)
    except zstandard.ZstdError as error:
        after = footer.firsts[number + 1 : number + 2] or (footer.manifest.last + 1,)
        stop = block.offset + block.size
        damage = Damage(path, block.offset, block.first, after[0] - 1, stop)
        raise JournalDamaged(damage) from error
