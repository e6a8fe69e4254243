"""A full year computed again, beside the bare DuckDB query on the same file."""

from __future__ import annotations

import shutil
import statistics
from pathlib import Path
from typing import Any

from tests.bench import year
from tests.bench.children import child
from tests.bench.figures import Aim, Figure
from tests.bench.settings import Scale

_QUERY = "bare DuckDB query: lag difference, sum by the hour"


def recompute(scale: Scale) -> list[Figure]:
    """Hours with flags, emissions, and monthly totals of every meter."""
    made_home(scale)
    bare = [_bare(scale, kept=False) for _ in range(scale.repeats)]
    kept = _bare(scale, kept=True)
    runs = [_recompute(scale) for _ in range(scale.repeats)]
    query_s = statistics.median(run["seconds"] for run in bare)
    hours_s = statistics.median(run["hours_s"] for run in runs)
    months_s = statistics.median(run["months_s"] for run in runs)
    peak = statistics.median(run["peak_mb"] for run in runs)
    rows = year.rows_in(made_home(scale))
    return [
        Figure(
            f"{scale.year_meters:,} meters, {rows / 1e6:.1f} M readings: hours, emissions, months",
            hours_s + months_s,
            "s",
            _QUERY,
            query_s,
            aim=Aim("at most", 3, "ratio"),
        ),
        Figure(
            "the same",
            hours_s + months_s,
            "s",
            "the bare query with its result written to a table",
            kept["seconds"],
        ),
        Figure(
            "the same: processor time",
            statistics.median(run["cpu_s"] for run in runs),
            "s",
            _QUERY,
            statistics.median(run["cpu_s"] for run in bare),
            note="tells more than the clock where others use the machine",
        ),
        Figure("of which hours and emissions", hours_s, "s", note=f"{runs[0]['hours']:,} hours"),
        Figure("of which monthly totals", months_s, "s", note=f"{runs[0]['months']:,} months"),
        Figure(
            "peak memory",
            peak,
            "MB",
            "the bare query, result in memory",
            statistics.median(run["peak_mb"] for run in bare),
            aim=Aim("at most", 2000),
            note=f"{runs[0]['idle_mb']:.0f} MB before it began",
        ),
        Figure("one late reading", statistics.median(r["late_s"] for r in runs) * 1e3, "ms"),
        Figure("nothing dirty", statistics.median(r["nothing_s"] for r in runs) * 1e3, "ms"),
    ]


def made_home(scale: Scale) -> Path:
    """The home with the year; made in a process of its own, for its memory."""
    with child("year_work", "make", scale.cache, "--meters", scale.year_meters) as maker:
        return Path(maker.hear()["home"])


def computed_home(scale: Scale) -> Path:
    """A copy of the home with the year in which everything was computed."""
    home = scale.work / "year-computed"
    if not home.is_dir():
        _recompute(scale)
    return home


def _recompute(scale: Scale) -> dict[str, Any]:
    """Recompute a fresh copy, which stays for whoever asks it afterwards."""
    home = scale.work / "year-computed"
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(made_home(scale), home)
    with child("year_work", "recompute", home) as worker:
        return worker.hear()


def _bare(scale: Scale, *, kept: bool) -> dict[str, Any]:
    store = scale.work / "bare.duckdb"
    shutil.copy(made_home(scale) / "store.duckdb", store)
    try:
        with child("year_work", "bare-kept" if kept else "bare", store) as worker:
            return worker.hear()
    finally:
        store.unlink()
