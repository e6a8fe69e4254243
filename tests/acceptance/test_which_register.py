"""Which registers make the energy of a point, a building and the site."""

from __future__ import annotations

import pytest

from tests.acceptance.park import BEGIN, DAY, END, make_park
from tests.acceptance.running import answer, call, rows, values


@pytest.fixture(scope="module")
def park(tmp_path_factory):
    return make_park(tmp_path_factory.mktemp("park") / "home")


def one(park, *arguments):
    """The single value and unit of an answer."""
    document = answer(park, "energy", *DAY, *arguments)
    (series,) = document["series"]
    (row,) = series["rows"]
    return pytest.approx(row["value"], rel=1e-12), series["unit"]


def test_electricity_is_active_import(park):
    assert one(park, "--point", "a-main") == (100, "kWh")


def test_the_multiplier_applies(park):
    """2 on the register behind a transformer of 40 are 80 kWh."""
    assert one(park, "--point", "a-sub") == (80, "kWh")


def test_tariffs_are_added_up_where_active_import_is_absent(park):
    assert one(park, "--point", "c-main") == (6 + 3, "kWh")


def test_heat_is_heat(park):
    assert one(park, "--point", "a-heat") == (75, "kWh")


def test_cooling_is_cooling(park):
    assert one(park, "--point", "c-cooling") == (11, "kWh")


def test_water_is_water_volume(park):
    assert one(park, "--point", "c-water") == (2.5, "m3")


def test_gas_is_volume_times_the_net_calorific_value(park):
    """10 m3 of 36 MJ are 360 MJ; 3.6 MJ are 1 kWh."""
    assert one(park, "--point", "a-gas") == (100, "kWh")


def test_gas_without_a_calorific_value_stays_in_m3(park):
    assert one(park, "--point", "b-gas") == (8, "m3")


def test_gas_energy_wins_over_gas_volume(park):
    assert one(park, "--point", "c-gas") == (99, "kWh")


def test_generation_is_active_export_if_it_has_one(park):
    assert one(park, "--point", "a-pv") == (50, "kWh")


def test_generation_without_active_export_is_active_import(park):
    assert one(park, "--point", "b-pv") == (9, "kWh")


def test_a_building_used_import_and_generation_less_export_less_into_storage(park):
    """100 + 50 - 30 - (20 - 12) = 112; the 80 of the sub-meter never add."""
    assert one(park, "--building", "a", "--carrier", "electricity") == (112, "kWh")


def test_a_building_without_a_main_is_the_roots_of_its_meter_tree(park):
    """7 + 5, and 9 made inside; b-3 hangs below b-1."""
    assert one(park, "--building", "b", "--carrier", "electricity") == (7 + 5 + 9, "kWh")


def test_the_site_is_the_sum_of_its_buildings(park):
    """112 + 21 + 9."""
    assert one(park, "--carrier", "electricity") == (112 + 21 + 9, "kWh")


def test_there_is_one_series_for_each_carrier(park):
    document = answer(park, "energy", *DAY)
    carriers = [(s["subject"], s["carrier"]) for s in document["series"]]
    assert carriers == [
        ("park", c) for c in ("electricity", "heat", "gas", "water", "cooling")
    ]  # fmt: skip


def test_gas_in_m3_is_not_added_to_gas_in_kwh(park):
    """a-gas and c-gas are 199 kWh; of the 8 m3 of b-gas nobody knows the energy, and it shows."""
    (row,) = rows(answer(park, "energy", *DAY, "--carrier", "gas"))
    assert row["value"] == pytest.approx(199)
    assert row["coverage"] == pytest.approx(2 / 3)


def test_a_register_by_name_is_that_register(park):
    assert one(park, "--point", "a-heat", "--register", "volume") == (3, "m3")
    assert one(park, "--point", "a-main", "--register", "active_export") == (30, "kWh")
    assert one(park, "--point", "a-sub", "--register", "active_import") == (80, "kWh")


def test_a_register_nobody_knows_is_refused(park):
    done = call(park, "energy", *DAY, "--point", "a-main", "--register", "aktive", "--json")
    assert done.status == 1
    assert "aktive" in done.document["detail"]


def test_a_point_in_another_carrier_has_no_series(park):
    assert answer(park, "energy", *DAY, "--point", "a-main", "--carrier", "heat")["series"] == []


def test_rows_are_labelled_by_the_day_of_the_site(park):
    (row,) = rows(answer(park, "energy", *DAY, "--point", "a-main"))
    assert (row["start"], row["end"]) == (BEGIN, END)
    assert (row["coverage"], row["measured"], row["flags"]) == (1, 1, [])


def test_a_day_read_twice_is_spread_evenly_over_its_hours(park):
    """100 kWh over 24 h; none of it is measured by the hour."""
    found = rows(answer(park, "energy", *DAY[:4], "--every", "hour", "--point", "a-main"))
    assert len(found) == 24
    assert [r["value"] for r in found] == pytest.approx([100 / 24] * 24)
    assert {(r["coverage"], r["measured"], *r["flags"]) for r in found} == {
        (1.0, 0.0, "interpolated")
    }


def test_what_is_spread_adds_up_to_what_was_read(park):
    found = values(answer(park, "energy", *DAY[:4], "--every", "15min", "--point", "a-main"))
    assert len(found) == 96
    assert sum(found) == pytest.approx(100, abs=1e-9)


def test_emissions_of_a_building_are_those_of_what_its_mains_brought_in(park):
    """100 kWh from the grid; CN-BJ 2023 is 0.5554 kgCO2/kWh (national factors of data year 2023).

    What was made inside causes none, what was passed on is not taken off.
    """
    document = answer(park, "emissions", *DAY, "--building", "a", "--carrier", "electricity")
    (series,) = document["series"]
    assert (series["scope"], series["unit"], document["method"]) == (2, "kgCO2", "location")
    assert series["rows"][0]["value"] == pytest.approx(100 * 0.5554)
    (factor,) = document["factors"]
    assert factor.startswith("electricity.grid.location/CN-BJ/2023@")


def test_factors_and_reasons_are_those_of_the_carrier_asked_for(park):
    """Cooling has no factor and gas b no state; that is no concern of electricity."""
    document = answer(park, "emissions", *DAY, "--carrier", "electricity")
    assert [s["carrier"] for s in document["series"]] == ["electricity"]
    assert [f.partition("/")[0] for f in document["factors"]] == ["electricity.grid.location"]
    assert "reasons" not in document


def test_emissions_of_heat_are_scope_2_by_energy(park):
    """75 kWh = 0.27 GJ; purchased heat 110 kgCO2/GJ."""
    document = answer(park, "emissions", *DAY, "--point", "a-heat")
    (series,) = document["series"]
    assert (series["scope"], series["unit"]) == (2, "kgCO2")
    assert series["rows"][0]["value"] == pytest.approx(0.27 * 110)


def test_emissions_of_gas_are_scope_1(park):
    document = answer(park, "emissions", *DAY, "--point", "a-gas")
    (series,) = document["series"]
    assert series["scope"] == 1
    assert series["rows"][0]["value"] > 0


def test_gas_in_m3_of_unknown_state_has_no_factor_and_says_why(park):
    document = answer(park, "emissions", *DAY, "--point", "b-gas")
    (series,) = document["series"]
    (row,) = series["rows"]
    assert row["value"] is None
    assert "no_factor" in row["flags"]
    assert any("reference" in reason for reason in document["reasons"])


def test_cooling_has_no_factor_and_says_so(park):
    document = answer(park, "emissions", *DAY, "--point", "c-cooling")
    (row,) = document["series"][0]["rows"]
    assert (row["value"], row["flags"]) == (None, ["no_factor"])
    assert document["reasons"]
    assert document["factors"] == []


def test_water_and_own_generation_cause_no_emissions(park):
    for point in ("c-water", "a-pv", "a-battery"):
        assert answer(park, "emissions", *DAY, "--point", point)["series"] == []


def test_the_market_method_takes_another_factor(park):
    by_location = answer(park, "emissions", *DAY, "--point", "a-main")
    by_market = answer(park, "emissions", *DAY, "--point", "a-main", "--method", "market")
    assert by_market["method"] == "market"
    assert by_market["factors"] != by_location["factors"]
    assert all("residual" in factor for factor in by_market["factors"])
