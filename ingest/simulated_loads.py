"""What the circuits and pipes of the made-up park carry: shapes over a made-up year.

Everything is computed on columns with one value for each quarter hour of the year, and is a
function of the seed alone. The numbers are believable, not measured: no figure of a real building
may be judged by them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final
from zlib import crc32

import numpy as np
from numpy.random import Generator

from metering.periods import Period, local_day
from metering.readings import Floats, Mask
from metering.sites import Site

STEP: Final = timedelta(minutes=15)
"""The length of a step of the simulation."""
STEPS_A_DAY: Final = 96
STEPS_AN_HOUR: Final = 4

LATITUDE: Final = 39.9
SOLAR_LAG_H: Final = (120.0 - 116.4) / 15
"""Beijing lies 3.6° west of the meridian of its clock; the sun is 15° an hour. [h]"""


class UnknownShape(LookupError):
    """A load is given by a shape that does not exist, or with a number it does not take."""


@dataclass(frozen=True, slots=True, eq=False)
class Surroundings:
    """The made-up year around the loads; one value for each step, at its middle. Shape (n,)."""

    hour: Floats
    """Of the local day."""
    day: Floats
    """Since the year began, with its fraction."""
    working: Mask
    air_c: Floats
    sun: Floats
    """Sine of the sun's height; 0 at night. [1]"""
    clear: Floats
    """Share of the sun that the clouds let through. [1]"""
    heating: Mask
    """Whether it lies in the heating season."""

    def __len__(self) -> int:
        return len(self.hour)


Shape = Callable[..., Floats]
"""Surroundings and keyword numbers -> kW or m³/h at each step."""


def generator(seed: int, name: str) -> Generator:
    """The random numbers of one part of the park; they do not depend on any other part."""
    return np.random.default_rng([seed, crc32(name.encode())])


def surroundings(
    site: Site,
    period: Period,
    *,
    holidays: Collection[date],
    make_up_days: Collection[date],
    seed: int,
) -> Surroundings:
    """Make the year the loads live in.

    Args:
        site: Its time zone, without clock changes, and its heating season.
        period: Whole site days.
        holidays: Days without work that are no Saturday or Sunday by themselves.
        make_up_days: Saturdays and Sundays on which people work for a holiday.
        seed: Of the random numbers.
    """
    rng = generator(seed, "weather")
    first = local_day(period.start, tz=site.timezone)
    days = round(period.seconds / 86_400)
    dates = [first + timedelta(days=number) for number in range(days)]
    middle = np.arange(days * STEPS_A_DAY) + 0.5
    hour = middle % STEPS_A_DAY / STEPS_AN_HOUR
    day = middle / STEPS_A_DAY
    works = [(d.weekday() < 5 and d not in holidays) or d in make_up_days for d in dates]
    return Surroundings(
        hour=hour,
        day=day,
        working=np.repeat(np.array(works), STEPS_A_DAY),
        air_c=_air(hour, day, _wandering(rng, days, spread=3.0)),
        sun=_sun(hour, day),
        clear=_clear(rng, days),
        heating=np.repeat(_heated(site, dates), STEPS_A_DAY),
    )


def _heated(site: Site, dates: list[date]) -> Mask:
    if site.heating_season is None:
        return np.zeros(len(dates), bool)
    seasons = [site.heating_season.days(year) for year in (dates[0].year - 1, dates[0].year)]
    return np.array([any(start <= day < until for start, until in seasons) for day in dates])


def _wandering(rng: Generator, days: int, *, spread: float) -> Floats:
    """Warm and cold spells: a daily deviation that remembers the day before. One more than days."""
    found = np.empty(days + 1)
    state = 0.0
    for number, shock in enumerate(rng.normal(0.0, spread * 0.7, days + 1)):
        state = found[number] = 0.7 * state + shock
    return found


def _air(hour: Floats, day: Floats, spells: Floats) -> Floats:
    season = 12.5 - 15.0 * np.cos(2 * np.pi * (day - 18.0) / 365.25)
    daily = 4.5 * np.cos(2 * np.pi * (hour - 15.0) / 24)
    return season + daily + np.interp(day, np.arange(len(spells)), spells)


def _sun(hour: Floats, day: Floats) -> Floats:
    declination = np.radians(-23.45) * np.cos(2 * np.pi * (day + 10) / 365.25)
    angle = np.radians(15.0 * (hour - SOLAR_LAG_H - 12.0))
    latitude = np.radians(LATITUDE)
    height = np.sin(latitude) * np.sin(declination)
    height = height + np.cos(latitude) * np.cos(declination) * np.cos(angle)
    above: Floats = np.maximum(height, 0.0)
    return above


def _clear(rng: Generator, days: int) -> Floats:
    daily = np.repeat(rng.beta(3.0, 1.5, days), STEPS_A_DAY)
    return np.clip(daily * (1 + rng.normal(0.0, 0.08, days * STEPS_A_DAY)), 0.05, 1.0)


def _ramp(hour: Floats, marks: tuple[float, ...], levels: tuple[float, ...]) -> Floats:
    return np.interp(hour, marks, levels)


def _occupied(around: Surroundings, idle: float) -> Floats:
    """How full an office is: arrival, lunch, evening; `idle` on days without work."""
    full = _ramp(
        around.hour,
        (0, 6.5, 9, 11.8, 12.6, 13.5, 17.5, 20, 22, 24),
        (0.05, 0.05, 1, 1, 0.8, 1, 0.95, 0.35, 0.1, 0.05),
    )
    return np.where(around.working, full, idle * full)


def office(around: Surroundings, *, base: float, peak: float, idle: float = 0.18) -> Floats:
    """Follows the people of an office."""
    return base + (peak - base) * _occupied(around, idle)


def steady(around: Surroundings, *, level: float, growth: float = 0.0) -> Floats:
    """Runs all the time, such as servers; `growth` is a share over the year."""
    return level * (1 + growth * around.day / 365)


def guests(around: Surroundings, *, base: float, peak: float) -> Floats:
    """Follows the guests of a hotel: mornings, long evenings, fuller in summer."""
    use = _ramp(
        around.hour,
        (0, 1, 5, 7.5, 9.5, 12, 16, 19, 22, 24),
        (0.5, 0.25, 0.2, 0.85, 0.6, 0.4, 0.4, 0.9, 1, 0.5),
    )
    season = 0.82 - 0.16 * np.cos(2 * np.pi * (around.day - 15) / 365)
    return base + (peak - base) * use * season


def meals(around: Surroundings, *, base: float, peak: float, idle: float = 1.0) -> Floats:
    """Three meals a day; `idle` is the share on days without work."""
    use = _ramp(
        around.hour,
        (0, 5, 6.5, 8, 9, 10, 11.5, 13, 14, 16.5, 18, 19.5, 21, 24),
        (0, 0, 0.5, 0.4, 0.15, 0.5, 1, 0.8, 0.15, 0.3, 0.8, 0.5, 0, 0),
    )
    return base + (peak - base) * use * np.where(around.working, 1.0, idle)


def cooling(
    around: Surroundings,
    *,
    base: float,
    peak: float,
    from_c: float = 20.0,
    always: float = 0.0,
    idle: float = 0.18,
) -> Floats:
    """Follows the outdoor air and the people; `always` is the share without people."""
    heat = np.clip((around.air_c - from_c) / 14.0, 0.0, 1.0)
    return base + (peak - base) * heat * (always + (1 - always) * _occupied(around, idle))


def heating(around: Surroundings, *, peak: float, setback: float = 0.75) -> Floats:
    """Follows the outdoor air in the heating season, lower at night."""
    need = np.clip((19.0 - around.air_c) / 29.0, 0.05, 1.0)
    night = np.where((around.hour < 5.5) | (around.hour > 21.5), setback, 1.0)
    return np.where(around.heating, peak * need * night, 0.0)


def season(around: Surroundings, *, heated: float, other: float) -> Floats:
    """One level in the heating season, another outside it."""
    return np.where(around.heating, heated, other)


def darkness(around: Surroundings, *, level: float) -> Floats:
    """Lamps that burn while the sun is down."""
    return np.where(around.sun <= 0.0, level, 0.0)


def charging(around: Surroundings, *, peak: float) -> Floats:
    """Cars that arrive in the morning and in the evening."""
    marks = (0, 2, 7, 9, 12, 15, 18, 20, 23, 24)
    use = _ramp(around.hour, marks, (0.3, 0.1, 0.1, 0.9, 0.5, 0.4, 0.5, 0.8, 0.5, 0.3))
    return peak * use * np.where(around.working, 1.0, 0.5)


def solar(around: Surroundings, *, peak: float) -> Floats:
    """Photovoltaics; warm modules give less."""
    warm = 1.0 - 0.004 * np.maximum(around.air_c - 15.0, 0.0)
    return 0.95 * peak * around.sun**1.15 * around.clear * warm


SHAPES: Final[Mapping[str, Shape]] = {
    shape.__name__: shape
    for shape in (
        office, steady, guests, meals, cooling, heating, season, darkness, charging, solar,
    )
}  # fmt: skip
"""Every shape a load can have, by its name in loads.yaml."""


def load_of(
    parts: list[Mapping[str, Any]], around: Surroundings, rng: Generator, *, noise: float = 0.05
) -> Floats:
    """Add up the shapes of one load and let it breathe.

    Args:
        parts: `shape` and its numbers, each.
        around: The year.
        rng: The random numbers of this load.
        noise: Spread from step to step; from day to day it is two thirds of that. [1]

    Returns:
        kW or m³/h at each step, never negative.

    Raises:
        UnknownShape: There is no such shape, or it takes no such number.
    """
    total = np.zeros(len(around))
    for part in parts:
        numbers = {key: value for key, value in part.items() if key != "shape"}
        name = str(part.get("shape"))
        if name not in SHAPES:
            raise UnknownShape(f"Wanted one of {', '.join(SHAPES)} as a shape, found {name!r}.")
        try:
            total += SHAPES[name](around, **numbers)
        except TypeError as error:
            raise UnknownShape(f"Shape {name!r} does not fit {numbers}: {error}.") from None
    days = len(around) // STEPS_A_DAY
    daily = np.repeat(rng.normal(1.0, noise * 2 / 3, days), STEPS_A_DAY)
    return np.maximum(total * daily * (1 + rng.normal(0.0, noise, len(around))), 0.0)
