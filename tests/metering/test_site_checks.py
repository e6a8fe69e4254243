"""Findings about a site that loads: each code, and that it is absent when there is no reason."""

import pytest

from metering.site_checks import check_site
from metering.site_files import load_site

HEAD = "site: {id: s, timezone: Asia/Shanghai}\n"
GOOD = "serial: E1, profile: native, capacity: 9, max_power_kw: 9, max_flow_m3h: 9"


def findings_of(text, code=None):
    found = check_site(load_site(text.encode(), file="site.yaml"))
    return [each for each in found if code in (None, each.code)]


def building(*points, attributes=""):
    rows = "".join(f"      - {{{fields}}}\n" for fields in points)
    return f"{HEAD}buildings:\n  - id: b\n{attributes}    points:\n{rows}"


def own(*points):
    return HEAD + "points:\n" + "".join(f"  - {{{fields}}}\n" for fields in points)


def metered(point_id, carrier="electricity", role="main", more="", meter=GOOD):
    serial = meter.replace("E1", f"E-{point_id}")
    return f"id: {point_id}, carrier: {carrier}, role: {role}, meter: {{{serial}}}{more}"


def test_a_site_in_order_has_no_finding():
    gas = metered("g", "gas", more=", net_calorific_value_mj_m3: 35, reference: 20 degC")
    heat = metered("h", "heat", meter="serial: E1, profile: native, capacity: 9, max_power_kw: 9")
    air = "id: t, carrier: temperature, role: sub, meter: {serial: T, profile: native}"

    assert findings_of(building(metered("m"), metered("x", role="IT"), gas, heat, air)) == []


def test_a_site_without_points_says_so():
    (finding,) = findings_of(HEAD)

    assert (finding.code, finding.data) == ("site_empty", {"site": "s"})


ALONE = {
    "point_without_meter": (
        building("id: p, carrier: heat, role: main"),
        {"point": "p"},
    ),
    "main_missing": (
        building(metered("p", role="sub"), metered("q", role="IT", more=", upstream: p")),
        {"building": "b", "carrier": "electricity", "points": ["p"]},
    ),
    "generation_without_main": (
        building(metered("pv", role="generation")),
        {"building": "b", "carrier": "electricity", "points": ["pv"]},
    ),
    "role_unknown": (
        building(metered("m"), metered("p", role="mian")),
        {"point": "p", "role": "mian", "closest": "main"},
    ),
    "upstream_unknown": (
        building(metered("m", more=", upstream: grid")),
        {"point": "m", "upstream": "grid"},
    ),
    "capacity_missing": (
        building(metered("m", meter="serial: E1, profile: native, max_power_kw: 9")),
        {"point": "m", "meter": "E-m"},
    ),
    "max_power_missing": (
        building(metered("m", meter="serial: E1, profile: native, capacity: 9")),
        {"point": "m", "meter": "E-m"},
    ),
    "max_flow_missing": (
        building(metered("m", "water", meter="serial: E1, profile: native, capacity: 9")),
        {"point": "m", "meter": "E-m"},
    ),
    "calorific_value_missing": (
        building(metered("m", "gas", more=", reference: 20 degC")),
        {"point": "m"},
    ),
    "reference_missing": (
        building(metered("m", "gas", more=", net_calorific_value_mj_m3: 35")),
        {"point": "m"},
    ),
}


@pytest.mark.parametrize(("code", "case"), ALONE.items(), ids=ALONE.keys())
def test_a_weakness_is_found_and_nothing_else(code, case):
    text, data = case

    (finding,) = findings_of(text)

    assert (finding.code, finding.data) == (code, data)


def test_the_capacity_of_another_register_does_not_help():
    meter = "serial: E1, profile: native, max_power_kw: 9, capacity: {volume: 9}"

    assert findings_of(building(metered("m", "heat", meter=meter)), "capacity_missing")
    own_register = meter.replace("volume", "heat")
    assert not findings_of(building(metered("m", "heat", meter=own_register)), "capacity_missing")


def test_a_word_of_ones_own_is_a_role_without_a_finding():
    assert findings_of(building(metered("m"), metered("p", role="kitchen"))) == []


def test_submeters_of_the_site_that_its_buildings_mains_leave_out_are_found():
    text = own(metered("lamps", role="sub")) + (
        f"buildings:\n  - {{id: b, points: [{{{metered('m')}}}]}}\n"
    )

    (finding,) = findings_of(text)

    assert (finding.code, finding.data["building"]) == ("main_missing", None)
    assert finding.data["points"] == ["m"]


def test_generation_of_the_site_beside_the_mains_of_its_buildings_is_found():
    text = own(metered("pv", role="generation")) + (
        f"buildings:\n  - {{id: b, points: [{{{metered('m')}}}]}}\n"
    )

    (finding,) = findings_of(text)

    assert (finding.code, finding.data["points"]) == ("generation_without_main", ["pv"])


def exchange(removed, installed):
    old = f"{{serial: A, profile: native, capacity: 9, max_power_kw: 9, removed: {removed}}}"
    new = f"{{serial: B, profile: native, capacity: 9, max_power_kw: 9, installed: {installed}}}"
    return building(f"id: m, carrier: electricity, role: main, meters: [{old}, {new}]")


@pytest.mark.parametrize(
    ("removed", "installed", "found"),
    [
        ("{active_import: 5}", "{active_import: 0}", []),
        ("{active_import_t1: 5}", "{active_import_t1: 0}", []),
        ("{}", "{active_import: 0}", [("A", "removed")]),
        ("{active_import: 5}", "{heat: 0}", [("B", "installed")]),
        ("{}", "{}", [("A", "removed"), ("B", "installed")]),
    ],
)
def test_an_exchange_without_register_values_is_found(removed, installed, found):
    text = exchange(
        f"{{at: 2023-05-01T10:00:00Z, registers: {removed}}}",
        f"{{at: 2023-05-01T11:00:00Z, registers: {installed}}}",
    )

    findings = findings_of(text)

    assert {each.code for each in findings} <= {"exchange_without_registers"}
    assert [(each.data["meter"], each.data["when"]) for each in findings] == found


def quota(subject, unit, carrier="electricity"):
    return (
        f"quotas: [{{id: q, subject: {subject}, carrier: {carrier}, limit: 5, unit: {unit}, "
        "period: calendar_year, source: us}]\n"
    )


@pytest.mark.parametrize("subject", ["b", "s", "m"])
def test_a_quota_per_area_or_head_wants_the_area_or_the_heads(subject):
    plain = building(metered("m"))
    known = building(metered("m"), attributes="    area_m2: 10\n    people: 5\n")

    (no_area,) = findings_of(plain + quota(subject, "kWh/m2"))
    (no_people,) = findings_of(plain + quota(subject, "kWh/person"))

    assert (no_area.code, no_area.data["buildings"]) == ("area_missing", ["b"])
    assert (no_people.code, no_people.data["buildings"]) == ("people_missing", ["b"])
    assert findings_of(plain + quota(subject, "kWh")) == []
    assert findings_of(known + quota(subject, "kWh/m2")) == []
    assert findings_of(known + quota(subject, "kWh/person")) == []


def test_a_quota_per_area_of_a_site_without_buildings_has_no_area():
    (finding,) = findings_of(own(metered("m")) + quota("s", "kWh/m2"))

    assert (finding.code, finding.data["buildings"]) == ("area_missing", [])


def test_a_quota_on_a_carrier_that_nothing_measures_is_found():
    (finding,) = findings_of(building(metered("m")) + quota("b", "kWh", "heat"))

    assert (finding.code, finding.data["carrier"]) == ("quota_without_points", "heat")
