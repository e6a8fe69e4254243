"""A broker's queue drained into InfluxDB 2, by us and by Telegraf, in the same run."""

from __future__ import annotations

import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tests.bench.broker import NoBroker
from tests.bench.children import REPO, child, sending, sent
from tests.bench.drain_ours import Apart, Ours, make_site, write_settings
from tests.bench.drain_places import Influx, Mosquitto, NoInflux, influx, mosquitto
from tests.bench.drain_sender import CONNECTIONS, Sending
from tests.bench.drain_sides import (
    NO_TELEGRAF,
    Side,
    Telegraf,
    registers_of,
)
from tests.bench.figures import Aim, Figure
from tests.bench.machine import cpu_s
from tests.bench.messages import REGISTERS
from tests.bench.settings import Scale

QUICK, FULL = 20_000, 200_000
COLLECTORS = (1, 2)
"""How many collectors share a subscription, each number by itself."""
_LOOK_S = 0.1
_PATIENCE_S = 300.0
_SCRIPT = REPO.parent / "shared" / "tools" / "telegraf_drain.py"
_POINT = REGISTERS[0]


class Incomplete(RuntimeError):
    """Not everything arrived."""


@dataclass(frozen=True, slots=True)
class Drained:
    """How one side drained a queue; times per message."""

    per_s: float
    cpu_us: float = 0.0
    influx_us: float = 0.0
    broker_us: float = 0.0
    peak_mb: float = 0.0
    start_s: float = 0.0
    """From its start until the broker let it in."""


def messages_of(scale: Scale) -> int:
    """How many messages a queue holds."""
    return QUICK if scale.quick else FULL


def drain(scale: Scale) -> list[Figure]:
    """Messages a second from the broker's queue until they are counted in InfluxDB."""
    try:
        with influx() as server:
            found, missing = _drain_all(scale, server)
            own = _own_script(server, messages_of(scale))
    except (NoBroker, NoInflux) as error:
        return [Figure("a queue drained into InfluxDB", None, "messages/s", str(error))]
    return [*_figures(found, missing), own]


def _drain_all(scale: Scale, server: Influx) -> tuple[dict[str, Drained], str]:
    """Every side by turns, so that whatever else the machine does touches all of them."""
    runs: dict[str, list[Drained]] = {}
    missing = "" if shutil.which("telegraf") else NO_TELEGRAF
    _through_our_door(scale, server, 0)  # so that InfluxDB is warm for whoever is first
    for run in range(1, scale.repeats + 1):
        for key, side in _sides(scale, telegraf=not missing):
            runs.setdefault(key, []).append(_drain_once(scale, server, side, f"{key}-{run}"))
        runs.setdefault("door", []).append(_through_our_door(scale, server, run))
    return {key: _middle(each) for key, each in runs.items()}, missing


def _sides(scale: Scale, *, telegraf: bool) -> list[tuple[str, Side]]:
    sides: list[tuple[str, Side]] = [("telegraf", Telegraf())] if telegraf else []
    sides.append(("line", Ours(shape="line", meters=scale.meters)))
    sides.append(("up", Ours(shape="up", meters=scale.meters)))
    for number in COLLECTORS:
        sides.append((f"apart-{number}", Apart(collectors=number, meters=scale.meters)))
    return sides


def fill(broker: Mosquitto, sending: Sending) -> None:
    """Publish, and wait until the broker acknowledged everything."""
    options = {
        "port": broker.port,
        "messages": sending.messages,
        "meters": sending.meters,
        "after": sending.after,
        "garbage-every": sending.garbage_every,
    }
    arguments = [word for name, value in options.items() for word in (f"--{name}", value)]
    with child("drain_sender", *arguments) as sender:
        sender.hear()
        sent(sender)


def wait_for_connection(
    broker: Mosquitto, side: Side, before: dict[str, int], patience_s: float = _PATIENCE_S
) -> float:
    """Wait until the broker let all sessions of a side in; says when. [s, monotonic]."""
    deadline = time.monotonic() + patience_s
    while any(broker.connections(name) <= before[name] for name in side.client_ids):
        if time.monotonic() > deadline or side.has_ended():
            raise Incomplete(f"{side.name} did not connect to the broker: {side.said()}")
        time.sleep(0.005)
    return time.monotonic()


def connections(broker: Mosquitto, side: Side) -> dict[str, int]:
    """How often each session of a side was there."""
    return {name: broker.connections(name) for name in side.client_ids}


def _drain_once(scale: Scale, server: Influx, side: Side, name: str) -> Drained:
    count, folder = messages_of(scale), scale.work / name
    with mosquitto(folder / "broker") as broker:
        side.prepare(broker, server, folder / "side")
        for client_id in side.client_ids:
            broker.leave_session(client_id, side.filter, side.mqtt_version)
        fill(broker, Sending(count, scale.meters))
        before = connections(broker, side)
        start = time.monotonic()
        side.start()
        try:
            begun = wait_for_connection(broker, side, before)
            pids = (server.pid, broker.pid)
            used, others = side.used(), [cpu_s(pid) for pid in pids]
            ended = _wait_for_points(server, side, count)
            after, beside = side.used(), [cpu_s(pid) for pid in pids]
        finally:
            side.stop()
    if (values := server.values(side.bucket, registers_of(side))) != count * len(REGISTERS):
        raise Incomplete(f"{side.name}: wanted {count * len(REGISTERS)} values, found {values}")
    server.drop(side.bucket)
    shutil.rmtree(folder)
    influx_us, broker_us = ((b - a) / count * 1e6 for a, b in zip(others, beside, strict=True))
    return Drained(
        count / (ended - begun),
        (after.cpu_s - used.cpu_s) / count * 1e6,
        influx_us,
        broker_us,
        after.peak_mb,
        begun - start,
    )


def _wait_for_points(server: Influx, side: Side, count: int) -> float:
    deadline = time.monotonic() + _PATIENCE_S
    while (found := server.count(side.bucket, side.field_of(_POINT))) < count:
        if time.monotonic() > deadline:
            raise Incomplete(f"{side.name}: {found} of {count} messages are in InfluxDB")
        time.sleep(_LOOK_S)
    return time.monotonic()


def _through_our_door(scale: Scale, server: Influx, run: int) -> Drained:
    """The same messages straight to our listener; both ends of the line in one process."""
    count, home = messages_of(scale), scale.work / f"door-{run}"
    side = Ours(bucket=server.name("tanyuan"))
    make_site(home, scale.meters)
    write_settings(home, server.server, influx_bucket=side.bucket)
    options = {"messages": count, "meters": scale.meters, "connections": CONNECTIONS}
    with child("drain_hosts", "door", home) as host:
        with sending(host.hear()["port"], **options) as sender:
            before, beside = cpu_s(host.pid), cpu_s(server.pid)
            begun = sent(sender)["start"]
            ended = _wait_for_points(server, side, count)
            used, others = cpu_s(host.pid) - before, cpu_s(server.pid) - beside
        host.say()
    server.drop(side.bucket)
    shutil.rmtree(home)
    return Drained(count / (ended - begun), used / count * 1e6, others / count * 1e6)


def _middle(runs: Sequence[Drained]) -> Drained:
    names = Drained.__dataclass_fields__
    return Drained(
        **{name: statistics.median(getattr(run, name) for run in runs) for name in names}
    )


# -- figures ----------------------------------------------------------------------------------

_SHAPES = {
    "line": "subscriber and projector, one process",
    "up": "`up`, with hours and API beside",
    **{f"apart-{n}": f"`project` and {n} × `collect`" for n in COLLECTORS},
    "door": "the same messages through our listener",
}


def _figures(found: dict[str, Drained], missing: str) -> list[Figure]:
    theirs = found.get("telegraf")
    reference = missing or "Telegraf, the same messages"
    aims = {"line": Aim("at least", 0.6, "ratio"), "door": Aim("at least", 1.2, "ratio")}
    figures = []
    for key, shape in _SHAPES.items():
        ours = found[key]
        rate = theirs and theirs.per_s
        note = f"{ours.per_s * len(REGISTERS):,.0f} values/s"
        figures.append(
            Figure(shape, ours.per_s, "messages/s", reference, rate, aims.get(key), note)
        )
        for what, name, unit in (
            ("processor time", "cpu_us", "µs/message"),
            ("InfluxDB's processor time", "influx_us", "µs/message"),
            ("most memory", "peak_mb", "MB"),
            ("start until connected", "start_s", "s"),
        ):
            if (value := getattr(ours, name)) > 0:
                beside = theirs and getattr(theirs, name)
                figures.append(Figure(f"  {what}", value, unit, reference, beside))
    return figures


def _own_script(server: Influx, count: int) -> Figure:
    """Telegraf's reference script as it is: shorter, flat messages."""
    name = "Telegraf, its reference script: flat messages of half the size"
    if not shutil.which("telegraf"):
        return Figure(name, None, "messages/s", NO_TELEGRAF)
    if not _SCRIPT.is_file():
        return Figure(name, None, "messages/s", f"{_SCRIPT.name} is not beside the repository")
    at = server.server
    there = {"INFLUXDB_V2_URL": at.url, "INFLUXDB_V2_ORG": at.org, "INFLUXDB_V2_TOKEN": at.token}
    path = f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin"
    said = subprocess.run(
        [sys.executable, str(_SCRIPT), str(count)],
        env=os.environ | there | {"PATH": path},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    rate = re.search(r"([\d,]+) messages/s", said)
    if rate is None or f"{count} of {count} messages" not in said:
        raise Incomplete(f"{_SCRIPT.name} said: {said}")
    return Figure(name, float(rate[1].replace(",", "")), "messages/s")
