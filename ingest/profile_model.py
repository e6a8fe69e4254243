"""What a device profile says: the family, its topics, registers and golden payloads."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from ingest.json_profiles import GroupMap
from ingest.topics import TopicPattern
from metering.units import RegisterType

EXAMPLE_SITE: Final = "example"
"""The site id that stands in the topics of golden native payloads."""

EXAMPLE_ARRIVAL: Final = datetime(2024, 1, 1, tzinfo=UTC)
"""When a golden payload arrives that does not say so."""


@dataclass(frozen=True, slots=True)
class Expected:
    """One reading a golden payload means."""

    meter: str
    register: str
    value: float
    read_at: datetime | None
    """None: stamped with the arrival."""
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Example:
    """A golden payload."""

    what: str
    topic: str
    payload: bytes
    received_at: datetime
    meters: tuple[str, ...]
    """Serials the site model has."""
    expect: tuple[Expected, ...]
    quarantined: tuple[str, ...]
    """The reason codes, in order."""


@dataclass(frozen=True, slots=True)
class Profile:
    """A device family."""

    name: str
    title: str
    source: Mapping[str, str]
    decoder: str
    topics: tuple[TopicPattern, ...]
    ignored: tuple[TopicPattern, ...]
    """Topics of the same devices that carry no readings."""
    sparse: bool
    """Whether its topics also carry messages without any of its registers."""
    registers: Mapping[str, RegisterType]
    """What it adds to the canonical registers."""
    groups: tuple[GroupMap, ...]
    examples: tuple[Example, ...]
    file: str
    sha256: str


class Profiles:
    """All profiles of an installation, by name."""

    def __init__(self, profiles: Sequence[Profile]) -> None:
        self.by_name = {profile.name: profile for profile in profiles}
        self.registers = {n: kind for p in profiles for n, kind in p.registers.items()}
        digests = "\n".join(f"{p.name} {p.sha256}" for p in self.by_name.values())
        self.fingerprint = hashlib.sha256(digests.encode()).hexdigest()

    def __iter__(self) -> Iterator[Profile]:
        return iter(self.by_name.values())

    @property
    def names(self) -> tuple[str, ...]:
        """What a meter's `profile` can be."""
        return tuple(self.by_name)
