"""A real InfluxDB 2 for the tests: the one that is named, or one of our own on loopback."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from influxdb_client import InfluxDBClient, Permission, PermissionResource
from influxdb_client.domain.onboarding_request import OnboardingRequest
from influxdb_client.service.setup_service import SetupService
from urllib3.exceptions import HTTPError

from metering.store.influx_store import InfluxStore, open_influx

ORG, TOKEN = "tanyuan", "only-for-tests"
START_S = 60.0
DROPS = 5
"""So often a bucket is asked to go."""

REASON = (
    "InfluxDB was not tested: put influxd on the PATH, or set TANYUAN_TEST_INFLUX_URL, "
    "INFLUXDB_V2_ORG and INFLUXDB_V2_TOKEN."
)


@dataclass
class Server:
    """Where a server is, and how to stop and start it if it is ours."""

    url: str
    org: str
    token: str
    folder: Path | None = None
    process: subprocess.Popen[bytes] | None = None
    buckets: set[str] = field(default_factory=set)

    def start(self) -> None:
        """Start our own server and wait until it answers."""
        assert self.folder is not None
        address = self.url.removeprefix("http://")
        command = ["influxd", "--reporting-disabled", "--log-level=error", "--store=disk"]
        command += [f"--http-bind-address={address}", f"--engine-path={self.folder / 'engine'}"]
        command += [
            f"--bolt-path={self.folder / 'bolt'}",
            f"--sqlite-path={self.folder / 'sqlite'}",
        ]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)
        deadline = time.monotonic() + START_S
        with self.client() as client:
            while not client.ping():
                if self.process.poll() is not None or time.monotonic() > deadline:
                    text = (self.folder / "log").read_text(errors="replace")[-1000:]
                    raise RuntimeError(f"influxd does not answer at {self.url}: {text}")
                time.sleep(0.1)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop our own server; by SIGINT it writes its index and starts quickly again."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(60)
            self.process = None

    def set_up(self) -> None:
        """Make the organisation and the token."""
        with self.client() as client:
            SetupService(client.api_client).post_setup(
                OnboardingRequest(
                    username="tests",
                    password="only-for-tests",
                    org=self.org,
                    bucket="first",
                    token=self.token,
                )
            )

    def client(self) -> InfluxDBClient:
        """The plain client, for what the store does not do."""
        return InfluxDBClient(self.url, token=self.token, org=self.org, timeout=10_000)

    def token_that_reads(self, name: str) -> str:
        """A token for the two buckets of this name, which must be there: it reads, and no more."""
        with self.client() as client:
            found = [
                client.buckets_api().find_bucket_by_name(each) for each in (name, f"{name}_derived")
            ]
            allowed = [
                Permission(
                    "read", PermissionResource(type="buckets", id=each.id, org_id=each.org_id)
                )
                for each in found
            ]
            made = client.authorizations_api().create_authorization(found[0].org_id, allowed)
            return str(made.token)

    def open(self, name: str, **options: object) -> InfluxStore:
        """The store whose buckets have this name."""
        self.buckets |= {name, f"{name}_derived"}
        return open_influx(
            self.url,
            org=self.org,
            token=self.token,
            bucket=name,
            derived_bucket=f"{name}_derived",
            **{"timeout_s": 20.0, **options},
        )

    def drop(self, bucket: str) -> None:
        """Delete a bucket. Our own server is started again if it dies of it.

        InfluxDB 2.9.1 unmaps the index of a bucket that goes while a query reads it: SIGSEGV.
        """
        for attempt in range(DROPS):
            try:
                with self.client() as client:
                    buckets = client.buckets_api()
                    if found := buckets.find_bucket_by_name(bucket):
                        buckets.delete_bucket(found)
                return
            except HTTPError:
                if self.process is None or attempt + 1 == DROPS:
                    raise
                time.sleep(1)
                if self.process.poll() is not None:
                    self.start()

    def end(self) -> None:
        """Leave nothing behind."""
        if self.folder is None:
            for bucket in self.buckets:
                self.drop(bucket)
        self.stop()
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


_server: Server | None = None


def server() -> Server:
    """The server of this test run, started when first asked for; skips the test without one."""
    global _server
    if _server is None:
        _server = _named() or _own()
    if _server is None:
        pytest.skip(REASON)
    return _server


def own_server() -> Server:
    """A server of one test alone, which may stop, freeze and break it."""
    started = _own()
    if started is None:
        pytest.skip("influxd is not on the PATH: nothing to stop and start")
    return started


def end_server() -> None:
    """Stop what was started."""
    global _server
    if _server is not None:
        _server.end()
        _server = None


def open_in(folder: Path) -> InfluxStore:
    """The store that belongs to a folder."""
    return server().open("t" + hashlib.blake2b(bytes(folder), digest_size=8).hexdigest())


def _named() -> Server | None:
    url = os.environ.get("TANYUAN_TEST_INFLUX_URL")
    if not url:
        return None
    org, token = (os.environ.get(f"INFLUXDB_V2_{name}", "") for name in ("ORG", "TOKEN"))
    return Server(url, org, token)


def _own() -> Server | None:
    if shutil.which("influxd") is None:
        return None
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = Server(
        f"http://127.0.0.1:{port}", ORG, TOKEN, Path(tempfile.mkdtemp(prefix="influx"))
    )
    try:
        started.start()
        started.set_up()
    except BaseException:
        started.end()
        raise
    return started
