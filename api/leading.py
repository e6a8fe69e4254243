"""`schedule`: makes the hours and runs the timetable, in one process of several at a time.

Whoever holds the lease leads. When it is lost the leader stops at once; the next one begins where
the ledger says: with what is dirty, and with jobs that were due and not run.
"""

from __future__ import annotations

import logging
import threading

from api.indicator_writer import IndicatorWriter
from api.leases import TERM_S, Lease, process_name, renewing
from api.services import Services
from api.timetable import Timetable
from metering.ledger.port import LedgerUnavailable
from metering.store.port import StoreUnavailable

log = logging.getLogger(__name__)


class Leading:
    """Leads as long as it holds the lease.

    Args:
        given: The parts of this process.
        term_s: Of the lease.
    """

    def __init__(self, given: Services, *, term_s: float = TERM_S) -> None:
        self._given = given
        self._holder = process_name()
        self._lease = Lease(given.ledger, "schedule", self._holder, term_s=term_s)
        self._pause_s = term_s / 5
        self._timetable: Timetable | None = None
        self._writer: IndicatorWriter | None = None
        self._stop = threading.Event()
        given.recompute.still_ours = lambda: self._lease.held
        self._thread: threading.Thread | None = None

    @property
    def leads(self) -> bool:
        """Whether this process leads now."""
        return self._timetable is not None and self._lease.held

    def start(self) -> None:
        """Try to lead until `stop`."""
        self._thread = threading.Thread(target=self._run, name="leading", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 60.0) -> None:
        """End after the round under way, and let another lead at once."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                try:
                    self.look()
                except Exception:
                    log.exception("leading: a fault of ours; tried again")
                self._stop.wait(self._pause_s)
        finally:
            self._end()
            self._lease.release()

    def look(self) -> None:
        """Renew or take the lease; begin or end to lead."""
        if self._lease.hold():
            if self._timetable is None:
                self._begin()
        elif self._timetable is not None:
            log.warning("the lease is lost: another process leads now, or the ledger is away")
            self._end()

    def _begin(self) -> None:
        try:
            with renewing([self._lease]):
                self._given.recompute.settle()
                self._given.apply()
        except (StoreUnavailable, LedgerUnavailable) as error:
            log.warning("leading waits: %s", error)
            return
        if not self._lease.held:
            return
        log.info("leading")
        if self._given.settings.writes_indicators:
            self._writer = self._given.indicators = IndicatorWriter(self._given)
            self._writer.start()
        self._given.line.start()
        timetable = Timetable(self._given, may_run=lambda: self._lease.held, holder=self._holder)
        timetable.start()
        self._timetable = timetable

    def _end(self) -> None:
        timetable, self._timetable = self._timetable, None
        if timetable is not None:
            timetable.stop()
            self._given.line.stop()
            if self._writer is not None:
                self._writer.stop()
                self._writer = self._given.indicators = None
