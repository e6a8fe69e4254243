"""What could not be read: listed with its payload, and decoded again after a fix.

The bytes stay in the journal; the ledger keeps the reasons. What a replay can read is stored with
its own sequence and arrival, so that a rebuild gives the same.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from ingest.context import Context
from ingest.journal_reader import RecordNotFound
from ingest.journal_records import Record
from ingest.keeping import decode_sparing, keep
from ingest.segments import JournalError
from metering.ledger.port import Ledger, QuarantineEntry
from metering.store.port import ReadingStore

log = logging.getLogger(__name__)

FINGERPRINT_KEY: Final = "quarantine.fingerprint"
"""Under which, with the journal, the ledger keeps the sites and profiles of the last replay."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_AT_ONCE: Final = 2_000


class RecordSource(Protocol):
    """What is needed of a journal."""

    journal_id: str

    def record(self, sequence: int) -> Record:
        """Return one record."""


class NotQuarantined(LookupError):
    """No message of that sequence is in quarantine."""

    def __init__(self, sequence: int, journal: str) -> None:
        super().__init__(
            f"Wanted the quarantined message {sequence} of journal {journal}, found none. "
            f"`tanyuan quarantine list` prints those that are there."
        )
        self.sequence = sequence


@dataclass(frozen=True, slots=True)
class QuarantinedMessage:
    """A message, its bytes, and why it or a part of it could not be read."""

    journal: str
    sequence: int
    received_at: datetime
    topic: str
    door: str
    client: str
    payload: bytes
    entries: tuple[QuarantineEntry, ...]

    @property
    def text(self) -> str:
        r"""The payload as text; bytes that are no UTF-8 are written as \xNN."""
        return self.payload.decode("utf-8", "backslashreplace")

    @property
    def hex(self) -> str:
        """The payload as hexadecimal digits, byte by byte."""
        return self.payload.hex(" ")


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay did."""

    messages: int = 0
    readings: int = 0
    """Stored; those that were stored before are stored again, which changes nothing."""
    closed: int = 0
    """Messages that hold nothing unreadable any more."""
    still_open: int = 0
    gone: int = 0
    """Messages of another journal, or that the journal cannot read any more; they stay open."""

    def plus(self, other: Replayed) -> Replayed:
        """What both did."""
        mine, more = asdict(self), asdict(other)
        return Replayed(**{name: mine[name] + more[name] for name in mine})


class Quarantine:
    """The messages of one journal that could not be read.

    Args:
        journal: Keeps the bytes.
        store: Where readings go.
        ledger: Keeps the reasons.
        context: Gives the sites and profiles that count now.
        check: Called before readings are written; raises where another process moves this journal.
    """

    def __init__(
        self,
        journal: RecordSource,
        store: ReadingStore,
        ledger: Ledger,
        context: Callable[[], Context],
        *,
        check: Callable[[], None] | None = None,
    ) -> None:
        self._journal, self._store, self._ledger = journal, store, ledger
        self._context, self._check = context, check

    def show(self, sequence: int) -> QuarantinedMessage:
        """Return a message with its payload and all its reasons, those replayed too.

        Raises:
            NotQuarantined: There is none of that sequence.
            JournalDamaged: Its bytes cannot be read any more.
        """
        entries = tuple(
            entry
            for entry in self._ledger.quarantined(state=None, sequence=sequence)
            if entry.journal == self._journal.journal_id
        )
        if not entries:
            raise NotQuarantined(sequence, self._journal.journal_id)
        record = self._journal.record(sequence)
        return QuarantinedMessage(
            journal=self._journal.journal_id,
            sequence=sequence,
            received_at=_EPOCH + timedelta(microseconds=record.received_at),
            topic=record.topic,
            door=record.door,
            client=record.client,
            payload=record.payload,
            entries=entries,
        )

    def replay(self, *, sequence: int | None = None, code: str | None = None) -> Replayed:
        """Decode messages again, with the sites and profiles that count now.

        Args:
            sequence: Only this message.
            code: Only messages with this reason.

        Raises:
            StoreUnavailable: Nothing is closed that is not stored; replay again.
            LedgerUnavailable: Likewise.
        """
        chosen = self._ledger.quarantined(sequence=sequence, code=code)
        own = {e.sequence for e in chosen if e.journal == self._journal.journal_id}
        done = Replayed(gone=len({(e.journal, e.sequence) for e in chosen}) - len(own))
        return self.replay_messages(own, done)

    def replay_messages(self, sequences: Collection[int], before: Replayed) -> Replayed:
        """Decode some messages of this journal again; counts go on from those before."""
        ordered, done = sorted(sequences), before
        for start in range(0, len(ordered), _AT_ONCE):
            done = self._replay_some(ordered[start : start + _AT_ONCE], done)
        log.info("quarantine: replayed %d messages, %d closed", done.messages, done.closed)
        return done

    def replay_all_if_changed(self) -> Replayed | None:
        """Replay what is open of this journal if sites or profiles changed since the last time."""
        fingerprint = self._context().fingerprint
        key = f"{FINGERPRINT_KEY}.{self._journal.journal_id}"
        if self._ledger.get(key) == fingerprint:
            return None
        done = self.replay()
        self._ledger.put(key, fingerprint)
        return done

    def _replay_some(self, sequences: Sequence[int], before: Replayed) -> Replayed:
        records = list(self._records(sequences))
        decoded = decode_sparing(records, self._context(), journal=self._journal.journal_id)
        failing = {(entry.sequence, entry.part) for entry in decoded.rejected}
        open_again = {sequence for sequence, _ in failing}
        mended = [
            replace(entry, state="replayed")
            for entry in self._open_entries(open_again)
            if (entry.sequence, entry.part) not in failing
        ]
        keep(decoded, self._store, self._ledger, check=self._check)
        if mended:
            self._ledger.quarantine(mended)
        closed = [record.sequence for record in records if record.sequence not in open_again]
        self._ledger.close_quarantine(self._journal.journal_id, closed)
        return Replayed(
            messages=before.messages + len(records),
            readings=before.readings + len(decoded.readings),
            closed=before.closed + len(closed),
            still_open=before.still_open + len(open_again),
            gone=before.gone + len(sequences) - len(records),
        )

    def _records(self, sequences: Sequence[int]) -> Iterator[Record]:
        for sequence in sequences:
            try:
                yield self._journal.record(sequence)
            except (JournalError, RecordNotFound) as error:
                log.warning("quarantine: message %d stays: %s", sequence, error)

    def _open_entries(self, sequences: set[int]) -> Iterator[QuarantineEntry]:
        for sequence in sorted(sequences):
            for entry in self._ledger.quarantined(sequence=sequence):
                if entry.journal == self._journal.journal_id:
                    yield entry
