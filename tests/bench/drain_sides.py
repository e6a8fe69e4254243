"""The sides that drain a broker's queue into InfluxDB, and Telegraf, which is one of them."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol

from tests.bench.children import REPO, environment
from tests.bench.drain_places import FILTER, Influx, Mosquitto
from tests.bench.machine import cpu_s, peak_mb
from tests.bench.messages import REGISTERS

NO_TELEGRAF = "telegraf is not on the PATH, and no package registry used here has it"
_TELEGRAF = """\
[agent]
  interval = "10s"
  flush_interval = "200ms"
  metric_batch_size = 20000
  metric_buffer_limit = 500000
  omit_hostname = true
  skip_processors_after_aggregators = true
[[inputs.mqtt_consumer]]
  servers = ["tcp://127.0.0.1:{port}"]
  topics = ["{filter}"]
  topic_tag = ""
  qos = 1
  persistent_session = true
  client_id = "{client}"
  max_undelivered_messages = 100000
  data_format = "json"
  tag_keys = ["meter"]
  json_time_key = "at"
  json_time_format = "2006-01-02T15:04:05Z07:00"
  name_override = "reading"
[[outputs.influxdb_v2]]
  urls = ["{url}"]
  token = "{token}"
  organization = "{org}"
  bucket = "{bucket}"
  content_encoding = "gzip"
"""


class Side(Protocol):
    """Something that drains a queue."""

    name: str
    client_ids: Sequence[str]
    """Its sessions in the broker."""
    filter: str
    """What they subscribe to."""
    mqtt_version: int
    bucket: str

    def prepare(self, broker: Mosquitto, influx: Influx, folder: Path) -> None:
        """Make what it needs before it starts."""

    def start(self) -> None:
        """Start, also after a stop or a kill."""

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End its processes, and wait for them."""

    def field_of(self, register: str) -> str:
        """The field that holds a register."""

    def used(self) -> Used:
        """What its running processes have used."""

    def has_ended(self) -> bool:
        """Whether one of its processes ended by itself."""

    def said(self) -> str:
        """The end of its log."""


@dataclass(frozen=True, slots=True)
class Used:
    """Processor time, and the most memory."""

    cpu_s: float
    peak_mb: float


@dataclass(slots=True)
class Processes:
    """What both sides do alike: start commands, end them, and ask what they used."""

    folder: Path = Path()
    bucket: str = ""
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def run(self, command: Sequence[str], env: dict[str, str]) -> None:
        """Start a command of this side; its log stays in the folder."""
        with (self.folder / "log").open("ab") as log:
            self.started.append(
                subprocess.Popen(command, env=env, cwd=REPO, stdout=log, stderr=log)
            )

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End the processes, and wait for them."""
        for process in self.started:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(how)
        for process in self.started:
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(30)
        self.started = []

    def has_ended(self) -> bool:
        """Whether one of the processes ended by itself."""
        return any(process.poll() is not None for process in self.started)

    def said(self) -> str:
        """The end of the log."""
        return (self.folder / "log").read_text(errors="replace")[-2000:]

    def used(self) -> Used:
        """What the processes and their children have used."""
        pids = [pid for process in self.started for pid in family(process.pid)]
        return Used(sum(map(cpu_s, pids)), sum(map(peak_mb, pids)))


def family(pid: int) -> list[int]:
    """A process and what it started, as far as it runs."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in task.read_text().split():
                found += family(int(child))
    return found


@dataclass(slots=True)
class Telegraf(Processes):
    """Telegraf with the settings of the reference, but for the form of the messages."""

    name: ClassVar[str] = "Telegraf"
    client_ids: ClassVar[Sequence[str]] = ("telegraf-drain",)
    filter: ClassVar[str] = FILTER
    mqtt_version: ClassVar[int] = 4

    def prepare(self, broker: Mosquitto, influx: Influx, folder: Path) -> None:
        """Write its configuration, and make its bucket."""
        folder.mkdir(parents=True)
        self.folder, self.bucket = folder, influx.name("telegraf")
        influx.make(self.bucket)
        server = influx.server
        text = _TELEGRAF.format(
            port=broker.port,
            filter=FILTER,
            client=self.client_ids[0],
            url=server.url,
            token=server.token,
            org=server.org,
            bucket=self.bucket,
        )
        (folder / "telegraf.conf").write_text(text, encoding="utf-8")

    def start(self) -> None:
        """Start it."""
        program = shutil.which("telegraf")
        if program is None:
            raise FileNotFoundError(NO_TELEGRAF)
        self.run([program, "--config", str(self.folder / "telegraf.conf")], environment())

    def field_of(self, register: str) -> str:
        """The field that holds a register: its JSON parser joins names."""
        return f"registers_{register}"


def registers_of(side: Side) -> frozenset[str]:
    """The fields of all registers."""
    return frozenset(side.field_of(register) for register in REGISTERS)
