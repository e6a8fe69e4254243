"""Activity × emission factor, hour by hour, by scope and method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from carbon.factor_columns import ResolvedFactors
from carbon.factors import EmissionFactor, Floats
from carbon.gas_volume import NORMAL, reference_ratio
from metering.readings import Flag

Method = Literal["location", "market"]

LOCATION_KEY = "electricity.grid.location"
RESIDUAL_KEY = "electricity.grid.residual"
HEAT_KEY = "heat.purchased"

_FUELS = {
    "natural_gas", "diesel", "gasoline", "kerosene", "fuel_oil", "lpg", "lng", "coal",
    "anthracite", "bituminous_coal", "coke", "biomass", "hydrogen",
}  # fmt: skip
_HEAT = {"heat", "steam", "hot_water"}
_COOLING = {"cooling", "chilled_water"}
_NO_EMISSIONS = {"water", "recycled_water", "temperature"}
_NO_SOURCE_ROLES = {"generation", "storage"}

_KJ = {"kWh": 3600, "MWh": 3_600_000, "kJ": 1, "MJ": 1000, "GJ": 1_000_000}
_KG = {"kg": 1, "t": 1000}


@dataclass(frozen=True, slots=True)
class EmissionSource:
    """What kind of emission a meter point's activity causes."""

    scope: int | None
    """1 or 2 of the GHG Protocol; None where no rule says."""
    method: Method | None
    """Scope 2 electricity only."""
    key: str | None
    """Factor key; None when there is no factor to be had."""
    reason: str = ""
    """Why there is no key."""


def source_for(
    carrier: str, *, role: str = "main", method: Method = "location"
) -> EmissionSource | None:
    """Say which factor a meter point's activity is multiplied by.

    Own generation and storage are no source of their own: what they save, lose or burn
    is already in what the main meters of the site show. Electricity by the market
    method counts with the residual mix; green power contracts are not known here.

    Returns:
        None when the carrier or role causes no emissions row at all.
    """
    if carrier in _NO_EMISSIONS or role in _NO_SOURCE_ROLES:
        return None
    if carrier == "electricity":
        return EmissionSource(2, method, LOCATION_KEY if method == "location" else RESIDUAL_KEY)
    if carrier in _HEAT:
        return EmissionSource(2, None, HEAT_KEY)
    if carrier in _COOLING:
        return EmissionSource(2, None, "cooling.purchased")
    fuel = "natural_gas" if carrier == "gas" else carrier
    if fuel in _FUELS:
        return EmissionSource(1, None, f"fuel.{fuel}")
    return EmissionSource(
        None, None, None, f"No rule says which emissions the carrier {carrier!r} causes."
    )


class MixedGasBases(ValueError):
    """Emissions in kgCO2 and in kgCO2e were about to be taken for one quantity."""


@dataclass(frozen=True, slots=True, eq=False)
class EmissionColumns:
    """Emissions of one meter point, as columns of shape (n,)."""

    value: Floats
    """In the gas basis of the row's factor; NaN where activity or factor is unknown."""
    factor: NDArray[np.int32]
    """Index into `factors`; -1 where there is none."""
    factors: tuple[EmissionFactor, ...]
    flags: NDArray[np.int32]
    """Bits of `Flag`: NO_FACTOR, PROVISIONAL_FACTOR."""
    reasons: tuple[str, ...]

    @property
    def units(self) -> tuple[str, ...]:
        """The gas bases that occur, kgCO2 before kgCO2e."""
        used = {self.factors[i].numerator for i in np.unique(self.factor[self.factor >= 0])}
        return tuple(sorted(used))

    @property
    def unit(self) -> str | None:
        """The one gas basis of all rows; None when no row has a factor.

        Raises:
            MixedGasBases: Rows differ; take them apart with `in_unit`.
        """
        if len(self.units) > 1:
            raise MixedGasBases(
                f"Emissions in {' and '.join(self.units)} from "
                f"{', '.join(f.id for f in self.factors)} are not one quantity. "
                "Report them apart, or use factors of one gas basis."
            )
        return self.units[0] if self.units else None

    def in_unit(self, unit: str) -> Floats:
        """Return the rows of one gas basis; the others are NaN."""
        bases = np.array([f.numerator == unit for f in self.factors] + [False])
        return np.where(bases[self.factor], self.value, np.nan)


def hourly_emissions(
    activity: Floats, unit: str, resolved: ResolvedFactors, *, reference: str | None = None
) -> EmissionColumns:
    """Multiply a column of activity by its factors.

    Args:
        activity: Energy, volume or mass used in each hour; NaN where not known. Shape (n,).
        unit: Of the activity: kWh, MWh, kJ, MJ, GJ, m3 (as metered), Nm3, t or kg.
        resolved: Factors of the same hours.
        reference: State the metered m3 are counted at, such as '20 degC 101.325 kPa'.

    Raises:
        BadReferenceCondition: The reference is no such text.
    """
    if activity.shape != resolved.value.shape:
        raise ValueError(f"{activity.shape} hours of activity, {resolved.value.shape} of factors")
    scales, reasons = [], list(resolved.reasons)
    for factor in resolved.factors:
        scale = activity_scale(factor, unit, reference=reference)
        if isinstance(scale, str):
            reasons.append(scale)
            scale = np.nan
        scales.append(scale)
    scale_of = np.array([*scales, np.nan])
    value = activity * (resolved.value * scale_of[resolved.factor])
    index = np.where(np.isnan(scale_of[resolved.factor]), -1, resolved.factor).astype(np.int32)
    no_factor = index < 0
    flags = np.where(no_factor, int(Flag.NO_FACTOR), 0) | np.where(
        resolved.provisional & ~no_factor, int(Flag.PROVISIONAL_FACTOR), 0
    )
    return EmissionColumns(
        value, index, resolved.factors, flags.astype(np.int32), tuple(dict.fromkeys(reasons))
    )


def activity_scale(
    factor: EmissionFactor, unit: str, *, reference: str | None = None
) -> float | str:
    """Return what an activity is multiplied by to be in the factor's own unit.

    Energy and physical units meet through the net calorific value on the factor's row.

    Returns:
        The ratio, or the sentence that says why there is none.
    """
    unit = unit.replace("m³", "m3")
    per = factor.per
    same = _ratio(unit, per, factor, reference)
    if same is not None:
        return same
    if unit == "m3" and reference is None:
        return (
            f"Gas in m3 as metered cannot be counted with {factor.id}: the state of the "
            'metered volume is not known. Add `reference`, such as "20 degC 101.325 kPa", '
            "to the meter point, or `net_calorific_value_mj_m3`."
        )
    ncv = factor.calorific_value
    if ncv is not None:
        if per in _KJ and (physical := _ratio(unit, ncv.per, factor, reference)) is not None:
            return physical * ncv.gj * (_KJ["GJ"] / _KJ[per])
        if unit in _KJ and (physical := _ratio(ncv.per, per, factor, reference)) is not None:
            return (_KJ[unit] / _KJ["GJ"]) / ncv.gj * physical
    return (
        f"Activity in {unit} cannot be counted with {factor.id} in {factor.unit}"
        f"{'' if ncv else ', which has no net calorific value'}. "
        "Give a factor per that unit in the folder factors of the home."
    )


def _ratio(unit: str, per: str, factor: EmissionFactor, reference: str | None) -> float | None:
    """Return the ratio of two units of one kind, or None."""
    for table in (_KJ, _KG):
        if unit in table and per in table:
            return table[unit] / table[per]
    states: Mapping[str, str | None] = {"Nm3": NORMAL, "m3": reference}
    targets: Mapping[str, str | None] = {"Nm3": NORMAL, "m3": factor.reference}
    if unit in states and per in targets:
        given, wanted = states[unit], targets[per]
        if given is not None and wanted is not None:
            return reference_ratio(given, to=wanted)
    return None
