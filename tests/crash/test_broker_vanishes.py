"""The outside broker is killed under a running `up`, or was never there: `up` says so and waits."""

import pytest

from tests.acceptance.running import call
from tests.crash.fleet import make_fleet, messages_of, site_yaml
from tests.crash.running import Up
from tests.ingest.test_subscriber import Mosquitto, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SPAN = {"first": "2023-03-01", "to": "2023-03-10"}
RECONNECT_S = 45
"""The collector tries again after at most 30 s."""


@pytest.fixture
def broker(tmp_path):
    folder = tmp_path / "mosquitto"
    folder.mkdir()
    it = Mosquitto(folder)
    it.start()
    yield it
    kill(it)


def kill(broker):
    """End the broker with SIGKILL, at once."""
    if broker.process is not None:
        broker.process.kill()
        broker.process.wait(20)
        broker.process = None


@pytest.fixture
def fleet():
    return make_fleet(11, electricity=4, heat=0, gas=0, readings=300)


@pytest.fixture
def home(tmp_path, fleet):
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "site.yaml").write_text(site_yaml(fleet))
    return folder


def up_with(home, broker, **settings):
    return Up(home, broker=f"mqtt://127.0.0.1:{broker.port}", **settings)


def connected(up):
    return up.ask("/status")["broker"]["connected"]


def check_everything_is_there(up, fleet, *, of=1.0):
    for meter in fleet:
        rows = meter.rows()[: int(len(meter.at_s) * of)]

        def stored(meter=meter):
            query = {"meter": meter.serial, "register": meter.register, **SPAN}
            return [(row["at"], row["value"]) for row in up.ask("/series", **query)["readings"]]

        wait_until(lambda rows=rows, stored=stored: len(stored()) >= len(rows))
        assert stored() == rows


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_messages_of_before_and_after_the_brokers_death_arrive(home, broker, fleet, protocol):
    messages = messages_of(fleet, per_message=4)
    with up_with(home, broker, broker_protocol=protocol) as up:
        wait_until(lambda: connected(up))
        broker.publish(messages[:150])
        # what the broker holds only in its memory dies with it: that is no fault of ours
        check_everything_is_there(up, fleet, of=0.5)

        kill(broker)

        wait_until(lambda: not connected(up))
        status = call(home, "status", "--json").document
        assert status["broker"]["last_error"]
        assert str(broker.port) in status["broker"]["url"]
        assert up.metrics()["tanyuan_subscriber_connected"] == 0
        assert up.get("/healthz")[0] == up.get("/readyz")[0] == 200
        check_everything_is_there(up, fleet, of=0.5)

        broker.start()
        wait_until(lambda: connected(up), RECONNECT_S)
        broker.publish(messages[150:])
        check_everything_is_there(up, fleet)
        assert up.metrics()["tanyuan_subscriber_connections_total"] >= 2
        assert up.ask("/status")["broker"]["last_error"] is None


def test_a_broker_that_is_not_there_at_the_start_is_waited_for(home, broker, fleet):
    kill(broker)
    with up_with(home, broker) as up:
        status = up.ask("/status")["broker"]
        assert status["connected"] is False
        wait_until(lambda: "refused" in str(up.ask("/status")["broker"]["last_error"]))
        assert up.get("/readyz")[0] == 200

        broker.start()
        wait_until(lambda: connected(up), RECONNECT_S)
        broker.publish(messages_of(fleet, per_message=4))
        check_everything_is_there(up, fleet)


def test_what_is_published_while_up_is_killed_waits_in_the_broker(home, broker, fleet):
    messages = messages_of(fleet, per_message=4)
    with up_with(home, broker) as up:
        wait_until(lambda: connected(up))
        broker.publish(messages[:100])
        up.kill()
        broker.publish(messages[100:200])
        up.start()
        broker.publish(messages[200:])

        check_everything_is_there(up, fleet)
