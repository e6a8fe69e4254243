"""The jobs: when each is due, and what it does; `timetable.py` starts them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from api.answers import Document
from api.line import Behind
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


def day_before(now: datetime, tz: ZoneInfo) -> Period:
    """The site's day that ended last."""
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
        missing = "" if JOBS[name].of_journal else what_is_missing(given, site, period)
        noted = start(given, JOBS[name], site, period, missing=missing)
        run: Document = {
            "site": site.id,
            "start": utc_text(period.start),
            "end": utc_text(period.end),
            "findings": [
                {"code": each.finding.code, "message": each.finding.message} for each in noted
            ],
        }
        runs.append(run | ({"behind": missing} if missing else {}))
    return {"job": name, "for": day.isoformat(), "runs": runs}


LATE = timedelta(minutes=20)
"""Readings of a day come until so long after it; `intervals.daily` makes its hours then."""


def what_is_missing(given: Services, site: Site, period: Period) -> str:
    """What the store or the hours lack of a site's day; empty if a job can rely on them.

    Raises:
        StoreUnavailable: The store is away.
    """
    lacks = _not_stored(given.catch_up(), period.end + LATE)
    given.store.check()
    if lacks:
        return lacks
    deadline = time.monotonic() + given.settings.answer_wait_s
    while (waiting := _dirty_until(given, site, period.end)) and time.monotonic() < deadline:
        time.sleep(0.25)
    return f"{waiting} spans of hours until then are still to be made." if waiting else ""


def _dirty_until(given: Services, site: Site, until: datetime) -> int:
    meters = {site.meter_key(serial) for serial in site.serials}
    return sum(each.meter in meters and each.period.start < until for each in given.ledger.dirty())


def _not_stored(behind: Behind | None, until: datetime) -> str:
    """What arrived until then and is not in the store, in a sentence."""
    if behind is None:
        return ""
    if behind.unknown:
        return (
            f"Journal {', '.join(behind.unknown)} may hold messages that are not in the store: the "
            "process that keeps it does not answer. Start it, or `tanyuan journal forget` it."
        )
    if behind.messages and (behind.oldest is None or behind.oldest < until):
        oldest = f", the oldest of {utc_text(behind.oldest)}" if behind.oldest else ""
        return f"{behind.messages} messages are not in the store yet{oldest}."
    return ""


class TakenOver(RuntimeError):
    """While a job ran here another process took the lead and made the same run."""


def start(
    given: Services,
    job: Job,
    site: Site,
    period: Period,
    *,
    missing: str = "",
    still_ours: Callable[[], bool] = lambda: True,
) -> list[Noted]:
    """Run a job for a period, and keep what it found and how it ended.

    Args:
        given: The parts of this process.
        job: Which one.
        site: For which site.
        period: Its day.
        missing: What the store lacks of that day; every finding says so.
        still_ours: Asked at the end.

    Raises:
        TakenOver: `still_ours` says at the end that another process makes this run now.
    """
    log.info("%s: start, %s, %s to %s", job.name, site.id, period.start, period.end)
    run = given.ledger.start_job(job.name, period, at=given.now())
    try:
        with span(f"job {job.name}", site=site.id, start=utc_text(period.start)):
            noted = job.run(given, site, period)
        if not still_ours():
            raise TakenOver("another process leads now, and makes this run")
        noted = _with_doubt(noted, missing) if missing else noted
        given.ledger.note(noted)
    except Exception as error:
        given.ledger.end_job(run, at=given.now(), failed=f"{type(error).__name__}: {error}")
        raise
    given.ledger.end_job(run, at=given.now())
    log.info("%s: done, %s findings", job.name, len(noted))
    return noted


def _with_doubt(noted: Sequence[Noted], missing: str) -> list[Noted]:
    """The findings, saying what was not there when they were made."""
    return [
        replace(
            each,
            finding=replace(
                each.finding,
                message=f"{each.finding.message} Found while something was missing: {missing}",
                data={**each.finding.data, "behind": missing},
            ),
        )
        for each in noted
    ]


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
