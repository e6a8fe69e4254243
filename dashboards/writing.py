"""Dashboards as files: one JSON per dashboard and language, the same bytes every time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from dashboards.builder import Dashboard
from dashboards.catalog import DASHBOARDS
from dashboards.texts import LANGUAGES


def to_json(dashboard: Dashboard) -> str:
    """A dashboard as it is committed."""
    return json.dumps(dashboard, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def as_built(dashboard: Dashboard) -> Dashboard:
    """The dashboard itself, which counts days in Shanghai and reads the usual bucket."""
    return dashboard


def files(change: Callable[[Dashboard], Dashboard] = as_built) -> dict[str, str]:
    """Every file by its path, such as `zh/park-live.json`.

    Args:
        change: What is made of each dashboard first, such as for another zone.
    """
    return {
        f"{language}/{name}.json": to_json(change(build(language)))
        for language in LANGUAGES
        for name, build in DASHBOARDS.items()
    }


def write(folder: Path, change: Callable[[Dashboard], Dashboard] = as_built) -> list[Path]:
    """Write every file below a folder; what it says already stays untouched.

    Args:
        folder: Where.
        change: As in `files`.

    Returns:
        The files that are new or changed.
    """
    changed = []
    for name, text in files(change).items():
        path = folder / name
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        changed.append(path)
    return changed
