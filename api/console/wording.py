"""How the console writes numbers, ages, times and shares; unknown is a dash, never 0."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from math import floor, log10
from zoneinfo import ZoneInfo

from api.console.catalogue import Texts

UNKNOWN = "–"

MINUS = "−"

_STEPS = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10)

_UNITS = {"m3": "m³", "m2": "m²", "m3.degC": "m³·°C", "degC": "°C", "m3/h": "m³/h",
          "kgCO2": "kg CO₂", "kgCO2e": "kg CO₂e"}  # fmt: skip


def number(value: float | None, digits: int | None = None) -> str:
    """A number as people read it: thousands apart, as many decimals as its size deserves.

    Args:
        value: None is unknown.
        digits: Decimals; by size if None.
    """
    if value is None or value != value:
        return UNKNOWN
    if digits is None:
        size = abs(value)
        digits = 0 if size >= 100 or value == 0 else 1 if size >= 10 else 2
    text = f"{value:,.{digits}f}"
    return text.replace("-", MINUS) if float(text.replace(",", "")) else text.lstrip("-")


def reading(value: float | None) -> str:
    """What a register shows, with all its decimals."""
    if value is None:
        return UNKNOWN
    return f"{value:,.3f}".rstrip("0").rstrip(".").replace("-", MINUS)


def percent(share: float | None, digits: int = 0) -> str:
    """A share as a percentage; 99.9 % is not written as 100 %."""
    if share is None:
        return UNKNOWN
    if digits == 0 and 0.99 < share < 1:
        share = 0.99
    return f"{share * 100:,.{digits}f} %".replace("-", MINUS)


def unit(name: str | None, texts: Texts) -> str:
    """A unit as people read it."""
    if not name:
        return ""
    if name in _UNITS:
        return _UNITS[name]
    head, slash, tail = name.partition("/")
    tail = texts.known(f"unit.{tail}", _UNITS.get(tail, tail))
    return _UNITS.get(head, head) + slash + tail


def age(seconds: float | None, texts: Texts) -> str:
    """A span in the two units that matter."""
    if seconds is None:
        return UNKNOWN
    whole = int(seconds)
    if whole < 60:
        return texts("age.seconds", n=whole)
    if whole < 3600:
        return texts("age.minutes", n=whole // 60)
    if whole < 86_400:
        return texts("age.hours", n=whole // 3600, m=whole % 3600 // 60)
    return texts("age.days", n=whole // 86_400, m=whole % 86_400 // 3600)


def clock(text: str, tz: ZoneInfo, *, seconds: bool = False) -> str:
    """An instant of an answer on the site's clock."""
    local = datetime.fromisoformat(text).astimezone(tz)
    return local.strftime("%Y-%m-%d %H:%M:%S" if seconds else "%Y-%m-%d %H:%M")


def flag_words(flags: Sequence[str], texts: Texts) -> list[str]:
    """Flags in words."""
    return [texts.known(f"flag.{flag}", flag) for flag in flags]


def nice_top(values: Sequence[float]) -> float:
    """A round number that no value exceeds; 1 if there is none above 0."""
    largest = max(values, default=0.0)
    if largest <= 0:
        return 1.0
    step = 10.0 ** floor(log10(largest))
    return next(step * m for m in _STEPS if step * m >= largest * (1 - 1e-9))
