"""PostgreSQL goes away under load, again and again: what is published stays, and counts once."""

import signal
import threading
import time

import pytest

from tests import postgres_server
from tests.acceptance.running import run
from tests.crash.clients import Paho
from tests.crash.fleet import make_fleet, messages_of, site_yaml
from tests.crash.running import Up
from tests.crash.test_crash import answers, readings_of
from tests.shape import give_ledger, lose_store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SPAN = {"first": "2023-03-01", "to": "2023-03-10"}
LATER_S = 60.0


@pytest.fixture
def server():
    started = postgres_server.own_server()
    yield started
    started.end()


@pytest.fixture
def fleet():
    """Twelve meters; E07 and E03 are asked about by name."""
    return make_fleet(11, electricity=9, heat=2, gas=1, readings=2500)


@pytest.fixture
def up(tmp_path, server, fleet):
    home = tmp_path / "home"
    home.mkdir()
    (home / "site.yaml").write_text(site_yaml(fleet))
    give_ledger(home, server.new_database("park"))
    with Up(home, answer_wait_s=1) as running:
        yield running


def until(done):
    """Wait until something is so."""
    deadline = time.monotonic() + LATER_S
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def lag(up):
    return up.metrics()["tanyuan_projector_lag_messages"]


def check_it_says_why(up, acked):
    """While it is away: not ready, no password in what is said, and messages still acknowledged."""
    before = acked()
    until(lambda: up.get("/readyz")[0] == 503)
    status, body = up.get("/api/v1/energy", **SPAN, every="day")
    assert status == 503 or b'"behind"' in body
    assert postgres_server.PASSWORD.encode() not in body
    until(lambda: len(acked()) > len(before))


def test_nothing_is_lost_or_doubled_whatever_becomes_of_postgresql(up, server, fleet, tmp_path):
    messages = messages_of(fleet, per_message=6)
    client = Paho(up.mqtt_port, tmp_path)

    def feed():
        for start in range(0, len(messages), 20):
            client.feed(messages[start : start + 20])
            time.sleep(0.1)

    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        for how in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            time.sleep(1.0)
            server.stop(how)
            check_it_says_why(up, client.acked)
            time.sleep(2.0)
            server.start()
            until(lambda: up.get("/readyz")[0] == 200)
            for _ in range(5):
                time.sleep(0.2)
                server.terminate("park")
        server.freeze()
        frozen = len(client.acked())
        time.sleep(7.0)
        assert len(client.acked()) > frozen
        server.thaw()
        feeder.join()
        client.finish()
    finally:
        feeder.join()
        client.close()

    assert len(client.acked()) == len(messages) == 5000
    assert up.process.poll() is None
    until(lambda: lag(up) == 0 and up.get("/readyz")[0] == 200)
    check_against_the_truth(up, fleet)
    assert up.get("/api/v1/quarantine")[1].count(b'"sequence"') == 0
    assert server.connections("park") <= 15 + 15  # what the process keeps, and a moment's more
    assert postgres_server.PASSWORD not in up.log
    assert "Traceback" not in up.log
    before = answers(up)
    assert up.stop() == 0
    lose_store(up.home)
    rebuilt = run(up.home, "rebuild", "--json", timeout_s=120)
    assert rebuilt.document["readings"] == 30_000, rebuilt.err
    up.start()
    assert {name for name, body in answers(up).items() if body != before[name]} == set()


def check_against_the_truth(up, fleet):
    until(lambda: b'"behind"' not in up.get("/api/v1/energy", **SPAN, every="hour")[1])
    for meter in fleet:
        stored = [(row["at"], row["value"]) for row in readings_of(up, meter)]
        assert stored == meter.rows(), meter.serial
        rows = up.ask("/energy", **SPAN, every="hour", point=meter.point)["series"][0]["rows"]
        truth = meter.hourly_kwh(9 * 24)
        values = [row["value"] for row in rows[:208]]
        assert values == pytest.approx(truth[:208].tolist(), abs=1e-6)


def test_an_up_that_begins_without_its_postgresql_says_so_in_one_sentence(tmp_path, server):
    home = tmp_path / "home"
    home.mkdir()
    (home / "site.yaml").write_text(site_yaml(make_fleet(1, electricity=1, heat=0, gas=0)))
    give_ledger(home, server.new_database("park"))
    server.stop()

    done = run(home, "up", "--mqtt-port", "0", "--http-port", "0")

    said = " ".join(done.err.split())
    assert done.status == 3
    assert "Cannot use the ledger postgresql+psycopg://tester:***@127.0.0.1" in said
    assert "See that the database runs and that TANYUAN_LEDGER names it" in said
    assert "Traceback" not in said
