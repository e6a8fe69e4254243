"""What a site file may say: each part of the model, made from its section of the file."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import date
from functools import cache
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from yaml.nodes import MappingNode, ScalarNode, SequenceNode

from metering.dated import NEVER_KNOWN, Dated, DatedValue, HeatingSeason
from metering.meter_points import Fixture, Meter, MeterPoint
from metering.site_checks import exchange_problems, model_problems
from metering.site_sections import Section
from metering.site_yaml import TAG, ErrorLog
from metering.sites import (
    CARRIERS,
    QUOTA_PERIODS,
    Building,
    Quota,
    Site,
    closest,
    quota_units,
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

_ITEM: Final = re.compile(r"[0-9]{2}[A-D][0-9]{2}")
_MONTH_DAY: Final = re.compile(r"[0-9]{2}-[0-9]{2}")
_CARRIER_ALIASES: Final = {"natural_gas": "gas"}
_ZONE_ALIASES: Final = {
    name: "Asia/Shanghai" for name in ("asia/beijing", "asia/peking", "beijing", "china", "cst")
}
_HOST_ZONES: Final = {"localtime", "Factory"}
"""Names that mean another zone on another machine, or none."""


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones() - _HOST_ZONES)


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
        season = _heating_season(head)
        site_id = head.identifier("id")
        site = Site(
            id=site_id,
            name=head.text("name") or site_id,
            timezone=_zone(head),
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
            area_m2=_dated(section, "area_m2", above=0),
            people=_dated(section, "people", at_least=0),
            points=self._points(section, building_id),
        )
        self._sections[id(building)] = section
        return building

    def _points(self, section: Section, building: str | None) -> tuple[MeterPoint, ...]:
        return tuple(self._point(s, building) for s in section.sections("points", _POINT_KEYS))

    def _point(self, section: Section, building: str | None) -> MeterPoint:
        section.require("id", "carrier", "role")
        carrier = _carrier(section)
        point = MeterPoint(
            id=section.identifier("id"),
            carrier=carrier,
            role=section.identifier("role", what="a role"),
            meters=self._meters(section),
            building=building,
            upstream=section.identifier("upstream", what="a point's id") or None,
            item=_item(section, carrier),
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
        carrier = _carrier(section)
        period = section.choice("period", QUOTA_PERIODS, what="a period") or ""
        if period == "heating_season" and not seasonal:
            remedy = 'Add heating_season: {from: "11-15", until: "03-16"} to `site`.'
            section.fail("period", "the days of the heating season", "none at `site`", remedy)
        valid_from, valid_until = section.day("from"), section.day("until")
        _check_days(section, valid_from, valid_until)
        quota = Quota(
            id=section.identifier("id"),
            subject=section.identifier("subject", what="the id of a subject"),
            carrier=carrier,
            limit=section.number("limit", above=0) or 0.0,
            unit=_quota_unit(section, carrier),
            period=period,
            source=section.text("source") or "",
            register=register,
            valid_from=valid_from,
            valid_until=valid_until,
        )
        self._sections[id(quota)] = section
        return quota


def _zone(section: Section) -> ZoneInfo:
    name = section.text("timezone")
    if name is None:
        return ZoneInfo("UTC")
    if name in _zones():
        return ZoneInfo(name)
    alias = _ZONE_ALIASES.get(name.casefold())
    near = [alias] if alias else closest(name, _zones(), count=3)
    remedy = f"Did you mean {' or '.join(near)}?" if near else "Write it as Europe/London."
    section.fail("timezone", "a time zone of the IANA database", repr(name), remedy)
    return ZoneInfo("UTC")


def _heating_season(head: Section) -> HeatingSeason | None:
    section = head.section("heating_season", ("from", "until"))
    if section is None:
        return None
    section.require("from", "until")
    first, until = _month_day(section, "from"), _month_day(section, "until")
    if first is None or until is None:
        return None
    if first == until:
        section.fail("until", "another day than `from`", "the same", "Correct one of the two.")
    return HeatingSeason(first, until)


def _month_day(section: Section, key: str) -> tuple[int, int] | None:
    text = section.text(key, what="a month and day")
    if text is None:
        return None
    try:
        if _MONTH_DAY.fullmatch(text):
            # A year without 29 February: a season must begin and end every year.
            day = date.fromisoformat(f"2001-{text}")
            return day.month, day.day
    except ValueError:
        pass
    section.fail(key, "a month and day of every year", repr(text), 'Write it as "11-15".')
    return None


def _carrier(section: Section) -> str:
    node = section.node("carrier")
    if isinstance(node, ScalarNode) and node.value in _CARRIER_ALIASES:
        return _CARRIER_ALIASES[node.value]
    return section.choice("carrier", CARRIERS, what="a carrier") or ""


def _item(section: Section, carrier: str) -> str | None:
    item = section.text("item")
    if item is None:
        return None
    if not _ITEM.fullmatch(item):
        remedy = "Write two digits, a letter from A to D and two digits."
        section.fail("item", "a sub-item code such as 01A00", repr(item), remedy)
    elif carrier not in ("electricity", ""):
        found = f"{item!r} at a point that carries {carrier}"
        section.fail("item", "a sub-item code at electricity only", found, "Take `item` away.")
    return item


def _quota_unit(section: Section, carrier: str) -> str:
    unit = section.text("unit", what="a unit")
    if unit is None:
        return ""
    unit = unit.replace("²", "2").replace("³", "3")
    fitting = quota_units(carrier)
    if carrier and unit not in fitting:
        near = closest(unit, fitting)
        hint = f"Did you mean {near[0]}? " if near else ""
        known = f"Known: {', '.join(fitting)}." if fitting else "It cannot be limited."
        section.fail("unit", f"a unit that fits {carrier}", repr(unit), hint + known)
    return unit


def _check_days(section: Section, valid_from: date | None, valid_until: date | None) -> None:
    if valid_from and valid_until and valid_until <= valid_from:
        remedy = "`until` is the first day it no longer holds."
        section.fail("until", "a day after `from`", f"{valid_until}", remedy)


def _dated(
    section: Section, key: str, *, above: float | None = None, at_least: float | None = None
) -> Dated:
    """A number that holds for ever, or a list of {value, from, until}."""
    if not isinstance(section.node(key), SequenceNode):
        value = section.number(key, above=above, at_least=at_least)
        return NEVER_KNOWN if value is None else Dated((DatedValue(value),))
    found: list[tuple[date, date | None, float, Section]] = []
    for entry in section.sections(key, ("value", "from", "until")):
        entry.require("value", "from")
        value = entry.number("value", above=above, at_least=at_least)
        first, until = entry.day("from"), entry.day("until")
        _check_days(entry, first, until)
        if value is not None and first is not None:
            found.append((first, until, value, entry))
    found.sort(key=lambda each: each[0])
    values = []
    for index, (first, until, value, _) in enumerate(found):
        if index + 1 < len(found):
            following, _, _, later = found[index + 1]
            if following == first or (until is not None and following < until):
                wanted = "values one after the other"
                held = f"{value:g} from {first} to {until or 'the next'}"
                text = f"{following}, while {held} holds"
                later.fail("from", wanted, text, "Correct `from` or the `until` before it.")
            until = min(until or following, following)
        values.append(DatedValue(value, first, until))
    return Dated(tuple(values))
