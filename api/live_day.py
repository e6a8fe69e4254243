"""The site's day so far: energy beside the usual day, emissions, quotas; park and buildings.

The usual day is the mean of the last `USUAL_DAYS` days of the same kind (working day or weekend)
that are known nearly whole, hour by hour on the site's clock. Today is held against the same share
of every hour as is known of it today, so that a late reading makes neither a saving nor an excess.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np

from api.answers import Document, factor_document
from api.figures import Figures, Scope
from api.quota_answers import quota_document
from carbon.factors import EmissionFactor
from metering.intervals import Rows
from metering.periods import Period, from_us, local_day, midnight, to_us, utc_text
from metering.readings import Floats, flag_names
from metering.sites import Site

USUAL_DAYS = 4
"""So many days make a usual one, if there are as many among the last `LOOK_BACK_DAYS`."""

LOOK_BACK_DAYS = 28

KNOWN_DAY = 0.9
"""A day of the past counts as known from this coverage on."""

COMPARABLE = 0.5
"""So much of today must be known before it is held against the usual day."""


@dataclass(frozen=True, slots=True)
class _Day:
    """One site day and the part of it that is over."""

    site: Site
    day: date
    moment: datetime

    @property
    def whole(self) -> Period:
        return Period.days(self.day, self.day + timedelta(days=1), tz=self.site.timezone)

    @property
    def before(self) -> Period:
        first = midnight(self.day - timedelta(days=LOOK_BACK_DAYS), tz=self.site.timezone)
        return Period(first, self.whole.start)

    def alike(self, other: date) -> bool:
        """Whether another day is of the same kind."""
        return (other.weekday() >= 5) == (self.day.weekday() >= 5)

    def over(self, rows: Rows) -> Floats:
        """How much of each interval is over at the moment, from 0 to 1."""
        start, end = rows.edges[:-1], rows.edges[1:]
        passed = (to_us(self.moment) - start).astype(np.int64)
        return np.clip(passed / (end - start).astype(np.int64), 0.0, 1.0)


def day_document(figures: Figures, moment: datetime) -> Document:
    """The day so far: `today` and `hours` of the site, `buildings`, emissions and quotas.

    Midnight itself is the end of the day before it, as a reading taken then is.
    """
    site = figures.site
    last = moment - timedelta(microseconds=1)
    day = _Day(site, local_day(last, tz=site.timezone), moment)
    _gather(figures, day)
    today, hours = _use(figures, Scope(), day)
    return {
        "at": utc_text(moment),
        "day": day.day.isoformat(),
        "today": today,
        "hours": hours,
        **_emissions(figures, day),
        "quotas": quota_document(figures, day.day)["quotas"],
        "buildings": [
            {"id": building.id, "name": building.name, "use": building.use}
            | _use(figures, Scope(building=building.id), day)[0]
            for building in site.buildings
        ],
    }


def _gather(figures: Figures, day: _Day) -> None:
    """Read the hours that site and buildings are made of at once."""
    site = figures.site
    scopes = [Scope(), *(Scope(building=building.id) for building in site.buildings)]
    electric = [r for scope in scopes for r in figures.recipes(scope, carrier="electricity")]
    points = [point for recipe in electric for point in recipe.places]
    figures.gather(points, Period(day.before.start, day.whole.end))
    boundary = (each for name in site.carriers(None) for each in site.boundary(name))
    figures.gather((each.point for each in boundary), day.whole)


def _use(figures: Figures, scope: Scope, day: _Day) -> tuple[Document, list[Document]]:
    """Electricity of the day so far beside the usual day, and its hours."""
    recipes = figures.recipes(scope, carrier="electricity")
    if not recipes:
        return _compared(None, None, 0.0), []
    today = _until(figures.rows(recipes[0], day.whole, "hour"), day)
    usual = _usual(figures.rows(recipes[0], day.before, "hour"), day)
    expected = np.array([usual.get(clock, np.nan) for clock in _clock(today, day.site)])
    over = day.over(today)
    coverage = float(today.coverage.sum() / over.sum()) if over.any() else 0.0
    known = ~np.isnan(today.value)
    energy = float(today.value[known].sum()) if known.any() else None
    counted = today.coverage > 0
    comparable = counted.any() and not np.isnan(expected[counted]).any()
    mean = float((expected * today.coverage)[counted].sum()) if comparable else None
    return _compared(energy, mean, coverage), _hours(today, expected, over)


def _compared(energy: float | None, usual: float | None, coverage: float) -> Document:
    """`usual_kwh` is for the known part of the day, `difference` the excess as a share of it."""
    comparable = coverage >= COMPARABLE
    return {
        "energy_kwh": energy,
        "usual_kwh": usual,
        "difference": energy / usual - 1 if comparable and usual and energy is not None else None,
        "coverage": coverage,
    }


def _until(rows: Rows, day: _Day) -> Rows:
    """The intervals as far as the moment: what lies after it is taken off, spread evenly."""
    over = day.over(rows)
    kept = np.divide(
        np.minimum(rows.coverage, over),
        rows.coverage,
        out=np.zeros_like(over),
        where=rows.coverage > 0,
    )
    value = np.where(kept > 0, rows.value * kept, np.nan)
    return Rows(rows.edges, value, rows.coverage * kept, rows.measured * kept, rows.flags)


def _clock(rows: Rows, site: Site) -> list[int]:
    """The hour each interval begins with on the site's clock."""
    return [from_us(start).astimezone(site.timezone).hour for start in rows.edges[:-1]]


def _usual(rows: Rows, day: _Day) -> dict[int, float]:
    """The mean use of each hour of the clock over the last known days of the same kind, kWh."""
    tz = day.site.timezone
    days = np.array([local_day(from_us(t), tz=tz).toordinal() for t in rows.edges[:-1]])
    clock = np.array(_clock(rows, day.site))
    chosen: list[int] = []
    for back in range(1, LOOK_BACK_DAYS + 1):
        other = day.day - timedelta(days=back)
        alike = day.alike(other) and len(chosen) < USUAL_DAYS
        if alike and rows.coverage[days == other.toordinal()].mean() >= KNOWN_DAY:
            chosen.append(other.toordinal())
    inside = np.isin(days, chosen) & ~np.isnan(rows.value)
    hours = np.unique(clock[inside]).tolist()
    return {hour: float(rows.value[inside & (clock == hour)].mean()) for hour in hours}


def _hours(today: Rows, expected: Floats, over: Floats) -> list[Document]:
    """Each hour of the day, those to come included."""
    return [
        {
            "start": utc_text(from_us(start)),
            "over": over_,
            "value": None if value != value else value,
            "usual": None if usual != usual else usual,
            "coverage": coverage,
            "measured": measured,
            "flags": flag_names(flags) if over_ > 0 else [],
        }
        for start, over_, value, usual, coverage, measured, flags in zip(
            today.edges[:-1],
            over.tolist(),
            today.value.tolist(),
            expected.tolist(),
            today.coverage.tolist(),
            today.measured.tolist(),
            today.flags.tolist(),
            strict=True,
        )
    ]


def _emissions(figures: Figures, day: _Day) -> Document:
    """Emissions of the day so far by gas basis, and the factors they were made with."""
    found, factors, reasons = figures.emissions(Scope(), day.whole, "hour")
    parts: dict[str, list[Rows]] = {}
    for each in found:
        parts.setdefault(each.unit, []).append(_until(each.rows, day))
    return {
        "emissions_today": [
            _emitted(unit, rows, day, factors) for unit, rows in sorted(parts.items())
        ],
        "emission_factors": [factor_document(factor) for factor in factors],
        "emission_reasons": sorted(reasons),
    }


def _emitted(
    unit: str, parts: list[Rows], day: _Day, factors: list[EmissionFactor]
) -> Mapping[str, object]:
    """What was emitted in one gas basis; null where nothing is known."""
    over = day.over(parts[0])
    values = np.concatenate([rows.value for rows in parts])
    known = values[~np.isnan(values)]
    marks = np.concatenate([rows.flags[over > 0] for rows in parts])
    coverage = [float(rows.coverage.sum() / over.sum()) if over.any() else 0.0 for rows in parts]
    return {
        "unit": unit,
        "value": float(known.sum()) if len(known) else None,
        "coverage": sum(coverage) / len(coverage),
        "flags": flag_names(int(np.bitwise_or.reduce(marks))) if len(marks) else [],
        "factors": [factor.id for factor in factors if factor.unit.startswith(unit + "/")],
    }
