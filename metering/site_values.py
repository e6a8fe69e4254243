"""Values of a site file with rules of their own: zones, seasons, codes, units, dated numbers."""

from __future__ import annotations

import re
from datetime import date
from functools import cache
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from yaml.nodes import ScalarNode, SequenceNode

from metering.dated import NEVER_KNOWN, Dated, DatedValue, HeatingSeason
from metering.site_sections import Section
from metering.sites import CARRIERS, closest, quota_units

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


def zone(section: Section) -> ZoneInfo:
    """The site's time zone; UTC where it is missing or wrong."""
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


def heating_season(head: Section) -> HeatingSeason | None:
    """The days of heating of a site, if it gives them."""
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


def carrier_of(section: Section) -> str:
    """The carrier, by its canonical name; "" if it is none."""
    node = section.node("carrier")
    if isinstance(node, ScalarNode) and node.value in _CARRIER_ALIASES:
        return _CARRIER_ALIASES[node.value]
    return section.choice("carrier", CARRIERS, what="a carrier") or ""


def item_of(section: Section, carrier: str) -> str | None:
    """The sub-item code of a point that carries electricity."""
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


def quota_unit(section: Section, carrier: str) -> str:
    """The unit of a limit, which must fit its carrier."""
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


def check_days(section: Section, valid_from: date | None, valid_until: date | None) -> None:
    """Add an error if `until` is not after `from`."""
    if valid_from and valid_until and valid_until <= valid_from:
        remedy = "`until` is the first day it no longer holds."
        section.fail("until", "a day after `from`", f"{valid_until}", remedy)


def dated(
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
        check_days(entry, first, until)
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
