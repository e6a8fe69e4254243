"""`project`: moves the journals that other processes keep into the store.

Each journal is projected by one process at a time, which holds the lease for it. Several `project`
processes share the journals: one takes at most one more each time it looks, and waits the longer
the more it has. Taking over is safe at any moment, because every step may be done twice.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from api.journals import Place
from api.leases import TERM_S, Lease, process_name, project_lease
from api.remote_journal import RemoteJournal
from api.replaying import Answering
from api.services import Services
from ingest.projector import Projector, ProjectorCounts
from ingest.quarantine import Quarantine
from ingest.segments import JournalError
from metering.ledger.port import LedgerUnavailable
from metering.store.port import StoreUnavailable

log = logging.getLogger(__name__)

LOOK_S = 2.0
"""How often the list of journals is looked at; less than a third of a lease's term."""

STUCK_S = 120.0
"""A look at all journals never takes so long, also while store and ledger hang."""


@dataclass(slots=True)
class Work:
    """One journal that is projected here."""

    lease: Lease
    journal: RemoteJournal
    projector: Projector
    stop: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None

    @property
    def is_dead(self) -> bool:
        """Whether its thread ended although nobody told it to."""
        return self.thread is not None and not self.thread.is_alive() and not self.stop.is_set()


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
        self._looked_at = time.monotonic()
        self._failing: dict[str, str] = {}
        self._ended = ProjectorCounts()
        self._answering = Answering(
            given.ledger,
            lambda: {name: partial(self._quarantine, name) for name in self._work.copy()},
        )

    @property
    def conflicts(self) -> int:
        """Second, different values since the start, also in journals that others have now."""
        return self._ended.conflicts + sum(each.conflicts for each in self.counts.values())

    @property
    def errors(self) -> int:
        """Attempts that failed since the start, also with journals that others have now."""
        return self._ended.errors + sum(each.errors for each in self.counts.values())

    def problems(self) -> list[str]:
        """Which of our threads do not work; empty while all do."""
        if self._thread is None or self._stop.is_set():
            return []
        remedy = "Look at the log, then start this process again; nothing is lost."
        quiet_s = time.monotonic() - self._looked_at
        if not self._thread.is_alive() or quiet_s > STUCK_S:
            return [f"Journals were last looked for {quiet_s:.0f} s ago. {remedy}"]
        dead = [name for name, work in sorted(self._work.copy().items()) if work.is_dead]
        return [f"Nobody projects journal {name} any more. {remedy}" for name in dead]

    @property
    def counts(self) -> dict[str, ProjectorCounts]:
        """What was done, by journal."""
        return {name: work.projector.counts for name, work in sorted(self._work.copy().items())}

    def start(self) -> None:
        """Look for journals and project them until `stop`."""
        self._thread = threading.Thread(target=self._run, name="projecting", daemon=True)
        self._thread.start()
        self._answering.start()

    def stop(self, timeout_s: float = 30.0) -> None:
        """End after the batches under way, and let others have the journals at once."""
        self._stop.set()
        if self._thread is not None:
            self._answering.stop(timeout_s)
            self._thread.join(timeout_s)

    def reload(self) -> list[str]:
        """Read site and factor files again, and what other ones could not read."""
        changed = self._given.reload()
        for name in list(self._work):
            self._quarantine(name).replay_all_if_changed()
        return changed

    def _quarantine(self, name: str) -> Quarantine:
        return self._given.quarantine.of(name, self._leases[name].check)

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                try:
                    self.look()
                except Exception as error:
                    log.exception("projecting: a look failed and is tried again: %s", error)
                    self._ended.errors += 1
                self._looked_at = time.monotonic()
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
            self._by_itself(name, partial(self._keep, name, places))
        if places is not None and self._patience <= 0:
            self._take_one(places)
        self._patience -= 1

    def _by_itself(self, name: str, do: Callable[[], None]) -> None:
        """Do something for one journal; the others go on if it fails, and it is tried again."""
        try:
            do()
        except Exception as error:
            self._ended.errors += 1
            if self._failing.get(name) == str(error):
                return  # said before
            self._failing[name] = str(error)
            if isinstance(error, JournalError | StoreUnavailable | LedgerUnavailable):
                log.warning("projecting %s waits: %s", name, error)
            else:
                log.exception("projecting %s failed and is tried again: %s", name, error)
        else:
            self._failing.pop(name, None)

    def _keep(self, name: str, places: Mapping[str, Place] | None) -> None:
        """Go on with a journal of ours, wherever it is now; or end with it."""
        gone = places is not None and name not in places
        if gone or not self._leases[name].hold():
            self._end(name)
        elif places is not None:
            self._follow(places[name])

    def _take_one(self, places: Mapping[str, Place]) -> None:
        """Take one journal that nobody projects."""
        for name, place in sorted(places.items()):
            if name in self._work or place.projects:
                continue
            self._by_itself(name, partial(self._take, place))
            if name in self._work:
                self._patience = len(self._work)
                return

    def _take(self, place: Place) -> None:
        """Begin with a journal, if it is free; one that cannot be begun stays free."""
        lease = self._lease(place.journal)
        if lease.hold():
            try:
                self._begin(place)
            except BaseException:
                lease.release()
                raise

    def _lease(self, journal: str) -> Lease:
        if journal not in self._leases:
            self._leases[journal] = Lease(
                self._given.ledger, project_lease(journal), self._holder, term_s=self._term_s
            )
        return self._leases[journal]

    def _begin(self, place: Place) -> None:
        given = self._given
        journal = given.journals.remote(place)
        lease = self._lease(place.journal)
        projector = Projector(
            journal,
            given.store,
            given.ledger,
            lambda: given.context,
            check=lease.check,
            now=given.now,
        )
        work = Work(lease, journal, projector)
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
        self._ended.conflicts += work.projector.counts.conflicts
        self._ended.errors += work.projector.counts.errors
        log.info("no longer projecting journal %s", name)

    def _project(self, work: Work) -> None:
        """The outermost loop of a journal's thread: whatever fails, it begins again."""
        name = work.journal.journal_id
        while not work.stop.is_set():
            try:
                self._replay(work)
                work.projector.run(work.stop)
            except Exception as error:
                log.exception("projecting %s failed and begins again: %s", name, error)
                work.projector.counts.errors += 1
                work.projector.counts.last_error = str(error)
                work.stop.wait(self._look_s)

    def _replay(self, work: Work) -> None:
        """Read again what other sites and profiles could not read; waits for store and ledger."""
        name = work.journal.journal_id
        while not work.stop.is_set():
            try:
                self._quarantine(name).replay_all_if_changed()
            except (StoreUnavailable, LedgerUnavailable, JournalError, LookupError) as error:
                log.warning("projecting %s waits: %s", name, error)
                work.stop.wait(self._look_s)
            else:
                return
