"""Debian's Mosquitto with the configuration that is shipped, and certificates of our own making."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import ssl
import subprocess
import time
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from ingest.subscriber import SubscriberSettings

DEPLOY = Path(__file__).parents[2] / "deploy"
PASSWORDS = {"gw1": "one-secret", "gw2": "two-secret", "collector": "collector-secret"}


def program(name: str) -> str:
    """Where a program is, or a skip that says it is missing."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/sbin")
    if found is None:
        pytest.skip(f"{name} is not on the PATH")
    return found


def wait_until(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


def make_certificates(folder: Path) -> None:
    """A CA and a certificate for localhost and 127.0.0.1, good for a day."""
    openssl = program("openssl")

    def run(*arguments):
        subprocess.run([openssl, *arguments], cwd=folder, check=True, capture_output=True)

    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    run("req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.crt", "-days", "1",
        "-subj", "/CN=tanyuan test CA")  # fmt: skip
    run("req", *curve, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=localhost")
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    run("x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key",
        "-CAcreateserial", "-days", "1", "-extfile", "names", "-out", "server.crt")  # fmt: skip


class ShippedMosquitto:
    """Mosquitto with `deploy/mosquitto`, on a free port, in a folder of its own.

    Of the file as shipped only the places are changed (folders and port), and the user it runs as.
    """

    def __init__(self, folder: Path, **changes: str) -> None:
        self.folder = folder
        (folder / "data").mkdir()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        make_certificates(folder)
        self._make_passwords(program("mosquitto_passwd"))
        shutil.copy(DEPLOY / "mosquitto" / "acl", folder / "acl")
        text = (DEPLOY / "mosquitto" / "mosquitto.conf").read_text(encoding="utf-8")
        for old, new in (
            ("/etc/mosquitto/tanyuan/", f"{folder}/"),
            ("/var/lib/mosquitto/", f"{folder}/data/"),
            ("listener 8883\n", f"listener {self.port} 127.0.0.1\n"),
            *((f"\n{name} ", f"\n{name} {value}\n#") for name, value in changes.items()),
        ):
            assert old in text, old
            text = text.replace(old, new)
        self.config = folder / "mosquitto.conf"
        self.config.write_text(f"{text}user {pwd.getpwuid(os.getuid()).pw_name}\n")
        self.process: subprocess.Popen[bytes] | None = None

    def _make_passwords(self, maker: str) -> None:
        (self.folder / "passwords").touch(0o600)
        for name, password in PASSWORDS.items():
            subprocess.run(
                [maker, "-b", "passwords", name, password],
                cwd=self.folder, check=True, capture_output=True,
            )  # fmt: skip

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [program("mosquitto"), "-c", str(self.config)], stdout=log, stderr=log
            )
        wait_until(self._answers)

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "log").read_text()
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(20)
            self.process = None

    def settings(self, **options) -> SubscriberSettings:
        """Our collector's session on this broker."""
        given = {
            "broker": f"mqtts://collector@localhost:{self.port}",
            "password": PASSWORDS["collector"],
            "ca_file": self.folder / "ca.crt",
            "filters": ("tanyuan/+/+/readings",),
            "client_id": "tanyuan-collector",
            "reconnect_min_s": 0.1,
            "reconnect_max_s": 0.5,
        }
        return SubscriberSettings(**(given | options))

    def client(self, user: str | None, password: str | None = None, **options) -> Visitor:
        """Some client, by default with the right password."""
        right = PASSWORDS.get(user or "")
        return Visitor(self, user, right if password is None else password, **options)


class Visitor:
    """A paho client for the length of a `with`: what it was told, and what it got."""

    def __init__(
        self, broker, user, password, *, client_id=None, clean=True, tls=True, version=paho.MQTTv5
    ):
        self.broker, self.clean, self.version = broker, clean, version
        self.reason, self.acks, self.got, self.granted = None, {}, [], None
        five = version == paho.MQTTv5
        self.client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id or user or "stranger",
            protocol=version,
            clean_session=None if five else clean,
            reconnect_on_failure=False,
        )
        if user is not None:
            self.client.username_pw_set(user, password)
        if tls:
            context = ssl.create_default_context(cafile=broker.folder / "ca.crt")
            self.client.tls_set_context(context)
        self.client.on_connect = self._connected
        self.client.on_publish = self._published
        self.client.on_subscribe = self._subscribed
        self.client.on_message = lambda _c, _u, message: self.got.append(message)

    def _connected(self, _client, _data, flags, reason, _properties):
        self.session_present, self.reason = flags.session_present, reason

    def _published(self, _client, _data, mid, reason, _properties):
        self.acks[mid] = reason

    def _subscribed(self, _client, _data, _mid, reasons, _properties):
        self.granted = reasons

    def __enter__(self):
        options = {}
        if self.version == paho.MQTTv5:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = 0 if self.clean else 3600
            options = {"clean_start": self.clean, "properties": properties}
        self.client.connect("localhost", self.broker.port, **options)
        self.client.loop_start()
        wait_until(lambda: self.reason is not None)
        return self

    def __exit__(self, *_):
        self.client.disconnect()
        self.client.loop_stop()

    def publish(self, topic, payload, qos=1):
        """Publish and return what the broker said."""
        mid = self.client.publish(topic, payload, qos=qos).mid
        wait_until(lambda: mid in self.acks)
        return self.acks[mid]

    def flood(self, topic, payloads, window=100):
        """Publish many; return those that were acknowledged before the connection ended."""
        sent = {}
        for payload in payloads:
            if not self.client.is_connected():
                break
            sent[self.client.publish(topic, payload, qos=1).mid] = payload
            while len(sent) - len(self.acks) >= window and self.client.is_connected():
                time.sleep(0.0005)
        wait_until(lambda: len(self.acks) == len(sent) or not self.client.is_connected())
        return [payload for mid, payload in sent.items() if mid in self.acks]
