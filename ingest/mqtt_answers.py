"""What the listener says to a client, in the client's MQTT version."""

from __future__ import annotations

import mqtt5

from ingest import mqtt311
from ingest.mqtt_packets import MQTT_5, Connect, Reason, Subscribe, Unsubscribe

PINGRESP = mqtt311.PINGRESP


def connack(
    connect: Connect,
    *,
    receive_maximum: int,
    max_packet_bytes: int,
    assigned_client_id: str | None,
    server_keep_alive_s: int | None,
) -> bytes:
    """Accept a connection and say what this end point can do.

    There is never a session from before: nothing is sent to clients, so nothing is kept for them.
    Wills and retained messages are taken and ignored, so they are not announced as missing.
    """
    if connect.version != MQTT_5:
        return mqtt311.connack()
    return mqtt5.ConnAckPacket(
        session_expiry_interval=0 if connect.session_expiry_s else None,
        assigned_client_id=assigned_client_id,
        server_keep_alive=server_keep_alive_s,
        receive_max=receive_maximum,
        topic_alias_max=0,
        max_qos=mqtt5.QoS.AT_LEAST_ONCE,
        max_packet_size=max_packet_bytes,
        wildcard_subscription_available=False,
        subscription_id_available=False,
        shared_subscription_available=False,
    ).write()


def refusal(version: int, reason: Reason) -> bytes:
    """Refuse a connection."""
    if version != MQTT_5:
        return mqtt311.connack(reason)
    return mqtt5.ConnAckPacket(reason_code=mqtt5.ConnAckReasonCode(reason)).write()


def farewell(version: int, reason: Reason) -> bytes:
    """Say why a connection is closed; MQTT 3.1.1 has no word for it."""
    if version != MQTT_5:
        return b""
    return mqtt5.DisconnectPacket(reason_code=mqtt5.DisconnectReasonCode(reason)).write()


def suback(version: int, packet: Subscribe) -> bytes:
    """Refuse every filter of a SUBSCRIBE."""
    if version != MQTT_5:
        return mqtt311.suback_refused(packet)
    codes = [mqtt5.SubAckReasonCode.NOT_AUTHORIZED] * packet.filters
    return mqtt5.SubAckPacket(packet.packet_id, codes).write()


def unsuback(version: int, packet: Unsubscribe) -> bytes:
    """Answer an UNSUBSCRIBE: there was no such subscription."""
    if version != MQTT_5:
        return mqtt311.unsuback(packet)
    codes = [mqtt5.UnsubAckReasonCode.NO_SUBSCRIPTION_EXISTED] * packet.filters
    return mqtt5.UnsubAckPacket(packet.packet_id, codes).write()
