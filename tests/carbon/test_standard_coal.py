"""Standard coal, 当量值 and 等价值."""

from datetime import date

import numpy as np
import pytest

from carbon.factor_files import load_registry
from carbon.registry import FactorNotFound
from carbon.standard_coal import NoStandardCoal, coefficient_for, standard_coal_kgce

REGISTRY = load_registry()


def kgce(quantity, carrier, unit, **more):
    return standard_coal_kgce(REGISTRY, quantity, carrier, unit, year=2023, **more)


def test_a_site_with_electricity_gas_and_heat_is_181_15_tce():
    # 12.29 + 66.5 + 102.36 tce
    total = (
        kgce(100_000, "electricity", "kWh") + kgce(50_000, "gas", "m3") + kgce(3000, "heat", "GJ")
    )

    assert total == pytest.approx(181_150)


def test_a_thousand_cubic_metres_of_gas_are_1_33_tce():
    assert kgce(1000, "gas", "m3") == pytest.approx(1330)
    assert kgce(1000, "gas", "Nm3") == pytest.approx(1330)


def test_the_other_gas_row_of_the_same_table_can_be_chosen():
    field = "standard_coal.calorific.natural_gas_field"

    assert kgce(1000, "gas", "m3", key=field) == pytest.approx(1214.3)


def test_printed_four_digit_coefficients_are_kept():
    # not 3600/29307 = 0.122835 and not 0.0341
    assert kgce(1.0, "electricity", "kWh") == 0.1229
    assert kgce(1.0, "heat", "MJ") == 0.03412


def test_ten_thousand_tce_are_81_gwh_calorific_and_33_gwh_equivalent():
    # 81.4 GWh × 0.1229 = 10 004 tce; 33.3 GWh × 0.30 = 9 990 tce
    generic = "standard_coal.equivalent.electricity.generic"

    assert kgce(81.4e6, "electricity", "kWh") / 1000 == pytest.approx(10_000, rel=0.002)
    assert kgce(33.3e6, "electricity", "kWh", basis="等价", key=generic) / 1000 == pytest.approx(
        10_000, rel=0.002
    )


def test_equivalent_value_of_electricity_is_refused_until_adopted():
    with pytest.raises(FactorNotFound, match="switched off until adopted: standard_coal"):
        kgce(1.0, "electricity", "kWh", basis="等价")


def test_equivalent_value_a_site_gives_itself_is_used_for_its_year(tmp_path):
    (tmp_path / "coal.yaml").write_text(
        """\
key: standard_coal.equivalent.electricity
region: CN
unit: kgce/kWh
versions:
  - {value: 0.3, valid_from: 2023-01-01, valid_until: 2024-01-01, published: 2024-02-01, source: b}
sources:
  b: {title: Bulletin, publisher: Statistics bureau, edition: "2024", locator: p. 2}
""",
        encoding="utf-8",
    )
    registry = load_registry(tmp_path)

    got = coefficient_for(registry, "electricity", "kWh", basis="等价", on=date(2023, 6, 1))

    assert (got.kgce_per_unit, got.basis, got.provisional) == (0.3, "等价", False)
    assert got.factor.own
    with pytest.raises(FactorNotFound):
        coefficient_for(registry, "electricity", "kWh", basis="等价", on=date(2024, 6, 1))


def test_only_electricity_differs_between_the_two_bases():
    assert kgce(3000, "heat", "GJ", basis="等价") == kgce(3000, "heat", "GJ")
    assert kgce(1000, "gas", "m3", basis="等价") == kgce(1000, "gas", "m3")


def test_heat_and_gas_metered_in_kwh_count_by_their_energy():
    # 1 000 kWh = 3 600 MJ; × 0.03412 = 122.832 kgce
    assert kgce(1000, "heat", "kWh") == pytest.approx(122.832)
    assert kgce(1000, "gas", "kWh") == pytest.approx(122.832)


def test_fuels_count_by_mass_with_the_table_of_standard_coal():
    # 1 t diesel: 1.4571 tce; the CO2 table's 42.652 GJ/t would give 1.4553
    assert kgce(1, "diesel", "t") == pytest.approx(1457.1)


def test_a_column_of_quantities_gives_a_column():
    got = kgce(np.array([1.0, np.nan]), "electricity", "kWh")

    assert got[0] == 0.1229
    assert np.isnan(got[1])


@pytest.mark.parametrize("carrier", ["cooling", "water", "kerosene", "compressed_air"])
def test_media_without_a_verified_coefficient_are_refused(carrier):
    with pytest.raises(FactorNotFound):
        kgce(1.0, carrier, "kg")


def test_a_unit_that_does_not_fit_is_refused():
    with pytest.raises(NoStandardCoal, match="kgce/kWh"):
        kgce(1.0, "electricity", "t")


def test_a_factor_that_is_not_standard_coal_is_refused():
    with pytest.raises(NoStandardCoal, match="kgCO2/GJ"):
        kgce(1.0, "heat", "GJ", key="heat.purchased")
