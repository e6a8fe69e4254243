"""The broker configuration that is shipped, in a real Mosquitto."""

from __future__ import annotations

import re
import shlex
import socket
import ssl
import subprocess
import threading
import time

import paho.mqtt.client as paho
import pytest

from api.doctor_broker import visit
from ingest.journal import Journal
from ingest.subscriber import Subscriber, parse_broker_url
from tests.deploy.brokers import DEPLOY, PASSWORDS, ShippedMosquitto, program, wait_until
from tests.ingest.raw_mqtt import MemoryJournal

OWN = "tanyuan/park/gw1/readings"


@pytest.fixture
def broker(tmp_path):
    it = ShippedMosquitto(tmp_path)
    it.start()
    yield it
    it.kill()


class Collecting:
    """Our collector for the length of a `with`."""

    def __init__(self, broker, **options):
        self.journal = MemoryJournal()
        self.subscriber = Subscriber(self.journal, broker.settings(**options))

    def __enter__(self):
        self.subscriber.start()
        wait_until(lambda: self.subscriber.connected)
        time.sleep(0.2)  # the subscription follows the connection
        return self

    def __exit__(self, *_):
        self.subscriber.stop()

    @property
    def payloads(self):
        return [message.payload for message in self.journal.messages]


def test_collector_reads_over_tls_what_gateways_write(broker):
    with Collecting(broker) as it, broker.client("gw1") as gateway:
        assert not gateway.publish(OWN, b"1").is_failure
        wait_until(lambda: it.payloads == [b"1"])
    assert it.subscriber.last_error is None


def test_gateway_writes_to_its_own_topic_only(broker):
    others = [
        "tanyuan/park/gw2/readings", "tanyuan/south/gw1/readings", "tanyuan/park/gw1/commands",
        "tanyuan/park/gw1/readings/more", "other",
    ]  # fmt: skip
    with Collecting(broker) as it:
        told = []
        for topic in others:
            with broker.client("gw1") as gateway:  # each ends with a refusal: 2.0.11 disconnects
                told.append(str(gateway.publish(topic, b"no")))
        with broker.client("gw1") as gateway:
            gateway.publish(OWN, b"yes")
        wait_until(lambda: it.payloads)

    assert told == ["Not authorized"] * len(others)
    assert it.payloads == [b"yes"]


def test_gateway_reads_nothing_not_even_its_own_topic(broker):
    with broker.client("gw1") as own, broker.client("gw2") as other:
        for client in (own, other):
            client.client.subscribe([("tanyuan/#", 1), (OWN, 1), ("$SYS/#", 0)])
            wait_until(lambda client=client: client.granted is not None)
        own.publish(OWN, b"1")
        time.sleep(0.5)

        assert own.got == other.got == []


@pytest.mark.parametrize(
    ("user", "password"), [(None, None), ("gw1", "wrong"), ("gw3", "one-secret"), ("gw1", "")]
)
def test_stranger_is_refused(broker, user, password):
    with broker.client(user, password) as stranger:
        assert stranger.reason.is_failure
        assert str(stranger.reason) in ("Not authorized", "Bad user name or password")


README = (DEPLOY / "README.md").read_text(encoding="utf-8")


def run_line(broker, start, **changes):
    """Run a line of the README against the broker, with words of it changed."""
    (line,) = re.findall(rf"^{start} .*$", README, re.MULTILINE)
    words = shlex.split(line)
    user = words[words.index("-u") + 1]
    here = {"h": "localhost", "p": str(broker.port), "P": PASSWORDS[user]}
    here["-cafile"] = str(broker.folder / "ca.crt")
    for option, value in (here | changes).items():
        words[words.index(f"-{option}") + 1] = value
    words[0] = program(words[0])
    return subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)


def published(broker, **changes):
    """What the line that tests a gateway says."""
    return run_line(broker, "mosquitto_pub -V 5", **changes)


def test_line_that_drops_the_session_of_up_leaves_nothing_of_it(broker):
    for is_dropped, wanted in ((False, [b"kept"]), (True, [])):
        with Collecting(broker):
            pass
        with broker.client("gw1") as gateway:
            gateway.publish(OWN, b"kept")
        if is_dropped:
            assert run_line(broker, "mosquitto_sub").returncode == 0
        with Collecting(broker) as it, broker.client("gw1") as gateway:
            gateway.publish(OWN, b"end")
            wait_until(lambda it=it: b"end" in it.payloads)
            assert it.payloads == [*wanted, b"end"]


def test_line_that_tests_a_gateway_passes_and_says_why_not(broker):
    assert published(broker).stderr == ""
    assert published(broker).returncode == 0
    assert "Not authorized" in published(broker, P="wrong").stderr
    assert "Not authorized" in published(broker, t="tanyuan/park/gw2/readings").stderr


def test_refused_gateway_leaves_the_trace_that_the_readme_names(broker):
    log = broker.folder / "log"

    def without_client_id():  # CONNECT of 3.1.1, keep alive 60, no name
        context = ssl.create_default_context(cafile=broker.folder / "ca.crt")
        with (
            socket.create_connection(("localhost", broker.port), 5) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as opened,
        ):
            opened.sendall(bytes.fromhex("100c00044d5154540402003c0000"))
            opened.recv(10)

    def without_trust():
        with (
            socket.create_connection(("localhost", broker.port), 5) as plain,
            pytest.raises(ssl.SSLCertVerificationError),
        ):
            ssl.create_default_context().wrap_socket(plain, server_hostname="localhost")

    rows = re.search(r"\| log \| means \|\n(.*?)\n\n", README, re.DOTALL)[1]
    for act, words in (
        (lambda: published(broker, P="wrong"), "Client <unknown> disconnected, not authorised."),
        (without_client_id, "Client <unknown> disconnected due to protocol error."),
        (
            lambda: published(broker, t="other", i="gw1"),
            "Bad socket read/write on client gw1: Unknown error.",
        ),
        (without_trust, "SSL routines::tlsv1 alert unknown ca"),
    ):
        assert words in rows or words.startswith("SSL ")
        before = len(log.read_text())
        act()
        wait_until(lambda words=words, before=before: words in log.read_text()[before:])


def test_connection_without_tls_or_to_an_unknown_certificate_fails(broker):
    plain = broker.client("gw1", tls=False)
    plain.client.connect("127.0.0.1", broker.port)
    plain.client.loop_start()
    time.sleep(1)
    assert plain.reason is None
    plain.client.loop_stop()
    system = ssl.create_default_context()
    with (
        socket.create_connection(("localhost", broker.port), 5) as opened,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        system.wrap_socket(opened, server_hostname="localhost")


def test_gateway_that_takes_the_name_of_the_collectors_session_gets_nothing_of_it(broker):
    with Collecting(broker):
        pass
    with broker.client("gw1") as gateway:
        gateway.publish(OWN, b"kept")
    with broker.client("gw2", client_id="tanyuan-collector", clean=False) as thief:
        time.sleep(0.5)
        assert thief.got == []


def test_long_message_ends_its_connection_and_is_not_acknowledged(broker):
    with broker.client("gw1", version=paho.MQTTv311) as gateway:
        gateway.client.publish(OWN, bytes(1_100_000), qos=1)
        wait_until(lambda: not gateway.client.is_connected())
        assert gateway.acks == {}


def test_more_than_a_thousand_messages_wait_for_a_collector_that_is_away(broker):
    with Collecting(broker):
        pass
    with broker.client("gw1") as gateway:
        sent = gateway.flood(OWN, [b"%d" % n for n in range(3000)])
    assert len(sent) == 3000

    with Collecting(broker) as it:
        wait_until(lambda: len(it.payloads) >= 3000)

    assert it.payloads == sent


def test_collectors_of_one_group_divide_the_messages(broker):
    first = Collecting(broker, client_id="c1", group="tanyuan")
    second = Collecting(broker, client_id="c2", group="tanyuan")
    with first, second, broker.client("gw1") as gateway:
        sent = gateway.flood(OWN, [b"%d" % n for n in range(400)])
        wait_until(lambda: len(first.payloads) + len(second.payloads) >= 400)

    assert sorted(first.payloads + second.payloads) == sorted(sent)
    assert first.payloads
    assert second.payloads


def test_killed_broker_loses_at_most_what_was_not_saved_yet(broker):
    # autosave_interval is 100 changes. A message counts once when it is queued, so at most about
    # 100 of the acknowledged messages are younger than the last save, and one loop's worth more.
    with Collecting(broker):
        pass
    with broker.client("gw1") as gateway:
        sent = gateway.flood(OWN, [b"%d" % n for n in range(2050)], window=20)
    broker.kill()
    broker.start()

    with Collecting(broker) as it:
        with broker.client("gw1") as gateway:
            gateway.publish(OWN, b"end")
        wait_until(lambda: b"end" in it.payloads)

    lost = set(sent) - set(it.payloads)
    assert len(lost) <= 130
    assert it.payloads[: len(sent) - len(lost)] == sent[: len(sent) - len(lost)]


def test_broker_that_is_killed_under_a_collector_costs_only_unsaved_messages(broker, tmp_path):
    with Journal(tmp_path / "journal", min_free_bytes=0) as journal:
        subscriber = Subscriber(journal, broker.settings())
        subscriber.start()
        try:
            wait_until(lambda: subscriber.connected)
            time.sleep(0.2)
            done = threading.Event()
            threading.Thread(target=lambda: (time.sleep(0.7), broker.kill(), done.set())).start()
            with broker.client("gw1") as gateway:
                sent = gateway.flood(OWN, (b"%d" % n for n in range(1_000_000)))
            done.wait(10)
            broker.start()
            wait_until(lambda: subscriber.connected)
            with broker.client("gw1") as gateway:
                gateway.publish(OWN, b"end")
            wait_until(lambda: any(r.payload == b"end" for r in records(journal)))
        finally:
            subscriber.stop()
        kept = {record.payload for record in records(journal)}

    assert len(sent) > 100
    assert len(set(sent) - kept) <= 1200  # under way to us: at most 1000, and what was not saved


def records(journal):
    found, after = [], 0
    while block := journal.read(after):
        found += block
        after = block[-1].sequence
    return found


@pytest.mark.parametrize("is_mqtt5", [True, False], ids=["5", "3.1.1"])
def test_doctors_visit_takes_nothing_from_the_collector(broker, is_mqtt5):
    with Collecting(broker):
        pass
    with broker.client("gw1") as gateway:
        gateway.publish(OWN, b"kept")
    url = parse_broker_url(f"mqtts://collector@localhost:{broker.port}")

    said = visit(
        url,
        password=PASSWORDS["collector"],
        ca_file=broker.folder / "ca.crt",
        is_mqtt5=is_mqtt5,
        timeout_s=5,
    )

    assert said == ""
    with Collecting(broker) as it:
        wait_until(lambda: it.payloads == [b"kept"])


def test_doctors_visit_takes_nothing_where_sessions_are_named_after_users(tmp_path):
    broker = ShippedMosquitto(tmp_path)
    broker.config.write_text(broker.config.read_text() + "use_username_as_clientid true\n")
    broker.start()
    try:
        with Collecting(broker):
            pass
        with broker.client("gw1") as gateway:
            gateway.publish(OWN, b"kept")
        said = visit(
            parse_broker_url(f"mqtts://collector@localhost:{broker.port}"),
            password=PASSWORDS["collector"],
            ca_file=broker.folder / "ca.crt",
            is_mqtt5=True,
            timeout_s=5,
        )
        assert said == ""
        with Collecting(broker) as it:
            wait_until(lambda: it.payloads == [b"kept"])
    finally:
        broker.kill()


@pytest.mark.parametrize(
    ("password", "trusted", "words"),
    [("wrong", True, "refuses us"), (PASSWORDS["collector"], False, "certificate")],
    ids=["password", "certificate"],
)
def test_doctor_says_why_a_broker_does_not_take_us(broker, password, trusted, words):
    said = visit(
        parse_broker_url(f"mqtts://collector@localhost:{broker.port}"),
        password=password,
        ca_file=broker.folder / "ca.crt" if trusted else None,
        is_mqtt5=True,
        timeout_s=5,
    )

    assert words in said
