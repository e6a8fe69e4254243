"""What a factor file may say."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from carbon.factors import UNITS, is_unit
from carbon.gas_volume import BadReferenceCondition, reference_ratio

MARKS = ("A", "B", "A(2nd)", "C")
CALORIFIC_UNITS = {"MJ/Nm3": 0.001, "MJ/m3": 0.001, "GJ/t": 1.0, "MJ/kg": 0.001}
"""What one unit of a net calorific value is in GJ per physical unit."""


def _text(found: object) -> object:
    """Take `edition: 2024` for the text it is meant as."""
    return str(found) if isinstance(found, int | float | date) else found


def _unit(found: object) -> object:
    if isinstance(found, str) and not is_unit(found):
        raise PydanticCustomError("unit", "a unit such as {units}", {"units": UNITS})
    return found


def _reference(found: object) -> object:
    if isinstance(found, str):
        try:
            reference_ratio(found)
        except BadReferenceCondition as error:
            raise PydanticCustomError("reference", "{what}", {"what": error.wanted}) from error
    return found


def _name(found: object) -> object:
    if isinstance(found, str) and ("/" in found or "@" in found or found.split() != [found]):
        raise PydanticCustomError("name", "a name without spaces, / and @")
    return found


def _no_address(found: object) -> object:
    if isinstance(found, str) and ("://" in found or found.startswith("www.")):
        raise PydanticCustomError(
            "address", "words; an address belongs into `url`, beside a title and a number"
        )
    return found


def _file(found: object) -> object:
    if isinstance(found, str) and ("/" in found or "\\" in found or not found.endswith(".csv")):
        raise PydanticCustomError("series", "the plain name of a .csv file beside this one")
    return found


Text = Annotated[str, BeforeValidator(_no_address), BeforeValidator(_text), Field(min_length=1)]
Name = Annotated[str, BeforeValidator(_name), Field(min_length=1)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, le=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class SourceIn(_Strict):
    """Where a row comes from; an address is never enough, and never without its date."""

    title: Text
    publisher: Text
    edition: Text
    locator: Text
    url: str | None = None
    retrieved: date | None = None

    @model_validator(mode="after")
    def _address_is_dated(self) -> SourceIn:
        if self.url and not self.retrieved:
            raise PydanticCustomError("retrieved", "`retrieved`, the day the address was seen")
        return self


class FuelIn(_Strict):
    """Inputs of a combustion factor."""

    carbon_content_tc_tj: Annotated[float, Field(gt=0, le=100)]
    oxidation: Share


class CalorificIn(_Strict):
    """A net calorific value."""

    value: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    unit: Literal["MJ/Nm3", "MJ/m3", "GJ/t", "MJ/kg"]


class VersionIn(_Strict):
    """One dated value."""

    value: Amount | None = None
    series: Annotated[str, BeforeValidator(_file)] | None = None
    fuel: FuelIn | None = None
    blend: dict[str, Share] | None = None
    valid_from: date
    valid_until: date | None = None
    published: date
    source: str
    region: Name | None = None
    mark: Literal["A", "B", "A(2nd)", "C"] | None = None
    second_hand: bool = False
    net_calorific_value: CalorificIn | None = None
    note: str = ""

    @model_validator(mode="after")
    def _holds_together(self) -> VersionIn:
        given = [n for n in ("value", "series", "fuel", "blend") if getattr(self, n) is not None]
        if len(given) != 1:
            raise PydanticCustomError(
                "one_value",
                "exactly one of `value`, `series`, `fuel`, `blend`",
                {"found": " and ".join(given) or "none of them"},
            )
        if self.valid_until is not None and self.valid_until <= self.valid_from:
            raise PydanticCustomError(
                "validity",
                "`valid_until` (the first day not covered) after `valid_from`",
                {"found": f"{self.valid_from} to {self.valid_until}"},
            )
        return self


class FactorIn(_Strict):
    """A factor and its versions."""

    key: Name
    unit: Annotated[str, BeforeValidator(_unit)]
    region: Name | None = None
    countrywide: bool = False
    carry_forward: bool = True
    second_hand: bool = False
    reference: Annotated[str, BeforeValidator(_reference)] | None = None
    versions: Annotated[list[VersionIn], Field(min_length=1)]

    @model_validator(mode="after")
    def _unit_fits(self) -> FactorIn:
        if self.unit in {"kgCO2/m3", "kgCO2e/m3"} and self.reference is None:
            raise PydanticCustomError(
                "reference",
                '`reference` beside a unit per m3, such as "20 degC 101.325 kPa" (or Nm3)',
                {"found": "none"},
            )
        if any(v.fuel for v in self.versions) and self.unit != "kgCO2/GJ":
            raise PydanticCustomError(
                "fuel_unit", "unit kgCO2/GJ where `fuel` is given", {"found": self.unit}
            )
        return self


class AdoptIn(_Strict):
    """Somebody's word that an unverified row stands in the document."""

    id: str
    document: Text
    page: Text
    person: Text
    on: date


class FileIn(_Strict):
    """One file; a single factor may also be written without the list."""

    factors: list[FactorIn] = []
    sources: dict[str, SourceIn] = {}
    adopt: list[AdoptIn] = []
    second_hand: bool = False
