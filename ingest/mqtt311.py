"""The few MQTT 3.1.1 packets the listener needs, besides PUBLISH (`mqtt_frames`).

Source: MQTT Version 3.1.1, OASIS Standard 2014-10-29, chapter 3.
"""

from __future__ import annotations

from ingest.mqtt_fields import Fields, remaining_length
from ingest.mqtt_packets import (
    MQTT_311,
    BadPacket,
    Connect,
    Disconnect,
    Packet,
    Ping,
    Reason,
    Subscribe,
    Unsubscribe,
)

PINGRESP = b"\xd0\x00"
ACCEPTED = 0
UNACCEPTABLE_VERSION = 1
IDENTIFIER_REJECTED = 2
SERVER_UNAVAILABLE = 3
BAD_USER_OR_PASSWORD = 4
NOT_AUTHORISED = 5

_RETURN_CODES = {
    Reason.UNSUPPORTED_VERSION: UNACCEPTABLE_VERSION,
    Reason.CLIENT_ID_NOT_VALID: IDENTIFIER_REJECTED,
    Reason.SERVER_BUSY: SERVER_UNAVAILABLE,
    Reason.QUOTA_EXCEEDED: SERVER_UNAVAILABLE,
    Reason.BAD_USER_OR_PASSWORD: BAD_USER_OR_PASSWORD,
    Reason.NOT_AUTHORISED: NOT_AUTHORISED,
}
_SUBACK_FAILURE = 0x80


def decode_connect(body: bytes) -> Connect:
    """Decode what follows the fixed header of a CONNECT of level 4.

    Raises:
        BadPacket: It breaks the standard.
    """
    fields = Fields(body)
    fields.binary()
    fields.number(1)
    flags = fields.number(1)
    will, will_qos = flags & 0x04, flags >> 3 & 0x03
    if flags & 0x01 or will_qos == 3 or (not will and flags & 0x38):
        raise BadPacket(Reason.MALFORMED, f"connect flags {flags:08b}b make no sense")
    if flags & 0x40 and not flags & 0x80:
        raise BadPacket(Reason.MALFORMED, "a password without a user name")
    keep_alive_s, client_id = fields.number(), fields.text()
    if will:
        fields.text()
        fields.binary()
    user = fields.text() if flags & 0x80 else None
    password = fields.binary() if flags & 0x40 else None
    fields.finish()
    return Connect(
        version=MQTT_311,
        client_id=client_id,
        user=user,
        password=password,
        clean_start=bool(flags & 0x02),
        keep_alive_s=keep_alive_s,
        will_qos=will_qos,
    )


def decode(first: int, body: bytes) -> Packet:
    """Decode any packet after CONNECT that a client may send, but PUBLISH.

    Args:
        first: First byte of the fixed header.
        body: What follows the fixed header.

    Raises:
        BadPacket: It breaks the standard.
    """
    fields = Fields(body)
    packet: Packet
    if first == 0x82:
        packet = Subscribe(_packet_id(fields), _count_filters(fields, options=True))
    elif first == 0xA2:
        packet = Unsubscribe(_packet_id(fields), _count_filters(fields, options=False))
    elif first == 0xC0:
        packet = Ping()
    elif first == 0xE0:
        packet = Disconnect()
    else:
        raise BadPacket(Reason.PROTOCOL_ERROR, f"a client may not send a packet {first:02X}h")
    fields.finish()
    return packet


def _packet_id(fields: Fields) -> int:
    packet_id = fields.number()
    if packet_id == 0:
        raise BadPacket(Reason.PROTOCOL_ERROR, "packet identifier 0")
    return packet_id


def _count_filters(fields: Fields, *, options: bool) -> int:
    count = 0
    while fields.left:
        if not fields.text():
            raise BadPacket(Reason.PROTOCOL_ERROR, "an empty topic filter")
        if options and fields.number(1) > 2:
            raise BadPacket(Reason.MALFORMED, "a subscription with a QoS above 2")
        count += 1
    if not count:
        raise BadPacket(Reason.PROTOCOL_ERROR, "no topic filter")
    return count


def connack(reason: Reason | None = None) -> bytes:
    """Return a CONNACK: accepted, or refused with the nearest return code there is."""
    code = ACCEPTED if reason is None else _RETURN_CODES.get(reason, SERVER_UNAVAILABLE)
    return bytes((0x20, 0x02, 0x00, code))


def suback_refused(packet: Subscribe) -> bytes:
    """Return a SUBACK that refuses every filter."""
    return _answer(0x90, packet.packet_id, bytes([_SUBACK_FAILURE]) * packet.filters)


def unsuback(packet: Unsubscribe) -> bytes:
    """Return an UNSUBACK."""
    return _answer(0xB0, packet.packet_id, b"")


def _answer(first: int, packet_id: int, rest: bytes) -> bytes:
    return bytes([first]) + remaining_length(2 + len(rest)) + packet_id.to_bytes(2, "big") + rest
