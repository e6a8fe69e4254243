"""What one gateway of the made-up park sends: native messages, made from templates.

A gateway sends the readings of one instant in one message. One template per set of meters is filled
in a week at a time, so that the year is never held in memory as objects.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingest.simulated_faults import ClockError, DeadMeter, Fault, Glitch, Outage, meters_of
from ingest.simulated_loads import STEP
from ingest.simulated_park import Park
from ingest.simulated_registers import Run
from ingest.topics import native_topic
from metering.periods import to_us

SENT: Final = 0
LOST: Final = 1
HELD: Final = 2
"""The fates of a message: sent when it is made, never, or late with a whole outage."""


class Count(NamedTuple):
    """How much is sent."""

    messages: int
    readings: int
    """Of one meter at one instant."""
    values: int
    """Of one register at one instant."""

    def plus(self, other: Count) -> Count:
        """The two together."""
        return Count(*(a + b for a, b in zip(self, other, strict=True)))


@dataclass(frozen=True, slots=True)
class _Section:
    """Instants first ≤ i < stop in which a gateway reads the same registers."""

    first: int
    stop: int
    meters: Mapping[str, Sequence[Run]]

    def runs(self) -> list[Run]:
        """Its registers in the order of the template."""
        return [run for runs in self.meters.values() for run in runs]


class GatewayStream:
    """The messages of one gateway over the year.

    Args:
        park: Whose gateway it is.
        gateway: Its name.
        faults: Of the whole park; it takes what concerns it.
    """

    def __init__(self, park: Park, gateway: str, faults: Sequence[Fault]) -> None:
        self.gateway = gateway
        self.topic = native_topic(park.site.id, gateway)
        self.every = park.loads.spacing[gateway] // STEP
        self.instants = round(park.truth.period.seconds / STEP.total_seconds()) + 1
        self._park = park
        serials = set(meters_of(park, gateway))
        self._runs = [run for run in park.runs if run.serial in serials]
        self._sections = self._split(faults)
        self._wrong = self._glitches(faults)
        self._times = self._clock(faults)
        self.fate = self._fates(faults)
        """SENT, LOST or HELD for each instant."""

    def made_at(self, low: int, high: int) -> range:
        """The instants low ≤ i < high at which it makes a message."""
        return range(-(-low // self.every) * self.every, min(high, self.instants), self.every)

    def payloads(self, low: int, high: int) -> Iterator[bytes]:
        """The messages of `made_at(low, high)`, whatever becomes of them."""
        for section in self._sections:
            due = self.made_at(max(low, section.first), min(high, section.stop))
            if due:
                yield from self._filled(section, due)

    def count(self) -> Count:
        """How much of what it makes is sent, late or not."""
        total = Count(0, 0, 0)
        for section in self._sections:
            due = self.made_at(section.first, section.stop)
            sent = int((self.fate[due.start : due.stop : due.step] != LOST).sum()) if due else 0
            readings, values = len(section.meters), len(section.runs())
            total = total.plus(Count(sent, sent * readings, sent * values))
        return total

    def _filled(self, section: _Section, due: range) -> Iterator[bytes]:
        times = self._times[due.start : due.stop : due.step]
        columns: list[Sequence[object]] = []
        for runs in section.meters.values():
            columns.append(times)
            columns += [self._shown(run, due) for run in runs]
        template = template_of(section.meters)
        return ((template % row).encode() for row in zip(*columns, strict=True))

    def _shown(self, run: Run, due: range) -> list[float]:
        shown: list[float] = run.shown(due.start, due.stop)[:: due.step].tolist()
        for instant, value in self._wrong.get(run, {}).items():
            if instant in due:
                shown[due.index(instant)] = value
        return shown

    def _index(self, instant: datetime) -> int:
        """The first instant of the year at or after a time, within the year."""
        steps = -((self._park.truth.period.start - instant) // STEP)
        return min(max(steps, 0), self.instants)

    def _split(self, faults: Sequence[Fault]) -> list[_Section]:
        """Cut the year where a meter comes or goes."""
        dead = {f.serial: self._index(f.since) for f in faults if isinstance(f, DeadMeter)}
        stops = [min(run.last + 1, dead.get(run.serial, self.instants)) for run in self._runs]
        cuts = sorted({0, self.instants, *(run.first for run in self._runs), *stops})
        sections = []
        for first, stop in pairwise(cuts):
            meters: dict[str, list[Run]] = {}
            for run, end in zip(self._runs, stops, strict=True):
                if run.first <= first and stop <= end:
                    meters.setdefault(run.serial, []).append(run)
            sections.append(_Section(first, stop, meters))
        return sections

    def _glitches(self, faults: Sequence[Fault]) -> dict[Run, dict[int, float]]:
        found: dict[Run, dict[int, float]] = {}
        for fault in faults:
            if isinstance(fault, Glitch):
                for run in self._runs:
                    if (run.serial, run.register) == (fault.serial, fault.register):
                        found.setdefault(run, {})[self._index(fault.at)] = fault.value
        return found

    def _clock(self, faults: Sequence[Fault]) -> list[str]:
        """What it writes as the time of each instant."""
        start = self._park.truth.period.start.astimezone(self._park.site.timezone)
        steps = np.arange(self.instants) * np.timedelta64(STEP // timedelta(microseconds=1), "us")
        times = to_us(start) + steps
        for fault in faults:
            if isinstance(fault, ClockError) and fault.gateway == self.gateway:
                low, high = self._index(fault.start), self._index(fault.end)
                times[low:high] += to_us(fault.shows) - to_us(fault.start)
        offset = start.utcoffset() or timedelta()
        written = np.datetime_as_string(times + np.timedelta64(offset, "us"), unit="s")
        return [text + start.isoformat()[-6:] for text in written.tolist()]

    def _fates(self, faults: Sequence[Fault]) -> NDArray[np.int8]:
        fate = np.zeros(self.instants, np.int8)
        for fault in faults:
            if isinstance(fault, Outage) and fault.gateway == self.gateway:
                low, high = self._index(fault.start), self._index(fault.end)
                fate[low:high] = HELD if fault.backfilled else LOST
        return fate


def template_of(meters: Mapping[str, Sequence[Run]]) -> str:
    """One message with places: for each meter its time, then its values."""
    items = []
    for serial, runs in meters.items():
        values = ",".join(f"{json.dumps(run.register)}:%.{run.decimals}f" for run in runs)
        units = {run.register: run.unit for run in runs if run.unit}
        tail = f',"units":{json.dumps(units)}' if units else ""
        items.append(f'{{"meter":{json.dumps(serial)},"at":"%s","registers":{{{values}}}{tail}}}')
    return '{"readings":[' + ",".join(items) + "]}"
