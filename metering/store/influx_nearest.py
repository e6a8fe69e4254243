"""The nearest readings before or after a period, however far away, and little of what is between.

InfluxDB finds the last time of every register before an instant, or the first after it, in its
index. Around these times a piece is read; where it holds too few readings that are not set aside,
the next piece begins where it ended and is eight times as long.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import numpy as np

from metering.periods import Times, to_us
from metering.readings import SET_ASIDE, Mask, Readings
from metering.store.influx_columns import ask
from metering.store.influx_read import Reader, Scope, clusters, counted
from metering.store.influx_schema import (
    NS_PER_US,
    READING,
    plain_name,
    to_times,
    us_of,
)
from metering.store.sorting import first_of_each, last_of_each, sorted_readings

_FIRST_US: Final = 300_000_000
"""The length of the first piece for each reading that is wanted beyond the nearest. [us]"""
_GROWTH: Final = 8

_EVER: Final = (np.datetime64(-(2**53), "us"), np.datetime64(2**53, "us"))

Register = tuple[str, str]


@dataclass(slots=True)
class _Search:
    """How far each register was looked through."""

    reached: dict[Register, np.datetime64] = field(default_factory=dict)
    """Up to where; those that are not here not at all."""
    found: dict[Register, int] = field(default_factory=dict)
    done: set[Register] = field(default_factory=set)
    parts: list[Readings] = field(default_factory=list)


def read_nearest(
    reader: Reader,
    scope: Scope,
    *,
    count: int,
    until: datetime | np.datetime64 | None = None,
    since: datetime | None = None,
    known_by: datetime | None = None,
) -> Readings:
    """The newest readings before a time, or the oldest from a time on, SET_ASIDE ones left out.

    Args:
        reader: Where they are.
        scope: Which meters and registers.
        count: How many of each, at most.
        until: Before which time.
        since: From which time on; one of the two is given.
        known_by: As if nothing had arrived at or after this instant.
    """
    if count < 1:
        return Readings.empty()
    backwards = until is not None
    origin = until if backwards else since
    assert origin is not None
    start = origin if isinstance(origin, np.datetime64) else to_us(origin)
    search = _Search()
    width = _FIRST_US * (count - 1)
    while True:
        edges = list(_edges(reader, scope, search, start, backwards=backwards))
        if not edges:
            break
        for piece in _pieces(edges, search, start, width, backwards=backwards):
            _read_piece(reader, scope, search, piece, count=count, known_by=known_by)
        width = max(width, _FIRST_US) * _GROWTH
    rows = sorted_readings(Readings.concat(search.parts))
    return sorted_readings(rows.take((last_of_each if backwards else first_of_each)(rows, count)))


@dataclass(frozen=True, slots=True)
class _Piece:
    """A span of time to be read for some registers."""

    low: np.datetime64
    high: np.datetime64
    reaches: np.datetime64
    """Where the next piece of these registers begins."""
    news: dict[Register, tuple[np.datetime64, np.datetime64]]
    """The registers, and what of it is new for each."""


def _edges(
    reader: Reader, scope: Scope, search: _Search, start: np.datetime64, *, backwards: bool
) -> Iterator[tuple[Register, np.datetime64]]:
    """The next time of every register that is not done and has one."""
    groups: dict[np.datetime64, list[Register]] = {}
    for register, at in search.reached.items():
        if register not in search.done:
            groups.setdefault(at, []).append(register)
    asked = (
        [(start, scope, None)]
        if not search.reached
        else [
            (
                at,
                Scope(
                    sorted({m for m, _ in registers}),
                    sorted({r for _, r in registers}),
                    scope.journal,
                ),
                set(registers),
            )
            for at, registers in groups.items()
        ]
    )
    for at, mine, wanted in asked:
        best: dict[Register, np.datetime64] = {}
        for register, time in _ends(reader, mine, at, backwards=backwards):
            if wanted is None or register in wanted:
                known = best.setdefault(register, time)
                best[register] = max(known, time) if backwards else min(known, time)
        search.done |= (wanted or set()) - set(best)
        yield from best.items()


def _ends(
    reader: Reader, scope: Scope, at: np.datetime64, *, backwards: bool
) -> Iterator[tuple[Register, np.datetime64]]:
    low, high = (_EVER[0], at) if backwards else (at, _EVER[1])
    choice = "last" if backwards else "first"
    for meters, registers, times in register_ends(reader, scope, low, high, choice):
        yield from zip(zip(meters, registers, strict=True), times, strict=True)


def register_ends(
    reader: Reader, scope: Scope, low: np.datetime64, high: np.datetime64, choice: str
) -> Iterator[tuple[list[str], list[str], Times]]:
    """The first or last time of every journal's registers within low <= time < high."""
    low_ns, high_ns = us_of(low) * NS_PER_US, us_of(high) * NS_PER_US
    if low_ns >= high_ns:
        return
    for filters in scope.in_flux():
        flux = f"{reader.source(low_ns, high_ns, READING)}{filters}{VALUES_ONLY}  |> {choice}()\n"
        answer = ask(reader.influx, flux, tags=("_field", "meter"))
        registers = [plain_name(name) for name in answer.tags["_field"]]
        yield answer.tags["meter"], registers, to_times(answer.time)


VALUES_ONLY: Final = "  |> filter(fn: (r) => r._field !~ /^~[^~]/)\n"
"""A filter for the fields that are registers."""


def _pieces(
    edges: list[tuple[Register, np.datetime64]],
    search: _Search,
    start: np.datetime64,
    width: int,
    *,
    backwards: bool,
) -> Iterator[_Piece]:
    """Spans around the next times, each for the registers whose next time lies there."""
    times = np.array([time for _, time in edges], "datetime64[us]")
    reach = np.timedelta64(width, "us")
    step = np.timedelta64(1, "us")
    for group in clusters(times):
        first, last = times[group].min(), times[group].max()
        low, high = (first - reach, last + step) if backwards else (first, last + reach + step)
        news = {}
        for i in group.tolist():
            register = edges[i][0]
            so_far = search.reached.get(register, start)
            news[register] = (low, min(high, so_far)) if backwards else (max(low, so_far), high)
        low = min(bounds[0] for bounds in news.values())
        high = max(bounds[1] for bounds in news.values())
        yield _Piece(low, high, low if backwards else high, news)


def _read_piece(
    reader: Reader,
    scope: Scope,
    search: _Search,
    piece: _Piece,
    *,
    count: int,
    known_by: datetime | None,
) -> None:
    mine = Scope(
        sorted({meter for meter, _ in piece.news}),
        sorted({register for _, register in piece.news}),
        scope.journal,
    )
    low, high = us_of(piece.low) * NS_PER_US, us_of(piece.high) * NS_PER_US
    rows = as_known(reader.rows(low, high, mine), known_by)
    rows = rows.take((rows.flags & int(SET_ASIDE)) == 0)
    rows = rows.take(_is_new(rows, piece))
    search.parts.append(rows)
    many = np.zeros((len(rows.meters), len(rows.registers)), np.int64)
    np.add.at(many, (rows.meter, rows.register), 1)
    for m, r in zip(*(places.tolist() for places in np.nonzero(many)), strict=True):
        key = rows.meters[m], rows.registers[r]
        search.found[key] = search.found.get(key, 0) + int(many[m, r])
    for key in piece.news:
        search.reached[key] = piece.reaches
        if search.found.get(key, 0) >= count:
            search.done.add(key)


def _is_new(rows: Readings, piece: _Piece) -> Mask:
    """Which rows are of registers that are asked for, and were not seen in an earlier piece."""
    lows = np.full((len(rows.meters), len(rows.registers)), piece.high, "datetime64[us]")
    highs = np.full(lows.shape, piece.low, "datetime64[us]")
    meter_code = {name: i for i, name in enumerate(rows.meters)}
    register_code = {name: i for i, name in enumerate(rows.registers)}
    for (meter, register), bounds in piece.news.items():
        if meter in meter_code and register in register_code:
            place = meter_code[meter], register_code[register]
            lows[place], highs[place] = bounds
    since = rows.read_at >= lows[rows.meter, rows.register]
    return np.asarray(since & (rows.read_at < highs[rows.meter, rows.register]))


def as_known(rows: Readings, known_by: datetime | None) -> Readings:
    """What counts among the rows received before an instant, sorted."""
    if known_by is None:
        return counted(rows)
    return counted(rows.take(rows.received_at < to_us(known_by)))
