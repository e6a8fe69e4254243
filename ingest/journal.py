"""The journal: every accepted message, byte for byte, on disk before it is acknowledged.

Everything after the journal is derived from it and can be made again. A message is appended to
the active segment and synced; a full segment is closed, and a thread of its own seals it: it
compresses it in blocks and chains it to the one before by SHA-256 (`sealed`).
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from zstandard import ZstdError

from ingest.journal_folder import (
    Entry,
    Lost,
    Meta,
    check_meta,
    cut_torn_tail,
    list_entries,
    take_lock,
    tidy,
    write_meta,
)
from ingest.journal_health import JournalHealth, bytes_per_day
from ingest.journal_reader import DayUsage, JournalReader, RecordNotFound, Verification
from ingest.journal_records import Encoder, Message, Record
from ingest.journal_refusals import JournalFull, held, refusal
from ingest.sealed import SEALED_SUFFIX, SealAbandoned, seal_segment
from ingest.segments import (
    HEADER,
    Damage,
    JournalDamaged,
    JournalError,
    RawSegment,
    fsync_folder,
)

__all__ = [
    "Damage",
    "DayUsage",
    "Journal",
    "JournalDamaged",
    "JournalError",
    "JournalFull",
    "JournalHealth",
    "JournalReader",
    "Lost",
    "Message",
    "Record",
    "RecordNotFound",
    "Verification",
]

log = logging.getLogger(__name__)

_RETRY_SEAL_S = 30.0
_DAY_S = 86_400


class Journal(JournalReader):
    """The journal of one installation; one process has it open for writing.

    Args:
        folder: Where the segments are; made when it is not there.
        journal_id: Refuse to open any other journal; None takes what is there.
        segment_bytes: A segment is closed when it has this size.
        fsync: False is for measurements only: acknowledged messages may then be lost.
        archive: Where sealed segments may have been moved.
        min_free_bytes: Refuse messages before the disk has less room than this.
        seal_after_s: A segment is also closed when its first message is older than this.
        sealing: Seal closed segments in a thread; False leaves it to `seal_pending`.

    Raises:
        JournalError: Another process has it open, or it is another journal.
    """

    def __init__(
        self,
        folder: Path,
        *,
        journal_id: str | None = None,
        segment_bytes: int = 64 << 20,
        fsync: bool = True,
        archive: Path | None = None,
        min_free_bytes: int = 256 << 20,
        seal_after_s: float = _DAY_S,
        sealing: bool = True,
    ) -> None:
        self._segment_bytes, self._fsync = segment_bytes, fsync
        self._min_free_bytes, self._seal_after_us = min_free_bytes, int(seal_after_s * 1e6)
        self._encoder = Encoder()
        self._lock, self._seal_lock = threading.Lock(), threading.Lock()
        self._grown, self._closed_one = threading.Condition(), threading.Condition()
        self._refused, self._closing, self._last = 0, False, 0
        self._retire = False
        self._last_error: JournalError | None = None
        self._refused_bytes = 0
        self._seal_error: str | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self._lock_handle = take_lock(folder)
        try:
            check_meta(folder, journal_id, sync=fsync)
            tidy(folder, archive)
            super().__init__(folder, archive=archive)
            self._handle = self._recover()
            if self._meta.is_restored:
                self._last_error = held(folder)
        except BaseException:
            os.close(self._lock_handle)
            raise
        self._sealer: threading.Thread | None = None
        if sealing:
            self._sealer = threading.Thread(target=self._seal_loop, name="sealer", daemon=True)
            self._sealer.start()

    @staticmethod
    def open_read_only(folder: Path, *, archive: Path | None = None) -> JournalReader:
        """Open a journal that another process may be writing; nothing in it is changed."""
        return JournalReader(folder, archive=archive)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def last_sequence(self) -> int:
        """The newest sequence that is on disk; 0 when there is none."""
        return self._last

    def append(self, messages: Sequence[Message]) -> range:
        """Write messages and sync them; when this returns they may be acknowledged.

        One write and one sync for the whole batch. Several threads may append at once.

        Returns:
            The sequences they got, in order.

        Raises:
            JournalFull: There is no room. Nothing was kept; a later call works once there is.
            JournalError: The disk does not take them. Nothing was kept.
            ValueError: A message cannot be written down. Nothing was kept.
        """
        with self._lock:
            if self._closing:
                raise JournalError(f"{self} is closed")
            first = self._last + 1
            if not messages:
                return range(first, first)
            if self._meta.is_restored:
                self._refused += 1
                raise held(self.folder)
            data = self._encoder.encode(messages, first=first)
            try:
                self._check_room(len(data))
                self._roll_when_due(messages[0].received_at)
                self._write(data)
            except JournalError as error:
                self._refused, self._last_error = self._refused + 1, error
                self._refused_bytes = len(data)
                raise
            self._active.grown(
                count=len(messages),
                size=len(data),
                first_at=messages[0].received_at,
                last_at=messages[-1].received_at,
            )
            self._last, self._last_error = first + len(messages) - 1, None
        with self._grown:
            self._grown.notify_all()
        return range(first, first + len(messages))

    def wait_for(self, after: int, timeout: float) -> bool:
        """Wait until a record follows a sequence; False when none came within `timeout` seconds."""
        with self._grown:
            return self._grown.wait_for(lambda: self._last > after or self._closing, timeout) and (
                self._last > after
            )

    @property
    def is_settled(self) -> bool:
        """Whether somebody was asked which numbers are given already, as far as that is needed."""
        return self._meta.unasked is None and not self._meta.is_restored

    @property
    def unasked(self) -> int | None:
        """The message since which nobody was asked for later numbers; None when that was done."""
        return self._meta.unasked

    def note_unasked(self) -> None:
        """Remember that numbers are given from now on without having asked who knows later ones.

        A restored journal gives none meanwhile.
        """
        with self._lock:
            if self.is_settled:
                self._put_meta(replace(self._meta, unasked=self._last))

    def go_on_behind(self, sequence: int, *, found_at: int) -> Lost | None:
        """Give no number up to this one any more, and remember that those between are lost.

        A journal that was put back from an older copy ends earlier than what others have of it.
        It takes messages again after this, if it was restored.

        Args:
            sequence: The newest number that anybody knows.
            found_at: Microseconds since 1970-01-01 UTC.

        Returns:
            What is lost; None when the journal is as long as anybody knows.

        Raises:
            JournalError: The disk does not take it.
        """
        with self._lock:
            if self._closing:
                raise JournalError(f"{self} is closed")
            meta = replace(self._meta, unasked=None, is_restored=False)
            lost = None
            if sequence > self._last:
                lost = Lost(self._last + 1, sequence, found_at)
                meta = replace(meta, lost=(*meta.lost, lost))
            if meta != self._meta:
                self._put_meta(meta)
                self._last_error = None
            if lost is not None:
                log.error("%s: messages %d to %d are lost", self, lost.first, lost.last)
                self._last, self._retire = sequence, True
                self._begin_segment()
                self._retire = False
        return lost

    def roll(self) -> None:
        """Close the active segment, so that it gets sealed, and begin a new one."""
        with self._lock:
            self._roll()

    def seal_pending(self) -> int:
        """Seal every closed segment now, on this thread; return how many.

        Segments with damage stay as they are.
        """
        sealed = 0
        with self._seal_lock:
            while (entry := self._next_to_seal()) is not None:
                self._seal(entry)
                sealed += 1
        return sealed

    def health(self) -> JournalHealth:
        """Return how the journal is doing."""
        entries, stat = self._entries, os.statvfs(self.folder)
        free = stat.f_bavail * stat.f_frsize
        rate = bytes_per_day(entries, self._footer)
        return JournalHealth(
            journal_id=self.journal_id,
            first_sequence=self.first_sequence,
            last_sequence=self.last_sequence,
            segments=len(entries),
            unsealed=sum(entry.raw is not None for entry in entries),
            disk_bytes=sum(entry.raw.end if entry.raw else entry.size for entry in entries),
            free_bytes=free,
            bytes_per_day=rate,
            days_left=max(0, free - self._min_free_bytes) / rate if rate else None,
            damages=self.damages,
            refused_batches=self._refused,
            last_error=self._present_error(),
            seal_error=self._seal_error,
        )

    def close(self) -> None:
        """Let go of the folder. What was appended is on disk already."""
        with self._lock:
            if self._closing:
                return
            self._closing = True
        with self._grown:
            self._grown.notify_all()
        with self._closed_one:
            self._closed_one.notify_all()
        if self._sealer is not None:
            self._sealer.join()
        os.close(self._handle)
        os.close(self._lock_handle)

    # -- appending ------------------------------------------------------------------------

    @property
    def _active(self) -> RawSegment:
        raw = self._entries[-1].raw
        if raw is None:
            raise JournalError(f"{self} has no active segment")
        return raw

    def _present_error(self) -> str | None:
        """What keeps messages out; a full disk no longer does once there is room again."""
        if isinstance(self._last_error, JournalFull):
            try:
                self._check_room(self._refused_bytes)
            except JournalFull as still:
                return str(still)
            return None
        return None if self._last_error is None else str(self._last_error)

    def _check_room(self, size: int) -> None:
        stat = os.statvfs(self.folder)
        free = stat.f_bavail * stat.f_frsize
        if free - size < self._min_free_bytes:
            raise JournalFull(
                f"the disk of {self.folder} has {free >> 20} MiB left, and "
                f"{self._min_free_bytes >> 20} MiB are kept free: make room or move sealed "
                f"segments to the archive. Messages stay unacknowledged and are sent again."
            )

    def _roll_when_due(self, received_at: int) -> None:
        active = self._active
        since = active.first_received_at
        old = since is not None and received_at - since > self._seal_after_us
        if self._retire or old or active.end >= self._segment_bytes:
            self._roll()
            self._retire = False

    def _roll(self) -> None:
        if self._retire or self._active.end > HEADER.size:
            self._begin_segment()

    def _begin_segment(self) -> None:
        """Put a new, empty segment behind the active one."""
        try:
            raw = RawSegment.create(self.folder, self.journal_id, self._last + 1, sync=self._fsync)
            handle = os.open(raw.path, os.O_WRONLY)
        except OSError as error:
            raise refusal(self.folder, error) from error
        os.close(self._handle)
        self._handle = handle
        entry, active = Entry(raw.first, raw.path, HEADER.size, raw), self._entries[-1]
        kept = self._entries
        if active.raw is not None and active.raw.end == HEADER.size:  # nothing came into it
            kept = kept[:-1]
            if active.path != raw.path:
                active.path.unlink(missing_ok=True)
        with self._refreshing:
            self._set_entries([*kept, entry])
        with self._closed_one:
            self._closed_one.notify_all()

    def _write(self, data: bytes) -> None:
        end = self._active.end
        try:
            rest, at = memoryview(data), end
            while rest:
                written = os.pwrite(self._handle, rest, at)
                rest, at = rest[written:], at + written
            if self._fsync:
                os.fdatasync(self._handle)
        except OSError as error:
            self._take_back(end)
            raise refusal(self._active.path, error) from error

    def _take_back(self, end: int) -> None:
        """Remove what was written of a batch before it failed.

        A segment whose end cannot be cut off gets no more messages; what stands behind its end
        is known not to count, because the next segment says where it begins.
        """
        try:
            os.ftruncate(self._handle, end)
        except OSError:
            log.exception("%s: cannot cut off an unfinished write", self._active.path)
            self._retire = True

    # -- opening --------------------------------------------------------------------------

    def _put_meta(self, meta: Meta) -> None:
        try:
            write_meta(self.folder, meta, sync=self._fsync)
        except OSError as error:
            raise refusal(self.folder, error) from error
        self._meta = meta

    def _recover(self) -> int:
        """Bring the folder into order after whatever happened; return the active file."""
        last = self._entries[-1] if self._entries else None
        if last is None:
            self._last = 0
        elif last.raw is not None:
            cut_torn_tail(last.raw)
            self._last = last.raw.next_sequence - 1
        else:
            self._last = self._footer(last.path).manifest.last
        ends_at = self._last
        self._last = self._behind_lost(self._last + 1) - 1
        for damage in self.damages:
            log.error("%s", damage)
        is_behind = self._last > ends_at
        if (
            last is None
            or last.raw is None
            or last.raw.damages
            or last.size < HEADER.size
            or is_behind
        ):
            raw = RawSegment.create(self.folder, self.journal_id, self._last + 1, sync=self._fsync)
            kept = [entry for entry in self._entries if entry.first != raw.first]
            self._set_entries([*kept, Entry(raw.first, raw.path, HEADER.size, raw)])
        handle = os.open(self._active.path, os.O_WRONLY)
        if self._fsync:
            os.fsync(handle)
        return handle

    def _relist(self) -> None:
        """List the files once at the start; then follow only what was moved to the archive."""
        if not self._entries:
            super()._relist()
            return
        with self._refreshing:
            listed = {entry.first: entry for entry in list_entries(self.folder, self.archive)}
            self._set_entries(
                entry if entry.raw is not None else listed.get(entry.first, entry)
                for entry in self._entries
            )

    def _catch_up(self) -> None:
        """Nothing to take in: this process is the one that writes."""

    def _raw_stop(self, after: int | None) -> int | None:
        return after or self._last + 1

    # -- sealing --------------------------------------------------------------------------

    def _next_to_seal(self) -> Entry | None:
        for entry in self._entries[:-1]:
            if entry.raw and not entry.raw.damages and entry.raw.end > HEADER.size:
                return entry
        return None

    def _seal(self, entry: Entry) -> None:
        raw = entry.raw
        if raw is None:
            return
        seal_segment(
            raw,
            journal_id=self.journal_id,
            previous=self._seal_before(entry.first),
            parser=self._parser,
            keep_on=lambda: not self._closing,
        )
        path = raw.path.with_suffix(SEALED_SUFFIX)
        sealed = Entry(entry.first, path, path.stat().st_size, None)
        with self._lock, self._refreshing:
            self._set_entries(sealed if e is entry else e for e in self._entries)
        raw.path.unlink()
        fsync_folder(self.folder)

    def _seal_before(self, first: int) -> str:
        """Return the seal of the nearest sealed segment before a sequence."""
        for entry in reversed(self._entries):
            if entry.first < first and entry.raw is None:
                return self._footer(entry.path).manifest.seal
        return ""

    def _seal_loop(self) -> None:
        while not self._closing:
            try:
                self.seal_pending()
                self._seal_error = None
            except SealAbandoned:
                return
            except (JournalError, OSError, ZstdError) as error:
                log.exception("sealing stopped and is tried again in %d s", _RETRY_SEAL_S)
                self._seal_error = str(error)
            with self._closed_one:
                self._closed_one.wait_for(
                    self._has_sealing, _RETRY_SEAL_S if self._seal_error else None
                )

    def _has_sealing(self) -> bool:
        """Say whether the sealer has to wake up."""
        return self._closing or (self._seal_error is None and self._next_to_seal() is not None)
