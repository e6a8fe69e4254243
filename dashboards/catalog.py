"""All dashboards. A new one is a module with `NAME` and `dashboard`, and a place here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from dashboards import building, carbon, meters, park_live, platform
from dashboards.builder import Dashboard

DASHBOARDS: Final[dict[str, Callable[[str], Dashboard]]] = {
    module.NAME: module.dashboard for module in (park_live, building, meters, carbon, platform)
}
"""What builds each dashboard in a language, by its name, in the order of their menu."""
