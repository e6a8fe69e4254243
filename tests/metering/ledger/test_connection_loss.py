"""PostgreSQL goes away in every way it can; the ledger says so and works again by itself."""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event

from metering.ledger import database as database_module
from metering.ledger import postgres
from metering.ledger.port import LedgerUnavailable
from metering.ledger.sql_ledger import open_ledger
from metering.periods import Period
from tests.postgres_server import name_for, own_server

START = datetime(2023, 1, 1, tzinfo=UTC)
METERS = 40


@pytest.fixture(scope="module")
def server():
    started = own_server()
    yield started
    started.end()


@pytest.fixture
def name(tmp_path):
    return name_for(tmp_path)


@pytest.fixture
def ledger(server, name):
    opened = open_ledger(server.new_database(name))
    yield opened
    opened.close()
    server.drop(name)


def hours_marked(number: int) -> list[tuple[str, Period]]:
    """The same days for every meter, each apart from the others."""
    at = START + number * timedelta(days=3)
    return [(f"E{meter:02d}", Period(at, at + timedelta(hours=1))) for meter in range(METERS)]


def is_whole(ledger) -> bool:
    """Whether every call that marked did so for all of its meters."""
    starts: dict[datetime, int] = {}
    for dirty in ledger.dirty():
        starts[dirty.period.start] = starts.get(dirty.period.start, 0) + 1
    return set(starts.values()) <= {METERS}


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_server_that_was_restarted_between_two_calls_costs_none(server, ledger):
    ledger.put("a", "1")
    server.stop()
    server.start()

    assert ledger.get("a") == "1"


def test_connections_an_administrator_ended_cost_no_call_either(server, ledger, name):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: ledger.put(str(n), "1"), range(8)))
    assert server.terminate(name) >= 1

    assert ledger.get("7") == "1"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT, signal.SIGKILL])
def test_while_it_is_stopped_calls_say_so_at_once_and_later_ones_are_answered(server, ledger, how):
    ledger.put("a", "1")
    server.stop(how)
    began = time.monotonic()
    for call in (lambda: ledger.get("a"), lambda: ledger.put("a", "2"), ledger.check):
        with pytest.raises(LedgerUnavailable, match="See that the database runs"):
            call()
    took = time.monotonic() - began
    server.start()

    assert took < 3
    ledger.check()
    assert ledger.get("a") == "1"


def test_a_connection_lost_in_the_middle_of_a_call_undoes_all_of_it(server, ledger, name):
    ledger.mark_dirty(hours_marked(0))

    def lose_it(_connection, _cursor, statement, *_):
        if statement.startswith("INSERT INTO dirty_range"):
            server.terminate(name)

    event.listen(ledger._db._engine, "before_cursor_execute", lose_it)
    with pytest.raises(LedgerUnavailable):
        ledger.mark_dirty(hours_marked(1))
    event.remove(ledger._db._engine, "before_cursor_execute", lose_it)
    before = ledger.dirty()
    ledger.mark_dirty(hours_marked(1))

    assert {dirty.period.start for dirty in before} == {START}
    assert len(before) == METERS
    # the version that the lost call took is given out again, or skipped; never twice
    assert len({dirty.version for dirty in ledger.dirty()}) == 2


def test_a_frozen_server_is_waited_for_only_so_long_and_used_again_once_it_moves(
    server, ledger, name, monkeypatch
):
    for module, limits in (
        (postgres, {"SILENT_S": 1.0, "PING_S": 0.5}),
        (database_module, {"WAIT_S": 2}),
    ):
        for limit, value in limits.items():
            monkeypatch.setattr(module, limit, value)
    url = ledger._db.url
    hasty = open_ledger(url)
    hasty.put("a", "1")
    underway = threading.Event()
    failed: list[object] = []

    def in_the_middle() -> None:
        with hasty._db.reading() as connection:
            underway.set()
            frozen.wait(10)
            try:
                connection.exec_driver_sql("SELECT 1")
            finally:
                failed.append(time.monotonic())

    frozen = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(in_the_middle)
        underway.wait(10)
        server.freeze()
        began = time.monotonic()
        frozen.set()
        try:
            for call in (lambda: hasty.get("a"), lambda: hasty.put("a", "2")):
                with pytest.raises(LedgerUnavailable):
                    call()
            took = time.monotonic() - began
            said = other.exception(10)
        finally:
            server.thaw()

    assert isinstance(said, LedgerUnavailable)
    assert "has not answered for 1 s" in str(said)
    assert failed[0] - began < 3  # one second of silence, looked at ten times a second
    assert took < 2 * (0.5 + 2) + 2  # a ping and a new connection each
    assert hasty.get("a") == "1"
    hasty.put("a", "3")
    assert ledger.get("a") == "3"
    hasty.close()


def test_nothing_is_lost_halved_or_leaked_by_many_losses_under_load(server, ledger, name):
    """Threads keep marking and count; the server is ended in turn by each of its signals."""
    done: list[int] = []
    numbers = iter(range(10_000))
    lock, stop = threading.Lock(), threading.Event()
    refused = [0]

    def work() -> None:
        while not stop.is_set():
            with lock:
                number = next(numbers)
            while not stop.is_set():
                try:
                    ledger.put(f"n{number:05d}", "here")
                    ledger.mark_dirty(hours_marked(number % 12))
                except LedgerUnavailable:
                    refused[0] += 1
                    time.sleep(0.01)
                else:
                    done.append(number)
                    break

    ledger.put("a", "1")
    files = open_files()
    with ThreadPoolExecutor(6) as pool:
        workers = [pool.submit(work) for _ in range(6)]
        try:
            for how in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
                time.sleep(0.3)
                server.stop(how)
                time.sleep(0.2)
                server.start()
                time.sleep(0.3)
                server.terminate(name)
            time.sleep(0.3)
        finally:
            stop.set()
        errors = [worker.exception() for worker in workers]

    assert errors == [None] * 6
    assert refused[0] > 6
    assert len(done) > 50
    assert set(ledger.notes("n")) >= {f"n{number:05d}" for number in done}
    assert is_whole(ledger)
    assert server.connections(name) <= postgres.CONNECTIONS
    assert open_files() <= files + postgres.CONNECTIONS


def test_a_ledger_can_be_closed_and_left_while_its_server_is_away(server, name):
    ledger = open_ledger(server.new_database(name))
    ledger.put("a", "1")
    server.stop(signal.SIGKILL)
    ledger.close()
    server.start()
    server.drop(name)

    with pytest.raises(LedgerUnavailable, match="was closed"):
        ledger.get("a")
