"""From one store into another, through the port, so that any two fit together.

Readings go month by month and some meters at a time, hours subject by subject: neither is ever in
memory as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeAlias
from zoneinfo import ZoneInfo

import numpy as np

from metering.periods import Period
from metering.readings import Readings
from metering.store.port import ReadingStore, SeriesKind, Span

Progress: TypeAlias = Callable[[str, "Copied"], None]
"""Is told after every piece and subject what was copied so far."""

BATCH = 240_000
"""Readings added at once."""

HELD = 2_000_000
"""About so many readings are in memory, unless one meter has more of them in a month."""

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
        progress: Is told after every piece of a month and after every subject.

    Raises:
        StoreUnavailable: One of them did not answer; the same call may be made again.
    """
    copied = Copied()
    for month, meters in _pieces(source):
        copied.readings += _add(target, source.read(month, meters=meters))
        copied.superseded += _add(target, source.superseded(month, meters=meters))
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


def _pieces(source: ReadingStore) -> Iterator[tuple[Period, list[str]]]:
    """Months in UTC, oldest first, and meters of which that month is no more than can be held."""
    months: dict[tuple[int, int], dict[str, float]] = {}
    for each in source.summaries():
        days = max((each.last_read_at - each.first_read_at) / timedelta(days=1), 1.0)
        year, month = each.first_read_at.year, each.first_read_at.month
        while (year, month) <= (each.last_read_at.year, each.last_read_at.month):
            rows = months.setdefault((year, month), {})
            rows[each.meter] = rows.get(each.meter, 0.0) + min(31 / days, 1.0) * each.count
            year, month = year + month // 12, month % 12 + 1
    for (year, month), rows in sorted(months.items()):
        whole = Period.month(year, month, tz=_UTC)
        part: list[str] = []
        held = 0.0
        for meter, count in sorted(rows.items()):
            if part and held + count > HELD:
                yield whole, part
                part, held = [], 0.0
            part.append(meter)
            held += count
        yield whole, part


def _add(target: ReadingStore, rows: Readings) -> int:
    for start in range(0, len(rows), BATCH):
        target.add(rows.take(np.arange(start, min(start + BATCH, len(rows)))))
    return len(rows)
