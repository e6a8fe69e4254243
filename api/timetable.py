"""The scheduler: starts each job when it is due, and each run once.

A run whose day is not whole in the store waits, and is tried again: what it finds is noted once,
and stays.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger

from api.claims import Claims, State
from api.executors import ComputeUnavailable
from api.jobs import JOBS, Job, day_before, start, what_is_missing
from api.leases import process_name
from api.services import Services
from metering.periods import Period, local_day, utc_text
from metering.sites import Site
from metering.store.port import StoreUnavailable

log = logging.getLogger(__name__)

AGAIN_S = 300.0
"""How often a run that waits is tried again, and what was missed is looked for."""

LAST_CHANCE = timedelta(hours=1)
"""So long before a job is due again, a run that waits is made with what there is."""


class Timetable:
    """Starts every job when it is due, in each site's own time, and each run once.

    Args:
        given: The parts of this process.
        may_run: Whether this process may start jobs now, such as while it holds the lease.
        holder: A name no other process has.
        again_s: How often a run that waits is tried again.
    """

    def __init__(
        self,
        given: Services,
        *,
        may_run: Callable[[], bool] = lambda: True,
        holder: str | None = None,
        again_s: float = AGAIN_S,
    ) -> None:
        self._given, self._may_run, self._again_s = given, may_run, again_s
        self._claims = Claims(given.ledger, holder or process_name(), given.now)
        self._stop = threading.Event()
        self._scheduler = BackgroundScheduler(
            timezone="UTC", job_defaults={"coalesce": True, "misfire_grace_time": 3600}
        )

    def start(self) -> None:
        """Start what is due from now on, and first what was due while nobody was there."""
        for site in self._given.catalog.sites().values():
            for job in self._jobs():
                self._scheduler.add_job(
                    self.run_due,
                    CronTrigger.from_crontab(job.cron, timezone=site.timezone),
                    args=[job, site.id],
                    id=f"{site.id}:{job.name}",
                )
        self._scheduler.start()
        threading.Thread(target=self._look, name="timetable", daemon=True).start()

    def _look(self) -> None:
        """Catch up at the start and every few minutes, by a clock that nobody sets.

        The scheduler goes by the clock of the machine: if that was years ahead when it started, and
        is set right, it waits for years.
        """
        left = True
        while not self._stop.is_set():
            try:
                self.catch_up(left=left)
                left = False
            except Exception:
                log.exception("timetable: a fault of ours; tried again")
            self._stop.wait(self._again_s)

    def _jobs(self) -> list[Job]:
        own = self._given.journal is not None
        return [job for job in JOBS.values() if own or not job.of_journal]

    def stop(self) -> None:
        """Start nothing more; what runs is not waited for."""
        self._stop.set()
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)

    def catch_up(self, *, left: bool = True) -> None:
        """Run what was due last and was not run; a job that never ran begins with its next turn.

        Args:
            left: Also what another process began and did not end: for whoever begins to lead.
        """
        for site in self._given.catalog.sites().values():
            for job in self._jobs():
                due = last_due(job, site, self._given.now())
                if due is None:
                    continue
                period = day_before(due, site.timezone)
                self._claims.begin_with(site.id, job.name, period.start)
                if self._stop.is_set():
                    return
                if self._claims.missed(site.id, job.name, period, left=left):
                    if not self._claims.waits(site.id, job.name, period):
                        log.warning("%s: was not run for %s when due; run now", job.name, site.id)
                    self._run(job, site, period, left=left)

    def run_due(self, job: Job, site_id: str) -> None:
        """Run a job for the site's day that ended last."""
        site = self._given.catalog.site(site_id)
        self._run(job, site, day_before(self._given.now(), site.timezone))

    def _run(self, job: Job, site: Site, period: Period, *, left: bool = False) -> None:
        claims, its = self._claims, (site.id, job.name, period)
        try:
            again = claims.waits(*its)
            if not self._may_run() or not claims.take(*its, left=left):
                return
            state: State = "failed"
            try:
                state = self._made(job, site, period, again=again)
            finally:
                claims.end(*its, state)
        except Exception:
            log.exception(
                "%s: failed for %s; run it again with: tanyuan job run %s --for %s",
                job.name,
                site.id,
                job.name,
                local_day(period.start, tz=site.timezone),
            )

    def _made(self, job: Job, site: Site, period: Period, *, again: bool) -> State:
        """Make a run that we claimed, or say that it waits.

        Args:
            job: Which one.
            site: For which site.
            period: Its day.
            again: Whether it waited before, and that was noted.
        """
        given, its, now = self._given, (site.id, job.name, period), self._given.now()
        may_wait = now + LAST_CHANCE < next_due(job, site, now)
        try:
            missing = "" if job.of_journal else what_is_missing(given, site, period)
            if not (missing and may_wait):
                ours = partial(self._claims.holds, *its)
                start(given, job, site, period, missing=missing, still_ours=ours)
                return "done"
        except (StoreUnavailable, ComputeUnavailable) as error:
            if not may_wait:
                raise
            missing = str(error)
        self._put_off(job, site, period, missing, noted=again)
        return "waiting"

    def _put_off(self, job: Job, site: Site, period: Period, why: str, *, noted: bool) -> None:
        """Say once in the list of runs that one waits."""
        text = f"waits and is tried again every {self._again_s:.0f} s: {why}"
        log.warning("%s: %s, %s %s", job.name, site.id, utc_text(period.start), text)
        if not noted:
            now = self._given.now()
            run = self._given.ledger.start_job(job.name, period, at=now)
            self._given.ledger.end_job(run, at=now, failed=f"It {text}")


LOOK_BACK = timedelta(days=8)
"""Runs that were due longer ago are not caught up with."""


def last_due(job: Job, site: Site, now: datetime) -> datetime | None:
    """When a job was due last before now; None if that is longer ago than `LOOK_BACK`."""
    trigger = CronTrigger.from_crontab(job.cron, timezone=site.timezone)
    last: datetime | None = None
    due = trigger.get_next_fire_time(None, now - LOOK_BACK)
    while due is not None and due <= now:
        last, due = due, trigger.get_next_fire_time(due, due + timedelta(seconds=1))
    return last


def next_due(job: Job, site: Site, now: datetime) -> datetime:
    """When a job is due next; the end of time if never."""
    trigger = CronTrigger.from_crontab(job.cron, timezone=site.timezone)
    due: datetime | None = trigger.get_next_fire_time(None, now)
    return due or datetime.max.replace(tzinfo=UTC)
