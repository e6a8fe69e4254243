"""The whole line, from MQTT to committed readings, in one process as in `up`."""

from __future__ import annotations

import shutil
import statistics
from pathlib import Path

from tests.bench import broker as brokers
from tests.bench.children import child, sending, sent
from tests.bench.doors import median, take_rate
from tests.bench.figures import Figure
from tests.bench.machine import cpu_s
from tests.bench.messages import REGISTERS, site_yaml
from tests.bench.settings import Scale


def line(scale: Scale) -> list[Figure]:
    """Messages a second until the last one is committed, without and with the hours."""
    runs = [_run(scale, number, recompute=False) for number in range(scale.repeats)]
    full = _run(scale, len(runs), recompute=True)
    reference, taken = _mosquitto(scale)
    rate = statistics.median(run["committed_per_s"] for run in runs)
    cpu = statistics.median(run["cpu_us"] for run in runs)
    acked = statistics.median(run["acked_per_s"] for run in runs)
    return [
        Figure("MQTT → journal → decoded → committed", rate, "messages/s", reference, taken),
        Figure("the same in readings", rate * len(REGISTERS), "readings/s"),
        Figure("the same: processor time", cpu, "µs/message"),
        Figure("acknowledged meanwhile", acked, "messages/s", reference, taken),
        Figure(
            "`up`: committed, with hours, console and API beside",
            full["committed_per_s"],
            "messages/s",
            reference,
            taken,
        ),
        Figure(
            "`up`: until the hours were made too",
            full["computed_per_s"],
            "messages/s",
            note=f"peak memory {full['peak_mb']:,.0f} MB",
        ),
        Figure("Telegraf, the same line", None, "messages/s", _telegraf()),
    ]


def _run(scale: Scale, number: int, *, recompute: bool) -> dict[str, float]:
    home = scale.work / f"line-{number}"
    home.mkdir()
    (home / "site.yaml").write_text(site_yaml(scale.meters), encoding="utf-8")
    count = scale.messages // scale.connections * scale.connections
    options = ["--folder", home, "--count", count, *(["--recompute"] if recompute else [])]
    with child("hosts", "line", *options) as host:
        port = host.hear()["port"]
        with sending(
            port, messages=count, meters=scale.meters, connections=scale.connections
        ) as sender:
            before = cpu_s(host.pid)
            done = sent(sender)
            kept = host.hear()
            used = cpu_s(host.pid) - before
        host.say()
    if kept["readings"] != count * len(REGISTERS):
        raise ValueError(f"Wanted {count * len(REGISTERS)} readings, found {kept['readings']}")
    shutil.rmtree(home)
    found = {
        "acked_per_s": count / (done["end"] - done["start"]),
        "committed_per_s": count / (kept["committed"] - done["start"]),
        "cpu_us": used / count * 1e6,
        "peak_mb": kept["peak_mb"],
    }
    if recompute:
        found["computed_per_s"] = count / (kept["computed"] - done["start"])
    return found


def _mosquitto(scale: Scale) -> tuple[str, float | None]:
    try:
        with brokers.mosquitto(scale.work / "line-broker") as broker:
            runs = range(scale.repeats)
            rates = [take_rate(broker.port, broker.pid, scale) for _ in runs]
    except brokers.NoBroker as error:
        return str(error), None
    return "Mosquitto taking the same, kept nowhere", median(rates).per_s


def _telegraf() -> str:
    if found := shutil.which("telegraf"):
        return f"{Path(found).name} is there, but this line has no InfluxDB to drain into"
    return "telegraf is not on the PATH, and no package registry used here has it"
