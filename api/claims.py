"""Which run of a job was begun last, by whom, and how it ended: each run is made once.

A claim is a note in the ledger that is swapped, so of several schedulers one gets it. A claim whose
holder is another process, and that never ended, is what a scheduler left that died. A claim of a
day that has not ended was made while a clock was wrong; it is no claim, or it would hold up all
days until then.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, TypeAlias

from metering.ledger.port import Ledger
from metering.periods import Period, utc_text

log = logging.getLogger(__name__)

State: TypeAlias = Literal["running", "done", "failed", "waiting", "not_before"]

SHORTEST_DAY = timedelta(hours=23)
"""Runs are made once their day has ended; none is shorter than this."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The last run of a job for a site."""

    start: str
    """When its period begins, as text that sorts."""
    state: State
    """`waiting`: it could not be made yet; `not_before`: no run, but earlier ones are not caught up
    with."""
    holder: str

    def text(self) -> str:
        """As the ledger keeps it."""
        return json.dumps({"start": self.start, "state": self.state, "holder": self.holder})


@dataclass(slots=True)
class Claims:
    """The claims of one process.

    Attributes:
        ledger: Where they are.
        holder: A name no other process has.
        clock: The time.
    """

    ledger: Ledger
    holder: str
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    def take(self, site: str, job: str, period: Period, *, left: bool = False) -> bool:
        """Claim a run; False if it was made or is being made, or another one was quicker.

        Args:
            site: Of which the run is.
            job: Its name.
            period: What it is about.
            left: Take over what another process began and did not end. Only for whoever just took
                the lead: to anybody else such a run is under way.
        """
        before = self._read(site, job)
        start = utc_text(period.start)
        if before is not None and not self._open(before, start, left=left):
            return False
        if before is not None and self._too_new(before):
            log.warning(
                "%s: a run for %s was claimed for the day from %s, which has not ended; the clock "
                "was wrong then, or is now. The run for the day from %s is made instead.",
                job,
                site,
                before.start,
                start,
            )
        mine = Claim(start, "running", self.holder)
        old = before.text() if before is not None else None
        return self.ledger.swap(_key(site, job), expected=old, value=mine.text())

    def end(self, site: str, job: str, period: Period, state: State) -> None:
        """Say how a run of ours ended."""
        mine = Claim(utc_text(period.start), "running", self.holder)
        ended = Claim(mine.start, state, self.holder)
        self.ledger.swap(_key(site, job), expected=mine.text(), value=ended.text())

    def holds(self, site: str, job: str, period: Period) -> bool:
        """Whether a run that we began is still ours, and not taken over meanwhile."""
        return self._read(site, job) == Claim(utc_text(period.start), "running", self.holder)

    def begin_with(self, site: str, job: str, last: datetime) -> None:
        """Where a job never ran: runs whose period began until then are not caught up with."""
        claim = Claim(utc_text(last), "not_before", self.holder)
        self.ledger.swap(_key(site, job), expected=None, value=claim.text())

    def missed(self, site: str, job: str, period: Period, *, left: bool = True) -> bool:
        """Whether a run that was due was never made, or waits, or was left unfinished by another.

        Args:
            site: Of which the run is.
            job: Its name.
            period: What it is about.
            left: Count what another process began and did not end, as in `take`.
        """
        before = self._read(site, job)
        return before is not None and self._open(before, utc_text(period.start), left=left)

    def waits(self, site: str, job: str, period: Period) -> bool:
        """Whether a run was begun before and could not be made yet."""
        before = self._read(site, job)
        start = utc_text(period.start)
        return before is not None and (before.start, before.state) == (start, "waiting")

    def _open(self, claim: Claim, start: str, *, left: bool) -> bool:
        """Whether a run may be made, although there is this claim."""
        if claim.start == start:
            return claim.state == "waiting" or (left and self._left_behind(claim, start))
        return claim.start < start or self._too_new(claim)

    def _too_new(self, claim: Claim) -> bool:
        return claim.start > utc_text(self.clock() - SHORTEST_DAY)

    def _left_behind(self, claim: Claim, start: str) -> bool:
        running = claim.state == "running" and claim.holder != self.holder
        return claim.start == start and running

    def _read(self, site: str, job: str) -> Claim | None:
        text = self.ledger.get(_key(site, job))
        return Claim(**json.loads(text)) if text else None


def _key(site: str, job: str) -> str:
    return f"job/{site}/{job}"
