"""Which factor an emission was made with, and what is said where there is none."""

from __future__ import annotations

import pytest

from tests.acceptance.running import answer, call, make_home, rows, values, write_readings

SITE = """
site: {id: park, name: Park, timezone: Asia/Shanghai, region: CN-BJ}
points:
  - {id: main, carrier: electricity, role: main, meter: {serial: E1, profile: native}}
"""
PROVISIONAL = SITE + "factors: {provisional: true}\n"
MIXED = """
key: electricity.grid.location
unit: {unit}
versions:
  - {value: 0.5, valid_from: 2023-01-01, valid_until: 2023-07-01, published: 2023-01-01, source: s}
sources:
  s: {title: Bulletin, publisher: Supplier, edition: "1", locator: p. 1}
"""
SERIES = """
key: electricity.grid.location
unit: kgCO2/kWh
versions:
  - {series: grid.csv, valid_from: 2023-03-01, valid_until: 2023-03-02, published: 2023-03-02,
     source: s}
sources:
  s: {title: Grid by the hour, publisher: Operator, edition: "1", locator: whole file}
"""


def home_with(folder, site=SITE, **factors):
    """A home with 24 kWh a day, 1 kWh an hour, on the first two days of March of two years."""
    files = {name.replace("_", "."): text for name, text in factors.items()}
    home = make_home(folder, site, factors=files)
    readings = [
        ("E1", "active_import", f"{year}-03-0{day}T00:00:00+08:00", 1000 * (year - 2023) + 24 * day)
        for year in (2023, 2024)
        for day in (1, 2, 3)
    ]
    answer(home, "import", str(write_readings(folder / "days.csv", readings)))
    return home


def emissions(home, year, every="day", until="03-02"):
    return answer(home, "emissions", "--from", f"{year}-03-01", "--to", f"{year}-{until}",
                  "--every", every)  # fmt: skip


def test_the_year_and_the_region_decide_the_factor(tmp_path):
    """CN-BJ of data year 2023: 0.5554."""
    document = emissions(home_with(tmp_path / "home"), 2023)
    assert values(document) == [pytest.approx(24 * 0.5554)]
    assert document["factors"] == ["electricity.grid.location/CN-BJ/2023@2025-12-31"]


def test_a_year_without_a_factor_is_null_and_says_what_is_covered(tmp_path):
    document = emissions(home_with(tmp_path / "home"), 2024)
    (row,) = rows(document)
    assert (row["value"], row["coverage"], row["flags"]) == (None, 1, ["no_factor"])
    assert document["factors"] == []
    assert any("2024" in reason for reason in document["reasons"])


def test_if_the_site_allows_it_the_newest_value_stands_in_and_is_flagged(tmp_path):
    document = emissions(home_with(tmp_path / "home", PROVISIONAL), 2024)
    (row,) = rows(document)
    assert row["value"] == pytest.approx(24 * 0.5554)
    assert row["flags"] == ["provisional_factor"]
    assert rows(emissions(home_with(tmp_path / "other", PROVISIONAL), 2023))[0]["flags"] == []


def test_a_region_without_a_value_is_never_given_that_of_the_country(tmp_path):
    home = home_with(tmp_path / "home", SITE.replace("CN-BJ", "CN-XZ"))
    (row,) = rows(emissions(home, 2023))
    assert (row["value"], row["flags"]) == (None, ["no_factor"])


def test_an_own_factor_wins_over_a_shipped_one(tmp_path):
    own = MIXED.replace("{unit}", "kgCO2/kWh")
    document = emissions(home_with(tmp_path / "home", own_yaml=own), 2023)
    assert values(document) == [pytest.approx(12)]
    assert [f.endswith("+own") for f in document["factors"]] == [True]


def test_kgco2_and_kgco2e_are_never_added(tmp_path):
    """2023: an own factor in CO2e until July, then the shipped one in CO2; two series of a year."""
    own = MIXED.replace("{unit}", "kgCO2e/kWh")
    home = home_with(tmp_path / "home", own_yaml=own)
    more = [
        ("E1", "active_import", "2023-08-01T00:00:00+08:00", 500),
        ("E1", "active_import", "2023-08-02T00:00:00+08:00", 600),
    ]
    answer(home, "import", str(write_readings(tmp_path / "more.csv", more)))
    document = answer(home, "emissions", "--from", "2023-08-01", "--to", "2023-08-02",
                      "--every", "day")  # fmt: skip
    assert [s["unit"] for s in document["series"]] == ["kgCO2"]
    assert values(document) == [pytest.approx(100 * 0.5554)]
    document = answer(home, "emissions", "--from", "2023-01-01", "--to", "2024-01-01",
                      "--every", "month")  # fmt: skip
    found = {s["unit"]: [r["value"] for r in s["rows"]] for s in document["series"]}
    assert set(found) == {"kgCO2", "kgCO2e"}
    assert found["kgCO2e"][7:] == [None] * 5
    assert found["kgCO2"][2] is None
    assert found["kgCO2e"][2] > 0
    assert found["kgCO2"][7] > 100 * 0.5554


def test_a_series_gives_each_hour_its_own_factor(tmp_path):
    """0.1 until 12:00 and 0.3 from then on, local time: 12 x 0.1 + 12 x 0.3 = 4.8 kgCO2."""
    grid = "start,value\n2023-02-28T16:00:00Z,0.1\n2023-03-01T04:00:00Z,0.3\n"
    home = home_with(tmp_path / "home", own_yaml=SERIES, grid_csv=grid)
    hours = values(emissions(home, 2023, "hour"))
    assert hours == pytest.approx([0.1] * 12 + [0.3] * 12)
    assert values(emissions(home, 2023)) == [pytest.approx(4.8)]


def test_where_only_a_part_has_a_factor_the_sum_is_of_that_part_and_says_so(tmp_path):
    """1 March by the series, 2 March by the shipped year: both have one; without region, only 1."""
    grid = "start,value\n2023-02-28T16:00:00Z,0.1\n"
    site = SITE.replace(", region: CN-BJ", "")
    home = home_with(tmp_path / "home", site, own_yaml=SERIES, grid_csv=grid)
    (month,) = rows(emissions(home, 2023, "month", "03-03"))
    assert month["value"] == pytest.approx(2.4)
    assert "no_factor" in month["flags"]


def test_a_factor_file_with_an_error_is_refused_with_file_and_line(tmp_path):
    home = make_home(tmp_path / "home", SITE, factors={"own.yaml": MIXED.replace("{unit}", "kg")})
    done = call(home, "status", "--json")
    assert done.status == 1
    assert "own.yaml:3:" in done.document["detail"]


def test_a_factor_that_changes_is_used_at_the_next_question(tmp_path):
    """Stored emissions are made again with it, and the answer names the new one."""
    own = MIXED.replace("{unit}", "kgCO2/kWh")
    home = home_with(tmp_path / "home", own_yaml=own)
    assert values(emissions(home, 2023)) == [pytest.approx(12)]
    (home / "factors" / "own.yaml").write_text(own.replace("value: 0.5", "value: 0.25"))
    assert values(emissions(home, 2023)) == [pytest.approx(6)]
