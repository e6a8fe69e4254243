"""Frames of both MQTT versions, with the mqtt5 codec as the reference for version 5."""

from __future__ import annotations

import random
import sys

import mqtt5
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.mqtt_fields import remaining_length
from ingest.mqtt_frames import FrameReader, read_packet
from ingest.mqtt_packets import (
    BadPacket,
    Connect,
    Disconnect,
    Fault,
    Ping,
    Reason,
    Subscribe,
    Unsubscribe,
)

LIMIT = 1 << 20
CONNECT_5 = mqtt5.ConnectPacket("gw", keep_alive=60).write()
CONNECT_311 = bytes.fromhex("10 0e 0004 4d515454 04 02 003c 0002 6777")


def publish311(topic, payload, packet_id=None, *, first=0x30):
    """A PUBLISH by the letter of the standard, 3.3."""
    body = len(topic).to_bytes(2, "big") + topic
    if packet_id is not None:
        first |= 0x02
        body += packet_id.to_bytes(2, "big")
    body += payload
    return bytes([first]) + remaining_length(len(body)) + body


def publish5(topic, payload, packet_id=None, **properties):
    qos = mqtt5.QoS.AT_MOST_ONCE if packet_id is None else mqtt5.QoS.AT_LEAST_ONCE
    return mqtt5.PublishPacket(topic, payload, qos=qos, packet_id=packet_id, **properties).write()


def reader(version=5, *, limit=LIMIT):
    frames = FrameReader(max_packet_bytes=limit, door="listener")
    frames.feed(CONNECT_5 if version == 5 else CONNECT_311)
    assert isinstance(frames.take(0, "", [], []), Connect)
    return frames


def take_all(frames, data):
    """Feed bytes and take everything they complete."""
    messages, acks, packets = [], [], []
    frames.feed(data)
    while (packet := frames.take(7, "gw", messages, acks)) is not None:
        packets.append(packet)
        if isinstance(packet, Fault):
            break
    return messages, acks, packets


def fault_of(data, *, version=5, limit=LIMIT):
    (fault,) = take_all(reader(version, limit=limit), data)[2]
    assert isinstance(fault, Fault)
    return fault.reason


topics = st.text(st.characters(codec="utf-8", exclude_characters="\0#+$"), min_size=1, max_size=40)


@given(topics, st.binary(max_size=400), st.integers(1, 65535), st.booleans(), st.booleans())
def test_a_publish_of_version_5_is_read_as_the_codec_reads_it(topic, payload, pid, properties, q1):
    options = {"content_type": "json", "user_properties": [("a", "b")]} if properties else {}
    packet = publish5(topic, payload, pid if q1 else None, **options)
    reference = read_packet(packet)
    messages, acks, packets = take_all(reader(), packet)
    assert packets == []
    assert messages == [(7, reference.topic, reference.payload, "listener", "gw")]
    assert acks == ([mqtt5.PubAckPacket(pid).write()] if q1 else [])


@given(topics, st.binary(max_size=400), st.integers(1, 65535))
def test_a_publish_of_311_is_read_back(topic, payload, packet_id):
    packet = publish311(topic.encode(), payload, packet_id)
    messages, acks, _ = take_all(reader(4), packet)
    assert messages == [(7, topic, payload, "listener", "gw")]
    assert acks == [b"\x40\x02" + packet_id.to_bytes(2, "big")]


@pytest.mark.parametrize("version", [4, 5])
def test_packets_may_be_split_at_every_byte(version):
    make = publish311 if version == 4 else publish5
    name = (lambda text: text.encode()) if version == 4 else (lambda text: text)
    stream = (
        (CONNECT_311 if version == 4 else CONNECT_5)
        + make(name("a/b"), b"x" * 200, 1)
        + b"\xc0\x00"
        + make(name("c"), b"", 2)
        + make(name("d"), b"y")
        + b"\xe0\x00"
    )
    for cut in range(len(stream) + 1):
        frames = FrameReader(max_packet_bytes=LIMIT, door="listener")
        first, second = take_all(frames, stream[:cut]), take_all(frames, stream[cut:])
        messages, acks, packets = (a + b for a, b in zip(first, second, strict=True))
        assert [m.topic for m in messages] == ["a/b", "c", "d"]
        assert acks == [b"\x40\x02\0\1", b"\x40\x02\0\2"]
        assert [type(packet) for packet in packets] == [Connect, Ping, Disconnect]
        assert not frames.partial


def test_packets_may_come_byte_by_byte():
    frames = FrameReader(max_packet_bytes=LIMIT, door="listener")
    stream = CONNECT_5 + publish5("a", b"x" * 3000, 1) * 3
    results = [take_all(frames, stream[n : n + 1]) for n in range(len(stream))]
    assert sum(len(messages) for messages, _, _ in results) == 3


@pytest.mark.parametrize("version", [4, 5])
def test_a_packet_above_the_limit_is_refused_by_its_header_alone(version):
    header = b"\x30" + remaining_length(100_000_000)
    assert fault_of(header, version=version) == Reason.PACKET_TOO_LARGE
    assert fault_of(header[:5], version=version) == Reason.PACKET_TOO_LARGE


def test_a_control_packet_is_not_allowed_to_be_as_long_as_a_message():
    assert fault_of(b"\x82" + remaining_length(200_000)) == Reason.PACKET_TOO_LARGE
    assert take_all(reader(), b"\x30" + remaining_length(200_000)) == ([], [], [])


def test_the_limit_counts_the_whole_packet():
    packet = publish5("a", b"x" * 95)
    # 1 + 1 byte of fixed header, 2 + 1 of topic, 1 of properties, 95 of payload
    assert len(packet) == 101
    assert len(take_all(reader(limit=101), packet)[0]) == 1
    assert fault_of(packet, limit=100) == Reason.PACKET_TOO_LARGE


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize(
    ("topic", "reason"),
    [
        (b"a/\xff\xfe", Reason.MALFORMED),
        (b"a/\xed\xa0\x80", Reason.MALFORMED),  # a surrogate
        (b"a\0b", Reason.MALFORMED),
        (b"a/#", Reason.TOPIC_NAME_INVALID),
        (b"+/b", Reason.TOPIC_NAME_INVALID),
    ],
)
def test_a_topic_that_cannot_be_one_ends_the_connection(version, topic, reason):
    rest = b"\0payload" if version == 5 else b"payload"
    assert fault_of(publish311(topic, rest, 1), version=version) == reason


@pytest.mark.parametrize(
    ("version", "data", "reason"),
    [
        (4, publish311(b"", b""), Reason.MALFORMED),
        (5, publish311(b"", b"\x03\x23\0\1x"), Reason.TOPIC_ALIAS_INVALID),
        (5, publish5("a", b"", topic_alias=3), Reason.TOPIC_ALIAS_INVALID),
        (5, publish5("a", b"", subscription_ids=[4]), Reason.PROTOCOL_ERROR),
        (5, publish311(b"a", b""), Reason.MALFORMED),  # no property length
        (5, publish311(b"a", b"\x7fx"), Reason.MALFORMED),  # properties beyond the packet
        (5, publish311(b"a", b"\x05\x26\0\1\xffx"), Reason.MALFORMED),
        (5, publish311(b"a", b"\x06\x03\0\x03\xff\xfe\xfdx"), Reason.MALFORMED),
        (4, publish311(b"a", b"", 0), Reason.PROTOCOL_ERROR),
        (4, b"\x34\x05\0\1a\0\1", Reason.QOS_NOT_SUPPORTED),
        (5, b"\x34\x06\0\1a\0\1\0", Reason.QOS_NOT_SUPPORTED),
        (4, b"\x36\x05\0\1a\0\1", Reason.MALFORMED),
        (4, b"\x30\x01\0", Reason.MALFORMED),
        (4, b"\x30\x04\0\x7fab", Reason.MALFORMED),
        (4, b"\x32\x04\0\1a\0", Reason.MALFORMED),
        (4, b"\x30\xff\xff\xff\xff\x01", Reason.MALFORMED),
        (5, b"\x30\x84\x00\0\1a\0", Reason.MALFORMED),  # a longer length than needed
        (4, CONNECT_311, Reason.PROTOCOL_ERROR),
        (5, CONNECT_5, Reason.PROTOCOL_ERROR),
        (5, CONNECT_311, Reason.PROTOCOL_ERROR),
        (4, b"\xc1\x00", Reason.PROTOCOL_ERROR),
        (5, b"\xc1\x00", Reason.MALFORMED),
        (4, b"\xc0\x01\0", Reason.MALFORMED),
        (4, b"\x00\x00", Reason.PROTOCOL_ERROR),
        (5, b"\x00\x00", Reason.PROTOCOL_ERROR),
        (4, b"\x20\x02\0\0", Reason.PROTOCOL_ERROR),
        (5, b"\x20\x03\0\0\0", Reason.PROTOCOL_ERROR),
        (5, b"\xf0\x00", Reason.PROTOCOL_ERROR),  # AUTH
        (4, b"\x62\x02\0\1", Reason.PROTOCOL_ERROR),  # PUBREL
        (5, b"\x62\x02\0\1", Reason.PROTOCOL_ERROR),
        (4, b"\x82\x02\0\1", Reason.PROTOCOL_ERROR),  # no filter
        (5, b"\x82\x03\0\1\0", Reason.PROTOCOL_ERROR),
        (4, b"\x82\x06\0\0\0\1a\0", Reason.PROTOCOL_ERROR),  # packet identifier 0
        (4, b"\x82\x06\0\1\0\1a\3", Reason.MALFORMED),  # QoS 3
        (4, b"\x80\x06\0\1\0\1a\0", Reason.PROTOCOL_ERROR),  # flags of the fixed header
    ],
)
def test_what_breaks_the_standard_ends_the_connection(version, data, reason):
    assert fault_of(data, version=version) == reason


def test_messages_before_a_fault_still_count():
    messages, acks, packets = take_all(reader(), publish5("a", b"1", 1) + b"\x36\x02\0\0")
    assert ([m.payload for m in messages], len(acks), len(packets)) == ([b"1"], 1, 1)


def test_nothing_is_taken_after_a_fault():
    frames = reader()
    take_all(frames, b"\x00\x00")
    assert take_all(frames, publish5("a", b"1", 1)) == ([], [], [])


def test_a_dollar_topic_is_dropped_and_answered():
    frames = reader(5)
    messages, acks, _ = take_all(frames, publish5("$SYS/x", b"", 5) + publish5("$x", b""))
    assert (messages, acks, frames.refused_topics) == ([], [b"\x40\x03\0\5\x87"], 2)
    frames = reader(4)
    messages, acks, _ = take_all(frames, publish311(b"$SYS/x", b"", 5))
    assert (messages, acks, frames.refused_topics) == ([], [b"\x40\x02\0\5"], 1)


def test_dup_and_retain_change_nothing():
    for first in (0x30, 0x31, 0x38, 0x39):
        messages, acks, _ = take_all(reader(4), publish311(b"a", b"x", 9, first=first))
        assert (len(messages), acks) == (1, [b"\x40\x02\0\x09"])


# -- CONNECT ------------------------------------------------------------------------------------


def first_packet(data):
    frames = FrameReader(max_packet_bytes=LIMIT, door="listener")
    frames.feed(data)
    return frames.take(0, "", [], [])


def test_a_connect_of_311_with_everything_is_read():
    # flags EEh: user, password, will retain, will QoS 1, will, clean session
    body = bytes.fromhex("0004 4d515454 04 ee 003c") + b"".join(
        len(field).to_bytes(2, "big") + field
        for field in (b"gw", b"will/topic", b"\xff\0", "用户".encode(), b"\x01\xff")
    )
    packet = first_packet(b"\x10" + bytes([len(body)]) + body)
    assert packet == Connect(4, "gw", "用户", b"\x01\xff", True, 60, will_qos=1)


def test_a_connect_of_5_with_everything_is_read():
    packet = mqtt5.ConnectPacket(
        "gw",
        username="u",
        password=b"\xff",
        clean_start=True,
        will=mqtt5.Will("t", payload=b"\xff", qos=mqtt5.QoS.EXACTLY_ONCE),
        keep_alive=9,
        session_expiry_interval=7,
        authentication_method="SCRAM",
        max_packet_size=100,
    )
    assert first_packet(packet.write()) == Connect(
        5, "gw", "u", b"\xff", True, 9, 2, 7, "SCRAM", 100
    )


@pytest.mark.parametrize(
    ("data", "reason", "answer"),
    [
        (b"\x10\x0e\0\6MQIsdp\x03\x02\0\x3c\0\0", Reason.UNSUPPORTED_VERSION, 4),
        (b"\x10\x0c\0\4MQTT\x03\x02\0\x3c\0\0", Reason.UNSUPPORTED_VERSION, 4),
        (b"\x10\x0d\0\4MQTT\x06\x02\0\x3c\0\0\0", Reason.UNSUPPORTED_VERSION, 5),
        (b"\x10\x0c\0\4AMQP\x04\x02\0\x3c\0\0", Reason.MALFORMED, 0),
        (b"\x10\x02\0\4", Reason.MALFORMED, 0),
        (b"\x10\x00", Reason.MALFORMED, 0),
        (b"GET / HTTP/1.1\r\n" + b" " * 100, Reason.PROTOCOL_ERROR, 0),
        (b"\x16\x03\x01" + bytes(40), Reason.PROTOCOL_ERROR, 0),  # a TLS greeting
        (publish311(b"a", b"b"), Reason.PROTOCOL_ERROR, 0),
        (b"\x11" + CONNECT_311[1:], Reason.PROTOCOL_ERROR, 0),
        (CONNECT_311[:9] + b"\x03" + CONNECT_311[10:], Reason.MALFORMED, 0),  # reserved flag
        (CONNECT_311[:9] + b"\x1a" + CONNECT_311[10:], Reason.MALFORMED, 0),  # QoS, no will
        (CONNECT_311[:9] + b"\x42" + CONNECT_311[10:], Reason.MALFORMED, 0),  # password alone
        (CONNECT_311[:9] + b"\x82" + CONNECT_311[10:], Reason.MALFORMED, 0),  # no user there
        (b"\x10\x0f" + CONNECT_311[2:] + b"x", Reason.MALFORMED, 0),  # a byte too many
        (CONNECT_311[:-1] + b"\xff", Reason.MALFORMED, 0),
        (CONNECT_311[:-1] + b"\0", Reason.MALFORMED, 0),
        (CONNECT_5[:-1] + b"\xff", Reason.MALFORMED, 0),
        (CONNECT_5[:-1] + b"\0", Reason.MALFORMED, 0),
    ],
)
def test_a_connect_that_cannot_be_taken_is_a_fault(data, reason, answer):
    fault = first_packet(data)
    assert isinstance(fault, Fault)
    assert (fault.reason, fault.answer_version) == (reason, answer)


def test_subscriptions_are_counted():
    body = b"\0\7" + b"\0\1a\1" + b"\0\3b/#\0"
    assert take_all(reader(4), b"\x82\x0c" + body)[2] == [Subscribe(7, 2)]
    packet = mqtt5.SubscribePacket(7, [mqtt5.TopicFilter("a"), mqtt5.TopicFilter("b/#")]).write()
    assert take_all(reader(5), packet)[2] == [Subscribe(7, 2)]
    assert take_all(reader(4), b"\xa2\x05\0\7\0\1a")[2] == [Unsubscribe(7, 1)]
    packet = mqtt5.UnsubscribePacket(7, ["a"]).write()
    assert take_all(reader(5), packet)[2] == [Unsubscribe(7, 1)]


@pytest.mark.parametrize(
    ("length", "encoded"),
    [  # MQTT 3.1.1, table 2.4
        (0, "00"),
        (127, "7f"),
        (128, "80 01"),
        (16_383, "ff 7f"),
        (16_384, "80 80 01"),
        (2_097_151, "ff ff 7f"),
        (2_097_152, "80 80 80 01"),
        (268_435_455, "ff ff ff 7f"),
    ],
)
def test_remaining_lengths_are_those_of_the_standard(length, encoded):
    assert remaining_length(length) == bytes.fromhex(encoded)


def test_a_stop_from_the_keyboard_passes_through_the_codec(monkeypatch):
    def interrupt(_packet):
        raise KeyboardInterrupt

    monkeypatch.setattr(mqtt5, "read", interrupt)
    with pytest.raises(KeyboardInterrupt):
        read_packet(b"\xc0\x00")


def test_the_codec_panic_is_a_bad_packet(monkeypatch, capfd):
    monkeypatch.setattr(sys, "unraisablehook", lambda _what: None)
    with pytest.raises(BadPacket, match="not UTF-8"):
        read_packet(CONNECT_5[:-1] + b"\xff")
    assert "panicked" in capfd.readouterr().err


# -- mutated packets ----------------------------------------------------------------------------


def mutated(chance, sample):
    """One packet with a few bytes changed, dropped, repeated, or its end cut off."""
    data = bytearray(chance.choice(sample))
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data)) if data else 0
        match chance.randrange(5):
            case 0 if data:
                data[at] = chance.randrange(256)
            case 1 if data:
                data[at] ^= 1 << chance.randrange(8)
            case 2:
                del data[at : at + chance.randint(1, 5)]
            case 3:
                data[at:at] = chance.randbytes(chance.randint(1, 5))
            case 4:
                del data[at:]
    return bytes(data)


def sample_packets(version):
    """One of every packet that a client may send, and some that it may not."""
    if version == 4:
        packets = [
            publish311(b"tanyuan/park/gw/readings", b'{"meter":"E27"}', 5),
            publish311(b"a", b""),
            b"\x82\x06\0\1\0\1a\0",
            b"\xa2\x05\0\7\0\1a",
        ]
    else:
        packets = [
            publish5("tanyuan/park/gw/readings", b'{"meter":"E27"}', 5),
            publish5("a", b"x", 6, content_type="json", user_properties=[("a", "b")]),
            mqtt5.SubscribePacket(7, [mqtt5.TopicFilter("a")], subscription_id=3).write(),
            mqtt5.UnsubscribePacket(7, ["a"]).write(),
            mqtt5.DisconnectPacket(reason_str="bye").write(),
        ]
    return [*packets, b"\xc0\x00", b"\xe0\x00", CONNECT_311, CONNECT_5]


@pytest.mark.parametrize("version", [4, 5])
def test_fifty_thousand_mutated_packets_never_surprise_the_reader(version, capfd):
    """Each gives messages, a packet, a fault, or a wait for more: never an exception."""
    chance = random.Random(version)
    sample = sample_packets(version)
    faults = messages_seen = waits = 0
    for number in range(50_000):
        if number % 3 == 0:
            frames = FrameReader(max_packet_bytes=4096, door="listener")
        else:
            frames = reader(version, limit=4096)
        data = mutated(chance, sample)
        cut = chance.randint(0, len(data))
        messages, acks, packets = take_all(frames, data[:cut])
        rest = take_all(frames, data[cut:])
        faults += sum(isinstance(p, Fault) for p in packets + rest[2])
        messages_seen += len(messages + rest[0])
        waits += frames.partial
        for message in messages + rest[0]:
            assert message.topic
            assert not set(message.topic) & set("\0#+")
        assert len(acks + rest[1]) <= len(messages + rest[0]) + frames.refused_topics
    assert min(faults, messages_seen, waits) > 500
    assert capfd.readouterr().err == ""  # where a panic of the codec would show
