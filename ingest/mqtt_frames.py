"""Bytes of a connection -> packets, in both MQTT versions.

The one place that reads with the mqtt5 codec. The codec has no size limit, says "more" by
IndexError, "malformed" by ValueError, and panics (a BaseException) on a string that is not UTF-8.
So a packet is handed to it whole, after its type, its length and its strings were looked at, and
whatever it still raises means malformed. PUBLISH, which is nearly all there is, is decoded here:
faster, the same for both versions, and stricter about topics than the codec is.
"""

from __future__ import annotations

import mqtt5

from ingest import mqtt311
from ingest.journal_records import Message
from ingest.mqtt_fields import Fields, check_strings, decode_text
from ingest.mqtt_packets import (
    MQTT_5,
    MQTT_311,
    BadPacket,
    Connect,
    Disconnect,
    Fault,
    Packet,
    Ping,
    Reason,
    Subscribe,
    Unsubscribe,
)

_TOPICS_KEPT = 100_000
_MAX_CONTROL_BYTES = 128 << 10
_NO_DATA = b""
_PING = Ping()
_CLIENT_PACKETS = {1, 8, 10, 12, 14}


class FrameReader:
    """Takes the bytes of one connection as they come and gives out what they say.

    Args:
        max_packet_bytes: A longer packet ends the connection as soon as its length is known.
        topics: Topics seen before, by their bytes; shared by all connections.
        door: What the journal is told of where messages came in.
    """

    def __init__(
        self, *, max_packet_bytes: int, topics: dict[bytes, str] | None = None, door: str
    ) -> None:
        self.version = 0
        self.refused_topics = 0
        self._max = max_packet_bytes
        self._topics = {} if topics is None else topics
        self._door = door
        self._data, self._position = _NO_DATA, 0
        self._partial, self._need = bytearray(), 0
        self._dead = False

    @property
    def partial(self) -> bool:
        """Whether a packet has begun and is not complete."""
        return bool(self._need)

    def feed(self, data: bytes) -> None:
        """Take in bytes; `take` gives out what they complete."""
        if self._dead:
            return
        if self._need:
            self._partial += data
            if len(self._partial) < self._need:
                return
            data = bytes(self._partial)
            self._partial, self._need = bytearray(), 0
        elif self._position < len(self._data):
            data = self._data[self._position :] + data
        self._data, self._position = data, 0

    def take(
        self, received_at: int, client: str, messages: list[Message], acks: list[bytes]
    ) -> Packet | Fault | None:
        """Decode up to the next packet that is not a PUBLISH.

        Args:
            received_at: When the bytes came, in microseconds since 1970-01-01 UTC.
            client: Who sent them, for the journal.
            messages: PUBLISH packets are added here.
            acks: The PUBACKs for them, in order; to be sent once they are on disk.

        Returns:
            The packet, what is wrong with it, or None when more bytes are needed.
        """
        try:
            return self._take(received_at, client, messages, acks)
        except BadPacket as error:
            self._dead = True
            self._data, self._partial, self._need = _NO_DATA, bytearray(), 0
            return error.fault

    def _take(  # noqa: C901 - the hot loop: a call per check would halve its speed
        self, received_at: int, client: str, messages: list[Message], acks: list[bytes]
    ) -> Packet | None:
        data, position, end = self._data, self._position, len(self._data)
        version, topics, door, new = self.version, self._topics, self._door, tuple.__new__
        need = 0
        while position < end:
            if end - position < 2:
                need = 2
                break
            first, length, body = data[position], data[position + 1], position + 2
            if length > 0x7F:
                length, body = self._length(data, position, end)
                if not body:
                    need = end - position + 1
                    break
            stop = body + length
            if stop - position > self._max:
                raise BadPacket(
                    Reason.PACKET_TOO_LARGE,
                    f"a packet of {stop - position} bytes; {self._max} are allowed",
                )
            if stop > end:
                need = stop - position
                self._foresee(first, need)
                break
            if first & 0xF0 != 0x30 or not version:
                self._position = stop
                return self._control(first, data[position:stop], data[body:stop])
            qos = first & 0x06
            if qos > 0x02 or length < 2:
                raise _bad_publish(qos)
            topic_end = body + 2 + (data[body] << 8 | data[body + 1])
            payload_at = topic_end + qos
            if payload_at > stop:
                raise BadPacket(Reason.MALFORMED, "the topic reaches beyond its packet")
            name = data[body + 2 : topic_end]
            topic = topics.get(name) or self._topic(name)
            if version == MQTT_5:
                if payload_at == stop:
                    raise BadPacket(Reason.MALFORMED, "a PUBLISH without a property length")
                if data[payload_at]:
                    payload_at = stop - _payload_size(data[position:stop], payload_at - position)
                else:
                    payload_at += 1
            position = stop
            if name[0] == 0x24:
                self._refuse_topic(data[topic_end : topic_end + qos], acks)
                continue
            if qos:
                packet_id = data[topic_end : topic_end + 2]
                if packet_id == b"\0\0":
                    raise BadPacket(Reason.PROTOCOL_ERROR, "a PUBLISH with packet identifier 0")
                acks.append(b"\x40\x02" + packet_id)
            fields = (received_at, topic, data[payload_at:stop], door, client)
            messages.append(new(Message, fields))
        self._keep(position, need)
        return None

    def _keep(self, position: int, need: int) -> None:
        """Keep the beginning of a packet until the rest of it comes."""
        if need:
            self._partial, self._need = bytearray(self._data[position:]), need
        self._data, self._position = _NO_DATA, 0

    def _length(self, data: bytes, position: int, end: int) -> tuple[int, int]:
        """Read a remaining length of several bytes; (0, 0) when more of them are needed."""
        length, shift = 0, 0
        for at in range(position + 1, min(position + 5, end)):
            byte = data[at]
            length |= (byte & 0x7F) << shift
            if byte < 0x80:
                if self.version == MQTT_5 and not byte and shift:
                    raise BadPacket(Reason.MALFORMED, "a length with more bytes than it needs")
                return length, at + 1
            shift += 7
        if end - position >= 5:
            raise BadPacket(Reason.MALFORMED, "a length of more than four bytes")
        return 0, 0

    def _topic(self, name: bytes) -> str:
        """Check a topic that was not seen before, and remember it."""
        if not name:
            if self.version == MQTT_5:
                raise BadPacket(Reason.TOPIC_ALIAS_INVALID, "a topic alias; none were allowed")
            raise BadPacket(Reason.MALFORMED, "an empty topic")
        topic = decode_text(name)
        if "#" in topic or "+" in topic:
            raise BadPacket(Reason.TOPIC_NAME_INVALID, f"a wildcard in the topic {topic[:80]!r}")
        if len(self._topics) >= _TOPICS_KEPT:
            self._topics.clear()
        self._topics[name] = topic
        return topic

    def _refuse_topic(self, packet_id: bytes, acks: list[bytes]) -> None:
        """Drop a message on a $ topic: those belong to brokers."""
        self.refused_topics += 1
        if packet_id and self.version == MQTT_5:
            acks.append(b"\x40\x03" + packet_id + bytes([Reason.NOT_AUTHORISED]))
        elif packet_id:
            acks.append(b"\x40\x02" + packet_id)

    def _foresee(self, first: int, size: int) -> None:
        """Refuse a packet that is not complete, if nothing that follows can make it good."""
        if not self.version and first != 0x10:
            raise _not_a_connect(first)
        if first & 0xF0 != 0x30 and size > _MAX_CONTROL_BYTES:
            raise BadPacket(
                Reason.PACKET_TOO_LARGE,
                f"a packet {first:02X}h of {size} bytes; {_MAX_CONTROL_BYTES} are allowed",
            )

    def _control(self, first: int, packet: bytes, body: bytes) -> Packet:
        """Decode a packet that is not a PUBLISH."""
        if packet == b"\xc0\x00" and self.version:
            return _PING
        self._foresee(first, len(packet))
        if not self.version:
            connect = _decode_connect(packet, body)
            self.version = connect.version
            return connect
        if first >> 4 == 1:
            raise BadPacket(Reason.PROTOCOL_ERROR, "a second CONNECT")
        if self.version == MQTT_311:
            return mqtt311.decode(first, body)
        return _decode_mqtt5(first, packet, body)


def read_packet(packet: bytes) -> mqtt5.Packet:
    """Decode exactly one MQTT 5 packet with the codec.

    Raises:
        BadPacket: It is not one.
    """
    try:
        decoded, size = mqtt5.read(memoryview(packet))
    except (IndexError, ValueError) as error:
        raise BadPacket(Reason.MALFORMED, f"malformed packet: {error}") from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise BadPacket(Reason.MALFORMED, "malformed packet: a string is not UTF-8") from None
    if size != len(packet):
        raise BadPacket(Reason.MALFORMED, f"malformed packet: {len(packet) - size} bytes too many")
    return decoded


def _not_a_connect(first: int) -> BadPacket:
    return BadPacket(Reason.PROTOCOL_ERROR, f"the first packet is {first:02X}h, not a CONNECT")


def _bad_publish(qos: int) -> BadPacket:
    if qos == 0x04:
        return BadPacket(Reason.QOS_NOT_SUPPORTED, "QoS 2; at most QoS 1 is taken")
    return BadPacket(Reason.MALFORMED, "a PUBLISH with QoS 3 or without a topic")


def _decode_connect(packet: bytes, body: bytes) -> Connect:
    """Decode the first packet of a connection."""
    size = int.from_bytes(body[:2], "big")
    name, level = body[2 : 2 + size], body[2 + size : 3 + size]
    if name == b"MQTT" and level == bytes([MQTT_311]):
        return mqtt311.decode_connect(body)
    if name == b"MQTT" and level == bytes([MQTT_5]):
        check_strings(1, body)
        return _connect_of(read_packet(packet))
    if name in (b"MQTT", b"MQIsdp") and level:
        answer = MQTT_5 if level[0] > MQTT_5 else MQTT_311
        text = f"MQTT level {level[0]} as {name.decode()}; this end point speaks 3.1.1 and 5"
        raise BadPacket(Reason.UNSUPPORTED_VERSION, text, answer_version=answer)
    raise BadPacket(Reason.MALFORMED, f"a CONNECT of protocol {name[:20]!r}")


def _connect_of(packet: mqtt5.Packet) -> Connect:
    if not isinstance(packet, mqtt5.ConnectPacket):
        raise BadPacket(Reason.MALFORMED, "not a CONNECT")
    return Connect(
        version=MQTT_5,
        client_id=packet.client_id,
        user=packet.username,
        password=packet.password,
        clean_start=packet.clean_start,
        keep_alive_s=packet.keep_alive,
        will_qos=packet.will.qos if packet.will else 0,
        session_expiry_s=packet.session_expiry_interval,
        authentication_method=packet.authentication_method,
        max_packet_bytes=packet.max_packet_size,
    )


def _payload_size(packet: bytes, properties_at: int) -> int:
    """Check a PUBLISH with properties; return how long its payload is."""
    length = packet[properties_at : properties_at + 1]
    if not (length.isascii() and packet[properties_at : properties_at + length[0] + 1].isascii()):
        Fields(packet[properties_at:]).properties()
    publish = read_packet(packet)
    if not isinstance(publish, mqtt5.PublishPacket):
        raise BadPacket(Reason.MALFORMED, "not a PUBLISH")
    if publish.topic_alias is not None:
        raise BadPacket(Reason.TOPIC_ALIAS_INVALID, "a topic alias; none were allowed")
    if publish.subscription_ids:
        raise BadPacket(Reason.PROTOCOL_ERROR, "a subscription identifier from a client")
    return len(publish.payload)


def _decode_mqtt5(first: int, packet: bytes, body: bytes) -> Packet:
    """Decode any MQTT 5 packet after CONNECT that a client may send, but PUBLISH."""
    if first >> 4 not in _CLIENT_PACKETS:
        raise BadPacket(Reason.PROTOCOL_ERROR, f"a client may not send a packet {first:02X}h")
    check_strings(first >> 4, body)
    decoded = read_packet(packet)
    if isinstance(decoded, mqtt5.PingReqPacket):
        return Ping()
    if isinstance(decoded, mqtt5.DisconnectPacket):
        return Disconnect()
    if isinstance(decoded, mqtt5.SubscribePacket) and decoded.packet_id and decoded.topic_filters:
        return Subscribe(decoded.packet_id, len(decoded.topic_filters))
    if isinstance(decoded, mqtt5.UnsubscribePacket) and decoded.packet_id and decoded.patterns:
        return Unsubscribe(decoded.packet_id, len(decoded.patterns))
    name = type(decoded).__name__
    raise BadPacket(Reason.PROTOCOL_ERROR, f"a client may not send this {name}")
