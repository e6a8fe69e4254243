"""How the installation is: status document, readiness, Prometheus metrics."""

from __future__ import annotations

import dataclasses
import shutil
from collections import Counter
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from api.answers import Document
from api.jobs import run_documents
from api.live import meter_documents
from api.services import Services
from api.version import version
from ingest.segments import JournalError
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
    projector = given.projector
    return {
        "version": version(),
        "home": str(given.home.path),
        "started_at": utc_text(given.started_at),
        "ready": not not_ready(given),
        "lag": {
            "messages": projector.lag,
            "dirty_ranges": given.ledger.count_dirty(),
            "last_error": given.line.last_error or projector.counts.last_error,
        },
        "journal": plain(given.journal.health()),
        "quarantine": given.ledger.quarantine_counts(),
        "silent_meters": silent,
        "disk": {"free_bytes": free.free, "total_bytes": free.total},
        "jobs": run_documents(given, limit=10),
        "broker": _broker(given),
        "problems": not_ready(given),
    }


def plain(value: object) -> object:
    """A dataclass as a plain document."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _broker(given: Services) -> Document | None:
    if given.subscriber is None:
        return None
    return {
        "url": given.settings.broker,
        "connected": given.subscriber.connected,
        "last_error": given.subscriber.last_error,
    }


def not_ready(given: Services) -> list[str]:
    """Why the installation cannot do its work now; empty when it can."""
    problems = []
    for check in (given.store.check, given.ledger.check):
        try:
            check()
        except (StoreUnavailable, StoreDamaged, LedgerUnavailable) as error:
            problems.append(str(error))
    try:
        health = given.journal.health()
    except (JournalError, OSError) as error:
        return [*problems, str(error)]
    free = shutil.disk_usage(given.home.path).free
    if free < given.settings.min_free_mb << 20:
        problems.append(
            f"Only {free >> 20} MiB are free under {given.home.path}; below "
            f"{given.settings.min_free_mb} MiB (TANYUAN_MIN_FREE_MB) nothing more is accepted. "
            "Make room or move sealed segments to an archive."
        )
    error_text = getattr(health, "last_error", None)
    if error_text:
        problems.append(f"Journal: {error_text}")
    return problems


class _Collector:
    """Turns the counters of the parts into metrics when they are asked for."""

    def __init__(self, given: Services) -> None:
        self.given = given

    def collect(self) -> Iterator[Metric]:
        given = self.given
        yield _gauge("build_info", "Version of the program.", 1, {"version": version()})
        yield _gauge(
            "projector_lag_messages",
            "Messages in the journal that are not in the store yet.",
            given.projector.lag,
        )
        yield _gauge(
            "dirty_ranges", "Spans whose hours are to be made.", given.ledger.count_dirty()
        )
        health = given.journal.health()
        if health.days_left is not None:
            text = "Until the disk is full at the present pace."
            yield _gauge("journal_days_left", text, health.days_left)
        yield _gauge("journal_bytes", "Size of the journal on disk.", health.disk_bytes)
        free = shutil.disk_usage(given.home.path).free
        yield _gauge("disk_free_bytes", "Room on the disk of the home.", free)
        quarantine = GaugeMetricFamily(
            "tanyuan_quarantine_open", "What could not be read, by reason.", labels=["code"]
        )
        for code, count in sorted(given.ledger.quarantine_counts().items()):
            quarantine.add_metric([code], count)
        yield quarantine
        if given.listener is not None:
            yield from _counts("listener", given.listener.counts)
        if given.subscriber is not None:
            yield from _counts("subscriber", given.subscriber.counts)
            yield _gauge("subscriber_connected", "1 while connected.", given.subscriber.connected)
        yield from _counts("projector", given.projector.counts)
        yield from _meters(given)


def _gauge(
    name: str, text: str, value: float, labels: dict[str, str] | None = None
) -> GaugeMetricFamily:
    labels = labels or {}
    family = GaugeMetricFamily(f"tanyuan_{name}", text, labels=list(labels))
    family.add_metric(list(labels.values()), float(value))
    return family


_GAUGES = {"open_now", "lag", "position"}
"""Counters' fields that go down too."""


def _counts(part: str, counts: object) -> Iterator[Metric]:
    """Every number of a counter dataclass as a metric."""
    for each in dataclasses.fields(counts):  # type: ignore[arg-type]
        value = getattr(counts, each.name)
        if isinstance(value, Counter):
            labelled = CounterMetricFamily(
                f"tanyuan_{part}_{each.name}", f"{part}: {each.name}, by kind.", labels=["kind"]
            )
            for kind, count in sorted(value.items()):
                labelled.add_metric([kind], count)
            yield labelled
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        kind = GaugeMetricFamily if each.name in _GAUGES else CounterMetricFamily
        family = kind(f"tanyuan_{part}_{each.name}", f"{part}: {each.name}.")
        family.add_metric([], value)
        yield family


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
