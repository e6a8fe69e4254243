"""Electric power at a moment: what the boundary meters show, else the mean of their last minutes.

A meter that shows its power is believed for `POWER_AGE`. Of any other the energy registers say what
passed on average since a reading at least `MEAN_OVER` before the last one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from api.answers import Document
from api.figures import Figures
from metering.energy import Recipe, scope_recipe
from metering.periods import HOUR_US, Period, to_us, utc_text
from metering.readings import SET_ASIDE, Flag, Floats
from metering.registers import Increments, increments
from metering.sites import BoundaryPoint, MeterPoint

POWER = "active_power"

POWER_AGE = timedelta(hours=1)
"""A power older than this is not the power now."""

MEAN_OVER = timedelta(minutes=5)
"""The mean of a register is taken over as much time at least, so that its last digit is small."""

MEAN_AGE = 2.0
"""A mean is the power now until it is older than so many of its own lengths and `POWER_AGE`."""

NOT_AHEAD = timedelta(0)

_TICK = timedelta(microseconds=1)
"""Makes the end of a half-open period part of it."""

MEAN_LIMIT = timedelta(hours=3)
"""What passed in a longer time than this does not tell the power now."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of the power of points at a moment, in kW."""

    shown: Mapping[str, float]
    """Net power by point, as its meter shows it, after the multiplier."""
    means: Mapping[tuple[str, str], float]
    """Mean rate by point and register, after the multiplier."""


def power_document(figures: Figures, moment: datetime, *, ahead: timedelta = NOT_AHEAD) -> Document:
    """The power of the site and of each building, in kW.

    Args:
        figures: Of the site.
        moment: As of then.
        ahead: How much later than the moment a reading may say it was taken: `latest.AHEAD` where
            the moment is now, for the meters whose clocks are a little ahead of ours.
    """
    site = figures.site
    whole = site.boundary("electricity")
    parts = {b.id: site.boundary("electricity", b.id) for b in site.buildings}
    points = {each.point.id: each.point for found in (whole, *parts.values()) for each in found}
    known = _known(figures, list(points.values()), moment, moment + ahead)
    return {
        "at": utc_text(moment),
        "site": _sum(figures, whole, known),
        "buildings": {name: _sum(figures, found, known) for name, found in parts.items()},
    }


def _sum(figures: Figures, boundary: tuple[BoundaryPoint, ...], known: _Known) -> Document:
    """The power of a scope: import + own generation - export - into storage.

    `meters` of `of` points are known; `averaged` of them by their energy registers.
    """
    recipe = scope_recipe("electricity", boundary, figures.registers())
    total, count, averaged = 0.0, 0, 0
    for each in boundary:
        shown = known.shown.get(each.point.id)
        power = None if shown is None else shown * each.sign
        if power is None and recipe is not None:
            power = _mean(recipe, each.point, known)
            averaged += power is not None
        if power is not None:
            total += power
            count += 1
    return {
        "value": total if count else None,
        "meters": count,
        "of": len(boundary),
        "averaged": averaged,
    }


def _mean(recipe: Recipe, point: MeterPoint, known: _Known) -> float | None:
    """What passed at a point on average; None if one of its registers is not known."""
    total = 0.0
    for term in recipe.terms:
        if term.point.id == point.id:
            for register in term.registers:
                rate = known.means.get((point.id, register))
                if rate is None:
                    return None
                total += rate * term.ratio
    return total


def _known(figures: Figures, points: list[MeterPoint], moment: datetime, until: datetime) -> _Known:
    shown = _shown(figures, points, moment, until)
    rest = [point for point in points if point.id not in shown]
    return _Known(shown, _means(figures, rest, moment, until))


def _shown(
    figures: Figures, points: Iterable[MeterPoint], moment: datetime, until: datetime
) -> dict[str, float]:
    """The power each point's meter shows, after the multiplier."""
    site = figures.site
    serving = {}
    for point in points:
        meter = point.meter_at(moment)
        if meter is not None:
            serving[site.meter_key(meter.serial)] = (point, meter)
    recent = figures.store.read(
        Period(moment - POWER_AGE, until + _TICK), meters=sorted(serving), registers=[POWER]
    )
    found = {}
    for code in np.unique(recent.meter):
        mine = (recent.meter == code) & ((recent.flags & int(SET_ASIDE)) == 0)
        if mine.any():
            point, meter = serving[recent.meters[code]]
            found[point.id] = float(recent.value[mine][-1]) * meter.multiplier
    return found


def _means(
    figures: Figures, points: list[MeterPoint], moment: datetime, until: datetime
) -> dict[tuple[str, str], float]:
    """The mean rate of each energy register over the last minutes, by point and register."""
    if not points:
        return {}
    _, streams = figures.streams(points, Period(moment - MEAN_LIMIT, until + _TICK))
    steps, _ = increments(streams.rows)
    found = {}
    for number, name in enumerate(zip(streams.points, streams.registers, strict=True)):
        mine = np.flatnonzero((steps.stream == number) & (steps.end <= to_us(until)))
        rate = _last_rate(steps, mine, moment)
        if rate is not None:
            found[(name[0].id, name[1])] = rate
    return found


def _last_rate(steps: Increments, mine: NDArray[np.intp], moment: datetime) -> float | None:
    """The mean rate of the last increments that together are long enough, per hour."""
    if not len(mine):
        return None
    last = steps.end[mine[-1]]
    length = (last - steps.start[mine]).astype(np.int64)
    enough = np.flatnonzero(length >= MEAN_OVER // timedelta(microseconds=1))
    first = int(enough[-1]) if len(enough) else 0
    span_us = int(length[first])
    amount: Floats = steps.amount[mine[first:]]
    age_us = int((to_us(moment) - last).astype(np.int64))
    allowed_us = max(POWER_AGE // timedelta(microseconds=1), MEAN_AGE * span_us)
    long = span_us > MEAN_LIMIT // timedelta(microseconds=1)
    gap = bool((steps.flags[mine[first:]] & int(Flag.GAP)).any())
    if long or gap or age_us > allowed_us or span_us == 0 or np.isnan(amount).any():
        return None
    return float(amount.sum()) / span_us * HOUR_US
