"""The publisher against our listener, Mosquitto, and brokers that misbehave."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time

import paho.mqtt.client as paho
import pytest

from ingest.listener import Listener, ListenerSettings
from ingest.mqtt_users import hash_password
from ingest.publisher import (
    Broker,
    BrokerLost,
    BrokerRefused,
    MessageTooLong,
    Publisher,
    publish_all,
)

BOTH = pytest.mark.parametrize("version", [3, 5], ids=["3.1.1", "5"])
MESSAGES = [(f"tanyuan/p/gw{n % 3}/readings", b'{"n":%d}' % n) for n in range(3000)]


class Kept:
    """A journal in memory."""

    def __init__(self):
        self.messages = []

    def append(self, messages):
        first = len(self.messages) + 1
        self.messages += [(message.topic, message.payload) for message in messages]
        return range(first, len(self.messages) + 1)


@pytest.fixture
def serve():
    """Start listeners that end with the test."""
    running = []

    def start(**settings):
        journal = Kept()
        listener = Listener(journal, ListenerSettings(**{"port": 0, **settings}))
        listener.start()
        running.append(listener)
        return listener, journal

    yield start
    for listener in running:
        listener.stop()


class Wire:
    """Passes bytes on to a port; the first connections are cut after so many bytes from the client.

    Args:
        port: Where bytes go.
        cuts: Bytes after which the first, second, … connection is cut.
    """

    def __init__(self, port, cuts):
        self._port, self._cuts = port, list(cuts)
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self.connections = 0
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join(5)

    def _serve(self):
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            cut = self._cuts[self.connections] if self.connections < len(self._cuts) else None
            self.connections += 1
            with client, socket.create_connection(("127.0.0.1", self._port)) as broker:
                back = threading.Thread(target=self._pass, args=(broker, client, None))
                back.start()
                self._pass(client, broker, cut)
                for each in (client, broker):
                    try:
                        each.shutdown(socket.SHUT_RDWR)
                    except OSError:
                        continue
                back.join(5)

    @staticmethod
    def _pass(source, target, cut):
        passed = 0
        try:
            while (cut is None or passed < cut) and (data := source.recv(4096)):
                target.sendall(data)
                passed += len(data)
        except OSError:
            return


@BOTH
def test_every_message_arrives_once_and_in_order(serve, version):
    listener, journal = serve()

    done = publish_all(Broker(port=listener.port, version=version), MESSAGES)

    assert done == (3000, 3000, 0, 0)
    assert journal.messages == MESSAGES


def test_no_more_is_under_way_than_the_receiver_allows(serve):
    listener, journal = serve(receive_maximum=7)
    most = 0

    with Publisher(Broker(port=listener.port)) as publisher:
        for topic, payload in MESSAGES[:500]:
            publisher.publish(topic, payload)
            so_far = publisher.so_far
            most = max(most, so_far.published - so_far.acked)
        publisher.drain()

    # more than 7 would have been a protocol error, and a new connection
    assert (most, publisher.so_far.reconnects) == (7, 0)
    assert journal.messages == MESSAGES[:500]


@BOTH
def test_a_lost_connection_costs_no_message(serve, version):
    listener, journal = serve()

    # 3000 messages are more than 100 kB: cut after 20 kB, and again after 30 kB
    with Wire(listener.port, cuts=[20_000, 30_000]) as wire:
        done = publish_all(Broker(port=wire.port, version=version), MESSAGES)

    assert done == (3000, 3000, 0, 2)
    assert set(journal.messages) == set(MESSAGES)


def test_progress_is_told_on_the_way_and_at_the_end(serve):
    listener, _ = serve()
    told = []

    publish_all(Broker(port=listener.port), MESSAGES, on_progress=told.append)

    assert [so_far.published for so_far in told] == [2000, 3000]
    assert told[-1].acked == 3000


def test_messages_are_taken_as_they_are_sent_and_not_before(serve):
    listener, _ = serve()
    taken = []

    def messages():
        for number, message in enumerate(MESSAGES[:400]):
            taken.append(number)
            yield message

    with Publisher(Broker(port=listener.port), window=10) as publisher:
        for count, (topic, payload) in enumerate(messages(), start=1):
            publisher.publish(topic, payload)
            so_far = publisher.so_far
            assert so_far.published - so_far.acked <= 10
            assert len(taken) == count


def test_a_wrong_password_is_an_answer_and_not_a_reason_to_wait(serve):
    listener, journal = serve(users={"gw1": hash_password(b"right")})
    broker = Broker(port=listener.port, username="gw1", password="wrong")

    with pytest.raises(BrokerRefused, match="user name and password"):
        publish_all(broker, MESSAGES[:1])

    assert journal.messages == []
    assert "wrong" not in repr(broker)


def test_the_right_password_lets_messages_in(serve):
    listener, journal = serve(users={"gw1": hash_password(b"right")})

    publish_all(Broker(port=listener.port, username="gw1", password="right"), MESSAGES[:2])

    assert journal.messages == MESSAGES[:2]


def test_nobody_there_is_said_when_patience_ends():
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]

    with pytest.raises(BrokerLost, match=rf"127.0.0.1:{port} .* 0.3 s"):
        publish_all(Broker(port=port), MESSAGES[:1], patience_s=0.3)


def test_a_broker_that_cuts_every_connection_is_given_up_with_what_is_open(serve):
    listener, _ = serve()

    with (
        Wire(listener.port, cuts=[1000] * 100) as wire,
        pytest.raises(BrokerLost, match="1 messages are not acknowledged"),
    ):
        publish_all(Broker(port=wire.port), [("a/b", bytes(8000))], patience_s=0.5)

    assert 1 < wire.connections < 50


def test_a_broker_that_comes_back_gets_what_it_missed(serve):
    listener, first = serve()
    port = listener.port
    second = []

    def messages():
        yield from MESSAGES[:100]
        listener.stop()
        second.append(serve(port=port)[1])
        yield from MESSAGES[100:200]

    done = publish_all(Broker(port=port), messages(), patience_s=20)

    assert (done.acked, done.refused) == (200, 0)
    assert set(first.messages) | set(second[0].messages) == set(MESSAGES[:200])


def test_a_message_longer_than_the_broker_takes_is_not_sent(serve):
    listener, journal = serve(max_packet_bytes=2000)

    with Publisher(Broker(port=listener.port)) as publisher:
        with pytest.raises(MessageTooLong, match="2000 bytes"):
            publisher.publish("a/b", bytes(3000))
        publisher.publish("a/b", b"short")
        publisher.drain()

    assert journal.messages == [("a/b", b"short")]
    assert publisher.so_far == (1, 1, 0, 0)


def test_a_quiet_connection_is_kept_alive(serve):
    listener, journal = serve()

    with Publisher(Broker(port=listener.port)) as publisher:
        publisher.publish("a/b", b"1")
        publisher.idle(0.2)
        acked = publisher.so_far.acked
        publisher.publish("a/b", b"2")
        publisher.drain()

    assert acked == 1
    assert publisher.so_far == (2, 2, 0, 0)
    assert journal.messages == [("a/b", b"1"), ("a/b", b"2")]


@pytest.mark.skipif(shutil.which("mosquitto") is None, reason="mosquitto is not on the PATH")
@BOTH
def test_mosquitto_passes_every_message_on(version, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    conf = tmp_path / "mosquitto.conf"
    conf.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n")
    process = subprocess.Popen(["mosquitto", "-c", str(conf)], stderr=subprocess.DEVNULL)
    got, ready = [], threading.Event()
    subscriber = paho.Client(paho.CallbackAPIVersion.VERSION2)
    subscriber.on_subscribe = lambda *_: ready.set()
    subscriber.on_message = lambda _c, _u, message: got.append((message.topic, message.payload))
    try:
        deadline = time.monotonic() + 10
        while subscriber_fails(subscriber, port) and time.monotonic() < deadline:
            time.sleep(0.05)
        subscriber.subscribe("tanyuan/#", qos=1)
        subscriber.loop_start()
        assert ready.wait(10)

        done = publish_all(Broker(port=port, version=version), MESSAGES[:1000])

        while len(got) < 1000 and time.monotonic() < deadline + 20:
            time.sleep(0.02)
    finally:
        subscriber.disconnect()
        subscriber.loop_stop()
        process.terminate()
        process.wait(10)
    assert done == (1000, 1000, 0, 0)
    # one topic per gateway keeps its order; a broker owes no order between topics
    assert sorted(got) == sorted(MESSAGES[:1000])


def subscriber_fails(subscriber, port):
    try:
        subscriber.connect("127.0.0.1", port)
    except OSError:
        return True
    return False
