"""Loading site files: what is accepted, and for every error its line and its words."""

import json
import random
import re
import string
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from metering.site_checks import check_site
from metering.site_files import SiteErrors, example_site, load_home_sites, load_site
from metering.sites import Dated, DatedValue, Fixture, HeatingSeason
from metering.units import REGISTERS

LEAST = """\
site: {id: estate, name: Estate, timezone: Europe/London}
buildings:
  - id: b27
    use: office
    area_m2: 5200
    points:
      - id: b27-electricity
        carrier: electricity          # electricity, heat, cooling, gas, water, steam, temperature, ...
        role: main                    # main, sub, generation, storage, IT, ...
        meter: {serial: E27, profile: native, capacity: 1000000, multiplier: 1, max_power_kw: 2000}
"""  # noqa: E501

MORE = """\
site: {id: park, name: 示范园区, timezone: Asia/Shanghai, region: CN-BJ, language: zh}
factors: {provisional: true}          # use the newest published value for later years, flagged
buildings:
  - id: a
    use: hotel
    area_m2: [{value: 20000, from: 2019-01-01}, {value: 21500, from: 2023-07-01}]
    people: 120
    points:
      - id: a-heat
        carrier: heat
        role: main
        meters:                       # an exchange: two meters at one point, one after the other
          - serial: "60117312"
            profile: native
            capacity: {heat: 99999999, volume: 999999}     # one number, or by register
            max_power_kw: 800
            max_flow_m3h: 40
            removed: {at: 2023-06-14T10:30:00+08:00, registers: {heat: 812345.0}}
          - serial: "70220951"
            profile: native
            installed: {at: 2023-06-14T11:10:00+08:00, registers: {heat: 0.0}}
      - {id: a-gas, carrier: gas, role: main, net_calorific_value_mj_m3: 35.5, reference: "20 degC 101.325 kPa",
         meter: {serial: G9, profile: native}}
      - {id: a-chiller, carrier: electricity, role: sub, upstream: a-main, item: 01B00, meter: {serial: E31, profile: native}}
quotas:
  - {id: a-2023, subject: a, carrier: electricity, limit: 110, unit: kWh/m2, period: calendar_year, source: "own budget 2023"}
"""  # noqa: E501

HEAD = "site: {id: s, timezone: Asia/Shanghai}\n"


def load(text, **options):
    return load_site(text.encode() if isinstance(text, str) else text, file="site.yaml", **options)


def errors_of(text):
    with pytest.raises(SiteErrors) as caught:
        load(text)
    return caught.value.errors


def in_point(*lines):
    """A file whose only point, on line 4, has these lines from line 5 on."""
    rows = "".join(f"        {line}\n" for line in lines)
    return f"{HEAD}buildings:\n  - id: b\n    points:\n      - id: p\n{rows}"


def with_meter(fields):
    """A file whose meter mapping stands on line 6 after `meter: `."""
    return in_point("carrier: heat", "role: main", f"meter: {{{fields}}}")


def with_quota(fields, *, carrier="electricity", head=""):
    """A file with building `b`, point `p` and one quota."""
    return (
        f"site: {{id: s, timezone: Asia/Shanghai{head}}}\n"
        f"buildings: [{{id: b, points: [{{id: p, carrier: {carrier}, role: main}}]}}]\n"
        f"quotas: [{{id: q, carrier: {carrier}, limit: 5, source: us, {fields}}}]\n"
    )


METERS = "serial: E1, profile: native"


def test_the_least_site_file_of_the_interface_loads():
    site = load(LEAST)

    assert (site.id, site.name, site.timezone) == ("estate", "Estate", ZoneInfo("Europe/London"))
    assert (site.language, site.region, site.provisional_factors) == ("en", None, False)
    building = site.building("b27")
    assert (building.use, building.area_on(date(2024, 1, 1))) == ("office", 5200.0)
    point = site.point("b27-electricity")
    assert (point.carrier, point.role, point.building) == ("electricity", "main", "b27")
    (meter,) = point.meters
    assert (meter.serial, meter.profile, meter.multiplier) == ("E27", "native", 1.0)
    assert (meter.capacity_of("active_import"), meter.max_power_kw) == (1_000_000.0, 2000.0)
    assert check_site(site) == []


def test_the_full_site_file_of_the_interface_loads():
    site = load(MORE)

    assert (site.name, site.region, site.language) == ("示范园区", "CN-BJ", "zh")
    assert site.provisional_factors
    building = site.building("a")
    assert building.area_m2 == Dated(
        (
            DatedValue(20000.0, date(2019, 1, 1), date(2023, 7, 1)),
            DatedValue(21500.0, date(2023, 7, 1), None),
        )
    )
    assert building.people_on(date(2000, 1, 1)) == 120.0
    old, new = site.point("a-heat").meters
    # 10:30 and 11:10 in Shanghai, which is eight hours ahead
    assert old.removed == Fixture(datetime(2023, 6, 14, 2, 30, tzinfo=UTC), {"heat": 812345.0})
    assert new.installed == Fixture(datetime(2023, 6, 14, 3, 10, tzinfo=UTC), {"heat": 0.0})
    assert (old.capacity_of("heat"), old.capacity_of("volume")) == (99999999.0, 999999.0)
    assert (old.max_flow_m3h, new.capacity_of("heat")) == (40.0, None)
    gas = site.point("a-gas")
    assert (gas.net_calorific_value_mj_m3, gas.reference) == (35.5, "20 degC 101.325 kPa")
    chiller = site.point("a-chiller")
    assert (chiller.item, chiller.upstream) == ("01B00", "a-main")
    (quota,) = site.quotas
    assert (quota.id, quota.subject, quota.limit, quota.unit) == ("a-2023", "a", 110.0, "kWh/m2")
    assert (quota.measure, quota.per, quota.period) == ("kWh", "m2", "calendar_year")
    assert quota.source == "own budget 2023"


def test_the_site_file_a_new_home_starts_with_loads_without_a_finding():
    site = load(example_site())

    assert (site.region, site.language) == ("CN-BJ", "zh")
    assert check_site(site) == []


CASES = yaml.safe_load(
    (Path(__file__).parents[1] / "cases" / "site-errors.yaml").read_text(encoding="utf-8")
)
UNPRINTABLE = [
    {"case": "tab", "file": "site:\n\tid: s\n", "line": 2, "path": "", "words": "a tab"},
    {
        "case": "control character",
        "file": "site:\n  id: \x01\n",
        "line": 2,
        "path": "",
        "words": "the control character 01h. Delete it.",
    },
    {
        "case": "nested without end",
        "file": "site: 1\npoints: " + "[" * 50_000,
        "line": 2,
        "path": "",
        "words": "at most 32 levels",
    },
]


@pytest.mark.parametrize("case", CASES + UNPRINTABLE, ids=lambda case: case["case"])
def test_an_error_names_its_line_its_place_and_the_remedy(case):
    (error,) = errors_of(case["file"])

    assert (error.line, error.path) == (case["line"], case["path"])
    assert case["words"] in str(error)
    assert str(error).startswith(f"site.yaml:{case['line']}: ")
    assert re.fullmatch(r".*: wanted .+, found .+\. .+[.?]", str(error), re.DOTALL)


def test_every_error_is_reported_at_once_in_the_order_of_lines():
    errors = errors_of(
        "site: {id: s s, timezone: UTC}\n"
        "buildings:\n"
        "  - id: a\n"
        "    area_m2: -1\n"
        "    points:\n"
        "      - {id: p, carrier: heat, role: sub, upstream: p, meter: {serial: 01, profile: x}}\n"
        "quotas:\n"
        "  - {id: q}\n"
    )

    assert [error.line for error in errors] == [1, 4, 6, 6, *[8] * 6]
    assert [error.column for error in errors[:2]] == [12, 14]


def test_the_message_of_several_errors_has_a_line_for_each():
    with pytest.raises(SiteErrors) as caught:
        load("site: {id: s, timezone: UTC, x: 1, y: 2}\n")

    assert [line.split(" ")[1] for line in str(caught.value).split("\n")] == ["site.x:", "site.y:"]


def test_a_file_that_is_not_utf8_is_refused_at_its_line():
    (error,) = errors_of(b"site: {id: s, timezone: UTC}\n# " + "园区".encode("gbk"))

    assert error.line == 2
    # GBK: 园 is D4B0h, which could be UTF-8; 区 is C7F8h, which cannot
    assert "the byte C7h, which is not UTF-8. Save the file with the encoding UTF-8." in str(error)


def test_a_byte_order_mark_is_accepted():
    assert load(b"\xef\xbb\xbf" + LEAST.encode()) == load(LEAST)


def test_windows_line_ends_are_accepted():
    assert load(LEAST.replace("\n", "\r\n")) == load(LEAST)


def test_a_file_above_the_limit_is_refused_unread():
    (error,) = errors_of(b"#" * (10 * 1024 * 1024 + 1))

    assert str(error) == (
        "site.yaml: wanted a file of 10 MiB at most, found 10.0 MiB. Split it into several files."
    )


def test_a_bomb_of_aliases_is_refused_at_its_first_alias():
    text = "a: &a [x, x]\n" + "".join(
        f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )

    (error,) = errors_of(text)

    assert (error.line, "the alias *a" in str(error)) == (2, True)


def test_a_plain_number_is_taken_for_a_serial_as_it_is_written():
    site = load(with_meter("serial: 60117312, profile: native"))

    assert site.serials == ("60117312",)


def test_natural_gas_is_gas():
    site = load(in_point("carrier: natural_gas", "role: main"))

    assert site.point("p").carrier == "gas"


def test_a_unit_may_be_written_with_raised_digits():
    (quota,) = load(
        with_quota("subject: b, unit: m³/m², period: rolling_year", carrier="gas")
    ).quotas

    assert (quota.unit, quota.measure, quota.per) == ("m3/m2", "m3", "m2")


def test_a_site_with_a_heating_season_may_limit_it():
    season = ', heating_season: {from: "11-15", until: "03-16"}'
    site = load(with_quota("subject: s, unit: kWh, period: heating_season", head=season))

    assert site.heating_season == HeatingSeason((11, 15), (3, 16))


def test_registers_that_profiles_add_may_be_named():
    text = with_meter(METERS + ", capacity: {reactive_import: 9}")

    site = load(text, registers={*REGISTERS, "reactive_import"})

    assert site.point("p").meters[0].capacity_of("reactive_import") == 9.0


def test_a_meter_may_move_from_one_point_to_another():
    site = load(
        HEAD
        + "points:\n"
        + "  - {id: p, carrier: heat, role: main, meter: {serial: E1, profile: native, "
        + "removed: {at: 2023-05-01T00:00:00Z}}}\n"
        + "  - {id: q, carrier: heat, role: main, meter: {serial: E1, profile: native, "
        + "installed: {at: 2023-05-01T00:00:00Z}}}\n"
    )

    assert [each.point.id for each in site.placements_of("E1")] == ["p", "q"]


def test_meters_of_a_point_are_kept_oldest_first_whatever_their_order_in_the_file():
    site = load(
        in_point(
            "carrier: heat",
            "role: main",
            "meters:",
            "  - {serial: B, profile: native, installed: {at: 2023-01-02T00:00:00Z}}",
            "  - {serial: A, profile: native, removed: {at: 2023-01-01T00:00:00Z}}",
        )
    )

    assert [meter.serial for meter in site.point("p").meters] == ["A", "B"]


def test_dated_values_are_kept_in_the_order_of_their_days():
    site = load(
        HEAD
        + "buildings: [{id: b, area_m2: [{value: 2, from: 2021-01-01}, "
        + "{value: 1, from: 2020-01-01, until: 2020-06-01}]}]\n"
    )

    assert site.building("b").area_m2.values == (
        DatedValue(1.0, date(2020, 1, 1), date(2020, 6, 1)),
        DatedValue(2.0, date(2021, 1, 1), None),
    )


IDS = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1).filter(
    lambda text: not set(text) & set("/+#")
)


@given(st.lists(IDS, min_size=4, max_size=4, unique=True))
def test_ids_come_back_as_they_were_written(ids):
    site_id, building, point, serial = (json.dumps(each, ensure_ascii=False) for each in ids)
    site = load(
        f"site: {{id: {site_id}, timezone: UTC}}\n"
        f"buildings: [{{id: {building}, points: [{{id: {point}, carrier: heat, role: main,\n"
        f"  meter: {{serial: {serial}, profile: native}}}}]}}]\n"
    )

    assert [site.id, site.buildings[0].id, site.all_points()[0].id, site.serials[0]] == ids
    assert site.meter_key(ids[3]) == f"{ids[0]}/{ids[3]}"
    assert site.point(ids[2]).building == ids[1]


@settings(max_examples=300, deadline=None)
@given(st.randoms(use_true_random=False))
def test_a_damaged_file_loads_or_is_refused_and_nothing_else(chance: random.Random):
    content = bytearray(chance.choice([LEAST.encode(), MORE.encode(), example_site()]))
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(content))
        piece = chance.choice([b"", b"[", b"}", b": ", b"\n", b"- ", b"'", b"&a ", b"*a", b"\xff"])
        content[at : at + chance.randint(0, 12)] = piece or chance.choice(string.printable).encode()

    try:
        codes = [finding.code for finding in check_site(load(bytes(content)))]
    except SiteErrors as refused:
        codes = [str(error) for error in refused.errors] or [""]
    assert "" not in codes


def test_a_thousand_meters_load_without_a_finding_about_their_number():
    rows = "".join(
        f"      - id: p{i}\n        carrier: electricity\n        role: sub\n        item: 01A00\n"
        f"        upstream: main\n        meter: {{serial: E{i}, profile: native, "
        "capacity: 1000000, multiplier: 40, max_power_kw: 200}\n"
        for i in range(1000)
    )
    text = (
        f"{HEAD}points: [{{id: main, carrier: electricity, role: main}}]\n"
        f"buildings:\n  - id: b\n    points:\n{rows}"
    )

    site = load(text)
    findings = check_site(site)

    assert len(site.all_points()) == 1001
    assert [finding.code for finding in findings] == ["main_missing", "point_without_meter"]


def test_a_home_with_one_site_file_loads_it(tmp_path):
    (tmp_path / "site.yaml").write_text(LEAST)

    (loaded,) = load_home_sites(tmp_path)

    assert (loaded.site.id, loaded.file, loaded.content) == (
        "estate",
        "site.yaml",
        LEAST.encode(),
    )


def test_a_home_with_several_site_files_loads_them_by_name(tmp_path):
    (tmp_path / "sites").mkdir()
    (tmp_path / "sites" / "z.yaml").write_text(LEAST)
    (tmp_path / "sites" / "a.yaml").write_text(MORE, encoding="utf-8")

    loaded = load_home_sites(tmp_path)

    assert [(each.file, each.site.id) for each in loaded] == [
        ("sites/a.yaml", "park"),
        ("sites/z.yaml", "estate"),
    ]


def home_errors(home):
    with pytest.raises(SiteErrors) as caught:
        load_home_sites(home)
    return str(caught.value)


def test_a_home_with_both_kinds_of_site_files_is_refused(tmp_path):
    (tmp_path / "site.yaml").write_text(LEAST)
    (tmp_path / "sites").mkdir()
    (tmp_path / "sites" / "a.yaml").write_text(LEAST)

    assert "found site.yaml and sites/ with a.yaml. Move" in home_errors(tmp_path)


def test_a_home_without_a_site_file_is_refused(tmp_path):
    assert f"found neither in {tmp_path}. `tanyuan init` writes" in home_errors(tmp_path)


def test_a_site_file_with_the_wrong_ending_is_named(tmp_path):
    (tmp_path / "site.yml").write_text(LEAST)

    assert "found only site.yml in" in home_errors(tmp_path)


def test_two_files_of_one_site_are_refused(tmp_path):
    (tmp_path / "sites").mkdir()
    (tmp_path / "sites" / "a.yaml").write_text(LEAST)
    (tmp_path / "sites" / "b.yaml").write_text(LEAST)

    message = home_errors(tmp_path)

    assert message.startswith("sites/b.yaml: site.id: wanted each site id once, ")
    assert "found 'estate' also in sites/a.yaml." in message


def test_errors_of_all_site_files_are_reported_together(tmp_path):
    (tmp_path / "sites").mkdir()
    (tmp_path / "sites" / "a.yaml").write_text(LEAST.replace("role", "rolle"))
    (tmp_path / "sites" / "b.yaml").write_text("site: 1\n")

    lines = home_errors(tmp_path).split("\n")

    assert [line.split(": ")[0] for line in lines] == [
        "sites/a.yaml:7",
        "sites/a.yaml:9",
        "sites/b.yaml:1",
    ]
