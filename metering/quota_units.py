"""Energy or volume in the unit of a quota: kWh, MWh, GJ, m³ or kgce, as such, per m² or per person.

The area or head count is the mean over the time the use was counted in, weighted by time, of the
building a quota names or its point stands in; for the site and its own points of all buildings.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from metering.periods import Period, local_day
from metering.sites import Building, Quota, Site

_EXACT: Final = {
    ("kWh", "kWh"): (1.0, 1.0),
    ("kWh", "MWh"): (1.0, 1000.0),
    ("kWh", "GJ"): (9.0, 2500.0),
    ("m3", "m3"): (1.0, 1.0),
}
"""Unit of the meters and measure of the quota: a ratio of numbers that floats hold exactly."""

_SIZES: Final = {"m2": "area_m2", "person": "people"}
"""What a limit is divided by, and the key of a building that says how much there is of it."""


@dataclass(frozen=True, slots=True)
class CoalRatio:
    """What turns a unit of use into standard coal, as the caller looked it up."""

    kgce_per_unit: float
    source: str
    """Id of the row it comes from."""
    verification: str
    """How well that row is verified: `primary`, `own`, `second-hand` or `unverified`."""

    @property
    def usable(self) -> bool:
        """Whether a figure may be made with it."""
        return self.verification != "unverified"


@dataclass(frozen=True, slots=True)
class Scale:
    """How use becomes a number in the quota's unit."""

    numerator: float
    denominator: float
    size: float
    """Mean area or head count. [m² or persons]"""

    def of(self, amount: float) -> float:
        """An amount in the quota's unit; kWh, MWh and GJ are converted without rounding twice."""
        return amount * self.numerator / self.denominator / self.size


def scale_of(
    quota: Quota, site: Site, span: Period, *, unit: str | None, coal: CoalRatio | None
) -> Scale | str:
    """How use in a span is put into a quota's unit, or the sentence that says why it cannot be.

    Args:
        quota: Whose unit it is.
        site: Knows areas and head counts.
        span: Over which the mean area or head count is taken.
        unit: Of the use, kWh or m3; None: nothing measures it.
        coal: Turns that unit into kgce.
    """
    if unit is None:
        return f"No meter point of {quota.subject!r} measures {quota.carrier}."
    ratio = _ratio(quota, unit, coal)
    if isinstance(ratio, str):
        return ratio
    size = _size(quota, site, span)
    if isinstance(size, str):
        return size
    return Scale(*ratio, size)


def _ratio(quota: Quota, unit: str, coal: CoalRatio | None) -> tuple[float, float] | str:
    if quota.measure == "kgce":
        if coal is None:
            return f"Nothing turns {quota.carrier} in {unit} into kgce; add a factor row for it."
        if not coal.usable:
            return f"{coal.source} is unverified; it counts once it is adopted as a local row."
        return coal.kgce_per_unit, 1.0
    if (unit, quota.measure) in _EXACT:
        return _EXACT[unit, quota.measure]
    return (
        f"The meters of {quota.subject!r} give {quota.carrier} in {unit}, and the quota is in "
        f"{quota.measure}; state the points' net_calorific_value_mj_m3 for energy, or the quota's "
        f"register for volume."
    )


def _size(quota: Quota, site: Site, span: Period) -> float | str:
    """The mean of what the limit is divided by."""
    if quota.per is None:
        return 1.0
    building = _building_of(quota, site)
    if quota.per == "m2":
        mean = site.area_mean_m2(span, building)
    else:
        mean = site.people_mean(span, building)
    if mean:
        return mean
    key = _SIZES[quota.per]
    buildings = site.buildings if building is None else (site.building(building),)
    unknown = [found for each in buildings if (found := _unknown_days(each, key, span, site))]
    if unknown:
        found = f"{key} is not known of {'; '.join(unknown)}"
    else:
        found = f"the mean of {key} is 0" if buildings else "there is no building"
    return f"The quota is per {quota.per}, and {found}."


def _building_of(quota: Quota, site: Site) -> str | None:
    """The building whose area counts; None: all of them."""
    if quota.subject == site.id:
        return None
    if any(building.id == quota.subject for building in site.buildings):
        return quota.subject
    return site.point(quota.subject).building


def _unknown_days(building: Building, key: str, span: Period, site: Site) -> str | None:
    """The days on which an attribute is not known, in words; None if there are none."""
    dated = getattr(building, key)
    day = local_day(span.start, tz=site.timezone)
    last = local_day(span.end - timedelta(microseconds=1), tz=site.timezone)
    days = [date.fromordinal(n) for n in range(day.toordinal(), last.toordinal() + 1)]
    unknown = [each for each in days if dated.on(each) is None]
    if not unknown:
        return None
    return f"{building.id!r} on {len(unknown)} days from {unknown[0]} to {unknown[-1]}"
