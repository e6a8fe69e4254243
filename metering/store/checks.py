"""What every adapter refuses before it keeps anything: a caller's mistake, not bad data."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from metering.periods import Period, from_us, to_us
from metering.readings import Readings
from metering.series import Series
from metering.store.port import Span


def check_finite(batch: Readings) -> None:
    """Refuse readings that are not numbers; the projector keeps them in quarantine.

    Raises:
        ValueError: A value is NaN or infinite.
    """
    odd = np.flatnonzero(~np.isfinite(batch.value))
    if len(odd):
        i = odd[0]
        raise ValueError(
            f"Wanted finite readings, found {batch.value[i]} for "
            f"{batch.meters[batch.meter[i]]} {batch.registers[batch.register[i]]} at "
            f"{from_us(batch.read_at[i])} and {len(odd) - 1} more. "
            f"Set them aside before they are added."
        )


def check_inside(series: Series, spans: Sequence[Span]) -> None:
    """Refuse hours that replace nothing: their repetition would double them.

    Raises:
        ValueError: An hour lies in no span of its subject and quantity.
    """
    subjects_of: dict[tuple[Period, str | None], set[str]] = defaultdict(set)
    for span in spans:
        subjects_of[span.period, span.quantity].add(span.subject)
    outside = np.ones(len(series), np.bool_)
    for (period, quantity), subjects in subjects_of.items():
        member = np.array([name in subjects for name in series.subjects], np.bool_)
        meant = np.array([quantity in (None, name) for name in series.quantities], np.bool_)
        timely = (series.start >= to_us(period.start)) & (series.start < to_us(period.end))
        outside &= ~(timely & member[series.subject] & meant[series.quantity])
    if outside.any():
        i = int(np.flatnonzero(outside)[0])
        raise ValueError(
            f"Wanted hours inside the spans they replace, found "
            f"{series.subjects[series.subject[i]]} "
            f"{series.quantities[series.quantity[i]]} at {from_us(series.start[i])} and "
            f"{int(outside.sum()) - 1} more outside of {len(spans)} spans."
        )
