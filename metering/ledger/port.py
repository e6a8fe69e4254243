"""The ledger port: dated facts, where work stands, and what must be looked at.

Everything in it is small. What is large (readings, hours) is in the time-series store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol, TypeAlias

from metering.findings import Finding
from metering.periods import Period

QuarantineState: TypeAlias = Literal["open", "replayed"]


class LedgerUnavailable(RuntimeError):
    """The ledger's database does not answer now; the same call may be made again later."""


@dataclass(frozen=True, slots=True)
class Dirty:
    """A span of one meter whose derived figures no longer hold."""

    meter: str
    period: Period
    version: int
    """Grows with every mark, so that clearing spares what was marked since it was taken."""


@dataclass(frozen=True, slots=True)
class SiteVersion:
    """The bytes of a site file, from when they counted on."""

    site: str
    version: int
    """From 1, one more for every change."""
    recorded_at: datetime
    sha256: str
    content: bytes


@dataclass(frozen=True, slots=True)
class QuarantineEntry:
    """A message, or one reading of it, that could not be read; its bytes stay in the journal."""

    journal: str
    sequence: int
    part: int
    """Which reading of the message, from 0; -1 for the whole message."""
    received_at: datetime
    topic: str
    code: str
    """Stable reason code, such as `unknown_meter`."""
    message: str
    """What was wanted, where, what was found, what to do."""
    meter: str = ""
    state: QuarantineState = "open"


@dataclass(frozen=True, slots=True)
class JobRun:
    """One run of a scheduled job."""

    job: str
    period: Period
    started_at: datetime
    ended_at: datetime | None
    status: Literal["running", "done", "failed"]
    message: str = ""


@dataclass(frozen=True, slots=True)
class Noted:
    """A finding with its subject, as the ledger keeps it."""

    subject: str
    at: datetime
    finding: Finding
    noted_at: datetime
    data: Mapping[str, object] = field(default_factory=dict)


class Ledger(Protocol):
    """Keeps dated facts. Every adapter passes tests/metering/ledger/test_contract.py.

    Every call is one transaction and may be made from several threads.
    """

    def position(self, *, store_id: str, journal: str) -> int:
        """Return the last journal sequence whose readings are in the store; 0 at the start."""

    def save_position(self, sequence: int, *, store_id: str, journal: str) -> None:
        """Remember how far a store has got with a journal."""

    def furthest(self, journal: str) -> int:
        """Return the last sequence of a journal that any store has; 0 if none has one."""

    def set_back(self, sequence: int, *, journal: str) -> None:
        """See that every store gets what follows a sequence again; none is moved forward."""

    def forget_positions(self) -> None:
        """Begin again at the start of every journal, and forget dirty ranges and quarantine."""

    def mark_dirty(self, spans: Sequence[tuple[str, Period]]) -> None:
        """Note that derived figures of meters no longer hold.

        Ranges of one meter that overlap or lie less than a day apart are kept as one; at most 16
        ranges a meter are kept, then the closest are joined. Every range a span falls into gets a
        new version, also when its bounds stay. A period that is a single instant is kept as such
        while it is alone; a range it is joined with contains it, if need be by ending one
        microsecond later.
        """

    def dirty(self, *, limit: int = 100_000) -> list[Dirty]:
        """Return dirty ranges, oldest mark first."""

    def clear_dirty(self, done: Sequence[Dirty]) -> None:
        """Forget ranges that were worked off, but not what was marked since they were read."""

    def count_dirty(self) -> int:
        """Return how many dirty ranges there are."""

    def record_site(
        self, site: str, content: bytes, *, recorded_at: datetime
    ) -> tuple[SiteVersion, bool]:
        """Keep a site file's bytes if they differ from the newest version's.

        Returns:
            The version that counts now, and whether it is new.
        """

    def site_versions(self, site: str | None = None) -> list[SiteVersion]:
        """Return all recorded versions, by site and version."""

    def quarantine(self, entries: Sequence[QuarantineEntry]) -> None:
        """Keep entries; one (journal, sequence, part) once, the newest reason counts."""

    def quarantined(
        self,
        *,
        state: QuarantineState | None = "open",
        code: str | None = None,
        sequence: int | None = None,
        limit: int | None = None,
    ) -> list[QuarantineEntry]:
        """Return entries by journal, sequence and part."""

    def quarantine_counts(self, *, closed_too: bool = False) -> dict[str, int]:
        """Return the number of open entries by reason code.

        Args:
            closed_too: Also the codes of which none is open any more, with 0.
        """

    def close_quarantine(self, journal: str, sequences: Sequence[int]) -> None:
        """Mark all entries of these messages as replayed."""

    def note(self, noted: Sequence[Noted]) -> None:
        """Keep findings; the same code, subject and instant once, as it was noted first.

        What their data holds must have a form in JSON, or be an instant, a date, a period or a
        NumPy number; it comes back as JSON has it.
        """

    def findings(
        self,
        *,
        subject: str | None = None,
        code: str | None = None,
        since: datetime | None = None,
    ) -> list[Noted]:
        """Return findings by instant, subject and code.

        Args:
            subject: Only of this one.
            code: Only of this kind.
            since: Only what was noted from then on, whatever instant it speaks of.
        """

    def start_job(self, job: str, period: Period, *, at: datetime) -> int:
        """Note that a job began; return the number of the run."""

    def end_job(self, run: int, *, at: datetime, failed: str | None = None) -> None:
        """Note that a run ended, well or with a message."""

    def job_runs(self, *, limit: int = 20) -> list[JobRun]:
        """Return the last runs, newest first."""

    def get(self, key: str) -> str | None:
        """Return a small note under a name, such as the hash of the profiles last used."""

    def put(self, key: str, value: str) -> None:
        """Keep a small note under a name."""

    def swap(self, key: str, *, expected: str | None, value: str | None) -> bool:
        """Change a note only if it still says what was expected; of several callers one wins.

        Args:
            key: The name of the note.
            expected: What it must say now; None: it must not be there.
            value: What it says from now on; None takes it away.
        """

    def notes(self, prefix: str) -> dict[str, str]:
        """Return the notes whose names begin with a text, by name in order."""

    def check(self) -> None:
        """Return if the ledger answers and is at the newest schema.

        Raises:
            LedgerUnavailable: It does not; the message says what to do.
        """

    def close(self) -> None:
        """Wait for calls under way, then let go of the database."""
