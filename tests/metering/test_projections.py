"""Where a sum of days will end, worked by hand."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from metering.projections import Projection, known_total, projection_of

ESTATE = Path(__file__).parents[3] / "shared/data/cambridge-estate/meters.csv.gz"
WEEK = np.array([False] * 5 + [True] * 2)


def projection(value, *, elapsed, coverage=None, weekend=None):
    value = np.array(value, np.float64)
    coverage = np.where(np.isnan(value), 0.0, 1.0) if coverage is None else np.array(coverage)
    weekend = np.zeros(len(value), np.bool_) if weekend is None else weekend
    return projection_of(value, coverage, elapsed=elapsed, weekend=weekend)


def ahead(days):
    return [np.nan] * days


def test_a_period_without_missing_days_ends_at_its_sum():
    assert projection([1.0, 2.0, 4.0], elapsed=3) == Projection(7.0, 7.0, 7.0)


def test_days_that_never_vary_have_no_band():
    # 30 days of 5 known, 10 to come: 40 × 5
    assert projection([5.0] * 30 + ahead(10), elapsed=30) == Projection(200.0, 200.0, 200.0)


def test_band_is_as_wide_as_one_more_week_may_differ():
    # Weeks of 9, 11, 9, 11 a day: s² = 4 × 1² / 3, one more week: 4 / 3 × (1 + 1 / 4) = 5 / 3.
    # 10 days to come: 5 / 3 × 10 × 10 = 166.667; 1.6449 × 12.90994 = 21.23557
    got = projection(([9.0] * 7 + [11.0] * 7) * 2 + ahead(10), elapsed=28)

    assert got.value == 380.0
    assert got.high - got.value == pytest.approx(21.23557, abs=1e-5)
    assert got.value - got.low == pytest.approx(21.23557, abs=1e-5)


def test_less_than_a_week_varies_like_days():
    # the same weeks; 2 days to come: 5 / 3 × 2 × 7 = 23.3333; 1.6449 × 4.830459 = 7.945622
    got = projection(([9.0] * 7 + [11.0] * 7) * 2 + ahead(2), elapsed=28)

    assert got.high - got.value == pytest.approx(7.945622, abs=1e-5)


def test_the_band_does_not_fall_below_what_is_used_unless_energy_can_flow_back():
    # mean 5, weeks ± 5: s² = 4 × 25 / 3, one more week 125 / 3; 1 day to come: × 7 = 291.6667;
    # 5 ± 1.6449 × 17.07825 = 5 ± 28.09201
    import_only = projection([0.0] * 14 + [10.0] * 14 + ahead(1), elapsed=28)
    with_export = projection([-5.0] * 14 + [5.0] * 14 + ahead(1), elapsed=28)

    assert (import_only.value, import_only.low) == (145.0, 140.0)
    assert import_only.high == pytest.approx(145 + 28.09201, abs=1e-5)
    assert with_export.value == 0.0
    assert with_export.low == pytest.approx(-28.09201, abs=1e-5)


def test_working_days_and_weekends_are_expected_apart():
    # four weeks of 5 × 100 + 2 × 30 = 560; to come a working week without its weekend: 500
    week = [100.0] * 5 + [30.0] * 2
    weekend = np.concatenate([np.tile(WEEK, 4), WEEK[:5]])

    got = projection(week * 4 + ahead(5), elapsed=28, weekend=weekend)

    assert got == Projection(2740.0, 2740.0, 2740.0)


def test_too_few_days_of_a_kind_are_not_told_apart():
    # Weekends unknown but for three: 30 + 3 known days. All are one kind, with the mean of all:
    # (30 × 100 + 3 × 34) / 33 = 94; 2 days to come
    value = [100.0] * 30 + [34.0] * 3 + ahead(2)
    weekend = np.array([False] * 30 + [True] * 5)

    got = projection(value, elapsed=33, weekend=weekend)

    assert got.value == pytest.approx(3102 + 2 * 94)


def test_unknown_days_gone_by_are_expected_like_those_to_come():
    # 40 days known, 10 unknown, 10 to come: 60 × 3
    got = projection([3.0] * 20 + ahead(10) + [3.0] * 20 + ahead(10), elapsed=50)

    assert got.value == 180.0


def test_part_of_a_day_is_completed_and_does_not_count_as_a_known_day():
    # 29 whole days of 8 and one of which half is known, 4: 29 × 8 + 4 + half a day of 8 = 240
    coverage = [1.0] * 29 + [0.5]

    got = projection([8.0] * 29 + [4.0], elapsed=30, coverage=coverage)

    assert got.value == pytest.approx(240.0)
    assert projection([8.0] * 27 + [4.0] * 3, elapsed=30, coverage=[1.0] * 27 + [0.5] * 3) is None


def test_a_day_known_to_nine_tenths_uses_its_value_by_its_coverage():
    # 28 days of 9 at 90 % coverage are 10 a day: 28 days and 2 to come make 300
    coverage = [0.9] * 28 + [0.0] * 2

    got = projection([9.0] * 28 + ahead(2), elapsed=28, coverage=coverage)

    assert got.value == pytest.approx(300.0)


def test_fewer_than_28_known_days_or_half_of_the_time_give_no_projection():
    assert projection([5.0] * 27 + ahead(10), elapsed=27) is None
    assert projection([5.0] * 28 + ahead(10), elapsed=28) is not None
    assert projection([5.0] * 28 + ahead(30), elapsed=57) is None
    assert projection([5.0] * 28 + ahead(30), elapsed=56) is not None


def test_total_of_what_is_known_is_exactly_rounded():
    assert known_total(np.array([0.1] * 10 + [np.nan])) == 1.0
    assert known_total(np.array([np.nan])) is None


@pytest.mark.parametrize("alike", [0.0, 0.5, 0.8])
def test_band_holds_nine_of_ten_outcomes_of_days_that_resemble_their_neighbours(alike):
    # 200 years of days around 100, each day `alike` to the one before, 182 of 366 known
    random = np.random.default_rng(2024)
    inside = 0
    for _ in range(200):
        shocks = random.normal(0, 10, 466)
        level = np.zeros(466)
        for day in range(1, 466):
            level[day] = alike * level[day - 1] + shocks[day]
        days = 100 + level[100:]
        got = projection([*days[:182], *ahead(184)], elapsed=182)
        inside += got.low <= days.sum() <= got.high

    assert inside / 200 >= 0.9


@pytest.mark.skipif(not ESTATE.exists(), reason="the Cambridge estate data is not here")
@pytest.mark.parametrize(
    ("year", "first"), [("2018", date(2018, 1, 1)), ("2019", date(2019, 1, 1))]
)
def test_band_at_midyear_holds_the_year_of_most_electricity_meters_of_a_real_estate(year, first):
    hours = pd.read_csv(ESTATE, index_col="timestamp_utc", parse_dates=True).loc[year]
    hours = hours[[name for name in hours if "electricity" in name]]
    # upstream wrote 0 for missing
    daily = hours.where(hours != 0).resample("D").sum(min_count=24)
    weekend = (first.weekday() + np.arange(365)) % 7 >= 5
    inside = total = 0
    for _, column in daily.items():
        days = column.to_numpy(np.float64)
        known = np.where(np.arange(365) < 181, days, np.nan)
        end = projection(days, elapsed=365, weekend=weekend)
        got = projection(known, elapsed=181, weekend=weekend)
        if end is not None and got is not None and np.isnan(days).mean() < 0.05:
            total += 1
            inside += got.low <= end.value <= got.high

    assert total >= 14
    assert inside / total >= 0.8
