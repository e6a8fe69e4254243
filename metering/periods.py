"""Half-open UTC periods, and the site's own hours, days, months and years.

A site's zone only decides where days, months and years begin; everything else is UTC. Hours and
quarter hours are counted from the site's local midnight, so that they always tile its days, also
in zones whose offset is not a whole hour.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Literal, TypeAlias
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

Times: TypeAlias = NDArray[np.datetime64]
"""A column of instants, datetime64[us], UTC."""

Every: TypeAlias = Literal["15min", "hour", "day", "month", "year"]
"""The length of an answer's intervals."""

HOUR_US = 3_600_000_000
"""Microseconds in an hour."""

_STEP = {"15min": timedelta(minutes=15), "hour": timedelta(hours=1)}


class PeriodError(ValueError):
    """A span of time that cannot be."""


@dataclass(frozen=True, slots=True, order=True)
class Period:
    """A half-open span of time, [start, end), both ends in UTC."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise PeriodError(f"Wanted times with an offset, found {self.start} to {self.end}.")
        if self.end < self.start:
            raise PeriodError(f"Wanted a period that ends after its start, found {self}.")

    def __str__(self) -> str:
        return f"{utc_text(self.start)}/{utc_text(self.end)}"

    @classmethod
    def days(cls, first: date, until: date, *, tz: ZoneInfo) -> Period:
        """The site's days from `first` (included) to `until` (not included)."""
        return cls(midnight(first, tz=tz), midnight(until, tz=tz))

    @classmethod
    def month(cls, year: int, month: int, *, tz: ZoneInfo) -> Period:
        """The calendar month as the site's own clock sees it."""
        first = date(year, month, 1)
        return cls.days(first, _next_month(first), tz=tz)

    @classmethod
    def year(cls, year: int, *, tz: ZoneInfo) -> Period:
        """The calendar year as the site's own clock sees it."""
        return cls.days(date(year, 1, 1), date(year + 1, 1, 1), tz=tz)

    @property
    def seconds(self) -> float:
        """Its length in seconds."""
        return (self.end - self.start).total_seconds()

    def contains(self, instant: datetime) -> bool:
        """Whether the instant lies in the period."""
        return self.start <= instant < self.end


def midnight(day: date, *, tz: ZoneInfo) -> datetime:
    """The UTC instant at which a local day begins.

    Where a clock change skips midnight the day begins at the first instant that exists.
    """
    return datetime(day.year, day.month, day.day, tzinfo=tz).astimezone(UTC)


def local_day(instant: datetime, *, tz: ZoneInfo) -> date:
    """The site's day an instant lies in."""
    return instant.astimezone(tz).date()


def utc_text(instant: datetime) -> str:
    """An instant as answers print it: YYYY-MM-DDTHH:MM:SSZ; fractions only where there are any."""
    text = instant.astimezone(UTC).replace(tzinfo=None).isoformat()
    return text + "Z"


def to_us(instant: datetime) -> np.datetime64:
    """An aware instant as one element of a `Times` column."""
    return np.datetime64(instant.astimezone(UTC).replace(tzinfo=None), "us")


def from_us(instant: np.datetime64) -> datetime:
    """One element of a `Times` column as an aware instant."""
    moment: datetime = instant.astype("datetime64[us]").item()
    return moment.replace(tzinfo=UTC)


def _next_month(first: date) -> date:
    return date(first.year + first.month // 12, first.month % 12 + 1, 1)


def _next_start(day: date, every: Every) -> date:
    """The first day of the calendar interval after the one that holds `day`."""
    if every == "year":
        return date(day.year + 1, 1, 1)
    if every == "month":
        return _next_month(day.replace(day=1))
    return day + timedelta(days=1)


def _calendar_starts(period: Period, every: Every, *, tz: ZoneInfo) -> Iterator[datetime]:
    day = local_day(period.start, tz=tz)
    while (start := midnight(day, tz=tz)) < period.end:
        yield start
        day = _next_start(day, every) if every in ("month", "year") else day + timedelta(days=1)


@lru_cache(maxsize=128)
def edges(period: Period, every: Every, *, tz: ZoneInfo) -> Times:
    """Where the intervals of a period begin and end, in site time.

    A period that starts or ends inside a calendar interval clips it.

    Returns:
        n + 1 strictly increasing instants for n intervals; the first is the period's start, the
        last its end. A local day has 92, 96 or 100 quarter hours. Read-only: it is kept for
        whoever asks for the same.
    """
    starts = [max(start, period.start) for start in _calendar_starts(period, every, tz=tz)]
    if every in _STEP:
        step = np.timedelta64(_STEP[every], "us")
        bounds = [to_us(midnight(local_day(s, tz=tz), tz=tz)) for s in starts]
        ends = [*bounds[1:], to_us(period.end)]
        parts = [np.arange(a, b, step) for a, b in zip(bounds, ends, strict=True)]
        found = np.concatenate(parts) if parts else np.empty(0, "datetime64[us]")
        found = found[(found > to_us(period.start)) & (found < to_us(period.end))]
    else:
        found = np.array([to_us(start) for start in starts[1:]], "datetime64[us]")
    ends_at = np.array([to_us(period.start), to_us(period.end)], "datetime64[us]")
    if period.start == period.end:
        found, ends_at = found[:0], ends_at[:1]
    marks = np.concatenate([ends_at[:1], found, ends_at[1:]])
    marks.flags.writeable = False
    return marks


def whole_hours(start: np.datetime64, end: np.datetime64, *, tz: ZoneInfo) -> Period:
    """The smallest period of whole site hours that encloses [start, end]."""
    begin, stop = _hour_around(start, tz)
    if end > to_us(stop):
        low, high = _hour_around(end, tz)
        stop = low if to_us(low) == end else high
    return Period(begin, stop)


@lru_cache(maxsize=4096)
def _hour_around(instant: np.datetime64, tz: ZoneInfo) -> tuple[datetime, datetime]:
    """The site hour that holds an instant; meters are often read at the same ones."""
    moment = from_us(instant)
    day = local_day(moment, tz=tz)
    whole = Period(midnight(day, tz=tz), midnight(day + timedelta(days=1), tz=tz))
    marks = edges(whole, "hour", tz=tz)
    low = int(np.searchsorted(marks, to_us(moment), side="right")) - 1
    return from_us(marks[low]), from_us(marks[low + 1])
