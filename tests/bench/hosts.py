"""The receiving side of a measurement, in a process of its own: `python -m tests.bench.hosts`.

Each host says where it listens (or that it is ready), waits for a line, and says what came.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from api.running import doors
from api.services import Services, open_services
from api.settings import Settings
from ingest.journal import Journal
from ingest.listener import Listener, ListenerSettings
from ingest.subscriber import Subscriber, SubscriberSettings
from tests.bench.machine import peak_mb
from tests.bench.sender import tell

_PATIENCE_S = 300.0


def listener(folder: Path) -> None:
    """The MQTT end point and the journal, nothing behind them."""
    with Journal(folder) as journal:
        door = Listener(journal, ListenerSettings(port=0))
        door.start()
        tell({"port": door.port})
        sys.stdin.readline()
        tell({"acked": door.counts.acked, "batches": door.counts.batches, "peak_mb": peak_mb()})
        door.stop()


def subscriber(folder: Path, port: int, count: int) -> None:
    """Our collector on a broker with a filled queue."""
    with Journal(folder) as journal:
        settings = SubscriberSettings(broker=f"mqtt://127.0.0.1:{port}", client_id="drained")
        collector = Subscriber(journal, settings)
        tell({"ready": True})
        sys.stdin.readline()
        start = time.monotonic()
        collector.start()
        wait_until(lambda: collector.counts.acked >= count, "messages of the broker")
        end = time.monotonic()
        tell(_drained(start, end, collector.counts.acked))
        collector.stop()


def bare(port: int, count: int) -> None:
    """A paho client that counts and acknowledges, and keeps nothing."""
    client = paho.Client(CallbackAPIVersion.VERSION2, "drained", protocol=paho.MQTTv5)
    seen, done = [0], threading.Event()

    def on_message(*_: object) -> None:
        seen[0] += 1
        if seen[0] >= count:
            done.set()

    client.on_message = on_message
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = 3600
    properties.ReceiveMaximum = 1000
    tell({"ready": True})
    sys.stdin.readline()
    start = time.monotonic()
    client.connect("127.0.0.1", port, clean_start=False, properties=properties)
    client.loop_start()
    if not done.wait(_PATIENCE_S):
        raise TimeoutError(f"{seen[0]} of {count} messages came")
    tell(_drained(start, time.monotonic(), seen[0]))
    client.disconnect()
    client.loop_stop()


def line(home: Path, count: int, *, recompute: bool) -> None:
    """Everything from the listener to committed readings, in one process as in `up`."""
    settings = Settings(home=home, mqtt_port=0, http_port=0)
    with open_services(settings) as services:
        if recompute:
            with doors(services) as running:
                tell({"port": running.mqtt_port})
                _committed(services, count, recompute=True)
        else:
            _without_recompute(services, count)


def _without_recompute(services: Services, count: int) -> None:
    door = Listener(services.journal, ListenerSettings(port=0))
    door.start()
    stop = threading.Event()
    projector = threading.Thread(target=services.projector.run, args=(stop,), daemon=True)
    projector.start()
    tell({"port": door.port})
    _committed(services, count, recompute=False)
    stop.set()
    projector.join(60)
    door.stop()


def _committed(services: Services, count: int, *, recompute: bool) -> None:
    """Say when the last reading was committed, and when its hours were."""
    if not services.projector.wait_until(count, _PATIENCE_S):
        raise TimeoutError(f"{services.projector.counts.position} of {count} messages are in")
    counts = services.projector.counts
    found = {"committed": time.monotonic(), "readings": counts.readings, "batches": counts.batches}
    if counts.quarantined:
        raise ValueError(f"Wanted readings, found quarantine: {dict(counts.quarantined)}")
    if recompute:
        ledger, worker = services.ledger, services.recompute
        wait_until(lambda: not ledger.count_dirty() and not worker.busy, "hours")
        found["computed"] = time.monotonic()
    tell(found | {"peak_mb": peak_mb()})
    sys.stdin.readline()


def wait_until(condition, what: str) -> None:
    """Look every few milliseconds."""
    deadline = time.monotonic() + _PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {_PATIENCE_S:.0f} s for {what}")
        time.sleep(0.002)


def _drained(start: float, end: float, acked: int) -> dict[str, object]:
    return {"start": start, "end": end, "acked": acked, "peak_mb": peak_mb()}


def main() -> None:
    """Be one of the hosts."""
    parser = argparse.ArgumentParser()
    parser.add_argument("host", choices=("listener", "subscriber", "bare", "line"))
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--port", type=int)
    parser.add_argument("--count", type=int)
    parser.add_argument("--recompute", action="store_true")
    asked = parser.parse_args()
    if asked.host == "listener":
        listener(asked.folder)
    elif asked.host == "subscriber":
        subscriber(asked.folder, asked.port, asked.count)
    elif asked.host == "bare":
        bare(asked.port, asked.count)
    else:
        line(asked.folder, asked.count, recompute=asked.recompute)


if __name__ == "__main__":
    main()
