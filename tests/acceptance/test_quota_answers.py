"""Quotas as they are printed: use, shares, projection and verdict, on any day of the year."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest

from tests.acceptance.running import answer, make_home, opened, write_readings

SITE = """
site: {id: park, name: Park, timezone: Asia/Shanghai, region: CN-BJ,
       heating_season: {from: 11-15, until: 03-16}}
buildings:
  - id: a
    area_m2: [{value: 900, from: 2020-01-01}, {value: 1000, from: 2022-07-01}]
    people: 50
    points:
      - {id: main, carrier: electricity, role: main, meter: {serial: E1, profile: native}}
      - {id: half, carrier: electricity, role: sub, meter: {serial: E2, profile: native}}
      - {id: gas, carrier: gas, role: main, net_calorific_value_mj_m3: 36,
         meter: {serial: G1, profile: native}}
quotas:
  - {id: wide, subject: a, carrier: electricity, limit: 110, unit: kWh/m2,
     period: calendar_year, source: "own budget"}
  - {id: tight, subject: a, carrier: electricity, limit: 80, unit: kWh/m2,
     period: calendar_year, source: "own budget"}
  - {id: broken, subject: a, carrier: electricity, limit: 10, unit: kWh/m2,
     period: calendar_year, source: "own budget"}
  - {id: heads, subject: a, carrier: electricity, limit: 2000, unit: kWh/person,
     period: calendar_year, source: "own budget"}
  - {id: plain, subject: park, carrier: electricity, limit: 100, unit: MWh,
     period: calendar_year, source: "own budget"}
  - {id: sparse, subject: half, carrier: electricity, limit: 100, unit: MWh,
     period: calendar_year, source: "own budget"}
  - {id: rolling, subject: a, carrier: electricity, limit: 110, unit: kWh/m2,
     period: rolling_year, source: "own budget"}
  - {id: winter, subject: a, carrier: gas, limit: 50, unit: MWh,
     period: heating_season, source: "own budget"}
  - {id: old, subject: a, carrier: electricity, limit: 110, unit: kWh/m2,
     period: calendar_year, source: "own budget", until: 2023-01-01}
"""
KEYS = [
    "quota", "subject", "period", "limit", "unit", "used", "coverage", "measured",
    "expected_share", "used_share", "projection", "verdict", "verification", "reasons",
]  # fmt: skip
DAY_KWH = 240.0


@pytest.fixture(scope="module")
def park(tmp_path_factory):
    """10 kW all day, every day, read at each midnight from July 2022 to 1 July 2023.

    The sub-meter `half` is silent from 11 January to 1 July. Gas: 20 m3 of 36 MJ, 200 kWh a day.
    """
    home = make_home(tmp_path_factory.mktemp("quota") / "home", SITE)
    first = datetime(2022, 6, 30, 16, tzinfo=UTC)
    readings = []
    for day in range(366):
        at = f"{first + timedelta(days=day):%Y-%m-%dT%H:%M:%SZ}"
        readings.append(("E1", "active_import", at, DAY_KWH * day))
        readings.append(("G1", "gas_volume", at, 20 * day))
        if day <= 194:  # 10 January 2023 24:00
            readings.append(("E2", "active_import", at, DAY_KWH * day))
    answer(home, "import", str(write_readings(home / "year.csv", readings)))
    with opened(home):
        yield home


def quotas(park, on):
    document = answer(park, "quota", "--on", on)
    assert document["on"] == on
    return {q["quota"]: q for q in document["quotas"]}


def test_a_quota_has_the_keys_of_the_interface(park):
    found = quotas(park, "2023-06-30")
    assert list(found) == [
        "wide", "tight", "broken", "heads", "plain", "sparse", "rolling", "winter", "old",
    ]  # fmt: skip
    for each in found.values():
        assert list(each) == KEYS
        assert list(each["period"]) == ["kind", "start", "end"]
        assert each["verification"] == "own"
    assert list(found["wide"]["projection"]) == ["value", "low", "high"]


def test_use_to_the_end_of_the_day_per_square_metre(park):
    """181 days to 30 June 2023, 240 kWh each, on 1,000 m2: 43.44 kWh/m2."""
    wide = quotas(park, "2023-06-30")["wide"]
    assert wide["used"] == pytest.approx(181 * DAY_KWH / 1000)
    assert wide["used_share"] == pytest.approx(43.44 / 110)
    assert wide["expected_share"] == pytest.approx(181 / 365)
    assert wide["period"] == {
        "kind": "calendar_year",
        "start": "2022-12-31T16:00:00Z",
        "end": "2023-12-31T16:00:00Z",
    }
    assert (wide["coverage"], wide["measured"]) == (1, 1)


def test_the_projection_of_an_even_use_is_even(park):
    """365 days x 240 kWh on 1,000 m2 are 87.6 kWh/m2; no week differs from another."""
    for name, verdict in (("wide", "within"), ("tight", "at_risk")):
        found = quotas(park, "2023-06-30")[name]
        assert found["projection"]["value"] == pytest.approx(87.6)
        assert found["projection"]["low"] == pytest.approx(87.6)
        assert found["projection"]["high"] == pytest.approx(87.6)
        assert found["verdict"] == verdict
    assert quotas(park, "2023-06-30")["tight"]["reasons"]


def test_what_is_above_the_limit_is_exceeded_from_that_day_on(park):
    """10 kWh/m2 are 41.67 days: within at first sight on no day, exceeded from 11 February on."""
    verdicts = {on: quotas(park, on)["broken"]["verdict"] for on in ("2023-02-10", "2023-02-11")}
    assert verdicts == {"2023-02-10": "at_risk", "2023-02-11": "exceeded"}


def test_per_person_and_in_megawatt_hours(park):
    found = quotas(park, "2023-06-30")
    assert found["heads"]["used"] == pytest.approx(181 * DAY_KWH / 50)
    assert found["plain"]["used"] == pytest.approx(181 * DAY_KWH / 1000)
    assert found["plain"]["subject"] == "park"


def test_low_coverage_is_not_assessable_and_says_so(park):
    """10 of 181 days are known."""
    sparse = quotas(park, "2023-06-30")["sparse"]
    assert sparse["verdict"] == "not_assessable"
    assert sparse["coverage"] == pytest.approx(10 / 181)
    assert sparse["used"] == pytest.approx(10 * 0.24)
    assert "5.5 %" in sparse["reasons"][0]


def test_a_rolling_year_ends_with_the_day(park):
    """From 1 July 2022 to 30 June 2023: 365 days on 1,000 m2."""
    rolling = quotas(park, "2023-06-30")["rolling"]
    assert rolling["period"]["start"] == "2022-06-30T16:00:00Z"
    assert rolling["period"]["end"] == "2023-06-30T16:00:00Z"
    assert rolling["used"] == pytest.approx(87.6)
    assert rolling["expected_share"] == 1


def test_a_heating_season_is_that_of_the_site(park):
    """15 November to 15 March included: 121 days; on 30 June it is the season that ended."""
    winter = quotas(park, "2023-06-30")["winter"]
    assert winter["period"]["start"] == "2022-11-14T16:00:00Z"
    assert winter["period"]["end"] == "2023-03-15T16:00:00Z"
    assert winter["used"] == pytest.approx(121 * 0.2)
    assert winter["expected_share"] == 1


def test_a_quota_that_is_not_in_force_is_not_in_scope(park):
    old = quotas(park, "2023-06-30")["old"]
    assert old["verdict"] == "not_in_scope"
    assert old["reasons"]


def test_a_day_before_anything_was_measured_is_not_assessable(park):
    wide = quotas(park, "2021-06-30")["wide"]
    assert (wide["verdict"], wide["used"], wide["coverage"]) == ("not_assessable", None, 0)


def test_every_verdict_is_one_of_the_interface(park):
    known = {"within", "at_risk", "exceeded", "not_assessable", "not_in_scope"}
    days = ("2022-12-31", "2023-01-01", "2023-03-15", "2023-07-05", "2024-02-29")
    found = itertools.chain.from_iterable(quotas(park, on).values() for on in days)
    assert {q["verdict"] for q in found} <= known
