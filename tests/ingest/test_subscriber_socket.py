"""Plain messages are taken off the socket, everything else is left to paho, and nothing is torn."""

from __future__ import annotations

import socket

import pytest

from ingest.journal_records import Message
from ingest.subscriber_socket import PublishSocket
from tests.ingest.raw_mqtt import puback, publish_packet

CONNACK = b"\x20\x03\x00\x00\x00"
PINGRESP = b"\xd0\x00"
TOPIC = "tanyuan/park/gw/readings"
# 3.3.2.3: property length 7, then a user property 26h, "a" and "b", each behind its length
USER_PROPERTY = b"\x07\x26\x00\x01a\x00\x01b"


class Wire:
    """A broker's end of a connection and ours."""

    def __init__(self, version=5):
        self.broker, ours = socket.socketpair()
        self.broker.settimeout(5)
        ours.setblocking(False)
        self.ours = PublishSocket(ours, version=version, door="subscriber", client="it")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.broker.close()
        self.ours.close()

    def came(self, data):
        """Let the broker send; what is taken, the PUBACKs, and what paho then reads."""
        self.broker.sendall(data)
        while self.ours.read():
            pass
        messages, acks, left = [], b"", b""
        while True:
            taken, more = self.ours.take(7)
            messages += taken
            acks += more
            if not self.ours.is_for_paho:
                return messages, acks, left
            left += self.ours.recv(1 << 20)


def with_property(payload, packet_id):
    name = TOPIC.encode()
    body = len(name).to_bytes(2, "big") + name + packet_id.to_bytes(2, "big")
    body += USER_PROPERTY + payload
    return bytes([0x32, len(body)]) + body


@pytest.mark.parametrize("version", [4, 5])
def test_plain_messages_are_taken_with_their_acknowledgements(version):
    with Wire(version) as wire:
        packets = publish_packet(version, TOPIC, b"one", 258)
        packets += publish_packet(version, TOPIC, b"two")
        packets += publish_packet(version, "other", b"", 3, first=0x38)  # sent again
        messages, acks, left = wire.came(packets)
    assert messages == [
        Message(7, TOPIC, b"one", "subscriber", "it"),
        Message(7, TOPIC, b"two", "subscriber", "it"),
        Message(7, "other", b"", "subscriber", "it"),
    ]
    assert acks == b"\x40\x02\x01\x02" + b"\x40\x02\x00\x03"  # 258 is 0102h
    assert left == b""


def test_packets_may_come_in_any_pieces():
    long = bytes(range(256)) * 200
    stream = CONNACK + publish_packet(5, TOPIC, b"a", 1) + publish_packet(5, TOPIC, long, 2)
    stream += PINGRESP + publish_packet(5, TOPIC, b"b", 3)
    for size in (1, 2, 3, 7, 4096):
        with Wire() as wire:
            payloads, acks, left = [], b"", b""
            for at in range(0, len(stream), size):
                messages, more, rest = wire.came(stream[at : at + size])
                payloads += [message.payload for message in messages]
                acks += more
                left += rest
        assert payloads == [b"a", long, b"b"]
        assert acks == puback(1) + puback(2) + puback(3)
        assert left == CONNACK + PINGRESP


@pytest.mark.parametrize(
    "packet",
    [
        with_property(b"x", 2),
        publish_packet(5, TOPIC, b"x", 2, first=0x34),  # QoS 2
        publish_packet(5, "", b"x", 2),  # a topic alias
        b"\x32\x08\x00\x02\xff\xfe\x00\x02\x00x",  # a topic that is not UTF-8
        b"\x32\x04\x00\x09ab",  # a topic that reaches beyond its packet
        b"\x32\x06\x00\x02ab\x00\x02",  # no property length
        b"\x30\x01\x00",  # no topic at all
        b"\xe0\x00",
    ],
)
def test_what_is_not_plain_is_left_to_paho_in_its_place(packet):
    before, after = publish_packet(5, TOPIC, b"a", 1), publish_packet(5, TOPIC, b"b", 3)
    with Wire() as wire:
        wire.broker.sendall(before + packet + after)
        assert wire.ours.read()
        messages, acks = wire.ours.take(7)
        assert [message.payload for message in messages] == [b"a"]
        assert acks == puback(1)
        assert wire.ours.recv(1 << 20) == packet
        messages, acks = wire.ours.take(7)
        assert [message.payload for message in messages] == [b"b"]
        assert acks == puback(3)


def test_a_length_of_five_bytes_is_left_to_paho_whole():
    with Wire() as wire:
        messages, _, left = wire.came(b"\x30\x80\x80\x80\x80\x01abc")
    assert messages == []
    assert left == b"\x30\x80\x80\x80\x80\x01abc"


def test_the_end_of_the_connection_is_for_paho():
    with Wire() as wire:
        assert wire.came(publish_packet(5, TOPIC, b"a", 1))[1] == puback(1)
        with pytest.raises(BlockingIOError):
            wire.ours.recv(1)
        wire.broker.close()
        assert not wire.ours.read()
        assert wire.ours.is_for_paho
        assert wire.ours.recv(1) == b""


class Narrow:
    """A socket that sends a few bytes at a time, when it is let."""

    def __init__(self):
        self.room, self.sent = 0, b""

    def send(self, data):
        if not self.room:
            raise BlockingIOError
        part = bytes(data[: self.room])
        self.room -= len(part)
        self.sent += part
        return len(part)


def test_acknowledgements_and_packets_of_paho_do_not_tear_each_other():
    narrow = Narrow()
    ours = PublishSocket(narrow, version=5, door="subscriber", client="it")
    narrow.room = 1
    assert ours.send(b"\xc0\x00") == 1  # half of a PINGREQ is out
    narrow.room = 100
    ours.acknowledge(puback(1))
    assert narrow.sent == b"\xc0"
    assert ours.wants_write
    assert ours.send(b"\x00") == 1
    ours.flush()
    assert narrow.sent == b"\xc0\x00" + puback(1)

    narrow.room = 3
    ours.acknowledge(puback(2))
    with pytest.raises(BlockingIOError):
        ours.send(b"\xc0\x00")
    narrow.room = 100
    with pytest.raises(BlockingIOError):
        ours.send(b"\xc0\x00")
    ours.flush()
    assert not ours.wants_write
    assert ours.send(b"\xc0\x00") == 2
    assert narrow.sent == b"\xc0\x00" + puback(1) + puback(2) + b"\xc0\x00"
