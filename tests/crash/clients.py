"""Foreign clients that publish with QoS 1, reconnect, and say what was acknowledged to them."""

import json
import re
import subprocess
import threading
import time

from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.crash.fleet import TOPIC

FINISH_S = 120.0


class Paho:
    """paho, MQTT 5, with a session that is to outlive the connection."""

    def __init__(self, port, folder):
        del folder
        self._mids, self._acked, self._lock = [], set(), threading.Lock()
        self._client = Client(CallbackAPIVersion.VERSION2, client_id="gateway-5", protocol=MQTTv5)
        self._client.max_inflight_messages_set(200)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_publish = self._on_publish
        session = Properties(PacketTypes.CONNECT)
        session.SessionExpiryInterval = 3600
        self._client.connect("127.0.0.1", port, clean_start=False, properties=session)
        self._client.loop_start()

    def _on_publish(self, _client, _userdata, mid, reason, _properties):
        if not reason.is_failure:
            with self._lock:
                self._acked.add(mid)

    def feed(self, payloads):
        """Hand over messages; they wait in the client while there is no connection."""
        for payload in payloads:
            self._mids.append(self._client.publish(TOPIC, payload, qos=1).mid)

    def acked(self):
        """Which messages were acknowledged, by their number from 0."""
        with self._lock:
            acked = set(self._acked)
        return {number for number, mid in enumerate(self._mids) if mid in acked}

    def finish(self):
        """Wait until everything is acknowledged, and leave."""
        deadline = time.monotonic() + FINISH_S
        while len(self.acked()) < len(self._mids) and time.monotonic() < deadline:
            time.sleep(0.05)
        self.close()

    def close(self):
        self._client.disconnect()
        self._client.loop_stop()


class MosquittoPub:
    """mosquitto_pub, MQTT 3.1.1, publishing the lines of its standard input."""

    def __init__(self, port, folder):
        self._said = folder / "mosquitto_pub.txt"
        command = ["mosquitto_pub", "-h", "127.0.0.1", "-p", str(port), "-V", "mqttv311"]
        with self._said.open("wb") as out:
            self._process = subprocess.Popen(
                [*command, "-q", "1", "-i", "gateway-311", "-t", TOPIC, "-l", "-d"],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    def feed(self, payloads):
        """Hand over messages; they wait in the client while there is no connection."""
        self._process.stdin.write(b"".join(payload + b"\n" for payload in payloads))
        self._process.stdin.flush()

    def acked(self):
        """Which messages were acknowledged, by their number from 0.

        Packet identifiers are given in the order of the lines, beginning with 1.
        """
        found = re.findall(r"received PUBACK \(Mid: (\d+), RC:0\)", self._said.read_text())
        return {int(mid) - 1 for mid in found}

    def finish(self):
        """Wait until everything is acknowledged, and leave."""
        self._process.stdin.close()
        assert self._process.wait(FINISH_S) == 0, self._said.read_text()[-2000:]

    def close(self):
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._process.stdin.close()


def reading(serial, at, value, register="active_import", **more):
    """The payload of one reading."""
    return json.dumps({"meter": serial, "at": at, "registers": {register: value}, **more}).encode()
