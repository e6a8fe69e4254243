"""The line from the journals to the hours: keeps it moving, and says how far it is behind.

One process may do all of it. Where several share the work, each has the part it does itself: what
others do it sees in the ledger, the positions of journals and the rounds of recomputation.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

from api.compute import Recompute
from api.executors import ComputeUnavailable
from api.journals import Journals, wait_for_positions
from api.telemetry import span
from ingest.journal_reader import RecordNotFound
from ingest.projector import JournalBehind, Projector
from ingest.segments import JournalError
from metering.ledger.port import Ledger, LedgerUnavailable
from metering.store.port import ReadingStore, StoreUnavailable

log = logging.getLogger(__name__)

PAUSE_S = 0.25
"""Dirty spans are gathered this long before they are worked off."""

_ASK_S = 2.0
"""How long another process may take to say how far its journal is."""

RETRY_S = 2.0
"""How long to wait after the store or the ledger did not answer."""


@dataclass(frozen=True, slots=True)
class Behind:
    """What an answer does not include yet."""

    messages: int
    """Accepted messages not yet in the store; 0: only hours are missing."""
    oldest: datetime | None
    """When the oldest of them arrived."""
    unknown: tuple[str, ...] = ()
    """Journals whose processes did not answer: they may hold more. Also such that end before what
    the store has of them: nothing that comes into those is moved."""


_ROUNDS = "recompute.rounds"
"""The note in which whoever recomputes says which round it began and which it finished."""


@dataclass(frozen=True, slots=True)
class Rounds:
    """Rounds of recomputation, wherever they are made."""

    begun: int
    finished: int


def rounds_of(ledger: Ledger) -> Rounds:
    """The rounds as they were last said."""
    return _parsed(ledger.get(_ROUNDS))


def _parsed(text: str | None) -> Rounds:
    begun, _, finished = (text or "0 0").partition(" ")
    return Rounds(int(begun), int(finished))


@dataclass(slots=True)
class Line:
    """Journals → projector → recompute, in threads of their own or step by step.

    Attributes:
        journals: Of the installation.
        store: Where readings and hours are.
        ledger: Where positions and dirty ranges are.
        projector: Moves this home's journal into the store; None if it has none.
        recompute: Makes the hours.
        recomputes: Whether this process does; else another one's rounds are waited for.
        shared: Whether other processes may keep journals or ask for rounds.
    """

    journals: Journals
    store: ReadingStore
    ledger: Ledger
    projector: Projector | None
    recompute: Recompute
    recomputes: bool = True
    shared: bool = False
    _stop: threading.Event = field(default_factory=threading.Event)
    _poke: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    last_error: str = ""

    @property
    def moving(self) -> bool:
        """Whether threads, here or elsewhere, keep the line moving."""
        return bool(self._threads) or not self.recomputes

    @property
    def lag(self) -> int:
        """Messages that are not in the store yet, of other journals as they last said."""
        own = self.projector.lag if self.projector is not None else 0
        if not self.shared:
            return own
        places = self.journals.places()
        if not places:
            return own
        at = {name: self._position_of(name) for name in places}
        return own + sum(max(0, p.last_sequence - at[name]) for name, p in places.items())

    @property
    def position(self) -> int:
        """The newest message of this home's journal that is in the store."""
        return self.projector.counts.position if self.projector is not None else 0

    @property
    def errors(self) -> list[str]:
        """What keeps the line from moving now."""
        projector = self.projector.counts.last_error if self.projector is not None else None
        return [error for error in (self.last_error, projector) if error]

    def start(self) -> None:
        """Keep this process's part of the line moving until `stop`."""
        self._stop.clear()
        work: dict[str, Callable[[], None]] = {}
        if self.projector is not None:
            work["projector"] = partial(self.projector.run, self._stop)
        if self.recomputes:
            work["recompute"] = self._recompute
        self._threads = [
            threading.Thread(target=target, name=name, daemon=True) for name, target in work.items()
        ]
        for thread in self._threads:
            thread.start()

    def stop(self, timeout_s: float = 30.0) -> None:
        """Stop the threads after the batch they are in."""
        self._stop.set()
        self._poke.set()
        for thread in self._threads:
            thread.join(timeout_s)
        self._threads = []

    def _recompute(self) -> None:
        while not self._stop.is_set():
            self._poke.wait(PAUSE_S)
            self._poke.clear()
            try:
                if self.ledger.count_dirty():
                    self._round()
                self.last_error = ""
            except (StoreUnavailable, LedgerUnavailable, ComputeUnavailable) as error:
                self.last_error = str(error)
                log.warning("recompute: %s", error)
                self._stop.wait(RETRY_S)
            except Exception as error:
                self.last_error = f"{type(error).__name__}: {error}"
                log.exception("recompute: a fault of ours; tried again in a minute")
                self._stop.wait(60.0)

    def _round(self) -> None:
        """Work off what is dirty; where others wait for it, say so before and after."""
        if not self.shared:
            with span("recompute"):
                self.recompute.work_off()
            return
        begun = self._count(lambda was: Rounds(was.begun + 1, was.finished)).begun
        with span("recompute"):
            self.recompute.work_off()
        self._count(lambda was: Rounds(max(was.begun, begun), max(was.finished, begun)))

    def _count(self, change: Callable[[Rounds], Rounds]) -> Rounds:
        """Count rounds, whoever else counts too; never backwards."""
        while True:
            text = self.ledger.get(_ROUNDS)
            now = change(_parsed(text))
            value = f"{now.begun} {now.finished}"
            if value == text or self.ledger.swap(_ROUNDS, expected=text, value=value):
                return now

    def catch_up(self, wait_s: float, *, others_s: float | None = None) -> Behind | None:
        """Include everything that was acknowledged before this call.

        Args:
            wait_s: How long to wait.
            others_s: How long for what other processes are to do, if not as long; they may be
                stopped.

        Returns:
            None when it is; else what is missing after that time.
        """
        began = time.monotonic()
        deadline = began + wait_s
        others = began + (wait_s if others_s is None else min(wait_s, others_s))
        missing = self._catch_up_here(wait_s) or self._catch_up_others(others)
        if missing is not None:
            return missing
        return self._hours_here(deadline) if self.recomputes else self._hours_there(others)

    def _catch_up_here(self, wait_s: float) -> Behind | None:
        own, projector = self.journals.own, self.projector
        if own is None or projector is None:
            return None
        target = own.last_sequence
        if self._threads:
            projector.wait_until(target, wait_s)
        else:
            with contextlib.suppress(JournalBehind):  # said below
                projector.drain(wait_s)
        position = projector.counts.position
        if projector.counts.ahead:
            return Behind(0, None, (own.journal_id,))
        if position >= target:
            return None
        waiting = own.read(position, limit=1)
        oldest = datetime.fromtimestamp(waiting[0].received_at / 1e6, UTC) if waiting else None
        return Behind(target - position, oldest)

    def _catch_up_others(self, deadline: float) -> Behind | None:
        """Wait for the journals that other processes keep, as far as they are now."""
        if not self.shared:
            return None
        places = self.journals.places()
        timeout_s = min(_ASK_S, max(0.1, deadline - time.monotonic()))
        # Before they are asked, so that none is further by then than it says.
        taken = {name: self._position_of(name) for name in places}
        newest = {
            name: self.journals.newest(place, timeout_s=timeout_s) for name, place in places.items()
        }
        unknown = [
            name for name, sequence in newest.items() if sequence is None or sequence < taken[name]
        ]
        # Of a journal that cannot be asked at least what it last said of itself is waited for.
        wanted = {
            name: places[name].last_sequence if sequence is None else sequence
            for name, sequence in newest.items()
        }
        missing = wait_for_positions(self.ledger, self.store.store_id, wanted, until=deadline)
        if not missing and not unknown:
            return None
        return Behind(sum(missing.values()), self._oldest_of(missing), tuple(unknown))

    def _position_of(self, journal: str) -> int:
        return self.ledger.position(store_id=self.store.store_id, journal=journal)

    def _oldest_of(self, missing: Mapping[str, int]) -> datetime | None:
        """When the oldest message arrived that is not in the store, as far as it can be asked."""
        found = []
        for name in missing:
            at = self._position_of(name)
            try:
                found += [r.received_at for r in self.journals.reader(name).read(at, limit=1)]
            except (JournalError, RecordNotFound):
                continue
        return datetime.fromtimestamp(min(found) / 1e6, UTC) if found else None

    def _hours_here(self, deadline: float) -> Behind | None:
        if not self._threads:
            self.recompute.work_off()
            return None
        wanted = self.recompute.begun + 1
        while self.ledger.count_dirty() or self.recompute.busy:
            if self.recompute.finished >= wanted:
                break
            if time.monotonic() >= deadline:
                return Behind(0, None)
            self._poke.set()
            time.sleep(0.01)
        return None

    def _hours_there(self, deadline: float) -> Behind | None:
        """Wait for a round of another process that began after now."""
        wanted = rounds_of(self.ledger).begun + 1
        pause = 0.02
        while self.ledger.count_dirty() and rounds_of(self.ledger).finished < wanted:
            if time.monotonic() >= deadline:
                return Behind(0, None)
            time.sleep(pause)
            pause = min(2 * pause, 0.2)
        return None
