"""Where panels stand: rows of a grid of 24 columns, shared by all dashboards."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

Panel: TypeAlias = dict[str, Any]

COLUMNS: Final = 24


class LayoutError(ValueError):
    """A row that is wider than the grid."""


class Row:
    """Panels beside each other, all of one height."""

    def __init__(self, height: int, *panels: tuple[int, Panel]) -> None:
        """Args: the height in grid units (38 px), and each panel behind its width of 24."""
        width = sum(wide for wide, _ in panels)
        if width != COLUMNS:
            raise LayoutError(f"A row wants {COLUMNS} columns, found {width}.")
        self.height, self.panels = height, panels


def place(*rows: Row) -> list[Panel]:
    """Give every panel its place and its id, row by row."""
    placed: list[Panel] = []
    y = 0
    for row in rows:
        x = 0
        for width, panel in row.panels:
            grid = {"h": row.height, "w": width, "x": x, "y": y}
            placed.append({"id": len(placed) + 1, **panel, "gridPos": grid})
            x += width
        y += row.height
    return placed
