"""From the store through registers to intervals: streams, and the hours of a span.

`streams_of` lays the readings of meters along the meter points they served; `hours_of` turns them
into the hours that are stored. Nothing in here reads a store: `api/compute.py` fetches and saves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from metering.intervals import Cells, Grid, Rows, hour_rows, of_grid, spread
from metering.periods import Every, Period, Times, to_us
from metering.readings import Flag, Readings
from metering.registers import RegisterColumns, increments
from metering.series import Series
from metering.sites import Fixture, Meter, MeterPoint, Site
from metering.units import REGISTERS, Kind, RegisterType

MAX_TEMPERATURE_C = 200.0
"""No water in a heat meter is hotter: bounds the volume-temperature registers. [°C]"""


@dataclass(frozen=True, slots=True, eq=False)
class Streams:
    """Readings of registers at meter points, ready to be differenced."""

    rows: RegisterColumns
    points: tuple[MeterPoint, ...]
    """The point of each stream."""
    registers: tuple[str, ...]
    """The register of each stream."""

    def __len__(self) -> int:
        return len(self.points)


@dataclass(frozen=True, slots=True)
class _Piece:
    """Rows of one register while one meter served one point."""

    low: int
    high: int
    segment: int
    meter: Meter
    fixture: Fixture | None = None
    """Instead of rows: what the register showed when the meter was put in or taken out."""


def register_type(name: str, extra: Mapping[str, RegisterType]) -> RegisterType | None:
    """What a register is, canonical or added by a profile; None if nobody says."""
    return REGISTERS.get(name) or extra.get(name)


def streams_of(
    site: Site,
    points: Sequence[MeterPoint],
    readings: Readings,
    *,
    extra: Mapping[str, RegisterType] | None = None,
) -> Streams:
    """Lay readings along the points their meters served.

    A reading outside its meter's time at a point does not belong to the point. What the exchange
    record says a register showed takes part like a reading and wins over one at the same instant.

    Args:
        site: Whose points they are.
        points: The points wanted.
        readings: Sorted by meter, register and time, as a store returns them.
        extra: Registers that profiles add.
    """
    groups = _groups(readings)
    shown: dict[str, list[str]] = {}
    for meter, register in groups:
        shown.setdefault(meter, []).append(register)
    pieces: list[list[_Piece]] = []
    names: list[tuple[MeterPoint, str]] = []
    for point in points:
        for register in _registers_of(site, point, shown, extra or {}):
            pieces.append(_pieces(site, point, register, groups, readings))
            names.append((point, register))
    rows = _columns(pieces, [register for _, register in names], readings, extra or {})
    return Streams(rows, tuple(p for p, _ in names), tuple(r for _, r in names))


def _groups(readings: Readings) -> dict[tuple[str, str], tuple[int, int]]:
    """Where the rows of each meter and register lie."""
    return {
        (meter, register): (rows.start, rows.stop)
        for meter, register, rows in readings.registers_in_order()
    }


def _registers_of(
    site: Site,
    point: MeterPoint,
    shown: Mapping[str, Sequence[str]],
    extra: Mapping[str, RegisterType],
) -> list[str]:
    """The countable registers a point's meters showed, sorted."""
    keys = [site.meter_key(meter.serial) for meter in point.meters]
    found = {register for key in keys for register in shown.get(key, ())}
    types = ((name, register_type(name, extra)) for name in found)
    return sorted(name for name, kind in types if kind and kind.kind is not Kind.INSTANT)


def _pieces(
    site: Site,
    point: MeterPoint,
    register: str,
    groups: Mapping[tuple[str, str], tuple[int, int]],
    readings: Readings,
) -> list[_Piece]:
    found: list[_Piece] = []
    for segment, meter in enumerate(point.meters):
        low, high = groups.get((site.meter_key(meter.serial), register), (0, 0))
        times = readings.read_at[low:high]
        first, last = meter.installed, meter.removed
        shown_first = first is not None and register in first.registers
        shown_last = last is not None and register in last.registers
        start, stop = low, high
        if first is not None:
            start += _position(times, first.at, after=shown_first)
        if last is not None:
            stop = low + _position(times, last.at, after=not shown_last)
        if shown_first:
            found.append(_Piece(0, 0, segment, meter, first))
        if start < stop:
            found.append(_Piece(start, stop, segment, meter))
        if shown_last:
            found.append(_Piece(0, 0, segment, meter, last))
    return found


def _position(times: Times, instant: datetime, *, after: bool) -> int:
    """How many times lie before an instant, or at it too."""
    count = np.searchsorted(times, np.array([to_us(instant)]), side="right" if after else "left")
    return int(count[0])


def _columns(
    streams: Sequence[Sequence[_Piece]],
    registers: Sequence[str],
    readings: Readings,
    extra: Mapping[str, RegisterType],
) -> RegisterColumns:
    flat = [(number, piece) for number, pieces in enumerate(streams) for piece in pieces]
    sizes = np.array([1 if p.fixture else p.high - p.low for _, p in flat], np.int64)
    physics = np.array(
        [_physics(piece.meter, registers[number], extra) for number, piece in flat], np.float64
    ).reshape(len(flat), 4)
    at, value, flags = [], [], []
    for number, piece in flat:
        if piece.fixture:
            at.append(np.array([to_us(piece.fixture.at)], "datetime64[us]"))
            value.append(np.array([piece.fixture.registers[registers[number]]], np.float64))
            flags.append(np.array([int(Flag.EXCHANGE)], np.int32))
        else:
            at.append(readings.read_at[piece.low : piece.high])
            value.append(readings.value[piece.low : piece.high])
            flags.append(readings.flags[piece.low : piece.high])
    none = np.empty(0, np.float64)
    capacity, multiplier, max_rate, interval = (np.repeat(each, sizes) for each in physics.T)
    return RegisterColumns(
        stream=np.repeat(np.array([n for n, _ in flat], np.int32), sizes),
        segment=np.repeat(np.array([p.segment for _, p in flat], np.int32), sizes),
        read_at=np.concatenate(at) if at else np.empty(0, "datetime64[us]"),
        value=np.concatenate(value) if value else none,
        flags=np.concatenate(flags) if flags else np.empty(0, np.int32),
        capacity=capacity,
        multiplier=multiplier,
        max_rate=max_rate,
        interval=interval > 0,
    )


def modulus(capacity: float) -> float:
    """Where a register begins again: a capacity of nines alone is the highest it shows.

    99999.9 shows one decimal and begins again at 100000.0; 1000000 is the beginning itself.
    """
    digits = f"{capacity:f}".rstrip("0").rstrip(".")
    whole, _, decimals = digits.partition(".")
    if set(whole + decimals) != {"9"}:
        return capacity
    return float(10 ** len(whole))


def _physics(
    meter: Meter, register: str, extra: Mapping[str, RegisterType]
) -> tuple[float, float, float, float]:
    """Capacity, multiplier, highest rate and whether amounts stand for themselves."""
    kind = register_type(register, extra)
    nan = float("nan")
    if kind is None:
        return nan, 1.0, nan, 0.0
    rate = nan
    if kind.unit == "kWh" and meter.max_power_kw is not None:
        rate = meter.max_power_kw
    elif kind.unit == "m3" and meter.max_flow_m3h is not None:
        rate = meter.max_flow_m3h
    elif kind.unit == "m3.degC" and meter.max_flow_m3h is not None:
        rate = meter.max_flow_m3h * MAX_TEMPERATURE_C
    capacity = meter.capacity_of(register)
    return (
        nan if capacity is None else modulus(capacity),
        meter.multiplier if kind.multiplied else 1.0,
        rate,
        1.0 if kind.kind is Kind.INTERVAL else 0.0,
    )


def grid_of(streams: Streams, cells: Cells) -> Grid:
    """Difference the streams and spread them over cells."""
    steps, marks = increments(streams.rows)
    return spread(steps, marks, cells, streams=len(streams))


def hours_of(
    site: Site,
    streams: Streams,
    period: Period,
    *,
    code: str,
    window: Sequence[Period] | None = None,
) -> Series:
    """The hours of all streams in a period of whole hours.

    Args:
        site: Whose hours they are.
        streams: With enough readings before and after the period (`registers.CONTEXT`).
        period: Whole hours of the site.
        code: Version of the calculation; goes into the rows' sources with the point's definition.
        window: The hours wanted of each stream; all if None.
    """
    cells = Cells.hours(period, tz=site.timezone)
    sources = {point.id: f"{point.definition_hash()}/{code}" for point in _once(streams.points)}
    return hour_rows(
        grid_of(streams, cells),
        cells,
        subjects=[site.point_key(point) for point in streams.points],
        quantities=list(streams.registers),
        sources=[sources[point.id] for point in streams.points],
        window=None if window is None else list(window),
    )


def _once(points: Iterable[MeterPoint]) -> list[MeterPoint]:
    """The different points; each register of a point is a stream of its own."""
    return list({point.id: point for point in points}.values())


def rows_of(site: Site, streams: Streams, period: Period, every: Every) -> list[Rows]:
    """The intervals of every stream, computed from the readings themselves."""
    cells = Cells.plain(period, every, tz=site.timezone)
    grid = grid_of(streams, cells)
    return [of_grid(grid, cells, number) for number in range(len(streams))]
