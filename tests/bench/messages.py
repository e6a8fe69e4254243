"""Made-up meters of twelve registers, and what their gateways publish.

Every message has the same length, so that packets can be cut out of one long row of bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

from tests.ingest.raw_mqtt import publish_packet

SITE = "bench"
REGISTERS = (
    "active_import",
    "active_import_t1",
    "active_import_t2",
    "active_import_t3",
    "active_import_t4",
    "active_export",
    "active_export_t1",
    "active_export_t2",
    "active_export_t3",
    "active_export_t4",
    "active_power",
    "air_temperature",
)
_BEIJING = timezone(timedelta(hours=8))
_START = datetime(2024, 1, 1, tzinfo=_BEIJING)
_STEP = timedelta(minutes=15)
_TEMPLATE = (
    '{"meter":"E%05d","at":"%s","registers":{'
    + ",".join(f'"{name}":%d.%02d' for name in REGISTERS)
    + "}}"
)
PACKET_IDS = 60_000
"""Packet identifiers go from 1 to this and begin again; far more than may be under way."""


def site_yaml(meters: int) -> str:
    """A site with these meters, fifty to a building."""
    lines = [f"site: {{id: {SITE}, name: Bench, timezone: Asia/Shanghai, region: CN-BJ}}"]
    lines.append("factors: {provisional: true}")
    lines.append("buildings:")
    for number in range(meters):
        if number % 50 == 0:
            lines += [f"  - id: b{number // 50:03d}", "    area_m2: 10000", "    points:"]
        role = "main" if number % 50 == 0 else "sub"
        lines.append(
            f"      - {{id: p{number:05d}, carrier: electricity, role: {role}, "
            f"meter: {{serial: E{number:05d}, profile: native, capacity: 1000000, "
            f"max_power_kw: 500}}}}"
        )
    return "\n".join(lines) + "\n"


def topic(connection: int) -> str:
    """The topic of a gateway."""
    return f"tanyuan/{SITE}/gw{connection:02d}/readings"


def payloads(count: int, *, meters: int, connection: int, connections: int) -> Iterator[bytes]:
    """What one gateway publishes: round after round, a message of each of its meters.

    The registers of a meter advance by 0.25 kWh and more a round, never by more than its circuit
    can carry.
    """
    own = range(connection, meters, connections)
    at = ""
    for number in range(count):
        turn, place = divmod(number, len(own))
        if place == 0:
            at = (_START + turn * _STEP).isoformat()
        meter = own[place]
        base = 10_000_000 + meter * 997 + turn * 25
        values: list[int] = []
        for register in range(10):
            values += divmod(base + register * (1009 + turn), 100)
        values += divmod(10_000 + (meter * 31 + turn * 7) % 50_000, 100)
        values += divmod(1_000 + (turn * 13) % 2_000, 100)
        yield (_TEMPLATE % (meter, at, *values)).encode()


def packets(
    count: int, *, version: int, meters: int, connection: int, connections: int
) -> tuple[bytes, int]:
    """The same as PUBLISH packets of QoS 1, one after the other, and the length of each."""
    name = topic(connection)
    made = [
        publish_packet(version, name, payload, number % PACKET_IDS + 1)
        for number, payload in enumerate(
            payloads(count, meters=meters, connection=connection, connections=connections)
        )
    ]
    size = len(made[0])
    if any(len(packet) != size for packet in made):
        raise ValueError("Wanted packets of one length, found several.")
    return b"".join(made), size


def mixed(count: int, *, meters: int, connections: int) -> list[tuple[str, bytes]]:
    """Topics and payloads as they come in from all gateways together."""
    share = -(-count // connections)
    gateways = [
        payloads(share, meters=meters, connection=number, connections=connections)
        for number in range(connections)
    ]
    return [
        (topic(number), payload)
        for turn in zip(*gateways, strict=True)
        for number, payload in enumerate(turn)
    ][:count]
