"""Hours made by one kind of executor: `python -m tests.bench.executors_work`."""

from __future__ import annotations

import argparse
import hashlib
import os
import pickle
import time
from collections.abc import Callable
from pathlib import Path

from pydantic import SecretStr

import api.compute
import api.windows
from api.cluster import Dask, compressed
from api.compute import everything
from api.executors import A, B, Executor, Inline, Pool, Promise
from api.services import Services, open_services
from api.settings import Settings
from metering.periods import Period
from metering.series import SHARES
from tests.bench.machine import peak_mb
from tests.bench.sender import tell
from tests.influx_server import ORG, TOKEN


class Weighed(Inline):
    """Does tasks here, and weighs what would travel."""

    def __init__(self) -> None:
        self.tasks = self.plain = self.packed = 0

    def submit(self, function: Callable[[A], B], task: A) -> Promise[B]:
        """Do the task."""
        promise = super().submit(function, task)
        for each in (task, promise.result()):
            self.plain += len(pickle.dumps(each, protocol=5))
            self.packed += len(compressed(each))
        self.tasks += 1
        return promise


def main() -> None:
    """Make the hours of a home once, and say what it took."""
    parser = argparse.ArgumentParser()
    parser.add_argument("home", type=Path)
    parser.add_argument("--by", default="inline", help="inline, weighed, pool:N or tcp://…")
    parser.add_argument("--rows", type=int, required=True, help="readings a task")
    parser.add_argument("--url", help="of the InfluxDB that holds the readings")
    asked = parser.parse_args()
    api.windows.ROWS_PER_TASK, api.compute.LARGE_ROWS = asked.rows, 0
    with open_services(settings_of(asked.home, asked.url)) as services:
        services.store.clear(derived_only=True)
        executor = _executor(asked.by)
        services.recompute.executor = executor
        found = _made(services, executor)
    tell(found)


def settings_of(home: Path, url: str | None) -> Settings:
    """Of a home whose store is a file, or in the tests' InfluxDB at an address."""
    if url is None:
        return Settings(home=home, workers=0)
    return Settings(
        home=home, workers=0, store="influxdb",
        influx_url=url, influx_org=ORG, influx_token=SecretStr(TOKEN),
    )  # fmt: skip


def _executor(by: str) -> Executor:
    if by == "inline":
        return Inline()
    if by == "weighed":
        return Weighed()
    kind, _, number = by.partition(":")
    return Pool(int(number)) if kind == "pool" else Dask(by)


def _made(services: Services, executor: Executor) -> dict[str, object]:
    site = services.catalog.site(None)
    services.ledger.mark_dirty(everything(services.store, map(site.meter_key, site.serials)))
    start, used = time.monotonic(), time.process_time()
    hours = services.recompute.work_off().hours
    found: dict[str, object] = {
        "seconds": time.monotonic() - start,
        "cpu_s": time.process_time() - used,
        "hours": hours,
        "peak_mb": peak_mb(),
    }
    executor.close()
    children = os.times()
    found["workers_cpu_s"] = children.children_user + children.children_system
    if isinstance(executor, Weighed):
        found |= {"tasks": executor.tasks, "plain": executor.plain, "packed": executor.packed}
    return found | {"digest": _digest(services)}


def _digest(services: Services) -> str:
    """Of all that was made: the same wherever it was made."""
    summaries = services.store.summaries()
    whole = Period(
        min(each.first_read_at for each in summaries), max(e.last_read_at for e in summaries)
    )
    made = hashlib.sha256()
    for kind in ("energy", "emissions"):
        series = services.store.series(kind, whole)
        for column in ("subject", "quantity", "source", "start", "value", *SHARES, "flags"):
            made.update(getattr(series, column).tobytes())
    return made.hexdigest()


if __name__ == "__main__":
    main()
