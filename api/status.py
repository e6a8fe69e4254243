"""How the installation is: status document, readiness, Prometheus metrics."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from api.answers import Document
from api.asking import AWAY, Unanswered
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
from api.services import Services
from api.version import version
from metering.periods import utc_text


def status_document(given: Services) -> Document:
    """Lag, silent meters, disk, last jobs; null what store or ledger cannot say now."""
    free = shutil.disk_usage(given.home.path)
    problems, ask = not_ready(given), given.bounded.known
    return {
        "version": version(),
        "home": str(given.home.path),
        "started_at": utc_text(given.started_at),
        "ready": not problems,
        "lag": {
            "messages": ask("lag", lambda: given.line.lag),
            "dirty_ranges": ask("dirty", given.ledger.count_dirty),
            "last_error": next(iter(given.line.errors), None),
        },
        "role": given.role.name,
        "journal": plain(given.journal.health()) if given.journal is not None else None,
        "journals": ask(
            "journals", lambda: [plain(place) for place in given.journals.places().values()]
        ),
        "quarantine": ask("quarantine", given.ledger.quarantine_counts),
        "silent_meters": ask("meters", lambda: _silent(given)),
        "disk": {"free_bytes": free.free, "total_bytes": free.total},
        "jobs": ask("jobs", lambda: run_documents(given, limit=10)),
        "broker": broker_document(given.settings.broker, given.subscriber),
        "problems": problems,
    }


def _places(given: Services) -> list[object]:
    return [plain(place) for place in given.journals.places().values()]


def _silent(given: Services) -> list[Document]:
    return [
        {"site": site.id, **meter}
        for site in given.catalog.sites().values()
        for meter in meter_documents(given.store, site, given.now())
        if meter["silent"]
    ]


def unready(given: Services) -> list[tuple[str, str]]:
    """The parts that cannot do their work now, and why; empty when all can."""
    problems = []
    for name, check in (("store", given.store.check), ("ledger", given.ledger.check)):
        try:
            given.bounded.ask(f"The {name}", check)
        except (*AWAY, Unanswered) as error:
            problems.append((name, str(error)))
    if given.projecting is not None:
        problems += [("projecting", each) for each in given.projecting.problems()]
    refused = refusals(given.journal, given.home, given.settings)
    return problems + [("journal", each) for each in refused]


def not_ready(given: Services) -> list[str]:
    """Why the installation cannot do its work now; empty when it can."""
    return [why for _, why in unready(given)]


class _Collector:
    """Turns the counters of the parts into metrics when they are asked for."""

    def __init__(self, given: Services) -> None:
        self.given = given

    def collect(self) -> Iterator[Metric]:
        given, ask = self.given, self.given.bounded.known
        labels = {"version": version(), "role": given.role.name}
        yield gauge("build_info", "Version of the program.", 1, labels)
        yield gauge(
            "store_up",
            "1 while the store answers.",
            _answers(given, "The store", given.store.check),
        )
        yield gauge(
            "ledger_up",
            "1 while the ledger answers.",
            _answers(given, "The ledger", given.ledger.check),
        )
        lag = ask("lag", lambda: given.line.lag)
        if lag is not None:
            text = "Messages in the journals that are not in the store yet."
            yield gauge("projector_lag_messages", text, lag)
        dirty = ask("dirty", given.ledger.count_dirty)
        if dirty is not None:
            yield gauge("dirty_ranges", "Spans whose hours are to be made.", dirty)
        if given.journal is not None:
            yield from journal_metrics(given.journal)
        yield disk_metric(given.home)
        yield from _quarantine(ask("quarantine", given.ledger.quarantine_counts))
        yield from door_metrics(given.listener, given.subscriber)
        if given.projector is not None:
            yield from counts("projector", given.projector.counts)
        if given.projecting is not None:
            yield from _projecting(given.projecting)
        if given.leading is not None:
            text = "1 in the process that makes hours and runs jobs, 0 in one that waits."
            yield gauge("leads", text, given.leading.leads)
        yield from ask("meters of metrics", lambda: list(_meters(given))) or []


def _answers(given: Services, name: str, check: Callable[[], None]) -> float:
    try:
        given.bounded.ask(name, check)
    except (*AWAY, Unanswered):
        return 0.0
    return 1.0


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
    for journal, counted in projecting.counts.items():
        lag.add_metric([journal], counted.lag)
        done.add_metric([journal], counted.messages)
        errors.add_metric([journal], counted.errors)
    text = "Second, different values for a reading."
    conflicts = CounterMetricFamily("tanyuan_projector_conflicts", text)
    conflicts.add_metric([], projecting.conflicts)
    failed = CounterMetricFamily("tanyuan_projector_errors", "Attempts that failed.")
    failed.add_metric([], projecting.errors)
    yield from (lag, done, errors, conflicts, failed)


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
