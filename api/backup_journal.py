"""Copies a journal into a backup while messages are appended to it and segments are sealed."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from api.answers import Document
from api.archive import ArchiveWriter
from ingest.journal_folder import META_NAME, Entry, list_entries, read_meta, with_following
from ingest.journal_records import Parser
from ingest.sealed import SEALED_SUFFIX, read_footer
from ingest.segments import JournalError, RawSegment, segment_name

_KEPT_BESIDE = ("*.torn-*", "*.damaged")
"""What the journal puts aside; it never changes."""


class BackupRefused(RuntimeError):
    """No backup was made; the message says why and what to do."""


@dataclass(slots=True)
class _Copy:
    """A journal on its way into an archive, and what was found out of it."""

    archive: ArchiveWriter
    folder: Path
    older: Path | None
    last: int = 0
    head: str = ""
    """Seal of the newest sealed segment; empty when there is none."""
    damages: list[str] = field(default_factory=list)

    def add(self, entry: Entry, after: int | None) -> None:
        """Copy one segment."""
        if entry.raw is not None:
            try:
                self._add_raw(entry, after)
            except FileNotFoundError:
                pass  # sealed since it was listed
            else:
                return
        self._add_sealed(entry, after)

    def _add_raw(self, entry: Entry, after: int | None) -> None:
        """Copy the whole records of a segment that may be growing."""
        with entry.path.open("rb") as file:
            raw = RawSegment(entry.path, entry.first)
            raw.scan(Parser(), before=after)
            stat = os.fstat(file.fileno())
            self.archive.add(
                f"{self.folder.name}/{entry.path.name}",
                file,
                size=min(raw.end, stat.st_size),
                mode=stat.st_mode,
                changed_at=stat.st_mtime,
            )
        self.last = raw.next_sequence - 1
        self.damages += [str(damage) for damage in raw.damages]

    def _add_sealed(self, entry: Entry, after: int | None) -> None:
        name = segment_name(entry.first, SEALED_SUFFIX)
        places = [entry.path, self.folder / name, *([self.older / name] if self.older else [])]
        path = next((p for p in places if p.suffix == SEALED_SUFFIX and p.is_file()), None)
        if path is None:
            raise BackupRefused(
                f"The journal segment {entry.path} vanished while it was copied. See that nothing "
                "but Tanyuan touches the journal, and try again."
            )
        self.archive.add_file(f"{self.folder.name}/{path.name}", path)
        try:
            manifest = read_footer(path).manifest
            self.last, self.head = manifest.last, manifest.seal
        except JournalError as error:
            self.last = after - 1 if after else entry.first
            self.damages.append(str(error))


def add_journal(archive: ArchiveWriter, folder: Path, older: Path | None) -> Document | None:
    """Copy a journal, also what was moved to its archive; damaged segments too, as they are.

    Returns:
        Its id, what it holds, and what is damaged; None when there is no journal yet.

    Raises:
        BackupRefused: A segment vanished.
        JournalError: The meta file is damaged.
    """
    if not (folder / META_NAME).is_file():
        return None
    meta = read_meta(folder)
    archive.add_file(f"{folder.name}/{META_NAME}", folder / META_NAME)
    copy = _Copy(archive, folder, older)
    entries = list_entries(folder, older)
    for entry, after in with_following(entries, meta.lost):
        copy.add(entry, after)
    for pattern in _KEPT_BESIDE:
        for path in sorted(folder.glob(pattern)):
            archive.add_file(f"{folder.name}/{path.name}", path)
    return {
        "id": meta.journal,
        "first_sequence": entries[0].first if entries else 1,
        "last_sequence": copy.last,
        "head": copy.head,
        "damages": copy.damages,
    }
