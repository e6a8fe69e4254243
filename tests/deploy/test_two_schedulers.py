"""Two `schedule` processes on PostgreSQL and InfluxDB: each job once, also when the leader dies."""

from __future__ import annotations

import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from api.jobs import JOBS
from metering.ledger.sql_ledger import open_ledger
from tests import postgres_server
from tests.acceptance.running import make_home
from tests.api.test_backup import FACTORS, SITE
from tests.deploy.brokers import wait_until
from tests.deploy.parts import Installation, Part
from tests.influx_server import own_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

DUE = [job.name for job in JOBS.values() if not job.of_journal]
"""Schedulers of an installation have no journal to verify; collectors do that."""


@pytest.fixture
def installation(tmp_path):
    influx = own_server()
    server, name = postgres_server.server(), postgres_server.name_for(tmp_path)
    config = make_home(tmp_path / "config", SITE, factors={"own.yaml": FACTORS})
    made = Installation(tmp_path, config, influx, server.new_database(name))
    yield made
    made.end()
    server.drop(name)
    influx.end()


def make_due(ledger):
    """As if every job had run last on the first day of 2024."""
    for job in DUE:
        last = {"start": "2024-01-01T00:00:00Z", "state": "done", "holder": "somebody"}
        ledger.put(f"job/park/{job}", json.dumps(last))


def runs(ledger):
    found = Counter(run.job for run in ledger.job_runs(limit=100) if run.status == "done")
    return dict(found)


def leads(part):
    return part.metrics()["tanyuan_leads"] == 1


def test_each_job_runs_once_and_the_next_leader_runs_what_the_dead_one_did_not(installation):
    url = installation.settings["TANYUAN_LEDGER"]
    ledger = open_ledger(url)
    make_due(ledger)
    pair = [Part(installation.folder / f"schedule-{n}", "schedule", **installation.settings)
            for n in ("one", "two")]  # fmt: skip
    installation.parts |= {part.home.name: part for part in pair}
    with ThreadPoolExecutor(2) as pool:  # at once
        list(pool.map(Part.start, pair))

    wait_until(lambda: runs(ledger) == dict.fromkeys(DUE, 1), seconds=90)
    assert sorted(map(leads, pair)) == [False, True]
    time.sleep(5)  # whoever does not lead would have run them by now
    assert runs(ledger) == dict.fromkeys(DUE, 1)

    leader, other = sorted(pair, key=leads, reverse=True)
    leader.kill()
    make_due(ledger)
    wait_until(lambda: leads(other) and runs(ledger) == dict.fromkeys(DUE, 2), seconds=90)
    leader.start()
    time.sleep(5)
    assert not leads(leader)
    assert runs(ledger) == dict.fromkeys(DUE, 2)
    ledger.close()
