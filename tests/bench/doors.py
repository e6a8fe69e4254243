"""The two doors: the listener beside Mosquitto, the subscriber beside a bare paho client."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from tests.bench import broker as brokers
from tests.bench.children import child, sending, sent
from tests.bench.durable import durable_writes
from tests.bench.figures import Aim, Figure
from tests.bench.machine import cpu_s
from tests.bench.messages import REGISTERS
from tests.bench.settings import Scale

TELEGRAF_PER_S = 38_000
"""What Telegraf drains from Mosquitto into InfluxDB on 2 cores (design, measured elsewhere)."""


@dataclass(frozen=True, slots=True)
class Rate:
    """How fast messages went, and what the receiving process spent on one."""

    per_s: float
    cpu_us: float


def median(rates: list[Rate]) -> Rate:
    """The middle of several runs."""
    return Rate(
        statistics.median(rate.per_s for rate in rates),
        statistics.median(rate.cpu_us for rate in rates),
    )


def take_rate(port: int, pid: int, scale: Scale, *, version: int = 5) -> Rate:
    """How fast an MQTT end point takes and acknowledges the messages."""
    options = {"messages": scale.messages, "meters": scale.meters}
    with sending(port, connections=scale.connections, version=version, **options) as sender:
        before = cpu_s(pid)
        done = sent(sender)
        used = cpu_s(pid) - before
    return Rate(done["acked"] / (done["end"] - done["start"]), used / done["acked"] * 1e6)


def listener(scale: Scale) -> list[Figure]:
    """Messages acknowledged after the sync, by our listener; and by Mosquitto, in memory."""
    ours: dict[int, list[Rate]] = {5: [], 4: []}
    theirs: dict[int, list[Rate]] = {5: [], 4: []}
    missing = ""
    for run in range(scale.repeats):
        for version in ours:
            folder = scale.work / f"listener-{run}-{version}"
            with child("hosts", "listener", "--folder", folder) as host:
                port = host.hear()["port"]
                ours[version].append(take_rate(port, host.pid, scale, version=version))
                host.say()
                host.hear()
            try:
                with brokers.mosquitto(folder) as broker:
                    theirs[version].append(
                        take_rate(broker.port, broker.pid, scale, version=version)
                    )
            except brokers.NoBroker as error:
                missing = str(error)
    disk = durable_writes(scale, batch=1000)
    return [
        *_listener_figures(ours, theirs, missing),
        Figure(
            "listener, MQTT 5",
            median(ours[5]).per_s,
            "messages/s",
            "write + fdatasync of the same bytes by the 1,000",
            disk.per_s,
        ),
    ]


def _listener_figures(
    ours: dict[int, list[Rate]], theirs: dict[int, list[Rate]], missing: str
) -> list[Figure]:
    found = []
    for version, name in ((5, "MQTT 5"), (4, "MQTT 3.1.1")):
        mine = median(ours[version])
        other = median(theirs[version]) if theirs[version] else None
        reference = missing or "Mosquitto, acknowledged in memory, kept nowhere"
        aim = Aim("at least", 2 * TELEGRAF_PER_S) if version == 5 else None
        found += [
            Figure(
                f"listener, {name}, on disk before PUBACK",
                mine.per_s,
                "messages/s",
                reference,
                other and other.per_s,
                aim=aim,
                note="aim: twice Telegraf's 38,000/s" if aim else "",
            ),
            Figure(
                f"listener, {name}: processor time",
                mine.cpu_us,
                "µs/message",
                missing or "Mosquitto",
                other and other.cpu_us,
            ),
        ]
    readings = median(ours[5]).per_s * len(REGISTERS)
    found.insert(1, Figure("the same in readings", readings, "readings/s"))
    return found


def subscriber(scale: Scale) -> list[Figure]:
    """A filled queue drained into the journal; and by a client that only counts."""
    try:
        with brokers.mosquitto(scale.work / "subscriber-broker") as broker:
            rates = _drain_both(scale, broker)
    except brokers.NoBroker as error:
        return [Figure("subscriber", None, "messages/s", str(error))]
    ours, bare, filled = (median(rates[name]) for name in ("subscriber", "bare", "fill"))
    return [
        Figure(
            "subscriber, on disk before PUBACK",
            ours.per_s,
            "messages/s",
            "bare paho client that counts and acknowledges",
            bare.per_s,
            note="one collector; more of them share a subscription",
        ),
        Figure("the same in readings", ours.per_s * len(REGISTERS), "readings/s"),
        Figure(
            "subscriber: processor time", ours.cpu_us, "µs/message", "bare paho client", bare.cpu_us
        ),
        Figure(
            "subscriber",
            ours.per_s,
            "messages/s",
            "Mosquitto taking the same into the queue",
            filled.per_s,
        ),
    ]


def _drain_both(scale: Scale, broker: brokers.Broker) -> dict[str, list[Rate]]:
    rates: dict[str, list[Rate]] = {"subscriber": [], "bare": [], "fill": []}
    count = scale.messages // scale.connections * scale.connections
    for run in range(scale.repeats):
        for name in ("bare", "subscriber"):
            brokers.leave_session(broker.port, "drained", "tanyuan/#")
            rates["fill"].append(take_rate(broker.port, broker.pid, scale))
            folder = ["--folder", scale.work / f"subscriber-{run}"] if name != "bare" else []
            options = ["--port", broker.port, "--count", count, *folder]
            with child("hosts", name, *options) as host:
                host.hear()
                before = cpu_s(host.pid)
                host.say()
                done = host.hear()
                used = cpu_s(host.pid) - before
            speed = done["acked"] / (done["end"] - done["start"])
            rates[name].append(Rate(speed, used / done["acked"] * 1e6))
    return rates
