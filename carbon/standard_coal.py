"""Energy as kilograms of standard coal (kgce), 当量值 or 等价值.

当量值 (calorific) is the energy in the medium: 1 kgce = 29 307 kJ. 等价值 (equivalent) is what
was burned to make it, which differs for electricity only and changes by the year. The two
differ by a factor of about 2.4 and are never mixed; every result names its coefficient.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from carbon.emissions import activity_scale
from carbon.factors import EmissionFactor
from carbon.registry import Registry

Basis = Literal["当量", "等价"]

Quantity = TypeVar("Quantity", float, NDArray[np.float64])

CALORIFIC = "standard_coal.calorific"
EQUIVALENT = "standard_coal.equivalent.electricity"

_CARRIERS = {"gas": "natural_gas", "coal": "raw_coal", "hot_water": "heat"}
_ENERGY_UNITS = {"kWh", "MWh", "kJ", "MJ", "GJ"}


class NoStandardCoal(LookupError):
    """No coefficient turns this into standard coal."""


@dataclass(frozen=True, slots=True)
class Coefficient:
    """What a quantity is multiplied by, and the row it comes from."""

    kgce_per_unit: float
    factor: EmissionFactor
    basis: Basis
    provisional: bool


def coefficient_for(
    registry: Registry,
    carrier: str,
    unit: str,
    *,
    basis: Basis = "当量",
    on: date,
    region: str | None = "CN",
    known_by: date | None = None,
    provisional: bool = False,
    key: str | None = None,
) -> Coefficient:
    """Return the coefficient that turns a quantity into kgce.

    A fuel counted in energy uses the coefficient of heat, since kgce is an energy.
    Gas in m3 counts as energy statistics count it, without conversion to Nm3.

    Args:
        registry: Where the coefficients are.
        carrier: electricity, heat, steam, gas, or a fuel such as diesel.
        unit: Of the quantity: kWh, MJ, GJ, m3, kg, t.
        basis: 当量 (calorific) or 等价 (equivalent).
        on: Any day of the data year; 等价 changes by the year.
        region: Where the coefficient must hold.
        known_by: Use only what was published by this day.
        provisional: Let the newest earlier 等价 value stand in for later years.
        key: Another row instead of the default, such as standard_coal.calorific.natural_gas_field.

    Raises:
        FactorNotFound: No usable coefficient covers the day.
        NoStandardCoal: The unit does not fit the coefficient.
    """
    found = registry.at(
        key or _key(carrier, unit, basis),
        region,
        on=on,
        known_by=known_by,
        provisional=provisional,
    )
    factor = found.factor
    printed = "Nm3" if factor.per == "m3" else factor.per
    asked = unit.replace("m³", "m3")
    same_volume = asked in {"m3", "Nm3"} and printed == "Nm3"
    scale = 1.0 if same_volume else activity_scale(factor, asked)
    if factor.numerator != "kgce" or factor.value is None or isinstance(scale, str):
        raise NoStandardCoal(
            f"No standard coal for {carrier} in {unit}: {factor.id} is in {factor.unit}. "
            "Convert the quantity first, or name another coefficient."
        )
    return Coefficient(factor.value * scale, factor, basis, found.provisional)


def standard_coal_kgce(
    registry: Registry,
    quantity: Quantity,
    carrier: str,
    unit: str,
    *,
    basis: Basis = "当量",
    year: int,
    region: str | None = "CN",
    known_by: date | None = None,
    provisional: bool = False,
    key: str | None = None,
) -> Quantity:
    """Return a quantity, or a column of them, as standard coal.

    The arguments are those of `coefficient_for`, which also says where the number comes
    from; a report prints it beside the result.
    """
    coefficient = coefficient_for(
        registry,
        carrier,
        unit,
        basis=basis,
        on=date(year, 1, 1),
        region=region,
        known_by=known_by,
        provisional=provisional,
        key=key,
    )
    return quantity * coefficient.kgce_per_unit


def _key(carrier: str, unit: str, basis: Basis) -> str:
    if carrier == "electricity":
        return EQUIVALENT if basis == "等价" else f"{CALORIFIC}.electricity"
    if carrier in {"cooling", "chilled_water", "water"}:
        return f"{CALORIFIC}.{carrier}"
    if unit in _ENERGY_UNITS:
        return f"{CALORIFIC}.heat"
    return f"{CALORIFIC}.{_CARRIERS.get(carrier, carrier)}"
