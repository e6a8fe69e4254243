"""Intervals, roll-ups and their shares, worked by hand."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metering.intervals import Cells, Rows, combine, hour_rows, of_grid, roll_up, spread
from metering.periods import Period, edges, midnight, utc_text, whole_hours
from metering.readings import Flag
from metering.registers import increments
from metering.series import Series
from tests.metering.columns import START, register_columns

BERLIN = ZoneInfo("Europe/Berlin")
SHANGHAI = ZoneInfo("Asia/Shanghai")
KOLKATA = ZoneInfo("Asia/Kolkata")
UTC_ZONE = ZoneInfo("UTC")


def hours_of(hours, values, *, until, tz=UTC_ZONE, **physics):
    steps, marks = increments(register_columns(hours, values, **physics))
    period = Period(START, START + timedelta(hours=until))
    cells = Cells.hours(period, tz=tz)
    grid = spread(steps, marks, cells, streams=1)
    return hour_rows(grid, cells, subjects=["park/a"], quantities=["active_import"], sources=["x"])


def asked(hours, values, every, *, until, tz=UTC_ZONE, **physics):
    steps, marks = increments(register_columns(hours, values, **physics))
    cells = Cells.plain(Period(START, START + timedelta(hours=until)), every, tz=tz)
    return of_grid(spread(steps, marks, cells, streams=1), cells, 0)


def rolled(series: Series, every, *, until, tz=UTC_ZONE) -> Rows:
    period = Period(START, START + timedelta(hours=until))
    return roll_up(series, edges(period, every, tz=tz), every)


def test_reading_on_a_boundary_ends_one_interval_and_begins_the_next():
    rows = asked([0, 1, 2], [10, 13, 18], "hour", until=2)

    assert rows.value.tolist() == [3, 5]
    assert rows.coverage.tolist() == [1, 1]
    assert rows.measured.tolist() == [1, 1]


def test_energy_is_spread_evenly_between_two_readings():
    # 6 kWh from 00:30 to 02:00 is 4 kWh/h: 2 in the first hour, 4 in the second
    rows = asked([0.5, 2], [10, 16], "hour", until=3)

    assert rows.value.tolist() == pytest.approx([2, 4, np.nan], nan_ok=True)
    assert rows.coverage.tolist() == [0.5, 1, 0]


def test_longer_increment_covers_an_hour_without_being_measured_in_it():
    # two hours in one step: known, but not hour by hour
    rows = asked([0, 1, 3, 4], [0, 1, 5, 6], "hour", until=4)

    assert rows.value.tolist() == [1, 2, 2, 1]
    assert rows.coverage.tolist() == [1, 1, 1, 1]
    assert rows.measured.tolist() == [1, 0, 0, 1]
    assert [bool(f & Flag.INTERPOLATED) for f in rows.flagged().flags] == [False, True, True, False]


def test_day_of_a_meter_read_once_a_day_is_measured_and_its_hours_are_not():
    series = hours_of([0, 24, 48], [0, 24, 72], until=48)

    day, hour = rolled(series, "day", until=48), rolled(series, "hour", until=48)
    assert day.value.tolist() == pytest.approx([24, 48])
    assert day.measured.tolist() == [1, 1]
    assert hour.measured.tolist() == [0] * 48
    assert hour.coverage.tolist() == [1] * 48


def test_weeks_between_two_good_registers_are_covered_but_not_measured():
    # hourly for a day, then nothing for two weeks, then hourly again for a day
    hours = [*range(25), *range(24 + 336, 24 + 336 + 25)]
    series = hours_of(hours, [h * 2.0 for h in hours], until=31 * 24)

    month = rolled(series, "month", until=31 * 24)
    # 384 of 744 hours enclosed; 48 of 744 measured
    assert month.value.tolist() == pytest.approx([768])
    assert month.coverage.tolist() == pytest.approx([384 / 744])
    assert month.measured.tolist() == pytest.approx([48 / 744])
    assert month.flags[0] & Flag.GAP


def test_unknown_increment_leaves_null_and_no_coverage():
    rows = asked([0, 1, 2, 3], [490, 500, 20, 25], "hour", until=3)

    assert rows.value.tolist() == pytest.approx([10, np.nan, 5], nan_ok=True)
    assert rows.coverage.tolist() == [1, 0, 1]
    assert rows.flags[1] == Flag.RESET


def test_flag_of_a_reading_set_aside_shows_in_the_hour_that_holds_it():
    rows = asked([0, 1, 2, 3, 4], [10, 11, 500, 12, 13], "hour", until=4)

    # the reading at 02:00 lies in the hour from 02:00; 11 -> 12 is half and half
    assert rows.value.tolist() == [1, 0.5, 0.5, 1]
    assert [Flag(int(f)) for f in rows.flags] == [Flag.NONE, Flag.NONE, Flag.GLITCH, Flag.NONE]


@pytest.mark.parametrize(
    ("day", "quarters"),
    [(date(2024, 3, 31), 92), (date(2024, 5, 1), 96), (date(2024, 10, 27), 100)],
)
def test_local_day_has_as_many_quarter_hours_as_the_clock_change_leaves(day, quarters):
    period = Period.days(day, day + timedelta(days=1), tz=BERLIN)

    assert len(edges(period, "15min", tz=BERLIN)) - 1 == quarters
    assert len(edges(period, "hour", tz=BERLIN)) - 1 == quarters // 4


def test_hours_of_a_zone_half_an_hour_off_begin_with_its_own_day():
    period = Period.days(date(2024, 1, 1), date(2024, 1, 2), tz=KOLKATA)

    assert utc_text(period.start) == "2023-12-31T18:30:00Z"
    assert len(edges(period, "hour", tz=KOLKATA)) == 25


def test_year_of_months_is_the_sites_own():
    marks = edges(Period.year(2023, tz=SHANGHAI), "month", tz=SHANGHAI)

    assert len(marks) == 13
    assert str(marks[0]) == "2022-12-31T16:00:00.000000"
    assert str(marks[2]) == "2023-02-28T16:00:00.000000"


def test_asked_span_clips_the_calendar_intervals_at_its_ends():
    period = Period.days(date(2024, 1, 15), date(2024, 2, 10), tz=UTC_ZONE)

    marks = edges(period, "month", tz=UTC_ZONE)

    assert [str(mark)[:10] for mark in marks] == ["2024-01-15", "2024-02-01", "2024-02-10"]


def test_day_whose_midnight_is_skipped_begins_when_the_clock_goes_on():
    # Beirut, 2024-03-31: 00:00 does not exist, the day begins at 01:00 summer time = 22:00 UTC
    start = midnight(date(2024, 3, 31), tz=ZoneInfo("Asia/Beirut"))

    assert start == datetime(2024, 3, 30, 22, tzinfo=UTC)


def test_whole_hours_enclose_a_span():
    low, high = np.datetime64("2024-01-01T00:10", "us"), np.datetime64("2024-01-01T02:00", "us")

    assert whole_hours(low, high, tz=UTC_ZONE) == Period(START, START + timedelta(hours=2))
    assert whole_hours(high, high, tz=UTC_ZONE).start == START + timedelta(hours=2)


def test_points_are_added_and_their_shares_averaged():
    one = asked([0, 1, 2], [0, 3, 8], "hour", until=2)
    other = asked([0, 1], [0, 1], "hour", until=2)

    rows = combine([(one, 1.0), (other, -1.0)])

    # 3 - 1 = 2; the second hour knows only the first meter
    assert rows.value.tolist() == [2, 5]
    assert rows.coverage.tolist() == [1, 0.5]


def test_nothing_known_of_any_point_is_null():
    marks = edges(Period(START, START + timedelta(hours=1)), "hour", tz=UTC_ZONE)

    rows = combine([(Rows.unknown(marks), 1.0)])

    assert np.isnan(rows.value).all()


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.02, 40), st.floats(0, 500)), min_size=3, max_size=50),
    st.sampled_from(["15min", "hour", "day"]),
    st.sampled_from([BERLIN, SHANGHAI, KOLKATA]),
)
def test_no_kwh_is_lost_or_invented_by_spreading(steps_in, every, tz):
    hours = np.cumsum([h for h, _ in steps_in])
    values = np.cumsum([v for _, v in steps_in])

    rows = asked(hours, values, every, until=int(hours[-1]) + 2, tz=tz)

    known = values[-1] - values[0]
    assert np.nansum(rows.value) == pytest.approx(known, rel=1e-9, abs=1e-6)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 60), st.integers(1, 60))
def test_an_hour_has_the_same_bits_whatever_is_computed_beside_it(first, length):
    rng = np.random.default_rng(7)
    hours = np.cumsum(rng.choice([0.1, 0.25, 0.7, 3], 400))
    values = np.cumsum(rng.random(400))
    steps, marks = increments(register_columns(hours, values))
    whole = Cells.hours(Period(START, START + timedelta(hours=130)), tz=UTC_ZONE)
    start = START + timedelta(hours=first)
    part = Cells.hours(Period(start, start + timedelta(hours=length)), tz=UTC_ZONE)

    one = spread(steps, marks, whole, streams=1).amount[0][first : first + length]
    other = spread(steps, marks, part, streams=1).amount[0]

    assert one.tobytes() == other.tobytes()
