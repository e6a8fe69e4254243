"""The stored emissions of meter points: energy hours × factor, one row an hour and point."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

import numpy as np

from carbon.emissions import EmissionSource, Method, hourly_emissions, source_for
from carbon.factor_columns import ResolvedFactors, resolve
from carbon.registry import Registry
from metering.energy import Term, point_recipe, term_rows
from metering.intervals import MEASURED_FOR, Rows, roll_up
from metering.periods import Every, Period, Times, edges, to_us
from metering.readings import runs
from metering.series import Series
from metering.sites import MeterPoint, Site

METHOD: Method = "location"
"""What is stored; the market method is computed when asked."""


@dataclass(frozen=True, slots=True)
class Hours:
    """The energy hours of one point, register by register."""

    by_register: Mapping[str, Series]

    @property
    def registers(self) -> frozenset[str]:
        """Registers of which anything is there."""
        return frozenset(self.by_register)

    def within(self, period: Period) -> Hours:
        """The hours that begin in a period."""
        parts = {name: inside(series, period) for name, series in self.by_register.items()}
        return Hours({name: series for name, series in parts.items() if len(series)})


def source_of(point: MeterPoint) -> EmissionSource | None:
    """What the stored emissions of a point are; None: it has none."""
    return source_for(point.carrier, role=point.role, method=METHOD)


def split(series: Series) -> dict[str, Hours]:
    """Take a series apart by subject and quantity; it is sorted by them."""
    found: dict[str, dict[str, Series]] = {}
    for rows in runs(series.subject, series.quantity):
        subject = series.subjects[series.subject[rows.start]]
        quantity = series.quantities[series.quantity[rows.start]]
        found.setdefault(subject, {})[quantity] = series.take(rows)
    return {subject: Hours(registers) for subject, registers in found.items()}


def factors_for(
    site: Site,
    source: EmissionSource,
    starts: Times,
    registry: Registry,
    *,
    width: np.timedelta64 | None = None,
    known_by: date | None = None,
) -> ResolvedFactors:
    """The factors of a site's intervals."""
    if source.key is None:
        return ResolvedFactors.none(len(starts), source.reason)
    return resolve(
        registry,
        source.key,
        site.region,
        starts,
        tz=site.timezone,
        known_by=known_by,
        provisional=site.provisional_factors,
        width=width if width is not None else np.timedelta64(1, "h"),
    )


@dataclass(frozen=True, slots=True)
class _Kind:
    """What points have in common whose hours are multiplied together."""

    source: EmissionSource
    unit: str
    reference: str | None


def emission_series(
    site: Site,
    points: Sequence[MeterPoint],
    energy: Series,
    registry: Registry,
    *,
    spans: Mapping[str, Period],
) -> Series:
    """The emissions of meter points over their own spans, by the location method.

    Args:
        site: Whose points they are.
        points: Which points.
        energy: Their energy hours, at least over the spans; sorted as a store returns them.
        registry: Where the factors are.
        spans: Whole hours of each point, by point id.
    """
    hours = split(energy)
    kinds: dict[_Kind, list[Series]] = {}
    for point in points:
        source = source_of(point)
        found = hours.get(site.point_key(point))
        if source is None or found is None:
            continue
        recipe = point_recipe(point, found.registers)
        activity = _activity(site.point_key(point), recipe.terms[0], found, spans[point.id], site)
        if activity is not None:
            kind = _Kind(source, recipe.unit, point.reference)
            kinds.setdefault(kind, []).append(activity)
    return Series.concat(
        [_emissions(site, kind, Series.concat(parts), registry) for kind, parts in kinds.items()]
    )


def _activity(subject: str, term: Term, found: Hours, span: Period, site: Site) -> Series | None:
    """The hours of a point's energy in the recipe's unit, several registers added up."""
    parts = [
        inside(found.by_register[name], span)
        for name in term.registers
        if name in found.by_register
    ]
    if len(parts) == 1 and term.otherwise is None:
        return replace(parts[0], value=parts[0].value * term.ratio)
    marks = edges(span, "hour", tz=site.timezone)
    rolled = {every: term_rows(term, _rolled(found, marks, every)) for every in MEASURED_FOR}
    rows = rolled["hour"]
    if rows is None:
        return None
    keep = np.flatnonzero((rows.coverage > 0) | (rows.flags != 0))
    none = np.zeros(len(keep), np.int32)
    return Series(
        subjects=(subject,),
        quantities=("",),
        sources=("",),
        subject=none,
        quantity=none,
        start=marks[:-1][keep],
        duration_s=(np.diff(marks).astype(np.int64) / 1e6)[keep],
        value=rows.value[keep],
        coverage=rows.coverage[keep],
        **{f"measured_{e}": r.measured[keep] for e, r in rolled.items() if r is not None},
        flags=rows.flags[keep],
        source=none,
    )


def _rolled(found: Hours, marks: Times, every: Every) -> Callable[[str], Rows | None]:
    """The hours of a register, with what counts as measured for a kind of interval."""

    def rows(name: str) -> Rows | None:
        series = found.by_register.get(name)
        return None if series is None else roll_up(series, marks, every)

    return rows


def _emissions(site: Site, kind: _Kind, activity: Series, registry: Registry) -> Series:
    starts, which = np.unique(activity.start, return_inverse=True)
    resolved = factors_for(site, kind.source, starts, registry)
    spread = ResolvedFactors(
        resolved.value[which],
        resolved.factor[which],
        resolved.factors,
        resolved.provisional[which],
        resolved.reasons,
    )
    columns = hourly_emissions(activity.value, kind.unit, spread, reference=kind.reference)
    names = (*(factor.id for factor in columns.factors), "")
    return replace(
        activity,
        quantities=(quantity_name(kind.source),),
        quantity=np.zeros(len(activity), np.int32),
        sources=names,
        source=np.where(columns.factor < 0, len(names) - 1, columns.factor).astype(np.int32),
        value=columns.value,
        flags=activity.flags | columns.flags,
    )


def quantity_name(source: EmissionSource) -> str:
    """What emissions are stored under, such as `scope2.location`."""
    name = f"scope{source.scope}" if source.scope else "unscoped"
    return f"{name}.{source.method}" if source.method else name


def inside(series: Series, period: Period) -> Series:
    """The hours of a series that begin in a period."""
    low, high = to_us(period.start), to_us(period.end)
    within = (series.start >= low) & (series.start < high)
    return series if within.all() else series.take(within)
