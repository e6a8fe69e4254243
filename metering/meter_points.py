"""Meter points, the places that stay, and meters, the devices that serve them for a while."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from metering.periods import utc_text

_DAWN: Final = datetime.min.replace(tzinfo=UTC)
_DUSK: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Fixture:
    """A meter put in or taken out, and what its registers showed then."""

    at: datetime
    registers: Mapping[str, float] = field(default_factory=dict, hash=False)
    """In canonical units, before the multiplier."""


@dataclass(frozen=True, slots=True)
class Meter:
    """A device at a point for a while."""

    serial: str
    profile: str
    capacity: float | Mapping[str, float] | None = field(default=None, hash=False)
    """Where cumulative registers begin again, before the multiplier: for all, or by register."""
    multiplier: float = 1.0
    """CT ratio × VT ratio, for energy, power and volume registers. [1]"""
    max_power_kw: float | None = None
    max_flow_m3h: float | None = None
    installed: Fixture | None = None
    removed: Fixture | None = None
    gateway: str | None = None
    address: str | None = None
    accuracy_class: str | None = None
    note: str | None = None

    def capacity_of(self, register: str) -> float | None:
        """Where a cumulative register begins again, before the multiplier; None: not known."""
        if isinstance(self.capacity, Mapping):
            return self.capacity.get(register)
        return self.capacity

    @property
    def starts(self) -> datetime:
        """When its tenure begins; the earliest instant there is if nothing is recorded."""
        return self.installed.at if self.installed else _DAWN

    @property
    def ends(self) -> datetime:
        """When its tenure ends, not included; the last instant there is if nothing is recorded."""
        return self.removed.at if self.removed else _DUSK

    def definition(self) -> dict[str, object]:
        """What can move a figure of this meter, ready for JSON; unknown things are left out."""
        return _without_none(
            {
                "serial": self.serial,
                "profile": self.profile,
                "capacity": self.capacity,
                "multiplier": self.multiplier,
                "max_power_kw": self.max_power_kw,
                "max_flow_m3h": self.max_flow_m3h,
                "installed": _fixture_definition(self.installed),
                "removed": _fixture_definition(self.removed),
            }
        )


def _fixture_definition(fixture: Fixture | None) -> dict[str, object] | None:
    if fixture is None:
        return None
    return {"at": utc_text(fixture.at), "registers": dict(fixture.registers)}


def _without_none(content: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in content.items() if value is not None}


@dataclass(frozen=True, slots=True)
class MeterPoint:
    """A place that is metered; it stays while its meters come and go."""

    id: str
    carrier: str
    role: str
    meters: tuple[Meter, ...] = ()
    """Oldest first; their tenures do not overlap."""
    building: str | None = None
    upstream: str | None = None
    """The point that feeds this one; it may be one that the file does not describe."""
    item: str | None = None
    """Sub-item code of the electricity guideline, such as 01B00."""
    net_calorific_value_mj_m3: float | None = None
    reference: str | None = None
    """The condition a gas meter states its m³ at."""
    name: str | None = None
    _hash: str = field(default="", init=False, repr=False, compare=False)

    def meter_at(self, instant: datetime) -> Meter | None:
        """The meter that served the point then; None between two meters."""
        return next((m for m in self.meters if m.starts <= instant < m.ends), None)

    def definition_hash(self) -> str:
        """Twelve hex digits that change whenever a figure of this point may change.

        The site's time zone, which decides where its hours begin, is not in it.
        """
        if not self._hash:
            object.__setattr__(self, "_hash", self._hashed())
        return self._hash

    def _hashed(self) -> str:
        content = _without_none(
            {
                "carrier": self.carrier,
                "role": self.role,
                "net_calorific_value_mj_m3": self.net_calorific_value_mj_m3,
                "reference": self.reference,
                "meters": [meter.definition() for meter in self.meters],
            }
        )
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]
