"""The same hours made in the process, by a pool of two processes and by two Dask workers."""

from __future__ import annotations

import shutil
import statistics
from pathlib import Path
from typing import Any

from tests import dask_cluster
from tests.bench import year
from tests.bench.children import child
from tests.bench.figures import Figure
from tests.bench.machine import cpu_s
from tests.bench.settings import Scale

WORKERS = 2


def executors(scale: Scale) -> list[Figure]:
    """Clock, processor time and bytes that travel, side by side; the results are compared."""
    home = _home(scale)
    runs: dict[str, list[dict[str, Any]]] = {"inline": [], "pool": [], "dask": []}
    with dask_cluster.running(WORKERS) as cluster:
        for _ in range(scale.repeats):
            runs["inline"].append(_run(scale, home, "inline"))
            runs["pool"].append(_run(scale, home, f"pool:{WORKERS}"))
            before = _workers_s(cluster)
            run = _run(scale, home, cluster.address)
            runs["dask"].append(run | {"workers_cpu_s": _workers_s(cluster) - before})
    weighed = _run(scale, home, "weighed")
    digests = {run["digest"] for side in runs.values() for run in side} | {weighed["digest"]}
    if len(digests) != 1:
        raise AssertionError(f"the results differ: {sorted(digests)}")
    rows = year.rows_in(home)
    inline, pool, dask = ({k: _median(side, k) for k in _MEASURED} for side in runs.values())
    found = [
        Figure(
            f"{rows / 1e6:.1f} M readings to hours and emissions, {WORKERS} processes",
            pool["seconds"],
            "s",
            "in the process",
            inline["seconds"],
            note="the same bytes",
        ),
        Figure(
            f"the same, {WORKERS} Dask workers",
            dask["seconds"],
            "s",
            "in the process",
            inline["seconds"],
            note="the same bytes",
        ),
    ]
    for name, side in (("pool", pool), ("Dask", dask)):
        found += [
            Figure(
                f"{name}: processor time of the process that has the store",
                side["cpu_s"],
                "s",
                "in the process",
                inline["cpu_s"],
            ),
            Figure(
                f"{name}: processor time of all",
                side["cpu_s"] + side["workers_cpu_s"],
                "s",
                "in the process",
                inline["cpu_s"],
            ),
        ]
    return [
        *found,
        _size("to and from a pool", weighed["plain"], weighed["tasks"], rows),
        _size("to and from a cluster", weighed["packed"], weighed["tasks"], rows),
        Figure("peak memory, pool", pool["peak_mb"], "MB", "in the process", inline["peak_mb"]),
    ]


_MEASURED = ("seconds", "cpu_s", "workers_cpu_s", "peak_mb")


def _median(runs: list[dict[str, Any]], name: str) -> float:
    return statistics.median(run[name] for run in runs)


def _size(what: str, count: int, tasks: int, rows: int) -> Figure:
    note = f"{count / tasks / 1e6:.1f} MB a task, {tasks} tasks"
    return Figure(f"bytes {what}, a reading", count / rows, "B", note=note)


def _home(scale: Scale) -> Path:
    """A quarter of the meters of the year's measurement."""
    meters = max(50, scale.year_meters // 4)
    with child("year_work", "make", scale.cache, "--meters", meters) as maker:
        return Path(maker.hear()["home"])


def _run(scale: Scale, made: Path, by: str) -> dict[str, Any]:
    home = scale.work / "executors"
    shutil.copytree(made, home)
    rows = 100_000 if scale.quick else 1_000_000
    try:
        with child("executors_work", home, "--by", by, "--rows", rows) as worker:
            return worker.hear()
    finally:
        shutil.rmtree(home)


def _workers_s(cluster: dask_cluster.Cluster) -> float:
    return sum(cpu_s(worker.pid) for worker in cluster.workers)
