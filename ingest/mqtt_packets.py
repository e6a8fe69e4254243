"""What a client can say to the listener, whichever MQTT version it says it in."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

MQTT_311 = 4
MQTT_5 = 5


class Reason(IntEnum):
    """Why the listener refuses something, by its MQTT 5 code.

    Source: MQTT Version 5.0, OASIS Standard 2019-03-07, 2.4.
    """

    MALFORMED = 0x81
    PROTOCOL_ERROR = 0x82
    UNSUPPORTED_VERSION = 0x84
    CLIENT_ID_NOT_VALID = 0x85
    BAD_USER_OR_PASSWORD = 0x86
    NOT_AUTHORISED = 0x87
    SERVER_BUSY = 0x89
    SHUTTING_DOWN = 0x8B
    BAD_AUTHENTICATION_METHOD = 0x8C
    KEEP_ALIVE_TIMEOUT = 0x8D
    TAKEN_OVER = 0x8E
    TOPIC_NAME_INVALID = 0x90
    TOPIC_ALIAS_INVALID = 0x94
    PACKET_TOO_LARGE = 0x95
    QUOTA_EXCEEDED = 0x97
    QOS_NOT_SUPPORTED = 0x9B


class BadPacket(Exception):
    """A packet that ends its connection."""

    def __init__(self, reason: Reason, text: str, *, answer_version: int = 0) -> None:
        super().__init__(text)
        self.fault = Fault(reason, text, answer_version)


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a connection ends.

    Attributes:
        reason: The MQTT 5 code.
        text: The same for a person.
        answer_version: Before CONNECT is understood: the MQTT version to refuse in; 0 for none.
    """

    reason: Reason
    text: str
    answer_version: int = 0


@dataclass(frozen=True, slots=True)
class Connect:
    """CONNECT. A will is accepted and ignored; only its QoS is looked at."""

    version: int
    client_id: str
    user: str | None
    password: bytes | None
    clean_start: bool
    keep_alive_s: int
    will_qos: int = 0
    session_expiry_s: int = 0
    authentication_method: str | None = None
    max_packet_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Subscribe:
    """SUBSCRIBE, which is always refused."""

    packet_id: int
    filters: int


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """UNSUBSCRIBE, of which there is never anything to do."""

    packet_id: int
    filters: int


@dataclass(frozen=True, slots=True)
class Ping:
    """PINGREQ."""


@dataclass(frozen=True, slots=True)
class Disconnect:
    """DISCONNECT from the client."""


Packet = Connect | Subscribe | Unsubscribe | Ping | Disconnect
