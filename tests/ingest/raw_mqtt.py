"""A client made of a socket, which can also say what no client should; and journals to order."""

from __future__ import annotations

import socket
import threading

import mqtt5

from ingest.journal import JournalFull
from ingest.mqtt_fields import remaining_length

CONNACK_311 = b"\x20\x02\x00\x00"


def connect_packet(version=5, client_id="gw", **options):
    """CONNECT; `user`, `password`, `clean`, `keep_alive` as in both versions."""
    if version == 5:
        renamed = {"user": "username", "clean": "clean_start"}
        options = {renamed.get(name, name): value for name, value in options.items()}
        return mqtt5.ConnectPacket(client_id, **options).write()
    user, password = options.get("user"), options.get("password")
    flags = 0x02 if options.get("clean", True) else 0
    fields = [client_id.encode()]
    if user is not None:
        flags |= 0x80
        fields.append(user.encode())
    if password is not None:
        flags |= 0x40
        fields.append(password)
    body = b"\0\4MQTT\4" + bytes([flags]) + options.get("keep_alive", 0).to_bytes(2, "big")
    body += b"".join(len(field).to_bytes(2, "big") + field for field in fields)
    return b"\x10" + remaining_length(len(body)) + body


def publish_packet(version, topic, payload, packet_id=None, *, first=0x30):
    """PUBLISH with QoS 0, or with QoS 1 when there is a packet identifier."""
    name = topic.encode()
    body = len(name).to_bytes(2, "big") + name
    if packet_id is not None:
        first |= 0x02
        body += packet_id.to_bytes(2, "big")
    body += (b"\0" if version == 5 else b"") + payload
    return bytes([first]) + remaining_length(len(body)) + body


def puback(packet_id):
    return b"\x40\x02" + packet_id.to_bytes(2, "big")


class RawClient:
    """A connection to the listener."""

    def __init__(self, port, *, version=5, connect=True, **options):
        self.version = version
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.connack = None
        if connect:
            self.send(connect_packet(version, **options))
            self.connack = self.packet()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def publish(self, topic, payload, packet_id=None, **options):
        self.send(publish_packet(self.version, topic, payload, packet_id, **options))

    def exactly(self, count):
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            if not more:
                break
            data += more
        return data

    def packet(self):
        """Read one packet; empty when the listener has closed."""
        head = self.exactly(2)
        if len(head) < 2:
            return head
        length, shift = head[1] & 0x7F, 7
        while head[-1] & 0x80:
            head += self.exactly(1)
            length |= (head[-1] & 0x7F) << shift
            shift += 7
        return head + self.exactly(length)

    def decoded(self):
        return mqtt5.read(memoryview(self.packet()))[0]

    def closed(self):
        """Say whether the listener closes, having said nothing more."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def is_silent(self, seconds=0.15):
        """Say whether nothing comes for a while."""
        self.socket.settimeout(seconds)
        try:
            return self.socket.recv(1, socket.MSG_PEEK) is None
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(20)


class MemoryJournal:
    """Takes messages when it is let, and refuses them when it is told to."""

    def __init__(self):
        self.messages = []
        self.open = threading.Event()
        self.open.set()
        self.entered = threading.Event()
        self.full = False

    def append(self, messages):
        self.entered.set()
        if not self.open.wait(30):
            raise TimeoutError("the test never opened the journal")
        if self.full and messages:
            raise JournalFull("the disk is full: make room")
        first = len(self.messages) + 1
        self.messages += messages
        return range(first, first + len(messages))
