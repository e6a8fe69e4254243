"""Publishes messages to a broker or to our listener, QoS 1, as fast as acknowledgements come.

One thread does everything: it hands messages to paho in runs, writes them, reads acknowledgements,
and keeps no more under way than the receiver allows. After a lost connection it connects again and
paho sends what was not acknowledged once more; a message may then arrive twice, never not at all.
"""

from __future__ import annotations

import logging
import select
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Self

from paho.mqtt.client import Client, MQTTv5, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

log = logging.getLogger(__name__)

WINDOW: Final = 1000
"""So many messages may be under way unless the receiver allows fewer."""

_FRAME: Final = 16
"""What a packet needs beside topic and payload, at most. [bytes]"""

_RUN: Final = 64
_PROGRESS: Final = 2000
_CONNACK_S: Final = 10.0
_RETRY_S: Final = (0.05, 0.2, 0.5, 1.0, 2.0)


class BrokerRefused(ConnectionError):
    """The broker turns us away; trying again would not help."""


class BrokerLost(ConnectionError):
    """The broker was away for longer than we were asked to wait."""


@dataclass(frozen=True, slots=True)
class Broker:
    """Where messages go, and who we say we are."""

    host: str = "127.0.0.1"
    port: int = 1883
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    client_id: str = "tanyuan-publisher"
    version: int = 5
    """Of MQTT: 5 or 3 (3.1.1)."""


class MessageTooLong(ValueError):
    """The broker said it takes no message of that length; nothing was sent."""


class Published(NamedTuple):
    """How far it has come."""

    published: int
    """Handed over for sending."""
    acked: int
    """Acknowledged as accepted."""
    refused: int
    """Acknowledged as refused, such as by a full disk; they are not sent again."""
    reconnects: int


def publish_all(
    broker: Broker,
    messages: Iterable[tuple[str, bytes]],
    *,
    on_progress: Callable[[Published], None] | None = None,
    window: int = WINDOW,
    patience_s: float = 60.0,
) -> Published:
    """Publish topics and payloads in their order, and return when all are acknowledged.

    Args:
        broker: Where they go.
        messages: Taken one by one, as they are sent.
        on_progress: Told every few thousand messages, and at the end.
        window: So many may be under way, or fewer where the receiver says so.
        patience_s: How long the broker may be away before we give up.

    Raises:
        BrokerRefused: The broker turns us away, such as for a wrong password.
        BrokerLost: The broker was away for longer than `patience_s`.
    """
    with Publisher(broker, window=window, patience_s=patience_s) as publisher:
        for topic, payload in messages:
            publisher.publish(topic, payload)
            if on_progress is not None and publisher.published % _PROGRESS == 0:
                on_progress(publisher.so_far)
        publisher.drain()
        if on_progress is not None:
            on_progress(publisher.so_far)
        return publisher.so_far


class Publisher:
    """A connection that publishes, as a context manager; for one thread.

    Args:
        broker: Where messages go.
        window: So many may be under way, or fewer where the receiver says so.
        patience_s: How long the broker may be away before we give up.
    """

    def __init__(self, broker: Broker, *, window: int = WINDOW, patience_s: float = 60.0) -> None:
        self.published = 0
        self._acked = 0
        self._refused = 0
        self._connections = 0
        self._broker = broker
        self._window = self._wanted = window
        self._patience_s = patience_s
        self._connected = False
        self._turned_away: str | None = None
        self._longest: int | None = None
        self._last_good_s = 0.0
        self._attempts = 0
        self._run = 0
        self._client = self._new_client()

    def _new_client(self) -> Client:
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._broker.client_id,
            protocol=MQTTv5 if self._broker.version == 5 else MQTTv311,
        )
        if self._broker.username is not None:
            client.username_pw_set(self._broker.username, self._broker.password)
        # We keep the window; paho would walk through all of it at each acknowledgement.
        client.max_inflight_messages_set(0)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        # With this set paho leaves writing to us, so that a run of messages goes out together.
        client.on_socket_register_write = lambda *_: None
        return client

    def __enter__(self) -> Self:
        self._client.connect_async(self._broker.host, self._broker.port, keepalive=60)
        self._last_good_s = time.monotonic()
        self._connect()
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        deadline = time.monotonic() + 1.0
        while self._client.socket() is not None and time.monotonic() < deadline:
            # paho closes the socket once it has written DISCONNECT
            self._client.loop_write()
            if self._client.socket() is not None:
                self._wait(0.05)
        sock: Any = self._client.socket()
        if sock is not None:
            sock.close()

    @property
    def so_far(self) -> Published:
        """How far it has come."""
        return Published(self.published, self._acked, self._refused, max(self._connections - 1, 0))

    @property
    def _under_way(self) -> int:
        return self.published - self._acked - self._refused

    def publish(self, topic: str, payload: bytes) -> None:
        """Hand over one message; waits while too many are under way.

        Raises:
            MessageTooLong: The broker said it takes none of that length.
            BrokerRefused, BrokerLost: As `publish_all`.
        """
        while self._under_way >= self._window:
            self._turn(wait_s=1.0)
        if self._longest is not None and len(topic) + len(payload) + _FRAME > self._longest:
            raise MessageTooLong(
                f"Wanted at most {self._longest} bytes, as {self._where} takes, found a message of "
                f"{len(payload)} bytes for {topic[:100]!r}. Send it in several."
            )
        if not self._under_way:
            self._last_good_s = time.monotonic()
        self._client.publish(topic, payload, qos=1)
        self.published += 1
        self._run += 1
        if self._run >= _RUN:
            self._turn()

    def drain(self) -> None:
        """Wait until every message is acknowledged.

        Raises:
            BrokerRefused, BrokerLost: As `publish_all`.
        """
        while self._under_way:
            self._turn(wait_s=1.0)

    def idle(self, seconds: float) -> None:
        """Let time pass, and keep the connection alive meanwhile.

        Raises:
            BrokerRefused, BrokerLost: As `publish_all`.
        """
        until = time.monotonic() + seconds
        while (rest := until - time.monotonic()) > 0:
            self._turn(wait_s=min(rest, 1.0))

    def _turn(self, *, wait_s: float = 0.0) -> None:
        """Write what waits, read what came."""
        self._run = 0
        if not self._connected:
            self._connect()
        self._client.loop_write()
        if wait_s:
            self._wait(wait_s)
            self._check_patience()
        self._client.loop_read()
        self._client.loop_misc()

    def _wait(self, seconds: float) -> None:
        """Wait until the socket has something for us, or can take what waits."""
        sock: Any = self._client.socket()
        if sock is not None:
            writing = [sock] if self._client.want_write() else []
            select.select([sock], writing, [], seconds)

    def _connect(self) -> None:
        """Connect, again and again within our patience."""
        if not self._under_way:
            self._last_good_s = time.monotonic()
        while not self._connected:
            if self._attempts:
                time.sleep(_RETRY_S[min(self._attempts, len(_RETRY_S)) - 1])
            self._attempts += 1
            connected = self._attempt()
            if self._turned_away is not None:
                raise BrokerRefused(
                    f"Wanted to publish to {self._where}, found: {self._turned_away}. "
                    f"Check the user name and password."
                )
            if not connected:
                self._check_patience()
        if self._connections > 1:
            log.info("publisher: connected again to %s", self._where)

    def _check_patience(self) -> None:
        if self._connected and not self._under_way:
            return
        if time.monotonic() - self._last_good_s > self._patience_s:
            raise BrokerLost(
                f"Wanted {self._where} to acknowledge, found no answer for {self._patience_s:g} s; "
                f"{self._under_way} messages are not acknowledged. Start the broker, then publish "
                f"again: what comes twice is counted once."
            )

    def _attempt(self) -> bool:
        """Try to connect once, up to the answer of the broker."""
        self._turned_away = None
        try:
            self._client.reconnect()
        except OSError:
            return False
        deadline = time.monotonic() + _CONNACK_S
        while not self._connected and time.monotonic() < deadline:
            self._client.loop_write()
            self._wait(0.2)
            if self._client.loop_read() != MQTTErrorCode.MQTT_ERR_SUCCESS:
                return False
        return self._connected

    @property
    def _where(self) -> str:
        return f"{self._broker.host}:{self._broker.port}"

    def _on_connect(
        self, _c: object, _u: object, _f: object, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if reason.is_failure:
            self._turned_away = str(reason)
            return
        allowed = getattr(properties, "ReceiveMaximum", self._wanted)
        self._window = min(self._wanted, allowed)
        self._longest = getattr(properties, "MaximumPacketSize", None)
        self._connected = True
        self._connections += 1

    def _on_disconnect(self, *_: object) -> None:
        self._connected = False

    def _on_publish(
        self, _c: object, _u: object, _mid: int, reason: ReasonCode, _p: object
    ) -> None:
        if reason.is_failure:
            self._refused += 1
        else:
            self._acked += 1
