"""Publishing with QoS 1 by a foreign client, paho, as a gateway would."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

TOPIC = "tanyuan/{site}/gw/readings"


def batches(readings: Sequence[dict[str, Any]], size: int) -> Iterator[bytes]:
    """Native messages of so many readings, in their order."""
    for at in range(0, len(readings), size):
        yield json.dumps({"readings": readings[at : at + size]}).encode()


def reading(meter: str, at: str, **registers: float) -> dict[str, Any]:
    """One reading of the native dialect."""
    return {"meter": meter, "at": at, "registers": registers}


def publish(
    port: int,
    payloads: Iterable[bytes],
    *,
    site: str = "estate",
    version: int = 5,
    window: int = 200,
    timeout_s: float = 120,
) -> int:
    """Publish to 127.0.0.1 and return once each message is acknowledged as accepted."""
    room, connected, refused = threading.Semaphore(window), threading.Event(), []
    protocol = paho.MQTTv5 if version == 5 else paho.MQTTv311
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="test-gw", protocol=protocol)

    def on_connect(_c: Any, _u: Any, _f: Any, reason: Any, _p: Any) -> None:
        assert not reason.is_failure, reason
        connected.set()

    def on_publish(_c: Any, _u: Any, _mid: int, reason: Any, _p: Any) -> None:
        if reason.is_failure:
            refused.append(str(reason))
        room.release()

    client.on_connect, client.on_publish = on_connect, on_publish
    client.max_inflight_messages_set(0)
    client.connect("127.0.0.1", port)
    client.loop_start()
    count = 0
    try:
        assert connected.wait(10), "no CONNACK within 10 s"
        for payload in payloads:
            assert room.acquire(timeout=timeout_s), f"no PUBACK within {timeout_s} s"
            client.publish(TOPIC.format(site=site), payload, qos=1)
            count += 1
        for _ in range(window):
            assert room.acquire(timeout=timeout_s), f"no PUBACK within {timeout_s} s"
    finally:
        client.disconnect()
        client.loop_stop()
    assert not refused, refused[:5]
    return count
