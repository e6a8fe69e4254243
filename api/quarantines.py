"""The quarantine of every journal of an installation, as one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import replace

from api.journals import Journals
from api.leases import Lease, process_name, project_lease, renewing
from api.questions import BadQuestion
from api.replaying import ask
from ingest.context import Context
from ingest.journal_reader import RecordNotFound
from ingest.quarantine import NotQuarantined, Quarantine, QuarantinedMessage, Replayed
from metering.ledger.port import Ledger
from metering.store.port import ReadingStore


class Quarantines:
    """What could not be read, whichever journal keeps it.

    Args:
        journals: Keep the bytes.
        store: Where readings go.
        ledger: Keeps the reasons.
        context: Gives the sites and profiles that count now.
    """

    def __init__(
        self,
        journals: Journals,
        store: ReadingStore,
        ledger: Ledger,
        context: Callable[[], Context],
    ) -> None:
        self._journals, self._store, self._ledger = journals, store, ledger
        self._context = context

    def of(self, journal: str, check: Callable[[], None] | None = None) -> Quarantine:
        """That of one journal.

        Args:
            journal: Which.
            check: Called before readings are written; raises where this process no longer may.

        Raises:
            RecordNotFound: Nobody keeps a journal of that name.
        """
        reader = self._journals.reader(journal)
        return Quarantine(reader, self._store, self._ledger, self._context, check=check)

    def show(self, sequence: int, journal: str | None = None) -> QuarantinedMessage:
        """A message with its payload and all its reasons.

        Args:
            sequence: Of the message.
            journal: Of which journal; may be left out where only one has such a message.

        Raises:
            NotQuarantined: There is none.
            BadQuestion: Several journals have one, and none was named.
            JournalError: The bytes cannot be read, or its process does not answer.
        """
        entries = self._ledger.quarantined(state=None, sequence=sequence)
        found = sorted({e.journal for e in entries if journal in (None, e.journal)})
        if len(found) > 1:
            raise BadQuestion(
                f"Message {sequence} is in quarantine of {len(found)} journals; name one of them "
                f"as `journal`: {', '.join(found)}."
            )
        if not found:
            raise NotQuarantined(sequence, journal or ", ".join(self._journals.ids()))
        try:
            return self.of(found[0]).show(sequence)
        except RecordNotFound as error:
            raise NotQuarantined(sequence, f"{found[0]} ({error})") from error

    def replay(self, *, sequence: int | None = None, code: str | None = None) -> Replayed:
        """Decode messages again, with the sites and profiles that count now.

        Those of a journal that another process moves into the store are replayed by that process.

        Raises:
            StoreUnavailable: Nothing is closed that is not stored; replay again.
            LedgerUnavailable: Likewise.
            JournalUnavailable: The process that should replay does not.
        """
        chosen: dict[str, set[int]] = defaultdict(set)
        for entry in self._ledger.quarantined(sequence=sequence, code=code):
            chosen[entry.journal].add(entry.sequence)
        done = Replayed()
        for journal, sequences in sorted(chosen.items()):
            try:
                self.of(journal)
            except RecordNotFound:
                done = replace(done, gone=done.gone + len(sequences))
            else:
                done = self._replay(journal, sequences, done, sequence=sequence, code=code)
        return done

    def _replay(
        self,
        journal: str,
        sequences: Collection[int],
        done: Replayed,
        *,
        sequence: int | None,
        code: str | None,
    ) -> Replayed:
        own = self._journals.own
        if own is not None and journal == own.journal_id:
            return self.of(journal).replay_messages(sequences, done)
        lease = Lease(self._ledger, project_lease(journal), process_name())
        place = self._journals.places().get(journal)
        moves_itself = place is not None and place.projects and not place.stopped
        if moves_itself or not lease.hold():
            return done.plus(ask(self._ledger, journal, sequence=sequence, code=code))
        try:
            with renewing([lease]):
                self._store.begin(journal)
                return self.of(journal, lease.check).replay_messages(sequences, done)
        finally:
            lease.release()
