"""How commands print: a document as JSON, or as tables for people; messages go to stderr."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.console import Console

from api.answers import to_json


def stdout() -> Console:
    """Where answers go."""
    return Console(file=sys.stdout, highlight=False, soft_wrap=True)


def stderr() -> Console:
    """Where logs, progress and messages go."""
    return Console(file=sys.stderr, highlight=False)


def print_json(body: bytes) -> None:
    """Print a document's bytes and nothing else."""
    sys.stdout.buffer.write(body)
    sys.stdout.buffer.flush()


def print_document(document: dict[str, Any], *, as_json: bool) -> None:
    """Print a document that was made here."""
    if as_json:
        print_json(to_json(document))
    else:
        print_fields(document)


def print_fields(document: dict[str, Any], *, indent: int = 0) -> None:
    """Print a document as lines of names and values."""
    console = stdout()
    pad = " " * indent
    for name, value in document.items():
        if isinstance(value, dict):
            console.print(f"{pad}{name}:", markup=False)
            print_fields(value, indent=indent + 2)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            console.print(f"{pad}{name}:", markup=False)
            for each in value:
                print_fields(each, indent=indent + 2)
                console.print()
        else:
            console.print(f"{pad}{name}: {text_of(value)}", markup=False)


def text_of(value: object) -> str:
    """A value as people read it; unknown is a dash."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.3f}".rstrip("0").rstrip(".")
    if isinstance(value, list | tuple):
        return ", ".join(text_of(each) for each in value) or "–"
    return str(value)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under headings, each on one line; numbers are rounded for reading.

    Nothing is cut, however narrow the terminal: what is cut cannot be asked for again.
    """
    lines = [[" ".join(text_of(cell).split()) for cell in row] for row in (columns, *rows)]
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    console = stdout()
    console.print(title, style="bold", markup=False)
    for number, line in enumerate(lines):
        padded = [set_cell_size(cell, width) for cell, width in zip(line, widths, strict=True)]
        style = "bold" if number == 0 else None
        console.print("  ".join(padded).rstrip(), style=style, markup=False)


def print_series(document: dict[str, Any], *, every: str = "", first: str = "") -> None:
    """Print the series of an energy or emissions answer.

    Args:
        document: The answer.
        every: Length of the intervals; days and longer are named by the site's day they begin on.
        first: The site's day that the first one begins on.
    """
    by_day = every in ("day", "month", "year")
    for series in document["series"]:
        rows = series["rows"]
        starts = [row["start"] for row in rows]
        marks = site_days(starts, first=date.fromisoformat(first)) if by_day else starts
        unit = series["unit"]
        scope = f", scope {series['scope']}" if series.get("scope") else ""
        print_table(
            f"{series['subject']}: {series['carrier']}{scope} [{unit}]",
            ("from day" if by_day else "start", f"value [{unit}]", "coverage", "measured", "flags"),
            [
                (mark, r["value"], r["coverage"], r["measured"], r["flags"])
                for mark, r in zip(marks, rows, strict=True)
            ],
        )
    if not document["series"]:
        stderr().print("Nothing of that kind is metered there.")
    for reason in document.get("reasons", []):
        stderr().print(reason, markup=False)
    print_behind(document)


def site_days(starts: Sequence[str], *, first: date) -> list[str]:
    """The site's days on which intervals begin, told by their distance from the first.

    A clock change moves midnight by an hour or so, which rounding takes away.

    Args:
        starts: When each begins, as answers print it; each at the start of a day of the site.
        first: The day of the first.
    """
    moments = [datetime.fromisoformat(start) for start in starts]
    whole = [round((moment - moments[0]) / timedelta(days=1)) for moment in moments]
    return [(first + timedelta(days=days)).isoformat() for days in whole]


def print_behind(document: dict[str, Any]) -> None:
    """Say what an answer does not include yet, and what may be missing for all that is known."""
    behind = document.get("behind") or {}
    if behind.get("messages"):
        stderr().print(f"Behind: {behind['messages']} messages are not included yet.")
    for journal in behind.get("unknown", []):
        stderr().print(
            f"Behind: journal {journal} does not answer; what it holds may be missing.",
            markup=False,
            soft_wrap=True,
        )
