"""Figures of a site: the rows of registers, of energy and of emissions, for any span and interval.

Hours, days, months and years come from the stored hours; quarter hours, and everything that is to
be shown as it was known on another day, are computed from the readings by the same functions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta

import numpy as np

from api.compute import CODE
from api.emission_hours import Hours, factors_for, split
from carbon.emissions import EmissionSource, Method, hourly_emissions, source_for
from carbon.factors import EmissionFactor
from carbon.registry import Registry
from metering.energy import Recipe, Term, point_recipe, register_recipe, scope_recipe, term_rows
from metering.intervals import Rows, add_up, combine, roll_up
from metering.periods import Every, Period, Times, edges, midnight
from metering.pipeline import Streams, hours_of, register_type, rows_of, streams_of
from metering.readings import Flag, Readings
from metering.registers import CONTEXT
from metering.sites import BoundaryPoint, MeterPoint, Part, Site
from metering.store.port import ReadingStore
from metering.units import Kind, RegisterType

_NOT_ADDED = {"temperature"}
"""Carriers that are no amount of anything."""


class NotCountable(ValueError):
    """A register that has no amount over an interval, or that nobody knows."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What is asked about: a point, a building, or the whole site."""

    point: str | None = None
    building: str | None = None

    def subject(self, site: Site) -> str:
        """The id answers print."""
        return self.point or self.building or site.id


@dataclass(frozen=True, slots=True, eq=False)
class EmissionRows:
    """Emissions of one carrier, scope and gas basis."""

    carrier: str
    scope: int | None
    unit: str
    rows: Rows


@dataclass(frozen=True, slots=True, eq=False)
class Fetched:
    """Registers of points over a period, ready to be put into intervals."""

    site: Site
    hours: Mapping[str, Hours]
    """By subject."""
    quarters: Mapping[tuple[str, str], Rows]
    """Instead of hours: quarter hours by point id and register."""

    def rows(
        self, points: Sequence[MeterPoint], marks: Times, every: Every
    ) -> dict[tuple[str, str], Rows]:
        """The registers of some of the points in intervals, by point id and register.

        Args:
            points: Whose registers.
            marks: Edges of the intervals.
            every: For which kind of interval they are to count as measured.
        """
        if self.quarters:
            ids = {point.id for point in points}
            return {name: rows for name, rows in self.quarters.items() if name[0] in ids}
        return {
            (point.id, register): roll_up(series, marks, every)
            for point in points
            if (at := self.hours.get(self.site.point_key(point)))
            for register, series in at.by_register.items()
        }


@dataclass(slots=True)
class Figures:
    """Answers about one site, as it is known now or was known on another day."""

    store: ReadingStore
    site: Site
    registry: Registry
    extra: Mapping[str, RegisterType] = field(default_factory=dict)
    known_by: date | None = None
    _has: dict[str, set[str]] | None = None
    _gathered: list[tuple[Period, Mapping[str, Hours | None]]] = field(default_factory=list)
    """Hours that were read for several questions at once."""

    # -- which points and registers -------------------------------------------------------------

    def registers(self) -> Mapping[str, set[str]]:
        """The registers each point ever showed, by point id."""
        if self._has is None:
            prefix = self.site.id + "/"
            self._has = {}
            for subject, quantity in self.store.quantities("energy"):
                if subject.startswith(prefix):
                    self._has.setdefault(subject.removeprefix(prefix), set()).add(quantity)
        return self._has

    def recipes(
        self, scope: Scope, *, carrier: str | None = None, register: str | None = None
    ) -> list[Recipe]:
        """How the energy of a scope is added up, one recipe a carrier.

        Raises:
            PointNotFound: The site has no such point.
            BuildingNotFound: The site has no such building.
            NotCountable: The register is not one whose difference means anything.
        """
        if register is not None:
            return self._of_register(scope, register, carrier)
        if scope.point:
            point = self.site.point(scope.point)
            if carrier not in (None, point.carrier) or point.carrier in _NOT_ADDED:
                return []
            return [point_recipe(point, self.registers().get(point.id, set()))]
        found = []
        for name in self.site.carriers(scope.building):
            if carrier in (None, name) and name not in _NOT_ADDED:
                boundary = self.site.boundary(name, scope.building)
                recipe = scope_recipe(name, boundary, self.registers())
                found += [recipe] if recipe else []
        return found

    def _of_register(self, scope: Scope, register: str, carrier: str | None) -> list[Recipe]:
        kind = register_type(register, self.extra)
        if kind is None or kind.kind is Kind.INSTANT:
            why = "is not known" if kind is None else "shows a momentary value, not an amount"
            raise NotCountable(
                f"Register {register!r} {why}. Wanted one that counts, such as active_import, "
                "heat, volume, gas_volume or water_volume; momentary values are under /latest."
            )
        if scope.point:
            return [register_recipe(self.site.point(scope.point), register, kind.unit)]
        found = []
        for name in self.site.carriers(scope.building):
            boundary = self.site.boundary(name, scope.building)
            points = [e.point for e in boundary if register in self.registers().get(e.point.id, ())]
            if points and carrier in (None, name):
                terms = tuple(Term(point, (register,), 1.0) for point in points)
                found.append(Recipe(name, kind.unit, terms, len(points)))
        return found

    # -- rows -----------------------------------------------------------------------------------

    def fetched(self, points: Sequence[MeterPoint], period: Period, every: Every) -> Fetched:
        """What is needed of the points' registers for intervals of a period, read once."""
        if not points or period.start >= period.end:
            return Fetched(self.site, {}, {})
        if every == "15min":
            streams = self._streams(points, period)
            names = [(p.id, r) for p, r in zip(streams.points, streams.registers, strict=True)]
            rows = rows_of(self.site, streams, period, every)
            return Fetched(self.site, {}, dict(zip(names, rows, strict=True)))
        subjects = [self.site.point_key(point) for point in points]
        if (gathered := self._of_gathered(subjects, period)) is not None:
            return Fetched(self.site, gathered, {})
        if self.known_by is None:
            series = self.store.series("energy", period, subjects=subjects)
        else:
            series = hours_of(self.site, self._streams(points, period), period, code=CODE)
        return Fetched(self.site, split(series), {})

    def gather(self, points: Iterable[MeterPoint], period: Period) -> None:
        """Read the hours of points once, for all questions that will want a part of them.

        They stay as they are now: for questions that belong together, not for long.
        """
        wanted = list({point.id: point for point in points}.values())
        found = self.fetched(wanted, period, "hour").hours
        keys = [self.site.point_key(point) for point in wanted]
        self._gathered.append((period, {key: found.get(key) for key in keys}))

    def _of_gathered(self, subjects: Sequence[str], period: Period) -> dict[str, Hours] | None:
        for whole, hours in self._gathered:
            inside = whole.start <= period.start and period.end <= whole.end
            if inside and all(subject in hours for subject in subjects):
                found = ((subject, hours[subject]) for subject in subjects)
                parts = ((subject, each.within(period)) for subject, each in found if each)
                return {subject: part for subject, part in parts if part.by_register}
        return None

    def _streams(self, points: Sequence[MeterPoint], period: Period) -> Streams:
        return self.streams(points, period)[1]

    def streams(
        self,
        points: Sequence[MeterPoint],
        period: Period,
        *,
        registers: Sequence[str] | None = None,
    ) -> tuple[Readings, Streams]:
        """The readings behind the intervals of a period, and laid along their points."""
        meters = sorted({self.site.meter_key(m.serial) for p in points for m in p.meters})
        until = None
        if self.known_by is not None:
            until = midnight(self.known_by + timedelta(days=1), tz=self.site.timezone)
        readings = self.store.read(
            period,
            meters=meters,
            registers=registers,
            before=CONTEXT,
            after=CONTEXT,
            known_by=until,
        )
        return readings, streams_of(self.site, points, readings, extra=self.extra)

    def rows(self, recipe: Recipe, period: Period, every: Every) -> Rows:
        """The intervals of a recipe: the sum of what is known, shares averaged over its points."""
        return self._rows(recipe, self.fetched(recipe.places, period, every), period, every)

    def _rows(self, recipe: Recipe, source: Fetched, period: Period, every: Every) -> Rows:
        return self._added_up(self._fine(recipe, source, period, every), period, every).flagged()

    def _fine(self, recipe: Recipe, source: Fetched, period: Period, every: Every) -> Rows:
        """The hours of a recipe (or quarter hours), with what counts as measured for `every`."""
        marks = edges(period, _step(every), tz=self.site.timezone)
        return _evaluate(recipe, source.rows(recipe.places, marks, every), marks)

    def _added_up(self, fine: Rows, period: Period, every: Every) -> Rows:
        """Added up hour by hour, always: the same bits however many registers there are."""
        if every == _step(every):
            return fine
        return add_up(fine, edges(period, every, tz=self.site.timezone))

    # -- emissions ------------------------------------------------------------------------------

    def emissions(
        self,
        scope: Scope,
        period: Period,
        every: Every,
        *,
        method: Method = "location",
        carrier: str | None = None,
    ) -> tuple[list[EmissionRows], list[EmissionFactor], list[str]]:
        """Emissions of a scope by carrier, scope and gas basis.

        A building or site answers for what its main meters brought in; what it made itself has no
        factor, and what it passed on is not taken off.

        Returns:
            The rows, the factors used, and the reasons where something is missing.
        """
        parts: dict[tuple[str, int | None], list[tuple[MeterPoint, Rows, str]]] = {}
        used: dict[str, EmissionFactor] = {}
        reasons: dict[str, None] = {}
        points = self._emitting(scope, carrier)
        energy = self.fetched(points, period, every)
        for point in points:
            source = source_for(point.carrier, role=point.role, method=method)
            if source is None:
                continue
            for unit, rows in self._emitted(point, source, energy, period, every, used, reasons):
                parts.setdefault((point.carrier, source.scope), []).append((point, rows, unit))
        found = []
        for (carrier, number), pieces in parts.items():
            units = sorted({unit for _, _, unit in pieces if unit}) or ["kgCO2"]
            for unit in units:
                summed = combine([(r, 1.0) for _, r, u in pieces if u in (unit, "")])
                found.append(EmissionRows(carrier, number, unit, summed.flagged()))
        factors = [used[name] for name in sorted(used)]
        return found, factors, list(reasons)

    def _emitting(self, scope: Scope, carrier: str | None) -> list[MeterPoint]:
        if scope.point:
            point = self.site.point(scope.point)
            return [point] if carrier in (None, point.carrier) else []
        boundary: list[BoundaryPoint] = []
        for name in self.site.carriers(scope.building):
            if carrier in (None, name):
                boundary += self.site.boundary(name, scope.building)
        return [each.point for each in boundary if each.part is Part.MAIN]

    def _emitted(
        self,
        point: MeterPoint,
        source: EmissionSource,
        energy: Fetched,
        period: Period,
        every: Every,
        used: dict[str, EmissionFactor],
        reasons: dict[str, None],
    ) -> list[tuple[str, Rows]]:
        """The emissions of one point, one piece for each gas basis; `""`: no factor at all."""
        recipe = point_recipe(point, self.registers().get(point.id, set()))
        fine = self._fine(recipe, energy, period, every)
        width = np.timedelta64(15, "m") if every == "15min" else np.timedelta64(1, "h")
        resolved = factors_for(
            self.site, source, fine.edges[:-1], self.registry, width=width, known_by=self.known_by
        )
        columns = hourly_emissions(fine.value, recipe.unit, resolved, reference=point.reference)
        used |= {f.id: f for i, f in enumerate(columns.factors) if (columns.factor == i).any()}
        reasons |= dict.fromkeys(columns.reasons)
        # A provisional factor matters only where there is something to multiply.
        idle = np.where(np.isnan(fine.value), int(Flag.PROVISIONAL_FACTOR), 0)
        flags = fine.flags | (columns.flags & ~idle).astype(np.int32)
        return [
            (
                unit,
                self._added_up(
                    replace(fine, value=columns.in_unit(unit), flags=flags), period, every
                ),
            )
            for unit in columns.units or ("",)
        ]


def _step(every: Every) -> Every:
    """What an interval is added up from."""
    return "15min" if every == "15min" else "hour"


def _evaluate(recipe: Recipe, found: Mapping[tuple[str, str], Rows], marks: Times) -> Rows:
    """Add up the terms of a recipe; a point is known as far as all its terms are."""
    of_point: dict[str, dict[str, Rows]] = {}
    for (point, register), rows_of_it in found.items():
        of_point.setdefault(point, {})[register] = rows_of_it
    by_point: dict[str, list[Rows]] = {}
    for term in recipe.terms:
        rows = term_rows(term, of_point.get(term.point.id, {}).get)
        if rows is not None:
            by_point.setdefault(term.point.id, []).append(rows)
    if not by_point:
        return Rows.unknown(marks)
    points = []
    for terms in by_point.values():
        together = combine([(rows, 1.0) for rows in terms])
        coverage = np.minimum.reduce([rows.coverage for rows in terms])
        measured = np.minimum.reduce([rows.measured for rows in terms])
        points.append((replace(together, coverage=coverage, measured=measured), 1.0))
    return combine(points, shared=recipe.points)
