"""How the installation is: status document, readiness, Prometheus metrics."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from api.answers import Document
from api.jobs import run_documents
from api.journal_status import (
    broker_document,
    counts,
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
from metering.ledger.port import LedgerUnavailable
from metering.periods import utc_text
from metering.store.port import StoreDamaged, StoreUnavailable


def status_document(given: Services) -> Document:
    """Lag, silent meters, disk, last jobs."""
    silent = [
        {"site": site.id, **meter}
        for site in given.catalog.sites().values()
        for meter in meter_documents(given.store, site, given.now())
        if meter["silent"]
    ]
    free = shutil.disk_usage(given.home.path)
    return {
        "version": version(),
        "home": str(given.home.path),
        "started_at": utc_text(given.started_at),
        "ready": not not_ready(given),
        "lag": {
            "messages": given.line.lag,
            "dirty_ranges": given.ledger.count_dirty(),
            "last_error": next(iter(given.line.errors), None),
        },
        "role": given.role.name,
        "journal": plain(given.journal.health()) if given.journal is not None else None,
        "journals": [dataclasses.asdict(place) for place in given.journals.places().values()],
        "quarantine": given.ledger.quarantine_counts(),
        "silent_meters": silent,
        "disk": {"free_bytes": free.free, "total_bytes": free.total},
        "jobs": run_documents(given, limit=10),
        "broker": broker_document(given.settings.broker, given.subscriber),
        "problems": not_ready(given),
    }


def not_ready(given: Services) -> list[str]:
    """Why the installation cannot do its work now; empty when it can."""
    problems = []
    for check in (given.store.check, given.ledger.check):
        try:
            check()
        except (StoreUnavailable, StoreDamaged, LedgerUnavailable) as error:
            problems.append(str(error))
    return problems + refusals(given.journal, given.home, given.settings)


class _Collector:
    """Turns the counters of the parts into metrics when they are asked for."""

    def __init__(self, given: Services) -> None:
        self.given = given

    def collect(self) -> Iterator[Metric]:
        given = self.given
        yield gauge("build_info", "Version of the program.", 1, {"version": version()})
        yield gauge(
            "projector_lag_messages",
            "Messages in the journal that are not in the store yet.",
            given.line.lag,
        )
        yield gauge("dirty_ranges", "Spans whose hours are to be made.", given.ledger.count_dirty())
        if given.journal is not None:
            yield from journal_metrics(given.journal)
        free = shutil.disk_usage(given.home.path).free
        yield gauge("disk_free_bytes", "Room on the disk of the home.", free)
        quarantine = GaugeMetricFamily(
            "tanyuan_quarantine_open", "What could not be read, by reason.", labels=["code"]
        )
        for code, count in sorted(given.ledger.quarantine_counts().items()):
            quarantine.add_metric([code], count)
        yield quarantine
        yield from door_metrics(given.listener, given.subscriber)
        if given.projector is not None:
            yield from counts("projector", given.projector.counts)
        if given.projecting is not None:
            yield from _projecting(given.projecting)
        if given.leading is not None:
            text = "1 in the process that makes hours and runs jobs, 0 in one that waits."
            yield gauge("leads", text, given.leading.leads)
        yield from _meters(given)


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
    yield from (lag, done, errors)


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
