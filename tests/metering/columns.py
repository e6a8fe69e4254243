"""Small readings for tests of the calculations, written as rows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np

from metering.periods import to_us
from metering.readings import Flag
from metering.registers import RegisterColumns

START = datetime(2024, 1, 1, tzinfo=UTC)


def register_columns(
    hours: Sequence[float],
    values: Sequence[float],
    *,
    capacity: float = np.nan,
    multiplier: float = 1.0,
    max_rate: float = np.nan,
    flags: Sequence[Flag] | None = None,
    segment: Sequence[int] | None = None,
    stream: Sequence[int] | None = None,
    interval: bool = False,
) -> RegisterColumns:
    """One register read so many hours after `START`."""
    size = len(values)
    micro = np.array([round(hour * 3_600_000_000) for hour in hours], "timedelta64[us]")
    return RegisterColumns(
        stream=np.array(stream if stream is not None else [0] * size, np.int32),
        segment=np.array(segment if segment is not None else [0] * size, np.int32),
        read_at=to_us(START) + micro,
        value=np.array(values, np.float64),
        flags=np.array([int(f) for f in flags] if flags else [0] * size, np.int32),
        capacity=np.full(size, capacity),
        multiplier=np.full(size, multiplier),
        max_rate=np.full(size, max_rate),
        interval=np.full(size, interval),
    )
