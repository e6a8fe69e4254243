"""A meter is exchanged: the record wins, nothing is lost and nothing passes between two meters."""

from __future__ import annotations

import os
import signal
import time
from datetime import UTC, datetime, timedelta

import pytest

from tests.acceptance.running import answer, call, make_home, rows, up, values, write_readings

BUILDING = """
site: {id: park, name: Park, timezone: Asia/Shanghai, region: CN-BJ}
buildings:
  - id: a
    points:
      - id: a-heat
        carrier: heat
        role: main
"""
ONE = (
    BUILDING
    + """        meter: {serial: "601", profile: native, max_power_kw: 800}
      - {id: spare, carrier: heat, role: sub, meter: {serial: "702", profile: native}}
"""
)
TWO = (
    BUILDING
    + """        meters:
          - serial: "601"
            profile: native
            max_power_kw: 800
            removed: {at: 2023-06-14T10:30:00+08:00, registers: {heat: 812345.0}}
          - serial: "702"
            profile: native
            max_power_kw: 800
            installed: {at: 2023-06-14T11:10:00+08:00, registers: {heat: 20.0}}
"""
)
WITHOUT_REGISTERS = TWO.replace(", registers: {heat: 812345.0}", "").replace(
    ", registers: {heat: 20.0}", ""
)
DAY = ("--from", "2023-06-14", "--to", "2023-06-15", "--point", "a-heat")
MIDNIGHT = datetime(2023, 6, 13, 16, tzinfo=UTC)


def readings():
    """6 kWh an hour: the old meter to 10:00, then 812,345 at 10:30; the new one from 20 at 11:10.

    The old one shows 812,282 at midnight, 60 more at 10:00 and 3 more at 10:30. The new one shows
    25 at 12:00 (6 x 50 min = 5), then 6 more each hour to 97 at midnight.
    """
    old = [("601", 812282 + 6 * n, n) for n in range(11)]
    new = [("702", 25 + 6 * (n - 12), n) for n in range(12, 25)]
    return [
        (meter, "heat", f"{MIDNIGHT + timedelta(hours=n):%Y-%m-%dT%H:%M:%SZ}", value)
        for meter, value, n in old + new
    ]


def home_with(folder, site):
    home = make_home(folder, site)
    answer(home, "import", str(write_readings(folder / "day.csv", readings())))
    return home


def test_the_record_makes_the_day_whole_but_for_the_time_without_a_meter(tmp_path):
    """63 kWh to the removal, 77 kWh since the installation; 40 minutes nobody knows."""
    home = home_with(tmp_path / "home", TWO)
    (day,) = rows(answer(home, "energy", *DAY))
    assert day["value"] == pytest.approx((812345 - 812282) + (97 - 20))
    assert day["coverage"] == pytest.approx((24 * 60 - 40) / (24 * 60))
    assert day["flags"] == ["exchange"]


def test_the_hours_of_the_exchange_hold_what_was_noted(tmp_path):
    home = home_with(tmp_path / "home", TWO)
    found = rows(answer(home, "energy", *DAY, "--every", "hour"))
    assert [r["value"] for r in found[9:13]] == pytest.approx([6, 3, 5, 6])
    assert [r["coverage"] for r in found[9:13]] == pytest.approx([1, 0.5, 50 / 60, 1])
    assert [r["flags"] for r in found[9:13]] == [[], ["exchange"], ["exchange"], []]


def test_without_what_the_registers_showed_the_ends_are_unknown_and_nothing_is_invented(tmp_path):
    """60 kWh to the last reading of the old meter, 72 since the first of the new one."""
    home = home_with(tmp_path / "home", WITHOUT_REGISTERS)
    (day,) = rows(answer(home, "energy", *DAY))
    assert day["value"] == pytest.approx(60 + 72)
    assert day["coverage"] == pytest.approx(22 / 24)


def test_an_exchange_entered_later_gives_the_bytes_of_one_entered_in_time(tmp_path):
    """The site file learns of it after the readings came; no reading is moved for it."""
    late = home_with(tmp_path / "late", ONE)
    for every in ("hour", "day"):
        call(late, "energy", *DAY, "--every", every, "--json")
    (late / "site.yaml").write_text(TWO)
    in_time = home_with(tmp_path / "in-time", TWO)
    for every in ("15min", "hour", "day"):
        question = ("energy", *DAY, "--every", every, "--json")
        assert call(late, *question).out == call(in_time, *question).out
    question = ("emissions", *DAY, "--every", "hour", "--json")
    assert call(late, *question).out == call(in_time, *question).out


def test_a_reading_of_the_old_meter_after_its_removal_does_not_count(tmp_path):
    home = home_with(tmp_path / "home", TWO)
    before = call(home, "energy", *DAY, "--every", "hour", "--json").out
    stray = [("601", "heat", "2023-06-14T15:00:00+08:00", 812400.0)]
    answer(home, "import", str(write_readings(tmp_path / "stray.csv", stray)))
    assert call(home, "energy", *DAY, "--every", "hour", "--json").out == before


def test_tenures_that_overlap_are_refused_with_both_meters(tmp_path):
    overlapping = TWO.replace("2023-06-14T11:10:00", "2023-06-14T09:10:00")
    home = make_home(tmp_path / "home", overlapping)
    done = call(home, "status", "--json")
    assert done.status == 1
    assert "601" in done.document["detail"]
    assert "702" in done.document["detail"]


def test_a_running_up_learns_of_the_exchange_by_sighup(tmp_path):
    home = home_with(tmp_path / "home", ONE)
    with up(home) as running:
        assert values(answer(home, "energy", *DAY)) == [pytest.approx(60)]
        (home / "site.yaml").write_text(TWO)
        os.kill(running.pid, signal.SIGHUP)
        deadline = time.monotonic() + 30
        while (found := values(answer(home, "energy", *DAY))) != [pytest.approx(140)]:
            assert time.monotonic() < deadline, found
            time.sleep(0.1)
