"""The collector on an outside broker, with a real Mosquitto."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from ingest.journal import Journal
from ingest.subscriber import (
    Broker,
    BrokerUrlInvalid,
    Subscriber,
    SubscriberSettings,
    parse_broker_url,
)
from tests.ingest.raw_mqtt import MemoryJournal

REPO = Path(__file__).parents[2]
BOTH = pytest.mark.parametrize("version", [4, 5], ids=["3.1.1", "5"])


def wait_until(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


class Mosquitto:
    """A broker of our own, which can be stopped and started again."""

    def __init__(self, folder, *, extra=""):
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.config = folder / "mosquitto.conf"
        self.config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\nuser root\n"
            f"persistence true\npersistence_location {folder}/\nmax_queued_messages 0\n{extra}"
        )
        self.process = None

    def start(self):
        program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
        if program is None:
            pytest.skip("mosquitto is not on the PATH")
        self.process = subprocess.Popen(
            [program, "-c", str(self.config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until(self.answers)

    def answers(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def stop(self):
        if self.process is not None:
            self.process.terminate()
            self.process.wait(20)
            self.process = None

    def publish(self, payloads, topic="tanyuan/park/gw/readings", qos=1):
        client = paho.Client(CallbackAPIVersion.VERSION2, "publisher", reconnect_on_failure=False)
        client.connect("127.0.0.1", self.port)
        client.loop_start()
        for info in [client.publish(topic, payload, qos=qos) for payload in payloads]:
            info.wait_for_publish(20)
        client.disconnect()
        client.loop_stop()

    def settings(self, **options):
        options.setdefault("reconnect_min_s", 0.1)
        options.setdefault("reconnect_max_s", 0.5)
        return SubscriberSettings(broker=f"mqtt://127.0.0.1:{self.port}", **options)


@pytest.fixture
def broker(tmp_path):
    folder = tmp_path / "mosquitto"
    folder.mkdir()
    it = Mosquitto(folder)
    it.start()
    yield it
    if it.process is not None:
        it.process.kill()  # quicker than asking it to save what no one reads
        it.process.wait(20)


class Collecting:
    """A subscriber that runs for the length of a `with`."""

    def __init__(self, broker, journal=None, **settings):
        self.journal = MemoryJournal() if journal is None else journal
        self.subscriber = Subscriber(self.journal, broker.settings(**settings))

    def __enter__(self):
        self.subscriber.start()
        wait_until(lambda: self.subscriber.connected)
        time.sleep(0.1)  # the subscription follows the connection
        return self

    def __exit__(self, *_):
        if isinstance(self.journal, MemoryJournal):
            self.journal.open.set()
        self.subscriber.stop()

    @property
    def payloads(self):
        return [message.payload for message in self.journal.messages]


def numbered(start, stop):
    return [b"%d" % n for n in range(start, stop)]


@BOTH
def test_messages_reach_the_journal_and_are_acknowledged(tmp_path, broker, version):
    with Journal(tmp_path / "journal", min_free_bytes=0) as journal:
        with Collecting(broker, journal, version=version) as it:
            broker.publish([*numbered(0, 500), b"", b"\xff\x00"])
            wait_until(lambda: it.subscriber.counts.acked == 502)
        records = journal.read(0)
    assert [r.payload for r in records] == [*numbered(0, 500), b"", b"\xff\x00"]
    assert {(r.topic, r.door, r.client) for r in records} == {
        ("tanyuan/park/gw/readings", "subscriber", "tanyuan")
    }
    assert not it.subscriber.connected
    assert it.subscriber.last_error is None


@BOTH
def test_messages_that_were_queued_while_we_were_away_arrive(broker, version):
    with Collecting(broker, version=version):
        pass
    broker.publish(numbered(0, 300))
    with Collecting(broker, version=version) as it:
        wait_until(lambda: it.subscriber.counts.acked == 300)
        assert it.payloads == numbered(0, 300)
    with Collecting(broker, version=version) as it:
        broker.publish([b"new"])
        wait_until(lambda: it.payloads)
        assert it.payloads == [b"new"]  # what was acknowledged does not come again


@BOTH
def test_nothing_is_acknowledged_before_it_is_on_disk(broker, version):
    with Collecting(broker, version=version) as it:
        it.journal.open.clear()
        broker.publish(numbered(0, 5))
        wait_until(it.journal.entered.is_set)
        time.sleep(0.2)
        assert it.subscriber.counts.acked == 0
        it.journal.open.set()
        wait_until(lambda: it.subscriber.counts.acked == 5)


@BOTH
def test_a_broker_that_vanishes_is_waited_for(broker, version):
    with Collecting(broker, version=version) as it:
        broker.publish(numbered(0, 50))
        wait_until(lambda: it.subscriber.counts.acked == 50)
        broker.stop()
        wait_until(lambda: not it.subscriber.connected)
        assert str(broker.port) in it.subscriber.last_error
        broker.start()
        wait_until(lambda: it.subscriber.connected)
        assert it.subscriber.last_error is None
        broker.publish(numbered(50, 100))
        # Acknowledgements that the broker did not get to before it stopped cost a repetition.
        wait_until(lambda: set(it.payloads) == set(numbered(0, 100)))
        assert it.payloads[-50:] == numbered(50, 100)
        wait_until(lambda: it.subscriber.counts.acked == len(it.payloads))
        assert it.subscriber.counts.connections == 2


def test_a_broker_that_lost_its_sessions_is_subscribed_to_again(broker):
    with Collecting(broker) as it:
        broker.stop()
        (broker.folder / "mosquitto.db").unlink()
        broker.start()
        wait_until(lambda: it.subscriber.counts.connections == 2)
        time.sleep(0.1)
        broker.publish([b"after"])
        wait_until(lambda: it.payloads == [b"after"])


def test_a_subscriber_may_start_before_its_broker(tmp_path):
    it = Mosquitto(tmp_path)
    subscriber = Subscriber(MemoryJournal(), it.settings())
    subscriber.start()
    try:
        wait_until(lambda: subscriber.last_error is not None)
        assert not subscriber.connected
        it.start()
        wait_until(lambda: subscriber.connected)
    finally:
        subscriber.stop()
        it.stop()


KILLED = """
import os, signal, sys
from pathlib import Path
from ingest.journal import Journal
from ingest.subscriber import Subscriber, SubscriberSettings

class Deadly(Journal):
    def append(self, messages):
        if {keep}:
            super().append(messages)
        os.kill(os.getpid(), signal.SIGKILL)

journal = Deadly(Path(sys.argv[1]), min_free_bytes=0)
subscriber = Subscriber(journal, SubscriberSettings(broker=sys.argv[2], version={version}))
subscriber.start()
print("started", flush=True)
signal.pause()
"""


@BOTH
@pytest.mark.parametrize("keep", [False, True], ids=["before writing", "after writing"])
def test_a_collector_killed_before_the_acknowledgement_gets_the_messages_again(
    tmp_path, broker, version, keep
):
    with Collecting(broker, version=version):
        pass  # makes the session
    broker.publish(numbered(0, 200))
    script = KILLED.format(keep=keep, version=version)
    folder = tmp_path / "journal"
    killed = subprocess.run(
        [sys.executable, "-c", script, str(folder), f"mqtt://127.0.0.1:{broker.port}"],
        cwd=REPO,
        capture_output=True,
        timeout=60,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    with Journal(folder, min_free_bytes=0) as journal:
        before = journal.last_sequence
        assert (before > 0) == keep
        with Collecting(broker, journal, version=version) as it:
            wait_until(lambda: it.subscriber.counts.acked == 200)
        kept = [record.payload for record in journal.read(0)]
    assert kept[before:] == numbered(0, 200)  # nothing was lost; some may be there twice
    assert set(kept[:before]) <= set(numbered(0, 200))


def test_a_full_journal_acknowledges_nothing_until_there_is_room(broker):
    with Collecting(broker) as it:
        it.journal.full = True
        broker.publish(numbered(0, 20))
        wait_until(lambda: it.subscriber.counts.journal_refusals > 0)
        assert "make room" in it.subscriber.last_error
        assert it.subscriber.counts.acked == 0
        it.journal.full = False
        wait_until(lambda: it.subscriber.counts.acked == 20)
        assert it.payloads == numbered(0, 20)
        assert it.subscriber.last_error is None


def test_messages_of_an_earlier_connection_are_not_acknowledged_on_a_later_one(broker):
    with Collecting(broker) as it:
        it.journal.open.clear()
        broker.publish(numbered(0, 10))
        wait_until(it.journal.entered.is_set)
        broker.stop()
        wait_until(lambda: not it.subscriber.connected)
        broker.start()
        wait_until(lambda: it.subscriber.counts.connections == 2)
        it.journal.open.set()
        wait_until(lambda: it.subscriber.counts.acked == 10)
        wait_until(lambda: len(it.payloads) == 20)
        assert it.payloads == numbered(0, 10) * 2  # they came again, and only then were acked


def test_messages_with_properties_keep_their_place_among_the_others(broker):
    user = Properties(PacketTypes.PUBLISH)
    user.UserProperty = ("unit", "kWh")
    with Collecting(broker) as it:
        client = paho.Client(CallbackAPIVersion.VERSION2, "publisher", protocol=paho.MQTTv5)
        client.connect("127.0.0.1", broker.port)
        client.loop_start()
        for number, payload in enumerate(numbered(0, 300)):
            properties = user if number % 7 == 0 else None
            client.publish("tanyuan/park/gw/readings", payload, qos=1, properties=properties)
        wait_until(lambda: it.subscriber.counts.acked == 300)
        client.disconnect()
        client.loop_stop()
        assert it.payloads == numbered(0, 300)


def test_a_message_longer_than_a_read_arrives_whole(broker):
    long = bytes(range(256)) * 4000  # a megabyte, and a packet length of three bytes
    with Collecting(broker) as it:
        broker.publish([b"before", long, b"after"])
        wait_until(lambda: it.subscriber.counts.acked == 3)
        assert it.payloads == [b"before", long, b"after"]


@BOTH
def test_a_paho_that_makes_its_socket_otherwise_reads_by_itself(broker, version, monkeypatch):
    monkeypatch.delattr("ingest.subscriber_client.Client._create_socket")
    with Collecting(broker, version=version) as it:
        broker.publish(numbered(0, 50))
        wait_until(lambda: it.subscriber.counts.acked == 50)
        assert it.payloads == numbered(0, 50)
    with Collecting(broker, version=version) as it:
        broker.publish([b"new"])
        wait_until(lambda: it.payloads)
        assert it.payloads == [b"new"]  # what was acknowledged does not come again


def test_a_group_divides_the_messages_among_its_collectors(broker):
    with (
        Collecting(broker, client_id="one", group="collectors") as one,
        Collecting(broker, client_id="two", group="collectors") as two,
    ):
        broker.publish(numbered(0, 100))
        wait_until(lambda: len(one.payloads) + len(two.payloads) == 100)
        assert sorted(one.payloads + two.payloads) == sorted(numbered(0, 100))
        assert one.payloads
        assert two.payloads


def test_the_queue_to_the_journal_is_bounded(broker):
    with Collecting(broker, queue_messages=50, receive_maximum=65_535) as it:
        it.journal.open.clear()
        publisher = threading.Thread(
            target=broker.publish, args=(numbered(0, 5000),), kwargs={"qos": 0}
        )
        publisher.start()
        wait_until(it.journal.entered.is_set)
        publisher.join()
        time.sleep(0.3)
        assert 50 <= it.subscriber.counts.messages < 1000  # one turn of reading beyond the bound
        it.journal.open.set()
        wait_until(lambda: len(it.payloads) == 5000)
        assert it.payloads == numbered(0, 5000)


def test_a_refused_password_is_an_error_that_can_be_read(tmp_path):
    (tmp_path / "passwords").write_text("")
    it = Mosquitto(tmp_path, extra=f"password_file {tmp_path}/passwords\n")
    it.config.write_text(it.config.read_text().replace("anonymous true", "anonymous false"))
    it.start()
    settings = it.settings(password="secret-word")
    subscriber = Subscriber(MemoryJournal(), settings)
    subscriber.start()
    try:
        wait_until(lambda: subscriber.last_error is not None)
        assert "refuses tanyuan: Not authorized" in subscriber.last_error
        assert "secret-word" not in repr(settings)
        assert subscriber.counts.connections == 0
    finally:
        subscriber.stop()
        it.stop()


def test_stopping_writes_and_acknowledges_what_came(broker):
    with Collecting(broker) as it:
        it.journal.open.clear()
        broker.publish(numbered(0, 10))
        wait_until(lambda: it.subscriber.counts.messages == 10)
        threading.Timer(0.2, it.journal.open.set).start()
        it.subscriber.stop()
        assert it.subscriber.counts.acked == 10
        assert it.payloads == numbered(0, 10)


def test_stopping_does_not_wait_for_ever_for_a_journal_that_refuses(broker):
    with Collecting(broker) as it:
        it.journal.full = True
        broker.publish(numbered(0, 10))
        wait_until(lambda: it.subscriber.counts.journal_refusals > 0)
        began = time.monotonic()
        it.subscriber.stop(0.5)
        assert time.monotonic() - began < 3
        assert it.subscriber.counts.acked == 0


@pytest.mark.parametrize(
    ("url", "broker"),
    [
        ("mqtt://host", Broker("host", 1883, None, False)),
        ("mqtts://gw@host", Broker("host", 8883, "gw", True)),
        ("mqtt://a%40b@10.0.0.1:99/", Broker("10.0.0.1", 99, "a@b", False)),
        ("mqtt://[::1]:1884", Broker("::1", 1884, None, False)),
    ],
)
def test_broker_addresses(url, broker):
    assert parse_broker_url(url) == broker


@pytest.mark.parametrize("url", ["http://host", "host:1883", "mqtt://", "mqtt://h:99999", ""])
def test_an_address_that_is_none_says_what_was_expected(url):
    with pytest.raises(BrokerUrlInvalid, match=r"expected mqtt\[s\]://user@host:port"):
        parse_broker_url(url)


def test_a_password_in_the_address_is_refused_and_not_repeated():
    with pytest.raises(BrokerUrlInvalid, match="set the password apart") as error:
        parse_broker_url("mqtt://user:hunter2@host")
    assert "hunter2" not in str(error.value)
