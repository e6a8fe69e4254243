"""InfluxDB stopped, killed, frozen and emptied under a running `up`: nothing is lost or doubled."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from datetime import UTC, datetime

import pytest

from metering.periods import Period
from tests.acceptance.running import PROGRAM, environment, make_home
from tests.api.test_backup import FACTORS, SITE, message
from tests.crash.running import Up
from tests.deploy.brokers import DEPLOY, program, wait_until
from tests.deploy.parts import TOKEN, Part
from tests.influx_server import own_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

QUESTIONS = (
    ("/energy", {"first": "2024-01-01", "to": "2024-03-01", "every": "hour"}),
    ("/emissions", {"first": "2024-01-01", "to": "2024-03-01", "every": "day"}),
    ("/quota", {"on": "2024-02-20"}),
)
EVER = Period(datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))


class Outages:
    """An `up` on an InfluxDB of its own, and a foreign client that goes on publishing."""

    def __init__(self, folder):
        self.influx = own_server()
        home = make_home(folder / "home", SITE, factors={"own.yaml": FACTORS})
        settings = {
            "TANYUAN_STORE": "influxdb",
            "TANYUAN_HTTP_TOKEN": TOKEN,
            "TANYUAN_MIN_FREE_MB": "16",
            "TANYUAN_ANSWER_WAIT_S": "30",
            "INFLUXDB_V2_URL": self.influx.url,
            "INFLUXDB_V2_ORG": self.influx.org,
            "INFLUXDB_V2_TOKEN": self.influx.token,
        }
        self.up = Part(home, "up", **settings)
        self.up.start()
        self.sent = 0

    def publish(self, count):
        """The next hours of the meter, QoS 1, by mosquitto_pub."""
        lines = b"".join(message(n).payload + b"\n" for n in range(self.sent, self.sent + count))
        arguments = [
            "-p",
            str(self.up.mqtt_port),
            "-q",
            "1",
            "-l",
            "-t",
            "tanyuan/park/gw/readings",
        ]
        subprocess.run([program("mosquitto_pub"), *arguments], input=lines, check=True, timeout=60)
        self.sent += count

    @property
    def lag(self):
        return self.up.metrics()["tanyuan_projector_lag_messages"]

    def doctor(self):
        """What the doctor finds beside it."""
        done = subprocess.run(
            [str(PROGRAM), "--home", str(self.up.home), "doctor", "--json"],
            env=environment(**self.up.settings),
            capture_output=True,
            timeout=120,
            check=False,
        )
        return json.loads(done.stdout)["checks"]

    def end(self):
        if self.up.process is not None:
            self.up.kill()
        self.influx.end()


@pytest.fixture
def it(tmp_path):
    made = Outages(tmp_path)
    yield made
    made.end()


def is_ready(up):
    return up.get("/readyz")[0] == 200


def test_whatever_befalls_influxdb_under_load_nothing_is_lost_or_doubled(it, tmp_path):
    up, influx = it.up, it.influx
    it.publish(100)
    wait_until(lambda: it.lag == 0)
    assert is_ready(up)

    # Stopped in order for many hours of the meter's time.
    influx.stop(signal.SIGINT)
    it.publish(200)
    assert it.lag == 200
    assert not is_ready(up)
    assert up.metrics()["tanyuan_store_up"] == 0
    assert up.ask("/status")["silent_meters"] is None
    told = {check["name"]: check["status"] for check in it.doctor()}
    assert told["process"] == "fail"
    assert "cannot be examined" not in str(it.doctor())
    influx.start()
    wait_until(lambda: it.lag == 0, seconds=60)
    assert up.metrics()["tanyuan_store_up"] == 1

    # Killed in the middle of what it is sent, twice.
    for _ in range(2):
        it.publish(50)
        influx.stop(signal.SIGKILL)
        it.publish(150)
        assert it.lag >= 150
        influx.start()
        wait_until(lambda: it.lag == 0, seconds=60)

    # Frozen longer than a request may take.
    influx.process.send_signal(signal.SIGSTOP)
    it.publish(200)
    time.sleep(5)
    assert up.get("/healthz")[0] == 200
    assert it.lag == 200
    influx.process.send_signal(signal.SIGCONT)
    wait_until(lambda: it.lag == 0, seconds=120)

    # A bucket deleted, and made again by hand: everything comes again from the journal.
    influx.drop("tanyuan")
    it.publish(200)
    wait_until(lambda: it.lag >= 200, seconds=60)
    assert not is_ready(up)
    with influx.client() as client:
        client.buckets_api().create_bucket(bucket_name="tanyuan", org=influx.org)
    wait_until(lambda: it.lag == 0 and is_ready(up), seconds=120)

    assert it.sent == 1100
    assert [up.ask(path, **query) for path, query in QUESTIONS] == answers_of_one(tmp_path, it.sent)
    assert up.stop() == 0
    store = influx.open("tanyuan")
    assert len(store.read(EVER)) == sum(n % 50 != 49 for n in range(it.sent))
    assert len(store.superseded(EVER)) == 0
    store.close()


def test_up_that_starts_while_influxdb_is_away_takes_readings_and_writes_them_later(it, tmp_path):
    it.publish(50)
    wait_until(lambda: it.lag == 0)
    assert it.up.stop() == 0
    it.influx.stop(signal.SIGINT)

    # Another definition meanwhile: hours that were made before are to be made again.
    file = it.up.home / "site.yaml"
    file.write_text(file.read_text().replace("max_power_kw: 500", "max_power_kw: 501"))
    it.up.start()
    it.publish(100)
    # Which of all 150 the store has is not known before it is there.
    assert it.lag == 150
    assert it.up.get("/healthz")[0] == 200
    assert not is_ready(it.up)

    it.influx.start()
    wait_until(lambda: it.lag == 0 and is_ready(it.up), seconds=60)
    found = [it.up.ask(path, **query) for path, query in QUESTIONS]
    assert found == answers_of_one(tmp_path, it.sent)


def answers_of_one(folder, count):
    """What the embedded shape says of the same messages."""
    from ingest.journal import Journal

    home = make_home(folder / "alone", SITE, factors={"own.yaml": FACTORS})
    with Journal(home / "journal", min_free_bytes=0) as journal:
        journal.append([message(n) for n in range(count)])
    with Up(home, min_free_mb=16) as up:
        return [up.ask(path, **query) for path, query in QUESTIONS]


def test_up_ends_in_the_time_its_unit_gives_it_while_influxdb_hangs(it):
    unit = (DEPLOY / "systemd" / "tanyuan.service").read_text(encoding="utf-8")
    given_s = int(re.search(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)[1])
    it.publish(100)
    wait_until(lambda: it.lag == 0)
    it.influx.process.send_signal(signal.SIGSTOP)
    it.publish(100)
    time.sleep(5)  # so that everybody waits for it
    process, it.up.process = it.up.process, None
    try:
        process.send_signal(signal.SIGTERM)
        assert process.wait(given_s) == 0
    finally:
        it.influx.process.send_signal(signal.SIGCONT)
        if process.poll() is None:
            process.kill()
            process.wait(30)
