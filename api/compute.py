"""Tasks (meter points, period): fetch readings, call metering and carbon, save hours.

What is dirty is recomputed and nothing else: a reading can only move the increments between it and
its neighbours, so a dirty span is widened by a fixed number of readings and whole hours around it
are made again. The same functions on the same readings give the same bits, however the spans fall.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta

import numpy as np

from api.dirty_groups import together
from api.executors import Executor, Inline, Promise
from api.tasks import EmissionsTask, HoursTask, make_emissions, make_hours
from api.version import version
from carbon.registry import Registry
from metering.ledger.port import Dirty, Ledger
from metering.periods import Period, local_day, midnight, to_us, whole_hours
from metering.pipeline import register_type
from metering.readings import SET_ASIDE, Readings
from metering.registers import CONTEXT
from metering.series import Series
from metering.sites import Meter, MeterPoint, Site
from metering.store.port import ReadingStore, Span
from metering.units import Kind, RegisterType

log = logging.getLogger(__name__)

CODE = "1"
"""Version of the calculation, part of what derived rows were made from."""

ROWS_PER_TASK = 1_000_000
"""A task reads about so many readings at once; bounds memory."""

LONG = timedelta(days=2)
"""Longer dirty spans are taken whole, without a look at which registers they touch."""

SHORT = timedelta(days=7)
"""Windows no longer than this are cut by a count of readings that may be some minutes old."""

COUNTED_FOR_S = 600.0
"""How long such a count is used."""

FEW_TASKS = 3
"""Rounds of no more tasks than this are computed in this process."""

_INLINE = Inline()
_STEP = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Window:
    """Hours of one register at one meter point that must be made again."""

    point: MeterPoint
    register: str
    hours: Period


@dataclass(frozen=True, slots=True)
class Task:
    """Windows that are made together, as far as they lie in some hours."""

    hours: Period
    windows: Sequence[Window]

    @property
    def points(self) -> list[MeterPoint]:
        """The different points of the windows."""
        return list({window.point.id: window.point for window in self.windows}.values())


@dataclass(frozen=True, slots=True)
class Worked:
    """What one round of recomputation did."""

    ranges: int
    windows: int
    hours: int


@dataclass(slots=True)
class Recompute:
    """Works off dirty ranges: energy hours, then the emissions of the same hours."""

    store: ReadingStore
    ledger: Ledger
    sites: Callable[[], Mapping[str, Site]]
    registry: Callable[[], Registry]
    extra: Mapping[str, RegisterType] = field(default_factory=dict)
    executor: Executor = field(default_factory=Inline)
    """Who does the tasks of rounds with many of them."""
    on_made: Callable[[Site, Sequence[Window]], None] | None = None
    """Is told which hours were made again, once they are all in the store."""
    begun: int = 0
    """Rounds that began, for whoever waits for one that begins after now."""
    finished: int = 0
    """The number of the last round that ended well."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _perday: Mapping[str, float] = field(default_factory=dict)
    _counted_until: float = 0.0

    @property
    def busy(self) -> bool:
        """Whether a round is under way."""
        return self._lock.locked()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let no round run meanwhile, such as while definitions change."""
        with self._lock:
            yield

    def work_off(self) -> Worked:
        """Recompute everything that is dirty now; safe to call again after a crash anywhere."""
        with self._lock:
            self.begun += 1
            dirty = self.ledger.dirty()
            windows = hours = 0
            for site, ranges in self._by_site(dirty):
                found = self._windows(site, ranges)
                windows += len(found)
                hours += self._make(site, found)
                if self.on_made is not None and found:
                    self.on_made(site, found)
            self.ledger.clear_dirty(dirty)
            self.finished = self.begun
            return Worked(len(dirty), windows, hours)

    def _by_site(self, dirty: Iterable[Dirty]) -> Iterator[tuple[Site, list[Dirty]]]:
        sites = self.sites()
        found: dict[str, list[Dirty]] = {}
        for each in dirty:
            found.setdefault(each.meter.partition("/")[0], []).append(each)
        for name, ranges in sorted(found.items()):
            if name in sites:
                yield sites[name], ranges

    def _windows(self, site: Site, ranges: Sequence[Dirty]) -> list[Window]:
        """Which hours of which registers the dirty ranges can have moved."""
        together: dict[tuple[str, str], Window] = {}
        for period, meters in _alike(ranges, site):
            for window in self._touched(site, period, meters):
                key = (window.point.id, window.register)
                if key in together:
                    window = _joined(together[key], window)
                together[key] = window
        return [together[key] for key in sorted(together)]

    def _touched(self, site: Site, period: Period, meters: Sequence[str]) -> Iterator[Window]:
        readings = self._around(period, meters)
        believed = (readings.flags & SET_ASIDE) == 0
        low, high = to_us(period.start), to_us(period.end)
        inside = (readings.read_at >= low) & (readings.read_at <= high)
        for meter, register, rows in readings.registers_in_order():
            kind = register_type(register, self.extra)
            if kind is None or kind.kind is Kind.INSTANT:
                continue
            long = period.end - period.start > LONG
            if not long and not inside[rows].any():
                continue
            times = readings.read_at[rows][believed[rows] | inside[rows]]
            if not len(times):
                continue
            if not long and not (believed[rows] & inside[rows]).any():
                # Nothing believed came: only the hours that hold what came can say so.
                times = readings.read_at[rows][inside[rows]]
            few = (times < low).sum() < CONTEXT, (times > high).sum() < CONTEXT
            for placement in site.placements_of(meter.partition("/")[2]):
                hours = _with_fixtures(placement.meter, times[0], times[-1], few, site)
                if placement.meter.starts <= hours.end and hours.start <= placement.meter.ends:
                    yield Window(placement.point, register, hours)

    def _around(self, period: Period, meters: Sequence[str]) -> Readings:
        """The readings that bound what a dirty span touches; of a long one only its ends."""
        start, end = period.start, period.end + _STEP
        if end - start <= LONG:
            return self.store.read(Period(start, end), meters=meters, before=CONTEXT, after=CONTEXT)
        first = Period(start, start + _STEP)
        last = Period(end - _STEP, end)
        ends = [
            self.store.read(first, meters=meters, before=CONTEXT, after=1),
            self.store.read(last, meters=meters, before=1, after=CONTEXT),
        ]
        return _sorted(Readings.concat(ends))

    def _make(self, site: Site, windows: Sequence[Window]) -> int:
        """Compute and save the hours of windows, a bounded piece at a time.

        While some pieces are computed the next is read and the one before is saved; pieces are
        saved one after the other, in their order. A few pieces are computed here: to start others
        for them would take longer.
        """
        made = 0
        tasks = list(_tasks(site, windows, self._density(site, windows)))
        executor = self.executor if len(tasks) > FEW_TASKS else _INLINE
        with ThreadPoolExecutor(1, "recompute-save") as saver:
            saved: deque[Future[int]] = deque()
            for task, readings in self._read_ahead(site, tasks):
                hours = executor.submit(make_hours, self._hours_task(site, task, readings))
                saved.append(saver.submit(self._save, site, task, hours, executor))
                while len(saved) > executor.width:
                    made += saved.popleft().result()
            made += sum(each.result() for each in saved)
        return made

    def _read_ahead(self, site: Site, tasks: Iterable[Task]) -> Iterator[tuple[Task, Readings]]:
        """The readings of each task; those of the next are fetched while one is worked on."""
        coming: tuple[Task, Future[Readings]] | None = None
        with ThreadPoolExecutor(1, "recompute-read") as reader:
            for task in tasks:
                following = task, reader.submit(self._read, site, task)
                if coming is not None:
                    yield coming[0], coming[1].result()
                coming = following
            if coming is not None:
                yield coming[0], coming[1].result()

    def _density(self, site: Site, windows: Sequence[Window]) -> Mapping[str, float]:
        """Readings a day of every meter, for the size of tasks.

        Counting them is a look at all that is stored, so it is done again only for windows that
        may hold much, for meters not seen before, and now and then.
        """
        meters = {site.meter_key(m.serial) for w in windows for m in w.point.meters}
        long = any(w.hours.end - w.hours.start > SHORT for w in windows)
        now = time.monotonic()
        if long or now > self._counted_until or not meters <= self._perday.keys():
            perday = dict.fromkeys(meters, 0.0)
            for each in self.store.summaries():
                days = (each.last_read_at - each.first_read_at) / timedelta(days=1)
                perday[each.meter] = perday.get(each.meter, 0.0) + each.count / max(days, 1.0)
            self._perday, self._counted_until = perday, now + COUNTED_FOR_S
        return self._perday

    def _read(self, site: Site, task: Task) -> Readings:
        meters = sorted({site.meter_key(m.serial) for p in task.points for m in p.meters})
        registers = sorted({window.register for window in task.windows})
        return self.store.read(
            task.hours, meters=meters, registers=registers, before=CONTEXT, after=CONTEXT
        )

    def _hours_task(self, site: Site, task: Task, readings: Readings) -> HoursTask:
        asked = {(w.point.id, w.register): _clip(w.hours, task.hours) for w in task.windows}
        return HoursTask(
            site, task.points, readings, task.hours, asked, self.extra, CODE, version()
        )

    def _save(self, site: Site, task: Task, coming: Promise[Series], executor: Executor) -> int:
        """Put the hours of a task in place, and the emissions of the same hours."""
        series = coming.result()
        spans = [
            Span(site.point_key(w.point), _clip(w.hours, task.hours), w.register)
            for w in task.windows
        ]
        self.store.replace("energy", series, spans=spans)
        self._emit(site, task.points, task.windows, task.hours, executor)
        return len(series)

    def _emit(
        self,
        site: Site,
        points: Sequence[MeterPoint],
        windows: Sequence[Window],
        hours: Period,
        executor: Executor,
    ) -> None:
        """Make the emissions of the hours that were just made."""
        spans: dict[str, Period] = {}
        for window in windows:
            clipped = _clip(window.hours, hours)
            if clipped.start < clipped.end:
                known = spans.get(window.point.id, clipped)
                spans[window.point.id] = Period(
                    min(known.start, clipped.start), max(known.end, clipped.end)
                )
        points = [point for point in points if point.id in spans]
        if points:
            subjects = [site.point_key(point) for point in points]
            energy = self.store.series("energy", hours, subjects=subjects)
            task = EmissionsTask(site, points, energy, self.registry(), spans, version())
            series = executor.submit(make_emissions, task).result()
            self.store.replace(
                "emissions",
                series,
                spans=[Span(site.point_key(p), spans[p.id]) for p in points],
            )


def _with_fixtures(
    meter: Meter,
    first: np.datetime64,
    last: np.datetime64,
    few: tuple[bool, bool],
    site: Site,
) -> Period:
    """Whole hours from first to last reading, and to what was noted at an exchange near them."""
    if few[0] and meter.installed:
        first = min(first, to_us(meter.installed.at))
    if few[1] and meter.removed:
        last = max(last, to_us(meter.removed.at))
    return whole_hours(first, last, tz=site.timezone)


def _clip(period: Period, hours: Period) -> Period:
    start = min(max(period.start, hours.start), hours.end)
    return Period(start, max(start, min(period.end, hours.end)))


def _joined(one: Window, other: Window) -> Window:
    start = min(one.hours.start, other.hours.start)
    return Window(one.point, one.register, Period(start, max(one.hours.end, other.hours.end)))


def _alike(ranges: Sequence[Dirty], site: Site) -> list[tuple[Period, list[str]]]:
    """Meters whose dirty spans lie together, with the span that holds them all."""

    def days(each: Dirty) -> tuple[date, date]:
        return _days(each.period, site)

    found = []
    for group in together(ranges, days=days, owner=lambda each: each.meter):
        period = Period(min(e.period.start for e in group), max(e.period.end for e in group))
        found.append((period, sorted({e.meter for e in group})))
    return found


def _days(period: Period, site: Site) -> tuple[date, date]:
    return local_day(period.start, tz=site.timezone), local_day(period.end, tz=site.timezone)


def _sorted(readings: Readings) -> Readings:
    order = np.lexsort((readings.read_at, readings.register, readings.meter))
    return readings.take(order)


def _tasks(site: Site, windows: Sequence[Window], density: Mapping[str, float]) -> Iterator[Task]:
    """Windows that lie together, cut at the site's days into pieces of bounded size."""
    groups = together(
        windows,
        days=lambda window: _days(window.hours, site),
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
    days = max(1, int(ROWS_PER_TASK / max(_rows_per_day(site, windows, density), 1.0)))
    low = start
    while low < end:
        day = local_day(low, tz=site.timezone) + timedelta(days=min(days, 366))
        high = min(end, midnight(day, tz=site.timezone))
        inside = [w for w in windows if w.hours.start < high and low < w.hours.end]
        yield Task(Period(low, high), inside)
        low = high


def everything(store: ReadingStore, meters: Iterable[str]) -> list[tuple[str, Period]]:
    """The whole span of readings of each meter, to be marked dirty."""
    wanted = set(meters)
    found: dict[str, Period] = {}
    for each in store.summaries():
        if each.meter in wanted:
            known = found.get(each.meter, each.believed)
            found[each.meter] = Period(
                min(known.start, each.believed.start), max(known.end, each.believed.end)
            )
    return sorted(found.items())
