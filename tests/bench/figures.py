"""What was measured, what it is held against, and how both are printed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Aim:
    """A number we hold ourselves to."""

    bound: Literal["at least", "at most"]
    limit: float
    of: Literal["value", "ratio"] = "value"

    def is_met(self, figure: Figure) -> bool | None:
        """Whether a figure keeps it; None where the figure is missing."""
        found = figure.value if self.of == "value" else figure.ratio
        if found is None:
            return None
        return found >= self.limit if self.bound == "at least" else found <= self.limit

    def __str__(self) -> str:
        sign = "≥" if self.bound == "at least" else "≤"
        return f"{sign} {plain(self.limit)}" + (" ×" if self.of == "ratio" else "")


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number beside its reference."""

    name: str
    value: float | None
    unit: str
    reference: str = ""
    """What it is held against, or why there is nothing to hold it against."""
    reference_value: float | None = None
    """In the same unit."""
    aim: Aim | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """The value in parts of its reference."""
        if self.value is None or not self.reference_value:
            return None
        return self.value / self.reference_value


@dataclass(frozen=True, slots=True)
class Section:
    """The figures of one measurement."""

    name: str
    title: str
    figures: tuple[Figure, ...]
    seconds: float
    """How long measuring took."""
    failure: str = ""
    """Why there are no figures."""


def plain(number: float | None) -> str:
    """A number as people read it: three or four digits that count."""
    if number is None:
        return "-"
    size = abs(number)
    if size >= 1000:
        return f"{number:,.0f}"
    decimals = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
    return f"{number:.{decimals}f}"


def print_tables(console: Console, sections: Iterable[Section]) -> None:
    """Write one table a measurement."""
    for section in sections:
        console.print(f"\n[bold]{section.title}[/bold]  ({section.name}, {section.seconds:.0f} s)")
        if section.failure:
            console.print(f"  not measured: {section.failure}", markup=False)
        if section.figures:
            console.print(_table(section.figures))


def _table(figures: Sequence[Figure]) -> Table:
    table = Table(box=None, pad_edge=True, header_style="dim")
    for name in ("what", "value", "unit", "reference", "its value", "ratio", "aim", "remark"):
        right = name in {"value", "its value", "ratio"}
        table.add_column(name, justify="right" if right else "left", no_wrap=right)
    for figure in figures:
        table.add_row(
            figure.name,
            plain(figure.value),
            figure.unit,
            figure.reference,
            plain(figure.reference_value) if figure.reference_value is not None else "",
            f"{plain(figure.ratio)} ×" if figure.ratio is not None else "",
            _aim_text(figure),
            figure.note,
        )
    return table


def _aim_text(figure: Figure) -> str:
    if figure.aim is None:
        return ""
    met = figure.aim.is_met(figure)
    if met is None:
        return str(figure.aim)
    return f"{figure.aim} [green]met[/green]" if met else f"{figure.aim} [red]missed[/red]"


def document(machine: dict[str, Any], sections: Iterable[Section], *, quick: bool) -> str:
    """Everything as one JSON document."""
    listed = []
    for section in sections:
        figures = [
            asdict(figure)
            | {
                "ratio": figure.ratio,
                "aim": str(figure.aim) if figure.aim else None,
                "met": figure.aim.is_met(figure) if figure.aim else None,
            }
            for figure in section.figures
        ]
        listed.append(asdict(section) | {"figures": figures})
    return json.dumps({"machine": machine, "quick": quick, "measurements": listed}, indent=2)
