"""The native JSON dialect: one reading, or `{"readings": [...]}` with many.

Two ways through, with the same result (a test holds them together): the fast one takes thousands of
records into columns and gives up on a reading at the first surprise; the careful one takes such a
reading again and says of every register what is wrong with it.

Keys that mean nothing here are ignored, as gateways add fields of their own. Of a key written twice
the last counts, as in every common JSON reader. `at: null` is no time, an empty `units` no units.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import orjson

from ingest.columns import Columns, RegisterBook, Shape, ShapeCache, shape_of
from ingest.journal_records import Record
from ingest.json_text import load_json
from ingest.rejections import Rejected, not_finite, shown
from ingest.times import TimeCache, time_us
from metering.readings import Flag

_STAMPED: Final = int(Flag.STAMPED)
_EXAMPLE: Final = '{"meter": "E27", "at": "2024-01-01T00:15:00+08:00", "registers": {"heat": 1.5}}'


class Suspect(NamedTuple):
    """What the fast path left to the careful one."""

    record: int
    """Which record of the batch."""
    part: int
    """Which reading of the message; -1 for the message."""
    item: object
    """The reading as JSON has it; None for the message."""


@dataclass(frozen=True, slots=True)
class SiteMeters:
    """The meters of one site, by serial."""

    site: str
    codes: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Caches:
    """What is remembered from message to message."""

    book: RegisterBook
    shapes: ShapeCache
    times: TimeCache


class Accepted(NamedTuple):
    """A reading that could be read, at least in part."""

    meter: int
    read_us: int
    flags: int
    shape: Shape
    values: list[float]


def fill_fast(
    records: Sequence[Record],
    codes_of: Mapping[str, Mapping[str, int] | None],
    columns: Columns,
    caches: Caches,
    *,
    max_readings: int,
) -> list[Suspect]:
    """Append everything without a surprise to the columns; values are looked at there.

    Args:
        records: Of the journal.
        codes_of: Topic -> serial -> code of the site it names; None if it is no native topic
            of this home.
        columns: What is appended to.
        caches: What is remembered from message to message.
        max_readings: In one message.

    Returns:
        What must be looked at more carefully.
    """
    shapes, times = caches.shapes, caches.times
    add_meter, add_time, add_flags = (
        columns.meter.append,
        columns.read_us.append,
        columns.flags.append,
    )
    add_record, add_part = columns.record.append, columns.part.append
    add_shape, add_values = columns.shapes.append, columns.values.extend
    suspects: list[Suspect] = []
    for index, (_, received_us, topic, payload, _, _) in enumerate(records):
        items = _items_fast(payload, max_readings)
        if (codes := codes_of[topic]) is None or items is None:
            suspects.append(Suspect(index, -1, None))
            continue
        for part, item in enumerate(items):
            try:
                registers = item["registers"]
                numbers = registers.values()
                units = item.get("units")
                key = (tuple(registers), tuple(units.items())) if units else tuple(registers)
                shape = shapes[key]
                meter = codes[item["meter"]]
                at = item.get("at")
                read_us = received_us if at is None else times[at]
            except (LookupError, TypeError, AttributeError, Rejected):
                suspects.append(Suspect(index, part, item))
            else:
                add_meter(meter)
                add_time(read_us)
                add_flags(_STAMPED if at is None else 0)
                add_record(index)
                add_part(part)
                add_shape(shape)
                add_values(numbers)
    return suspects


def _items_fast(payload: bytes, max_readings: int) -> Sequence[Any] | None:
    """The readings of a message; None if it needs a more careful look."""
    try:
        message = orjson.loads(payload)
        if "readings" not in message:
            return (message,) if type(message) is dict else None
        items = message["readings"]
    except (ValueError, TypeError):
        return None
    return items if type(items) is list and len(items) <= max_readings else None


def items_of(payload: bytes, *, max_readings: int) -> list[object]:
    """Return the single readings of a message, not looked into.

    Raises:
        Rejected: `invalid_utf8`, `bad_json`, `not_an_object` or `too_many_readings`.
    """
    message = load_json(payload)
    if not isinstance(message, dict):
        raise Rejected(
            "not_an_object",
            f"Wanted a JSON object such as {_EXAMPLE}, found {shown(message)}.",
        )
    if "readings" not in message:
        return [message]
    items = message["readings"]
    if not isinstance(items, list):
        raise Rejected(
            "not_an_object", f"Wanted `readings` to be a list of objects, found {shown(items)}."
        )
    if len(items) > max_readings:
        raise Rejected(
            "too_many_readings",
            f"Wanted at most {max_readings} readings in a message, found {len(items)}. "
            f"Send them in several messages.",
        )
    return items


def read_item(
    item: object,
    route: SiteMeters,
    caches: Caches,
    *,
    received_us: int,
    elsewhere: Mapping[str, str],
) -> tuple[Accepted | None, list[Rejected]]:
    """Read one reading carefully.

    Args:
        item: As JSON has it.
        route: The site the topic names.
        caches: What is remembered from message to message.
        received_us: When the message arrived.
        elsewhere: Serials of all sites, and the site that has them.

    Returns:
        What could be read, None if nothing, and everything that could not.
    """
    serial = item.get("meter") if isinstance(item, dict) else None
    name = f"{route.site}/{serial}" if isinstance(serial, str) and serial else ""
    try:
        if not isinstance(item, dict):
            raise Rejected(
                "not_an_object", f"Wanted a reading such as {_EXAMPLE}, found {shown(item)}."
            )
        meter = _meter_code(item.get("meter"), route, elsewhere)
        at = item.get("at")
        if at is None:
            read_us = received_us
        else:
            read_us = caches.times[at] if isinstance(at, str) else time_us(at)
        registers = item.get("registers")
        if not isinstance(registers, dict) or not registers:
            raise Rejected(
                "no_registers",
                f"Wanted `registers` with a value for each, found {shown(registers)}. "
                f"A reading looks like {_EXAMPLE}.",
            )
        units = item.get("units") or {}
        if not isinstance(units, dict):
            raise Rejected(
                "unknown_unit", f"Wanted `units` as register: unit, found {shown(units)}."
            )
    except Rejected as rejected:
        return None, [Rejected(rejected.code, rejected.message, meter=name)]
    shape, values, problems = read_registers(registers, units, caches.book, meter=name)
    if not values:
        return None, problems
    return Accepted(meter, read_us, _STAMPED if at is None else 0, shape, values), problems


def read_registers(
    registers: Mapping[str, object], units: Mapping[str, object], book: RegisterBook, *, meter: str
) -> tuple[Shape, list[float], list[Rejected]]:
    """Read the registers one by one; a bad one spares its neighbours."""
    codes, ratios, values, problems = [], [], [], []
    for name, value in registers.items():
        try:
            code = book.code(name)
            ratio = book.ratio(name, units.get(name))
            number = _finite(name, value)
        except Rejected as rejected:
            problems.append(Rejected(rejected.code, rejected.message, meter=meter))
        else:
            codes.append(code)
            ratios.append(ratio)
            values.append(number)
    return shape_of(codes, ratios), values, problems


def _meter_code(serial: object, route: SiteMeters, elsewhere: Mapping[str, str]) -> int:
    if not isinstance(serial, str) or not serial:
        raise Rejected(
            "missing_meter",
            f"Wanted the meter's serial as text in `meter`, found {shown(serial)}. "
            f"Write it in quotes, so that leading zeros stay.",
        )
    code = route.codes.get(serial)
    if code is not None:
        return code
    if (other := elsewhere.get(serial)) is not None:
        raise Rejected(
            "wrong_site",
            f"Wanted a meter of site {shown(route.site)}, found {shown(serial)} of site "
            f"{shown(other)}. Correct the topic at the gateway, or the site file.",
        )
    raise Rejected(
        "unknown_meter",
        f"Wanted a meter of site {shown(route.site)}, found {shown(serial)}. "
        f"Add it to the site file, then replay the quarantine.",
    )


def _finite(name: str, value: object) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
    raise not_finite(name, value)
