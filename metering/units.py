"""The unit table, the canonical registers, and the only conversions.

Energy is kWh, volume m³, temperature °C, power kW inside; a unit is converted once, where a reading
comes in.

Source: SI brochure, 9th edition (exact ratios); 1 kgce = 29 307 kJ is no unit but a factor and
lives in carbon/.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """How a register behaves."""

    CUMULATIVE = "cumulative"
    """Counts up for ever, until it rolls over."""
    INTERVAL = "interval"
    """The amount since the reading before; each stands for itself."""
    INSTANT = "instantaneous"
    """A value at the moment, such as a power or a temperature."""


class UnknownUnit(ValueError):
    """A unit that is not in the table, or that does not fit the register."""


@dataclass(frozen=True, slots=True)
class RegisterType:
    """What a register's name means."""

    unit: str
    kind: Kind
    multiplied: bool
    """Whether the meter's multiplier applies (energy, power and volume)."""


UNITS: Final[dict[str, tuple[str, float]]] = {
    "Wh": ("kWh", 0.001),
    "kWh": ("kWh", 1.0),
    "MWh": ("kWh", 1000.0),
    "GWh": ("kWh", 1_000_000.0),
    "kJ": ("kWh", 1 / 3600),
    "MJ": ("kWh", 1 / 3.6),
    "GJ": ("kWh", 1000 / 3.6),
    "W": ("kW", 0.001),
    "kW": ("kW", 1.0),
    "MW": ("kW", 1000.0),
    "m3": ("m3", 1.0),
    "L": ("m3", 0.001),
    "dm3": ("m3", 0.001),
    "m3/h": ("m3/h", 1.0),
    "L/h": ("m3/h", 0.001),
    "L/min": ("m3/h", 0.06),
    "L/s": ("m3/h", 3.6),
    "degC": ("degC", 1.0),
    "m3.degC": ("m3.degC", 1.0),
    "1": ("1", 1.0),
}
"""Unit -> its canonical unit and the ratio to it."""

_ALIASES: Final[dict[str, str]] = {
    "kwh": "kWh", "KWH": "kWh", "kW·h": "kWh", "kW.h": "kWh", "wh": "Wh", "mwh": "MWh",
    "kw": "kW", "KW": "kW", "w": "W",
    "m³": "m3", "m^3": "m3", "M3": "m3", "l": "L", "litre": "L", "dm³": "dm3",
    "m³/h": "m3/h", "m^3/h": "m3/h", "l/h": "L/h", "l/min": "L/min", "l/s": "L/s",
    "°C": "degC", "℃": "degC", "C": "degC",
    "m³·°C": "m3.degC", "m3·degC": "m3.degC", "m3*degC": "m3.degC", "m³*°C": "m3.degC",
    "m3·°C": "m3.degC", "m³.°C": "m3.degC", "m³·℃": "m3.degC",
}  # fmt: skip

_ENERGY = RegisterType("kWh", Kind.CUMULATIVE, multiplied=True)
_VOLUME = RegisterType("m3", Kind.CUMULATIVE, multiplied=True)
_TEMPERATURE = RegisterType("degC", Kind.INSTANT, multiplied=False)
_WEIGHTED = RegisterType("m3.degC", Kind.CUMULATIVE, multiplied=True)

REGISTERS: Final[dict[str, RegisterType]] = {
    "active_import": _ENERGY,
    "active_export": _ENERGY,
    **{f"active_import_t{n}": _ENERGY for n in range(1, 5)},
    **{f"active_export_t{n}": _ENERGY for n in range(1, 5)},
    "active_power": RegisterType("kW", Kind.INSTANT, multiplied=True),
    "heat": _ENERGY,
    "cooling": _ENERGY,
    "volume": _VOLUME,
    "volume_supply_temperature": _WEIGHTED,
    "volume_return_temperature": _WEIGHTED,
    "supply_temperature": _TEMPERATURE,
    "return_temperature": _TEMPERATURE,
    "flow": RegisterType("m3/h", Kind.INSTANT, multiplied=True),
    "gas_volume": _VOLUME,
    "gas_energy": _ENERGY,
    "water_volume": _VOLUME,
    "air_temperature": _TEMPERATURE,
}
"""The canonical registers; a profile may add more, named alike."""

KWH_TO_GJ: Final = 0.0036
"""1 kWh = 0.0036 GJ, exactly."""


def unit_ratio(unit: str, *, to: str) -> float:
    """Return what a value in `unit` is multiplied by to be in `to`.

    Raises:
        UnknownUnit: The unit is not in the table, or measures something else.
    """
    name = _ALIASES.get(unit, unit)
    if name not in UNITS:
        fitting = ", ".join(known for known, (base, _) in UNITS.items() if base == UNITS[to][0])
        raise UnknownUnit(f"Unit {unit!r} is not known; a register in {to} takes: {fitting}.")
    base, ratio = UNITS[name]
    wanted, wanted_ratio = UNITS[to]
    if base != wanted:
        fitting = ", ".join(known for known, (b, _) in UNITS.items() if b == wanted)
        raise UnknownUnit(f"Unit {unit!r} does not fit a register in {to}; it takes: {fitting}.")
    return ratio / wanted_ratio
