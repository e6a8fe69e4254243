"""What is missing in InfluxDB after a kill, a missing bucket, and unreadable messages."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.broker import NoBroker
from tests.bench.drain import Incomplete, connections, fill, messages_of, wait_for_connection
from tests.bench.drain_ours import Ours, quiet_environment, tanyuan
from tests.bench.drain_places import Influx, Mosquitto, NoInflux, influx, mosquitto
from tests.bench.drain_sender import CONNECTIONS, Sending
from tests.bench.drain_sides import NO_TELEGRAF, Side, Telegraf
from tests.bench.figures import Aim, Figure
from tests.bench.messages import REGISTERS
from tests.bench.settings import Scale

GARBAGE_EVERY = 1000
_POINT = REGISTERS[0]
_LOOK_S = 0.05
_PATIENCE_S = 600.0
_RETURN_S = 120.0
_REST_S = 5.0
"""Before the bucket goes: hours are made by then, and nobody is in the middle of a request."""
_NONE = Aim("at most", 0)

Points = set[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Loss:
    """What one side lost on one occasion."""

    lost: int
    of: int
    note: str = ""


def losses(scale: Scale) -> list[Figure]:
    """Messages whose points are not in InfluxDB after an accident, of each side."""
    sides: list[Callable[[], Side]] = [lambda: Ours(shape="up", meters=scale.meters)]
    missing = "" if shutil.which("telegraf") else NO_TELEGRAF
    if not missing:
        sides.append(Telegraf)
    found: list[dict[str, Loss]] = []
    try:
        with influx() as server:
            for number, make in enumerate(sides):
                accident = _Accident(scale, server, scale.work / f"losses-{number}")
                mine: dict[str, Loss] = {}
                for happens in (accident.killed, accident.bucket_missing, accident.garbage):
                    mine |= happens(make())
                found.append(mine)
    except (NoBroker, NoInflux) as error:
        return [Figure("losses on the way into InfluxDB", None, "messages", str(error))]
    return list(_figures(found, missing))


def _figures(found: list[dict[str, Loss]], missing: str) -> Iterator[Figure]:
    ours, theirs = found[0], found[1] if len(found) > 1 else {}
    for name, loss in ours.items():
        beside = theirs.get(name)
        notes = [f"of {loss.of:,}", loss.note]
        if beside is not None and beside.note:
            notes.append(f"Telegraf: {beside.note}")
        yield Figure(
            f"lost: {name}",
            loss.lost,
            "messages",
            missing or "Telegraf",
            beside and beside.lost,
            _NONE,
            "; ".join(note for note in notes if note),
        )


@dataclass(slots=True)
class _Accident:
    """Lets something happen to a side while it drains."""

    scale: Scale
    server: Influx
    folder: Path

    @property
    def quiet_s(self) -> float:
        """Nothing more is expected after so long without a new point; ours waits 10 s at most."""
        return 15.0 if self.scale.quick else 25.0

    @property
    def gone_s(self) -> float:
        """How long the bucket is missing."""
        return 10.0 if self.scale.quick else 60.0

    def killed(self, side: Side) -> dict[str, Loss]:
        """Kill it with a quarter of the queue in InfluxDB, and start it again."""
        sending = Sending(messages_of(self.scale), self.scale.meters)
        with self._running(side, "killed", sending) as broker:
            there = self._wait_for(side, sending.messages // 4)
            before = connections(broker, side)
            side.stop(signal.SIGKILL)
            side.start()
            wait_for_connection(broker, side, before)
            found = self._settled(side, sending.messages)
        lost = sending.points() - found
        return {"killed while it drains": Loss(len(lost), sending.messages, f"at {there:,}")}

    def garbage(self, side: Side) -> dict[str, Loss]:
        """Put a message in a thousand into the queue that cannot be read."""
        sending = Sending(messages_of(self.scale), self.scale.meters, garbage_every=GARBAGE_EVERY)
        expected = sending.points()
        unreadable = sending.messages - len(expected)
        with self._running(side, "garbage", sending):
            found = self._settled(side, len(expected))
            kept = _quarantined(side)
        return {
            "good ones among garbage": Loss(
                len(expected - found), len(expected), f"{unreadable:,} unreadable"
            ),
            "the garbage itself": Loss(unreadable - kept, unreadable, f"kept {kept:,}"),
        }

    def bucket_missing(self, side: Side) -> dict[str, Loss]:
        """Delete the bucket, let messages come, and make it again; then start the side again."""
        share = messages_of(self.scale) // 3 // CONNECTIONS * CONNECTIONS
        parts = [Sending(share, self.scale.meters, share * turn) for turn in range(3)]
        with self._running(side, "bucket", parts[0]) as broker:
            self._wait_for(side, share)
            time.sleep(_REST_S)
            self.server.server.drop(side.bucket)
            gone = time.monotonic()
            fill(broker, parts[1])
            time.sleep(max(0.0, self.gone_s - (time.monotonic() - gone)))
            self.server.make(side.bucket)
            fill(broker, parts[2])
            found = self._settled(side, 3 * share)
            later = self._after_a_restart(side, broker, 3 * share)
        names = ("before the bucket went", f"in its {self.gone_s:.0f} s without", "after")
        losses = {}
        for name, part in zip(names, parts, strict=True):
            expected = part.points()
            again = "not back in time after a restart"
            if later is not None:
                again = f"{len(expected - later):,} after a restart"
            losses[f"sent {name}"] = Loss(len(expected - found), share, again)
        return losses

    def _after_a_restart(self, side: Side, broker: Mosquitto, wanted: int) -> Points | None:
        """The points once it was stopped and started again; None if it does not come back."""
        before = connections(broker, side)
        side.stop()
        side.start()
        try:
            wait_for_connection(broker, side, before, _RETURN_S)
        except Incomplete:
            return None
        return self._settled(side, wanted)

    @contextmanager
    def _running(self, side: Side, name: str, sending: Sending) -> Iterator[Mosquitto]:
        """A side that has begun to drain a queue."""
        folder = self.folder / name
        with mosquitto(folder / "broker") as broker:
            side.prepare(broker, self.server, folder / "side")
            for client_id in side.client_ids:
                broker.leave_session(client_id, side.filter, side.mqtt_version)
            fill(broker, sending)
            before = connections(broker, side)
            side.start()
            try:
                wait_for_connection(broker, side, before)
                yield broker
            finally:
                side.stop()
        self.server.drop(side.bucket)
        shutil.rmtree(folder)

    def _count(self, side: Side) -> int:
        return self.server.count(side.bucket, side.field_of(_POINT))

    def _wait_for(self, side: Side, wanted: int) -> int:
        deadline = time.monotonic() + _PATIENCE_S
        while (found := self._count(side)) < wanted:
            if time.monotonic() > deadline:
                raise Incomplete(f"{side.name}: {found} of {wanted} messages are in InfluxDB")
            time.sleep(_LOOK_S)
        return found

    def _settled(self, side: Side, wanted: int) -> Points:
        """The points, once they are all there or no more come."""
        seen, changed = -1, time.monotonic()
        while seen < wanted and time.monotonic() - changed < self.quiet_s:
            if (found := self._count(side)) != seen:
                seen, changed = found, time.monotonic()
            time.sleep(_LOOK_S * 10)
        return self.server.points(side.bucket, side.field_of(_POINT))


def _quarantined(side: Side) -> int:
    """How many unreadable messages a side can show: only we keep them."""
    if not isinstance(side, Ours):
        return 0
    said = subprocess.run(
        tanyuan(side.home, "quarantine", "list", "--json", "--limit", "100000"),
        env=quiet_environment(),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return len({entry["sequence"] for entry in json.loads(said)["entries"]})
