"""From one store into another, through the port, so that any two fit together.

Readings go month by month and some meters at a time, hours subject by subject, indicators in spans
of time: none of them is ever in memory as a whole. What a piece holds is counted by the source
before it is read, because one wrong clock may spread a meter's readings over decades.
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
"""Is told after every piece and subject what was copied so far."""

BATCH = 240_000
"""Readings added at once."""

HELD = 2_000_000
"""So many readings are in memory at most, unless one meter has more of them in a month."""

HELD_INDICATORS = 240_000
"""So many indicators are, unless one instant has more of them."""

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
        progress: Is told after every piece of a month, every subject and every span of indicators.

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
    for span in _spans(source, _EVER):
        rows = source.indicators(span)
        target.put_indicators(rows)
        copied.indicators += len(rows)
        if progress:
            progress(str(span), copied)
    return copied


def _spans(source: ReadingStore, period: Period) -> Iterator[Period]:
    """The parts of a period that have indicators, halved until each can be held."""
    count = source.count_indicators(period)
    half = (period.end - period.start) // 2
    if count <= HELD_INDICATORS or not half:
        if count:
            yield period
        return
    middle = period.start + half
    yield from _spans(source, Period(period.start, middle))
    yield from _spans(source, Period(middle, period.end))


def _pieces(source: ReadingStore) -> Iterator[tuple[Period, list[str]]]:
    """Months in UTC, oldest first, and meters of which that month is no more than can be held."""
    summaries = source.summaries()
    if not summaries:
        return
    first = min(each.first_read_at for each in summaries)
    last = max(each.last_read_at for each in summaries)
    for month in range(12 * first.year + first.month - 1, 12 * last.year + last.month):
        whole = Period.month(month // 12, month % 12 + 1, tz=_UTC)
        part: list[str] = []
        held = 0
        for meter, count in sorted(source.count(whole).items()):
            if part and held + count > HELD:
                yield whole, part
                part, held = [], 0
            part.append(meter)
            held += count
        if part:
            yield whole, part


def _add(target: ReadingStore, rows: Readings) -> int:
    for start in range(0, len(rows), BATCH):
        target.add(rows.take(np.arange(start, min(start + BATCH, len(rows)))))
    return len(rows)
