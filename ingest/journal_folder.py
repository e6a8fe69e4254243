"""The folder of a journal: which files it has, whose it is, and order after a crash."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ingest.sealed import PARTIAL_SUFFIX, SEALED_SUFFIX, content_sha256, read_footer
from ingest.segments import (
    HEADER,
    RAW_SUFFIX,
    JournalError,
    RawSegment,
    fsync_folder,
    segment_name,
)

log = logging.getLogger(__name__)

META_NAME = "journal.json"


@dataclass(frozen=True, slots=True)
class Entry:
    """One segment: its first sequence, where it is, its size on disk; `raw` until it is sealed."""

    first: int
    path: Path
    size: int
    raw: RawSegment | None


@dataclass(frozen=True, slots=True)
class Lost:
    """Messages that were given numbers and are gone, because the journal was put back."""

    first: int
    last: int
    found_at: int
    """Microseconds since 1970-01-01 UTC."""


@dataclass(frozen=True, slots=True)
class Meta:
    """What a journal says of itself beside its segments.

    Attributes:
        journal: Its id.
        lost: What it does not have any more, by sequence; no number of it is given again.
        unasked: Nobody was asked yet whether numbers above this one were given out before.
        is_restored: It comes from a backup: it takes nothing before that was asked.
    """

    journal: str
    lost: tuple[Lost, ...] = ()
    unasked: int | None = None
    is_restored: bool = False

    def to_bytes(self) -> bytes:
        """Return the form that is written; what there is nothing to say of is left out."""
        document: dict[str, object] = {"journal": self.journal, "format": 1}
        if self.lost:
            document["lost"] = [asdict(each) for each in self.lost]
        if self.unasked is not None:
            document["unasked"] = self.unasked
        if self.is_restored:
            document["restored"] = True
        return json.dumps(document).encode()


def read_meta(folder: Path) -> Meta:
    """Return what the journal in a folder says of itself.

    Raises:
        JournalError: There is none, or its meta file cannot be read.
    """
    path = folder / META_NAME
    try:
        found = json.loads(path.read_bytes())
        lost = [Lost(**each) for each in found.get("lost", ())]
        return Meta(
            journal=str(found["journal"]),
            lost=tuple(sorted(lost, key=lambda each: each.first)),
            unasked=found.get("unasked"),
            is_restored=bool(found.get("restored")),
        )
    except FileNotFoundError:
        raise JournalError(f"there is no journal in {folder}: {META_NAME} is missing") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise JournalError(f"{path} is damaged ({error}); put a good copy in its place") from error


def write_meta(folder: Path, meta: Meta, *, sync: bool) -> None:
    """Write the meta file, whole or not at all."""
    path = folder / META_NAME
    partial = path.with_suffix(".tmp")
    with partial.open("wb") as file:
        file.write(meta.to_bytes())
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    if sync:
        fsync_folder(folder)


def list_entries(folder: Path, archive: Path | None) -> list[Entry]:
    """Return the segments of a journal by first sequence; sealed files win over raw ones."""
    found: dict[int, Entry] = {}
    places = [(folder, RAW_SUFFIX), (archive, SEALED_SUFFIX), (folder, SEALED_SUFFIX)]
    for place, suffix in places:
        if place is None or not place.is_dir():
            continue
        for path in place.iterdir():
            if path.suffix == suffix and path.stem.isdecimal():
                first = int(path.stem)
                raw = RawSegment(path, first) if suffix == RAW_SUFFIX else None
                found[first] = Entry(first, path, path.stat().st_size, raw)
    return [found[first] for first in sorted(found)]


def with_following(
    entries: Sequence[Entry], lost: Sequence[Lost] = ()
) -> Iterator[tuple[Entry, int | None]]:
    """Go through segments, each with the first sequence that is not of it any more.

    That is the first one of the next segment, or of the messages lost before it.
    """
    for place, entry in enumerate(entries, 1):
        following = entries[place].first if place < len(entries) else None
        gaps = [each.first for each in lost if each.first > entry.first]
        yield entry, min([*gaps, *([following] if following else [])], default=None)


def take_lock(folder: Path) -> int:
    """Lock the folder for this process; return the handle that holds the lock."""
    handle = os.open(folder / "journal.lock", os.O_CREAT | os.O_RDWR, 0o640)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise JournalError(
            f"the journal in {folder} is open in another process; stop that one first, or open "
            f"this one read-only"
        ) from error
    return handle


def check_meta(folder: Path, journal_id: str | None, *, sync: bool) -> None:
    """Make the meta file of a new journal, or check that of an old one."""
    path = folder / META_NAME
    if not path.exists():
        if any(p.suffix == RAW_SUFFIX for p in folder.iterdir()):
            raise JournalError(f"{path} is missing beside its segments; put it back from a copy")
        write_meta(folder, Meta(journal_id or secrets.token_hex(8)), sync=sync)
    found = read_meta(folder).journal
    if journal_id is not None and found != journal_id:
        raise JournalError(f"{folder} holds journal {found}, not {journal_id}")


def tidy(folder: Path, archive: Path | None) -> None:
    """Remove what a crash during sealing left behind.

    Of a sealed segment and its raw file the sealed one stays, if all of it can be read. An empty
    segment whose messages are lost goes: the journal begins another behind them.
    """
    for path in folder.glob(f"*{PARTIAL_SUFFIX}"):
        path.unlink()
    for lost in read_meta(folder).lost:
        raw = folder / segment_name(lost.first, RAW_SUFFIX)
        if raw.exists() and raw.stat().st_size <= HEADER.size:
            raw.unlink()
    for entry in list_entries(folder, archive):
        raw = folder / segment_name(entry.first, RAW_SUFFIX)
        if entry.raw is not None or not raw.exists():
            continue
        try:
            footer = read_footer(entry.path)
            whole = content_sha256(entry.path, footer) == footer.manifest.sha256
        except JournalError:
            whole = False
        if whole:
            raw.unlink()
        else:
            log.error("%s cannot be read; its raw segment is used instead", entry.path)
            entry.path.replace(entry.path.with_suffix(".damaged"))


def cut_torn_tail(raw: RawSegment) -> None:
    """Cut off what a crash left of an unfinished write, and keep it beside the segment."""
    size = raw.path.stat().st_size
    if size <= raw.end:
        return
    with raw.path.open("r+b") as file:
        file.seek(raw.end)
        tail = file.read()
        side = raw.path.with_name(f"{raw.path.stem}.torn-{raw.end}")
        side.write_bytes(tail)
        file.truncate(raw.end)
        os.fsync(file.fileno())
    log.warning(
        "%s: cut %d bytes of an unfinished write at byte %d, kept in %s; they were never "
        "acknowledged",
        raw.path,
        len(tail),
        raw.end,
        side.name,
    )
