"""Other JSON dialects, described as data: where in a message meter, time and registers are.

A path is keys with dots between them, `ENERGY.Total`; a number steps into a list. A meter template
is text with places: `{device}` from the topic pattern, `{payload:src}` from the message, `{each}`
what stood at the `*` of `each`, `{channel}` the place in a list of values, from 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal, NamedTuple, TypeAlias

from ingest.rejections import Rejected, shown
from ingest.times import TimeCache, checked_us, time_us

TimeForm: TypeAlias = Literal["rfc3339", "epoch_s", "epoch_ms"]
Path: TypeAlias = tuple[str, ...]

PLACE: Final = re.compile(r"\{([^{}]*)\}")
"""A place in a meter template."""

_NUMBER = re.compile(r"\s*[+-]?\d{1,40}(?:\.\d{1,40})?\s*", re.ASCII)
_EPOCH_DIGITS: Final[Mapping[str, int]] = {"epoch_s": 6, "epoch_ms": 3}
_MISSING: Final = object()


@dataclass(frozen=True, slots=True)
class FieldMap:
    """Where one register is, and what it is in."""

    register: str
    path: Path
    unit: str | None = None
    """As the device writes it; None: the register's own."""
    scale: float = 1.0
    text: bool = False
    """The number is written as text."""


@dataclass(frozen=True, slots=True)
class GroupMap:
    """One meter's part of a message."""

    meter: str
    fields: tuple[FieldMap, ...]
    each: Path | None = None
    """Where several such parts are; the last key has a `*`. Registers are then sought there."""
    channels: str | None = None
    """Where values are lists, element n belongs to this meter."""
    time: Path | None = None
    """From the top of the message; None: stamped on arrival."""
    time_form: TimeForm = "rfc3339"


class ProfileReading(NamedTuple):
    """One meter's registers, found in a message."""

    serial: str
    read_us: int | None
    registers: dict[str, object]
    units: dict[str, str]


def readings_in(
    message: object,
    groups: Sequence[GroupMap],
    places: Mapping[str, str],
    times: TimeCache,
) -> list[ProfileReading]:
    """Return what the groups find in a message.

    Args:
        message: As JSON has it.
        groups: Of the profile.
        places: What stood at the names of the topic pattern.
        times: Remembered times.

    Raises:
        Rejected: It is no object, carries no register, no meter, or a time that cannot be read.
    """
    if not isinstance(message, dict):
        raise Rejected("not_an_object", f"Wanted a JSON object, found {shown(message)}.")
    found: list[ProfileReading] = []
    for group in groups:
        for key, part in _parts(message, group.each):
            found.extend(_group_readings(message, part, group, {**places, "each": key}, times))
    if not found:
        wanted = ", ".join(".".join(f.path) for group in groups for f in group.fields)
        raise Rejected(
            "no_registers",
            f"Wanted one of {wanted}, found {shown(message)} and none of them. "
            f"Correct the profile, or let it ignore this topic.",
        )
    return found


def _parts(message: object, each: Path | None) -> Iterator[tuple[str, object]]:
    if each is None:
        yield "", message
        return
    front, _, back = each[-1].partition("*")
    holder = _at(message, each[:-1])
    if isinstance(holder, list):
        holder = {str(number): part for number, part in enumerate(holder)}
    for key, part in holder.items() if isinstance(holder, dict) else ():
        if key.startswith(front) and key.endswith(back) and len(key) > len(front) + len(back):
            yield key[len(front) : len(key) - len(back)], part


def _group_readings(
    message: object, part: object, group: GroupMap, places: Mapping[str, str], times: TimeCache
) -> Iterator[ProfileReading]:
    by_channel: dict[int, dict[str, object]] = {}
    units = {field.register: field.unit for field in group.fields if field.unit is not None}
    for field in group.fields:
        value = _at(part, field.path)
        if value is _MISSING:
            continue
        split = isinstance(value, list) and group.channels is not None
        values = enumerate(value, 1) if split and isinstance(value, list) else [(0, value)]
        for channel, one in values:
            by_channel.setdefault(channel, {})[field.register] = _scaled(one, field)
    if not by_channel:
        return
    read_us = _time(message, group, times)
    for channel, registers in sorted(by_channel.items()):
        template = group.channels if channel and group.channels else group.meter
        serial = _filled(template, message, {**places, "channel": str(channel)})
        yield ProfileReading(serial, read_us, registers, units)


def _at(value: object, path: Path) -> object:
    for step in path:
        if isinstance(value, dict):
            value = value.get(step, _MISSING)
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return _MISSING
    return value


def _scaled(value: object, field: FieldMap) -> object:
    if field.text and isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value)
    if field.scale == 1.0 or isinstance(value, bool) or not isinstance(value, (int, float)):
        return value
    return value * field.scale


def _time(message: object, group: GroupMap, times: TimeCache) -> int | None:
    written = _at(message, group.time) if group.time else _MISSING
    if written is _MISSING or written is None:
        return None
    if group.time_form == "rfc3339":
        return times[written] if isinstance(written, str) else time_us(written)
    digits = _EPOCH_DIGITS[group.time_form]
    if isinstance(written, bool) or not isinstance(written, (int, float)):
        raise Rejected("bad_time", f"Wanted seconds or ms since 1970, found {shown(written)}.")
    try:
        return checked_us(int(Decimal(str(written)).scaleb(digits)), written)
    except (ValueError, ArithmeticError) as error:
        if isinstance(error, Rejected):
            raise
        raise Rejected("bad_time", f"Wanted a finite time, found {shown(written)}.") from None


def _filled(template: str, message: object, places: Mapping[str, str]) -> str:
    def fill(match: re.Match[str]) -> str:
        name = match.group(1)
        value = _at(message, path_of(name[8:])) if name.startswith("payload:") else places[name]
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**30:
            return str(value)
        if not isinstance(value, str) or not value:
            raise Rejected(
                "missing_meter",
                f"Wanted the meter as {template}, found nothing usable at {name}. "
                f"Correct the profile or the device.",
            )
        return value

    return PLACE.sub(fill, template)


def path_of(text: str) -> Path:
    """A path as a profile writes it."""
    return tuple(text.split("."))
