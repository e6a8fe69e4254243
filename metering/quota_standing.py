"""What is known of a period at the end of a day: the use so far, its shares and where it will end.

Days are a site's own; the shares are weighted by time, the expected share counts days.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from math import fsum
from zoneinfo import ZoneInfo

import numpy as np

from metering.intervals import Rows
from metering.periods import Period, edges, from_us, local_day, midnight, to_us
from metering.projections import Projection, known_total, projection_of


class RowsMismatch(ValueError):
    """The rows are not the days of the quota's period."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a period at the end of a day, in the unit of the rows."""

    days: str
    """The days gone by, in words."""
    total: float | None
    coverage: float
    measured: float
    expected_share: float
    projection: Projection | None
    flows_back: bool
    """Whether a day's use was negative: then use can be made up for."""
    elapsed: Period


def standing_of(rows: Rows | None, period: Period, *, tz: ZoneInfo, on: date) -> Standing:
    """What is known of a period at the end of a site day.

    Args:
        rows: The days of the period; None: nothing is known. What they hold after `on` is not used.
        period: Begins on that day or before.
        tz: The site's.
        on: The site day, itself included.

    Raises:
        RowsMismatch: The rows are not the days of the period.
    """
    marks = edges(period, "day", tz=tz)
    rows = Rows.unknown(marks) if rows is None else rows
    if not np.array_equal(rows.edges, marks):
        raise RowsMismatch(
            f"Wanted the days of {period} in {tz}, found {len(rows.value)} rows from "
            f"{rows.edges[0]} to {rows.edges[-1]}; ask for the days of the quota's period."
        )
    size = len(rows.value)
    stop = to_us(midnight(on + timedelta(days=1), tz=tz))
    elapsed = min(int(np.searchsorted(marks, stop, side="right")) - 1, size)
    first = local_day(period.start, tz=tz)
    weekend = (first.weekday() + np.arange(size)) % 7 >= 5
    value = np.where(np.arange(size) < elapsed, rows.value, np.nan)
    # where no amount is known nothing counts as covered, whatever the row says
    coverage = np.where(np.isnan(value), 0.0, rows.coverage)
    measured = np.where(np.isnan(value), 0.0, rows.measured)
    seconds = np.diff(marks).astype(np.int64)[:elapsed] / 1e6
    return Standing(
        days=f"{first} to {first + timedelta(days=elapsed - 1)}",
        total=known_total(value),
        coverage=fsum((coverage[:elapsed] * seconds).tolist()) / fsum(seconds.tolist()),
        measured=fsum((measured[:elapsed] * seconds).tolist()) / fsum(seconds.tolist()),
        expected_share=elapsed / size,
        projection=projection_of(value, coverage, elapsed=elapsed, weekend=weekend),
        flows_back=bool((value < 0).any()),
        elapsed=Period(period.start, from_us(marks[elapsed])),
    )
