"""A real Grafana for the tests, on loopback, with a database of its own and no outside request."""

from __future__ import annotations

import base64
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import httpx2
import pytest

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "deploy" / "grafana" / "provisioning"

REASON = "Grafana was not tested: put grafana on the PATH."
NO_PAGES = "Dashboards were not opened: the grafana on the PATH has no built pages."
PASSWORD = "only-for-tests"
START_S = 120.0


class Server:
    """A Grafana of the tests."""

    def __init__(self, folder: Path, *, provisioning: Path | None = None, **settings: str) -> None:
        self.home = _home()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{free.getsockname()[1]}"
        self._folder = folder
        self._settings = {
            "GF_SERVER_HTTP_ADDR": "127.0.0.1",
            "GF_SERVER_HTTP_PORT": self.url.rpartition(":")[2],
            "GF_SECURITY_ADMIN_PASSWORD": PASSWORD,
            "GF_SECURITY_DISABLE_GRAVATAR": "true",
            "GF_ANALYTICS_REPORTING_ENABLED": "false",
            "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
            "GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES": "false",
            "GF_NEWS_NEWS_FEED_ENABLED": "false",
            "GF_LOG_LEVEL": "warn",
            "GF_PATHS_DATA": str(folder / "data"),
            "GF_PATHS_LOGS": str(folder / "logs"),
            "GF_PATHS_PLUGINS": str(folder / "plugins"),
            "GF_PATHS_PROVISIONING": str(provisioning or folder / "provisioning"),
            "GF_DASHBOARDS_MIN_REFRESH_INTERVAL": "5s",
            **settings,
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def has_pages(self) -> bool:
        """Whether its pages were built, so that a browser can open dashboards."""
        return self.home is None or (self.home / "public" / "build").is_dir()

    def start(self) -> None:
        """Start it and wait until it is well."""
        command = ["grafana", "server"]
        if self.home is not None:
            command += ["--homepath", str(self.home)]
        environ = {k: v for k, v in os.environ.items() if not k.startswith("GF_")}
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self._folder, env=environ | self._settings
            )
        deadline = time.monotonic() + START_S
        while not self._is_well():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Grafana does not answer at {self.url}: {self.log()[-2000:]}")
            time.sleep(0.1)

    def stop(self) -> None:
        """Stop it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)

    def log(self) -> str:
        """What it wrote."""
        return (self._folder / "log").read_text(errors="replace")

    def ask(self, verb: str, path: str, body: object = None):
        """A request of its administrator."""
        basic = base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
        with httpx2.Client(trust_env=False, timeout=30) as client:
            answer = client.request(
                verb,
                f"{self.url}/api{path}",
                json=body,
                headers={"authorization": f"Basic {basic}"},
            )
        assert answer.status_code < 400, (verb, path, answer.status_code, answer.text)
        return answer.json()

    def token(self, role: str) -> str:
        """A token of a new service account."""
        name = f"tests-{time.time_ns()}"
        account = self.ask("POST", "/serviceaccounts", {"name": name, "role": role})
        made = self.ask("POST", f"/serviceaccounts/{account['id']}/tokens", {"name": name})
        return made["key"]

    def _is_well(self) -> bool:
        try:
            with httpx2.Client(trust_env=False, timeout=5) as client:
                return client.get(f"{self.url}/api/health").json()["database"] == "ok"
        except (httpx2.HTTPError, KeyError, ValueError):
            return False


def started(folder: Path, **options) -> Server:
    """A running server; skips the test where there is no Grafana."""
    if shutil.which("grafana") is None:
        pytest.skip(REASON)
    server = Server(folder, **options)
    server.start()
    return server


def _home() -> Path | None:
    """Where Grafana's own files are, if they lie around its program."""
    program = Path(shutil.which("grafana") or "").resolve()
    for folder in (*program.parents, Path("/usr/share/grafana")):
        if (folder / "conf" / "defaults.ini").is_file():
            return folder
    return None


def provisioned_like_compose(folder: Path, *, token: str) -> Path:
    """The files of `deploy/`, with only their places changed to ones that are here."""
    places = {
        "/run/secrets/influxdb_token": str(folder / "token"),
        "/etc/grafana/tanyuan": str(ROOT / "dashboards" / "json"),
    }
    (folder / "token").write_text(token + "\n", encoding="utf-8")
    into = folder / "provisioning"
    for path in sorted(SHIPPED.rglob("*.yaml")):
        text = path.read_text(encoding="utf-8")
        for shipped, here in places.items():
            text = text.replace(shipped, here)
        copy = into / path.relative_to(SHIPPED)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(text, encoding="utf-8")
    return into
