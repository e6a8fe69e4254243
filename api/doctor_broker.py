"""Connects to an outside broker once, to see whether it takes us, and leaves no trace.

A broker that names sessions after users hands us the collector's own session, with all that
waits in it. So nothing is acknowledged, and no session is ended unless it is new, hence ours.
"""

from __future__ import annotations

import socket
import ssl
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from ingest.subscriber import Broker

CLIENT_ID = "tanyuan-doctor"
_EXPIRY_S = 7 * 86_400


@dataclass(slots=True)
class _Answer:
    """What the broker said to CONNECT."""

    came: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
    reason: ReasonCode | None = None
    is_new: bool = False

    def connected(
        self,
        _client: paho.Client,
        _data: object,
        flags: paho.ConnectFlags,
        reason: ReasonCode,
        _properties: object,
    ) -> None:
        self.reason, self.is_new = reason, not flags.session_present
        self.came.set()

    def disconnected(self, *_: object) -> None:
        self.ended.set()


def visit(
    broker: Broker, *, password: str | None, ca_file: Path | None, is_mqtt5: bool, timeout_s: float
) -> str:
    """Connect once and go again; return what went wrong, empty if nothing did."""
    answer = _Answer()
    client = paho.Client(
        CallbackAPIVersion.VERSION2,
        client_id=CLIENT_ID,
        clean_session=None if is_mqtt5 else False,
        protocol=paho.MQTTv5 if is_mqtt5 else paho.MQTTv311,
        reconnect_on_failure=False,
        manual_ack=True,
    )
    client.on_connect, client.on_disconnect = answer.connected, answer.disconnected
    client.connect_timeout = timeout_s
    if broker.user is not None:
        client.username_pw_set(broker.user, password)
    try:
        _reach(broker, ca_file, timeout_s)
        if broker.tls:
            client.tls_set(ca_certs=str(ca_file) if ca_file else None)
        client.connect(broker.host, broker.port, **_session(is_mqtt5))
    except (OSError, ValueError) as error:
        return f"{error}."
    client.loop_start()
    try:
        return _verdict(answer, timeout_s)
    finally:
        _leave(client, answer, is_mqtt5=is_mqtt5)


def _reach(broker: Broker, ca_file: Path | None, timeout_s: float) -> None:
    """Open a connection and close it; paho would leave one open that fails at its certificate.

    Raises:
        OSError: The broker is not there, or its certificate is not to be trusted.
    """
    with socket.create_connection((broker.host, broker.port), timeout_s) as plain:
        if broker.tls:
            context = ssl.create_default_context(cafile=ca_file)
            context.wrap_socket(plain, server_hostname=broker.host).close()


def _session(is_mqtt5: bool) -> dict[str, Any]:
    if not is_mqtt5:
        return {}
    properties: Any = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval, properties.ReceiveMaximum = _EXPIRY_S, 1
    return {"clean_start": False, "properties": properties}


def _verdict(answer: _Answer, timeout_s: float) -> str:
    if not answer.came.wait(timeout_s):
        return f"no answer to CONNECT within {timeout_s:.0f} s."
    if answer.reason is None or answer.reason.is_failure:
        return f"it refuses us: {answer.reason}."
    return ""


def _leave(client: paho.Client, answer: _Answer, *, is_mqtt5: bool) -> None:
    properties: Any = None
    if is_mqtt5 and answer.is_new:
        properties = Properties(PacketTypes.DISCONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = 0
    if client.is_connected():
        client.disconnect(properties=properties)
        answer.ended.wait(1.0)
    client.loop_stop()
