"""Which factor counts in each hour of a column of hours."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from carbon.factors import (
    EmissionFactor,
    FactorSeries,
    Floats,
    Times,
)
from carbon.registry import FactorNotFound, Registry
from metering.periods import from_us, local_day, midnight, to_us

HOUR = np.timedelta64(1, "h")


@dataclass(frozen=True, slots=True, eq=False)
class ResolvedFactors:
    """One factor for each hour, as columns of shape (n,)."""

    value: Floats
    """In the unit of the row's own factor; NaN where there is none."""
    factor: NDArray[np.int32]
    """Index into `factors`; -1 where there is none."""
    factors: tuple[EmissionFactor, ...]
    provisional: NDArray[np.bool_]
    """An earlier value stands in for one that is not published yet."""
    reasons: tuple[str, ...]
    """Why some hours have no factor, or only a provisional one."""

    @classmethod
    def none(cls, hours: int, reason: str) -> ResolvedFactors:
        """Return a column without any factor, and why."""
        return cls(
            np.full(hours, np.nan),
            np.full(hours, -1, dtype=np.int32),
            (),
            np.zeros(hours, dtype=np.bool_),
            (reason,),
        )


def resolve(
    registry: Registry,
    key: str,
    region: str | None,
    hour_starts: Times,
    *,
    tz: ZoneInfo,
    known_by: date | None = None,
    provisional: bool = False,
    width: np.timedelta64 = HOUR,
) -> ResolvedFactors:
    """Find the factor of every hour; days and years are those of the site.

    A version counts from one local midnight to another, so the lookup is made
    once for each stretch between two such midnights. A series that changes
    inside an hour counts with its mean over the hour.

    Args:
        registry: Where the factors are.
        key: What is wanted, such as electricity.grid.location.
        region: The site's region, or None.
        hour_starts: UTC, datetime64, in any order. Shape (n,).
        tz: The site's zone, which decides where a data year begins.
        known_by: Use only what was published by this day; None uses everything.
        provisional: Let the newest earlier value stand in for later years.
        width: How long each row is.
    """
    starts = hour_starts.astype("datetime64[us]")
    value = np.full(len(starts), np.nan)
    index = np.full(len(starts), -1, dtype=np.int32)
    stands_in = np.zeros(len(starts), dtype=np.bool_)
    factors: dict[EmissionFactor, int] = {}
    reasons: dict[str, None] = {}
    for rows in _stretches(starts, _midnights(registry.versions(key), tz)):
        on = local_day(from_us(starts[rows].min()), tz=tz)
        try:
            found = registry.at(key, region, on=on, known_by=known_by, provisional=provisional)
        except FactorNotFound as problem:
            reasons[str(problem)] = None
            continue
        factor = found.factor
        number = factors.setdefault(factor, len(factors))
        if factor.series is None:
            value[rows], index[rows], stands_in[rows] = factor.value, number, found.provisional
            if found.provisional:
                reasons[_stand_in(factor, on)] = None
        else:
            value[rows], held = _series_values(factor, starts[rows], width)
            index[rows] = np.where(np.isnan(value[rows]), -1, number)
            stands_in[rows] = held
            reasons.update(dict.fromkeys(_series_reasons(factor, value[rows], held)))
    return ResolvedFactors(value, index, tuple(factors), stands_in, tuple(reasons))


def _midnights(versions: Iterable[EmissionFactor], tz: ZoneInfo) -> Times:
    """Return the local midnights at which another version may begin to count, in UTC."""
    days = {f.valid_from for f in versions} | {f.valid_until for f in versions if f.valid_until}
    return np.array([to_us(midnight(day, tz=tz)) for day in sorted(days)], "datetime64[us]")


def _stretches(starts: Times, midnights: Times) -> list[NDArray[np.intp]]:
    """Return the rows of each stretch that has any, earliest stretch first."""
    stretch = np.searchsorted(midnights, starts, side="right")
    return [np.flatnonzero(stretch == s) for s in np.unique(stretch)]


def _stand_in(factor: EmissionFactor, on: date) -> str:
    return (
        f"No {factor.key!r} for {factor.region or 'any region'} on {on} yet; "
        f"{factor.id}, the newest there is, stands in for it (provisional)."
    )


def _series_reasons(factor: EmissionFactor, value: Floats, held: NDArray[np.bool_]) -> list[str]:
    series, reasons = factor.series, []
    assert series is not None
    if np.isnan(value).any():
        reasons.append(
            f"Factor {factor.id} has values from {series.starts[0]}Z to {series.trusted_until}Z "
            f"only, as {series.file} gives them. Add the missing rows there."
        )
    if held.any():
        reasons.append(
            f"{series.file} of factor {factor.id} ends at {series.starts[-1]}Z; its last value "
            "is held until the version ends (provisional). Add the later rows."
        )
    return reasons


def _series_values(
    factor: EmissionFactor, starts: Times, width: np.timedelta64
) -> tuple[Floats, NDArray[np.bool_]]:
    """Return each row's value, NaN where there is none, and where the last one is only held.

    The last value holds for the longest step of the series. After that it is held, and
    flagged, until the version ends; a version without an end holds nothing.
    """
    series = factor.series
    assert series is not None
    at_start = np.searchsorted(series.starts, starts, side="right") - 1
    at_end = np.searchsorted(series.starts, starts + width, side="left") - 1
    value = np.where(at_start >= 0, series.values[np.maximum(at_start, 0)], np.nan)
    changes = (at_start >= 0) & (at_end > at_start)
    if changes.any():
        value[changes] = _means(series, starts[changes], width)
    late = starts + width > series.trusted_until
    if factor.valid_until is None:
        value[late] = np.nan
        return value, np.zeros_like(late)
    return value, late


def _means(series: FactorSeries, starts: Times, width: np.timedelta64) -> Floats:
    """Return the mean of a step function over each row, weighted by time."""
    origin = series.starts[0]
    seconds = (series.starts - origin) / np.timedelta64(1, "s")
    area = np.concatenate([[0.0], np.cumsum(series.values[:-1] * np.diff(seconds))])

    def area_until(instants: Times) -> Floats:
        at = (instants - origin) / np.timedelta64(1, "s")
        step = np.searchsorted(seconds, at, side="right") - 1
        until: Floats = area[step] + series.values[step] * (at - seconds[step])
        return until

    means: Floats = (area_until(starts + width) - area_until(starts)) / (
        width / np.timedelta64(1, "s")
    )
    return means
