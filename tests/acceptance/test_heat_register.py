"""Real registers with known truth: a Danish heat meter, and a house in Konstanz with gaps."""

from __future__ import annotations

import csv
import gzip
import math
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest

from tests.acceptance.running import answer, data, make_home, opened, rows, values, write_readings

HEAT = {
    "heat": ("energy_heat_kwh", "kWh"),
    "volume": ("volume_m3", "m3"),
    "volume_supply_temperature": ("e8_inlet_m3_degc", "m3.degC"),
    "volume_return_temperature": ("e9_return_m3_degc", "m3.degC"),
}
DK_SITE = """
site: {id: dk, name: House, timezone: Europe/Copenhagen}
points:
  - id: house
    carrier: heat
    role: main
    meter: {serial: "660", profile: native, max_power_kw: 100, max_flow_m3h: 10}
"""
KN_SITE = """
site: {id: kn, name: House, timezone: Europe/Berlin}
points:
  - {id: grid, carrier: electricity, role: main, meter: {serial: grid, profile: native}}
  - {id: pv, carrier: electricity, role: generation, meter: {serial: pv, profile: native}}
"""
SUBS = ("heat_pump", "ev", "dishwasher", "washing_machine", "freezer", "refrigerator")
KN_SITE += "".join(
    f"  - {{id: {name}, carrier: electricity, role: sub, upstream: grid,\n"
    f"     meter: {{serial: {name}, profile: native}}}}\n"
    for name in SUBS
)


def table(name, file):
    with gzip.open(data(name) / file, "rt", encoding="utf-8") as opened_file:
        return list(csv.DictReader(opened_file))


def utc(text):
    return datetime.fromisoformat(text).astimezone(UTC)


def heat_home(folder, readings):
    home = make_home(folder, DK_SITE)
    lines = [
        ("660", register, row["timestamp_utc"], row[column])
        for row in readings
        for register, (column, _) in HEAT.items()
    ]
    report = answer(home, "import", str(write_readings(folder / "heat.csv", lines)))
    assert report["rows"] == len(lines)
    return home


@pytest.fixture(scope="module")
def heat_rows():
    found = table("heat-register-dk", "register_hourly.csv.gz")
    # one hour's step in all: nothing is missing in this series
    assert utc(found[-1]["timestamp_utc"]) - utc(found[0]["timestamp_utc"]) == timedelta(
        hours=len(found) - 1
    )
    return found


@pytest.fixture(scope="module")
def whole(heat_rows, tmp_path_factory):
    home = heat_home(tmp_path_factory.mktemp("dk") / "home", heat_rows)
    with opened(home):
        yield home


@pytest.fixture(scope="module")
def thinned(heat_rows, tmp_path_factory):
    """Every third reading removed, but neither the first nor the last."""
    kept = [row for n, row in enumerate(heat_rows) if n % 3 != 1 or n == len(heat_rows) - 1]
    home = heat_home(tmp_path_factory.mktemp("dk3") / "home", kept)
    with opened(home):
        yield home


def asked(home, every, register, first="2018-01-01", until="2020-01-02"):
    return answer(
        home, "energy", "--from", first, "--to", until, "--every", every,
        "--point", "house", "--register", register,
    )  # fmt: skip


@pytest.mark.parametrize("register", HEAT)
def test_each_register_comes_back_hour_by_hour(whole, heat_rows, register):
    """The reading at an hour's end less the one at its beginning; before and after, nothing."""
    column, unit = HEAT[register]
    document = asked(whole, "hour", register)
    assert document["series"][0]["unit"] == unit
    known = [r for r in rows(document) if r["value"] is not None]
    assert known[0]["start"] == heat_rows[0]["timestamp_utc"]
    assert len(known) == len(heat_rows) - 1
    shown = [float(row[column]) for row in heat_rows]
    steps = [b - a for a, b in pairwise(shown)]
    assert [r["value"] for r in known] == pytest.approx(steps, abs=1e-9)
    assert {(r["coverage"], r["measured"], *r["flags"]) for r in known} == {(1, 1)}


@pytest.mark.parametrize("every", ["day", "month", "year"])
@pytest.mark.parametrize("register", HEAT)
def test_the_sum_is_the_last_reading_less_the_first(whole, heat_rows, register, every):
    column, _ = HEAT[register]
    total = float(heat_rows[-1][column]) - float(heat_rows[0][column])
    known = [v for v in values(asked(whole, every, register)) if v is not None]
    assert math.fsum(known) == pytest.approx(total, abs=1e-6)


def test_the_energy_of_the_point_is_its_heat_register(whole):
    plain = answer(
        whole, "energy", "--from", "2018-01-01", "--to", "2020-01-01", "--every", "month",
        "--point", "house",
    )  # fmt: skip
    by_name = asked(whole, "month", "heat", until="2020-01-01")
    assert plain == by_name


def test_heat_agrees_with_volume_times_temperature_difference(whole):
    """1.1355 kWh per m3.K x (E8 - E9) over the whole time, as the data set's notes say."""
    total = {
        name: math.fsum(v for v in values(asked(whole, "year", name)) if v is not None)
        for name in HEAT
    }
    spent = total["volume_supply_temperature"] - total["volume_return_temperature"]
    assert total["heat"] == pytest.approx(1.1355 * spent, rel=0.01)


@pytest.mark.parametrize("register", HEAT)
def test_without_every_third_reading_the_energy_is_conserved(thinned, heat_rows, register):
    column, _ = HEAT[register]
    total = float(heat_rows[-1][column]) - float(heat_rows[0][column])
    assert math.fsum(
        v for v in values(asked(thinned, "hour", register)) if v is not None
    ) == pytest.approx(total, abs=1e-6)


def test_without_every_third_reading_all_is_known_and_a_third_is_measured(thinned):
    """Of three hours one is between two readings, two are in a step of two hours.

    Two hours is no gap here: it is not longer than 2.5 times the usual spacing. So days are
    measured, and hours only where they were read at both ends.
    """
    hours = rows(asked(thinned, "hour", "heat", "2018-06-01", "2018-07-01"))
    assert {r["coverage"] for r in hours} == {1}
    assert sum(r["measured"] for r in hours) == 720 / 3
    assert all(r["flags"] == ([] if r["measured"] else ["interpolated"]) for r in hours)
    (month,) = rows(asked(thinned, "month", "heat", "2018-06-01", "2018-07-01"))
    assert (month["coverage"], month["measured"], month["flags"]) == (1, 1, [])


# -- Konstanz ------------------------------------------------------------------------------------

REGISTER_OF = {"grid_import": ("grid", "active_import"), "grid_export": ("grid", "active_export")}
KN_SPAN = ("--from", "2015-10-01", "--to", "2017-03-01")


@pytest.fixture(scope="module")
def series():
    """Each of the nine registers as (time, value), gaps left out."""
    found = table("cumulative-registers-konstanz", "registers_hourly.csv.gz")
    names = [name for name in found[0] if name.endswith("_kwh")]
    return {
        name.removesuffix("_kwh"): [
            (row["utc_timestamp"], float(row[name])) for row in found if row[name]
        ]
        for name in names
    }


@pytest.fixture(scope="module")
def konstanz(series, tmp_path_factory):
    folder = tmp_path_factory.mktemp("kn") / "home"
    home = make_home(folder, KN_SITE)
    lines = [
        (*REGISTER_OF.get(name, (name, "active_import")), at, value)
        for name, readings in series.items()
        for at, value in readings
    ]
    answer(home, "import", str(write_readings(folder / "nine.csv", lines)))
    with opened(home):
        yield home


@pytest.mark.parametrize("every", ["hour", "month"])
def test_nine_registers_with_gaps_add_up_to_last_less_first(konstanz, series, every):
    assert len(series) == 9
    for name, readings in series.items():
        point, register = REGISTER_OF.get(name, (name, "active_import"))
        document = answer(
            konstanz, "energy", *KN_SPAN, "--every", every, "--point", point,
            "--register", register,
        )  # fmt: skip
        known = [v for v in values(document) if v is not None]
        assert min(known) >= 0
        assert math.fsum(known) == pytest.approx(readings[-1][1] - readings[0][1], abs=1e-6), name


def test_what_the_house_used_is_import_and_pv_less_export(konstanz, series):
    """Day by day over a month in which all three registers were read every hour."""
    first = date(2016, 5, 1)
    document = answer(
        konstanz, "energy", "--from", "2016-05-01", "--to", "2016-06-01", "--every", "day"
    )
    at = {name: dict(series[name]) for name in ("grid_import", "pv", "grid_export")}
    for number, row in enumerate(rows(document)):
        midnight = datetime(2016, 4, 30, 22, tzinfo=UTC) + timedelta(days=number)
        low, high = (f"{midnight + timedelta(days=n):%Y-%m-%dT%H:%M:%SZ}" for n in (0, 1))
        used = {name: at[name][high] - at[name][low] for name in at}
        expected = used["grid_import"] + used["pv"] - used["grid_export"]
        assert row["value"] == pytest.approx(expected, abs=1e-6), first + timedelta(days=number)
        assert row["coverage"] == 1


def test_the_whole_time_of_the_house_balances_too(konstanz, series):
    total = {name: readings[-1][1] - readings[0][1] for name, readings in series.items()}
    expected = total["grid_import"] + total["pv"] - total["grid_export"]
    found = answer(konstanz, "energy", *KN_SPAN, "--every", "year")
    assert math.fsum(v for v in values(found) if v is not None) == pytest.approx(expected, abs=1e-6)
