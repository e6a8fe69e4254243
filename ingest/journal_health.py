"""What is said about a journal: its size, its rate, and how long the disk lasts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ingest.journal_folder import Entry
from ingest.sealed import Footer
from ingest.segments import Damage, JournalError

_DAY_S = 86_400
_HOUR_US = 3_600_000_000


@dataclass(frozen=True, slots=True)
class JournalHealth:
    """How a journal is doing.

    Attributes:
        journal_id: The journal.
        first_sequence: Oldest message here.
        last_sequence: Newest message.
        segments: Segment files, the active one included.
        unsealed: Those not sealed yet, the active one included.
        disk_bytes: What they take on disk.
        free_bytes: Free on the disk of the journal.
        bytes_per_day: What the newest segments took per day; None while they span less than 1 h.
        days_left: Days until the disk is full at that rate; None when the rate is not known.
        damages: Places that cannot be read.
        refused_batches: Batches that were not kept since the journal was opened.
        last_error: Why the last batch was not kept; None after one that was.
        seal_error: Why sealing does not get on; None when it does.
    """

    journal_id: str
    first_sequence: int
    last_sequence: int
    segments: int
    unsealed: int
    disk_bytes: int
    free_bytes: int
    bytes_per_day: float | None
    days_left: float | None
    damages: tuple[Damage, ...]
    refused_batches: int
    last_error: str | None
    seal_error: str | None


def bytes_per_day(entries: Sequence[Entry], footer: Callable[[Path], Footer]) -> float | None:
    """Return what the newest segments took on disk per day."""
    size, oldest, newest = 0, None, None
    for entry in reversed(entries[-64:]):
        try:
            times = entry.raw or footer(entry.path).manifest
        except (JournalError, OSError):
            continue
        if times.first_received_at is None or times.last_received_at is None:
            continue
        size += entry.raw.end if entry.raw else entry.size
        oldest = times.first_received_at
        newest = newest or times.last_received_at
    if oldest is None or newest is None or newest - oldest < _HOUR_US:
        return None
    return size / ((newest - oldest) / 1e6 / _DAY_S)
