"""What an answer's rows say of time, of what is known, and of how well."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from metering.readings import Flag
from tests.acceptance.running import answer, call, make_home, rows, values, write_readings

SITE = """
site: {id: berlin, name: Berlin, timezone: Europe/Berlin}
points:
  - {id: even, carrier: electricity, role: main, meter: {serial: M1, profile: native}}
  - {id: dead, carrier: electricity, role: sub, meter: {serial: M2, profile: native}}
  - {id: reset, carrier: electricity, role: sub,
     meter: {serial: M3, profile: native, capacity: 100000, max_power_kw: 100}}
  - {id: still, carrier: electricity, role: sub, meter: {serial: M4, profile: native}}
  - {id: daily, carrier: electricity, role: sub, meter: {serial: M5, profile: native}}
  - {id: odd, carrier: electricity, role: sub, meter: {serial: M6, profile: native}}
  - {id: future, carrier: electricity, role: sub, meter: {serial: M7, profile: native}}
  - {id: roll, carrier: electricity, role: sub,
     meter: {serial: M8, profile: native, capacity: 10000, max_power_kw: 100}}
buildings:
  - id: two
    points:
      - {id: known, carrier: heat, role: main, meter: {serial: H1, profile: native}}
      - {id: half, carrier: heat, role: main, meter: {serial: H2, profile: native}}
"""


def utc(*parts):
    return datetime(*parts, tzinfo=UTC)


def text(instant):
    return f"{instant:%Y-%m-%dT%H:%M:%SZ}"


def hourly(meter, first, count, *, step_kwh=1.0, start=500.0, register="active_import"):
    """Readings on the hour, each one step more than the one before."""
    return [
        (meter, register, text(first + timedelta(hours=n)), start + n * step_kwh)
        for n in range(count)
    ]


@pytest.fixture(scope="module")
def berlin(tmp_path_factory):
    home = make_home(tmp_path_factory.mktemp("rows") / "home", SITE)
    # M1: every hour of March and October 2023 in Berlin, half a kilowatt-hour each
    readings = hourly("M1", utc(2023, 2, 28, 23), 743 + 1, step_kwh=0.5)
    readings += hourly("M1", utc(2023, 9, 30, 22), 745 + 1, step_kwh=0.5, start=2000)
    # M2: hourly in April 2023, but nothing from the 5th to the 26th (504 h of 720)
    april = utc(2023, 3, 31, 22)
    hours = [n for n in range(721) if not 96 < n < 96 + 504]
    readings += [("M2", "active_import", text(april + timedelta(hours=n)), 10 * n) for n in hours]
    # M3: on 1 June 2023 at 12:00 (10:00 UTC) the register falls to 3: a reset
    june = utc(2023, 5, 31, 22)
    readings += hourly("M3", june, 12, step_kwh=5)
    readings += hourly("M3", june + timedelta(hours=12), 13, step_kwh=5, start=3)
    # M4 stands still; M5 is read once a day at local midnight in July
    readings += hourly("M4", june, 25, step_kwh=0)
    readings += [
        ("M5", "active_import", text(utc(2023, 6, 30, 22) + timedelta(days=n)), 24 * n)
        for n in range(32)
    ]
    # M6 is read at odd minutes: 30 kWh from 00:20 to 00:50, then 35 kWh up to 02:00
    readings += [
        ("M6", "active_import", "2023-08-01T00:20:00+02:00", 100),
        ("M6", "active_import", "2023-08-01T00:50:00+02:00", 130),
        ("M6", "active_import", "2023-08-01T02:00:00+02:00", 165),
    ]
    # M7: hourly, and one reading whose clock is far ahead
    readings += hourly("M7", june, 25)
    readings += [("M7", "active_import", "2106-02-07T06:28:15Z", 600)]
    # M8: 9,990 and then 20 in the next hour: 30 kWh over the top
    readings += [("M8", "active_import", text(june + timedelta(hours=n)), v)
                 for n, v in enumerate([9970, 9990, 20, 40])]  # fmt: skip
    # H1 is known all day on 1 June, H2 only from noon on
    readings += hourly("H1", june, 25, register="heat", step_kwh=2)
    readings += hourly("H2", june + timedelta(hours=12), 13, register="heat", step_kwh=4)
    answer(home, "import", str(write_readings(home / "readings.csv", readings)))
    return home


def asked(home, first, until, every, *scope):
    return answer(home, "energy", "--from", first, "--to", until, "--every", every, *scope)


@pytest.mark.parametrize(
    ("day", "next_day", "quarters"),
    [("2023-03-25", "2023-03-26", 96), ("2023-03-26", "2023-03-27", 92),
     ("2023-10-29", "2023-10-30", 100)],
)  # fmt: skip
def test_a_day_has_92_96_or_100_quarter_hours(berlin, day, next_day, quarters):
    found = rows(asked(berlin, day, next_day, "15min", "--point", "even"))
    assert len(found) == quarters
    assert [r["value"] for r in found] == pytest.approx([0.125] * quarters)
    assert [r["end"] for r in found[:-1]] == [r["start"] for r in found[1:]]
    hours = rows(asked(berlin, day, next_day, "hour", "--point", "even"))
    assert len(hours) == quarters / 4


def test_days_are_half_open(berlin):
    """March has 743 hours in Berlin; from the 1st to the 1st of April it is March and no more."""
    found = rows(asked(berlin, "2023-03-01", "2023-04-01", "day", "--point", "even"))
    assert len(found) == 31
    assert found[0]["start"] == "2023-02-28T23:00:00Z"
    assert found[-1]["end"] == "2023-03-31T22:00:00Z"
    assert sum(r["value"] for r in found) == pytest.approx(743 / 2)
    assert found[25]["value"] == pytest.approx(23 / 2)


def test_a_month_and_a_year_are_those_of_the_site(berlin):
    (month,) = rows(asked(berlin, "2023-10-01", "2023-11-01", "month", "--point", "even"))
    assert (month["start"], month["end"]) == ("2023-09-30T22:00:00Z", "2023-10-31T23:00:00Z")
    assert month["value"] == pytest.approx(745 / 2)
    (year,) = rows(asked(berlin, "2023-01-01", "2024-01-01", "year", "--point", "even"))
    assert (year["start"], year["end"]) == ("2022-12-31T23:00:00Z", "2023-12-31T23:00:00Z")


def test_months_cut_by_the_asked_days_are_cut(berlin):
    """From 15 March to 10 April are two rows, and the first begins on the 15th."""
    found = rows(asked(berlin, "2023-03-15", "2023-04-10", "month", "--point", "even"))
    assert [(r["start"], r["end"]) for r in found] == [
        ("2023-03-14T23:00:00Z", "2023-03-31T22:00:00Z"),
        ("2023-03-31T22:00:00Z", "2023-04-09T22:00:00Z"),
    ]


def test_there_is_a_row_for_every_interval_the_future_too(berlin):
    found = rows(asked(berlin, "2090-01-01", "2090-01-08", "day", "--point", "even"))
    assert len(found) == 7
    assert {(r["value"], r["coverage"], r["measured"]) for r in found} == {(None, 0, 0)}
    assert all(r["flags"] == [] for r in found)


def test_a_point_without_readings_has_rows_that_know_nothing(tmp_path):
    home = make_home(tmp_path / "home", SITE)
    found = rows(asked(home, "2023-01-01", "2023-01-03", "hour", "--point", "even"))
    assert len(found) == 48
    assert {r["value"] for r in found} == {None}


def test_energy_is_spread_evenly_between_two_readings(berlin):
    """60 kW from 00:20 to 00:50, 30 kW to 02:00: by the hour 30 + 5 and 30 kWh."""
    found = rows(asked(berlin, "2023-08-01", "2023-08-02", "hour", "--point", "odd"))
    assert [r["value"] for r in found[:3]] == [pytest.approx(35), pytest.approx(30), None]
    assert [r["coverage"] for r in found[:3]] == pytest.approx([40 / 60, 1, 0])


def test_what_is_longer_than_the_interval_is_not_measured(berlin):
    """The 30 minutes are shorter than an hour and measured; the 70 minutes are longer."""
    found = rows(asked(berlin, "2023-08-01", "2023-08-02", "hour", "--point", "odd"))
    assert [r["measured"] for r in found[:3]] == pytest.approx([30 / 60, 0, 0])
    assert [r["flags"] for r in found[:3]] == [["interpolated"], ["interpolated"], []]
    (day,) = rows(asked(berlin, "2023-08-01", "2023-08-02", "day", "--point", "odd"))
    assert day["value"] == pytest.approx(65)
    assert day["measured"] == day["coverage"] == pytest.approx(100 / 1440)
    assert day["flags"] == []


def test_a_reading_on_a_boundary_ends_one_interval_and_begins_the_next(berlin):
    found = rows(asked(berlin, "2023-06-01", "2023-06-02", "hour", "--point", "future"))
    assert [r["value"] for r in found] == pytest.approx([1] * 24)
    assert {(r["coverage"], r["measured"]) for r in found} == {(1, 1)}


def test_null_before_the_first_and_after_the_last_reading(berlin):
    found = values(asked(berlin, "2023-03-31", "2023-04-02", "hour", "--point", "dead"))
    assert found[:24] == [None] * 24
    assert found[24] == pytest.approx(10)
    after = values(asked(berlin, "2023-05-01", "2023-05-02", "hour", "--point", "dead"))
    assert after == [None] * 24


def test_a_meter_that_stands_still_used_nothing_and_that_is_known(berlin):
    found = rows(asked(berlin, "2023-06-01", "2023-06-02", "hour", "--point", "still"))
    assert {(r["value"], r["coverage"], r["measured"]) for r in found} == {(0.0, 1.0, 1.0)}


def test_across_a_reset_nothing_is_known(berlin):
    """The hour from 11 to 12 is unknown and flagged; the rest of the day is 23 x 5 kWh."""
    found = rows(asked(berlin, "2023-06-01", "2023-06-02", "hour", "--point", "reset"))
    assert (found[11]["value"], found[11]["coverage"], found[11]["flags"]) == (None, 0, ["reset"])
    assert [r["value"] for n, r in enumerate(found) if n != 11] == pytest.approx([5] * 23)
    (day,) = rows(asked(berlin, "2023-06-01", "2023-06-02", "day", "--point", "reset"))
    assert day["value"] == pytest.approx(23 * 5)
    assert day["coverage"] == pytest.approx(23 / 24)
    assert day["flags"] == ["reset"]


def test_a_rollover_adds_both_sides_of_the_top(berlin):
    found = rows(asked(berlin, "2023-06-01", "2023-06-02", "hour", "--point", "roll"))
    assert [r["value"] for r in found[:3]] == pytest.approx([20, 30, 20])
    assert [r["flags"] for r in found[:3]] == [[], ["rollover"], []]


def test_a_gateway_dead_for_weeks_keeps_coverage_and_lowers_measured(berlin):
    """720 h of April, 504 of them in one increment between two good registers."""
    (month,) = rows(asked(berlin, "2023-04-01", "2023-05-01", "month", "--point", "dead"))
    assert month["value"] == pytest.approx(7200)
    assert month["coverage"] == 1
    assert month["measured"] == pytest.approx(216 / 720)
    assert month["flags"] == ["gap", "interpolated"]


def test_inside_the_gap_the_hours_are_known_but_not_measured(berlin):
    found = rows(asked(berlin, "2023-04-10", "2023-04-11", "hour", "--point", "dead"))
    assert [r["value"] for r in found] == pytest.approx([10] * 24)
    assert {(r["coverage"], r["measured"]) for r in found} == {(1, 0)}


def test_a_daily_reading_measures_days_and_not_hours(berlin):
    """One a day is the usual spacing here: no gap, but longer than an hour."""
    hours = rows(asked(berlin, "2023-07-10", "2023-07-11", "hour", "--point", "daily"))
    assert {(r["coverage"], r["measured"], *r["flags"]) for r in hours} == {(1, 0, "interpolated")}
    days = rows(asked(berlin, "2023-07-10", "2023-07-13", "day", "--point", "daily"))
    assert {(r["coverage"], r["measured"], *r["flags"]) for r in days} == {(1, 1)}
    assert [r["value"] for r in days] == pytest.approx([24] * 3)


def test_over_several_points_the_shares_are_the_unweighted_mean(berlin):
    """24 x 2 kWh and 12 x 4 kWh; one point is known all day, the other for half of it."""
    (day,) = rows(asked(berlin, "2023-06-01", "2023-06-02", "day", "--building", "two"))
    assert day["value"] == pytest.approx(96)
    assert day["coverage"] == day["measured"] == pytest.approx(0.75)


def test_a_point_that_never_spoke_counts_as_unknown_in_the_mean(tmp_path):
    home = make_home(tmp_path / "home", SITE)
    readings = hourly("H1", utc(2023, 5, 31, 22), 25, register="heat")
    answer(home, "import", str(write_readings(home / "one.csv", readings)))
    (day,) = rows(asked(home, "2023-06-01", "2023-06-02", "day", "--building", "two"))
    assert (day["value"], day["coverage"]) == (pytest.approx(24), pytest.approx(0.5))


def test_a_clock_far_ahead_takes_no_part(berlin):
    """A reading of 2106 does not stretch the last increment over 80 years."""
    (there,) = rows(asked(berlin, "2106-02-07", "2106-02-08", "day", "--point", "future"))
    assert (there["value"], there["coverage"]) == (None, 0)
    assert values(asked(berlin, "2050-01-01", "2050-01-02", "day", "--point", "future")) == [None]


def test_flags_are_sorted_names_of_the_documented_list(berlin):
    known = {flag.name.lower() for flag in Flag if flag.name}
    for point in ("dead", "reset", "roll", "future", "odd"):
        for row in rows(asked(berlin, "2023-01-01", "2024-01-01", "month", "--point", point)):
            assert row["flags"] == sorted(row["flags"])
            assert set(row["flags"]) <= known


def test_numbers_are_not_rounded(tmp_path):
    """0.1 and 0.3 on the register are 0.19999999999999998 apart."""
    home = make_home(tmp_path / "home", SITE)
    readings = [
        ("M1", "active_import", "2023-06-01T00:00:00+02:00", 0.1),
        ("M1", "active_import", "2023-06-01T01:00:00+02:00", 0.3),
    ]
    answer(home, "import", str(write_readings(home / "two.csv", readings)))
    found = values(asked(home, "2023-06-01", "2023-06-02", "hour", "--point", "even"))
    assert found[0] == 0.3 - 0.1


def test_a_conflict_is_flagged_and_the_later_value_counts(tmp_path):
    """200 was said first for 01:00 and then 104; the hours on both sides of it show it."""
    home = make_home(tmp_path / "home", SITE)
    start = utc(2023, 5, 31, 22)
    readings = hourly("M1", start, 5, start=100)
    first = [*readings, ("M1", "active_import", text(start + timedelta(hours=1)), 100.5)]
    answer(home, "import", str(write_readings(home / "a.csv", first)))
    found = rows(asked(home, "2023-06-01", "2023-06-02", "hour", "--point", "even"))
    assert [r["value"] for r in found[:3]] == pytest.approx([0.5, 1.5, 1])
    assert [r["flags"] for r in found[:3]] == [["conflict"], ["conflict"], []]


def test_the_same_reading_again_is_no_conflict(tmp_path):
    home = make_home(tmp_path / "home", SITE)
    path = write_readings(home / "a.csv", hourly("M1", utc(2023, 5, 31, 22), 5))
    answer(home, "import", str(path))
    before = call(home, "energy", "--from", "2023-06-01", "--to", "2023-06-02", "--json").out
    answer(home, "import", str(path))
    assert (
        call(home, "energy", "--from", "2023-06-01", "--to", "2023-06-02", "--json").out == before
    )
    assert b"conflict" not in before
