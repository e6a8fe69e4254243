"""Indicators of the platform itself, and events: what displays mark on their time axes."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import datetime, timedelta

from api.indicators import full_minute
from api.services import Services
from metering.ledger.port import LedgerUnavailable
from metering.periods import utc_text
from metering.store.indicators import Indicator
from metering.store.port import StoreDamaged, StoreUnavailable

DAY = timedelta(days=1)

ASK_S = 1.0
"""How long another process may take to say how far its journal is."""

_AWAY = (StoreUnavailable, StoreDamaged, LedgerUnavailable)


def platform_indicators(given: Services, moment: datetime) -> list[Indicator]:
    """How the platform is: backlog, disks, journals, quarantine, jobs, findings of the last day.

    What cannot be asked just now has no row; that it cannot has one: `ledger_up` is 0 then. A store
    that is away cannot take its own 0, so displays read from silence that it is.
    """
    me = f"tanyuan/{given.role.name}"
    rows = [_row(me, "", "disk_free_bytes", moment, shutil.disk_usage(given.home.path).free)]
    for quantity, check in (("store_up", given.store.check), ("ledger_up", given.ledger.check)):
        rows.append(_row(me, "", quantity, moment, _answers(check)))
    for part in _PARTS:
        with suppress(*_AWAY):
            rows += part(given, me, moment)
    with suppress(*_AWAY):
        rows += _findings(given, moment)
    return rows


def _row(subject: str, about: str, quantity: str, at: datetime, value: float) -> Indicator:
    return Indicator(subject, about, quantity, full_minute(at), float(value))


def _answers(check: Callable[[], None]) -> float:
    try:
        check()
    except _AWAY:
        return 0.0
    return 1.0


def _lag(given: Services, me: str, moment: datetime) -> list[Indicator]:
    return [_row(me, "", "lag_messages", moment, given.line.lag)]


def _age(given: Services, me: str, moment: datetime) -> list[Indicator]:
    """The age of the oldest message that is not in the figures.

    A journal that does not answer may hold older ones than are known: then there is no age.
    """
    behind = given.line.catch_up(0)
    if behind is None:
        return [_row(me, "", "lag_s", moment, 0.0)]
    if behind.unknown or (behind.messages and behind.oldest is None):
        return []
    age = (moment - behind.oldest).total_seconds() if behind.oldest else 0.0
    return [_row(me, "", "lag_s", moment, age)]


def _silent_journals(given: Services, me: str, moment: datetime) -> list[Indicator]:
    """Which journals answer, this process's own among them, and how many do not."""
    places = given.journals.places() if given.line.shared else {}
    answers = {
        name: given.journals.newest(place, timeout_s=ASK_S) is not None
        for name, place in places.items()
    }
    if given.journal is not None:
        answers[given.journal.journal_id] = True
    silent = sum(not answered for answered in answers.values())
    return [
        _row(me, "", "journals_silent", moment, silent),
        *(_row(me, name, "journal_answers", moment, said) for name, said in answers.items()),
    ]


def _dirty(given: Services, me: str, moment: datetime) -> list[Indicator]:
    return [_row(me, "", "dirty_ranges", moment, given.ledger.count_dirty())]


def _own_journal(given: Services, me: str, moment: datetime) -> list[Indicator]:
    if given.journal is None:
        return []
    health = given.journal.health()
    figures = {
        "journal_bytes": health.disk_bytes,
        "journal_messages": health.last_sequence,
        "journal_days_left": health.days_left,
    }
    return [
        _row(me, health.journal_id, quantity, moment, value)
        for quantity, value in figures.items()
        if value is not None
    ]


def _journals(given: Services, me: str, moment: datetime) -> list[Indicator]:
    """The journals of other processes, as they last said."""
    return [
        _row(me, place.journal, "journal_messages", moment, place.last_sequence)
        for place in given.journals.places().values()
    ]


def _quarantine(given: Services, me: str, moment: datetime) -> list[Indicator]:
    # What was mended is 0 and not absent: displays would go on with what they saw last.
    counts = given.ledger.quarantine_counts(closed_too=True)
    return [_row(me, code, "quarantine_open", moment, n) for code, n in counts.items()]


def _jobs(given: Services, me: str, moment: datetime) -> list[Indicator]:
    rows = []
    seen: set[str] = set()
    for run in given.ledger.job_runs(limit=100):
        if run.job in seen or run.ended_at is None:
            continue
        seen.add(run.job)
        age = (moment - run.ended_at).total_seconds()
        rows.append(_row(me, run.job, "job_age_s", moment, age))
        rows.append(_row(me, run.job, "job_ok", moment, float(run.status == "done")))
    return rows


_PARTS = (_lag, _age, _silent_journals, _dirty, _own_journal, _journals, _quarantine, _jobs)
"""What can be away is asked by parts, so that the others are known all the same."""


def _findings(given: Services, moment: datetime) -> list[Indicator]:
    """How many findings of each kind were noted of each site on the last day."""
    counted: Counter[tuple[str, str]] = Counter()
    for site in given.catalog.sites():
        counted[site, "all"] = 0
    for noted in given.ledger.findings(since=moment - DAY):
        site = noted.subject.partition("/")[0]
        if (site, "all") in counted and moment - DAY < noted.noted_at <= moment:
            counted[site, noted.finding.code] += 1
            counted[site, "all"] += 1
    return [
        _row(site, code, "findings_day", moment, count)
        for (site, code), count in sorted(counted.items())
    ]


def event_indicators(given: Services, *, since: datetime | None) -> list[Indicator]:
    """Findings, new versions of site files and failed jobs, each at its own moment.

    What is of no site, such as a damaged journal, is of the platform: `tanyuan/…`.

    Args:
        given: The parts of this process.
        since: Only what was noted from then on; everything if None.
    """
    versions = given.ledger.site_versions()
    sites = {*given.catalog.sites(), *(version.site for version in versions)}
    rows = [
        Indicator(_owned(n.subject, sites), n.finding.code, "event", n.noted_at, 1.0,
                  n.finding.message)
        for n in given.ledger.findings(since=since)
    ]  # fmt: skip
    for version in versions:
        if since is None or version.recorded_at >= since:
            text = f"Site file, version {version.version}."
            rows.append(
                Indicator(version.site, "site.changed", "event", version.recorded_at, 1.0, text)
            )
    for run in given.ledger.job_runs(limit=100):
        ended = run.ended_at
        if run.status == "failed" and ended is not None and (since is None or ended >= since):
            text = f"{run.job} for {utc_text(run.period.start)}: {run.message}"
            rows += [
                Indicator(subject, "job.failed", "event", ended, 1.0, text)
                for subject in (*given.catalog.sites(), f"tanyuan/{given.role.name}")
            ]
    return rows


def _owned(subject: str, sites: Collection[str]) -> str:
    """The subject of an event, which displays list by what stands before its first slash."""
    return subject if subject.partition("/")[0] in sites else f"tanyuan/{subject}"
