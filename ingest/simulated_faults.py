"""Faults to order for the made-up park."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias
from zoneinfo import ZoneInfo

from ingest.simulated_park import Park

_BEIJING: Final = ZoneInfo("Asia/Shanghai")


class UnknownFault(LookupError):
    """A fault names a gateway, meter or time that the park does not have."""


@dataclass(frozen=True, slots=True)
class Outage:
    """A gateway sends nothing; its meters count on."""

    gateway: str
    start: datetime
    end: datetime
    backfilled: bool
    """Whether it sends everything late, in one burst; else the readings are lost."""


@dataclass(frozen=True, slots=True)
class ClockError:
    """A gateway's clock jumps and runs on from there; the readings carry its wrong time."""

    gateway: str
    start: datetime
    end: datetime
    shows: datetime
    """What the clock shows at `start`."""


@dataclass(frozen=True, slots=True)
class MeterExchange:
    """A meter is exchanged, as the site file records it."""

    point: str


@dataclass(frozen=True, slots=True)
class Rollover:
    """A register passes its capacity in the quarter hour that begins at `at`."""

    serial: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Glitch:
    """One reading of a register is wrong, such as by a flipped bit."""

    serial: str
    register: str
    at: datetime
    value: float


@dataclass(frozen=True, slots=True)
class DeadMeter:
    """A meter is silent for good."""

    serial: str
    since: datetime
    """Its first reading that is missing."""


@dataclass(frozen=True, slots=True)
class Garbage:
    """A gateway sends what nobody can read, beside its good messages."""

    gateway: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Disorder:
    """The network sends messages twice and out of order."""

    duplicated: float = 0.015
    """Share of the messages that come a second time. [1]"""
    delayed: float = 0.01
    """Share of the messages that others overtake. [1]"""
    within: int = 60
    """By so many messages at most."""


Fault: TypeAlias = (
    Outage | ClockError | MeterExchange | Rollover | Glitch | DeadMeter | Garbage | Disorder
)


def _at(month: int, day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2023, month, day, hour, minute, tzinfo=_BEIJING)


DEMO_FAULTS: Final[tuple[Fault, ...]] = (
    Outage("SIM-gw-offices", _at(3, 7, 10), _at(3, 10, 10), backfilled=True),
    Outage("SIM-gw-hotel", _at(5, 16, 0, 30), _at(5, 18, 0, 30), backfilled=False),
    MeterExchange("SIM-b-main"),
    Glitch("SIM-E21", "active_import", _at(7, 19, 13, 15), 874_321.09),
    Rollover("SIM-E27", _at(8, 20, 14)),
    # 2^32 s after 1970, and 1970 itself: where clocks without a battery end up.
    ClockError("SIM-gw-dc", _at(9, 12, 2), _at(9, 12, 8), datetime(2106, 2, 7, 6, 28, tzinfo=UTC)),
    ClockError("SIM-gw-heat", _at(11, 20, 3), _at(11, 20, 9), datetime(1970, 1, 1, tzinfo=UTC)),
    Garbage("SIM-gw-park", _at(10, 11, 9)),
    DeadMeter("SIM-E34", _at(12, 3, 17, 15)),
    Disorder(),
)
"""One of each, for the demonstration."""


def garbage_messages(fault: Garbage, park: Park) -> list[tuple[str, bytes, str]]:
    """Topic, payload and the reason code it must be quarantined with."""
    site = park.site.id
    topic = f"tanyuan/{site}/{fault.gateway}/readings"
    serial = meters_of(park, fault.gateway)[0]
    when = (fault.at + timedelta(minutes=7)).isoformat()
    good = f'{{"meter":"{serial}","at":"{when}","registers":{{"active_import":%s}}}}'
    return [
        (topic, (good % "1")[:-9].encode(), "bad_json"),
        (topic, (good % "1").replace(serial, "SIM-X99").encode(), "unknown_meter"),
        (topic, (good % "NaN").encode(), "not_finite"),
        (
            topic,
            (good % "1").replace("active_import", "aktive_import").encode(),
            "unknown_register",
        ),
        (topic, (good % "1").replace("+08:00", "").encode(), "time_without_offset"),
        (topic, b"\xff\xfe\x00 no text", "invalid_utf8"),
        (topic.replace(site, "SIM-elsewhere"), (good % "1").encode(), "unknown_site"),
    ]


def meters_of(park: Park, gateway: str) -> list[str]:
    """The serials a gateway reads, in the order of the site file.

    Raises:
        UnknownFault: The park has no such gateway.
    """
    found = [m.serial for p in park.site.all_points() for m in p.meters if m.gateway == gateway]
    if not found:
        known = ", ".join(park.loads.spacing)
        raise UnknownFault(f"No gateway {gateway!r} in the made-up park; it has: {known}.")
    return found
