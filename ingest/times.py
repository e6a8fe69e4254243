"""Times as telegrams write them, into microseconds of UTC.

Read is RFC 3339 with an offset: `2024-01-01T00:15:00+08:00`, `…Z`, a blank or a lower-case `t` or
`z`, `+0800`, fractions of a second (cut off after the microsecond), and a time without seconds. A
leap second is the first second of the next minute, as on the computers that send it.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Final

from ingest.rejections import Rejected, shown

EARLIEST_US: Final = -9_214_560_000_000_000
"""1678-01-01: InfluxDB and pandas keep nanoseconds in 64 bits, from 1677-09-21 …"""
LATEST_US: Final = 9_214_646_400_000_000
"""2262-01-01: … to 2262-04-11. What lies outside cannot be kept in every store."""

_CACHED: Final = 1 << 16
_EPOCH: Final = date(1970, 1, 1).toordinal()
_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,30}))?)?"
    r" ?([Zz]|[+-]\d\d(?::?\d\d)?)?",
    re.ASCII,
)
_REMEDY = "Write it as 2024-01-01T00:15:00+08:00 or 2023-12-31T16:15:00Z."


class TimeCache(dict[object, int]):
    """Time text -> microseconds of UTC; a fleet sends the same few texts thousands of times."""

    def __missing__(self, text: object) -> int:
        """Read a text that was not seen before.

        Raises:
            Rejected: `bad_time` or `time_without_offset`.
        """
        microseconds = time_us(text)
        if len(self) >= _CACHED:
            self.clear()
        self[text] = microseconds
        return microseconds


def time_us(text: object) -> int:
    """Return a written time as microseconds since 1970-01-01 UTC.

    Raises:
        Rejected: `bad_time` or `time_without_offset`.
    """
    if not isinstance(text, str):
        raise Rejected("bad_time", f"Wanted the time `at` as text, found {shown(text)}. {_REMEDY}")
    match = _TIME.fullmatch(text)
    if match is None:
        raise Rejected("bad_time", f"Wanted an RFC 3339 time, found {shown(text)}. {_REMEDY}")
    year, month, day, hour, minute, second, fraction, offset = match.groups()
    if offset is None:
        raise Rejected(
            "time_without_offset",
            f"Wanted a time with its offset from UTC, found {shown(text)}. {_REMEDY}",
        )
    clock_s = _seconds_of_day(int(hour), int(minute), int(second or 0), text)
    try:
        days = date(int(year), int(month), int(day)).toordinal() - _EPOCH
    except ValueError as error:
        raise Rejected("bad_time", f"There is no day {shown(text)}: {error}. {_REMEDY}") from None
    seconds = days * 86_400 + clock_s - _offset_s(offset, text)
    return checked_us(seconds * 1_000_000 + int((fraction or "0")[:6].ljust(6, "0")), text)


def checked_us(microseconds: int, written: object) -> int:
    """Return the instant if every store can keep it.

    Raises:
        Rejected: `bad_time`.
    """
    if EARLIEST_US <= microseconds < LATEST_US:
        return microseconds
    raise Rejected(
        "bad_time",
        f"Wanted a time from 1678 to 2261, found {shown(written)}. "
        f"Set the clock of the device or gateway.",
    )


def _seconds_of_day(hour: int, minute: int, second: int, text: str) -> int:
    leap = second == 60 and minute == 59
    if hour > 23 or minute > 59 or (second > 59 and not leap):
        raise Rejected("bad_time", f"There is no such time of day: {shown(text)}. {_REMEDY}")
    return hour * 3600 + minute * 60 + second


def _offset_s(offset: str, text: str) -> int:
    if offset in "Zz":
        return 0
    hours, minutes = int(offset[1:3]), int(offset[-2:] if len(offset) > 3 else 0)
    if hours > 23 or minutes > 59:
        raise Rejected("bad_time", f"There is no such offset from UTC: {shown(text)}. {_REMEDY}")
    return (hours * 3600 + minutes * 60) * (-1 if offset[0] == "-" else 1)
