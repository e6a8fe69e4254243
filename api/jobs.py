"""The scheduler: timetable, and what it starts."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger

from api.answers import Document
from api.claims import Claims, State
from api.leases import process_name
from api.live import meter_documents
from api.questions import BadQuestion
from api.quota_answers import quota_document
from api.services import Services
from api.telemetry import span
from metering.findings import Finding
from metering.ledger.port import Noted
from metering.periods import Period, local_day, utc_text
from metering.sites import Site, closest

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """A piece of work with a timetable."""

    name: str
    cron: str
    """When it starts, in site time: minute hour day month weekday."""
    what: str
    run: Callable[[Services, Site, Period], list[Noted]]
    """The work. Running it twice for one period leaves the same result as once."""
    of_journal: bool = False
    """Whether it looks at the journal of this home; other processes look at theirs."""


def _day_before(now: datetime, tz: ZoneInfo) -> Period:
    today = local_day(now, tz=tz)
    return Period.days(today - timedelta(days=1), today, tz=tz)


def make_intervals(given: Services, site: Site, period: Period) -> list[Noted]:
    """Make the hours of a day again from its readings."""
    meters = [site.meter_key(serial) for serial in site.serials]
    given.ledger.mark_dirty([(meter, period) for meter in meters])
    given.recompute.work_off()
    return []


def check_quotas(given: Services, site: Site, period: Period) -> list[Noted]:
    """Hold every quota against its use at the end of a day."""
    day = local_day(period.start, tz=site.timezone)
    found = []
    for use in quota_document(given.figures(site.id), day)["quotas"]:
        if use["verdict"] in ("exceeded", "at_risk", "not_assessable"):
            reasons = " ".join(use["reasons"])
            sentence = f"Quota {use['quota']} of {use['subject']}: {use['verdict']}. {reasons}"
            finding = Finding(f"quota.{use['verdict']}", sentence.strip(), use)
            found.append(_noted(given, f"{site.id}/{use['subject']}", period, finding))
    return found


def find_silent(given: Services, site: Site, period: Period) -> list[Noted]:
    """Name the meters that were silent at the end of a day."""
    found = []
    for meter in meter_documents(given.store, site, min(period.end, given.now())):
        if meter["silent"]:
            last = meter["last_read_at"] or "never"
            finding = Finding(
                "meter.silent",
                f"Meter {meter['meter']} at {meter['point']} is silent; last reading: {last}. "
                "Look at its gateway, then at the quarantine.",
                meter,
            )
            found.append(_noted(given, f"{site.id}/{meter['point']}", period, finding))
    return found


def verify_journal(given: Services, site: Site, period: Period) -> list[Noted]:
    """Read the whole journal and check its hashes and chain."""
    if given.journal is None:
        return []  # whoever keeps a journal verifies it
    verification = given.journal.verify()
    return [
        _noted(given, site.id, period, Finding("journal.damaged", problem))
        for problem in verification.problems
    ]


def _noted(given: Services, subject: str, period: Period, finding: Finding) -> Noted:
    return Noted(subject, period.start, finding, given.now())


JOBS = {
    job.name: job
    for job in (
        Job("intervals.daily", "20 0 * * *", "hours of yesterday, made again", make_intervals),
        Job("quotas.daily", "0 1 * * *", "quotas at the end of yesterday", check_quotas),
        Job("meters.silent", "30 1 * * *", "meters silent since yesterday", find_silent),
        Job(
            "journal.verify", "0 3 * * sun", "hashes and chain of the journal", verify_journal, True
        ),
    )
}
"""The timetable."""


def run_for(given: Services, name: str, day: date) -> Document:
    """Run a job for one site day, for every site.

    Raises:
        BadQuestion: There is no such job.
    """
    if name not in JOBS:
        near = closest(name, JOBS)
        hint = f"Did you mean {near[0]}?" if near else ""
        raise BadQuestion(f"No job {name!r}. Known: {', '.join(JOBS)}. {hint}".strip())
    runs = []
    for site in given.catalog.sites().values():
        period = Period.days(day, day + timedelta(days=1), tz=site.timezone)
        noted = start(given, JOBS[name], site, period)
        runs.append(
            {
                "site": site.id,
                "start": utc_text(period.start),
                "end": utc_text(period.end),
                "findings": [
                    {"code": each.finding.code, "message": each.finding.message} for each in noted
                ],
            }
        )
    return {"job": name, "for": day.isoformat(), "runs": runs}


class TakenOver(RuntimeError):
    """While a job ran here another process took the lead and made the same run."""


def start(
    given: Services,
    job: Job,
    site: Site,
    period: Period,
    *,
    still_ours: Callable[[], bool] = lambda: True,
) -> list[Noted]:
    """Run a job for a period, and keep what it found and how it ended.

    Raises:
        TakenOver: `still_ours` says at the end that another process makes this run now.
    """
    log.info("%s: start, %s, %s to %s", job.name, site.id, period.start, period.end)
    given.catch_up()
    run = given.ledger.start_job(job.name, period, at=given.now())
    try:
        with span(f"job {job.name}", site=site.id, start=utc_text(period.start)):
            noted = job.run(given, site, period)
        if not still_ours():
            raise TakenOver("another process leads now, and makes this run")
        given.ledger.note(noted)
    except Exception as error:
        given.ledger.end_job(run, at=given.now(), failed=f"{type(error).__name__}: {error}")
        raise
    given.ledger.end_job(run, at=given.now())
    log.info("%s: done, %s findings", job.name, len(noted))
    return noted


class Timetable:
    """Starts every job when it is due, in each site's own time, and each run once.

    Args:
        given: The parts of this process.
        may_run: Whether this process may start jobs now, such as while it holds the lease.
        holder: A name no other process has.
    """

    def __init__(
        self,
        given: Services,
        *,
        may_run: Callable[[], bool] = lambda: True,
        holder: str | None = None,
    ) -> None:
        self._given, self._may_run = given, may_run
        self._claims = Claims(given.ledger, holder or process_name())
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
        self._scheduler.add_job(self.catch_up, id="catch-up")
        self._scheduler.start()

    def _jobs(self) -> list[Job]:
        own = self._given.journal is not None
        return [job for job in JOBS.values() if own or not job.of_journal]

    def stop(self) -> None:
        """Start nothing more; what runs is not waited for."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)

    def catch_up(self) -> None:
        """Run what was due last and was not run; a job that never ran begins with its next turn."""
        for site in self._given.catalog.sites().values():
            for job in self._jobs():
                due = last_due(job, site, self._given.now())
                if due is None:
                    continue
                period = _day_before(due, site.timezone)
                self._claims.begin_with(site.id, job.name, period.start)
                if self._claims.missed(site.id, job.name, period):
                    log.warning("%s: was not run for %s when due; run now", job.name, site.id)
                    self._run(job, site, period, left=True)

    def run_due(self, job: Job, site_id: str) -> None:
        """Run a job for the site's day that ended last."""
        site = self._given.catalog.site(site_id)
        self._run(job, site, _day_before(self._given.now(), site.timezone))

    def _run(self, job: Job, site: Site, period: Period, *, left: bool = False) -> None:
        claims, its = self._claims, (site.id, job.name, period)
        try:
            if not self._may_run() or not claims.take(*its, left=left):
                return
            state: State = "failed"
            try:
                start(self._given, job, site, period, still_ours=lambda: claims.holds(*its))
                state = "done"
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


def jobs_document(given: Services) -> Document:
    """The timetable and the last runs."""
    return {
        "timetable": [
            {"job": job.name, "cron": job.cron, "what": job.what} for job in JOBS.values()
        ],
        "runs": run_documents(given),
    }


def run_documents(given: Services, *, limit: int = 20) -> list[Document]:
    """The last runs of jobs, newest first."""
    return [
        {
            "job": run.job,
            "start": utc_text(run.period.start),
            "end": utc_text(run.period.end),
            "started_at": utc_text(run.started_at),
            "ended_at": utc_text(run.ended_at) if run.ended_at else None,
            "status": run.status,
            "message": run.message,
        }
        for run in given.ledger.job_runs(limit=limit)
    ]
