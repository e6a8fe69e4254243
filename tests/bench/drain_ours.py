"""We as a side that drains a queue: `up`, only the line in one process, or several processes."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tests.bench.children import ChildFailed, environment
from tests.bench.drain_places import FILTER, Influx, Mosquitto
from tests.bench.drain_sides import Processes
from tests.bench.messages import site_yaml
from tests.influx_server import Server

_PATIENCE_S = 120.0
_GROUP = "collectors"


@dataclass(slots=True)
class Ours(Processes):
    """We in one process: `up`, or `line`, without hours, console and API."""

    shape: str = "up"
    meters: int = 1000
    client_ids: ClassVar[Sequence[str]] = ("tanyuan-collector",)
    filter: ClassVar[str] = FILTER
    mqtt_version: ClassVar[int] = 5

    @property
    def name(self) -> str:
        """What it is called."""
        return f"tanyuan {self.shape}"

    @property
    def home(self) -> Path:
        """Where `tanyuan` is asked about what it did."""
        return self.folder / "home"

    def prepare(self, broker: Mosquitto, influx: Influx, folder: Path) -> None:
        """Make its home; the bucket it makes itself."""
        self.folder, self.bucket = folder, influx.name("tanyuan")
        make_site(self.home, self.meters)
        write_settings(
            self.home,
            influx.server,
            influx_bucket=self.bucket,
            broker=f"mqtt://127.0.0.1:{broker.port}",
            broker_topic=FILTER,
        )

    def start(self) -> None:
        """Start it."""
        if self.shape == "line":
            host = [sys.executable, "-m", "tests.bench.drain_hosts", "drain", str(self.home)]
            self.run(host, quiet_environment())
        else:
            self.run(tanyuan(self.home, "up"), quiet_environment())

    def field_of(self, register: str) -> str:
        """The field that holds a register."""
        return register


@dataclass(slots=True)
class Apart(Processes):
    """We in several processes: collectors that share a subscription, and a projector."""

    collectors: int = 2
    meters: int = 1000
    filter: ClassVar[str] = f"$share/{_GROUP}/{FILTER}"
    mqtt_version: ClassVar[int] = 5

    @property
    def name(self) -> str:
        """What it is called."""
        return f"tanyuan project and {self.collectors} × collect"

    @property
    def client_ids(self) -> Sequence[str]:
        """The collectors' sessions."""
        return [f"collector-{number}" for number in range(self.collectors)]

    def prepare(self, broker: Mosquitto, influx: Influx, folder: Path) -> None:
        """Make a home for each process; the bucket they make themselves."""
        self.folder, self.bucket = folder, influx.name("tanyuan")
        make_site(folder / "config", self.meters)
        for name in ("project", *self.client_ids):
            (folder / name).mkdir()
            write_settings(
                folder / name,
                influx.server,
                influx_bucket=self.bucket,
                config=str(folder / "config"),
                ledger=f"sqlite:///{folder / 'ledger.sqlite'}",
                http_token="shared-by-all",
                broker=f"mqtt://127.0.0.1:{broker.port}",
                broker_topic=FILTER,
                broker_share=_GROUP,
                broker_client_id=name,
            )

    def start(self) -> None:
        """Start the projector, and the collectors once it is there."""
        self.run(tanyuan(self.folder / "project", "project"), quiet_environment())
        deadline = time.monotonic() + _PATIENCE_S
        while not (self.folder / "project" / "run.json").exists():
            if self.has_ended() or time.monotonic() > deadline:
                raise ChildFailed(f"{self.name} did not start: {self.said()}")
            time.sleep(0.02)
        for name in self.client_ids:
            self.run(tanyuan(self.folder / name, "collect"), quiet_environment())

    def field_of(self, register: str) -> str:
        """The field that holds a register."""
        return register


def make_site(folder: Path, meters: int) -> None:
    """Make a folder with a site."""
    folder.mkdir(parents=True)
    (folder / "site.yaml").write_text(site_yaml(meters), encoding="utf-8")


def tanyuan(home: Path, *words: str) -> list[str]:
    """A command line of ours."""
    return [str(Path(sys.executable).with_name("tanyuan")), "--home", str(home), *words]


def write_settings(home: Path, server: Server, **more: str) -> None:
    """Let a home of ours write into an InfluxDB; its doors take free ports."""
    given = {
        "store": "influxdb",
        "influx_url": server.url,
        "influx_org": server.org,
        "influx_token": server.token,
    } | more
    lines = ["mqtt_port = 0", "http_port = 0"]
    lines += [f'{name} = "{value}"' for name, value in given.items()]
    (home / "tanyuan.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def quiet_environment() -> dict[str, str]:
    """This environment without any setting of ours."""
    kept = environment()
    return {name: value for name, value in kept.items() if not name.startswith("INFLUXDB_V2_")}
