"""Whoever makes the hours, they are the same bytes, also when a worker is killed in the middle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import api.cluster
import api.compute
import api.windows
from api.cluster import Dask
from api.compute import _all_done
from api.executors import (
    RUNNING,
    ComputeUnavailable,
    Inline,
    Pool,
    WrongVersion,
    check_version,
    executor_of,
)  # fmt: skip
from api.services import open_services
from api.settings import load_settings
from api.stored_tasks import TooOld, emit_stored, make_stored
from api.tasks import make_hours
from metering.periods import Period, to_us
from metering.readings import Readings
from metering.series import SHARES
from metering.store.port import StoreUnavailable
from tests import dask_cluster
from tests.acceptance.running import make_home
from tests.influx_server import own_server

ROOT = Path(__file__).parents[2]
DAYS = 30
START = datetime(2024, 1, 1, tzinfo=UTC)
WHOLE = Period(START, START + timedelta(days=DAYS))
EVER = Period(datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
STEPS = DAYS * 24 * 4
SITE = """
site: {id: park, name: Park, timezone: Asia/Shanghai, region: CN-BJ}
factors: {provisional: true}
buildings:
  - id: a
    points:
      - {id: main, carrier: electricity, role: main, meter: {serial: E0, profile: native}}
      - {id: tariffs, carrier: electricity, role: sub, meter: {serial: E1, profile: native}}
      - {id: late, carrier: electricity, role: sub, meter: {serial: E2, profile: native}}
      - {id: roof, carrier: electricity, role: generation, meter: {serial: E3, profile: native}}
      - {id: gas, carrier: gas, role: main, net_calorific_value_mj_m3: 36,
         meter: {serial: G0, profile: native}}
      - {id: heat, carrier: heat, role: main, meter: {serial: H0, profile: native}}
"""
REGISTERS = {
    "E0": ("active_import", "active_export"),
    "E1": ("active_import_t1", "active_import_t2"),
    "E2": ("active_import", "active_import_t1"),
    "E3": ("active_export",),
    "G0": ("gas_energy", "gas_volume"),
    "H0": ("heat",),
}
FROM = {("G0", "gas_energy"): STEPS // 3, ("E2", "active_import"): STEPS // 2 + 7}
"""From which step on a register was read; from the first if it is not here."""


@pytest.fixture(scope="module", params=["duckdb", "influxdb"])
def server(request):
    """A server of InfluxDB, or None where the store is a file."""
    if request.param == "duckdb":
        yield None
        return
    made = own_server()
    yield made
    made.end()


@pytest.fixture(scope="module")
def services(tmp_path_factory, server):
    """A month of a small park, of which nothing is made yet."""
    home = make_home(tmp_path_factory.mktemp("home") / "home", SITE)
    reach = {} if server is None else {
        "TANYUAN_STORE": "influxdb", "INFLUXDB_V2_URL": server.url,
        "INFLUXDB_V2_ORG": server.org, "INFLUXDB_V2_TOKEN": server.token,
    }  # fmt: skip
    settings = load_settings(home, environ=reach, given={"workers": 0})
    with open_services(settings) as opened:
        rng = np.random.default_rng(7)
        for serial, names in REGISTERS.items():
            for name in names:
                first = FROM.get((serial, name), 0)
                heard = np.arange(first, STEPS)
                heard = heard[rng.random(len(heard)) > 0.02]
                shown = np.cumsum(rng.random(len(heard)))
                opened.store.add(readings(f"park/{serial}", name, heard, shown))
        yield opened


@pytest.fixture(autouse=True)
def _many_small_tasks_of_a_large_round(monkeypatch):
    monkeypatch.setattr(api.windows, "ROWS_PER_TASK", 1_500)
    monkeypatch.setattr(api.compute, "LARGE_ROWS", 1_000)


def readings(meter, register, steps, values):
    zeros = np.zeros(len(steps), np.int32)
    times = to_us(START) + steps * np.timedelta64(15, "m")
    return Readings(
        meters=(meter,), registers=(register,), journals=("j",),
        meter=zeros, register=zeros, read_at=times, value=values, flags=zeros,
        received_at=times, journal=zeros, sequence=steps.astype(np.int64),
    )  # fmt: skip


def forget(services):
    services.store.clear(derived_only=True)
    services.ledger.mark_dirty([(f"park/{serial}", WHOLE) for serial in REGISTERS])


def bits(services):
    found = []
    for kind in ("energy", "emissions"):
        series = services.store.series(kind, EVER)
        found.append((series.subjects, series.quantities, series.sources))
        for column in ("subject", "quantity", "source", "start", "duration_s", "value", "flags"):
            found.append(getattr(series, column).tobytes())
        found += [getattr(series, share).tobytes() for share in SHARES]
    assert len(services.store.series("emissions", EVER)) > DAYS * 24 * 4
    return found


def made_by(services, executor, *, during=None):
    """The bytes of all hours and emissions, made by an executor from nothing.

    Args:
        during: Called once the first hours are in the store, while others are made.
    """
    forget(services)
    services.recompute.executor = executor
    helper = threading.Thread(target=partial(after_the_first_hours, services, during))
    if during:
        helper.start()
    try:
        services.recompute.work_off()
    finally:
        services.recompute.executor = Inline()
        if during:
            helper.join()
    return bits(services)


def after_the_first_hours(services, then):
    wait_until(lambda: len(services.store.series("energy", EVER)) > 0)
    then()


def wait_until(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture(scope="module")
def expected(services):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(api.windows, "ROWS_PER_TASK", 1_500)
        patch.setattr(api.compute, "LARGE_ROWS", 1_000)
        return made_by(services, Inline())


@pytest.fixture
def pool():
    made = Pool(2)
    yield made
    made.close()


class Noting(Inline):
    """Does what `Inline` does, and says what the tasks were."""

    def __init__(self):
        self.tasks = []

    def submit(self, function, task):
        self.tasks.append(task)
        return super().submit(function, task)


def test_emissions_made_with_the_energy_are_those_of_hours_read_back(
    services, expected, monkeypatch
):
    seen = Noting()
    assert made_by(services, seen) == expected
    with_emissions = [set(task.spans) for task in seen.tasks]

    monkeypatch.setattr(api.compute, "LARGE_ROWS", float("inf"))
    read_back = made_by(services, Inline())

    assert read_back == expected
    # one register, or every register of the task's hours: nothing else is needed
    assert all({"heat", "roof"} <= made for made in with_emissions if made)
    assert any("tariffs" in made for made in with_emissions)
    # gas_energy begins on the tenth day: before, its emissions wait for what is stored of it
    assert any("gas" in made for made in with_emissions)
    assert not all("gas" in made for made in with_emissions)


def test_a_register_that_is_stored_but_not_dirty_counts_in_emissions(services, expected):
    services.store.clear(derived_only=True)
    made_by(services, Inline())
    later = Period(START + timedelta(days=12), WHOLE.end)
    services.ledger.mark_dirty([("park/G0", later), ("park/E2", later), ("park/E1", later)])

    services.recompute.work_off()

    assert bits(services) == expected


def test_a_pool_makes_the_same_bytes_and_ends_when_idle(services, expected):
    pool = Pool(2, idle_s=1.0)
    assert made_by(services, pool) == expected
    workers = pool.pids
    assert len(workers) == 2
    wait_until(lambda: pool.pids == [])
    wait_until(lambda: not any(alive(pid) for pid in workers))
    assert made_by(services, pool) == expected  # another pool
    pool.close()


def test_a_worker_of_a_pool_that_is_killed_changes_nothing(services, expected, pool):
    first = []

    def kill():
        first.extend(pool.pids)
        os.kill(first[0], signal.SIGKILL)

    assert made_by(services, pool, during=kill) == expected
    assert pool.pids
    assert not set(first) & set(pool.pids)  # those of another pool


def test_workers_fetch_and_save_where_they_may_open_the_store(services, expected, pool):
    asked = []
    submit = pool.submit

    def noting(function, task):
        asked.append((function, task))
        return submit(function, task)

    pool.submit = noting
    assert made_by(services, pool) == expected

    functions = [function for function, _ in asked]
    if services.store.opening is None:
        assert set(functions) == {make_hours}
        return
    assert set(functions) == {make_stored, emit_stored}
    # What may need the energy of several tasks is made when all of it is saved.
    assert functions == sorted(functions, key=[make_stored, emit_stored].index)


def test_a_worker_that_stood_still_does_not_save_what_it_made(services, expected, pool):
    if services.store.opening is None:
        pytest.skip("whoever has the file saves, and no worker")
    asked = []
    pool.submit, submit = lambda f, task: asked.append((f, task)) or submit(f, task), pool.submit
    assert made_by(services, pool) == expected
    services.store.clear(derived_only=True)

    for function, task in asked:
        with pytest.raises(TooOld, match="not saved"):
            function(replace(task, within_s=0.0))

    assert {function for function, _ in asked} == {make_stored, emit_stored}
    for kind in ("energy", "emissions"):
        assert len(services.store.series(kind, EVER)) == 0
    assert made_by(services, Inline()) == expected


def test_a_store_that_stops_while_workers_save_leaves_all_dirty(services, expected, server, pool):
    if server is None:
        pytest.skip("nobody but this process has the store when it is a file")
    try:
        with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1"):
            made_by(services, pool, during=partial(server.stop, signal.SIGKILL))
    finally:
        server.start()
    assert services.ledger.count_dirty() == len(REGISTERS)

    services.recompute.executor = pool
    services.recompute.work_off()
    services.recompute.executor = Inline()
    assert bits(services) == expected
    assert services.ledger.count_dirty() == 0


def test_a_task_that_kills_every_worker_is_given_up_with_a_reason(pool):
    with pytest.raises(ComputeUnavailable, match="TANYUAN_WORKERS=0"):
        pool.submit(os._exit, 1).result()


def test_a_round_that_fails_ends_when_all_its_tasks_have_ended(pool, tmp_path):
    done = tmp_path / "done"
    slow = f"__import__('time').sleep(1.5) or open({str(done)!r}, 'w').close()"
    with pytest.raises(ValueError, match="invalid literal"):
        list(_all_done(pool, eval, ["int('x')", slow]))
    assert done.exists()


def test_an_error_of_a_task_is_its_own(pool):
    with pytest.raises(ValueError, match="invalid literal"):
        pool.submit(int, "x").result()
    assert pool.submit(int, "5").result() == 5


def test_a_pool_that_was_closed_starts_no_more_processes(pool):
    pool.close()

    with pytest.raises(ComputeUnavailable, match="is ending"):
        pool.submit(int, "5")
    assert pool.pids == []


def test_small_rounds_start_no_pool(services, expected, pool, monkeypatch):
    monkeypatch.setattr(api.compute, "LARGE_ROWS", 10_000_000)

    assert made_by(services, pool) == expected
    assert pool.pids == []


def test_processes_of_a_pool_end_with_whoever_started_them(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(
        "import time\n"
        "from api.executors import Pool\n"
        "if __name__ == '__main__':\n"
        "    pool = Pool(1)\n"
        "    pool.submit(int, '1').result()\n"
        "    print(*pool.pids, flush=True)\n"
        "    time.sleep(60)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    with parent:
        worker = int(parent.stdout.readline())
        parent.kill()
    wait_until(lambda: not alive(worker))


def test_another_version_is_refused_and_named():
    check_version(RUNNING)
    with pytest.raises(WrongVersion, match=r"Tanyuan 0\.0\.1 came to a worker that runs"):
        check_version("0.0.1")


def test_settings_say_who_makes_the_hours():
    assert isinstance(executor_of(0, None), Inline)
    assert executor_of(3, None).workers == 3
    assert isinstance(executor_of(0, "tcp://127.0.0.1:1"), Dask)


@pytest.mark.parametrize(("cores", "workers"), [(1, 0), (2, 0), (3, 2), (4, 3), (64, 8)])
def test_a_machine_with_few_cores_makes_hours_in_one_process(monkeypatch, cores, workers):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    assert getattr(executor_of(None, None), "workers", 0) == workers


# -- a Dask cluster: real processes, started with Dask's command line ---------------------------


@pytest.fixture(scope="module")
def processes():
    pytest.importorskip(
        "distributed", reason="distributed is not installed: pip install .[cluster]"
    )
    with dask_cluster.running(2) as cluster:
        yield cluster


@pytest.fixture
def cluster(processes):
    processes.make_whole()
    return processes


@pytest.fixture
def dask(cluster):
    made = Dask(cluster.address, patience_s=30)
    wait_until(lambda: made.ahead == 4)  # two tasks for each of two threads
    made.patience_s = 2
    yield made
    made.close()


dask_test = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning"),
]


class TestDask:
    pytestmark = dask_test

    def test_a_cluster_makes_the_same_bytes(self, services, expected, dask):
        assert made_by(services, dask) == expected

    def test_a_worker_that_is_killed_changes_nothing(self, services, expected, dask, cluster):
        killed = cluster.workers[0]

        got = made_by(services, dask, during=partial(cluster.kill, killed))

        assert got == expected
        assert killed.poll() == -signal.SIGKILL

    def test_a_scheduler_that_is_lost_leaves_all_dirty_until_it_is_back(
        self, services, expected, dask, cluster
    ):
        with pytest.raises(ComputeUnavailable, match=r"what is dirty stays so"):
            made_by(services, dask, during=partial(cluster.kill, cluster.scheduler))
        assert services.ledger.count_dirty() == len(REGISTERS)

        dask.patience_s = 1
        with pytest.raises(ComputeUnavailable, match=f"cluster at {cluster.address} does not ans"):
            made_by(services, dask)

        cluster.make_whole()
        dask.patience_s = 30
        services.recompute.executor = dask
        services.recompute.work_off()
        services.recompute.executor = Inline()
        assert bits(services) == expected
        assert services.ledger.count_dirty() == 0

    def test_a_scheduler_that_is_frozen_is_not_waited_for_for_ever(self, services, dask, cluster):
        def freeze():
            cluster.scheduler.send_signal(signal.SIGSTOP)

        try:
            with pytest.raises(ComputeUnavailable, match="does not answer"):
                made_by(services, dask, during=freeze)
        finally:
            cluster.scheduler.send_signal(signal.SIGCONT)

    def test_a_scheduler_without_workers_says_so(self, services, dask, cluster):
        def kill_all():
            for worker in cluster.workers:
                cluster.kill(worker)

        with pytest.raises(ComputeUnavailable, match="has no workers"):
            made_by(services, dask, during=kill_all)

    def test_workers_of_another_version_are_refused(self, dask, monkeypatch):
        monkeypatch.setattr(api.cluster, "RUNNING", "0.0.1 with NumPy 1.0")

        with pytest.raises(WrongVersion, match=r"Tanyuan 0\.0\.1 with NumPy 1\.0 came"):
            dask.submit(int, "5").result()

    def test_a_cluster_without_the_program_is_told_to_install_it(self, tmp_path):
        pytest.importorskip("distributed")
        other = tmp_path / "api"
        other.mkdir()
        (other / "__init__.py").write_text("")
        with dask_cluster.running(1, program=str(tmp_path)) as elsewhere:
            dask = Dask(elsewhere.address, patience_s=30)
            with pytest.raises(ComputeUnavailable, match="Install that on its scheduler and work"):
                dask.submit(int, "5").result()
            dask.close()
