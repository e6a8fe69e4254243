"""How a journal and its doors are: why nothing more is accepted, and their metrics."""

from __future__ import annotations

import dataclasses
import shutil
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from api.answers import Document
from api.home import Home
from api.settings import Settings
from ingest.journal import Journal
from ingest.listener import Listener
from ingest.segments import JournalError

if TYPE_CHECKING:
    from ingest.subscriber import Subscriber


def plain(value: object) -> object:
    """A dataclass as a plain document."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def refusals(journal: Journal | None, home: Home, settings: Settings) -> list[str]:
    """Why nothing more is accepted; empty while messages are."""
    if journal is None:
        return []
    try:
        health = journal.health()
    except (JournalError, OSError) as error:
        return [str(error)]
    problems = []
    free = shutil.disk_usage(home.path).free
    if free < settings.min_free_mb << 20:
        problems.append(
            f"Only {free >> 20} MiB are free under {home.path}; below "
            f"{settings.min_free_mb} MiB (TANYUAN_MIN_FREE_MB) nothing more is accepted. "
            "Make room or move sealed segments to an archive."
        )
    if health.last_error:
        problems.append(f"Journal: {health.last_error}")
    return problems


def broker_document(broker: str | None, subscriber: Subscriber | None) -> Document | None:
    """The connection to the broker, if there is to be one."""
    if subscriber is None:
        return None
    return {
        "url": broker,
        "connected": subscriber.connected,
        "last_error": subscriber.last_error,
    }


def journal_metrics(journal: Journal) -> Iterator[Metric]:
    """Size, pace and room of a journal."""
    health = journal.health()
    if health.days_left is not None:
        text = "Until the disk is full at the present pace."
        yield gauge("journal_days_left", text, health.days_left)
    yield gauge("journal_bytes", "Size of the journal on disk.", health.disk_bytes)
    yield gauge("journal_last_sequence", "Messages ever accepted.", health.last_sequence)
    text = "Batches the journal refused since the start."
    yield gauge("journal_refused_batches", text, health.refused_batches)


def disk_metric(home: Home) -> Metric:
    """Room for the journal and everything else of a home."""
    free = shutil.disk_usage(home.path).free
    return gauge("disk_free_bytes", "Room on the disk of the home.", free)


def door_metrics(listener: Listener | None, subscriber: Subscriber | None) -> Iterator[Metric]:
    """What came through the doors."""
    if listener is not None:
        yield from counts("listener", listener.counts)
    if subscriber is not None:
        yield from counts("subscriber", subscriber.counts)
        yield gauge("subscriber_connected", "1 while connected.", subscriber.connected)


def gauge(
    name: str, text: str, value: float, labels: dict[str, str] | None = None
) -> GaugeMetricFamily:
    """One number."""
    labels = labels or {}
    family = GaugeMetricFamily(f"tanyuan_{name}", text, labels=list(labels))
    family.add_metric(list(labels.values()), float(value))
    return family


_GAUGES = {"open_now", "lag", "position", "ahead"}
"""Counters' fields that go down too."""


def counts(part: str, counted: object) -> Iterator[Metric]:
    """Every number of a counter dataclass as a metric."""
    for each in dataclasses.fields(counted):  # type: ignore[arg-type]
        value = getattr(counted, each.name)
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
