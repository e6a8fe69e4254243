"""Cubic metres of gas at one state, counted at another.

A contract often counts gas at 20 °C; emission factors count it at 0 °C (Nm³).
The gas is taken as ideal: p·V/T is constant.
"""

from __future__ import annotations

import re

NORMAL = "0 degC 101.325 kPa"
"""The state of a normal cubic metre, Nm³."""

ZERO_CELSIUS_K = 273.15
_REFERENCE = re.compile(r"(-?\d+(?:\.\d+)?) degC (\d+(?:\.\d+)?) kPa")
_CELSIUS = (-50.0, 60.0)
_KPA = (50.0, 20_000.0)


class BadReferenceCondition(ValueError):
    """A text that does not say at which state a cubic metre is counted."""

    wanted = 'a state of gas such as "20 degC 101.325 kPa" (pressure absolute)'

    def __init__(self, text: str) -> None:
        super().__init__(
            f"Reference condition of the gas: wanted {self.wanted}, temperature "
            f"{_CELSIUS[0]:g} to {_CELSIUS[1]:g} degC and pressure {_KPA[0]:g} to {_KPA[1]:g} kPa; "
            f"found {text!r}. Take it from the gas contract or the meter's correction device."
        )


def reference_ratio(reference: str, *, to: str = NORMAL) -> float:
    """Return what a volume at one state is multiplied by to be at another.

    Args:
        reference: State of the metered volume, such as '20 degC 101.325 kPa'.
        to: State wanted; a normal cubic metre unless said.

    Returns:
        Volume at `to` ÷ volume at `reference`. [1]

    Raises:
        BadReferenceCondition: A text is not of this form, or no gas meter runs there.
    """
    kelvin, kpa = _state(reference)
    to_kelvin, to_kpa = _state(to)
    return (to_kelvin / kelvin) * (kpa / to_kpa)


def _state(text: str) -> tuple[float, float]:
    match = _REFERENCE.fullmatch(text)
    if match is None:
        raise BadReferenceCondition(text)
    celsius, kpa = float(match[1]), float(match[2])
    if not (_CELSIUS[0] <= celsius <= _CELSIUS[1] and _KPA[0] <= kpa <= _KPA[1]):
        raise BadReferenceCondition(text)
    return celsius + ZERO_CELSIUS_K, kpa
