"""Which registers make the energy of a point, a building or a site, and in which unit.

Whether a point has a register is decided by its whole history: a register counts as absent when no
hour of the point was ever known of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from metering.intervals import Rows, combine, prefer, scaled
from metering.sites import BoundaryPoint, MeterPoint, Part

_TARIFFS = {
    direction: tuple(f"{direction}_t{n}" for n in range(1, 5))
    for direction in ("active_import", "active_export")
}


@dataclass(frozen=True, slots=True)
class Term:
    """One part of a sum: registers of a point, added up, times a ratio."""

    point: MeterPoint
    registers: tuple[str, ...]
    """Several are added up (tariffs); together they count as one."""
    ratio: float
    """To the sum's unit, with its sign."""
    otherwise: Term | None = None
    """What counts in hours of which these registers know less."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How the energy of a subject is added up."""

    carrier: str
    unit: str
    terms: tuple[Term, ...]
    points: int
    """Over how many points coverage is averaged."""

    @property
    def places(self) -> list[MeterPoint]:
        """The points of the terms, each once."""
        return list({term.point.id: term.point for term in self.terms}.values())


def point_recipe(point: MeterPoint, registers: AbstractSet[str]) -> Recipe:
    """What a single point measured.

    Args:
        point: The point.
        registers: The registers it ever showed.
    """
    term, unit = _energy_term(point, registers)
    return Recipe(point.carrier, unit, (term,), 1)


def register_recipe(point: MeterPoint, register: str, unit: str) -> Recipe:
    """One register of a point by its name."""
    return Recipe(point.carrier, unit, (Term(point, (register,), 1.0),), 1)


def scope_recipe(
    carrier: str,
    boundary: tuple[BoundaryPoint, ...],
    registers: Mapping[str, AbstractSet[str]],
) -> Recipe | None:
    """What a building or site used: import + own generation - export - into storage.

    Args:
        carrier: What is added up.
        boundary: The points that make it up, as `Site.boundary` gives them.
        registers: The registers each point ever showed, by point id.

    Returns:
        None where no point of the carrier makes up the scope. Points whose energy comes in
        different units cannot be added: the unit is then that of the first, and points in another
        are left with a ratio of NaN, so that their share is unknown and not wrong.
    """
    terms: list[Term] = []
    unit = ""
    for each in boundary:
        has = registers.get(each.point.id, frozenset())
        term, found = _energy_term(each.point, has)
        unit = unit or found
        terms.append(_times(term, each.sign if found == unit else float("nan")))
        back = _present("active_export", has)
        if carrier == "electricity" and each.part is not Part.GENERATION and back:
            terms.append(Term(each.point, back, -float(each.sign)))
    if not terms:
        return None
    return Recipe(carrier, unit, tuple(terms), len(boundary))


def term_rows(term: Term, of_register: Callable[[str], Rows | None]) -> Rows | None:
    """The intervals of a term, its fallback where that knows more; None: there is nothing of it.

    Args:
        term: Which registers.
        of_register: The intervals of a register of the term's point by its name, if it has any.
    """
    found = (of_register(name) for name in term.registers)
    parts = [(rows, 1.0) for rows in found if rows is not None]
    other = term_rows(term.otherwise, of_register) if term.otherwise else None
    if not parts:
        return other
    rows = scaled(combine(parts), term.ratio)
    return rows if other is None else prefer(rows, other)


def _present(register: str, registers: AbstractSet[str]) -> tuple[str, ...]:
    """The register, or its tariffs where it is absent; empty if the point has neither."""
    if register in registers:
        return (register,)
    return tuple(name for name in _TARIFFS[register] if name in registers)


def _times(term: Term, ratio: float) -> Term:
    other = _times(term.otherwise, ratio) if term.otherwise else None
    return Term(term.point, term.registers, term.ratio * ratio, other)


def _energy_term(point: MeterPoint, registers: AbstractSet[str]) -> tuple[Term, str]:
    """The registers that are a point's energy, and the unit.

    A register that a point began to show later does not take the place of what told its energy
    before: hour by hour the one that knows more counts.
    """
    if point.carrier == "electricity":
        return _electricity(point, registers), "kWh"
    if point.carrier == "gas":
        return _gas(point, registers)
    if point.carrier == "water":
        return Term(point, ("water_volume",), 1.0), "m3"
    if point.carrier in ("heat", "steam", "cooling"):
        name = "cooling" if point.carrier == "cooling" else "heat"
        return Term(point, (name,), 1.0), "kWh"
    return Term(point, ("volume",), 1.0), "m3"


def _electricity(point: MeterPoint, registers: AbstractSet[str]) -> Term:
    direction = "active_import"
    if point.role == "generation" and _present("active_export", registers):
        direction = "active_export"
    tariffs = tuple(name for name in _TARIFFS[direction] if name in registers)
    if direction not in registers and tariffs:
        return Term(point, tariffs, 1.0)
    return Term(point, (direction,), 1.0, Term(point, tariffs, 1.0) if tariffs else None)


def _gas(point: MeterPoint, registers: AbstractSet[str]) -> tuple[Term, str]:
    by_volume = None
    if point.net_calorific_value_mj_m3 is not None:
        # 1 kWh = 3.6 MJ
        by_volume = Term(point, ("gas_volume",), point.net_calorific_value_mj_m3 / 3.6)
    if "gas_energy" in registers:
        other = by_volume if "gas_volume" in registers else None
        return Term(point, ("gas_energy",), 1.0, other), "kWh"
    if by_volume is not None:
        return by_volume, "kWh"
    return Term(point, ("gas_volume",), 1.0), "m3"
