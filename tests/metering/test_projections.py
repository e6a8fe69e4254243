"""Where a sum of days will end, worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from metering.projections import Projection, known_total, projection_of

NO_WEEKEND = np.zeros(100, np.bool_)
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


def test_band_grows_with_the_days_to_come_and_with_the_doubt_about_their_mean():
    # 15 × (9, 11): mean 10, s² = 30 / 29; neighbours are opposite, r < 0 counts as 0, f = 1.
    # 10 days to come: variance 30 / 29 × (10 + 10² / 30) = 13.7931; 1.6449 × 3.71391 = 6.10901
    got = projection([9.0, 11.0] * 15 + ahead(10), elapsed=30)

    assert got.value == 400.0
    assert got.high - got.value == pytest.approx(6.10901, abs=1e-5)
    assert got.value - got.low == pytest.approx(6.10901, abs=1e-5)


def test_days_alike_to_their_neighbours_widen_the_band():
    # 15 × 9, then 15 × 11: 28 of 29 neighbours agree, r = (28 - 1) / 29, squares 30 / 30 = 1;
    # f = (1 + 27 / 29) / (1 - 27 / 29) = 56 / 2 = 28, so √28 times the band of the test before
    got = projection([9.0] * 15 + [11.0] * 15 + ahead(10), elapsed=30)

    assert got.high - got.value == pytest.approx(6.10901 * 28**0.5, abs=1e-4)


def test_the_band_does_not_fall_below_what_is_used_unless_energy_can_flow_back():
    # mean 5, ±5 in two blocks: 1 day to come is 5 ± 1.6449 × √(25 × 30 / 29 × 28 × (1 + 1 / 30)),
    # more than ± 40
    import_only = projection([0.0] * 15 + [10.0] * 15 + ahead(1), elapsed=30)
    with_export = projection([-5.0] * 15 + [5.0] * 15 + ahead(1), elapsed=30)

    assert (import_only.value, import_only.low) == (155.0, 150.0)
    assert with_export.value == 0.0
    assert with_export.low == pytest.approx(-with_export.high)
    assert with_export.low < -40


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
    # 400 years of days around 100, each day `alike` to the one before, 182 of 366 known; the true
    # end lies in the band in 90 % of them but for sampling (± 2.5 %) and the doubt about r and s²
    random = np.random.default_rng(2024)
    inside = 0
    for _ in range(400):
        shocks = random.normal(0, 10, 466)
        level = np.zeros(466)
        for day in range(1, 466):
            level[day] = alike * level[day - 1] + shocks[day]
        days = 100 + level[100:]
        got = projection([*days[:182], *ahead(184)], elapsed=182)
        inside += got.low <= days.sum() <= got.high

    assert 0.85 <= inside / 400 <= 0.95
