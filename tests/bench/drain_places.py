"""What both sides drain from and into: Mosquitto with the settings we ship, and one InfluxDB 2."""

from __future__ import annotations

import csv
import io
import itertools
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from influxdb_client.domain.bucket_retention_rules import BucketRetentionRules
from influxdb_client.domain.dialect import Dialect
from influxdb_client.rest import ApiException

from tests.bench import machine
from tests.bench.broker import NoBroker
from tests.bench.children import REPO
from tests.influx_server import Server, own_server
from tests.ingest.raw_mqtt import RawClient

FILTER = "tanyuan/+/+/readings"
NO_INFLUX = "influxd is not on the PATH"

_LOCKS = {"listener", "cafile", "certfile", "keyfile", "tls_version", "password_file", "acl_file"}
_CHANGED = """\
listener {port} 127.0.0.1
allow_anonymous true
persistence false
max_inflight_messages 0
"""
"""No certificates or passwords, nothing on disk, and as many messages under way as a client takes:
Telegraf acknowledges once a message is written, and at 1000 it would wait for its own flush."""
_PATIENCE_S = 60.0
_ASKED = 5
_SHARD_S = 364 * 86_400


class NoInflux(RuntimeError):
    """There is no InfluxDB here."""


@dataclass(frozen=True, slots=True)
class Mosquitto:
    """A running broker."""

    port: int
    pid: int
    log: Path

    def connections(self, client_id: str) -> int:
        """How often a client was let in."""
        return self.log.read_text(errors="replace").count(f" as {client_id} (")

    def leave_session(self, client_id: str, topics: str, version: int) -> None:
        """Subscribe with a session that stays, and go: from now on messages are kept."""
        stays: dict[str, object] = {"clean": False}
        if version == 5:
            stays["session_expiry_interval"] = 3600
        with RawClient(self.port, version=version, client_id=client_id, **stays) as client:
            name = topics.encode()
            head = b"\0\1\0" if version == 5 else b"\0\1"
            body = head + len(name).to_bytes(2, "big") + name + b"\1"
            client.send(b"\x82" + bytes([len(body)]) + body)
            client.packet()
            client.send(b"\xe0\x00")


@contextmanager
def mosquitto(folder: Path) -> Iterator[Mosquitto]:
    """Run Mosquitto with `deploy/mosquitto` on loopback until the block ends.

    Raises:
        NoBroker: It is not installed.
    """
    program = machine.mosquitto()
    if program is None:
        raise NoBroker("mosquitto is not on the PATH")
    folder.mkdir(parents=True, exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config, log = folder / "mosquitto.conf", folder / "mosquitto.log"
    config.write_text(_settings(port), encoding="utf-8")
    with log.open("wb") as said:
        process = subprocess.Popen([program, "-c", str(config)], stdout=said, stderr=said)
    try:
        _wait_for_door(port, process)
        yield Mosquitto(port, process.pid, log)
    finally:
        process.kill()  # quicker than asking it to free what no one reads
        process.wait(30)


def _settings(port: int) -> str:
    """The file as shipped, but for its locks and what is changed here."""
    changed = _CHANGED.format(port=port)
    left_out = _LOCKS | {line.split()[0] for line in changed.splitlines()}
    left_out |= {"persistence_location", "autosave_on_changes", "autosave_interval"}
    shipped = (REPO / "deploy" / "mosquitto" / "mosquitto.conf").read_text(encoding="utf-8")
    kept = [
        line
        for line in shipped.splitlines()
        if line and not line.startswith("#") and line.split()[0] not in left_out
    ]
    return "\n".join(kept) + "\n" + changed


def _wait_for_door(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise NoBroker("mosquitto does not answer within 10 s")


@dataclass(slots=True)
class Influx:
    """A running InfluxDB and the buckets of one measurement."""

    server: Server
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self.server.process is not None
        return self.server.process.pid

    def name(self, side: str) -> str:
        """A name for a bucket that was not there before."""
        return f"{side}_{next(self._numbers)}"

    def make(self, bucket: str) -> None:
        """Make a bucket that keeps everything, with shards as long as ours, if it is not there."""
        rules = BucketRetentionRules(every_seconds=0, shard_group_duration_seconds=_SHARD_S)
        with self.server.client() as client:
            if client.buckets_api().find_bucket_by_name(bucket) is not None:
                return
            client.buckets_api().create_bucket(
                bucket_name=bucket, retention_rules=rules, org=self.server.org
            )

    def drop(self, bucket: str) -> None:
        """Delete a bucket and the derived one beside it, if they are there."""
        for name in (bucket, f"{bucket}_derived"):
            self.server.drop(name)

    def count(self, bucket: str, register: str) -> int:
        """Points that have this field; 0 while there is no bucket."""
        return sum(self._counts(bucket, f' and r._field == "{register}"').values())

    def values(self, bucket: str, registers: frozenset[str]) -> int:
        """Values of these fields."""
        found = self._counts(bucket, "")
        return sum(count for name, count in found.items() if name in registers)

    def points(self, bucket: str, register: str) -> set[tuple[str, str]]:
        """Meter and time of every point that has this field."""
        rows = self._ask(
            bucket, f' and r._field == "{register}"', 'keep(columns: ["meter", "_time"])'
        )
        return {(row["meter"].rpartition("/")[2], row["_time"]) for row in rows}

    def _counts(self, bucket: str, which: str) -> dict[str, int]:
        rows = self._ask(bucket, which, 'group(columns: ["_field"]) |> count()')
        return {row["_field"]: int(row["_value"]) for row in rows}

    def _ask(self, bucket: str, which: str, then: str) -> list[dict[str, str]]:
        query = (
            f'from(bucket: "{bucket}") |> range(start: 2023-12-31T00:00:00Z)'
            f' |> filter(fn: (r) => r._measurement == "reading"{which}) |> {then}'
        )
        dialect = Dialect(header=True, delimiter=",", annotations=[], comment_prefix="#")
        text = self._answer(query, dialect)
        tables = [part for part in text.split("\r\n\r\n") if part]
        return [row for part in tables for row in csv.DictReader(io.StringIO(part))]

    def _answer(self, query: str, dialect: Dialect) -> str:
        """What it says; nothing where there is no bucket, and another time where it stumbles."""
        for turn in range(_ASKED, 0, -1):
            with self.server.client() as client:
                try:
                    found = client.query_api().query_raw(query, dialect=dialect)
                    return str(found.data.decode())
                except ApiException as error:
                    if error.status == 404:
                        return ""
                    if error.status != 500 or turn == 1:
                        raise
            time.sleep(1)
        return ""


@contextmanager
def influx() -> Iterator[Influx]:
    """Run InfluxDB until the block ends.

    Raises:
        NoInflux: It is not installed.
    """
    if shutil.which("influxd") is None:
        raise NoInflux(NO_INFLUX)
    server = own_server()
    try:
        yield Influx(server)
    finally:
        server.end()
