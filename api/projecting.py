"""`project`: moves the journals that other processes keep into the store.

Each journal is projected by one process at a time, which holds the lease for it. Several `project`
processes share the journals: one takes at most one more each time it looks, and waits the longer
the more it has. Taking over is safe at any moment, because every step may be done twice.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from api.journals import Place
from api.leases import TERM_S, Lease, process_name
from api.remote_journal import RemoteJournal
from api.services import Services
from ingest.projector import Projector, ProjectorCounts
from ingest.segments import JournalError
from metering.ledger.port import LedgerUnavailable
from metering.store.port import StoreUnavailable

log = logging.getLogger(__name__)

LOOK_S = 2.0
"""How often the list of journals is looked at; less than a third of a lease's term."""


@dataclass(slots=True)
class Work:
    """One journal that is projected here."""

    lease: Lease
    journal: RemoteJournal
    projector: Projector
    stop: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None


class Projecting:
    """Projects every journal it gets the lease for.

    Args:
        given: The parts of this process.
        term_s: Of the leases.
        look_s: How often to look for journals.
    """

    def __init__(self, given: Services, *, term_s: float = TERM_S, look_s: float = LOOK_S) -> None:
        self._given, self._term_s, self._look_s = given, term_s, look_s
        self._holder = process_name()
        self._leases: dict[str, Lease] = {}
        self._work: dict[str, Work] = {}
        self._patience = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def counts(self) -> dict[str, ProjectorCounts]:
        """What was done, by journal."""
        return {name: work.projector.counts for name, work in sorted(self._work.items())}

    def start(self) -> None:
        """Look for journals and project them until `stop`."""
        self._thread = threading.Thread(target=self._run, name="projecting", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 30.0) -> None:
        """End after the batches under way, and let others have the journals at once."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def reload(self) -> list[str]:
        """Read site and factor files again, and what other ones could not read."""
        changed = self._given.reload()
        for name in list(self._work):
            self._given.quarantine.of(name).replay_all_if_changed()
        return changed

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self.look()
                self._stop.wait(self._look_s)
        finally:
            for name in list(self._work):
                self._end(name)
                self._leases[name].release()

    def look(self) -> None:
        """Renew leases, begin with journals that are free, end with those that are not ours."""
        try:
            places = self._given.journals.places()
        except LedgerUnavailable as error:
            log.warning("projecting: %s", error)
            places = None
        for name in list(self._work):
            gone = places is not None and name not in places
            if gone or not self._leases[name].hold():
                self._end(name)
            elif places is not None:
                self._follow(places[name])
        if places is not None and self._patience <= 0:
            self._take_one(places)
        self._patience -= 1

    def _take_one(self, places: Mapping[str, Place]) -> None:
        """Take one journal that nobody projects."""
        for name, place in sorted(places.items()):
            if name in self._work or place.projects:
                continue
            if self._lease(name).hold():
                self._begin(place)
                self._patience = len(self._work)
                return

    def _lease(self, journal: str) -> Lease:
        if journal not in self._leases:
            self._leases[journal] = Lease(
                self._given.ledger, f"project/{journal}", self._holder, term_s=self._term_s
            )
        return self._leases[journal]

    def _begin(self, place: Place) -> None:
        given = self._given
        journal = given.journals.remote(place)
        projector = Projector(journal, given.store, given.ledger, lambda: given.context)
        work = Work(self._lease(place.journal), journal, projector)
        work.thread = threading.Thread(
            target=self._project, args=(work,), name=f"project-{place.journal[:8]}", daemon=True
        )
        self._work[place.journal] = work
        log.info("projecting journal %s at %s", place.journal, place.url)
        work.thread.start()

    def _follow(self, place: Place) -> None:
        """Begin anew with a journal whose process has another address now."""
        if self._work[place.journal].journal.url != place.url.rstrip("/"):
            self._end(place.journal)
            self._begin(place)

    def _end(self, name: str) -> None:
        work = self._work.pop(name)
        work.stop.set()
        if work.thread is not None:
            work.thread.join(30)
        log.info("no longer projecting journal %s", name)

    def _project(self, work: Work) -> None:
        quarantine = self._given.quarantine.of
        while not work.stop.is_set():
            try:
                quarantine(work.journal.journal_id).replay_all_if_changed()
                break
            except (StoreUnavailable, LedgerUnavailable, JournalError, LookupError) as error:
                log.warning("projecting %s waits: %s", work.journal.journal_id, error)
                work.stop.wait(self._look_s)
        work.projector.run(work.stop)
