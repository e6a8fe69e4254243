"""The same hours made in the process, by a pool of two processes and by two Dask workers."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from api.home import Home
from api.services import open_store
from api.settings import Settings
from metering.store.copying import copy_store
from tests import dask_cluster
from tests.bench import year
from tests.bench.children import child
from tests.bench.drain_places import Influx, NoInflux, influx
from tests.bench.executors_work import settings_of
from tests.bench.figures import Figure
from tests.bench.machine import cpu_s
from tests.bench.settings import Scale

WORKERS = 2


def executors(scale: Scale) -> list[Figure]:
    """Clock, processor time and bytes that travel, side by side; the results are compared."""
    home = _home(scale, max(50, scale.year_meters // 4))
    found = list(_in_a_file(scale, home))
    try:
        with influx() as server:
            found += _in_influx(scale, _home(scale, max(20, scale.year_meters // 20)), server)
    except NoInflux as error:
        found.append(Figure("the same in InfluxDB", None, "s", str(error)))
    return found


def _in_a_file(scale: Scale, home: Path) -> Iterator[Figure]:
    """One process has the store: it reads for all, and saves for all."""
    runs, weighed = _runs(scale, home)
    rows = year.rows_in(home)
    yield from _figures(runs, f"{rows / 1e6:.1f} M readings to hours and emissions")
    yield _size("to and from a pool", weighed["plain"], weighed["tasks"], rows)
    yield _size("to and from a cluster", weighed["packed"], weighed["tasks"], rows)


def _in_influx(scale: Scale, home: Path, server: Influx) -> Iterator[Figure]:
    """Whoever makes hours reads and saves them."""
    url = server.server.url
    there = settings_of(home, url)
    with (
        closing(open_store(Settings(home=home), Home(home))) as source,
        closing(open_store(there, Home(home))) as target,
    ):
        copy_store(source, target, lambda _what, _done: None)
    runs, _ = _runs(scale, home, url)
    rows = year.rows_in(home)
    yield from _figures(runs, f"InfluxDB: {rows / 1e6:.1f} M readings to hours and emissions")


def _runs(
    scale: Scale, home: Path, url: str | None = None
) -> tuple[dict[str, dict[str, float]], dict[str, Any]]:
    """The middle of the runs by every executor, and what would travel."""
    runs: dict[str, list[dict[str, Any]]] = {"inline": [], "one": [], "pool": [], "dask": []}
    with dask_cluster.running(WORKERS) as cluster:
        for _ in range(scale.repeats):
            runs["inline"].append(_run(scale, home, "inline", url))
            runs["one"].append(_run(scale, home, "pool:1", url))
            runs["pool"].append(_run(scale, home, f"pool:{WORKERS}", url))
            before = _workers_s(cluster)
            run = _run(scale, home, cluster.address, url)
            runs["dask"].append(run | {"workers_cpu_s": _workers_s(cluster) - before})
    weighed = _run(scale, home, "weighed", url)
    digests = {run["digest"] for side in runs.values() for run in side} | {weighed["digest"]}
    if len(digests) != 1:
        raise AssertionError(f"the results differ: {sorted(digests)}")
    middle = {name: {k: _median(side, k) for k in _MEASURED} for name, side in runs.items()}
    return middle, weighed


def _figures(runs: dict[str, dict[str, float]], what: str) -> Iterator[Figure]:
    inline = runs["inline"]
    beside = "in the process"
    names = {
        "one": "1 process beside",
        "pool": f"{WORKERS} processes",
        "dask": f"{WORKERS} Dask workers",
    }
    for key, name in names.items():
        side = runs[key]
        every = side["cpu_s"] + side["workers_cpu_s"]
        yield Figure(
            f"{what}, {name}", side["seconds"], "s", beside, inline["seconds"],
            note="the same bytes",
        )  # fmt: skip
        yield Figure("  processor time of the leader", side["cpu_s"], "s", beside, inline["cpu_s"])
        yield Figure("  processor time of all", every, "s", beside, inline["cpu_s"])
    yield Figure(
        "  most memory of the leader, pool", runs["pool"]["peak_mb"], "MB",
        beside, inline["peak_mb"],
    )  # fmt: skip


_MEASURED = ("seconds", "cpu_s", "workers_cpu_s", "peak_mb")


def _median(runs: list[dict[str, Any]], name: str) -> float:
    return statistics.median(run[name] for run in runs)


def _size(what: str, count: int, tasks: int, rows: int) -> Figure:
    note = f"{count / tasks / 1e6:.1f} MB a task, {tasks} tasks"
    return Figure(f"bytes {what}, a reading", count / rows, "B", note=note)


def _home(scale: Scale, meters: int) -> Path:
    """A year of some meters."""
    with child("year_work", "make", scale.cache, "--meters", meters) as maker:
        return Path(maker.hear()["home"])


def _run(scale: Scale, made: Path, by: str, url: str | None) -> dict[str, Any]:
    home = scale.work / "executors"
    shutil.copytree(made, home)
    rows = 100_000 if scale.quick else 1_000_000
    try:
        there = ("--url", url) if url else ()
        with child("executors_work", home, "--by", by, "--rows", rows, *there) as worker:
            return worker.hear()
    finally:
        shutil.rmtree(home)


def _workers_s(cluster: dask_cluster.Cluster) -> float:
    return sum(cpu_s(worker.pid) for worker in cluster.workers)
