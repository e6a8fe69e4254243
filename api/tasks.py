"""The tasks of a recomputation as pure functions: columns in, columns out.

They open nothing, read no clock and know no store, so that any process may do them: this one, one
of a pool, a worker of a Dask cluster. The same input gives the same bytes wherever it is done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from api.emission_hours import emission_series
from api.version import version
from carbon.registry import Registry
from metering.periods import Period
from metering.pipeline import hours_of, streams_of
from metering.readings import Readings
from metering.series import Series
from metering.sites import MeterPoint, Site
from metering.units import RegisterType


class WrongVersion(RuntimeError):
    """The process that was to do a task runs another version than the one that asked."""


@dataclass(frozen=True, slots=True)
class HoursTask:
    """Hours of some registers of some points.

    Attributes:
        site: Whose points.
        points: Which.
        readings: Everything that can move these hours, sorted.
        hours: Whole hours; nothing outside of them is made.
        asked: Which part of them, by point and register.
        extra: Registers that profiles add.
        code: Version of the calculation.
        version: Of the program that asks.
    """

    site: Site
    points: Sequence[MeterPoint]
    readings: Readings
    hours: Period
    asked: Mapping[tuple[str, str], Period]
    extra: Mapping[str, RegisterType]
    code: str
    version: str = ""


@dataclass(frozen=True, slots=True)
class EmissionsTask:
    """Emissions of hours.

    Attributes:
        site: Whose points.
        points: Which.
        energy: All their hours in the spans.
        registry: The factors.
        spans: Which hours of each point, by its id.
        version: Of the program that asks.
    """

    site: Site
    points: Sequence[MeterPoint]
    energy: Series
    registry: Registry
    spans: Mapping[str, Period]
    version: str = ""


def make_hours(task: HoursTask) -> Series:
    """The hours.

    Raises:
        WrongVersion: Another version asked.
    """
    check_version(task.version)
    streams = streams_of(task.site, task.points, task.readings, extra=task.extra)
    nothing = Period(task.hours.start, task.hours.start)
    window = [
        task.asked.get((point.id, register), nothing)
        for point, register in zip(streams.points, streams.registers, strict=True)
    ]
    return hours_of(task.site, streams, task.hours, code=task.code, window=window)


def make_emissions(task: EmissionsTask) -> Series:
    """The emissions.

    Raises:
        WrongVersion: Another version asked.
    """
    check_version(task.version)
    return emission_series(task.site, task.points, task.energy, task.registry, spans=task.spans)


def check_version(asking: str) -> None:
    """Return if whoever asks runs the version that runs here.

    Raises:
        WrongVersion: It does not.
    """
    if asking and asking != version():
        raise WrongVersion(
            f"A task of Tanyuan {asking} came to a worker that runs {version()}. "
            "Start the workers with the version of the installation."
        )
