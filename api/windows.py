"""Hours that must be made again, and the tasks they are cut into."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import date, timedelta

from api.dirty_groups import together
from api.emission_hours import source_of
from metering.periods import Period, local_day, midnight
from metering.sites import MeterPoint, Site

ROWS_PER_TASK = 1_000_000
"""A task reads about so many readings at once; bounds memory."""


@dataclass(frozen=True, slots=True)
class Window:
    """Hours of one register at one meter point that must be made again."""

    point: MeterPoint
    register: str
    hours: Period


@dataclass(frozen=True, slots=True)
class Task:
    """Windows that are made together, as far as they lie in some hours.

    Attributes:
        hours: Whole hours.
        windows: Each has some of these hours.
        rows: About so many readings are read for it.
    """

    hours: Period
    windows: Sequence[Window]
    rows: float

    @property
    def points(self) -> list[MeterPoint]:
        """The different points of the windows."""
        return list({window.point.id: window.point for window in self.windows}.values())

    @property
    def asked(self) -> dict[tuple[str, str], Period]:
        """Which of its hours each window has, by point and register."""
        return {(w.point.id, w.register): clipped(w.hours, self.hours) for w in self.windows}

    @property
    def spans(self) -> dict[str, Period]:
        """From the first to the last of these hours of any register, by point."""
        found: dict[str, Period] = {}
        for (point, _), hours in self.asked.items():
            if hours.start < hours.end:
                known = found.get(point, hours)
                found[point] = Period(min(known.start, hours.start), max(known.end, hours.end))
        return found

    def complete(self, registers: Mapping[str, AbstractSet[str]]) -> set[str]:
        """The points whose energy in these hours is made by this task and nowhere else.

        Emissions may need another register of the same point, such as the volume of gas where its
        energy is not known. Those of a complete point need nothing but what the task makes.

        Args:
            registers: Every register that a point has hours of, stored or about to be made.
        """
        whole: dict[str, set[str]] = {}
        for (name, register), hours in self.asked.items():
            if hours == self.hours:
                whole.setdefault(name, set()).add(register)
        found = set()
        for point in self.points:
            has = registers.get(point.id)
            alone = has is not None and (len(has) == 1 or has <= whole.get(point.id, set()))
            if alone or source_of(point) is None:
                found.add(point.id)
        return found


def clipped(period: Period, hours: Period) -> Period:
    """The part of a period inside some hours; empty if there is none."""
    start = min(max(period.start, hours.start), hours.end)
    return Period(start, max(start, min(period.end, hours.end)))


def joined(one: Window, other: Window) -> Window:
    """The window that holds two of one register."""
    start = min(one.hours.start, other.hours.start)
    return Window(one.point, one.register, Period(start, max(one.hours.end, other.hours.end)))


def days_of(period: Period, site: Site) -> tuple[date, date]:
    """The first and the last day of a period at a site."""
    return local_day(period.start, tz=site.timezone), local_day(period.end, tz=site.timezone)


def tasks_of(site: Site, windows: Sequence[Window], density: Mapping[str, float]) -> Iterator[Task]:
    """Windows that lie together, cut at the site's days into tasks of bounded size.

    Args:
        site: Whose points the windows are of.
        windows: What must be made.
        density: Readings a day of each meter.
    """
    groups = together(
        windows,
        days=lambda window: days_of(window.hours, site),
        owner=lambda window: f"{window.point.id} {window.register}",
    )
    for group in groups:
        for part in _bounded(site, group, density):
            yield from _pieces(site, part, density)


def _rows_per_day(site: Site, windows: Iterable[Window], density: Mapping[str, float]) -> float:
    meters = {site.meter_key(m.serial) for w in windows for m in w.point.meters}
    return sum(density.get(meter, 1.0) for meter in meters)


def _bounded(
    site: Site, windows: list[Window], density: Mapping[str, float]
) -> Iterator[list[Window]]:
    """Cut windows into groups of points of which one day fits a task."""
    part: list[Window] = []
    points: set[str] = set()
    rows = 0.0
    for window in windows:
        if window.point.id not in points:
            rows += _rows_per_day(site, [window], density)
            if part and rows > ROWS_PER_TASK:
                yield part
                part, points, rows = [], set(), _rows_per_day(site, [window], density)
            points.add(window.point.id)
        part.append(window)
    yield part


def _pieces(site: Site, windows: list[Window], density: Mapping[str, float]) -> Iterator[Task]:
    start = min(window.hours.start for window in windows)
    end = max(window.hours.end for window in windows)
    rows = _rows_per_day(site, windows, density)
    days = max(1, int(ROWS_PER_TASK / max(rows, 1.0)))
    low = start
    while low < end:
        day = local_day(low, tz=site.timezone) + timedelta(days=min(days, 366))
        high = min(end, midnight(day, tz=site.timezone))
        inside = [w for w in windows if w.hours.start < high and low < w.hours.end]
        yield Task(Period(low, high), inside, rows * ((high - low) / timedelta(days=1)))
        low = high
