"""How the installation is: status document, readiness, Prometheus metrics."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from api.answers import Document
from api.asking import AWAY, Sent, Unanswered
from api.jobs import run_documents
from api.journal_status import (
    broker_document,
    counts,
    disk_metric,
    door_metrics,
    gauge,
    journal_metrics,
    plain,
    refusals,
)
from api.live import meter_documents
from api.projecting import Projecting
from api.services import UNAPPLIED, Services
from api.version import version
from metering.periods import utc_text


def status_document(given: Services) -> Document:
    """Lag, silent meters, disk, last jobs; null what store or ledger cannot say now."""
    free, send = shutil.disk_usage(given.home.path), given.bounded.send
    sent = _checks(given)
    lag = send("lag", lambda: given.line.lag)
    dirty = send("dirty", given.ledger.count_dirty)
    journals = send("journals", lambda: _places(given))
    quarantine = send("quarantine", given.ledger.quarantine_counts)
    silent = send("meters", lambda: _silent(given))
    jobs = send("jobs", lambda: run_documents(given, limit=10))
    problems = [why for _, why in _problems(given, sent)]
    return {
        "version": version(),
        "home": str(given.home.path),
        "started_at": utc_text(given.started_at),
        "ready": not problems,
        "lag": {
            "messages": lag.known(),
            "dirty_ranges": dirty.known(),
            "last_error": next(iter(given.line.errors), None),
        },
        "role": given.role.name,
        "journal": plain(given.journal.health()) if given.journal is not None else None,
        "journals": journals.known(),
        "quarantine": quarantine.known(),
        "silent_meters": silent.known(),
        "disk": {"free_bytes": free.free, "total_bytes": free.total},
        "jobs": jobs.known(),
        "displays": _displays(given),
        "broker": broker_document(given.settings.broker, given.subscriber),
        "problems": problems,
    }


def _displays(given: Services) -> Document | None:
    """Whether displays are given their figures, if this process writes them."""
    if given.indicators is None:
        return None
    return {"last_error": given.indicators.last_error or None}


def _places(given: Services) -> list[object]:
    return [plain(place) for place in given.journals.places().values()]


def _silent(given: Services) -> list[Document]:
    return [
        {"site": site.id, **meter}
        for site in given.catalog.sites().values()
        for meter in meter_documents(given.store, site, given.now())
        if meter["silent"]
    ]


def _checks(given: Services) -> dict[str, Sent[None]]:
    """Ask store and ledger whether they can work."""
    checks = {"store": given.store.check, "ledger": given.ledger.check}
    return {name: given.bounded.send(f"The {name}", check) for name, check in checks.items()}


def unready(given: Services) -> list[tuple[str, str]]:
    """The parts that cannot do their work now, and why; empty when all can."""
    return _problems(given, _checks(given))


def _problems(given: Services, sent: Mapping[str, Sent[None]]) -> list[tuple[str, str]]:
    problems = []
    for name, check in sent.items():
        try:
            check.get()
        except (*AWAY, Unanswered) as error:
            problems.append((name, str(error)))
    if given.unapplied and not problems:
        problems.append(("store", UNAPPLIED))
    if given.projecting is not None:
        problems += [("projecting", each) for each in given.projecting.problems()]
    problems += [("journal", each) for each in _older_copies(given)]
    refused = refusals(given.journal, given.home, given.settings)
    return problems + [("journal", each) for each in refused]


def _older_copies(given: Services) -> list[str]:
    """What is said of journals that end before what the store has of them."""
    counted = [*(given.projecting.counts.values() if given.projecting is not None else [])]
    if given.projector is not None:
        counted.append(given.projector.counts)
    return [each.last_error or "" for each in counted if each.ahead]


def not_ready(given: Services) -> list[str]:
    """Why the installation cannot do its work now; empty when it can."""
    return [why for _, why in unready(given)]


class _Collector:
    """Turns the counters of the parts into metrics when they are asked for."""

    def __init__(self, given: Services) -> None:
        self.given = given

    def collect(self) -> Iterator[Metric]:
        given, send = self.given, self.given.bounded.send
        checks = _checks(given)
        lag = send("lag", lambda: given.line.lag)
        dirty = send("dirty", given.ledger.count_dirty)
        quarantine = send("quarantine", given.ledger.quarantine_counts)
        meters = send("meters of metrics", lambda: list(_meters(given)))
        labels = {"version": version(), "role": given.role.name}
        yield gauge("build_info", "Version of the program.", 1, labels)
        for name, check in checks.items():
            yield gauge(f"{name}_up", f"1 while the {name} answers.", check.came())
        text = "Messages in the journals that are not in the store yet."
        yield from _if_known("projector_lag_messages", text, lag.known())
        yield from _if_known("dirty_ranges", "Spans whose hours are to be made.", dirty.known())
        if given.journal is not None:
            yield from journal_metrics(given.journal)
        yield disk_metric(given.home)
        yield from _quarantine(quarantine.known())
        yield from door_metrics(given.listener, given.subscriber)
        if given.projector is not None:
            yield from counts("projector", given.projector.counts)
        if given.projecting is not None:
            yield from _projecting(given.projecting)
        if given.indicators is not None:
            text = "1 while displays are given their figures; 0: the last attempt failed."
            yield gauge("displays_written", text, not given.indicators.last_error)
        if given.leading is not None:
            text = "1 in the process that makes hours and runs jobs, 0 in one that waits."
            yield gauge("leads", text, given.leading.leads)
        yield from meters.known() or []


def _if_known(name: str, text: str, value: float | None) -> Iterator[Metric]:
    if value is not None:
        yield gauge(name, text, value)


def _quarantine(open_entries: dict[str, int] | None) -> Iterator[Metric]:
    if open_entries is not None:
        found = GaugeMetricFamily(
            "tanyuan_quarantine_open", "What could not be read, by reason.", labels=["code"]
        )
        for code, count in sorted(open_entries.items()):
            found.add_metric([code], count)
        yield found


def _projecting(projecting: Projecting) -> Iterator[Metric]:
    """What was moved into the store, journal by journal."""
    lag = GaugeMetricFamily(
        "tanyuan_journal_lag_messages", "Not in the store yet.", labels=["journal"]
    )
    done = CounterMetricFamily(
        "tanyuan_journal_messages", "Moved into the store.", labels=["journal"]
    )
    errors = CounterMetricFamily(
        "tanyuan_journal_errors", "Attempts that failed; nothing is lost by one.",
        labels=["journal"],
    )  # fmt: skip
    ahead = GaugeMetricFamily(
        "tanyuan_journal_ahead_messages", "In the store, but not in the journal: an older copy.",
        labels=["journal"],
    )  # fmt: skip
    for journal, counted in projecting.counts.items():
        ahead.add_metric([journal], counted.ahead)
        lag.add_metric([journal], counted.lag)
        done.add_metric([journal], counted.messages)
        errors.add_metric([journal], counted.errors)
    text = "Second, different values for a reading."
    conflicts = CounterMetricFamily("tanyuan_projector_conflicts", text)
    conflicts.add_metric([], projecting.conflicts)
    failed = CounterMetricFamily("tanyuan_projector_errors", "Attempts that failed.")
    failed.add_metric([], projecting.errors)
    yield from (lag, ahead, done, errors, conflicts, failed)


def _meters(given: Services) -> Iterator[Metric]:
    live = GaugeMetricFamily("tanyuan_meters_live", "Meters that are heard.", labels=["site"])
    total = GaugeMetricFamily("tanyuan_meters", "Meters in service.", labels=["site"])
    oldest = GaugeMetricFamily(
        "tanyuan_oldest_reading_age_seconds", "Age of the oldest last reading.", labels=["site"]
    )
    for site in given.catalog.sites().values():
        meters = meter_documents(given.store, site, given.now())
        live.add_metric([site.id], sum(not each["silent"] for each in meters))
        total.add_metric([site.id], len(meters))
        ages = [each["age_s"] for each in meters if each["age_s"] is not None]
        oldest.add_metric([site.id], max(ages, default=float("nan")))
    yield from (live, total, oldest)


def metrics_text(given: Services) -> bytes:
    """The metrics in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_Collector(given))
    return generate_latest(registry)
