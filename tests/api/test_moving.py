"""A home changes its store: the same answers, and nothing begins again."""

from __future__ import annotations

import pytest

from api.leases import Lease
from metering.ledger.sql_ledger import open_ledger
from tests.acceptance.running import make_home
from tests.api.test_backup import FACTORS, QUESTIONS, SITE, fill
from tests.deploy.test_production import environment_run
from tests.influx_server import own_server


@pytest.fixture
def influx():
    server = own_server()
    yield server
    server.end()


@pytest.mark.slow
def test_a_home_moves_to_influxdb_and_back_and_answers_the_same(tmp_path, influx):
    home = make_home(tmp_path / "home", SITE, factors={"own.yaml": FACTORS})
    fill(home)
    reach = {
        "INFLUXDB_V2_URL": influx.url,
        "INFLUXDB_V2_ORG": influx.org,
        "INFLUXDB_V2_TOKEN": influx.token,
    }
    there = reach | {"TANYUAN_STORE": "influxdb"}
    before = [environment_run(home, reach, *question).out for question in QUESTIONS]

    moved = environment_run(home, reach, "store", "copy", "duckdb", "influxdb", "--json")

    assert moved.status == 0, moved.err
    told = moved.document
    assert told["readings"] == 588  # 600 messages, every fiftieth is garbage
    assert [each["sequence"] for each in told["journals"]] == [600]
    assert [environment_run(home, there, *question).out for question in QUESTIONS] == before
    status = environment_run(home, there, "status", "--json").document
    assert status["lag"]["messages"] == 0

    (home / "store.duckdb").unlink()
    back = environment_run(home, there, "store", "copy", "influxdb", "duckdb", "--json")
    assert back.status == 0, back.err
    assert back.document["readings"] == 588
    assert [environment_run(home, reach, *question).out for question in QUESTIONS] == before


def test_what_cannot_be_copied_is_refused_with_what_to_do(tmp_path):
    home = make_home(tmp_path / "home", SITE)
    told = environment_run(home, {}, "store", "copy", "duckdb", "influxdb")
    assert told.status == 1
    assert "INFLUXDB_V2_ORG" in told.err
    told = environment_run(home, {}, "store", "copy", "duckdb", "duckdb")
    assert told.status == 1
    assert "twice" in told.err
    named = {"INFLUXDB_V2_ORG": "o", "INFLUXDB_V2_TOKEN": "t"}
    told = environment_run(home, named, "store", "copy", "duckdb", "influxdb")
    assert told.status == 1
    assert "Wanted a store to copy at" in told.err.replace("\n", " ")


def test_a_store_is_not_copied_while_others_work_on_it(tmp_path):
    home = make_home(tmp_path / "home", SITE)
    fill(home, 10)
    assert environment_run(home, {}, "rebuild").status == 0
    ledger = open_ledger(f"sqlite:///{home / 'ledger.sqlite'}")
    assert Lease(ledger, "schedule", "another").hold()
    named = {"INFLUXDB_V2_ORG": "o", "INFLUXDB_V2_TOKEN": "t"}
    told = environment_run(home, named, "store", "copy", "duckdb", "influxdb")
    ledger.close()
    assert told.status != 0
    assert "'schedule'" in told.err
    assert "then copy" in told.err.replace("\n", " ")
