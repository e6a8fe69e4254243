"""Dashboards as files: one JSON per dashboard and language, the same bytes every time."""

from __future__ import annotations

import json
from pathlib import Path

from dashboards.builder import Dashboard
from dashboards.catalog import DASHBOARDS
from dashboards.texts import LANGUAGES


def to_json(dashboard: Dashboard) -> str:
    """A dashboard as it is committed."""
    return json.dumps(dashboard, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def files() -> dict[str, str]:
    """Every file by its path, such as `zh/park-live.json`."""
    return {
        f"{language}/{name}.json": to_json(build(language))
        for language in LANGUAGES
        for name, build in DASHBOARDS.items()
    }


def write(folder: Path) -> list[Path]:
    """Write every file below a folder; what it says already stays untouched.

    Returns:
        The files that are new or changed.
    """
    changed = []
    for name, text in files().items():
        path = folder / name
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        changed.append(path)
    return changed
