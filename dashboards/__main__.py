"""`python -m dashboards`: writes the committed JSON again."""

from __future__ import annotations

from pathlib import Path

from dashboards.writing import write

if __name__ == "__main__":
    write(Path(__file__).parent / "json")
