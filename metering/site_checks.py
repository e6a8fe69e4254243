"""Checks across a whole site model.

`model_problems` are contradictions: a file that has one is refused. `check_site` returns findings:
the site works, but a figure will be missing or weaker than it could be. Codes of findings:

- `site_empty`: there is no meter point at all
- `point_without_meter`: nothing measures the point
- `main_missing`: a scope has meters of a carrier, but no main; its roots stand in for it
- `generation_without_main`: the site makes energy, but no meter of its own shows what it buys
- `role_unknown`: a role that looks like a mistyped one
- `upstream_unknown`: a point is fed by one that the file does not describe
- `capacity_missing`: a rollover of the register cannot be told from a reset
- `max_power_missing`, `max_flow_missing`: nothing says what the circuit or pipe can carry
- `calorific_value_missing`: gas stays in m³ and has no energy
- `reference_missing`: nothing says at which condition the gas meter states its m³
- `exchange_without_registers`: a meter was exchanged and no register values were written down
- `area_missing`, `people_missing`: a quota is per m² or person, and that is not known
- `quota_without_points`: a quota limits a carrier that its subject does not meter
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, TypeAlias

from metering.findings import Finding
from metering.sites import (
    ROLES,
    Building,
    Meter,
    MeterPoint,
    Part,
    Placement,
    Quota,
    Site,
    closest,
)

Subject: TypeAlias = Site | Building | MeterPoint | Meter | Quota

_ENERGY: Final = {
    "electricity": ("active_import", "active_export"),
    "heat": ("heat",),
    "cooling": ("cooling",),
    "gas": ("gas_energy", "gas_volume"),
    "water": ("water_volume",),
}
"""The registers, or the beginnings of their names, that make a carrier's figure."""

_BY_FLOW: Final = ("gas", "water", "steam")
_NOT_LIMITED_BY_POWER: Final = (*_BY_FLOW, "temperature")


@dataclass(frozen=True, slots=True)
class Problem:
    """A contradiction in the model, at a key of one of its parts."""

    subject: Subject
    key: str
    wanted: str
    found: str
    remedy: str


def model_problems(site: Site) -> Iterator[Problem]:
    """Every contradiction between the parts of a site; a good site has none."""
    yield from _repeated_ids("building", site.buildings)
    yield from _repeated_ids("point", site.all_points())
    yield from _repeated_ids("quota", site.quotas)
    for serial in site.serials:
        yield from _overlaps(site.placements_of(serial))
    for point in site.all_points():
        yield from _upstream_problems(site, point)
    for quota in site.quotas:
        yield from _subject_problems(site, quota)


def _repeated_ids(
    what: str, parts: Iterable[Building] | Iterable[MeterPoint] | Iterable[Quota]
) -> Iterator[Problem]:
    seen: set[str] = set()
    for part in parts:
        if part.id and part.id in seen:
            remedy = f"Give one of the two {what}s another id."
            yield Problem(part, "id", f"each {what} id once", f"{part.id!r} again", remedy)
        seen.add(part.id)


def _overlaps(placements: tuple[Placement, ...]) -> Iterator[Problem]:
    """A serial that serves two points at once. Overlaps at one point are found in its list."""
    for before, after in pairwise(placements):
        if before.point is after.point or before.meter.ends <= after.meter.starts:
            continue
        serial = after.meter.serial
        yield Problem(
            after.meter,
            "serial",
            "each serial at one point at a time",
            f"{serial!r} also at {before.point.id!r}",
            f"Correct the serial; if the meter was moved, give `removed` at {before.point.id!r} "
            f"and a later `installed` at {after.point.id!r}.",
        )


def exchange_problems(meters: tuple[Meter, ...]) -> Iterator[Problem]:
    """Meters of one point, oldest first, that would serve it at the same time."""
    for before, after in pairwise(meters):
        if before.ends <= after.starts:
            continue
        if before.removed is None or after.installed is None:
            wanted = "meters one after the other, with the dates of the exchange"
            missing = (
                f"no `removed` at {before.serial!r}"
                if before.removed is None
                else f"no `installed` at {after.serial!r}"
            )
            remedy = f"Give `removed` at {before.serial!r} and `installed` at {after.serial!r}."
            yield Problem(after, "serial", wanted, missing, remedy)
        else:
            wanted = f"{after.serial!r} installed after {before.serial!r} was removed"
            found = f"{after.starts:%Y-%m-%dT%H:%MZ} before {before.ends:%Y-%m-%dT%H:%MZ}"
            yield Problem(after, "installed", wanted, found, "Correct one of the two times.")


def _upstream_problems(site: Site, point: MeterPoint) -> Iterator[Problem]:
    if point.upstream is None:
        return
    known = {each.id: each for each in site.all_points()}
    wanted = "the id of the point that feeds this one"
    found = repr(point.upstream)
    if point.upstream == point.id:
        yield Problem(point, "upstream", wanted, "the point itself", "Name another, or none.")
    elif point.upstream not in known:
        # A point may hang below one that the file does not describe: a finding. Only a name that
        # is almost one of the file's is taken for a slip of the pen.
        others = [each for each in known if each != point.id]
        near = closest(point.upstream, others, cutoff=0.8)
        if near:
            remedy = f"Did you mean {near[0]}?"
            yield Problem(point, "upstream", wanted, f"the unknown id {found}", remedy)
    elif known[point.upstream].carrier != point.carrier:
        other = f"{found}, which carries {known[point.upstream].carrier}"
        remedy = "Name a point of the same carrier."
        yield Problem(point, "upstream", f"a point that carries {point.carrier}", other, remedy)
    elif any(up.upstream == point.id for up in site.upstream_of(point)):
        chain = " < ".join([point.id, *(up.id for up in site.upstream_of(point)), point.id])
        remedy = "Take `upstream` away from the point nearest the supply."
        yield Problem(point, "upstream", "a tree of points", f"the circle {chain}", remedy)


def _subject_problems(site: Site, quota: Quota) -> Iterator[Problem]:
    if not quota.subject:
        return
    kinds = {
        "site": [site.id],
        "building": [building.id for building in site.buildings],
        "point": [point.id for point in site.all_points()],
    }
    found = [kind for kind, ids in kinds.items() if quota.subject in ids]
    if not found:
        everything = [each for ids in kinds.values() for each in ids]
        near = closest(quota.subject, everything, count=3)
        remedy = f"Closest: {', '.join(near)}." if near else "Add it, or correct the id."
        wanted = "the id of the site, of a building or of a point"
        yield Problem(quota, "subject", wanted, f"the unknown id {quota.subject!r}", remedy)
    elif len(found) > 1:
        wanted = "an id that names one thing"
        both = f"{quota.subject!r}, which is a {' and a '.join(found)}"
        yield Problem(quota, "subject", wanted, both, f"Give the {found[1]} another id.")


def check_site(site: Site) -> list[Finding]:
    """What a reviewer must know about a site that was loaded; the codes are stable."""
    if not site.all_points():
        return [Finding("site_empty", f"Site {site.id!r} has no meter point.", {"site": site.id})]
    findings = [*_scope_findings(site, None)]
    for building in site.buildings:
        findings += _scope_findings(site, building.id)
    for point in site.all_points():
        findings += _point_findings(site, point)
        for meter in point.meters:
            findings += _meter_findings(point, meter)
        findings += _exchange_findings(point)
    for quota in site.quotas:
        findings += _quota_findings(site, quota)
    return findings


def _scope_findings(site: Site, building: str | None) -> Iterator[Finding]:
    where = f"Building {building!r}" if building else f"Site {site.id!r}"
    for carrier in site.carriers(building):
        points = [p for p in site.points_in(building) if p.carrier == carrier]
        own = [p for p in points if p.building == building]
        if carrier == "temperature" or any(p.role == "main" for p in own):
            continue
        made = [p.id for p in own if p.role == Part.GENERATION]
        data = {"building": building, "carrier": carrier}
        if any(p.role not in (Part.GENERATION, Part.STORAGE) for p in own):
            used = [e.point.id for e in site.boundary(carrier, building) if e.part is Part.MAIN]
            message = (
                f"{where} has no point of role main for {carrier}; "
                f"its use is taken from {', '.join(used) or 'nothing'}."
            )
            yield Finding("main_missing", message, {**data, "points": used})
        elif made:
            message = (
                f"{where} makes {carrier} at {', '.join(made)}, but has no point of role main that "
                "shows what comes in and goes out; all of it counts as used."
            )
            yield Finding("generation_without_main", message, {**data, "points": made})


def _point_findings(site: Site, point: MeterPoint) -> Iterator[Finding]:
    data = {"point": point.id}
    if not point.meters:
        yield Finding("point_without_meter", f"Point {point.id!r} has no meter.", data)
    near = closest(point.role, ROLES)
    if point.role not in ROLES and near:
        yield Finding(
            "role_unknown",
            f"Point {point.id!r} has the role {point.role!r}, taken as a sub-meter: "
            f"did you mean {near[0]}?",
            {**data, "role": point.role, "closest": near[0]},
        )
    if point.upstream and point.upstream not in {each.id for each in site.all_points()}:
        yield Finding(
            "upstream_unknown",
            f"Point {point.id!r} is fed by {point.upstream!r}, which the file does not describe.",
            {**data, "upstream": point.upstream},
        )
    if point.carrier == "gas" and point.net_calorific_value_mj_m3 is None:
        yield Finding(
            "calorific_value_missing",
            f"Gas at {point.id!r} stays in m³: give net_calorific_value_mj_m3.",
            data,
        )
    if point.carrier == "gas" and point.reference is None:
        yield Finding(
            "reference_missing",
            f"Nothing says at which temperature and pressure {point.id!r} states its m³: "
            "give reference.",
            data,
        )


def _meter_findings(point: MeterPoint, meter: Meter) -> Iterator[Finding]:
    data = {"point": point.id, "meter": meter.serial}
    who = f"Meter {meter.serial!r} at {point.id!r}"
    if point.carrier != "temperature" and not _has_capacity(point, meter):
        message = f"{who} has no capacity: a rollover cannot be told from a reset."
        yield Finding("capacity_missing", message, data)
    if meter.max_power_kw is None and point.carrier not in _NOT_LIMITED_BY_POWER:
        message = f"{who} has no max_power_kw: nothing says what its circuit can carry."
        yield Finding("max_power_missing", message, data)
    limited = meter.max_flow_m3h is not None or meter.max_power_kw is not None
    if point.carrier in _BY_FLOW and not limited:
        message = f"{who} has no max_flow_m3h: nothing says what its pipe can carry."
        yield Finding("max_flow_missing", message, data)


def _has_capacity(point: MeterPoint, meter: Meter) -> bool:
    if not isinstance(meter.capacity, Mapping):
        return meter.capacity is not None
    return any(name.startswith(_ENERGY.get(point.carrier, "")) for name in meter.capacity)


def _exchange_findings(point: MeterPoint) -> Iterator[Finding]:
    wanted = _ENERGY.get(point.carrier)
    if not wanted:
        return
    for before, after in pairwise(point.meters):
        for meter, fixture, when in (
            (before, before.removed, "removed"),
            (after, after.installed, "installed"),
        ):
            if fixture and any(name.startswith(wanted) for name in fixture.registers):
                continue
            yield Finding(
                "exchange_without_registers",
                f"Nothing says what {' or '.join(wanted)} of meter {meter.serial!r} showed when "
                f"it was {when} at {point.id!r}; the energy up to its nearest reading is unknown.",
                {"point": point.id, "meter": meter.serial, "when": when},
            )


def _quota_findings(site: Site, quota: Quota) -> Iterator[Finding]:
    buildings, points = _subject_of(site, quota.subject)
    data = {"quota": quota.id, "subject": quota.subject}
    if not any(point.carrier == quota.carrier for point in points):
        message = f"Quota {quota.id!r}: {quota.subject!r} has no point for {quota.carrier}."
        yield Finding("quota_without_points", message, {**data, "carrier": quota.carrier})
    for per, code, key in (
        ("m2", "area_missing", "area_m2"),
        ("person", "people_missing", "people"),
    ):
        if quota.per != per:
            continue
        unknown = [b.id for b in buildings if not getattr(b, key).known]
        if unknown or not buildings:
            names = ", ".join(unknown) or "any building"
            message = f"Quota {quota.id!r} is per {per}, and {key} of {names} is not known."
            yield Finding(code, message, {**data, "buildings": unknown})


def _subject_of(site: Site, subject: str) -> tuple[tuple[Building, ...], tuple[MeterPoint, ...]]:
    """The buildings whose area counts for a subject, and its points."""
    for building in site.buildings:
        if building.id == subject:
            return (building,), building.points
    if subject == site.id:
        return site.buildings, site.all_points()
    point = site.point(subject)
    return tuple(b for b in site.buildings if point.building in (None, b.id)), (point,)
