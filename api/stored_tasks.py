"""Tasks that fetch and save by themselves, for stores that several processes may open.

Nothing but names travels then, and reading and writing are shared out too. A task that is done
twice writes the same again. Tasks run beside each other, so what needs the hours of other tasks
waits until all of those are saved.

A worker that stood still may have been replaced, and newer hours saved by whoever did its task
again: what it made is then too old to be saved.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from api.emission_hours import emission_series
from api.executors import ComputeUnavailable
from api.leases import lasting_s
from api.tasks import HoursTask, Shared, make_hours, without_origin
from carbon.registry import Registry
from metering.periods import Period
from metering.readings import Readings
from metering.registers import CONTEXT
from metering.series import Series
from metering.sites import MeterPoint, Site
from metering.store.port import Opening, ReadingStore, Span

SAVE_WITHIN_S = 120.0
"""From what was fetched so long ago no hours are saved. Reckoning takes seconds; a Dask scheduler
gives the tasks of a worker that does not answer to another after five minutes."""


class TooOld(ComputeUnavailable):
    """What was made must not be saved any more."""


@dataclass(frozen=True, slots=True)
class StoredTask:
    """Hours of some registers at some points, in a store that the worker opens.

    Attributes:
        shared: The points, and what else other tasks have too.
        opening: Opens the store.
        hours: Whole hours; nothing outside of them is made.
        asked: Which part of them, by point and register.
        spans: The points whose emissions are made, and the hours of each.
        within_s: How old what was fetched may be when it is saved.
    """

    shared: Shared
    opening: Opening
    hours: Period
    asked: Mapping[tuple[str, str], Period]
    spans: Mapping[str, Period]
    within_s: float = SAVE_WITHIN_S

    def for_the_rest(self, spans: Mapping[str, Period]) -> StoredTask:
        """The same, for the emissions of other points."""
        return replace(self, spans=spans)


def make_stored(task: StoredTask) -> int:
    """Fetch, make and save the energy of the hours, and the emissions that need nothing else.

    Returns:
        How many hours were made.

    Raises:
        StoreUnavailable: The store does not answer the worker.
        TooOld: The worker stood still meanwhile.
    """
    store, shared = _opened(task.opening), task.shared
    registers = {register for _, register in task.asked}
    readings = fetched(store, shared.site, shared.points, registers, task.hours)
    since = lasting_s()
    made = make_hours(HoursTask(shared, readings, task.hours, task.asked, task.spans))
    _check_fresh(task, since)
    save_energy(store, shared.site, shared.points, task.asked, made.energy)
    _check_fresh(task, since)
    save_emissions(store, shared.site, shared.points, task.spans, made.emissions)
    return len(made.energy)


def emit_stored(task: StoredTask) -> int:
    """Make and save the emissions of hours whose energy is in the store.

    Returns:
        How many rows were made.

    Raises:
        StoreUnavailable: The store does not answer the worker.
        TooOld: The worker stood still meanwhile.
    """
    store, site = _opened(task.opening), task.shared.site
    points = [point for point in task.shared.points if point.id in task.spans]
    since = lasting_s()
    made = emitted(store, site, points, task.hours, task.spans, task.shared.registry)
    _check_fresh(task, since)
    save_emissions(store, site, points, task.spans, made)
    return len(made)


def fetched(
    store: ReadingStore,
    site: Site,
    points: Iterable[MeterPoint],
    registers: Iterable[str],
    hours: Period,
) -> Readings:
    """All readings that can move these hours, without their origin."""
    meters = sorted({site.meter_key(m.serial) for p in points for m in p.meters})
    names = sorted(set(registers))
    found = store.read(hours, meters=meters, registers=names, before=CONTEXT, after=CONTEXT)
    return without_origin(found)


def emitted(
    store: ReadingStore,
    site: Site,
    points: Sequence[MeterPoint],
    hours: Period,
    spans: Mapping[str, Period],
    registry: Registry,
) -> Series:
    """The emissions of points from the energy that is stored."""
    if not points:
        return Series.concat([])
    energy = store.series("energy", hours, subjects=[site.point_key(point) for point in points])
    return emission_series(site, points, energy, registry, spans=spans)


def save_energy(
    store: ReadingStore,
    site: Site,
    points: Iterable[MeterPoint],
    asked: Mapping[tuple[str, str], Period],
    energy: Series,
) -> None:
    """Put energy in the place of what the asked hours held."""
    keys = {point.id: site.point_key(point) for point in points}
    spans = [Span(keys[point], hours, register) for (point, register), hours in asked.items()]
    store.replace("energy", energy, spans=spans)


def save_emissions(
    store: ReadingStore,
    site: Site,
    points: Iterable[MeterPoint],
    spans: Mapping[str, Period],
    emissions: Series,
) -> None:
    """Put emissions in the place of what these hours of the points held."""
    if spans:
        keys = {point.id: site.point_key(point) for point in points}
        found = [Span(keys[point], hours) for point, hours in spans.items()]
        store.replace("emissions", emissions, spans=found)


def _check_fresh(task: StoredTask, since_s: float) -> None:
    took_s = lasting_s() - since_s
    if took_s > task.within_s:
        raise TooOld(
            f"This worker needed {took_s:.0f} s for what takes seconds, so its hours may be older "
            "than those in the store by now; they are not saved. What is dirty stays so and is "
            "made again. Look why its machine stood still."
        )


@lru_cache(maxsize=2)
def _opened(opening: Opening) -> ReadingStore:
    """The store, opened once in each process."""
    return opening()
