"""The tables that are shipped: complete, sourced, and equal to independent copies."""

import json
import re
from datetime import date
from pathlib import Path

import pytest

from carbon.factor_files import SHIPPED, check, load_registry, verification
from carbon.factors import Verification
from carbon.registry import FactorNotFound

DATA = Path(__file__).parents[2] / ".." / "shared" / "data" / "emission-factors"
REGISTRY = load_registry()
LOCATION = "electricity.grid.location"

PROVINCES = {
    "北京": "BJ", "天津": "TJ", "河北": "HE", "山西": "SX", "内蒙古": "NM",
    "辽宁": "LN", "吉林": "JL", "黑龙江": "HL", "上海": "SH", "江苏": "JS",
    "浙江": "ZJ", "安徽": "AH", "福建": "FJ", "江西": "JX", "山东": "SD",
    "河南": "HA", "湖北": "HB", "湖南": "HN", "广东": "GD", "广西": "GX",
    "海南": "HI", "重庆": "CQ", "四川": "SC", "贵州": "GZ", "云南": "YN",
    "陕西": "SN", "甘肃": "GS", "青海": "QH", "宁夏": "NX", "新疆": "XJ",
}  # fmt: skip
GRIDS = {
    "华北": "NORTH", "东北": "NORTHEAST", "华东": "EAST", "华中": "CENTRAL", "西北": "NORTHWEST",
    "南方": "SOUTH", "西南": "SOUTHWEST",
}  # fmt: skip


def value(key, region, year):
    return REGISTRY.at(key, region, on=date(year, 7, 1)).factor.value


def copy_of(name):
    path = DATA / name
    if not path.exists():
        pytest.skip(f"the data set {name} is not on this machine")
    return json.loads(path.read_text(encoding="utf-8"))


def test_every_shipped_file_is_without_a_problem():
    assert [str(problem) for problem in check()] == []
    assert len(list(SHIPPED.glob("*.yaml"))) == 10


def test_every_shipped_row_names_document_publisher_unit_and_mark():
    for factor in REGISTRY.factors:
        assert factor.source.title, factor.id
        assert factor.source.publisher, factor.id
        assert factor.mark in {"A", "B", "A(2nd)", "C"}, factor.id
        assert factor.value is not None, factor.id


def test_no_web_address_stands_in_a_shipped_file():
    for path in SHIPPED.glob("*.yaml"):
        assert not re.search(r"https?:|www\.|url:", path.read_text(encoding="utf-8")), path.name


def test_ids_are_unique_and_name_key_region_year_and_day_of_publication():
    ids = [factor.id for factor in REGISTRY.factors]

    assert len(ids) == len(set(ids))
    assert "electricity.grid.location/CN-BJ/2023@2025-12-31" in ids
    assert "fuel.natural_gas/CN/2000-01-01..@2024-12-31" in ids
    assert REGISTRY.by_id(ids[0]).id == ids[0]


@pytest.mark.parametrize(
    ("year", "average", "residual", "fossil"),
    [(2021, 0.5568, None, 0.8426), (2022, 0.5366, 0.5856, 0.8325), (2023, 0.5306, 0.6096, 0.8273)],
)
def test_national_values_stand_in_their_own_data_year(year, average, residual, fossil):
    # 公告 2024-12, 2024-33, 2025-47; the residual of 2021 is unverified
    assert value(LOCATION, "CN", year) == average
    assert value("electricity.grid.fossil", "CN", year) == fossil
    if residual is None:
        with pytest.raises(FactorNotFound, match="Unverified and switched off"):
            value("electricity.grid.residual", "CN", year)
    else:
        assert value("electricity.grid.residual", "CN", year) == residual


def test_reporting_year_factors_are_a_series_of_their_own():
    # 0.5810 and 0.5703 belong to reporting years 2021 and 2022 and to no data year
    assert value("electricity.ets.reporting", "CN", 2021) == 0.5810
    assert value("electricity.ets.reporting", "CN", 2022) == 0.5703
    location = {f.value for f in REGISTRY.versions(LOCATION)}
    assert not location & {0.5810, 0.5703, 0.6101, 0.604}


def test_a_scheme_that_fixes_its_year_is_not_carried_into_the_next():
    for key, region, day in [
        ("electricity.ets.reporting", "CN", date(2023, 6, 1)),
        ("electricity.green_power.beijing_market", "CN-BJ", date(2024, 6, 1)),
    ]:
        with pytest.raises(FactorNotFound):
            REGISTRY.at(key, region, on=day, provisional=True)


def test_market_green_power_is_zero_in_beijing_in_2023_only():
    key = "electricity.green_power.beijing_market"
    found = REGISTRY.at(key, "CN-BJ", on=date(2023, 6, 1)).factor

    assert found.value == 0
    assert found.verification is Verification.PRIMARY
    for year in (2022, 2024):
        with pytest.raises(FactorNotFound):
            value(key, "CN-BJ", year)


def test_beijing_market_factor_is_listed_but_switched_off():
    row = next(r for r in REGISTRY.list() if r["key"] == "electricity.market.beijing")

    assert (row["value"], row["verification"], row["usable"]) == (0.604, "unverified", False)
    with pytest.raises(FactorNotFound):
        value("electricity.market.beijing", "CN-BJ", 2023)


def test_no_unverified_row_is_ever_applied():
    off = [f for f in REGISTRY.factors if not f.usable]
    assert len(off) > 40

    for factor in off:
        assert factor.mark == "C" or factor.blend
        try:
            found = REGISTRY.at(factor.key, factor.region, on=factor.valid_from, provisional=True)
        except FactorNotFound:
            continue
        assert found.factor.usable


def test_verification_follows_mark_and_what_was_seen_second_hand():
    assert verification("A", second_hand=False) is Verification.PRIMARY
    assert verification("A", second_hand=True) is Verification.SECOND_HAND
    assert verification("B", second_hand=False) is Verification.SECOND_HAND
    assert verification("A(2nd)", second_hand=False) is Verification.SECOND_HAND
    assert verification("C", second_hand=True) is Verification.UNVERIFIED


def test_electricity_fuel_heat_and_gwp_rows_are_never_primary():
    second_hand = (LOCATION, "electricity.grid.", "fuel.", "gwp100.", "heat.", "standard_coal.")
    for factor in REGISTRY.factors:
        if factor.key.startswith(second_hand):
            assert factor.verification is not Verification.PRIMARY, factor.id


def test_provincial_factors_of_2021_and_2022_equal_an_independent_copy():
    table = copy_of("cn_factors.json")["grid_provincial_kgco2_per_kwh"]["values"]
    assert set(table) == set(PROVINCES)

    for name, (in_2021, in_2022) in table.items():
        region = f"CN-{PROVINCES[name]}"
        assert (value(LOCATION, region, 2021), value(LOCATION, region, 2022)) == (in_2021, in_2022)


def test_regional_factors_of_2021_and_2022_equal_an_independent_copy():
    table = copy_of("cn_factors.json")["grid_regional_kgco2_per_kwh"]["values"]
    assert set(table) == set(GRIDS)

    for name, (in_2021, in_2022) in table.items():
        region = f"CN-GRID-{GRIDS[name]}"
        assert (value(LOCATION, region, 2021), value(LOCATION, region, 2022)) == (in_2021, in_2022)


def test_provincial_factors_of_2023_equal_an_independent_copy():
    table = copy_of("codecarbon_china_provincial_2023.json")["data"]
    assert len(table) == 30

    for region, row in table.items():
        # g/kWh there, kg/kWh here
        assert value(LOCATION, region, 2023) == pytest.approx(row["emission_factor"] / 1000)


def test_fuel_factors_are_computed_from_the_inputs_of_an_independent_copy():
    names = {
        "天然气": "natural_gas", "柴油": "diesel", "汽油": "gasoline", "液化石油气": "lpg",
        "液化天然气": "lng", "烟煤": "bituminous_coal", "焦炭": "coke",
    }  # fmt: skip
    fuels = {row["fuel"]: row for row in copy_of("cn_factors.json")["fuels"]["values"]}

    for fuel, key in names.items():
        factor = REGISTRY.at(f"fuel.{key}", "CN-BJ", on=date(2023, 1, 1)).factor
        assert factor.value == pytest.approx(fuels[fuel]["computed_tco2_per_gj"] * 1000, rel=1e-5)
        per_unit = factor.value * factor.calorific_value.gj
        if key == "natural_gas":
            per_unit *= 10  # kg/Nm3 -> t per 10^4 Nm3
        else:
            per_unit /= 1000  # kg/t -> t/t
        assert per_unit == pytest.approx(fuels[fuel]["computed_tco2_per_unit"], rel=1e-5)


@pytest.mark.parametrize(
    ("fuel", "kgco2_per_gj"),
    [
        ("natural_gas", 55.54),
        ("diesel", 72.59),
        ("gasoline", 67.91),
        ("lpg", 61.81),
        ("lng", 54.98),
        ("anthracite", 94.44),
        ("bituminous_coal", 89.00),
        ("coke", 100.60),
    ],
)
def test_fuel_factors_per_energy_equal_the_printed_table(fuel, kgco2_per_gj):
    # GB/T 32151.22-2024 table C.1, recomputed: 15.3 × 0.99 × 44/12 = 55.539 and so on
    assert value(f"fuel.{fuel}", "CN", 2023) == pytest.approx(kgco2_per_gj, abs=0.006)


def test_the_gas_row_says_at_which_state_its_cubic_metre_is_counted():
    gas = REGISTRY.at("fuel.natural_gas", "CN-BJ", on=date(2023, 1, 1)).factor

    assert gas.reference == "0 degC 101.325 kPa"
    assert (gas.fuel.carbon_content_tc_tj, gas.fuel.oxidation) == (15.3, 0.99)
    assert gas.calorific_value.gj == pytest.approx(0.038931)


def test_purchased_heat_is_110_kg_per_gj_and_not_the_variant_111():
    heat = REGISTRY.at("heat.purchased", "CN-BJ", on=date(2019, 1, 1)).factor

    assert (heat.value, heat.unit, heat.region) == (110, "kgCO2/GJ", "CN")
    assert heat.verification is Verification.SECOND_HAND


@pytest.mark.parametrize(
    ("edition", "blend", "by_mass"),
    [
        # 0.5 × 677 + 0.5 × 3170; 0.44 × 3170 + 0.52 × 4800 + 0.04 × 1300
        ("ar5", "r-410a", 1923.5),
        ("ar5", "r-404a", 3942.8),
        # 0.23 × 677 + 0.25 × 3170 + 0.52 × 1300; 0.5 × 3170 + 0.5 × 4800
        ("ar5", "r-407c", 1624.21),
        ("ar5", "r-507a", 3985.0),
        # 0.5 × 771 + 0.5 × 3740; 0.44 × 3740 + 0.52 × 5810 + 0.04 × 1530
        ("ar6", "r-410a", 2255.5),
        ("ar6", "r-404a", 4728.0),
    ],
)
def test_refrigerant_blends_are_computed_from_the_components_of_their_edition(
    edition, blend, by_mass
):
    found = REGISTRY.at(f"gwp100.{edition}.{blend}", "CN-BJ", on=date(2023, 1, 1)).factor

    assert found.value == pytest.approx(by_mass)
    assert found.gas_basis == "kgCO2e"


def test_gwp_of_the_fourth_report_is_switched_off_with_its_blends():
    for factor in REGISTRY.factors:
        if factor.key.startswith("gwp100.ar4."):
            assert not factor.usable, factor.id


def test_conflicting_gwp_of_sf6_is_not_usable_and_fossil_methane_is_not_biogenic():
    with pytest.raises(FactorNotFound):
        value("gwp100.ar6.sf6", None, 2023)
    assert value("gwp100.ar5.sf6", None, 2023) == 23500
    assert value("gwp100.ar6.ch4_fossil", None, 2023) == 29.8
    assert value("gwp100.ar6.ch4_biogenic", None, 2023) == 27.0
