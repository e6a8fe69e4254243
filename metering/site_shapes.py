"""What a site file may say: each part of the model, made from its section of the file."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from yaml.nodes import MappingNode

from metering.marked_yaml import TAG, ErrorLog
from metering.meter_points import Fixture, Meter, MeterPoint
from metering.site_problems import exchange_problems, model_problems
from metering.site_sections import Section
from metering.site_values import (
    carrier_of,
    check_days,
    dated,
    heating_season,
    item_of,
    quota_unit,
    zone,
)
from metering.sites import (
    QUOTA_PERIODS,
    Building,
    Quota,
    Site,
    closest,
)
from metering.units import REGISTERS, Kind

FILE_KEYS: Final = ("site", "factors", "buildings", "points", "quotas")
LANGUAGES: Final = ("en", "zh")

_SITE_KEYS: Final = ("id", "name", "timezone", "region", "language", "heating_season")
_BUILDING_KEYS: Final = ("id", "name", "use", "area_m2", "people", "points")
_POINT_KEYS: Final = (
    "id", "name", "carrier", "role", "meter", "meters", "upstream", "item",
    "net_calorific_value_mj_m3", "reference",
)  # fmt: skip
_METER_KEYS: Final = (
    "serial", "profile", "capacity", "multiplier", "max_power_kw", "max_flow_m3h", "installed",
    "removed", "gateway", "address", "accuracy_class", "note",
)  # fmt: skip
_QUOTA_KEYS: Final = (
    "id", "subject", "carrier", "limit", "unit", "period", "source", "register", "from", "until",
)  # fmt: skip


class SiteReader:
    """Builds the model from sections; after an error it goes on with a harmless value."""

    def __init__(self, log: ErrorLog, registers: Collection[str]) -> None:
        self._log = log
        self._registers = registers
        self._sections: dict[int, Section] = {}
        """The section each part of the model came from, by its identity."""

    def site(self, root: Section) -> Site:
        """The whole model; what is wrong with it is in the log."""
        root.require("site")
        factors = root.section("factors", ("provisional",))
        head = root.section("site", _SITE_KEYS)
        if head is None:
            empty = MappingNode(f"{TAG}map", [])
            head = Section(empty, "site", self._log, _SITE_KEYS)
        else:
            head.require("id", "timezone")
        season = heating_season(head)
        site_id = head.identifier("id")
        site = Site(
            id=site_id,
            name=head.text("name") or site_id,
            timezone=zone(head),
            region=head.text("region"),
            language=head.choice("language", LANGUAGES, what="a language") or "en",
            provisional_factors=factors.flag("provisional") if factors else False,
            heating_season=season,
            points=self._points(root, None),
            buildings=tuple(self._building(s) for s in root.sections("buildings", _BUILDING_KEYS)),
            quotas=tuple(
                self._quota(s, seasonal=head.has("heating_season"))
                for s in root.sections("quotas", _QUOTA_KEYS)
            ),
        )
        for problem in model_problems(site):
            section = self._sections[id(problem.subject)]
            section.fail(problem.key, problem.wanted, problem.found, problem.remedy)
        return site

    def _building(self, section: Section) -> Building:
        section.require("id")
        building_id = section.identifier("id")
        building = Building(
            id=building_id,
            name=section.text("name") or building_id,
            use=section.text("use"),
            area_m2=dated(section, "area_m2", above=0),
            people=dated(section, "people", at_least=0),
            points=self._points(section, building_id),
        )
        self._sections[id(building)] = section
        return building

    def _points(self, section: Section, building: str | None) -> tuple[MeterPoint, ...]:
        return tuple(self._point(s, building) for s in section.sections("points", _POINT_KEYS))

    def _point(self, section: Section, building: str | None) -> MeterPoint:
        section.require("id", "carrier", "role")
        carrier = carrier_of(section)
        point = MeterPoint(
            id=section.identifier("id"),
            carrier=carrier,
            role=section.identifier("role", what="a role"),
            meters=self._meters(section),
            building=building,
            upstream=section.identifier("upstream", what="a point's id") or None,
            item=item_of(section, carrier),
            net_calorific_value_mj_m3=section.number("net_calorific_value_mj_m3", above=0),
            reference=section.text("reference"),
            name=section.text("name"),
        )
        self._sections[id(point)] = section
        return point

    def _meters(self, section: Section) -> tuple[Meter, ...]:
        if section.has("meter") and section.has("meters"):
            remedy = "Move the single `meter` into the list `meters`."
            section.fail("meter", "either `meter` or `meters`", "both", remedy)
            return ()
        single = section.section("meter", _METER_KEYS)
        found = [self._meter(each) for each in section.sections("meters", _METER_KEYS)]
        if single is not None:
            found.append(self._meter(single))
        meters = tuple(sorted(found, key=lambda meter: meter.starts))
        for problem in exchange_problems(meters):
            at = self._sections[id(problem.subject)]
            at.fail(problem.key, problem.wanted, problem.found, problem.remedy)
        return meters

    def _meter(self, section: Section) -> Meter:
        section.require("serial", "profile")
        multiplier = section.number("multiplier", above=0)
        meter = Meter(
            serial=section.identifier("serial", what="a serial"),
            profile=section.identifier("profile", what="a profile"),
            capacity=self._capacity(section),
            multiplier=1.0 if multiplier is None else multiplier,
            max_power_kw=section.number("max_power_kw", above=0),
            max_flow_m3h=section.number("max_flow_m3h", above=0),
            installed=self._fixture(section, "installed"),
            removed=self._fixture(section, "removed"),
            gateway=section.identifier("gateway", what="a gateway") or None,
            address=section.text("address"),
            accuracy_class=section.text("accuracy_class"),
            note=section.text("note"),
        )
        self._sections[id(meter)] = section
        if meter.ends <= meter.starts:
            found = f"{meter.ends:%Y-%m-%dT%H:%MZ}, which is not later"
            section.fail("removed", "a time after `installed`", found, "Correct one of the times.")
        self._check_fixtures(section, meter)
        return meter

    def _capacity(self, section: Section) -> float | Mapping[str, float] | None:
        if not isinstance(section.node("capacity"), MappingNode):
            return section.number("capacity", above=0)
        by_register = section.section("capacity")
        return self._by_register(by_register, above=0) if by_register else None

    def _fixture(self, section: Section, key: str) -> Fixture | None:
        fixture = section.section(key, ("at", "registers"))
        if fixture is None:
            return None
        fixture.require("at")
        at = fixture.instant("at")
        registers = fixture.section("registers")
        values = self._by_register(registers, at_least=0) if registers else {}
        return Fixture(at, values) if at else None

    def _by_register(
        self, section: Section, *, above: float | None = None, at_least: float | None = None
    ) -> dict[str, float]:
        values: dict[str, float] = {}
        for name in section.names():
            self._check_register(section, name, name)
            value = section.number(name, above=above, at_least=at_least)
            if value is not None:
                values[name] = value
        return values

    def _check_register(self, section: Section, key: str, name: str) -> None:
        if name not in self._registers:
            near = closest(name, self._registers)
            known = f"Known: {', '.join(sorted(self._registers))}."
            remedy = f"Did you mean {near[0]}?" if near else known
            section.fail(key, "a register", repr(name), remedy)
        elif name in REGISTERS and REGISTERS[name].kind is not Kind.CUMULATIVE:
            found = f"{name!r}, which shows the moment"
            section.fail(key, "a register that counts up", found, "Leave it out.")

    def _check_fixtures(self, section: Section, meter: Meter) -> None:
        for key, fixture in (("installed", meter.installed), ("removed", meter.removed)):
            if fixture is None:
                continue
            for name, value in fixture.registers.items():
                capacity = meter.capacity_of(name)
                if capacity is not None and value > capacity:
                    wanted = f"at most the capacity, {capacity:g}"
                    remedy = "Correct the value or the capacity; both are before the multiplier."
                    section.fail(f"{key}.registers.{name}", wanted, f"{value:g}", remedy)

    def _quota(self, section: Section, *, seasonal: bool) -> Quota:
        section.require("id", "subject", "carrier", "limit", "unit", "period", "source")
        register = section.text("register")
        if register is not None:
            self._check_register(section, "register", register)
        carrier = carrier_of(section)
        period = section.choice("period", QUOTA_PERIODS, what="a period") or ""
        if period == "heating_season" and not seasonal:
            remedy = 'Add heating_season: {from: "11-15", until: "03-16"} to `site`.'
            section.fail("period", "the days of the heating season", "none at `site`", remedy)
        valid_from, valid_until = section.day("from"), section.day("until")
        check_days(section, valid_from, valid_until)
        quota = Quota(
            id=section.identifier("id"),
            subject=section.identifier("subject", what="the id of a subject"),
            carrier=carrier,
            limit=section.number("limit", above=0) or 0.0,
            unit=quota_unit(section, carrier),
            period=period,
            source=section.text("source") or "",
            register=register,
            valid_from=valid_from,
            valid_until=valid_until,
        )
        self._sections[id(quota)] = section
        return quota
