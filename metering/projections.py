"""Where a sum of days will end: days not known and days to come, valued by the days known so far.

A working day is expected to use what the known working days used on average, a day of the weekend
what the known ones of the weekend used. The band holds 90 % of the outcomes if the missing days
together differ from that by as much as one known week differs from the others; days that vary
independently of each other would stay closer. It knows no season, no holiday and no plan: a winter
is repeated until there are other days to repeat.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import fsum, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from metering.readings import Floats, Mask

MIN_KNOWN_DAYS: Final = 28
"""So many known days at least: four of every day of the week."""

MIN_KNOWN_SHARE: Final = 0.5
"""So much of the time gone by must be known, or the rest says too little about it."""

KNOWN_DAY: Final = 0.9
"""A day counts as known from this coverage on; its use is then value / coverage."""

MIN_DAYS_OF_A_KIND: Final = 7
"""With fewer known days of either kind all days are taken as one kind."""

QUANTILE: Final = 1.6449
"""Of the normal distribution, 95 %: 5 % lie above the band and 5 % below."""


@dataclass(frozen=True, slots=True)
class Projection:
    """An expected outcome and the band that holds 90 % of the outcomes."""

    value: float
    low: float
    high: float


def known_total(value: Floats) -> float | None:
    """The sum of what is known, exactly rounded; None if nothing is."""
    known = value[~np.isnan(value)]
    return fsum(known.tolist()) if len(known) else None


def projection_of(
    value: Floats, coverage: Floats, *, elapsed: int, weekend: Mask
) -> Projection | None:
    """Project the sum of all days from those known of the days gone by.

    Nothing known is replaced: the days missing, and the missing parts of days, are added.

    Args:
        value: Use of each day of the period; NaN where nothing is known. Shape (n,).
        coverage: Share of each day that is known. Shape (n,).
        elapsed: How many days have gone by; nothing is known of the others.
        weekend: Which days are Saturdays and Sundays. Shape (n,).

    Returns:
        None with fewer than MIN_KNOWN_DAYS known days or less than MIN_KNOWN_SHARE known. Where no
        day is missing, value, low and high are the sum.
    """
    known = (np.arange(len(value)) < elapsed) & ~np.isnan(value)
    covered = np.where(known, coverage, 0.0)
    missing = np.maximum(1.0 - covered, 0.0)
    used = known_total(np.where(known, value, np.nan))
    if used is not None and not missing.any():
        return Projection(used, used, used)
    whole = known & (covered >= KNOWN_DAY)
    enough = fsum(covered.tolist()) >= MIN_KNOWN_SHARE * elapsed
    if used is None or not enough or whole.sum() < MIN_KNOWN_DAYS:
        return None

    kind = weekend.astype(np.intp)
    if np.bincount(kind[whole], minlength=2).min() < MIN_DAYS_OF_A_KIND:
        kind = np.zeros(len(value), np.intp)
    rate = np.where(whole, value / np.where(whole, covered, 1.0), np.nan)
    mean = _means(rate, kind)
    expected = used + fsum((missing * mean[kind]).tolist())
    weeks = _variance_of_weeks((rate - mean[kind])[whole])
    lacking = fsum(missing.tolist())
    # a few days vary like days, many like whole weeks that keep to one side
    spread = QUANTILE * sqrt(weeks * lacking * max(lacking, 7.0))
    lowest = expected - spread
    if not (value[known] < 0).any():
        # what is used stays used, unless energy can flow back
        lowest = max(lowest, used)
    return Projection(expected, lowest, expected + spread)


def _means(rate: Floats, kind: NDArray[np.intp]) -> Floats:
    """The mean of each kind's known days. Shape (kinds,)."""
    found = [rate[(kind == each) & ~np.isnan(rate)] for each in range(int(kind.max()) + 1)]
    return np.array([fsum(days.tolist()) / len(days) for days in found])


def _variance_of_weeks(residual: Floats) -> float:
    """Of the mean of one more week: s² (1 + 1 / w), from the w known weeks.

    A week is seven known days one after the other, whatever day it begins on; unknown days between
    them are passed over, and what is left over at the end is left out.
    """
    weeks = len(residual) // 7
    means = [fsum(week) / 7 for week in residual[: weeks * 7].reshape(weeks, 7).tolist()]
    middle = fsum(means) / weeks
    squares = fsum((mean - middle) ** 2 for mean in means)
    return squares / (weeks - 1) * (1 + 1 / weeks)
