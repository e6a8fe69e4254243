"""The line from the journal to the hours: keeps it moving, and says how far it is behind."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

from api.compute import Recompute
from ingest.journal import Journal
from ingest.projector import Projector
from metering.ledger.port import LedgerUnavailable
from metering.store.port import StoreUnavailable

log = logging.getLogger(__name__)

PAUSE_S = 0.25
"""Dirty spans are gathered this long before they are worked off."""

RETRY_S = 2.0
"""How long to wait after the store or the ledger did not answer."""


@dataclass(frozen=True, slots=True)
class Behind:
    """What an answer does not include yet."""

    messages: int
    """Accepted messages not yet in the store; 0: only hours are missing."""
    oldest: datetime | None
    """When the oldest of them arrived."""


@dataclass(slots=True)
class Line:
    """Journal → projector → recompute, in threads of their own or step by step."""

    journal: Journal
    projector: Projector
    recompute: Recompute
    _stop: threading.Event = field(default_factory=threading.Event)
    _poke: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    last_error: str = ""

    @property
    def moving(self) -> bool:
        """Whether threads keep the line moving."""
        return bool(self._threads)

    def start(self) -> None:
        """Keep the line moving until `stop`."""
        work = {"projector": self._project, "recompute": self._recompute}
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

    def _project(self) -> None:
        self.projector.run(self._stop)

    def _recompute(self) -> None:
        while not self._stop.is_set():
            self._poke.wait(PAUSE_S)
            self._poke.clear()
            try:
                if self.recompute.ledger.count_dirty():
                    self.recompute.work_off()
                self.last_error = ""
            except (StoreUnavailable, LedgerUnavailable) as error:
                self.last_error = str(error)
                log.warning("recompute: %s", error)
                self._stop.wait(RETRY_S)
            except Exception as error:
                self.last_error = f"{type(error).__name__}: {error}"
                log.exception("recompute: a fault of ours; tried again in a minute")
                self._stop.wait(60.0)

    def catch_up(self, wait_s: float) -> Behind | None:
        """Include everything that was acknowledged before this call.

        Returns:
            None when it is; else what is missing after `wait_s` seconds.
        """
        target = self.journal.last_sequence
        deadline = time.monotonic() + wait_s
        if not self.moving:
            self.projector.drain(wait_s)
            self.recompute.work_off()
            return self._behind(target)
        if not self.projector.wait_until(target, wait_s):
            return self._behind(target)
        wanted = self.recompute.begun + 1
        while self.recompute.ledger.count_dirty() or self.recompute.busy:
            if self.recompute.finished >= wanted:
                break
            if time.monotonic() >= deadline:
                return Behind(0, None)
            self._poke.set()
            time.sleep(0.01)
        return None

    def _behind(self, target: int) -> Behind | None:
        position = self.projector.counts.position
        if position >= target:
            return None
        waiting = self.journal.read(position, limit=1)
        oldest = datetime.fromtimestamp(waiting[0].received_at / 1e6, UTC) if waiting else None
        return Behind(target - position, oldest)
