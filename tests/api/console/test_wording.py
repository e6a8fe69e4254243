"""Numbers, ages and shares as the console writes them."""

from __future__ import annotations

import pytest

from api.console.catalogue import texts
from api.console.wording import age, nice_top, number, percent, reading, unit

DAY, HOUR = 86_400, 3600


@pytest.mark.parametrize(
    ("value", "wanted"),
    [(None, "–"), (float("nan"), "–"), (0.0, "0"), (-0.0, "0"), (1234.5, "1,234"), (99.94, "99.9"),
     (4.256, "4.26"), (-12.34, "−12.3"), (-0.001, "0.00"), (1_234_567.0, "1,234,567")],
)  # fmt: skip
def test_a_number_has_as_many_decimals_as_its_size_deserves(value, wanted):
    assert number(value) == wanted


def test_a_register_is_shown_with_all_its_decimals():
    assert [reading(v) for v in (50_431.871, 12.0, -2.9, None)] == ["50,431.871", "12", "−2.9", "–"]


@pytest.mark.parametrize(
    ("share", "digits", "wanted"),
    [(None, 0, "–"), (0.126, 0, "13 %"), (1.389, 1, "138.9 %"), (0.999, 0, "99 %"),
     (1.0, 0, "100 %"), (-0.021, 1, "−2.1 %")],
)  # fmt: skip
def test_nearly_all_is_not_written_as_all(share, digits, wanted):
    assert percent(share, digits) == wanted


@pytest.mark.parametrize(
    ("seconds", "en", "zh"),
    [(59.9, "59 s", "59 秒"), (90, "1 min", "1 分钟"),
     (3 * HOUR + 1260, "3 h 21 min", "3 小时 21 分"),
     (3 * DAY + 4 * HOUR, "3 d 4 h", "3 天 4 小时"), (None, "–", "–")],
)  # fmt: skip
def test_an_age_has_the_two_units_that_matter(seconds, en, zh):
    assert (age(seconds, texts("en")), age(seconds, texts("zh"))) == (en, zh)


def test_units_are_written_as_people_read_them():
    words = texts("zh")

    assert [unit(u, words) for u in ("kgCO2", "kgCO2e/kWh", "kWh/m2", "kWh/person", "m3")] == [
        "kg CO₂", "kg CO₂e/kWh", "kWh/m²", "kWh/人", "m³",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("values", "top"),
    [([], 1), ([0, -3], 1), ([950], 1000), ([1001], 1200), ([2300, 10], 2500), ([0.031], 0.04)],
)
def test_the_top_of_a_chart_is_a_round_number_above_everything(values, top):
    assert nice_top(values) == pytest.approx(top)
