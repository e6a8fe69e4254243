"""A Mosquitto of our own on a free port, with its queues unlimited and nothing written to disk."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench import machine
from tests.ingest.raw_mqtt import RawClient

MISSING = "mosquitto is not on the PATH"


@dataclass(frozen=True, slots=True)
class Broker:
    """A running broker."""

    port: int
    pid: int


class NoBroker(RuntimeError):
    """There is no Mosquitto here."""


@contextmanager
def mosquitto(folder: Path) -> Iterator[Broker]:
    """Run Mosquitto until the block ends.

    Raises:
        NoBroker: It is not installed.
    """
    program = machine.mosquitto()
    if program is None:
        raise NoBroker(MISSING)
    folder.mkdir(parents=True, exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = folder / "mosquitto.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n"
        "max_queued_messages 0\nmax_inflight_messages 1000\nset_tcp_nodelay true\n"
    )
    with (folder / "mosquitto.log").open("wb") as log:
        process = subprocess.Popen([program, "-c", str(config)], stdout=log, stderr=log)
    try:
        _wait(port)
        yield Broker(port, process.pid)
    finally:
        process.kill()  # quicker than asking it to free what no one reads
        process.wait(30)


def leave_session(port: int, client_id: str, topic: str) -> None:
    """Subscribe with a session that stays, and go: from now on the broker keeps messages."""
    session = {"clean": False, "session_expiry_interval": 3600}
    with RawClient(port, client_id=client_id, **session) as client:
        name = topic.encode()
        body = b"\0\1\0" + len(name).to_bytes(2, "big") + name + b"\1"
        client.send(b"\x82" + bytes([len(body)]) + body)
        client.packet()
        client.send(b"\xe0\x00")


def _wait(port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        if time.monotonic() > deadline:
            raise NoBroker("mosquitto does not answer within 10 s")
        time.sleep(0.02)
