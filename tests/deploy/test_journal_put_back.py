"""A collector's home is restored at noon from last night's backup, and more messages come."""

from __future__ import annotations

import json
import shutil
from contextlib import closing

import pytest

from ingest.journal import Journal
from metering.ledger.sql_ledger import open_ledger
from tests import postgres_server
from tests.acceptance.publishing import publish
from tests.acceptance.running import make_home, values
from tests.api.test_backup import FACTORS, SITE, message
from tests.deploy.brokers import wait_until
from tests.deploy.parts import Installation
from tests.influx_server import own_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

DAY = {"first": "2024-01-01", "to": "2024-01-02", "every": "hour"}


@pytest.fixture
def installation(tmp_path):
    influx = own_server()
    config = make_home(tmp_path / "config", SITE, factors={"own.yaml": FACTORS})
    ledgers, name = postgres_server.server(), postgres_server.name_for(tmp_path)
    made = Installation(
        tmp_path,
        config,
        influx,
        ledgers.new_database(name),
    )
    for part in ("listen", "project", "schedule", "serve"):
        made.part(part)
    yield made
    made.end()
    ledgers.drop(name)
    influx.end()


def send(installation, numbers):
    listen = installation.parts["listen"]
    publish(listen.mqtt_port, [message(n).payload for n in numbers], site="park")


def hours(installation):
    return values(installation.parts["serve"].ask("/energy", **DAY))


def told(installation, hour):
    """What a trace of an hour says of its telegrams: sequence, and the payload or the error."""
    serve = installation.parts["serve"]
    found = serve.ask("/trace/energy", point="a-main", at=f"2024-01-01T{hour:02}:30:00Z")
    return [(t["sequence"], t.get("text") or t["error"]) for t in found["telegrams"]]


def text_of(number):
    return message(number).payload.decode()


def go_back(installation, how, tmp_path):
    """Put the collector's home back as it was with five messages; ten had come."""
    listen, file, copy = installation.parts["listen"], tmp_path / "b.tar.zst", tmp_path / "copy"
    send(installation, range(5))
    if how == "backup":
        status, _, said = installation.run("listen", "backup", str(file))
        assert status == 0, said
    else:
        listen.kill()
        shutil.copytree(listen.home, copy)
        listen.start()
    send(installation, range(5, 10))
    assert hours(installation)[:11] == [7.0] * 9 + [None] * 2
    listen.kill()
    shutil.rmtree(listen.home)
    if how == "backup":
        status, out, said = installation.run("listen", "restore", str(file), "--json")
        assert status == 0, said
        assert json.loads(out)["store"]["rebuilt"] is False
    else:
        copy.rename(listen.home)
    listen.start()


@pytest.mark.parametrize("how", ["backup", "snapshot"])
def test_collector_that_was_put_back_gives_no_number_twice(installation, how, tmp_path):
    go_back(installation, how, tmp_path)

    send(installation, (10, 11))

    # All twelve readings are in the store, each 7 kWh on.
    assert hours(installation)[:12] == [7.0] * 11 + [None]
    assert told(installation, 0) == [(1, text_of(0)), (2, text_of(1))]
    assert told(installation, 10) == [(11, text_of(10)), (12, text_of(11))]
    for sequence, said in told(installation, 6):
        assert sequence in (7, 8)
        assert "messages 6 to 10 are not in the journal" in said
    project = installation.parts["project"]
    ahead = [v for k, v in project.metrics().items() if k.startswith("tanyuan_journal_ahead")]
    assert ahead == [0.0]
    assert project.get("/readyz")[0] == 200
    with closing(open_ledger(installation.settings["TANYUAN_LEDGER"])) as ledger:
        (noted,) = ledger.findings(code="journal.lost")
        assert noted.finding.data == {"first": 6, "last": 10}
    chain = Journal.open_read_only(installation.parts["listen"].home / "journal").verify()
    assert (chain.problems, chain.messages) == ((), 7)

    for part in ("schedule", "project"):
        assert installation.parts[part].stop() == 0
    status, out, said = installation.run("schedule", "rebuild", "--json")
    assert status == 0, said
    lost = json.loads(out)["lost"]
    assert [(each["first"], each["last"]) for each in lost] == [(6, 10)]
    for part in ("schedule", "project"):
        installation.parts[part].start()
    wait_until(lambda: installation.parts["serve"].get("/api/v1/energy", **DAY)[0] == 200)
    wait_until(lambda: installation.parts["serve"].ask("/status")["lag"]["messages"] == 0)
    # 42 kWh lie between 04:00 and 10:00, where five readings are gone.
    assert sum(hours(installation)[4:10]) == pytest.approx(42.0)
    assert [each[0] for each in told(installation, 6)] == [5, 11]


def test_restored_collector_accepts_once_the_ledger_was_asked(installation, tmp_path):
    listen, file = installation.parts["listen"], tmp_path / "b.tar.zst"
    send(installation, range(5))
    assert installation.run("listen", "backup", str(file))[0] == 0
    send(installation, range(5, 10))
    assert hours(installation)[:10] == [7.0] * 9 + [None]
    listen.kill()
    shutil.rmtree(listen.home)
    assert installation.run("listen", "restore", str(file))[0] == 0
    there = listen.settings["TANYUAN_LEDGER"]
    listen.settings["TANYUAN_LEDGER"] = "postgresql://nobody@127.0.0.1:1/none"
    listen.start()

    status, body = listen.get("/readyz")
    assert (status, "before the ledger was asked" in body.decode()) == (503, True)
    with pytest.raises(AssertionError):
        publish(listen.mqtt_port, [message(10).payload], site="park", timeout_s=3)
    assert listen.stop() == 0
    listen.settings["TANYUAN_LEDGER"] = there
    listen.start()

    assert listen.get("/readyz")[0] == 200
    send(installation, (10, 11))
    assert hours(installation)[:12] == [7.0] * 11 + [None]
    assert told(installation, 10) == [(11, text_of(10)), (12, text_of(11))]
