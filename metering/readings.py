"""What registers showed: one reading, many readings as columns, and the marks on them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntFlag
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from metering.periods import Times, from_us, to_us

Codes: TypeAlias = NDArray[np.int32]
Floats: TypeAlias = NDArray[np.float64]
Sequences: TypeAlias = NDArray[np.int64]
Mask: TypeAlias = NDArray[np.bool_]


class Flag(IntFlag):
    """Marks on a value; an answer prints their names, lower case and sorted.

    `clock` and `implausible` readings are kept but take no part in increments.
    """

    NONE = 0
    CLOCK = 1
    """The device's clock was wrong: the time lies in the future or before any meter."""
    IMPLAUSIBLE = 2
    """The value cannot be what a register of this meter shows."""
    STAMPED = 4
    """The message had no time; it was stamped on arrival."""
    CONFLICT = 8
    """Two different values came for one register and time; the later in the journal counts."""
    ESTIMATED = 16
    """An estimate, by the sender or by us."""
    GLITCH = 32
    """A reading between two that fit each other, itself fitting neither; set aside."""
    ROLLOVER = 64
    """The register passed its capacity and began again at zero."""
    RESET = 128
    """The register fell and the circuit could not have carried the difference: unknown."""
    EXCHANGE = 256
    """The meter was exchanged here, by a dated record."""
    GAP = 512
    """Readings are missing: the increment is longer than 1 h and 2.5 times the usual spacing."""
    INTERPOLATED = 1024
    """Part of the interval is inside an increment longer than it or a gap: spread evenly."""
    NO_FACTOR = 2048
    """No emission factor covers it."""
    PROVISIONAL_FACTOR = 4096
    """The newest published factor stands in for a year not published yet."""


SET_ASIDE = Flag.CLOCK | Flag.IMPLAUSIBLE
"""Readings with one of these take no part in increments."""


def flag_names(flags: int) -> list[str]:
    """The sorted names of the flags in a number, as answers print them."""
    return sorted(flag.name.lower() for flag in Flag if flag and flag & flags and flag.name)


@dataclass(frozen=True, slots=True)
class Reading:
    """What one register showed: for the edges and the tests; on the road it is a column."""

    meter: str
    """Site and serial, `site/serial`."""
    register: str
    read_at: datetime
    value: float
    """In the register's canonical unit, before the multiplier."""
    flags: Flag = Flag.NONE
    received_at: datetime | None = None
    journal: str = ""
    sequence: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Readings:
    """Many readings as columns of one length n; names are kept once and coded."""

    meters: tuple[str, ...]
    registers: tuple[str, ...]
    journals: tuple[str, ...]
    meter: Codes
    """Index into `meters`. Shape (n,)."""
    register: Codes
    """Index into `registers`. Shape (n,)."""
    read_at: Times
    value: Floats
    flags: Codes
    """Bits of `Flag`. Shape (n,)."""
    received_at: Times
    journal: Codes
    """Index into `journals`. Shape (n,)."""
    sequence: Sequences

    def __len__(self) -> int:
        return len(self.value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Readings):
            return NotImplemented
        return list(self.rows()) == list(other.rows())

    __hash__ = None  # type: ignore[assignment]

    @classmethod
    def empty(cls) -> Readings:
        """No readings."""
        return cls.of([])

    @classmethod
    def of(cls, rows: Iterable[Reading]) -> Readings:
        """Columns from single readings, in their order. A missing arrival is the reading's time."""
        kept = list(rows)
        meters, meter = encode([r.meter for r in kept])
        registers, register = encode([r.register for r in kept])
        journals, journal = encode([r.journal for r in kept])
        return cls(
            meters=meters,
            registers=registers,
            journals=journals,
            meter=meter,
            register=register,
            read_at=np.array([to_us(r.read_at) for r in kept], "datetime64[us]"),
            value=np.array([r.value for r in kept], np.float64),
            flags=np.array([int(r.flags) for r in kept], np.int32),
            received_at=np.array([to_us(r.received_at or r.read_at) for r in kept], "M8[us]"),
            journal=journal,
            sequence=np.array([r.sequence for r in kept], np.int64),
        )

    @classmethod
    def concat(cls, parts: Sequence[Readings]) -> Readings:
        """All readings of the parts, one after the other."""
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return cls.empty()
        meters, meter = _merge([(p.meters, p.meter) for p in parts])
        registers, register = _merge([(p.registers, p.register) for p in parts])
        journals, journal = _merge([(p.journals, p.journal) for p in parts])
        return cls(
            meters=meters,
            registers=registers,
            journals=journals,
            meter=meter,
            register=register,
            read_at=np.concatenate([p.read_at for p in parts]),
            value=np.concatenate([p.value for p in parts]),
            flags=np.concatenate([p.flags for p in parts]),
            received_at=np.concatenate([p.received_at for p in parts]),
            journal=journal,
            sequence=np.concatenate([p.sequence for p in parts]),
        )

    def take(self, which: Mask | NDArray[np.intp]) -> Readings:
        """Some of the readings, by mask or index; the names stay as they are."""
        return Readings(
            meters=self.meters,
            registers=self.registers,
            journals=self.journals,
            meter=self.meter[which],
            register=self.register[which],
            read_at=self.read_at[which],
            value=self.value[which],
            flags=self.flags[which],
            received_at=self.received_at[which],
            journal=self.journal[which],
            sequence=self.sequence[which],
        )

    def registers_in_order(self) -> Iterator[tuple[str, str, slice]]:
        """Meter, register and rows of each run of one register; sorted, that is each once."""
        for rows in runs(self.meter, self.register):
            first = rows.start
            yield self.meters[self.meter[first]], self.registers[self.register[first]], rows

    def rows(self) -> Iterator[Reading]:
        """One `Reading` after the other; for edges and tests, never for a calculation."""
        for i in range(len(self)):
            yield Reading(
                meter=self.meters[self.meter[i]],
                register=self.registers[self.register[i]],
                read_at=from_us(self.read_at[i]),
                value=float(self.value[i]),
                flags=Flag(int(self.flags[i])),
                received_at=from_us(self.received_at[i]),
                journal=self.journals[self.journal[i]],
                sequence=int(self.sequence[i]),
            )


def runs(*columns: Codes) -> Iterator[slice]:
    """Slices in which all code columns stay the same; the columns are of one length."""
    if not len(columns[0]):
        return
    change = np.zeros(len(columns[0]) - 1, bool)
    for column in columns:
        change |= np.diff(column) != 0
    bounds: list[int] = [0, *(np.flatnonzero(change) + 1).tolist(), len(columns[0])]
    yield from (slice(low, high) for low, high in pairwise(bounds))


def encode(names: Sequence[str]) -> tuple[tuple[str, ...], Codes]:
    """Names as a table of different ones, in order of first use, and an index for each."""
    table: dict[str, int] = {}
    codes = np.array([table.setdefault(name, len(table)) for name in names], np.int32)
    return tuple(table), codes


def _merge(parts: Sequence[tuple[tuple[str, ...], Codes]]) -> tuple[tuple[str, ...], Codes]:
    table: dict[str, int] = {}
    codes = []
    for names, code in parts:
        lookup = np.array([table.setdefault(name, len(table)) for name in names], np.int32)
        codes.append(lookup[code] if len(code) else code)
    return tuple(table), np.concatenate(codes)
