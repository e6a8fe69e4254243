"""From one store into another, through the port, so that any two fit together.

Readings go month by month, hours subject by subject: neither is ever in memory as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias
from zoneinfo import ZoneInfo

import numpy as np

from metering.periods import Period
from metering.readings import Readings
from metering.store.port import ReadingStore, SeriesKind, Span

Progress: TypeAlias = Callable[[str, "Copied"], None]
"""Is told after every month and subject what was copied so far."""

BATCH = 240_000
"""Readings added at once."""

_UTC = ZoneInfo("UTC")
_EVER = Period(datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC))
_KINDS: tuple[SeriesKind, ...] = ("energy", "emissions")


@dataclass(slots=True)
class Copied:
    """How much was copied."""

    readings: int = 0
    superseded: int = 0
    hours: int = 0
    indicators: int = 0


def copy_store(
    source: ReadingStore, target: ReadingStore, progress: Progress | None = None
) -> Copied:
    """Copy all rows, superseded ones included, and all derived hours.

    What the target has stays; copying again changes nothing. Nothing may be written into the
    source meanwhile. The target has its own `store_id`: save the projector's position for it, or
    it begins at the journal's beginning, which changes nothing either but takes its time.

    Args:
        source: Is only read.
        target: Is written into.
        progress: Is told after every month and subject.

    Raises:
        StoreUnavailable: One of them did not answer; the same call may be made again.
    """
    copied = Copied()
    for month in _months_of_readings(source):
        copied.readings += _add(target, source.read(month))
        copied.superseded += _add(target, source.superseded(month))
        if progress:
            progress(str(month), copied)
    for kind in _KINDS:
        for subject in sorted({subject for subject, _ in source.quantities(kind)}):
            hours = source.series(kind, _EVER, subjects=[subject])
            target.replace(kind, hours, spans=[Span(subject, _EVER)])
            copied.hours += len(hours)
            if progress:
                progress(subject, copied)
    for year in range(2000, 2100):
        rows = source.indicators(Period.year(year, tz=_UTC))
        for start in range(0, len(rows), BATCH):
            target.put_indicators(rows[start : start + BATCH])
        copied.indicators += len(rows)
    return copied


def _months_of_readings(source: ReadingStore) -> Iterator[Period]:
    """The months, in UTC, in which any register may have readings, oldest first."""
    months: set[tuple[int, int]] = set()
    for each in source.summaries():
        at = each.first_read_at
        year, month = at.year, at.month
        while (year, month) <= (each.last_read_at.year, each.last_read_at.month):
            months.add((year, month))
            year, month = year + month // 12, month % 12 + 1
    for year, month in sorted(months):
        yield Period.month(year, month, tz=_UTC)


def _add(target: ReadingStore, rows: Readings) -> int:
    for start in range(0, len(rows), BATCH):
        target.add(rows.take(np.arange(start, min(start + BATCH, len(rows)))))
    return len(rows)
