"""From decoded messages to columns of readings: names coded, units converted, flags set.

A flag set here is a function of the message and its arrival alone, never of the site model, so that
the same journal gives the same readings whoever decodes it.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingest.journal_records import Record
from ingest.rejections import Rejected, shown
from metering.readings import Codes, Flag, Floats, Readings
from metering.sites import closest
from metering.units import REGISTERS, Kind, RegisterType, UnknownUnit, unit_ratio

_CACHED: Final = 4096
_LONGEST_NAME: Final = 64
"""Nothing is like a register's name that is longer, and to look takes time."""
_NUMBERS: Final = frozenset({int, float})


@dataclass(frozen=True, slots=True)
class DecodeSettings:
    """What is believed of a message."""

    clock_ahead: timedelta = timedelta(minutes=5)
    """A reading later than its arrival by more than this has a wrong clock."""
    earliest: datetime = datetime(2000, 1, 1, tzinfo=UTC)
    """A reading before this has a wrong clock."""
    largest: float = 1e15
    """A value beyond this, either way, is implausible. [canonical unit]"""
    max_readings: int = 10_000
    """In one message."""


class Shape(NamedTuple):
    """What the register names and units of a message mean."""

    codes: Codes
    ratios: Floats | None
    """To the canonical units; None if all are 1."""


class RegisterBook:
    """The registers of an installation, numbered: the canonical ones and what profiles add."""

    def __init__(self, added: Mapping[str, RegisterType]) -> None:
        self.types = {**REGISTERS, **added}
        self.names = tuple(self.types)
        self.code_of = {name: code for code, name in enumerate(self.names)}
        self.cumulative = np.array([t.kind is Kind.CUMULATIVE for t in self.types.values()])
        self._ratios: dict[tuple[str, object], float] = {}
        self._refusals: dict[str, str] = {}

    def code(self, name: object) -> int:
        """Return the number of a register.

        Raises:
            Rejected: `unknown_register`.
        """
        code = self.code_of.get(name) if isinstance(name, str) else None
        if code is None:
            raise Rejected("unknown_register", self._unknown(name))
        return code

    def _unknown(self, name: object) -> str:
        """Why a register is refused; a fleet sends one wrong name many times."""
        quoted = shown(name)
        if (kept := self._refusals.get(quoted)) is not None:
            return kept
        fits = isinstance(name, str) and len(name) <= _LONGEST_NAME
        near = closest(str(name), self.names, count=3) if fits else []
        hint = f"Did you mean {' or '.join(near)}? " if near else ""
        message = (
            f"Wanted a register that a profile knows, found {quoted}. {hint}"
            f"Rename it at the gateway or add it to a profile. Known: {', '.join(self.names)}."
        )
        if len(self._refusals) < _CACHED:
            self._refusals[quoted] = message
        return message

    def ratio(self, name: object, unit: object) -> float:
        """Return what a value of a register is multiplied by to be canonical; 1 without a unit.

        Raises:
            Rejected: `unknown_unit`.
        """
        if unit is None or not isinstance(name, str):
            return 1.0
        if not isinstance(unit, str):
            raise Rejected(
                "unknown_unit", f"Wanted a unit as text for {name}, found {shown(unit)}."
            )
        if (known := self._ratios.get((name, unit))) is not None:
            return known
        try:
            ratio = unit_ratio(unit, to=self.types[name].unit)
        except UnknownUnit:
            raise Rejected(
                "unknown_unit",
                f"Wanted a unit that fits {name} ({self.types[name].unit}), found {shown(unit)}. "
                f"Correct the unit at the gateway or in the profile.",
            ) from None
        if len(self._ratios) < _CACHED:
            self._ratios[name, unit] = ratio
        return ratio


class ShapeCache(dict[object, Shape]):
    """Register names (and units) of a message -> what they mean; a fleet sends few shapes.

    A key is a tuple of register names, or a pair of that and a tuple of (register, unit).
    """

    def __init__(self, book: RegisterBook) -> None:
        super().__init__()
        self._book = book

    def __missing__(self, key: tuple[object, ...]) -> Shape:
        """Work out a shape that was not seen before.

        Raises:
            Rejected: A name or unit is wrong, or there is no register at all.
        """
        names: Any = key
        units: Mapping[str, Any] = {}
        if key and isinstance(key[0], tuple):
            names, units = key[0], dict(key[1])  # type: ignore[call-overload]
        if not names:
            raise Rejected("no_registers", "Wanted at least one register.")
        codes = [self._book.code(name) for name in names]
        ratios = [self._book.ratio(name, units.get(name)) for name in names]
        shape = shape_of(codes, ratios)
        if len(self) >= _CACHED:
            self.clear()
        self[key] = shape
        return shape


def shape_of(codes: Sequence[int], ratios: Sequence[float]) -> Shape:
    """A shape from single numbers."""
    plain = all(ratio == 1.0 for ratio in ratios)
    return Shape(np.array(codes, np.int32), None if plain else np.array(ratios, np.float64))


@dataclass(slots=True)
class Columns:
    """Decoded readings on their way into columns: one element per message part, and the values."""

    meter: list[int] = field(default_factory=list)
    read_us: list[int] = field(default_factory=list)
    flags: list[int] = field(default_factory=list)
    record: list[int] = field(default_factory=list)
    """Which record of the batch."""
    part: list[int] = field(default_factory=list)
    shapes: list[Shape] = field(default_factory=list)
    values: list[object] = field(default_factory=list)
    """As JSON has them; only numbers become readings."""

    def add(
        self,
        *,
        meter: int,
        read_us: int,
        flags: int,
        record: int,
        part: int,
        shape: Shape,
        values: Sequence[float],
    ) -> None:
        """Append one reading of several registers."""
        self.meter.append(meter)
        self.read_us.append(read_us)
        self.flags.append(flags)
        self.record.append(record)
        self.part.append(part)
        self.shapes.append(shape)
        self.values.extend(values)


class Unfit(NamedTuple):
    """A value that is no finite number, or none any more in its canonical unit."""

    record: int
    part: int
    meter: int
    register: int
    value: object


def readings_of(
    columns: Columns,
    records: Sequence[Record],
    *,
    meters: tuple[str, ...],
    book: RegisterBook,
    journal: str,
    settings: DecodeSettings,
) -> tuple[Readings, list[Unfit]]:
    """Return the columns as readings, and the values that are no finite numbers."""
    if not columns.shapes:
        return Readings.empty(), []
    record = np.array(columns.record, np.intp)
    arrived = np.array([r[1] for r in records], np.int64)[record]
    sequence = np.array([r[0] for r in records], np.int64)[record]
    read_us = np.array(columns.read_us, np.int64)
    flags = np.array(columns.flags, np.int32)
    flags[_wrong_clock(read_us, arrived, settings)] |= int(Flag.CLOCK)
    used, meter = np.unique(np.array(columns.meter, np.int32), return_inverse=True)

    counts = np.array([len(shape.codes) for shape in columns.shapes], np.intp)
    register = np.concatenate([shape.codes for shape in columns.shapes])
    value = _numbers(columns.values)
    if any(shape.ratios is not None for shape in columns.shapes):
        with np.errstate(over="ignore"):
            value *= _ratios(columns.shapes)
    row_flags = np.repeat(flags, counts)
    odd = (value < 0) & book.cumulative[register] | (np.abs(value) > settings.largest)
    row_flags[odd] |= int(Flag.IMPLAUSIBLE)

    readings = Readings(
        meters=tuple(meters[code] for code in used),
        registers=book.names,
        journals=(journal,),
        meter=np.repeat(meter.astype(np.int32), counts),
        register=register,
        read_at=np.repeat(read_us.view("datetime64[us]"), counts),
        value=value,
        flags=row_flags,
        received_at=np.repeat(arrived.view("datetime64[us]"), counts),
        journal=np.zeros(len(value), np.int32),
        sequence=np.repeat(sequence, counts),
    )
    fit = np.isfinite(value)
    if fit.all():
        return readings, []
    parts = np.repeat(np.arange(len(counts)), counts)
    unfit = [
        Unfit(
            columns.record[parts[row]],
            columns.part[parts[row]],
            columns.meter[parts[row]],
            int(register[row]),
            columns.values[row],
        )
        for row in np.flatnonzero(~fit)
    ]
    return readings.take(fit), unfit


def _numbers(values: Sequence[Any]) -> Floats:
    """The values as a column; what is no number is NaN. True and false, 1 and 0 to C, are none."""
    try:
        column = np.frombuffer(array("d", values))
    except TypeError:
        column = np.array([v if type(v) in _NUMBERS else np.nan for v in values], np.float64)
    for row in np.flatnonzero((column == 0.0) | (column == 1.0)).tolist():
        if type(values[row]) is bool:
            column[row] = np.nan
    return column


def _ratios(shapes: Sequence[Shape]) -> Floats:
    return np.concatenate([np.ones(len(s.codes)) if s.ratios is None else s.ratios for s in shapes])


def _wrong_clock(
    read_us: NDArray[np.int64], arrived_us: NDArray[np.int64], settings: DecodeSettings
) -> NDArray[np.bool_]:
    ahead_us = settings.clock_ahead // timedelta(microseconds=1)
    earliest_us = (settings.earliest - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(
        microseconds=1
    )
    return (read_us > arrived_us + ahead_us) | (read_us < earliest_us)
