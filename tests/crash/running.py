"""`tanyuan up` as a process that is killed and started again at the same ports."""

import json
import signal
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import orjson

from tests.acceptance.running import PROGRAM, environment
from tests.shape import settings_of

START_S = 90.0


class Up:
    """An installation whose `up` can be killed and started again; its ports stay.

    Args:
        home: With a site file; the log is written beside it.
        settings: As `TANYUAN_` + name in upper case.
    """

    def __init__(self, home, **settings):
        self.home = home
        self.settings = {"TANYUAN_" + name.upper(): str(v) for name, v in settings.items()}
        self.log_file = home.with_name(home.name + ".log")
        self.mqtt_port = self.http_port = 0
        self.process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        if self.process is not None:
            self.kill()

    @property
    def log(self):
        """Everything the processes wrote to stderr."""
        return self.log_file.read_text("utf-8", "replace")

    def spawn(self):
        """Start the process and return at once."""
        ports = ["--mqtt-port", str(self.mqtt_port), "--http-port", str(self.http_port)]
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [str(PROGRAM), "--home", str(self.home), "up", *ports],
                env=environment(**(settings_of(self.home) | self.settings)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def start(self):
        """Start, and return once both doors answer."""
        self.spawn()
        self.wait_until_up()

    def wait_until_up(self):
        """Wait until the process that was started answers on both doors."""
        deadline = time.monotonic() + START_S
        while (found := self._announced()) is None:
            assert self.process.poll() is None, f"up ended:\n{self.log[-4000:]}"
            assert time.monotonic() < deadline, f"up did not answer in time:\n{self.log[-4000:]}"
            time.sleep(0.01)
        self.mqtt_port, self.http_port = found["mqtt_port"], found["http_port"]

    def _announced(self):
        try:
            found = json.loads((self.home / "run.json").read_text())
        except (OSError, ValueError):
            return None
        return found if found["pid"] == self.process.pid else None

    def kill(self):
        """End it with SIGKILL, at once."""
        self.process.kill()
        self.process.wait()
        self.process = None

    def stop(self):
        """End it as it should be ended; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(60)
        self.process = None
        return status

    def get(self, path, **query):
        """Ask over HTTP; the status and the bytes of the answer. `first` stands for `from`."""
        named = {"from" if name == "first" else name: value for name, value in query.items()}
        url = f"http://127.0.0.1:{self.http_port}{path}?{urllib.parse.urlencode(named)}"
        try:
            with urllib.request.urlopen(url, timeout=120) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def ask(self, path, **query):
        """Ask the API, version 1; the document of an answer that misses nothing."""
        status, body = self.get(f"/api/v1{path}", **query)
        assert status == 200, body.decode()
        document = orjson.loads(body)
        assert "behind" not in document, document["behind"]
        return document

    def metrics(self):
        """Every sample, by its name as it is written, labels and all."""
        status, body = self.get("/metrics")
        assert status == 200, body.decode()
        lines = [line for line in body.decode().splitlines() if not line.startswith("#")]
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}

    def memory_peak_mb(self):
        """The most memory the process has had."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(text.split("VmHWM:")[1].split()[0]) / 1024
