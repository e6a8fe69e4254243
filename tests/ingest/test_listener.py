"""The MQTT end point, spoken to by foreign clients and by raw sockets."""

from __future__ import annotations

import logging
import random
import shutil
import socket
import subprocess
import threading
import time
import tracemalloc

import mqtt5
import paho.mqtt.client as paho
import pytest

from ingest import journal as journal_module
from ingest.journal import Journal
from ingest.listener import Listener, ListenerError, ListenerSettings
from ingest.mqtt_users import PasswordCheck, UsersFileInvalid, hash_password, load_users
from tests.ingest.raw_mqtt import (
    CONNACK_311,
    MemoryJournal,
    RawClient,
    connect_packet,
    puback,
    publish_packet,
)

DISCONNECT = mqtt5.DisconnectReasonCode
BOTH = pytest.mark.parametrize("version", [4, 5], ids=["3.1.1", "5"])


class Running:
    """A listener that runs for the length of a `with`."""

    def __init__(self, journal=None, **settings):
        self.journal = MemoryJournal() if journal is None else journal
        self.listener = Listener(self.journal, ListenerSettings(port=0, **settings))

    def __enter__(self):
        self.listener.start()
        return self

    def __exit__(self, *_):
        if isinstance(self.journal, MemoryJournal):
            self.journal.open.set()
        self.listener.stop()

    def client(self, **options):
        return RawClient(self.listener.port, **options)

    @property
    def counts(self):
        return self.listener.counts


@pytest.fixture
def running():
    with Running() as it:
        yield it


def send_all(client, pieces, *, pause_s=0.0):
    for piece in pieces:
        client.send(piece)
        time.sleep(pause_s)


def wait_until(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


# -- publishing ---------------------------------------------------------------------------------


@BOTH
def test_a_message_is_acknowledged_and_in_the_journal_byte_for_byte(tmp_path, version):
    payloads = [b"", b"\xff\x00\xfe", b'{"meter": "E27"}', bytes(range(256)) * 40]
    with (
        Journal(tmp_path, min_free_bytes=0) as journal,
        Running(journal) as it,
        it.client(version=version) as client,
    ):
        before_us = time.time_ns() // 1000
        for number, payload in enumerate(payloads, 1):
            client.publish("tanyuan/park/gw/readings", payload, number)
            assert client.packet() == puback(number)
        records = journal.read(0)
        after_us = time.time_ns() // 1000
    assert [r.payload for r in records] == payloads
    assert {(r.topic, r.door, r.client) for r in records} == {
        ("tanyuan/park/gw/readings", "listener", "gw")
    }
    assert all(before_us <= r.received_at <= after_us for r in records)


@BOTH
def test_qos_0_is_kept_and_not_answered(running, version):
    with running.client(version=version) as client:
        client.publish("a", b"1")
        client.publish("a", b"2", 9)
        assert client.packet() == puback(9)
        assert [m.payload for m in running.journal.messages] == [b"1", b"2"]


@BOTH
def test_dup_and_retained_messages_are_taken_as_they_come(running, version):
    with running.client(version=version) as client:
        for first in (0x30, 0x38, 0x31, 0x39):  # plain, DUP, RETAIN, both
            client.publish("a", b"x", 3, first=first)
            assert client.packet() == puback(3)
    assert len(running.journal.messages) == 4


@BOTH
def test_a_packet_that_comes_byte_by_byte_is_understood(running, version):
    with running.client(version=version, connect=False) as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream = connect_packet(version) + publish_packet(version, "a", b"x" * 130, 1)
        for at in range(len(stream)):
            client.send(stream[at : at + 1])
        assert client.packet()[0] == 0x20
        assert client.packet() == puback(1)


@BOTH
def test_acknowledgements_come_in_the_order_of_the_messages(running, version):
    with running.client(version=version) as client:
        order = list(range(1, 3001))
        random.Random(1).shuffle(order)
        client.send(b"".join(publish_packet(version, "a", b"%d" % n, n) for n in order))
        assert client.exactly(4 * 3000) == b"".join(puback(n) for n in order)
        assert [m.payload for m in running.journal.messages] == [b"%d" % n for n in order]


@BOTH
def test_nothing_is_acknowledged_before_the_sync_is_done(tmp_path, monkeypatch, version):
    entered, done = threading.Event(), threading.Event()
    real = journal_module.os.fdatasync

    def slow_sync(handle):
        entered.set()
        assert done.wait(30)
        real(handle)

    with (
        Journal(tmp_path, min_free_bytes=0) as journal,
        Running(journal) as it,
        it.client(version=version) as client,
    ):
        monkeypatch.setattr(journal_module.os, "fdatasync", slow_sync)
        client.publish("a", b"1", 1)
        assert entered.wait(10)
        client.publish("a", b"2", 2)
        assert client.is_silent()
        assert journal.last_sequence == 0
        client.send(b"\xc0\x00")
        assert client.packet() == b"\xd0\x00"  # the loop goes on meanwhile
        done.set()
        assert client.packet() == puback(1)
        assert client.packet() == puback(2)


@pytest.mark.parametrize("protocol", [paho.MQTTv311, paho.MQTTv5])
def test_paho_publishes_and_gets_every_acknowledgement(running, protocol):
    client = paho.Client(
        paho.CallbackAPIVersion.VERSION2, "paho-gw", protocol=protocol, reconnect_on_failure=False
    )
    client.will_set("will", b"gone", qos=1, retain=True)
    client.connect("127.0.0.1", running.listener.port)
    client.loop_start()
    sent = [client.publish("tanyuan/x", b"%d" % n, qos=1, retain=n % 2 == 0) for n in range(500)]
    for info in sent:
        info.wait_for_publish(20)
    client.disconnect()
    client.loop_stop()
    assert [m.payload for m in running.journal.messages] == [b"%d" % n for n in range(500)]
    assert running.counts.acked == 500


@pytest.mark.parametrize("version", ["311", "5"])
def test_mosquitto_pub_publishes(running, version):
    program = shutil.which("mosquitto_pub")
    if program is None:
        pytest.skip("mosquitto_pub is not on the PATH")
    command = [program, "-V", version, "-q", "1", "-h", "127.0.0.1", "-t", "tanyuan/x", "-l"]
    lines = "".join(f"line {n}\n" for n in range(300))
    subprocess.run(
        [*command, "-p", str(running.listener.port)], input=lines.encode(), check=True, timeout=30
    )
    assert [m.payload for m in running.journal.messages] == [b"line %d" % n for n in range(300)]


# -- connecting ---------------------------------------------------------------------------------


def test_connack_of_version_5_says_what_is_on_offer():
    with (
        Running(receive_maximum=77, max_packet_bytes=5000) as it,
        it.client(session_expiry_interval=100, keep_alive=30) as client,
    ):
        connack = mqtt5.read(memoryview(client.connack))[0]
    assert (connack.reason_code, connack.session_present) == (0, False)
    assert (connack.receive_max, connack.max_packet_size) == (77, 5000)
    assert (connack.max_qos, connack.topic_alias_max) == (1, 0)
    assert connack.retain_available
    assert not connack.wildcard_subscription_available
    assert not connack.shared_subscription_available
    assert not connack.subscription_id_available
    assert connack.session_expiry_interval == 0
    assert (connack.assigned_client_id, connack.server_keep_alive) == (None, None)


def test_a_client_without_id_gets_one_and_without_keep_alive_too(running):
    with running.client(client_id="") as one, running.client(client_id="") as other:
        names = [mqtt5.read(memoryview(c.connack))[0].assigned_client_id for c in (one, other)]
        assert len(set(names)) == 2
        assert mqtt5.read(memoryview(one.connack))[0].server_keep_alive == 3600
        one.publish("a", b"", 1)
        assert one.packet() == puback(1)
        assert running.journal.messages[0].client == names[0]


def test_connack_of_311_is_the_plain_one(running):
    with running.client(version=4) as client:
        assert client.connack == CONNACK_311
    with running.client(version=4, client_id="", clean=True) as client:
        assert client.connack == CONNACK_311
    with running.client(version=4, client_id="", clean=False) as client:
        assert client.connack == b"\x20\x02\x00\x02"  # identifier rejected
        assert client.closed()


@pytest.mark.parametrize(
    ("packet", "answer"),
    [
        (b"\x10\x0e\0\6MQIsdp\x03\x02\0\x3c\0\0", b"\x20\x02\x00\x01"),
        (b"\x10\x0c\0\4MQTT\x03\x02\0\x3c\0\0", b"\x20\x02\x00\x01"),
        (b"\x10\x0d\0\4MQTT\x06\x02\0\x3c\0\0\0", b"\x20\x03\x00\x84\x00"),
    ],
    ids=["3.1", "level 3", "level 6"],
)
def test_other_versions_are_refused_in_their_own_words(running, packet, answer):
    with running.client(connect=False) as client:
        client.send(packet)
        assert client.exactly(5) == answer
    assert running.counts.unsupported_version == 1


@pytest.mark.parametrize(
    "data",
    [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00" + bytes(50), b"\xc0\x00"],
    ids=["http", "tls", "ping first"],
)
def test_what_is_not_mqtt_is_closed_without_an_answer(running, data):
    with running.client(connect=False) as client:
        client.send(data)
        assert client.closed()
    assert running.counts.malformed == 1


def test_a_connection_without_connect_is_closed():
    with Running(connect_timeout_s=0.3) as it:
        with it.client(connect=False) as silent, it.client(connect=False) as drip:
            drip.send(connect_packet()[:5])
            assert silent.closed()
            assert drip.closed()
        assert it.counts.timeouts == 2


def test_the_default_time_for_a_connect_is_ten_seconds():
    assert ListenerSettings().connect_timeout_s == 10


def test_enhanced_authentication_and_a_qos_2_will_are_refused(running):
    with running.client(authentication_method="SCRAM") as client:
        assert mqtt5.read(memoryview(client.connack))[0].reason_code == 0x8C
        assert client.closed()
    will = mqtt5.Will("t", qos=mqtt5.QoS.EXACTLY_ONCE)
    with running.client(will=will) as client:
        assert mqtt5.read(memoryview(client.connack))[0].reason_code == 0x9B


def test_a_second_connect_is_a_protocol_error(running):
    with running.client() as client:
        client.send(connect_packet())
        assert client.decoded().reason_code == DISCONNECT.PROTOCOL_ERROR
        assert client.closed()
    with running.client(version=4) as client:
        client.send(connect_packet(4))
        assert client.closed()
    assert running.counts.malformed == 2


def test_the_newer_connection_of_a_client_id_takes_over(running):
    with (
        running.client(client_id="same") as old,
        running.client(client_id="same") as new,
        running.client(client_id="other") as other,
    ):
        assert old.decoded().reason_code == DISCONNECT.SESSION_TAKEN_OVER
        assert old.closed()
        for client in (new, other):
            client.publish("a", b"", 1)
            assert client.packet() == puback(1)
        with running.client(client_id="same", version=4):
            assert new.decoded().reason_code == DISCONNECT.SESSION_TAKEN_OVER
    assert running.counts.take_overs == 2


def test_a_311_connection_that_is_taken_over_is_closed(running):
    with running.client(client_id="same", version=4) as old, running.client(client_id="same"):
        assert old.closed()


def test_too_many_connections_are_turned_away():
    with Running(max_connections=2) as it:
        with it.client(client_id="1") as one, it.client(client_id="2"):
            with it.client(connect=False) as third:
                assert third.closed()
            one.publish("a", b"", 1)
            assert one.packet() == puback(1)
        wait_until(lambda: it.counts.open_now == 0)
        with it.client(client_id="3") as again:
            assert again.connack
        assert it.counts.refused_connections == 1


def test_a_port_that_is_taken_is_named(running):
    second = Listener(MemoryJournal(), ListenerSettings(port=running.listener.port))
    with pytest.raises(ListenerError, match=f"127.0.0.1:{running.listener.port}.*another port"):
        second.start()


# -- passwords ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def users():
    return {"gateway": hash_password(b"right"), "表计": hash_password("密码".encode())}


@pytest.mark.parametrize(
    ("user", "password", "code_5", "code_311"),
    [
        ("gateway", b"right", 0, 0),
        ("表计", "密码".encode(), 0, 0),
        ("gateway", b"wrong", 0x86, 4),
        ("gateway", b"", 0x86, 4),
        ("nobody", b"right", 0x86, 4),
        ("gateway", None, 0x87, 5),
        (None, None, 0x87, 5),
    ],
)
def test_users_and_passwords(users, user, password, code_5, code_311):
    with Running(users=users) as it:
        with it.client(version=5, user=user, password=password) as client:
            assert client.connack[3] == code_5
            assert client.closed() if code_5 else client.is_silent()
        with it.client(version=4, user=user, password=password) as client:
            assert client.connack == bytes((0x20, 2, 0, code_311))
            assert client.closed() if code_311 else client.is_silent()
        assert it.counts.refused_auth == (2 if code_5 else 0)


@BOTH
def test_messages_behind_a_connect_wait_for_the_password(users, version):
    for password, kept in ((b"right", 1), (b"wrong", 0)):
        with Running(users=users) as it, it.client(version=version, connect=False) as client:
            client.send(
                connect_packet(version, user="gateway", password=password)
                + publish_packet(version, "a", b"x", 1)
            )
            client.packet()
            assert client.packet() == (puback(1) if kept else b"")
            assert [m.client for m in it.journal.messages] == ["gateway/gw"] * kept


def test_one_user_cannot_push_another_one_out(users):
    with (
        Running(users=users) as it,
        it.client(user="gateway", password=b"right", client_id="x") as one,
        it.client(user="表计", password="密码".encode(), client_id="x") as two,
    ):
        for client in (one, two):
            client.publish("a", b"", 1)
            assert client.packet() == puback(1)


def test_no_password_is_logged(users, caplog):
    caplog.set_level(logging.DEBUG)
    with (
        Running(users=users) as it,
        it.client(user="gateway", password=b"hunter2-secret") as client,
    ):
        assert client.connack[3] == 0x86
    assert "wrong user name or password" in caplog.text
    assert "hunter2" not in caplog.text


def test_hashes_are_salted_and_a_users_file_is_read(tmp_path):
    assert hash_password(b"x") != hash_password(b"x")
    path = tmp_path / "users"
    path.write_text(f"# gateways\n\ngw:1:{hash_password(b'a')}\ngw2:{hash_password(b'b')}\n")
    check = PasswordCheck(load_users(path))
    assert check.is_right("gw:1", b"a")
    assert check.is_right("gw:1", b"a")  # the second time from memory
    assert check.is_right("gw2", b"b")
    assert not check.is_right("gw2", b"a")
    assert not check.is_right("gw", b"a")


@pytest.mark.parametrize("line", ["gw", "gw:plain", ":scrypt$1", "gw:scrypt$a$8$1$AA==$AA=="])
def test_a_bad_line_in_a_users_file_is_named(tmp_path, line):
    path = tmp_path / "users"
    path.write_text(f"ok:{hash_password(b'a')}\n{line}\n")
    with pytest.raises(UsersFileInvalid, match="line 2"):
        load_users(path)


def test_a_name_that_comes_twice_in_a_users_file_is_named(tmp_path):
    path = tmp_path / "users"
    path.write_text(f"a:{hash_password(b'a')}\n" * 2)
    with pytest.raises(UsersFileInvalid, match="line 2: a is there twice"):
        load_users(path)


# -- what is not on offer -----------------------------------------------------------------------


def test_subscribing_is_not_authorised(running):
    with running.client() as client:
        filters = [mqtt5.TopicFilter("a"), mqtt5.TopicFilter("$share/g/b/#")]
        client.send(mqtt5.SubscribePacket(7, filters).write())
        suback = client.decoded()
        assert (suback.packet_id, suback.reason_codes) == (7, [0x87, 0x87])
        client.send(mqtt5.UnsubscribePacket(8, ["a"]).write())
        unsuback = client.decoded()
        assert (unsuback.packet_id, unsuback.reason_codes) == (8, [0x11])
    with running.client(version=4) as client:
        client.send(b"\x82\x0b\0\7\0\1a\1\0\2b#\0")
        assert client.packet() == b"\x90\x04\0\7\x80\x80"
        client.send(b"\xa2\x05\0\x08\0\1a")
        assert client.packet() == b"\xb0\x02\0\x08"
    assert running.counts.refused_subscriptions == 2


def test_qos_2_is_answered_in_5_and_closed_in_311(running):
    with running.client() as client:
        client.send(b"\x34\x06\0\1a\0\3\0")
        assert client.decoded().reason_code == DISCONNECT.QOS_NOT_SUPPORTED
        assert client.closed()
    with running.client(version=4) as client:
        client.send(b"\x34\x05\0\1a\0\3")
        assert client.closed()
    assert running.counts.qos2 == 2


@BOTH
def test_malformed_packets_end_only_their_own_connection(running, version):
    with running.client(version=version, client_id="good") as good:
        with running.client(version=version, client_id="bad") as bad:
            bad.send(publish_packet(version, "a/#", b"", 1))
            if version == 5:
                assert bad.decoded().reason_code == DISCONNECT.TOPIC_NAME_INVALID
            assert bad.closed()
        with running.client(version=version, client_id="bad") as bad:
            bad.send(b"\x36\x02\0\0")
            if version == 5:
                assert bad.decoded().reason_code == DISCONNECT.MALFORMED_PACKET
            assert bad.closed()
        good.publish("a", b"", 1)
        assert good.packet() == puback(1)
    assert running.counts.malformed == 2


def test_a_dollar_topic_is_refused_and_counted(running):
    with running.client() as client:
        client.publish("$SYS/broker", b"", 1)
        assert client.decoded().reason_code == mqtt5.PubAckReasonCode.NOT_AUTHORIZED
    with running.client(version=4) as client:
        client.publish("$SYS/broker", b"", 1)
        client.publish("a", b"", 2)
        assert client.exactly(8) == puback(1) + puback(2)
    assert [m.topic for m in running.journal.messages] == ["a"]
    assert running.counts.refused_topics == 2


@BOTH
def test_a_hundred_megabytes_are_refused_without_taking_them_in(version):
    with Running() as it, it.client(version=version) as client:
        tracemalloc.start()
        try:
            client.send(b"\x30\x80\xc2\xd7\x2f")  # 100,000,000
            with pytest.raises(OSError, match=r"reset|pipe|abort"):
                send_all(client, [bytes(1_000_000)] * 100)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert it.counts.oversize == 1
        assert it.counts.bytes < 2_000_000
    assert peak < 8_000_000


def test_a_packet_that_is_too_large_is_answered_in_5(running):
    with running.client() as client:
        client.send(b"\x30\x80\xc2\xd7\x2f")
        assert client.decoded().reason_code == DISCONNECT.PACKET_TOO_LARGE
        assert client.closed()


# -- time ---------------------------------------------------------------------------------------


@BOTH
def test_ping_is_answered(running, version):
    with running.client(version=version) as client:
        client.send(b"\xc0\x00" * 3)
        assert client.exactly(6) == b"\xd0\x00" * 3


@BOTH
def test_a_silent_client_is_closed_after_one_and_a_half_keep_alives(running, version):
    with (
        running.client(version=version, keep_alive=1, client_id="silent") as silent,
        running.client(version=version, keep_alive=1, client_id="alive") as alive,
    ):
        began = time.monotonic()
        for _ in range(4):
            alive.send(b"\xc0\x00")
            assert alive.packet() == b"\xd0\x00"
            time.sleep(0.3)
        if version == 5:
            assert silent.decoded().reason_code == DISCONNECT.KEEP_ALIVE_TIMEOUT
        assert silent.closed()
        assert 1.4 < time.monotonic() - began < 4
        alive.send(b"\xc0\x00")
        assert alive.packet() == b"\xd0\x00"
    assert running.counts.timeouts == 1


def test_a_client_that_drips_a_packet_is_closed():
    with Running(packet_timeout_s=0.5) as it, it.client(version=4) as client:
        packet = publish_packet(4, "a", b"x" * 100, 1)
        began = time.monotonic()
        with pytest.raises(OSError, match=r"reset|pipe|abort"):
            send_all(client, [bytes([byte]) for byte in packet], pause_s=0.05)
        assert time.monotonic() - began < 4
        assert it.counts.timeouts == 1
        assert it.journal.messages == []


def test_many_drips_do_not_slow_the_others_down(running):
    drips = [running.client(connect=False) for _ in range(200)]
    for drip in drips:
        drip.send(b"\x10")
    with running.client() as client:
        for number in range(1, 50):
            client.publish("a", b"", number)
            assert client.packet() == puback(number)
    for drip in drips:
        drip.socket.close()


# -- back-pressure, a full disk, the end --------------------------------------------------------


@BOTH
def test_a_client_with_too_much_under_way_is_not_read(version):
    with Running(receive_maximum=20) as it, it.client(version=version) as client:
        it.journal.open.clear()
        total = 20_000
        stream = b"".join(publish_packet(version, "a", bytes(400), n) for n in range(1, total + 1))
        sender = threading.Thread(target=client.send, args=(stream,))
        sender.start()
        wait_until(it.journal.entered.is_set)
        time.sleep(0.3)
        taken = it.counts.messages
        assert 20 <= taken < total / 4  # a few reads of the socket, not all of it
        with it.client(version=version, client_id="other") as other:
            other.send(b"\xc0\x00")
            assert other.packet() == b"\xd0\x00"
        it.journal.open.set()
        assert client.exactly(4 * total) == b"".join(puback(n) for n in range(1, total + 1))
        sender.join()
        assert len(it.journal.messages) == total


def test_all_clients_wait_when_too_much_waits_to_be_written():
    with Running(max_pending_bytes=100_000, receive_maximum=60_000) as it:
        it.journal.open.clear()
        with it.client(client_id="a") as one, it.client(client_id="b") as two:
            stream = b"".join(publish_packet(5, "a", bytes(400), n) for n in range(1, 10_001))
            senders = [threading.Thread(target=c.send, args=(stream,)) for c in (one, two)]
            for sender in senders:
                sender.start()
            time.sleep(0.3)
            assert it.counts.bytes < 2_000_000
            it.journal.open.set()
            assert len(one.exactly(40_000)) == len(two.exactly(40_000)) == 40_000
            for sender in senders:
                sender.join()


@pytest.mark.slow
def test_a_client_that_never_reads_does_not_fill_the_memory(running):
    with running.client(version=4) as client:
        client.socket.settimeout(1)
        pings = b"\xc0\x00" * 500_000
        with pytest.raises(TimeoutError):
            send_all(client, [pings] * 100)
        taken = -1
        while taken != running.counts.bytes:
            taken = running.counts.bytes
            time.sleep(0.5)
        assert taken < 10_000_000  # what the sockets between them hold, and no more
        with running.client(version=4, client_id="other") as other:
            other.send(b"\xc0\x00")
            assert other.packet() == b"\xd0\x00"


def test_a_full_journal_acknowledges_nothing_and_goes_on_once_there_is_room(running):
    running.journal.full = True
    with running.client() as client:
        client.publish("a", b"1", 1)
        assert client.decoded().reason_code == DISCONNECT.QUOTA_EXCEEDED
        assert client.closed()
    with running.client(version=4) as client:
        client.publish("a", b"1", 1)
        assert client.closed()
    assert running.counts.journal_refusals == 2
    assert (running.counts.acked, running.journal.messages) == (0, [])
    running.journal.full = False
    with running.client() as client:
        client.publish("a", b"1", 1)
        assert client.packet() == puback(1)


def test_a_fault_of_the_journal_does_not_stop_the_listener(running):
    with running.client() as client:
        running.journal.messages = None  # append now raises TypeError
        client.publish("a", b"1", 1)
        assert client.decoded().reason_code == DISCONNECT.QUOTA_EXCEEDED
    running.journal.messages = []
    with running.client() as client:
        client.publish("a", b"1", 1)
        assert client.packet() == puback(1)


def test_stopping_writes_and_acknowledges_what_came_and_says_goodbye():
    with (
        Running(batch_ms=50) as it,
        it.client() as client,
        it.client(version=4, client_id="old") as old,
    ):
        client.publish("a", b"1", 1)
        wait_until(lambda: it.counts.messages == 1)
        it.listener.stop()
        assert client.packet() == puback(1)
        assert client.decoded().reason_code == DISCONNECT.SERVER_SHUTTING_DOWN
        assert client.closed()
        assert old.closed()
        assert len(it.journal.messages) == 1
        assert it.counts.open_now == 0
        it.listener.stop()  # a second time does nothing


def test_stopping_does_not_wait_for_ever_for_a_journal_that_hangs():
    with Running() as it, it.client() as client:
        it.journal.open.clear()
        client.publish("a", b"1", 1)
        wait_until(it.journal.entered.is_set)
        began = time.monotonic()
        it.listener.stop(0.5)
        assert time.monotonic() - began < 3
        assert client.decoded().reason_code == DISCONNECT.SERVER_SHUTTING_DOWN
        it.journal.open.set()


def test_a_client_that_leaves_before_its_acknowledgement_harms_no_one(running):
    running.journal.open.clear()
    with running.client(client_id="gone") as gone, running.client(client_id="stays") as stays:
        gone.publish("a", b"1", 1)
        stays.publish("a", b"2", 2)
        wait_until(lambda: running.counts.messages == 2)
        gone.send(b"\xe0\x00")
        assert gone.closed()
        running.journal.open.set()
        assert stays.packet() == puback(2)
    assert sorted(m.payload for m in running.journal.messages) == [b"1", b"2"]
