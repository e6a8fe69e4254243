"""What a reviewer must know about a site that loads: its figures are missing or weak somewhere.

The findings and their codes:

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

from collections.abc import Iterator, Mapping, Set
from itertools import pairwise
from typing import Final

from metering.findings import Finding
from metering.sites import (
    ROLES,
    Building,
    Meter,
    MeterPoint,
    Part,
    Quota,
    Site,
    closest,
)

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


def check_site(site: Site) -> list[Finding]:
    """What a reviewer must know about a site that was loaded; the codes are stable."""
    if not site.all_points():
        return [Finding("site_empty", f"Site {site.id!r} has no meter point.", {"site": site.id})]
    findings = [*_scope_findings(site, None)]
    for building in site.buildings:
        findings += _scope_findings(site, building.id)
    known = {point.id for point in site.all_points()}
    for point in site.all_points():
        findings += _point_findings(point, known)
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


def _point_findings(point: MeterPoint, known: Set[str]) -> Iterator[Finding]:
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
    if point.upstream and point.upstream not in known:
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
