"""The tasks of a recomputation as pure functions: columns in, columns out.

They open nothing, read no clock and know no store, so that any process may do them: this one, one
of a pool, a worker of a Dask cluster. The same input gives the same bytes wherever it is done.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np

from api.emission_hours import emission_series, source_of
from api.packing import Packed, packed, unpacked
from carbon.registry import Registry
from metering.periods import Period
from metering.pipeline import hours_of, streams_of
from metering.readings import Readings
from metering.series import SHARES, Series
from metering.sites import MeterPoint, Site
from metering.units import RegisterType

_READINGS = ("meter", "register", "read_at", "value", "flags", "received_at", "journal", "sequence")
_HOURS = ("subject", "quantity", "start", "duration_s", "value", *SHARES, "flags", "source")


@dataclass(frozen=True, slots=True)
class Shared:
    """What tasks have in common: pickled once for all of them, unpickled once in every process."""

    site: Site
    points: Sequence[MeterPoint]
    """Those of the site whose hours are made."""
    registry: Registry
    extra: Mapping[str, RegisterType]
    """Registers that profiles add."""
    code: str
    """Version of the calculation."""
    _bytes: list[bytes] = field(default_factory=list, compare=False, repr=False)

    def __reduce__(self) -> tuple[Callable[[bytes], Shared], tuple[bytes]]:
        if not self._bytes:
            values = (self._site(), self.points, self._registry(), dict(self.extra), self.code)
            self._bytes.append(pickle.dumps(values, pickle.HIGHEST_PROTOCOL))
        return _shared, (self._bytes[0],)

    def _site(self) -> Site:
        """The site with no other points; it may have a hundred thousand."""
        return replace(self.site, buildings=(), quotas=(), points=tuple(self.points))

    def _registry(self) -> Registry:
        """The factors the points can ask for, in all versions."""
        sources = (source_of(point) for point in self.points)
        keys = {source.key for source in sources if source and source.key}
        return Registry(f for key in sorted(keys) for f in self.registry.versions(key))


@lru_cache(maxsize=4)
def _shared(pickled: bytes) -> Shared:
    return Shared(*pickle.loads(pickled))


@dataclass(frozen=True, slots=True)
class HoursTask:
    """Hours of some registers at some points.

    Attributes:
        shared: The points, and what else other tasks have too.
        readings: Everything that can move these hours, sorted.
        hours: Whole hours; nothing outside of them is made.
        asked: Which part of them, by point and register.
        spans: The points whose emissions are made too, and the hours of each: the energy of these
            hours is all that is known of them.
    """

    shared: Shared
    readings: Readings
    hours: Period
    asked: Mapping[tuple[str, str], Period]
    spans: Mapping[str, Period]

    def __reduce__(self) -> tuple[Callable[..., HoursTask], tuple[object, ...]]:
        readings = _take_apart(self.readings, _READINGS)
        return _task, (self.shared, readings, self.hours, self.asked, self.spans)


@dataclass(frozen=True, slots=True)
class MadeHours:
    """What a task made."""

    energy: Series
    emissions: Series

    def __reduce__(self) -> tuple[Callable[..., MadeHours], tuple[object, ...]]:
        both = (self.energy, self.emissions)
        names = [(s.subjects, s.quantities, s.sources) for s in both]
        return _made, (names, packed([getattr(s, name) for s in both for name in _HOURS]))


def _take_apart(readings: Readings, columns: Sequence[str]) -> tuple[object, Packed]:
    names = (readings.meters, readings.registers, readings.journals)
    return names, packed([getattr(readings, name) for name in columns])


def _task(
    shared: Shared,
    readings: tuple[Any, Packed],
    hours: Period,
    asked: Mapping[tuple[str, str], Period],
    spans: Mapping[str, Period],
) -> HoursTask:
    names, columns = readings
    return HoursTask(shared, Readings(*names, *unpacked(columns)), hours, asked, spans)


def _made(names: Sequence[Any], columns: Packed) -> MadeHours:
    values = unpacked(columns)
    energy, emissions = values[: len(_HOURS)], values[len(_HOURS) :]
    return MadeHours(Series(*names[0], *energy), Series(*names[1], *emissions))


def without_origin(readings: Readings) -> Readings:
    """The readings without when and from where they came: no figure depends on it."""
    none = np.zeros(1, np.int32)
    return replace(
        readings,
        journals=("",),
        received_at=np.broadcast_to(np.zeros(1, "datetime64[us]"), len(readings)),
        journal=np.broadcast_to(none, len(readings)),
        sequence=np.broadcast_to(none.astype(np.int64), len(readings)),
    )


def make_hours(task: HoursTask) -> MadeHours:
    """The energy of the hours, and the emissions of those points whose energy is all there."""
    site, points, extra = task.shared.site, task.shared.points, task.shared.extra
    streams = streams_of(site, points, task.readings, extra=extra)
    nothing = Period(task.hours.start, task.hours.start)
    window = [
        task.asked.get((point.id, register), nothing)
        for point, register in zip(streams.points, streams.registers, strict=True)
    ]
    energy = hours_of(site, streams, task.hours, code=task.shared.code, window=window)
    emitting = [point for point in points if point.id in task.spans]
    registry = task.shared.registry
    return MadeHours(energy, emission_series(site, emitting, energy, registry, spans=task.spans))
