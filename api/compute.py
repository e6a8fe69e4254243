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
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date, timedelta

import numpy as np

from api.dirty_groups import together
from api.executors import ComputeUnavailable, Executor, Inline, Promise
from api.stored_tasks import (
    StoredTask,
    emit_stored,
    emitted,
    fetched,
    make_stored,
    save_emissions,
    save_energy,
)
from api.tasks import HoursTask, MadeHours, Shared, make_hours
from api.windows import Task, days_of, joined, tasks_of
from api.windows import Window as Window
from carbon.registry import Registry
from metering.ledger.port import Dirty, Ledger
from metering.periods import Period, Times, to_us, whole_hours
from metering.pipeline import register_type
from metering.readings import SET_ASIDE, Mask, Readings
from metering.registers import CONTEXT
from metering.series import Series
from metering.sites import Meter, Site
from metering.store.port import Opening, ReadingStore
from metering.units import Kind, RegisterType

log = logging.getLogger(__name__)

CODE = "1"
"""Version of the calculation, part of what derived rows were made from."""

LONG = timedelta(days=2)
"""Longer dirty spans are taken whole, without a look at which registers they touch."""

SHORT = timedelta(days=7)
"""Windows no longer than this are cut by a count of readings that may be some minutes old."""

COUNTED_FOR_S = 600.0
"""How long such a count is used."""

LARGE_ROWS = 4_000_000
"""Rounds that read fewer readings are made in this process: to start others takes a second."""

_INLINE = Inline()
_STEP = timedelta(microseconds=1)


class NotOurs(ComputeUnavailable):
    """Another process makes the hours now."""


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
    still_ours: Callable[[], bool] = lambda: True
    """Whether this process may make hours now, such as while it holds a lease."""
    on_made: Callable[[Site, Sequence[Window]], None] | None = None
    """Is told which hours were made again, once they are all in the store."""
    begun: int = 0
    """Rounds that began, for whoever waits for one that begins after now."""
    finished: int = 0
    """The number of the last round that ended well."""
    _owed: list[tuple[str, Period]] = field(default_factory=list)
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
        """Recompute everything that is dirty now; safe to call again after a crash anywhere.

        Raises:
            NotOurs: Another process makes hours now. What this one was at is dirty again.
        """
        with self._lock:
            self.settle()
            self.begun += 1
            dirty = self.ledger.dirty()
            windows = hours = 0
            try:
                for site, ranges in self._by_site(dirty):
                    found = self._windows(site, ranges)
                    windows += len(found)
                    hours += self._make(site, found)
                    if self.on_made is not None and found:
                        self.on_made(site, found)
            finally:
                if not self.still_ours():
                    # Others may have made these hours from newer readings, and then we saved ours.
                    self._owed += [(each.meter, each.period) for each in dirty]
                    self.settle()
            self._check_ours()
            self.ledger.clear_dirty(dirty)
            self.finished = self.begun
            return Worked(len(dirty), windows, hours)

    def settle(self) -> None:
        """Mark as dirty what was at work when another process took over.

        Raises:
            LedgerUnavailable: It is remembered; call again.
        """
        if self._owed:
            self.ledger.mark_dirty(self._owed)
            self._owed.clear()

    def _check_ours(self) -> None:
        if not self.still_ours():
            raise NotOurs("Another process makes the hours now; this one begins nothing more.")

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
        found: dict[tuple[str, str], Window] = {}
        for period, meters in _alike(ranges, site):
            for window in self._touched(site, period, meters):
                key = (window.point.id, window.register)
                if key in found:
                    window = joined(found[key], window)
                found[key] = window
        return [found[key] for key in sorted(found)]

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
            taken = believed[rows] | inside[rows]
            if not long and not (believed[rows] & inside[rows]).any():
                # Nothing believed came: only the hours that hold what came can say so.
                taken = inside[rows]
            times = _within(readings.read_at[rows], believed[rows], taken)
            if not len(times):
                continue
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
        """Make and save the hours of windows, a bounded piece at a time."""
        tasks = list(tasks_of(site, windows, self._density(site, windows)))
        if sum(task.rows for task in tasks) <= LARGE_ROWS:
            return self._make_in_order(site, tasks, {}, _INLINE)
        registers = self._registers(site, windows)
        opening = None if isinstance(self.executor, Inline) else self.store.opening
        if opening is None:
            return self._make_in_order(site, tasks, registers, self.executor)
        return self._make_apart(site, tasks, registers, opening)

    def _make_in_order(
        self,
        site: Site,
        tasks: Sequence[Task],
        registers: Mapping[str, set[str]],
        executor: Executor,
    ) -> int:
        """This process alone has the store.

        While some pieces are made the next is read and the one before is saved; pieces are saved
        one after the other, in their order, whoever makes them.
        """
        made = 0
        given = self._given(site, self._read_ahead(site, tasks), registers)
        with ThreadPoolExecutor(1, "recompute-save") as saver:
            saved: Future[None] | None = None
            for task, emitted_too, hours in _in_order(executor, given):
                if saved is not None:
                    saved.result()
                saved = saver.submit(self._save, site, task, hours, emitted_too)
                made += len(hours.energy)
            if saved is not None:
                saved.result()
        return made

    def _make_apart(
        self,
        site: Site,
        tasks: Sequence[Task],
        registers: Mapping[str, set[str]],
        opening: Opening,
    ) -> int:
        """Whoever makes a piece fetches and saves it too.

        Emissions that may need the energy of several pieces are made once all of it is saved.
        """
        later: list[StoredTask] = []

        def pieces() -> Iterator[StoredTask]:
            for piece, spans in self._pieces(site, tasks, registers, opening):
                if spans:
                    later.append(piece.for_the_rest(spans))
                yield piece

        def rest() -> Iterator[StoredTask]:
            for piece in later:
                self._check_ours()
                yield piece

        made = sum(_all_done(self.executor, make_stored, pieces()))
        for _ in _all_done(self.executor, emit_stored, rest()):
            pass
        return made

    def _pieces(
        self,
        site: Site,
        tasks: Iterable[Task],
        registers: Mapping[str, set[str]],
        opening: Opening,
    ) -> Iterator[tuple[StoredTask, dict[str, Period]]]:
        """What each task is handed, and the hours whose emissions must wait."""
        shared: Shared | None = None
        for task in tasks:
            self._check_ours()
            shared = self._shared(site, task, shared)
            complete, spans = task.complete(registers), task.spans
            now = {name: span for name, span in spans.items() if name in complete}
            later = {name: span for name, span in spans.items() if name not in complete}
            yield StoredTask(shared, opening, task.hours, task.asked, now), later

    def _shared(self, site: Site, task: Task, before: Shared | None) -> Shared:
        """What a task has in common with others; the same for the same points."""
        if before is not None and before.points == task.points:
            return before
        return Shared(site, task.points, self.registry(), self.extra, CODE)

    def _registers(self, site: Site, windows: Sequence[Window]) -> dict[str, set[str]]:
        """Every register of which points have hours, or will have."""
        found: dict[str, set[str]] = {}
        for window in windows:
            found.setdefault(window.point.id, set()).add(window.register)
        for subject, register in self.store.quantities("energy"):
            name, _, point = subject.partition("/")
            if name == site.id and point in found:
                found[point].add(register)
        return found

    def _given(
        self,
        site: Site,
        read: Iterable[tuple[Task, Readings]],
        registers: Mapping[str, set[str]],
    ) -> Iterator[tuple[Task, HoursTask]]:
        """What each task is handed; tasks of the same points share what they can."""
        shared: Shared | None = None
        for task, readings in read:
            shared = self._shared(site, task, shared)
            complete = task.complete(registers)
            spans = {name: span for name, span in task.spans.items() if name in complete}
            yield task, HoursTask(shared, readings, task.hours, task.asked, spans)

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
        registers = {window.register for window in task.windows}
        return fetched(self.store, site, task.points, registers, task.hours)

    def _save(self, site: Site, task: Task, made: MadeHours, emitted_too: Iterable[str]) -> None:
        """Put the hours of a task in place, and the emissions of the same hours."""
        self._check_ours()
        save_energy(self.store, site, task.points, task.asked, made.energy)
        spans = task.spans
        rest = [p for p in task.points if p.id in spans and p.id not in emitted_too]
        more = emitted(self.store, site, rest, task.hours, spans, self.registry())
        save_emissions(self.store, site, task.points, spans, Series.concat([made.emissions, more]))


def _all_done(
    executor: Executor, function: Callable[[StoredTask], int], tasks: Iterable[StoredTask]
) -> Iterator[int]:
    """What came of each task, in their order."""
    under_way: deque[Promise[int]] = deque()
    try:
        for task in tasks:
            under_way.append(executor.submit(function, task))
            while len(under_way) > executor.ahead:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        # After a failure the others still save: the next round must not begin before they are done.
        for promise in under_way:
            with suppress(Exception):
                promise.result()


def _in_order(
    executor: Executor, given: Iterable[tuple[Task, HoursTask]]
) -> Iterator[tuple[Task, Mapping[str, Period], MadeHours]]:
    """What was made of each task and for which points emissions too, in the order of the tasks."""
    under_way: deque[tuple[Task, Mapping[str, Period], Promise[MadeHours]]] = deque()
    for task, handed in given:
        under_way.append((task, handed.spans, executor.submit(make_hours, handed)))
        while len(under_way) > executor.ahead:
            done, emitted, promise = under_way.popleft()
            yield done, emitted, promise.result()
    for done, emitted, promise in under_way:
        yield done, emitted, promise.result()


def _within(times: Times, believed: Mask, taken: Mask) -> Times:
    """The taken times from the first to the last believed reading; no hour is made beyond.

    A wrong clock may have shown a time that is decades away.
    """
    sure = times[believed]
    if not len(sure):
        return sure
    return np.asarray(times[taken & (sure[0] <= times) & (times <= sure[-1])])


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


def _alike(ranges: Sequence[Dirty], site: Site) -> list[tuple[Period, list[str]]]:
    """Meters whose dirty spans lie together, with the span that holds them all."""

    def days(each: Dirty) -> tuple[date, date]:
        return days_of(each.period, site)

    found = []
    for group in together(ranges, days=days, owner=lambda each: each.meter):
        period = Period(min(e.period.start for e in group), max(e.period.end for e in group))
        found.append((period, sorted({e.meter for e in group})))
    return found


def _sorted(readings: Readings) -> Readings:
    order = np.lexsort((readings.read_at, readings.register, readings.meter))
    return readings.take(order)


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
