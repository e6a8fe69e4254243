"""Journal -> readings in the store: the line's second half, and where it got to.

The saved position is the last step of a batch and every step before it (`keeping`) may be done
twice, so a crash between any two is repaired by doing the batch again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

import numpy as np

from ingest.context import Context
from ingest.decoding import Decoded
from ingest.journal_records import Record
from ingest.keeping import decode_sparing, keep
from ingest.remote_journal import JournalUnavailable
from ingest.segments import JournalDamaged, JournalError
from metering.findings import Finding
from metering.ledger.port import Ledger, LedgerUnavailable, Noted
from metering.readings import Flag, Readings
from metering.store.port import ReadingStore, StoreUnavailable

log = logging.getLogger(__name__)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class JournalBehind(JournalError):
    """The journal ends before what is in the store of it: an older copy was put in its place."""


class MessageJournal(Protocol):
    """What is needed of a journal."""

    journal_id: str

    @property
    def last_sequence(self) -> int:
        """The newest sequence that is on disk; 0 when there is none."""

    def read(self, after: int, limit: int = ..., *, max_bytes: int = ...) -> list[Record]:
        """Return the records that follow a sequence, in order."""

    def record(self, sequence: int) -> Record:
        """Return one record."""

    def wait_for(self, after: int, timeout: float) -> bool:
        """Wait until a record follows a sequence; False when none came in time [s]."""


@dataclass(frozen=True, slots=True)
class ProjectorSettings:
    """How much is done at once, and how long is waited."""

    batch: int = 20_000
    """Messages; only a backlog fills it, and then fewer, larger batches mark fewer ranges."""
    max_bytes: int = 32 << 20
    """Payload bytes read at once."""
    linger_s: float = 0.05
    """After the first new message, so that a batch gathers."""
    first_wait_s: float = 0.1
    """After a failure; doubled at each further one."""
    longest_wait_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Projected:
    """What one step did."""

    messages: int = 0
    readings: int = 0
    quarantined: int = 0
    conflicts: int = 0
    position: int = 0


@dataclass(slots=True)
class ProjectorCounts:
    """What was done since the start, for metrics and health."""

    messages: int = 0
    readings: int = 0
    ignored: int = 0
    quarantined: Counter[str] = field(default_factory=Counter)
    """By reason code."""
    conflicts: int = 0
    set_aside: Counter[str] = field(default_factory=Counter)
    """Readings that are not believed, by flag: `clock`, `implausible`."""
    batches: int = 0
    errors: int = 0
    """Failed attempts; nothing is lost by one."""
    last_error: str | None = None
    """None once an attempt succeeded again."""
    position: int = 0
    ahead: int = 0
    """Messages that the store has and the journal has not: it is an older copy, nothing moves."""
    lag: int = 0
    """Messages in the journal that are not in the store yet, after the last step."""
    oldest_unprojected: datetime | None = None
    """No later than the arrival of the oldest of them; None if there is none."""


class Projector:
    """Moves one journal's messages into the store.

    Args:
        journal: Where messages come from.
        store: Where readings go.
        ledger: Keeps the position, dirty ranges and the quarantine.
        context: Gives the sites and profiles that count now.
        settings: Batch size and waiting.
        on_latest: Is handed every batch of stored readings, such as for a live page.
        check: Called before readings are written; raises where another process moves this journal.
        now: The time, for what is noted.
    """

    def __init__(
        self,
        journal: MessageJournal,
        store: ReadingStore,
        ledger: Ledger,
        context: Callable[[], Context],
        *,
        settings: ProjectorSettings | None = None,
        on_latest: Callable[[Readings], None] | None = None,
        check: Callable[[], None] | None = None,
        now: Callable[[], datetime] = lambda: _EPOCH,
    ) -> None:
        self._journal, self._store, self._ledger = journal, store, ledger
        self._context, self._on_latest, self._check = context, on_latest, check
        self._now = now
        self._settings = settings or ProjectorSettings()
        self._position: int | None = None
        self._stepping, self._moved = threading.Lock(), threading.Condition()
        self.counts = ProjectorCounts()

    @property
    def lag(self) -> int:
        """Messages in the journal that are not in the store yet."""
        return max(0, self._journal.last_sequence - self.counts.position)

    def step(self, limit: int | None = None) -> Projected:
        """Project up to `limit` messages; doing nothing means that nothing was left.

        Raises:
            StoreUnavailable: The store does not answer; the same messages come again.
            LedgerUnavailable: The ledger does not answer; likewise.
            JournalBehind: The journal is an older copy; nothing is moved until that is mended.
        """
        with self._stepping:
            try:
                done = self._step(limit or self._settings.batch)
            except Exception:
                self._position = None  # part of the batch may be in: ask the ledger again
                raise
        with self._moved:
            self._moved.notify_all()
        return done

    def run(self, stop: threading.Event) -> None:
        """Project until told to stop; the outermost loop of a thread."""
        wait_s = self._settings.first_wait_s
        while not stop.is_set():
            try:
                done = self.step()
            except (
                StoreUnavailable,
                LedgerUnavailable,
                JournalUnavailable,
                JournalBehind,
            ) as error:
                if self.counts.last_error is None:
                    log.warning("projector: waits: %s", error)
                self._count_error(error)
            except Exception as error:
                log.exception("projector: a batch failed and is tried again: %s", error)
                self._count_error(error)
            else:
                wait_s, self.counts.last_error = self._settings.first_wait_s, None
                if not self.lag and self._comes(done.position):
                    stop.wait(self._settings.linger_s)
                continue
            stop.wait(wait_s)
            wait_s = min(2 * wait_s, self._settings.longest_wait_s)

    def _comes(self, position: int) -> bool:
        """Wait a moment for another message; a journal that cannot be asked has none."""
        try:
            return self._journal.wait_for(position, timeout=0.5)
        except JournalUnavailable as error:
            self._count_error(error)
            self._position = None  # whatever comes back in its place: ask the ledger again
            return False

    def drain(self, timeout: float) -> bool:
        """Project all there is; False if that was not done in time [s].

        Raises:
            StoreUnavailable: The store did not answer in all the time.
            LedgerUnavailable: The ledger did not.
        """
        deadline, wait_s = time.monotonic() + timeout, self._settings.first_wait_s
        while True:
            failure: Exception | None = None
            try:
                self.step()
                if not self.lag:
                    return True
            except (StoreUnavailable, LedgerUnavailable, JournalUnavailable) as error:
                failure = error
                time.sleep(max(0.0, min(wait_s, deadline - time.monotonic())))
                wait_s = min(2 * wait_s, self._settings.longest_wait_s)
            if time.monotonic() >= deadline:
                if failure is not None:
                    raise failure
                return False

    def wait_until(self, sequence: int, timeout: float) -> bool:
        """Wait until a message is in the store; False when it was not in time [s]."""
        with self._moved:
            return self._moved.wait_for(lambda: self.counts.position >= sequence, timeout)

    def _step(self, limit: int) -> Projected:
        ident = {"store_id": self._store.store_id, "journal": self._journal.journal_id}
        if self._position is None:
            self._store.begin(self._journal.journal_id)
            self._position = self.counts.position = self._ledger.position(**ident)
        try:
            records = self._journal.read(self._position, limit, max_bytes=self._settings.max_bytes)
        except JournalDamaged as damage:
            last = self._skip(damage)
            self._ledger.save_position(last, **ident)
            return self._moved_to(last, Projected(position=last))
        if not records:
            self._check_not_behind(self._position)
            return self._moved_to(self._position, Projected(position=self._position))
        self._see_lag(self._position, records[0])
        decoded = decode_sparing(records, self._context(), journal=self._journal.journal_id)
        conflicts = keep(decoded, self._store, self._ledger, check=self._check)
        last = records[-1].sequence
        self._ledger.save_position(last, **ident)
        self._count(decoded, messages=len(records), conflicts=conflicts)
        self._see_lag(last, records[-1])
        if self._on_latest is not None and len(decoded.readings):
            self._on_latest(decoded.readings)
        done = Projected(
            len(records), len(decoded.readings), len(decoded.rejected), conflicts, last
        )
        return self._moved_to(last, done)

    def _check_not_behind(self, position: int) -> None:
        """See that the end of the journal is no earlier than what was taken from it.

        Raises:
            JournalBehind: It is.
        """
        last = self._journal.last_sequence
        was, self.counts.ahead = self.counts.ahead, max(0, position - last)
        if self.counts.ahead:
            behind = JournalBehind(
                f"Journal {self._journal.journal_id} ends at message {last}, and the store has it "
                f"up to {position}: it is an older copy. Nothing of it is moved. Put the newer "
                "journal back if there is one; else start its process again, which goes on behind "
                f"{position}, and then: tanyuan rebuild."
            )
            if not was:
                log.error("projector: %s", behind)
            raise behind

    def _moved_to(self, position: int, done: Projected) -> Projected:
        self._position = self.counts.position = position
        self.counts.ahead = 0
        self.counts.lag = self.lag
        if not self.counts.lag:
            self.counts.oldest_unprojected = None
        return done

    def _see_lag(self, position: int, near: Record) -> None:
        self.counts.lag = max(0, self._journal.last_sequence - position)
        arrived = _EPOCH + timedelta(microseconds=near.received_at)
        self.counts.oldest_unprojected = arrived if self.counts.lag else None

    def _count(self, decoded: Decoded, *, messages: int, conflicts: int) -> None:
        self.counts.batches += 1
        self.counts.messages += messages
        self.counts.readings += len(decoded.readings)
        self.counts.ignored += decoded.ignored
        self.counts.conflicts += conflicts
        self.counts.quarantined.update(entry.code for entry in decoded.rejected)
        for flag in (Flag.CLOCK, Flag.IMPLAUSIBLE):
            count = int(np.count_nonzero(decoded.readings.flags & int(flag)))
            self.counts.set_aside.update({str(flag.name).lower(): count} if count else {})

    def _count_error(self, error: Exception) -> None:
        self.counts.errors += 1
        self.counts.last_error = str(error)
        self.counts.lag = self.lag

    def _skip(self, damage: JournalDamaged) -> int:
        """Go on behind messages that cannot be read any more, and say so.

        Of lost ones whoever found the journal to be an older copy has said so.
        """
        behind = max(damage.last_lost, self._position or 0)
        log.error("projector: %s", damage)
        if damage.damage.lost:
            return behind
        lost = {"first": damage.first_lost, "last": damage.last_lost}
        finding = Finding("journal.damaged", str(damage), lost)
        subject = f"{self._journal.journal_id}/{damage.first_lost}"
        # Its instant is always the same, so that it is one finding however often it is met.
        self._ledger.note([Noted(subject, _EPOCH, finding, self._now())])
        return behind
