"""Emission factors by day of activity and day of knowledge.

A factor is a dated row: what it is (key), where (region), how much (value and
unit), for which days of activity, since when it is known, who published it and
how well that was verified. Nothing here reads a file; `factor_files` does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import date
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Times = NDArray[np.datetime64]

ANY_REGION = "any"
"""How a row that is bound to no region is written in files, lists and ids."""

_UNIT = re.compile(r"(kgCO2e|kgCO2|kgce)/(kWh|MJ|GJ|Nm3|m3|t|kg)")
UNITS = "kgCO2, kgCO2e or kgce per kWh, MJ, GJ, Nm3, m3, t or kg, such as kgCO2/kWh"

CARBON_TO_CO2 = 44 / 12


class Verification(StrEnum):
    """How well a row was checked against the document it names."""

    PRIMARY = "primary"
    SECOND_HAND = "second-hand"
    UNVERIFIED = "unverified"
    """Listed, but switched off until somebody adopts it."""
    OWN = "own"
    """From the operator's own files, adopted rows included."""


@dataclass(frozen=True, slots=True)
class Source:
    """The document a row was taken from."""

    title: str
    publisher: str
    edition: str
    """Edition or document number."""
    locator: str
    url: str | None = None
    retrieved: date | None = None

    @property
    def document(self) -> str:
        """Title and number, as a report cites it; never an address."""
        return f"{self.title}, {self.edition}"


@dataclass(frozen=True, slots=True)
class Adoption:
    """Who made an unverified row usable, and on the strength of what."""

    document: str
    page: str
    person: str
    on: date


@dataclass(frozen=True, slots=True)
class CalorificValue:
    """Net calorific value of a fuel, in the table that goes with its CO2 factor."""

    gj: float
    """Energy in one physical unit. [GJ]"""
    per: str
    """Nm3, m3, t or kg."""


@dataclass(frozen=True, slots=True)
class FuelAnalysis:
    """What a combustion factor is computed from."""

    carbon_content_tc_tj: float
    oxidation: float

    @property
    def kgco2_per_gj(self) -> float:
        """Carbon content × oxidised share × 44/12; 1 tC/TJ is 1 kgC/GJ."""
        return self.carbon_content_tc_tj * self.oxidation * CARBON_TO_CO2


@dataclass(frozen=True, slots=True, eq=False)
class FactorSeries:
    """A factor that changes within its version, for example every hour."""

    file: str
    starts: Times
    """UTC, strictly increasing, datetime64[us]. Shape (n,)."""
    values: Floats
    """Each holds until the next start. Shape (n,)."""

    @property
    def trusted_until(self) -> np.datetime64:
        """Where the last value has held for the longest step of the series."""
        if len(self.starts) < 2:
            return np.datetime64("9999-01-01", "us")
        return np.datetime64(self.starts[-1] + np.diff(self.starts).max(), "us")


@dataclass(frozen=True, slots=True)
class EmissionFactor:
    """One version of one factor in one region."""

    key: str
    region: str | None
    """None applies to any region."""
    unit: str
    value: float | None
    """None when the version is a series."""
    valid_from: date
    """First day of activity, in the site's calendar."""
    valid_until: date | None
    """First day no longer covered; None has no end."""
    published: date
    source: Source
    verification: Verification
    mark: str | None = None
    countrywide: bool = False
    """The document itself sets it for every place inside the region."""
    carry_forward: bool = True
    """May stand in, flagged provisional, for later years not published yet."""
    series: FactorSeries | None = field(default=None, compare=False)
    fuel: FuelAnalysis | None = None
    calorific_value: CalorificValue | None = None
    reference: str | None = None
    """State a cubic metre of the unit is counted at, such as '0 degC 101.325 kPa'."""
    blend: tuple[tuple[str, float], ...] = ()
    """Components and mass shares the value was computed from."""
    adoption: Adoption | None = None
    note: str = ""
    file: str = field(default="", compare=False)
    line: int = field(default=0, compare=False)

    @property
    def id(self) -> str:
        """Name of this version on every emission row, for ever."""
        own = "+own" if self.own else ""
        place = self.region or ANY_REGION
        return f"{self.key}/{place}/{self.span}@{self.published}{own}"

    @property
    def span(self) -> str:
        """The days it is valid for, as '2023', '2015-01-01..2021-01-01' or '2015-01-01..'."""
        first, end = self.valid_from, self.valid_until
        if end == date(first.year + 1, 1, 1) and first == date(first.year, 1, 1):
            return str(first.year)
        return f"{first}..{end or ''}"

    @property
    def own(self) -> bool:
        """Whether it comes from the operator's own files."""
        return self.verification is Verification.OWN

    @property
    def usable(self) -> bool:
        """Whether a figure may rest on it."""
        return self.verification is not Verification.UNVERIFIED

    @property
    def gas_basis(self) -> str | None:
        """kgCO2 or kgCO2e; None for standard coal."""
        return None if self.numerator == "kgce" else self.numerator

    @property
    def numerator(self) -> str:
        """What the unit counts: kgCO2, kgCO2e or kgce."""
        return self.unit.split("/")[0]

    @property
    def per(self) -> str:
        """What the unit is per: kWh, MJ, GJ, Nm3, m3, t or kg."""
        return self.unit.split("/")[1]

    def covers(self, on: date) -> bool:
        """Say whether a day of activity is inside the validity."""
        return self.valid_from <= on and (self.valid_until is None or on < self.valid_until)

    def adopted(self, adoption: Adoption) -> EmissionFactor:
        """Return the local row that somebody's check of the document makes of this one."""
        return replace(
            self,
            verification=Verification.OWN,
            adoption=adoption,
            published=max(self.published, adoption.on),
        )


def is_unit(text: str) -> bool:
    """Say whether a text is a unit a factor can have."""
    return _UNIT.fullmatch(text) is not None
