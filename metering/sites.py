"""The site model: what stands where, and the questions everything else asks of it.

A site holds buildings, a building meter points, a point the meters that served it one after the
other. `metering.site_files` makes the model from a file, `metering.site_checks` checks it.

What a scope used of a carrier comes from its boundary points only (`Site.boundary`): its main
meters, its own generation and its storage; sub-meters never add to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from difflib import get_close_matches
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo

from metering.dated import NEVER_KNOWN, Dated, DatedValue, HeatingSeason
from metering.meter_points import Fixture, Meter, MeterPoint
from metering.periods import Period, utc_text

__all__ = [
    "CARRIERS", "QUOTA_MEASURES", "QUOTA_PERIODS", "QUOTA_PERS", "ROLES", "BoundaryPoint",
    "Building", "BuildingNotFound", "Dated", "DatedValue", "Fixture", "HeatingSeason", "Meter",
    "MeterNotFound", "MeterPoint", "Part", "Placement", "PointNotFound", "Quota", "Site", "closest",
    "quota_units",
]  # fmt: skip

CARRIERS: Final = (
    "electricity", "heat", "cooling", "gas", "steam", "water", "temperature", "lpg", "lng",
    "gasoline", "kerosene", "diesel", "fuel_oil", "coal", "coke", "biomass", "hydrogen",
)  # fmt: skip
"""What a meter point can carry; `natural_gas` in a file is `gas`."""

ROLES: Final = ("main", "sub", "generation", "storage", "IT")
"""Roles with a meaning here; any other word is allowed and means a sub-meter."""

QUOTA_MEASURES: Final = ("kWh", "MWh", "GJ", "m3", "kgce")
QUOTA_PERS: Final = ("", "/m2", "/person")
QUOTA_PERIODS: Final = ("calendar_year", "heating_season", "rolling_year")


def closest(name: str, known: Iterable[str], *, count: int = 1, cutoff: float = 0.6) -> list[str]:
    """The known names most like a mistyped one, best first; capitals do not count."""
    by_folded = {each.casefold(): each for each in known}
    found = get_close_matches(name.casefold(), by_folded, n=count, cutoff=cutoff)
    return [by_folded[each] for each in found]


def quota_units(carrier: str) -> tuple[str, ...]:
    """The units a limit of a carrier can have; none for what is no amount, such as temperature."""
    measures = {"water": ("m3",), "temperature": (), "gas": QUOTA_MEASURES}
    energy = tuple(measure for measure in QUOTA_MEASURES if measure != "m3")
    return tuple(m + per for m in measures.get(carrier, energy) for per in QUOTA_PERS)


class _NotFound(LookupError):
    def __init__(self, what: str, wanted: str, site: str, known: Iterable[str]) -> None:
        names = list(known)
        near = closest(wanted, names, count=3)
        hint = f"Closest: {', '.join(near)}." if near else f"It has {len(names)} of them."
        super().__init__(f"No {what} {wanted!r} at site {site!r}. {hint}")
        self.wanted, self.site, self.closest = wanted, site, near


class PointNotFound(_NotFound):
    """The site has no meter point of that id."""


class BuildingNotFound(_NotFound):
    """The site has no building of that id."""


class MeterNotFound(_NotFound):
    """The site has no meter of that serial (at that time)."""


@dataclass(frozen=True, slots=True)
class Building:
    """A building, with attributes that change over time."""

    id: str
    name: str
    use: str | None = None
    area_m2: Dated = NEVER_KNOWN
    people: Dated = NEVER_KNOWN
    points: tuple[MeterPoint, ...] = ()

    def area_on(self, day: date) -> float | None:
        """Its area on a site day. [m²] None: not known."""
        return self.area_m2.on(day)

    def people_on(self, day: date) -> float | None:
        """How many people used it on a site day; None: not known."""
        return self.people.on(day)


@dataclass(frozen=True, slots=True)
class Quota:
    """A limit of a subject's use of one carrier over a period."""

    id: str
    subject: str
    """Id of the site, of a building or of a point."""
    carrier: str
    limit: float
    unit: str
    """One of `quota_units` of its carrier."""
    period: str
    """One of QUOTA_PERIODS."""
    source: str
    register: str | None = None
    valid_from: date | None = None
    valid_until: date | None = None

    @property
    def measure(self) -> str:
        """What is limited: one of QUOTA_MEASURES."""
        return self.unit.partition("/")[0]

    @property
    def per(self) -> str | None:
        """What the limit is divided by: `m2`, `person` or None."""
        return self.unit.partition("/")[2] or None

    def valid_on(self, day: date) -> bool:
        """Whether the quota is in force on a site day."""
        after = self.valid_from is None or self.valid_from <= day
        return after and (self.valid_until is None or day < self.valid_until)


class Part(StrEnum):
    """What a boundary point is to the energy of its scope."""

    MAIN = "main"
    """Adds what came in and takes off what went out again (`active_export`)."""
    GENERATION = "generation"
    """Adds what was made inside."""
    STORAGE = "storage"
    """Takes off what went into storage and adds what came back (`active_export`)."""


@dataclass(frozen=True, slots=True)
class BoundaryPoint:
    """A point that makes up the energy of a scope, and how."""

    point: MeterPoint
    part: Part

    @property
    def sign(self) -> int:
        """Whether the point's net intake (generation: its output) adds, 1, or takes off, -1."""
        return -1 if self.part is Part.STORAGE else 1


@dataclass(frozen=True, slots=True)
class Placement:
    """A meter and the point it served."""

    point: MeterPoint
    meter: Meter


@dataclass(frozen=True, slots=True)
class Site:
    """A park, campus or single building, with everything that is metered in it."""

    id: str
    name: str
    timezone: ZoneInfo
    region: str | None = None
    language: str = "en"
    provisional_factors: bool = False
    heating_season: HeatingSeason | None = None
    buildings: tuple[Building, ...] = ()
    points: tuple[MeterPoint, ...] = ()
    """Points of the site itself, in no building."""
    quotas: tuple[Quota, ...] = ()
    _points: dict[str, MeterPoint] = field(init=False, repr=False, compare=False)
    _placements: dict[str, tuple[Placement, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        placements: dict[str, tuple[Placement, ...]] = {}
        for point in self._in_file_order():
            for meter in point.meters:
                before = placements.get(meter.serial, ())
                placements[meter.serial] = (*before, Placement(point, meter))
        for serial, found in placements.items():
            placements[serial] = tuple(sorted(found, key=lambda each: each.meter.starts))
        object.__setattr__(self, "_points", {p.id: p for p in self._in_file_order()})
        object.__setattr__(self, "_placements", placements)

    def _in_file_order(self) -> Iterator[MeterPoint]:
        yield from self.points
        for building in self.buildings:
            yield from building.points

    def all_points(self) -> tuple[MeterPoint, ...]:
        """Every point: the site's own, then building by building, each as the file lists them."""
        return tuple(self._in_file_order())

    def points_in(self, building: str | None = None) -> tuple[MeterPoint, ...]:
        """The points of a building, or of the whole site with all its buildings."""
        return self.all_points() if building is None else self.building(building).points

    def carriers(self, building: str | None = None) -> tuple[str, ...]:
        """The carriers metered in a building or on the whole site, in order of first mention."""
        return tuple(dict.fromkeys(point.carrier for point in self.points_in(building)))

    def point(self, point_id: str) -> MeterPoint:
        """The meter point of an id.

        Raises:
            PointNotFound: There is none; the message has the closest ids.
        """
        if point_id not in self._points:
            raise PointNotFound("meter point", point_id, self.id, self._points)
        return self._points[point_id]

    def building(self, building_id: str) -> Building:
        """The building of an id.

        Raises:
            BuildingNotFound: There is none; the message has the closest ids.
        """
        for building in self.buildings:
            if building.id == building_id:
                return building
        raise BuildingNotFound("building", building_id, self.id, [b.id for b in self.buildings])

    def meter_key(self, serial: str) -> str:
        """What readings of a meter are stored under: `site/serial`."""
        return f"{self.id}/{serial}"

    def point_key(self, point: MeterPoint) -> str:
        """What derived rows of a point are stored under: `site/point`."""
        return f"{self.id}/{point.id}"

    @property
    def serials(self) -> tuple[str, ...]:
        """The serial of every meter, each once."""
        return tuple(self._placements)

    def placements_of(self, serial: str) -> tuple[Placement, ...]:
        """Where a meter served, oldest first; empty if the site has no such meter."""
        return self._placements.get(serial, ())

    def meter_point_of(self, serial: str, *, instant: datetime | None = None) -> MeterPoint:
        """The point a meter served at an instant, or serves last.

        Raises:
            MeterNotFound: The site has no such meter, or it served no point then.
        """
        found = self.placements_of(serial)
        if not found:
            raise MeterNotFound("meter", serial, self.id, self._placements)
        if instant is None:
            return found[-1].point
        for each in found:
            if each.meter.starts <= instant < each.meter.ends:
                return each.point
        raise MeterNotFound(f"point at {utc_text(instant)} for meter", serial, self.id, [serial])

    def upstream_of(self, point: MeterPoint) -> Iterator[MeterPoint]:
        """The points that feed a point, nearest first, as far as the file describes them."""
        seen = {point.id}
        while point.upstream in self._points and point.upstream not in seen:
            point = self._points[point.upstream]
            seen.add(point.id)
            yield point

    def boundary(self, carrier: str, building: str | None = None) -> tuple[BoundaryPoint, ...]:
        """The points whose figures make up what a building or the site used of a carrier.

        The mains of the scope, without those fed by another main of the scope; where it has none,
        the roots of its meter tree. On the site, mains that stand in no building are the site's
        and win over the buildings' mains; without them the site is the sum of its buildings.
        Generation and storage of the scope are added, without those that another one contains.
        """
        points = [p for p in self.points_in(building) if p.carrier == carrier]
        used = self._used(points) if building else self._used_by_site(points)
        parts = [BoundaryPoint(point, Part.MAIN) for point in used]
        for part in (Part.GENERATION, Part.STORAGE):
            own = [point for point in points if point.role == part.value]
            parts += [BoundaryPoint(point, part) for point in self._topmost(own, below=own)]
        return tuple(parts)

    def _used_by_site(self, points: list[MeterPoint]) -> list[MeterPoint]:
        mains = [point for point in points if point.role == "main"]
        own = [main for main in mains if main.building is None]
        if own:
            return self._topmost(own, below=own)
        if not mains:
            return self._used(points)
        ids = dict.fromkeys(point.building for point in points if point.building)
        parts = [self._used([p for p in points if p.building == each]) for each in ids]
        together = [point for part in parts for point in part]
        return self._topmost(together, below=together)

    def _used(self, points: list[MeterPoint]) -> list[MeterPoint]:
        mains = [point for point in points if point.role == "main"]
        if mains:
            return self._topmost(mains, below=mains)
        users = [p for p in points if p.role not in (Part.GENERATION, Part.STORAGE)]
        return self._topmost(users, below=points)

    def _topmost(self, points: list[MeterPoint], *, below: list[MeterPoint]) -> list[MeterPoint]:
        """The points that none of the others feeds."""
        ids = {point.id for point in below}
        return [p for p in points if not any(up.id in ids for up in self.upstream_of(p))]

    def area_mean_m2(self, period: Period, building: str | None = None) -> float | None:
        """Mean area of a building, or of all of them, over a period; None: not all known."""
        return self._total([b.area_m2 for b in self._buildings_in(building)], period)

    def people_mean(self, period: Period, building: str | None = None) -> float | None:
        """Mean head count of a building, or of all of them; None: not all known."""
        return self._total([b.people for b in self._buildings_in(building)], period)

    def _buildings_in(self, building: str | None) -> tuple[Building, ...]:
        return self.buildings if building is None else (self.building(building),)

    def _total(self, attributes: list[Dated], period: Period) -> float | None:
        total = 0.0
        for attribute in attributes:
            mean = attribute.mean(period, tz=self.timezone)
            if mean is None:
                return None
            total += mean
        return total if attributes else None
