"""Quotas: fetches the daily use of each subject and holds it against its limit."""

from __future__ import annotations

from datetime import date

from api.answers import Document
from api.figures import Figures, Scope
from carbon.registry import FactorNotFound
from carbon.standard_coal import NoStandardCoal, coefficient_for
from metering.energy import Recipe
from metering.periods import Period
from metering.quotas import CoalRatio, period_of, use_of
from metering.sites import MeterPoint, Quota


def quota_document(figures: Figures, on: date) -> Document:
    """The state of every quota of a site at the end of a day."""
    _gather(figures, on)
    return {
        "on": on.isoformat(),
        "quotas": [quota_use(figures, quota, on) for quota in figures.site.quotas],
    }


def _gather(figures: Figures, on: date) -> None:
    """Read the hours of all quotas that share a period at once."""
    wanted: dict[Period, list[MeterPoint]] = {}
    for quota in figures.site.quotas:
        period = period_of(quota, figures.site, on=on)
        if period is not None:
            for recipe in _recipes(figures, quota)[:1]:
                wanted.setdefault(period, []).extend(recipe.places)
    for period, points in wanted.items():
        figures.gather(points, period)


def _recipes(figures: Figures, quota: Quota) -> list[Recipe]:
    scope = scope_of(figures, quota)
    return figures.recipes(scope, carrier=quota.carrier, register=quota.register)


def quota_use(figures: Figures, quota: Quota, on: date) -> Document:
    """The state of one quota at the end of a day."""
    site = figures.site
    recipes = _recipes(figures, quota)
    period = period_of(quota, site, on=on)
    if not recipes or period is None:
        use = use_of(quota, None, unit=None, site=site, on=on)
    else:
        recipe = recipes[0]
        rows = figures.rows(recipe, period, "day")
        coal = _coal(figures, quota, recipe.unit, on)
        use = use_of(quota, rows, unit=recipe.unit, site=site, on=on, coal=coal)
    return use.as_document()


def scope_of(figures: Figures, quota: Quota) -> Scope:
    """What a quota's subject is: the site, a building or a point."""
    site = figures.site
    if quota.subject == site.id:
        return Scope()
    if any(building.id == quota.subject for building in site.buildings):
        return Scope(building=quota.subject)
    return Scope(point=quota.subject)


def _coal(figures: Figures, quota: Quota, unit: str, on: date) -> CoalRatio | None:
    """What turns use into standard coal, by the calorific value (当量), where a quota is in it."""
    if quota.measure != "kgce":
        return None
    try:
        found = coefficient_for(
            figures.registry, quota.carrier, unit, basis="当量", on=on, known_by=figures.known_by
        )
    except (FactorNotFound, NoStandardCoal):
        return None
    factor = found.factor
    return CoalRatio(found.kgce_per_unit, factor.id, factor.verification.value)
