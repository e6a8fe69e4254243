"""Activity × factor: units, gas volumes, gas bases, unknowns."""

from dataclasses import replace
from datetime import date
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from carbon.emissions import (
    EmissionSource,
    MixedGasBases,
    hourly_emissions,
    source_for,
)
from carbon.factor_columns import ResolvedFactors, resolve
from carbon.factor_files import load_registry
from carbon.gas_volume import BadReferenceCondition, reference_ratio
from metering.readings import Flag
from metering.sites import CARRIERS

SHANGHAI = ZoneInfo("Asia/Shanghai")
REGISTRY = load_registry()
JUNE_2023 = np.array(["2023-06-01T00:00"], "datetime64[us]")


def emitted(quantity, unit, key, *, region="CN-BJ", starts=JUNE_2023, **more):
    resolved = resolve(REGISTRY, key, region, starts, tz=SHANGHAI)
    return hourly_emissions(np.atleast_1d(np.array(quantity, float)), unit, resolved, **more)


def with_factors(*factors):
    count = len(factors)
    return ResolvedFactors(
        np.array([f.value for f in factors]),
        np.arange(count, dtype=np.int32),
        factors,
        np.zeros(count, dtype=bool),
        (),
    )


def test_electricity_counts_with_the_provinces_factor_of_the_year():
    # 1 000 kWh × 0.5554 kg/kWh
    got = emitted(1000, "kWh", "electricity.grid.location")

    assert got.value == pytest.approx([555.4])
    assert got.unit == "kgCO2"
    assert [got.factors[i].id for i in got.factor] == [
        "electricity.grid.location/CN-BJ/2023@2025-12-31"
    ]
    assert got.flags.tolist() == [Flag.NONE]


def test_heat_in_kwh_counts_through_exact_gigajoules():
    # 1 000 000 kWh = 3 600 GJ; × 110 kg/GJ = 396 000 kg
    assert emitted(1_000_000, "kWh", "heat.purchased").value == pytest.approx([396_000])
    assert emitted(3600, "GJ", "heat.purchased").value == pytest.approx([396_000])


def test_a_thousand_normal_cubic_metres_of_gas_are_two_tonnes_not_two_hundred_kilograms():
    # 0.038931 GJ/Nm3 × 15.3 × 0.99 × 44/12 = 2.16219 kg/Nm3; 10^4 Nm3 -> 21.622 t
    assert emitted(1000, "Nm3", "fuel.natural_gas").value == pytest.approx([2162.2], abs=0.05)
    assert emitted(10_000, "Nm3", "fuel.natural_gas").value == pytest.approx([21_622], abs=0.5)


def test_gas_in_kwh_counts_by_its_net_energy():
    # 1 000 kWh = 3.6 GJ; × 55.539 kg/GJ = 199.9404 kg
    assert emitted(1000, "kWh", "fuel.natural_gas").value == pytest.approx([199.9404])


def test_gas_metered_at_twenty_degrees_is_fewer_normal_cubic_metres():
    # 1 000 m3 × 273.15/293.15 = 931.78 Nm3; × 2.16219 = 2 014.67 kg
    got = emitted(1000, "m3", "fuel.natural_gas", reference="20 degC 101.325 kPa")
    at_zero = emitted(1000, "m³", "fuel.natural_gas", reference="0 degC 101.325 kPa")

    assert got.value == pytest.approx([2014.67], abs=0.01)
    assert at_zero.value == pytest.approx([2162.19], abs=0.01)


def test_gas_of_unknown_state_has_no_factor_and_says_what_to_add():
    got = emitted(1000, "m3", "fuel.natural_gas")

    assert np.isnan(got.value).all()
    assert got.factor.tolist() == [-1]
    assert got.flags.tolist() == [Flag.NO_FACTOR]
    assert "Add `reference`" in got.reasons[0]
    assert got.unit is None


def test_diesel_counts_by_mass():
    # 42.652 GJ/t × 20.2 × 0.98 × 44/12 = 3 095.9 kg/t
    assert emitted(2, "t", "fuel.diesel").value == pytest.approx([6191.8], abs=0.1)
    assert emitted(2000, "kg", "fuel.diesel").value == pytest.approx([6191.8], abs=0.1)


def test_a_unit_that_cannot_meet_the_factor_is_no_factor():
    got = emitted(1, "t", "electricity.grid.location")

    assert got.flags.tolist() == [Flag.NO_FACTOR]
    assert "no net calorific value" in got.reasons[0]


def test_energy_meets_a_factor_per_cubic_metre_through_the_calorific_value():
    gas = REGISTRY.at("fuel.natural_gas", "CN", on=date(2023, 1, 1)).factor
    per_volume = replace(gas, unit="kgCO2/Nm3", value=2.0, fuel=None)

    # 38.931 MJ = 10.81417 kWh make 1 Nm3
    got = hourly_emissions(np.array([38.931 / 3.6]), "kWh", with_factors(per_volume))

    assert got.value == pytest.approx([2.0])


def test_unknown_activity_stays_unknown_and_is_not_blamed_on_the_factor():
    got = emitted([np.nan], "kWh", "electricity.grid.location")

    assert np.isnan(got.value).all()
    assert got.flags.tolist() == [Flag.NONE]


def test_hours_without_a_factor_are_flagged_and_stand_in_values_too():
    starts = np.array(["2020-06-01", "2023-06-01", "2024-06-01"], "datetime64[us]")
    resolved = resolve(
        REGISTRY, "electricity.grid.location", "CN-BJ", starts, tz=SHANGHAI, provisional=True
    )

    got = hourly_emissions(np.ones(3), "kWh", resolved)

    assert got.flags.tolist() == [Flag.NO_FACTOR, Flag.NONE, Flag.PROVISIONAL_FACTOR]
    assert got.value.tolist()[1:] == [0.5554, 0.5554]
    assert len(got.reasons) == 2


def test_gas_bases_are_kept_apart():
    grid = REGISTRY.at("electricity.grid.location", "CN-BJ", on=date(2023, 1, 1)).factor
    other = replace(grid, region="GB", unit="kgCO2e/kWh", value=0.2)

    got = hourly_emissions(np.array([1.0, 1.0]), "kWh", with_factors(grid, other))

    assert got.units == ("kgCO2", "kgCO2e")
    assert got.in_unit("kgCO2").tolist()[0] == 0.5554
    assert np.isnan(got.in_unit("kgCO2")[1])
    assert got.in_unit("kgCO2e").tolist()[1] == 0.2
    with pytest.raises(MixedGasBases, match="not one quantity"):
        _ = got.unit


def test_columns_of_different_length_are_a_fault():
    with pytest.raises(ValueError, match="hours of activity"):
        emitted([1.0, 2.0], "kWh", "electricity.grid.location")


@pytest.mark.parametrize(
    ("carrier", "method", "scope", "key"),
    [
        ("electricity", "location", 2, "electricity.grid.location"),
        ("electricity", "market", 2, "electricity.grid.residual"),
        ("heat", "location", 2, "heat.purchased"),
        ("steam", "market", 2, "heat.purchased"),
        ("gas", "location", 1, "fuel.natural_gas"),
        ("diesel", "market", 1, "fuel.diesel"),
        ("cooling", "location", 2, "cooling.purchased"),
    ],
)
def test_a_carrier_has_its_scope_and_factor(carrier, method, scope, key):
    found = source_for(carrier, method=method)

    assert (found.scope, found.key) == (scope, key)


def test_water_temperature_own_generation_and_storage_cause_no_row():
    assert source_for("water") is None
    assert source_for("temperature") is None
    assert source_for("electricity", role="generation") is None
    assert source_for("electricity", role="storage") is None
    assert source_for("heat", role="generation") is None
    assert source_for("electricity", role="sub") is not None
    assert source_for("electricity", role="IT") is not None


def test_a_carrier_without_a_rule_is_not_silently_zero():
    found = source_for("compressed_air")

    assert isinstance(found, EmissionSource)
    assert found.key is None
    assert "compressed_air" in found.reason


def test_every_carrier_a_site_can_have_has_a_rule():
    for carrier in CARRIERS:
        found = source_for(carrier)
        if carrier in {"water", "temperature"}:
            assert found is None
        else:
            assert found.key, carrier
            assert found.scope == (1 if found.key.startswith("fuel.") else 2)


def test_every_fuel_and_the_default_keys_are_shipped():
    for carrier in ("electricity", "heat", "gas", "diesel", "gasoline", "lpg", "lng", "coke"):
        for method in ("location", "market"):
            key = source_for(carrier, method=method).key
            assert REGISTRY.at(key, "CN-BJ", on=date(2023, 6, 1)).factor.usable


def test_purchased_cooling_has_no_shipped_factor_and_says_so():
    got = emitted(1, "kWh", "cooling.purchased")

    assert got.flags.tolist() == [Flag.NO_FACTOR]
    assert "Regions with this key: none" in got.reasons[0]


def test_volumes_convert_by_temperature_and_pressure():
    # 273.15/293.15 = 0.931775; double pressure doubles the gas
    assert reference_ratio("20 degC 101.325 kPa") == pytest.approx(0.931775, abs=1e-6)
    assert reference_ratio("0 degC 101.325 kPa") == 1.0
    assert reference_ratio("0 degC 202.65 kPa") == pytest.approx(2.0)
    assert reference_ratio("0 degC 101.325 kPa", to="20 degC 101.325 kPa") == pytest.approx(
        293.15 / 273.15
    )


@pytest.mark.parametrize(
    "text", ["", "20", "20 C 101.325 kPa", "20 degC", "20 degC 1 kPa", "293 degC 101.325 kPa"]
)
def test_a_state_that_is_not_one_is_refused(text):
    with pytest.raises(BadReferenceCondition, match=r"20 degC 101\.325 kPa"):
        reference_ratio(text)
