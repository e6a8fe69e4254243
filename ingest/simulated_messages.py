"""The messages of the whole made-up park, in the order in which they are sent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from heapq import heappop, heappush
from typing import Final, NamedTuple

import numpy as np

from ingest.simulated_faults import (
    DeadMeter,
    Disorder,
    Fault,
    Garbage,
    garbage_messages,
    meters_of,
)
from ingest.simulated_gateways import HELD, LOST, Count, GatewayStream, template_of
from ingest.simulated_loads import STEP, STEPS_A_DAY, generator
from ingest.simulated_park import Park
from ingest.simulated_registers import Run
from ingest.topics import native_topic

CHUNK: Final = 7 * STEPS_A_DAY
"""So many instants are turned into text at a time."""

CYCLE: Final = 364 * STEPS_A_DAY
"""After its year the park lives the last 52 weeks of it again and again, so that weekdays fit."""


class Outgoing(NamedTuple):
    """A message on its way to a broker."""

    topic: str
    payload: bytes


class _Garbage(Outgoing):
    """A message that nobody can read; it comes once, so that the quarantine can be counted."""


class BeforeTheYear(ValueError):
    """The park has no past before its year."""


class YearOfMessages:
    """Everything the park sends in its year.

    Args:
        park: Who sends.
        faults: What goes wrong.
        seed: Of the disorder on the way.
    """

    def __init__(self, park: Park, faults: Sequence[Fault], *, seed: int) -> None:
        self._streams = [GatewayStream(park, name, faults) for name in park.loads.spacing]
        self._garbage: dict[int, list[_Garbage]] = {}
        for fault in faults:
            if isinstance(fault, Garbage):
                instant = (fault.at - park.truth.period.start) // STEP
                self._garbage[instant] = [
                    _Garbage(topic, payload) for topic, payload, _ in garbage_messages(fault, park)
                ]
        plain = Count(0, 0, 0)
        for stream in self._streams:
            plain = plain.plus(stream.count())
        self._late, self._again = _delays(faults, plain.messages, seed=seed)
        messages = plain.messages + len(self._again)
        messages += sum(map(len, self._garbage.values()))
        self.count = plain._replace(messages=messages)
        """Messages with duplicates and garbage; readings and values without either."""

    def __iter__(self) -> Iterator[Outgoing]:
        """Every message, in sending order; the same each time."""
        waiting: list[tuple[int, int, Outgoing]] = []
        number = 0
        for message in self._in_order():
            if isinstance(message, _Garbage):
                yield message
                continue
            if number in self._late:
                heappush(waiting, (number + self._late[number], number, message))
            else:
                yield message
            if number in self._again:
                heappush(waiting, (number + self._again[number], number, message))
            while waiting and waiting[0][0] <= number:
                yield heappop(waiting)[2]
            number += 1
        while waiting:
            yield heappop(waiting)[2]

    def _in_order(self) -> Iterator[Outgoing]:
        held: dict[str, list[Outgoing]] = {stream.topic: [] for stream in self._streams}
        instants = max(stream.instants for stream in self._streams)
        for low in range(0, instants, CHUNK):
            high = min(low + CHUNK, instants)
            made = [
                dict(zip(stream.made_at(low, high), stream.payloads(low, high), strict=True))
                for stream in self._streams
            ]
            for instant in range(low, high):
                for stream, payloads in zip(self._streams, made, strict=True):
                    if instant in payloads:
                        message = Outgoing(stream.topic, payloads[instant])
                        yield from _sent(message, stream.fate[instant], held[stream.topic])
                yield from self._garbage.get(instant, ())
        for rest in held.values():
            yield from rest


def _sent(message: Outgoing, fate: int, held: list[Outgoing]) -> Iterator[Outgoing]:
    """What goes out now; after an outage the new message first, then what was held."""
    if fate == HELD:
        held.append(message)
    elif fate != LOST:
        yield message
        yield from held
        held.clear()


def _delays(
    faults: Sequence[Fault], messages: int, *, seed: int
) -> tuple[dict[int, int], dict[int, int]]:
    """Which messages are overtaken, which come again, and by how many messages later."""
    late: dict[int, int] = {}
    again: dict[int, int] = {}
    for fault in faults:
        if isinstance(fault, Disorder):
            rng = generator(seed, "disorder")
            for found, share in ((late, fault.delayed), (again, fault.duplicated)):
                chosen = np.flatnonzero(rng.random(messages) < share)
                lags = rng.integers(1, fault.within + 1, len(chosen))
                found.update(zip(chosen.tolist(), lags.tolist(), strict=True))
    return late, again


def live_messages(park: Park, faults: Sequence[Fault], now: datetime) -> Iterator[Outgoing]:
    """The readings of the whole park at an instant, one message per gateway.

    After its year the park repeats the last 52 weeks of it; registers count on from the year's end.
    A dead meter stays silent, no other fault is played.

    Raises:
        BeforeTheYear: The instant lies before the park's year.
    """
    position = (now - park.truth.period.start) / STEP
    if position < 0:
        raise BeforeTheYear(f"Wanted an instant from {park.truth.period.start} on, found {now}.")
    dead = {f.serial for f in faults if isinstance(f, DeadMeter) and f.since <= now}
    written = now.astimezone(park.site.timezone).isoformat(timespec="seconds")
    for gateway in park.loads.spacing:
        serials = set(meters_of(park, gateway)) - dead
        meters: dict[str, list[Run]] = {}
        for run in park.runs:
            if run.serial in serials and run.serves(position):
                meters.setdefault(run.serial, []).append(run)
        row: list[object] = []
        for runs in meters.values():
            row += [written, *(run.shown_at(position, cycle=CYCLE) for run in runs)]
        if meters:
            payload = (template_of(meters) % tuple(row)).encode()
            yield Outgoing(native_topic(park.site.id, gateway), payload)
