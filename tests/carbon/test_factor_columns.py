"""The factor of every hour of a column: site years, series, stand-ins."""

import csv
import gzip
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from carbon.emissions import hourly_emissions
from carbon.factor_columns import ResolvedFactors, resolve
from carbon.factor_files import load_registry
from metering.readings import Flag

SHANGHAI, LONDON = ZoneInfo("Asia/Shanghai"), ZoneInfo("Europe/London")
LOCATION = "electricity.grid.location"
ESTATE = Path(__file__).parents[2] / ".." / "shared" / "data" / "cambridge-estate"
REGISTRY = load_registry()


def hours(*instants):
    return np.array(instants, "datetime64[us]")


def hours_from(first, count):
    return np.datetime64(first, "us") + np.arange(count) * np.timedelta64(1, "h")


def home_with(folder, csv_text, *, region="GB", until="2020-01-01", first="2018-01-01"):
    (folder / "grid.csv").write_text(csv_text, encoding="utf-8")
    (folder / "grid.yaml").write_text(
        f"""\
key: {LOCATION}
region: {region}
unit: kgCO2/kWh
versions:
  - {{series: grid.csv, valid_from: {first}, valid_until: {until},
     published: 2020-02-01, source: s}}
sources:
  s: {{title: Grid intensity, publisher: Grid operator, edition: "2020", locator: hourly}}
""",
        encoding="utf-8",
    )
    return load_registry(folder)


def test_a_data_year_begins_at_midnight_of_the_site():
    # 2022-12-31T16:00Z is 2023-01-01 00:00 in Shanghai
    got = resolve(
        REGISTRY, LOCATION, "CN-BJ", hours("2022-12-31T15:00", "2022-12-31T16:00"), tz=SHANGHAI
    )

    assert got.value.tolist() == [0.5580, 0.5554]
    assert [got.factors[i].id for i in got.factor] == [
        "electricity.grid.location/CN-BJ/2022@2024-12-20",
        "electricity.grid.location/CN-BJ/2023@2025-12-31",
    ]
    assert got.reasons == ()


def test_hours_in_any_order_get_the_same_factors():
    starts = hours_from("2021-12-30", 72)
    turned = starts[::-1].copy()

    ahead = resolve(REGISTRY, LOCATION, "CN-BJ", starts, tz=SHANGHAI)
    back = resolve(REGISTRY, LOCATION, "CN-BJ", turned, tz=SHANGHAI)

    assert back.value[::-1].tolist() == ahead.value.tolist()
    assert back.factors == ahead.factors


def test_hours_without_a_factor_are_unknown_and_say_why():
    got = resolve(
        REGISTRY, LOCATION, "CN-BJ", hours("2020-06-01", "2023-06-01", "2024-06-01"), tz=SHANGHAI
    )

    assert np.isnan(got.value).tolist() == [True, False, True]
    assert got.factor.tolist() == [-1, 0, -1]
    assert len(got.reasons) == 2
    assert "on 2020-06-01" in got.reasons[0]
    assert "Covered there: 2021, 2022, 2023." in got.reasons[1]


def test_a_later_year_is_provisional_where_the_site_allows_it():
    got = resolve(
        REGISTRY,
        LOCATION,
        "CN-BJ",
        hours("2023-06-01", "2025-06-01", "2019-06-01"),
        tz=SHANGHAI,
        provisional=True,
    )

    assert got.value.tolist()[:2] == [0.5554, 0.5554]
    assert got.provisional.tolist() == [False, True, False]
    assert np.isnan(got.value[2])
    assert any("stands in for it (provisional)" in reason for reason in got.reasons)


def test_what_was_known_on_an_old_day_is_reproduced():
    # 2023 was published on 2025-12-31; the day before, 2022 was the newest
    starts = hours("2023-06-01")

    old = resolve(
        REGISTRY, LOCATION, "CN-BJ", starts, tz=SHANGHAI, known_by=date(2025, 12, 30),
        provisional=True,
    )  # fmt: skip
    new = resolve(REGISTRY, LOCATION, "CN-BJ", starts, tz=SHANGHAI, known_by=date(2025, 12, 31))

    assert (old.value.tolist(), old.provisional.tolist()) == ([0.5580], [True])
    assert (new.value.tolist(), new.provisional.tolist()) == ([0.5554], [False])


def test_no_hours_give_no_rows():
    got = resolve(REGISTRY, LOCATION, "CN-BJ", hours(), tz=SHANGHAI)

    assert (len(got.value), got.factors, got.reasons) == (0, (), ())


def test_a_column_without_any_factor_carries_its_reason():
    got = ResolvedFactors.none(2, "no rule")

    assert np.isnan(got.value).all()
    assert (got.factor.tolist(), got.reasons) == ([-1, -1], ("no rule",))


def test_a_year_of_the_site_is_right_across_daylight_saving(tmp_path):
    # in London 2019-07-01 begins at 2019-06-30T23:00Z
    registry = home_with(
        tmp_path, "start,value\n2019-01-01T00:00:00Z,0.2\n", first="2019-07-01", until="2019-08-01"
    )
    starts = hours("2019-06-30T22:00", "2019-06-30T23:00", "2019-07-31T22:00", "2019-07-31T23:00")

    got = resolve(registry, LOCATION, "GB", starts, tz=LONDON)

    assert np.isnan(got.value).tolist() == [True, False, False, True]


def test_each_value_of_a_series_holds_until_the_next_start(tmp_path):
    text = "start,value\n2018-01-01T00:00:00Z,0.1\n2018-01-01T03:00:00Z,0.4\n"
    registry = home_with(tmp_path, text)

    got = resolve(registry, LOCATION, "GB", hours_from("2018-01-01", 4), tz=LONDON)

    assert got.value.tolist() == [0.1, 0.1, 0.1, 0.4]
    assert got.factors[0].id == f"{LOCATION}/GB/2018-01-01..2020-01-01@2020-02-01+own"


def test_a_series_that_changes_inside_the_hour_counts_with_its_mean(tmp_path):
    # 30 min at 0.1 and 30 min at 0.3; then 15 min at 0.3 and 45 min at 0.5
    text = (
        "start,value\n2018-01-01T00:00:00Z,0.1\n2018-01-01T00:30:00Z,0.3\n"
        "2018-01-01T01:15:00Z,0.5\n2018-01-01T02:00:00Z,0.7\n"
    )
    registry = home_with(tmp_path, text)

    got = resolve(registry, LOCATION, "GB", hours_from("2018-01-01", 3), tz=LONDON)

    assert got.value == pytest.approx([0.2, 0.45, 0.7])


def test_before_a_series_starts_nothing_is_known(tmp_path):
    text = "start,value\n2018-01-02T00:00:00Z,0.1\n2018-01-02T01:00:00Z,0.4\n"
    registry = home_with(tmp_path, text)

    got = resolve(registry, LOCATION, "GB", hours("2018-01-01", "2018-01-02"), tz=LONDON)

    assert np.isnan(got.value).tolist() == [True, False]
    assert got.factor.tolist() == [-1, 0]
    assert "has values from 2018-01-02T00:00:00" in got.reasons[0]


def test_the_last_value_of_a_series_is_held_to_the_end_of_its_version_and_flagged(tmp_path):
    # steps of 1 h: the value of 01:00 is trusted until 02:00 and held until 2018-01-02
    text = "start,value\n2018-01-01T00:00:00Z,0.1\n2018-01-01T01:00:00Z,0.4\n"
    registry = home_with(tmp_path, text, until="2018-01-02")
    starts = hours("2018-01-01T01:00", "2018-01-01T02:00", "2018-01-02")

    got = resolve(registry, LOCATION, "GB", starts, tz=LONDON, provisional=True)

    assert got.value.tolist()[:2] == [0.4, 0.4]
    assert got.provisional.tolist() == [False, True, False]
    assert np.isnan(got.value[2]), "a series is not carried past its version"
    assert "its last value is held" in got.reasons[0]


def test_a_series_in_a_version_without_an_end_ends_with_its_last_step(tmp_path):
    text = "start,value\n2018-01-01T00:00:00Z,0.1\n2018-01-01T01:00:00Z,0.4\n"
    registry = home_with(tmp_path, text, until="null")

    got = resolve(registry, LOCATION, "GB", hours_from("2018-01-01T01:00", 2), tz=LONDON)

    assert got.value[0] == 0.4
    assert np.isnan(got.value[1])
    assert not got.provisional.any()
    assert "to 2018-01-01T02:00:00" in got.reasons[0]


def test_two_years_of_an_hourly_grid_give_the_sum_of_energy_times_factor(tmp_path):
    if not (ESTATE / "grid_carbon.csv.gz").exists():
        pytest.skip("the data set cambridge-estate is not on this machine")
    with gzip.open(ESTATE / "grid_carbon.csv.gz", "rt", encoding="utf-8") as file:
        rows = list(csv.reader(file))[1:]
    with gzip.open(ESTATE / "meters.csv.gz", "rt", encoding="utf-8") as file:
        lines = csv.reader(file)
        column = next(lines).index("b25_electricity_kwh")
        energy_kwh = np.array([float(line[column]) for line in lines])
    registry = home_with(tmp_path, "\n".join(["start,value", *map(",".join, rows)]) + "\n")
    starts = np.array([row[0][:-1] for row in rows], "datetime64[us]")
    factor = np.array([float(row[1]) for row in rows])

    got = resolve(registry, LOCATION, "GB", starts, tz=LONDON)
    emitted = hourly_emissions(energy_kwh, "kWh", got)

    assert len(starts) == 17_520
    assert got.value.tolist() == factor.tolist()
    assert got.reasons == ()
    assert not got.provisional.any()
    assert emitted.value.tolist() == (energy_kwh * factor).tolist()
    assert set(emitted.flags.tolist()) == {int(Flag.NONE)}
