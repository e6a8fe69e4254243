"""The parts of an installation as processes of their own, on real servers, that can be killed."""

from __future__ import annotations

import subprocess
import urllib.error
import urllib.parse
import urllib.request

import orjson

from tests.acceptance.running import PROGRAM, environment
from tests.crash.running import Up

TOKEN = "shared-by-all"


class Part(Up):
    """`tanyuan COMMAND` as a process that is killed and started again."""

    def __init__(self, home, command, **settings):
        super().__init__(home)
        self.command = command
        self.settings = settings
        home.mkdir(exist_ok=True)

    def spawn(self):
        """Start the process and return at once."""
        ports = ["--http-port", str(self.http_port)]
        if self.command in ("up", "listen"):
            ports += ["--mqtt-port", str(self.mqtt_port)]
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [str(PROGRAM), "--home", str(self.home), self.command, *ports],
                env=environment(**self.settings),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def get(self, path, **query):
        """Ask over HTTP with the token of the installation; the status and the bytes."""
        named = {"from" if name == "first" else name: value for name, value in query.items()}
        url = f"http://127.0.0.1:{self.http_port}{path}?{urllib.parse.urlencode(named)}"
        asked = urllib.request.Request(url, headers={"Authorization": f"Bearer {TOKEN}"})
        try:
            with urllib.request.urlopen(asked, timeout=120) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def post(self, path, body):
        """Ask for something to be done; the document of the answer."""
        url = f"http://127.0.0.1:{self.http_port}/api/v1{path}"
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        asked = urllib.request.Request(url, data=orjson.dumps(body), headers=headers)
        with urllib.request.urlopen(asked, timeout=120) as response:
            return orjson.loads(response.read())


class Installation:
    """Homes that share site files, a ledger, a store and a token.

    Args:
        folder: Where the homes are made.
        config: The folder of site files.
        influx: A server of our own, or another.
        ledger: The URL of a ledger that every process reaches.
        settings: Further settings of all processes.
    """

    def __init__(self, folder, config, influx, ledger, **settings):
        self.folder = folder
        self.settings = {
            "TANYUAN_CONFIG": str(config),
            "TANYUAN_HTTP_TOKEN": TOKEN,
            "TANYUAN_STORE": "influxdb",
            "TANYUAN_LEDGER": ledger,
            "TANYUAN_MIN_FREE_MB": "16",
            "INFLUXDB_V2_URL": influx.url,
            "INFLUXDB_V2_ORG": influx.org,
            "INFLUXDB_V2_TOKEN": influx.token,
        } | settings
        self.parts = {}

    def part(self, name, command=None, **settings):
        """Start a part; its home is named like it."""
        made = Part(self.folder / name, command or name, **(self.settings | settings))
        made.start()
        self.parts[name] = made
        return made

    def run(self, name, *arguments):
        """Run a command in the home of a part; status, stdout and stderr."""
        done = subprocess.run(
            [str(PROGRAM), "--home", str(self.folder / name), *arguments],
            env=environment(**self.settings),
            capture_output=True,
            timeout=120,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr.decode()

    def end(self):
        """End every part that still runs, at once."""
        for part in self.parts.values():
            if part.process is not None:
                part.kill()
