"""Whoever makes the hours, they are the same bytes, also when a worker is killed in the middle."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

import api.compute
from api.executors import ComputeUnavailable, Dask, Inline, Pool, executor_of
from api.services import open_services
from api.settings import load_settings
from api.tasks import WrongVersion, check_version
from metering.periods import Period, to_us
from metering.readings import Readings
from tests.acceptance.running import make_home

METERS = 6
START = datetime(2024, 1, 1, tzinfo=UTC)
EVER = Period(datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
POINT = """
      - {id: pN, carrier: electricity, role: main, meter: {serial: EN, profile: native}}"""
SITE = """
site: {id: park, name: Park, timezone: Asia/Shanghai, region: CN-BJ}
buildings:
  - id: a
    points:""" + "".join(POINT.replace("N", str(n)) for n in range(METERS))


@pytest.fixture
def services(tmp_path, monkeypatch):
    """Forty days of six meters every 15 min, of which nothing is made yet; many small tasks."""
    monkeypatch.setattr(api.compute, "ROWS_PER_TASK", 4 * 24 * METERS)
    home = make_home(tmp_path / "home", SITE)
    settings = load_settings(home, environ={}, given={"workers": 0})
    with open_services(settings) as opened:
        steps = 40 * 24 * 4
        times = to_us(START) + np.arange(steps) * np.timedelta64(15, "m")
        rng = np.random.default_rng(7)
        for n in range(METERS):
            opened.store.add(readings(f"park/E{n}", times, np.cumsum(rng.random(steps))))
        yield opened


def readings(meter, times, values):
    size = len(times)
    zeros = np.zeros(size, np.int32)
    return Readings(
        meters=(meter,), registers=("active_import",), journals=("j",),
        meter=zeros, register=zeros, read_at=times, value=values, flags=zeros,
        received_at=times, journal=zeros, sequence=np.arange(size, dtype=np.int64),
    )  # fmt: skip


def made_by(services, executor, *, during=None):
    """The bytes of all hours and emissions, made by an executor from nothing."""
    services.store.clear(derived_only=True)
    span = Period(START, START + timedelta(days=40))
    services.ledger.mark_dirty([(f"park/E{n}", span) for n in range(METERS)])
    services.recompute.executor = executor
    helper = threading.Thread(target=during) if during else None
    if helper:
        helper.start()
    worked = services.recompute.work_off()
    if helper:
        helper.join()
    assert worked.hours == METERS * 40 * 24  # the last one holds three quarters
    return [
        getattr(services.store.series(kind, EVER), column).tobytes()
        for kind in ("energy", "emissions")
        for column in (
            "subject",
            "quantity",
            "start",
            "value",
            "coverage",
            "measured_hour",
            "flags",
        )
    ]


def wait_until(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)


@pytest.fixture
def pool():
    made = Pool(2)
    yield made
    made.close()


def test_a_pool_makes_the_same_bytes_and_ends_when_idle(services):
    expected = made_by(services, Inline())
    pool = Pool(2, idle_s=1.0)
    assert made_by(services, pool) == expected
    workers = pool.pids
    assert len(workers) == 2
    wait_until(lambda: pool.pids == [])
    wait_until(lambda: not any(alive(pid) for pid in workers))
    assert made_by(services, pool) == expected  # another pool
    pool.close()


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_worker_of_a_pool_that_is_killed_changes_nothing(services, pool):
    expected = made_by(services, Inline())

    def kill_one():
        wait_until(lambda: len(pool.pids) == 2)
        wait_until(lambda: len(services.store.series("energy", EVER)) > 0)
        os.kill(pool.pids[0], signal.SIGKILL)

    first = []

    def kill():
        first.append(pool.pids)
        kill_one()

    assert made_by(services, pool, during=kill) == expected
    assert pool.pids  # those of another pool


def test_a_task_that_kills_every_worker_is_given_up_with_a_reason(pool):
    with pytest.raises(ComputeUnavailable, match="TANYUAN_WORKERS=0"):
        pool.submit(os._exit, 1).result()


def test_an_error_of_a_task_is_its_own(pool):
    with pytest.raises(ValueError, match="invalid literal"):
        pool.submit(int, "x").result()
    assert pool.submit(int, "5").result() == 5


def test_a_few_pieces_start_no_pool(services, pool, monkeypatch):
    monkeypatch.setattr(api.compute, "ROWS_PER_TASK", 10_000_000)
    made_by(services, pool)
    assert pool.pids == []


def test_processes_of_a_pool_end_with_whoever_started_them(tmp_path):
    code = (
        "import os, sys, time\n"
        "from api.executors import Pool\n"
        "if __name__ == '__main__':\n"
        "    pool = Pool(1)\n"
        "    pool.submit(int, '1').result()\n"
        "    print(*pool.pids, flush=True)\n"
        "    time.sleep(60)\n"
    )
    script = tmp_path / "parent.py"
    script.write_text(code)
    root = str(api.compute.__file__).removesuffix("api/compute.py")
    parent = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": root},
    )  # fmt: skip
    with parent:
        worker = int(parent.stdout.readline())
        parent.kill()
    wait_until(lambda: not alive(worker))


def test_another_version_is_refused_and_named():
    check_version("")
    with pytest.raises(WrongVersion, match=r"0\.0\.1"):
        check_version("0.0.1")


def test_settings_say_who_makes_the_hours():
    assert isinstance(executor_of(0, None), Inline)
    assert executor_of(3, None).width == 3
    assert executor_of(None, None).width >= 1
    assert isinstance(executor_of(0, "tcp://127.0.0.1:1"), Dask)


class Cluster:
    """A Dask scheduler and two workers, as processes."""

    def __init__(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.processes = []
        self.scheduler = self.start_scheduler()
        self.workers = [self.start_worker() for _ in range(2)]

    def start_scheduler(self):
        return self._start("scheduler", "--host", "127.0.0.1", "--port", str(self.port),
                           "--no-dashboard", "--no-show")  # fmt: skip

    def start_worker(self):
        return self._start("worker", self.address, "--nthreads", "1", "--no-nanny",
                           "--no-dashboard", "--host", "127.0.0.1",
                           "--memory-limit", "0")  # fmt: skip

    def _start(self, *arguments):
        command = [sys.executable, "-m", "distributed.cli.dask_" + arguments[0], *arguments[1:]]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.processes.append(process)
        return process

    def end(self):
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.fixture
def cluster():
    pytest.importorskip("distributed")
    made = Cluster()
    yield made
    made.end()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
def test_a_cluster_makes_the_same_bytes_with_a_worker_killed_and_its_scheduler_lost(
    services, cluster
):
    expected = made_by(services, Inline())
    dask = Dask(cluster.address, timeout_s=30)
    assert made_by(services, dask) == expected

    def kill():
        wait_until(lambda: len(services.store.series("energy", EVER)) > 0)
        cluster.workers[0].kill()

    assert made_by(services, dask, during=kill) == expected

    cluster.scheduler.kill()
    cluster.scheduler.wait()
    away = Dask(cluster.address, timeout_s=1)
    with pytest.raises(ComputeUnavailable, match="what is dirty stays so"):
        made_by(services, away)
    assert services.ledger.count_dirty()

    cluster.start_scheduler()
    cluster.start_worker()
    back = Dask(cluster.address, timeout_s=30)
    assert made_by(services, back) == expected
    for each in (dask, away, back):
        each.close()
