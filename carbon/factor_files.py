"""Reads factor files: the shipped ones and those in the folder factors of a home."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from carbon.factor_checks import blended, overlaps
from carbon.factor_schema import (
    CALORIFIC_UNITS,
    AdoptIn,
    FactorIn,
    FileIn,
    SourceIn,
    VersionIn,
)
from carbon.factor_series import load_series
from carbon.factor_yaml import BadFile, Loc, MarkedDocument, load_marked
from carbon.factors import (
    ANY_REGION,
    Adoption,
    CalorificValue,
    EmissionFactor,
    FuelAnalysis,
    Source,
    Verification,
)
from carbon.registry import Registry
from metering.marked_yaml import FileProblem

SHIPPED = Path(__file__).parent / "data" / "factors"

_REMEDIES = {
    "missing": "Add it.",
    "date_type": "Write a day as 2024-01-31, without quotes and without a time.",
    "float_type": "Write a plain number, such as 0.5703 or 0.001.",
    "one_value": "Keep one and remove the others.",
    "validity": "Correct the two dates; the end is not included.",
    "unit": "kgCO2/kWh is the same number as tCO2/MWh.",
    "address": "Name the document itself.",
}


class FactorFileError(ValueError):
    """Factor files that cannot be used, with everything that is wrong in them."""

    def __init__(self, problems: Sequence[FileProblem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class _File:
    """One file as read; rows and adoptions keep their lines."""

    path: Path
    document: MarkedDocument
    content: FileIn
    single: bool

    def line(self, loc: Loc) -> int:
        return self.document.line(_written(loc, single=self.single))

    def problem(self, loc: Loc, wanted: str, found: str, remedy: str) -> FileProblem:
        return FileProblem(self.path.name, self.line(loc), wanted, found, remedy)


def load_registry(home_factors: Path | None = None) -> Registry:
    """Load the shipped factors and those of a home.

    Args:
        home_factors: The folder factors of a home; it need not exist.

    Raises:
        FactorFileError: Something in a file is wrong; the message names all of it.
    """
    shipped = _shipped()
    own, problems = _read_own(home_factors, shipped)
    if problems:
        raise FactorFileError(problems)
    return Registry([*shipped, *own])


def check(home_factors: Path | None = None) -> list[FileProblem]:
    """Return everything that is wrong in the shipped files and in a home's folder."""
    shipped, problems = read_folder(SHIPPED, shipped=True)
    return problems + _read_own(home_factors, shipped)[1]


@cache
def _shipped() -> tuple[EmissionFactor, ...]:
    rows, problems = read_folder(SHIPPED, shipped=True)
    if problems:
        raise FactorFileError(problems)
    return tuple(rows)


def _read_own(
    folder: Path | None, shipped: Sequence[EmissionFactor]
) -> tuple[list[EmissionFactor], list[FileProblem]]:
    if folder is None or not folder.is_dir():
        return [], []
    return read_folder(folder, shipped=False, adoptable=shipped)


def read_folder(
    folder: Path, *, shipped: bool, adoptable: Sequence[EmissionFactor] = ()
) -> tuple[list[EmissionFactor], list[FileProblem]]:
    """Read every factor file of a folder.

    Args:
        folder: Holds *.yaml files and the series they name.
        shipped: Whether the rows carry the product's marks, or are the operator's own.
        adoptable: Shipped rows that a file may adopt.

    Returns:
        The rows that could be read, and what is wrong with the others.
    """
    rows: list[EmissionFactor] = []
    problems: list[FileProblem] = []
    for path in sorted(folder.iterdir()):
        if path.suffix in {".yml", ".YML", ".YAML"}:
            problems.append(
                FileProblem(
                    path.name, 1, "a name that ends in .yaml", path.suffix, "Rename the file."
                )
            )
        elif path.suffix == ".yaml":
            try:
                file = _read(path)
            except FactorFileError as error:
                problems.extend(error.problems)
                continue
            for reader in (
                _rows(file, shipped=shipped),
                _adopted(file, adoptable, shipped=shipped),
            ):
                rows.extend(item for item in reader if isinstance(item, EmissionFactor))
                problems.extend(item for item in reader if isinstance(item, FileProblem))
    rows, blend_problems = blended(rows)
    return rows, problems + blend_problems + overlaps(rows)


def _read(path: Path) -> _File:
    try:
        document = load_marked(path)
    except BadFile as error:
        raise FactorFileError([error.problem]) from error
    single = "key" in document.data
    data = _as_list(document.data) if single else document.data
    try:
        return _File(path, document, FileIn.model_validate(data), single)
    except ValidationError as error:
        raise FactorFileError(
            [_problem(path.name, document, detail, single=single) for detail in error.errors()]
        ) from error


def _as_list(data: Mapping[str, object]) -> dict[str, object]:
    """Turn the short form, one factor in a file, into the list form."""
    of_file = {"sources", "adopt", "factors"}
    return {k: v for k, v in data.items() if k in of_file} | {
        "factors": [{k: v for k, v in data.items() if k not in of_file}]
    }


def _written(loc: Loc, *, single: bool) -> Loc:
    """Return the path as it stands in the file."""
    return loc[2:] if single and tuple(loc[:2]) == ("factors", 0) else loc


def _problem(
    name: str, document: MarkedDocument, error: ErrorDetails, *, single: bool
) -> FileProblem:
    loc = _written(error["loc"], single=single)
    where = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in loc)[1:]
    context = error.get("ctx", {})
    found = str(context.get("found", repr(error["input"])))
    if len(found) > 80:
        found = found[:77] + "..."
    wanted, path = error["msg"].removeprefix("Input should be "), where
    remedy = _REMEDIES.get(error["type"], "Correct it.")
    if error["type"] == "missing":
        wanted, found, path = f"`{where}`", "nothing", ""
    if error["type"] == "extra_forbidden":
        known = _known_keys(error["loc"], single=single)
        near = difflib.get_close_matches(str(loc[-1]), known, n=1)
        wanted, path = f"one of the keys {', '.join(known)}", ""
        found = f"the unknown key `{where}`"
        remedy = f"Did you mean `{near[0]}`?" if near else "Remove it."
    return FileProblem(name, document.line(loc), wanted, found, remedy, path)


def _known_keys(loc: Loc, *, single: bool) -> list[str]:
    """Return the keys that are allowed where an unknown one was found."""
    models: dict[str, type[BaseModel]] = {
        "versions": VersionIn,
        "factors": FactorIn,
        "sources": SourceIn,
        "adopt": AdoptIn,
    }
    if parent := [str(step) for step in loc[:-1] if isinstance(step, str)]:
        for step in reversed(parent):
            if step in models:
                extra = ["sources", "adopt"] if single and step == "factors" else []
                return [*models[step].model_fields, *extra]
    return list(FileIn.model_fields)


def _rows(file: _File, *, shipped: bool) -> list[EmissionFactor | FileProblem]:
    return [
        _row(file, number, position, shipped=shipped)
        for number, factor in enumerate(file.content.factors)
        for position in range(len(factor.versions))
    ]


def _row(file: _File, number: int, position: int, *, shipped: bool) -> EmissionFactor | FileProblem:
    factor = file.content.factors[number]
    version = factor.versions[position]
    loc = ("factors", number, "versions", position)
    source = file.content.sources.get(version.source)
    region = version.region or factor.region
    if source is None:
        known = ", ".join(file.content.sources) or "no source at all"
        return file.problem(
            (*loc, "source"),
            f"a source under `sources` ({known})",
            version.source,
            "Add the document to `sources`.",
        )
    if shipped and (version.mark is None or region is None):
        missing = "`mark`" if version.mark is None else f"`region` (or `{ANY_REGION}`)"
        return file.problem(loc, f"{missing} on a shipped row", "none", "Add it.")
    second_hand = version.second_hand or factor.second_hand or file.content.second_hand
    row = EmissionFactor(
        key=factor.key,
        region=None if region == ANY_REGION else region,
        unit=factor.unit,
        value=_value(version),
        valid_from=version.valid_from,
        valid_until=version.valid_until,
        published=version.published,
        source=Source(**source.model_dump()),
        verification=(
            verification(version.mark or "", second_hand=second_hand)
            if shipped
            else Verification.OWN
        ),
        mark=version.mark,
        countrywide=factor.countrywide,
        carry_forward=factor.carry_forward,
        fuel=FuelAnalysis(**version.fuel.model_dump()) if version.fuel else None,
        calorific_value=_calorific_value(version),
        reference=factor.reference,
        blend=tuple((version.blend or {}).items()),
        note=version.note,
        file=file.path.name,
        line=file.line(loc),
    )
    if version.series is None:
        return row
    try:
        return replace(row, series=load_series(file.path.parent / version.series))
    except FileNotFoundError:
        return file.problem(
            (*loc, "series"),
            f"the file {version.series} beside {file.path.name}",
            "no such file",
            "Put it there, or correct the name.",
        )
    except BadFile as error:
        return error.problem


def verification(mark: str, *, second_hand: bool) -> Verification:
    """Say how well a shipped row is verified, from its mark and where it was seen."""
    if mark == "C":
        return Verification.UNVERIFIED
    if mark == "A" and not second_hand:
        return Verification.PRIMARY
    return Verification.SECOND_HAND


def _value(version: VersionIn) -> float | None:
    if version.fuel is None:
        return version.value
    return FuelAnalysis(**version.fuel.model_dump()).kgco2_per_gj


def _calorific_value(version: VersionIn) -> CalorificValue | None:
    if (given := version.net_calorific_value) is None:
        return None
    return CalorificValue(given.value * CALORIFIC_UNITS[given.unit], given.unit.split("/")[1])


def _adopted(
    file: _File, adoptable: Sequence[EmissionFactor], *, shipped: bool
) -> list[EmissionFactor | FileProblem]:
    switched_off = {f.id: f for f in adoptable if not f.usable}
    found: list[EmissionFactor | FileProblem] = []
    for number, wish in enumerate(file.content.adopt):
        loc = ("adopt", number, "id")
        if shipped:
            found.append(file.problem(loc, "adoptions in a home only", wish.id, "Remove it."))
        elif (row := switched_off.get(wish.id)) is None:
            found.append(_not_adoptable(file, loc, wish, adoptable))
        else:
            adopted = row.adopted(Adoption(wish.document, wish.page, wish.person, wish.on))
            found.append(replace(adopted, file=file.path.name, line=file.line(loc)))
    return found


def _not_adoptable(
    file: _File, loc: Loc, wish: AdoptIn, adoptable: Sequence[EmissionFactor]
) -> FileProblem:
    if any(f.id == wish.id for f in adoptable):
        found, remedy = f"{wish.id}, which is usable already", "Remove the adoption."
    else:
        key = wish.id.split("/")[0]
        ids = sorted(f.id for f in adoptable if not f.usable and f.key == key)
        found = wish.id
        remedy = f"Of this key there are: {', '.join(ids) or 'none'}."
    return file.problem(loc, "the id of an unverified factor", found, remedy)
