"""Increments between readings, worked by hand."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metering.readings import Flag
from metering.registers import CONTEXT, increments
from tests.metering.columns import register_columns

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "register-semantics"


def flags_of(steps):
    return [Flag(int(f)) for f in steps.flags]


def test_increment_is_the_difference_times_the_multiplier():
    # (103 - 100) × 60 = 180, (104.5 - 103) × 60 = 90
    steps, marks = increments(register_columns([0, 1, 2], [100, 103, 104.5], multiplier=60))

    assert steps.amount.tolist() == [180.0, 90.0]
    assert flags_of(steps) == [Flag.NONE, Flag.NONE]
    assert len(marks.read_at) == 0


def test_rollover_adds_the_part_before_and_after_the_wrap():
    # 99 999 -> 100 000 is 1, 0 -> 2 is 2: (1 + 2) × 60 = 180 kWh in one hour, 250 kW allow 310
    rows = register_columns([0, 1], [99_999, 2], capacity=100_000, multiplier=60, max_rate=250)

    steps, _ = increments(rows)

    assert steps.amount.tolist() == [180.0]
    assert flags_of(steps) == [Flag.ROLLOVER]


def test_fall_the_circuit_could_not_have_carried_is_unknown_not_zero():
    # read as a rollover this would be (20 - 500 + 100 000) × 60 = 5.97 GWh in one hour
    rows = register_columns([0, 1], [500, 20], capacity=100_000, multiplier=60, max_rate=250)

    steps, _ = increments(rows)

    assert np.isnan(steps.amount).all()
    assert flags_of(steps) == [Flag.RESET]


def test_after_a_reset_the_register_counts_on():
    # 500 -> 20 is unknown; 20 -> 25 -> 31 are 5 and 6
    steps, _ = increments(register_columns([0, 1, 2, 3, 4], [490, 500, 20, 25, 31]))

    assert steps.amount.tolist() == pytest.approx([10, np.nan, 5, 6], nan_ok=True)
    assert flags_of(steps) == [Flag.NONE, Flag.RESET, Flag.NONE, Flag.NONE]


def test_rollover_without_a_stated_power_is_believed_only_the_short_way_round():
    near, _ = increments(register_columns([0, 1], [99_890, 2_034], capacity=100_000))
    far, _ = increments(register_columns([0, 1], [55_278, 1_739], capacity=100_000))

    # 100 000 - 99 890 + 2 034 = 2 144, a fiftieth of the register; the other is 46 461
    assert near.amount.tolist() == [2_144.0]
    assert np.isnan(far.amount).all()


@pytest.mark.parametrize(
    ("values", "aside"),
    [
        ([10, 11, 900_000, 12, 13], [2]),
        ([10, 11, 0, 12, 13], [2]),
        ([10, 11, 900_000, 900_001, 12, 13], [2, 3]),
        ([10, 11, 0, 0, 0, 12, 13], [2, 3, 4]),
    ],
    ids=["spike", "dip", "two spikes", "three dips"],
)
def test_glitch_is_set_aside_and_the_energy_around_it_is_kept(values, aside):
    rows = register_columns(range(len(values)), values, max_rate=100)

    steps, marks = increments(rows)

    # 10 -> 13 is 3 however the reading between was wrong
    assert steps.amount.sum() == 3
    assert marks.read_at.tolist() == rows.read_at[aside].tolist()
    assert set(marks.flags.tolist()) == {int(Flag.GLITCH)}


def test_spike_is_seen_as_a_glitch_without_any_stated_limit():
    # 11 -> 500 could be true; 500 -> 12 cannot, and 11 -> 12 fits without it
    steps, marks = increments(register_columns([0, 1, 2, 3, 4], [10, 11, 500, 12, 13]))

    assert steps.amount.tolist() == [1, 1, 1]
    assert len(marks.read_at) == 1


def test_fall_that_two_explanations_fit_is_unknown_and_not_smoothed():
    # without 144, or without 96, it would only count up: a reset looks the same
    steps, marks = increments(register_columns(range(5), [24, 72, 144, 96, 216]))

    assert steps.amount.tolist() == pytest.approx([48, 72, np.nan, 120], nan_ok=True)
    assert flags_of(steps)[2] == Flag.RESET
    assert len(marks.read_at) == 0


def test_flicker_of_less_than_one_count_is_set_aside():
    # 15 -> 14.9 is no reset of a register that goes on to 16; 10 -> 16 is 6
    steps, marks = increments(register_columns(range(4), [10, 15, 14.9, 16]))

    assert steps.amount.sum() == pytest.approx(6)
    assert len(marks.read_at) == 2


def test_jump_beyond_the_highest_power_that_stays_is_unknown():
    # 100 kW cannot have made 4 999 kWh in an hour, and the register goes on from there
    rows = register_columns(range(8), [1, 2, 3, 4, 5003, 5004, 5005, 5006], max_rate=100)

    steps, _ = increments(rows)

    assert steps.amount.tolist() == pytest.approx([1, 1, 1, np.nan, 1, 1, 1], nan_ok=True)
    assert flags_of(steps)[3] == Flag.IMPLAUSIBLE


@pytest.mark.parametrize("flag", [Flag.CLOCK, Flag.IMPLAUSIBLE])
def test_reading_that_is_not_believed_takes_no_part(flag):
    rows = register_columns([0, 1, 2], [10, 99, 12], flags=[Flag.NONE, flag, Flag.NONE])

    steps, marks = increments(rows)

    assert steps.amount.tolist() == [2]
    assert marks.flags.tolist() == [int(flag)]


def test_reading_above_the_capacity_of_the_register_is_implausible():
    rows = register_columns([0, 1, 2], [10, 100_001, 12], capacity=100_000, max_rate=1e9)

    steps, marks = increments(rows)

    assert steps.amount.tolist() == [2]
    assert marks.flags.tolist() == [int(Flag.IMPLAUSIBLE)]


def test_nothing_is_known_between_two_meters_at_one_point():
    # old meter 100 -> 104 until it is taken off, new one from 0.5 -> 2; an hour between
    rows = register_columns(
        [0, 1, 2, 3],
        [100, 104, 0.5, 2],
        segment=[0, 0, 1, 1],
        flags=[Flag.NONE, Flag.EXCHANGE, Flag.EXCHANGE, Flag.NONE],
    )

    steps, _ = increments(rows)

    assert steps.amount.tolist() == [4, 1.5]
    assert flags_of(steps) == [Flag.EXCHANGE] * 2


def test_exchange_at_one_instant_leaves_nothing_between():
    rows = register_columns([0, 1, 1, 2], [100, 104, 0, 2], segment=[0, 0, 1, 1])

    steps, _ = increments(rows)

    assert steps.amount.tolist() == [4, 2]


def test_gap_is_longer_than_an_hour_and_than_two_and_a_half_times_the_usual_spacing():
    # hourly: 2 h is no gap (< 2.5 h), 3 h is one; quarter-hourly: 1 h is none
    hourly, _ = increments(register_columns([0, 1, 2, 4, 5, 6, 9, 10], range(8)))
    quarters, _ = increments(register_columns([0, 0.25, 0.5, 1.5, 1.75, 2], range(6)))

    assert [bool(f & Flag.GAP) for f in flags_of(hourly)] == [False] * 5 + [True, False]
    assert not any(f & Flag.GAP for f in flags_of(quarters))


def test_meter_read_once_a_month_has_no_gaps():
    steps, _ = increments(register_columns([0, 744, 1440, 2184], [0, 10, 20, 30]))

    assert flags_of(steps) == [Flag.NONE] * 3


def test_weeks_without_readings_after_a_single_hour_are_a_gap():
    # two steps, 1 h and 504 h: the lower of the two middle ones is the usual spacing
    steps, _ = increments(register_columns([0, 1, 505], [0, 1, 505]))

    assert flags_of(steps) == [Flag.NONE, Flag.GAP]


def test_conflict_at_either_end_shows_on_the_increment():
    rows = register_columns([0, 1, 2], [1, 2, 3], flags=[Flag.NONE, Flag.CONFLICT, Flag.NONE])

    steps, _ = increments(rows)

    assert flags_of(steps) == [Flag.CONFLICT, Flag.CONFLICT]


def test_amounts_per_interval_stand_for_themselves():
    # 5 kWh in each hour; after 10 h without one the amount is that of its own hour
    rows = register_columns([0, 1, 2, 12], [5, 5, 6, 7], interval=True)

    steps, _ = increments(rows)

    assert steps.amount.tolist() == [5, 6, 7]
    assert (steps.end - steps.start).astype(int).tolist() == [3_600_000_000] * 3


def test_rows_out_of_order_are_refused():
    with pytest.raises(ValueError, match="sorted"):
        increments(register_columns([1, 0], [1, 2]))


def test_streams_do_not_touch():
    rows = register_columns([0, 1, 0, 1], [1, 2, 100, 105], stream=[0, 0, 1, 1])

    steps, _ = increments(rows)

    assert steps.amount.tolist() == [1, 5]
    assert steps.stream.tolist() == [0, 1]


@st.composite
def histories(draw):
    size = draw(st.integers(100, 160))
    spacing = draw(
        st.lists(st.sampled_from([0.25, 0.25, 1, 1, 3, 30]), min_size=size, max_size=size)
    )
    advance = draw(st.lists(st.sampled_from([0, 1, 2, 5]), min_size=size, max_size=size))
    hours, values = np.cumsum(spacing), np.cumsum(advance).astype(float) + 50
    for at in draw(st.lists(st.integers(0, size - 1), max_size=4)):
        values[at] = draw(st.sampled_from([0.0, 1e6, 3.0]))
    if draw(st.booleans()):
        values[size // 2 :] -= values[size // 2]
    values = np.maximum(values, 0.0)  # no register shows less; decoding sets such readings aside
    return hours, values, draw(st.integers(30, size - 30))


def bits_at(steps, instant):
    """The increments that hold an instant, as exact as they are kept."""
    holds = (steps.start <= instant) & (instant < steps.end)
    columns = (steps.start, steps.end, steps.amount, steps.flags)
    return [column[holds].tobytes() for column in columns]


@settings(max_examples=150, deadline=None)
@given(histories())
def test_a_span_computed_by_itself_gives_the_same_increments_as_the_whole(history):
    hours, values, middle = history
    low, high = max(0, middle - CONTEXT), middle + CONTEXT
    whole, _ = increments(register_columns(hours, values, max_rate=500, capacity=1e6))
    part, _ = increments(
        register_columns(hours[low:high], values[low:high], max_rate=500, capacity=1e6)
    )

    at = register_columns(hours, values).read_at[middle]
    wanted, got = bits_at(whole, at), bits_at(part, at)
    assert got == wanted


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.floats(0.01, 50), st.floats(0, 1000)), min_size=2, max_size=60))
def test_energy_is_the_last_register_minus_the_first(steps_in):
    hours = np.cumsum([h for h, _ in steps_in])
    values = np.cumsum([v for _, v in steps_in])

    steps, _ = increments(register_columns(hours, values))

    assert steps.amount.sum() == pytest.approx(values[-1] - values[0], rel=1e-9, abs=1e-6)


def nem13_cases():
    path = DATA / "nem13_register_reads.json"
    return json.loads(path.read_text()) if path.is_file() else []


@pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data/register-semantics is missing")
def test_real_register_wraps_give_the_quantity_the_metering_provider_billed():
    wraps = [case for case in nem13_cases() if case["rollover_modulus"]]
    judged = 0
    for case in wraps:
        start = datetime.strptime(case["previous_time"] + "Z", "%Y%m%d%H%M%S%z")
        end = datetime.strptime(case["current_time"] + "Z", "%Y%m%d%H%M%S%z")
        hours = (end - start) / timedelta(hours=1)
        values = [float(case["previous_register"]), float(case["current_register"])]
        steps, _ = increments(
            register_columns([0, hours], values, capacity=case["rollover_modulus"], max_rate=1000)
        )
        judged += 1
        assert steps.amount.tolist() == pytest.approx([abs(float(case["quantity"]))]), case["id"]
        assert steps.flags[0] & Flag.ROLLOVER, case["id"]
    assert judged >= 5


@pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data/register-semantics is missing")
def test_real_register_pairs_without_a_wrap_give_their_plain_difference():
    cases = [c for c in nem13_cases() if not c["rollover_modulus"] and c["difference"] >= 0]
    for case in cases:
        values = [float(case["previous_register"]), float(case["current_register"])]
        steps, _ = increments(register_columns([0, 2000], values))
        assert steps.amount.tolist() == pytest.approx([case["difference"]]), case["id"]
    assert len(cases) > 20
