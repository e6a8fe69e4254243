"""The production shape with the shipped files: broker over TLS, InfluxDB, PostgreSQL; a loss."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
from sqlalchemy import make_url

from ingest.journal import Journal
from tests import postgres_server
from tests.acceptance.running import make_home, run, up
from tests.api.test_backup import FACTORS, SITE, message, saved
from tests.deploy.brokers import PASSWORDS, ShippedMosquitto, wait_until
from tests.influx_server import own_server

QUESTION = ("energy", "--from", "2024-01-01", "--to", "2024-02-01", "--every", "hour", "--json")


@pytest.fixture
def influx():
    server = own_server()
    yield server
    server.end()


@pytest.fixture
def ledger(tmp_path):
    """The URL of an empty database."""
    server, name = postgres_server.server(), postgres_server.name_for(tmp_path)
    yield server.new_database(name)
    server.drop(name)


@pytest.fixture
def broker(tmp_path):
    folder = tmp_path / "broker"
    folder.mkdir()
    it = ShippedMosquitto(folder)
    it.start()
    yield it
    it.kill()


@pytest.mark.slow
def test_meters_to_figures_through_the_shipped_broker_and_back_from_a_backup(
    tmp_path, influx, broker, ledger, monkeypatch
):
    home = make_home(tmp_path / "home", SITE, factors={"own.yaml": FACTORS})
    secret = tmp_path / "collector_password"
    secret.write_text(PASSWORDS["collector"] + "\n")
    settings = {
        "TANYUAN_BROKER": f"mqtts://collector@localhost:{broker.port}",
        "TANYUAN_BROKER_PASSWORD_FILE": str(secret),
        "TANYUAN_BROKER_CA": str(broker.folder / "ca.crt"),
        "TANYUAN_STORE": "influxdb",
        "TANYUAN_INFLUX_BUCKET": "tanyuan",
        "TANYUAN_LEDGER": ledger,
        "TANYUAN_LOG_FORMAT": "json",
        "INFLUXDB_V2_URL": influx.url,
        "INFLUXDB_V2_ORG": influx.org,
        "INFLUXDB_V2_TOKEN": influx.token,
    }

    with up(home, **settings) as running:
        wait_until(lambda: running.ask("/status")["broker"]["connected"])
        with broker.client("gw1") as gateway:
            sent = gateway.flood(
                "tanyuan/park/gw1/readings", [message(n).payload for n in range(300)]
            )
        assert len(sent) == 300
        wait_until(lambda: running.ask("/status")["journal"]["last_sequence"] == 300)
        before = running.get("/api/v1/energy", first="2024-01-01", to="2024-02-01", every="hour")
        told = running.ask("/status")
    assert told["ready"] is True
    assert sum(told["quarantine"].values()) == 6  # every fiftieth of 300 is garbage
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    made = saved(home, tmp_path / "b.tar.zst")
    assert made["store"] == {"kind": "influxdb", "included": False}
    assert made["ledger"]["included"] is False  # PostgreSQL stays where it is
    dump = tmp_path / "ledger.dump"
    postgres_tool("pg_dump", "-Fc", "-f", str(dump), ledger=ledger)
    chain = Journal.open_read_only(home / "journal").verify()
    shutil.rmtree(home)
    name = make_url(ledger).database
    assert postgres_server.server().new_database(name) == ledger  # an empty one in its place
    for bucket in ("tanyuan", "tanyuan_derived"):
        influx.drop(bucket)

    postgres_tool("pg_restore", "--no-owner", "-d", name, str(dump), ledger=ledger)
    restored = environment_run(home, settings, "restore", str(tmp_path / "b.tar.zst"), "--json")

    assert restored.status == 0, restored.err
    assert restored.document["store"]["messages"] == 300
    assert Journal.open_read_only(home / "journal").verify() == chain
    assert environment_run(home, settings, *QUESTION).out == before
    assert environment_run(home, settings, "doctor", "--json").status == 0


def postgres_tool(name, *arguments, ledger):
    """Run one of PostgreSQL's own programs on the database of a ledger."""
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not here (Debian: postgresql-client)")
    url = make_url(ledger)
    reach = {"PGHOST": url.host, "PGPORT": str(url.port), "PGUSER": url.username,
             "PGPASSWORD": url.password, "PGDATABASE": url.database}  # fmt: skip
    subprocess.run([name, *arguments], env=os.environ | reach, check=True, timeout=60)


def environment_run(home, settings, *arguments):
    """Run the program with these settings in a process of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.acceptance.running.environment", lambda **_: os.environ | settings)
        return run(home, *arguments)
