"""Reading a journal: in order, one by one, and checking that it is whole.

A reader changes nothing in the folder, so that another process may look at a journal that is
being written. The writer in `journal` is a reader that also appends.
"""

from __future__ import annotations

import logging
import threading
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ingest.journal_folder import META_NAME, Entry, Lost, list_entries, read_meta, with_following
from ingest.journal_records import Parser, Record
from ingest.sealed import (
    SEALED_SUFFIX,
    Footer,
    content_sha256,
    read_footer,
    read_sealed,
    salvage_footer,
)
from ingest.segments import (
    HEADER,
    RAW_MARK,
    RAW_SUFFIX,
    Damage,
    JournalDamaged,
    JournalError,
    RawSegment,
    header_bytes,
    segment_name,
)

log = logging.getLogger(__name__)

_POLL_S = 0.1


class RecordNotFound(LookupError):
    """The journal never gave out that sequence."""


@dataclass(frozen=True, slots=True)
class DayUsage:
    """What arrived on one UTC day: messages, and their share of the bytes on disk."""

    messages: int
    disk_bytes: int


@dataclass(frozen=True, slots=True)
class Verification:
    """Result of walking the chain.

    Attributes:
        segments: Segments looked at.
        messages: Messages that could be read.
        head: Seal of the newest sealed segment: it stands for everything before it.
        problems: What is wrong, the first break first, each with its file; empty when whole.
        lost: What the journal itself says it does not have any more; that is no problem of its
            chain, which goes on behind it.
    """

    segments: int
    messages: int
    head: str
    problems: tuple[str, ...]
    lost: tuple[Lost, ...] = ()


class JournalReader:
    """A journal as it is read. Safe to use from several threads."""

    def __init__(self, folder: Path, *, archive: Path | None = None) -> None:
        self.folder, self.archive = folder, archive
        self._meta, self._meta_at = read_meta(folder), 0
        self.journal_id = self._meta.journal
        self._parser = Parser()
        self._footer = lru_cache(maxsize=64)(_any_footer)
        self._entries: tuple[Entry, ...] = ()
        self._firsts: tuple[int, ...] = ()
        self._refreshing = threading.RLock()
        self._relist()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.folder)!r}, {self.journal_id})"

    @property
    def first_sequence(self) -> int:
        """The oldest sequence that is here; 1 unless older segments were taken away."""
        return self._firsts[0] if self._firsts else 1

    @property
    def last_sequence(self) -> int:
        """The newest sequence that can be read; 0 when there is none."""
        self._catch_up()
        raw = self._entries[-1].raw if self._entries else None
        if raw is not None:
            return raw.next_sequence - 1
        return self._footer(self._entries[-1].path).manifest.last if self._entries else 0

    @property
    def lost(self) -> tuple[Lost, ...]:
        """What it does not have any more, because it was put back from an older copy."""
        return self._meta.lost

    @property
    def damages(self) -> tuple[Damage, ...]:
        """Places in segments that are not sealed yet and cannot be read, as far as is known."""
        return tuple(d for entry in self._entries if entry.raw for d in entry.raw.damages)

    def read(self, after: int, limit: int = 10_000, *, max_bytes: int = 32 << 20) -> list[Record]:
        """Return the records that follow a sequence, in order.

        Fewer than `limit` may come although more are there (at the end of a segment);
        none come only when nothing follows.

        Raises:
            JournalDamaged: The very next record cannot be read. The exception says up to which
                sequence; ask again after that one to go on.
        """
        wanted = after + 1
        if limit < 1 or wanted > self.last_sequence:
            return []
        for _ in range(5):
            try:
                return self._read(wanted, limit, max_bytes)
            except FileNotFoundError:
                self._relist()
        raise JournalDamaged(self._missing(wanted))

    def record(self, sequence: int) -> Record:
        """Return one record.

        Raises:
            RecordNotFound: That sequence was never given out.
            JournalDamaged: It cannot be read any more.
        """
        if not 1 <= sequence <= self.last_sequence:
            raise RecordNotFound(
                f"journal {self.journal_id} has messages {self.first_sequence} to "
                f"{self.last_sequence}, not {sequence}"
            )
        return self.read(sequence - 1, 1, max_bytes=1)[0]

    def wait_for(self, after: int, timeout: float) -> bool:
        """Wait until a record follows a sequence; False when none came within `timeout` seconds."""
        waiter = threading.Event()
        while self.last_sequence <= after:
            if timeout <= 0:
                return False
            waiter.wait(min(_POLL_S, timeout))
            timeout -= _POLL_S
        return True

    def days(self) -> dict[int, DayUsage]:
        """Return what arrived per UTC day, keyed by days since 1970-01-01."""
        messages, disk = Counter[int](), Counter[int]()
        for entry in self._entries:
            days = self._days_of(entry)
            total = sum(days.values())
            size = entry.raw.end if entry.raw else entry.size
            messages.update(days)
            for day, count in days.items():
                disk[day] += size * count // total
        return {day: DayUsage(messages[day], disk[day]) for day in sorted(messages)}

    def verify(self) -> Verification:
        """Read everything and check hashes, chain and sequence; report every break."""
        problems: list[str] = []
        entries = self._entries
        following, head, messages = entries[0].first if entries else 1, "", 0
        for entry, after in with_following(entries, self.lost):
            is_lost = following < entry.first <= self._behind_lost(following)
            if entry.first != following and not is_lost:
                problems.append(f"{entry.path}: messages {following} to {entry.first - 1} missing")
            if entry.raw is None or not entry.path.exists():
                path = entry.path.with_suffix(SEALED_SUFFIX)
                following, head = self._verify_sealed(entry.first, path, after, head, problems)
            else:
                following = self._verify_raw(entry, after, problems)
            messages += following - entry.first
        return Verification(len(entries), messages, head, tuple(problems), self.lost)

    def _behind_lost(self, sequence: int) -> int:
        """Return the sequence, or the one behind the lost messages it is one of."""
        for each in self.lost:
            sequence = each.last + 1 if each.first <= sequence <= each.last else sequence
        return sequence

    def _verify_raw(self, entry: Entry, after: int | None, problems: list[str]) -> int:
        """Check one raw file; return the sequence that follows it."""
        with entry.path.open("rb") as file:
            if file.read(HEADER.size) != header_bytes(RAW_MARK, self.journal_id, entry.first):
                problems.append(f"{entry.path}: its header is damaged or of another journal")
        raw = RawSegment(entry.path, entry.first)
        raw.scan(Parser(), before=self._raw_stop(after))
        problems += [str(damage) for damage in raw.damages]
        return raw.next_sequence

    def _raw_stop(self, after: int | None) -> int | None:
        return after

    def _verify_sealed(
        self, first: int, path: Path, after: int | None, head: str, problems: list[str]
    ) -> tuple[int, str]:
        """Check one sealed file; return the sequence that follows it and its seal."""
        try:
            footer = read_footer(path)
            digest = content_sha256(path, footer)
        except (JournalError, OSError) as error:
            problems.append(f"{path}: {error}")
            return after or first, head
        manifest = footer.manifest
        if digest != manifest.sha256:
            problems.append(f"{path}: the records do not have the SHA-256 of the manifest")
        if manifest.previous != head:
            problems.append(f"{path}: the chain to the segment before it is broken")
        if (manifest.journal, manifest.first) != (self.journal_id, first):
            problems.append(f"{path}: belongs to {manifest.journal}, {manifest.first}")
        return manifest.last + 1, manifest.seal

    def _read(self, wanted: int, limit: int, max_bytes: int) -> list[Record]:
        place = bisect_right(self._firsts, wanted) - 1
        if place < 0:
            raise JournalDamaged(self._missing(wanted))
        entry = self._entries[place]
        if entry.raw is not None:
            if wanted >= entry.raw.next_sequence:
                raise JournalDamaged(self._missing(wanted))
            return entry.raw.read(wanted, limit=limit, max_bytes=max_bytes, parser=self._parser)
        try:
            footer = self._footer(entry.path)
        except JournalError as error:
            last = (*self._firsts[place + 1 : place + 2], wanted + 1)[0] - 1
            raise JournalDamaged(Damage(entry.path, 0, entry.first, last, 0)) from error
        if wanted > footer.manifest.last:
            raise JournalDamaged(self._missing(wanted))
        return read_sealed(
            entry.path, footer, wanted, limit=limit, max_bytes=max_bytes, parser=self._parser
        )

    def _missing(self, wanted: int) -> Damage:
        """Describe a segment that is not there."""
        place = bisect_right(self._firsts, wanted)
        following = self._firsts[place] if place < len(self._firsts) else wanted + 1
        path = self.folder / segment_name(wanted, SEALED_SUFFIX)
        for each in self.lost:
            if each.first <= wanted <= each.last:
                last = min([each.last, *(at - 1 for at in self._firsts[place : place + 1])])
                first = max(each.first, self._end_before(place))
                return Damage(path, 0, first, last, 0, lost=True)
        return Damage(path, 0, wanted, following - 1, 0)

    def _end_before(self, place: int) -> int:
        """Return the sequence that follows the segment before a place in the list; 0 if none."""
        if not place:
            return 0
        entry = self._entries[place - 1]
        if entry.raw is not None:
            return entry.raw.next_sequence
        return self._footer(entry.path).manifest.last + 1

    def _days_of(self, entry: Entry) -> dict[int, int]:
        if entry.raw is not None:
            return dict(entry.raw.days)
        try:
            return self._footer(entry.path).manifest.days
        except (JournalError, OSError):
            return {}

    def _set_entries(self, entries: Iterable[Entry]) -> None:
        self._entries = tuple(entries)
        self._firsts = tuple(entry.first for entry in self._entries)

    def _relist(self) -> None:
        """Look again which files there are; what is known of raw ones is kept."""
        with self._refreshing:
            self._meta_at = self._meta_changed_at()
            self._meta = read_meta(self.folder)
            known = {entry.first: entry.raw for entry in self._entries}
            entries, listed = [], list_entries(self.folder, self.archive)
            for entry, after in with_following(listed, self.lost):
                raw = entry.raw and (known.get(entry.first) or entry.raw)
                if raw is not None:
                    raw.scan(self._parser, before=after)
                entries.append(Entry(entry.first, entry.path, entry.size, raw))
            self._set_entries(entries)

    def _catch_up(self) -> None:
        """Take in what the writing process has appended since."""
        raw = self._entries[-1].raw if self._entries else None
        if raw is None or self._meta_at != self._meta_changed_at():
            self._relist()
            return
        with self._refreshing:
            try:
                raw.scan(self._parser)
            except FileNotFoundError:
                self._relist()
                return
            following = self.folder / segment_name(raw.next_sequence, RAW_SUFFIX)
            if raw.next_sequence > raw.first and following.exists():
                self._relist()

    def _meta_changed_at(self) -> int:
        return (self.folder / META_NAME).stat().st_mtime_ns


def _any_footer(path: Path) -> Footer:
    """Return the footer of a sealed file, or one made from its blocks if that is damaged."""
    try:
        return read_footer(path)
    except JournalError as error:
        log.error("%s; its index is made again from its blocks", error)
        return salvage_footer(path)
