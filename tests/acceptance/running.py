"""Homes, commands and a running `up`, as an operator has them: through the doors alone."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest

from api import cli
from api import services as product
from api.services import Services
from api.settings import Settings, load_settings
from tests.shape import settings_of

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
PROGRAM = Path(sys.executable).with_name("tanyuan")


def data(name: str) -> Path:
    """A folder of real data, or a skip that says which is missing."""
    folder = DATA / name
    if not folder.is_dir():
        pytest.skip(f"the data set {name} is not beside the repository")
    return folder


def make_home(folder: Path, site: str, *, factors: Mapping[str, str] | None = None) -> Path:
    """A home with this site file and these files in its folder factors."""
    (folder / "factors").mkdir(parents=True)
    (folder / "site.yaml").write_text(site, encoding="utf-8")
    for name, text in (factors or {}).items():
        (folder / "factors" / name).write_text(text, encoding="utf-8")
    return folder


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended, and what it printed."""

    status: int
    out: bytes
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


def environment(**extra: str) -> dict[str, str]:
    """This environment without what would slow down or steer the program."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name != "PYTHONDONTWRITEBYTECODE" and not name.startswith("TANYUAN_")
    }
    return kept | extra


def run(home: Path, *arguments: str, timeout_s: float = 120) -> Outcome:
    """Run the program in a process of its own."""
    done = subprocess.run(
        [str(PROGRAM), "--home", str(home), *arguments],
        env=environment(**settings_of(home)),
        capture_output=True,
        timeout=timeout_s,
        check=False,
    )
    return Outcome(done.returncode, done.stdout, done.stderr.decode())


def call(home: Path | None, *arguments: str) -> Outcome:
    """Run the program in this process: the same commands, several times as fast."""
    out, err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), io.StringIO()
    where = ["--home", str(home)] if home is not None else []
    shape = {
        name: value
        for name, value in (settings_of(home) if home is not None else {}).items()
        if name not in os.environ
    }
    status: object = 0
    with (
        mock.patch.object(sys, "argv", ["tanyuan", *where, *arguments]),
        mock.patch.dict(os.environ, shape),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            cli.main()
        except SystemExit as ended:
            status = ended.code
    out.flush()
    return Outcome(int(str(status or 0)), out.buffer.getvalue(), err.getvalue())  # type: ignore[attr-defined]


@contextmanager
def opened(home: Path) -> Iterator[None]:
    """Let every `call` inside share one opening of the home, as it would share a running `up`."""
    open_anew = product.open_services

    def open_or_share(settings: Settings) -> AbstractContextManager[Services]:
        shared = settings.home == home.absolute()
        return nullcontext(services) if shared else open_anew(settings)

    with (
        open_anew(load_settings(home, environ=os.environ | settings_of(home))) as services,
        mock.patch.object(product, "open_services", open_or_share),
    ):
        yield


def answer(home: Path, *arguments: str) -> Any:
    """The document a command prints with --json."""
    done = call(home, *arguments, "--json")
    assert done.status == 0, done.err or done.out
    return done.document


def rows(document: Any, carrier: str | None = None) -> list[dict[str, Any]]:
    """The rows of the only series, or of the only one of a carrier."""
    found = [s for s in document["series"] if carrier in (None, s["carrier"])]
    assert len(found) == 1, [(s["subject"], s["carrier"]) for s in document["series"]]
    return found[0]["rows"]


def values(document: Any, carrier: str | None = None) -> list[float | None]:
    """The values of the only series, or of the only one of a carrier."""
    return [row["value"] for row in rows(document, carrier)]


def write_readings(path: Path, readings: list[tuple[str, str, str, object]]) -> Path:
    """A file that `import` takes, of (meter, register, at, value)."""
    lines = ["meter,register,at,value"] + [",".join(str(cell) for cell in r) for r in readings]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@dataclass(frozen=True, slots=True)
class Up:
    """A running `up`."""

    home: Path
    pid: int
    mqtt_port: int
    http_port: int
    token: str
    program: Path = PROGRAM

    def with_token(self, token: str) -> Up:
        """The same, asked by somebody else."""
        return replace(self, token=token)

    def get(self, path: str, **query: str) -> bytes:
        """Ask over HTTP; `first` stands for `from`."""
        named = {"from" if name == "first" else name: value for name, value in query.items()}
        url = f"http://127.0.0.1:{self.http_port}{path}"
        asked = Request(
            url + ("?" + urlencode(named) if named else ""),
            headers={"authorization": f"Bearer {self.token}"},
        )
        with urlopen(asked, timeout=120) as response:
            return bytes(response.read())

    def ask(self, path: str, **query: str) -> Any:
        """Ask the API, version 1."""
        return json.loads(self.get(f"/api/v1{path}", **query))


@contextmanager
def up(home: Path, *, start_s: float = 60, **settings: str) -> Iterator[Up]:
    """Run `tanyuan up` on free ports until the block ends; unless killed it must stop cleanly."""
    ports = {"TANYUAN_MQTT_PORT": "0", "TANYUAN_HTTP_PORT": "0"}
    given = settings_of(home) | ports | settings
    log = home / "up.log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            [str(PROGRAM), "--home", str(home), "up"],
            env=environment(**given),
            stdout=out,
            stderr=out,
        )
    try:
        yield _started(home, process, log, start_s)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) in (0, -signal.SIGKILL), log.read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(30)


def _started(home: Path, process: subprocess.Popen[bytes], log: Path, start_s: float) -> Up:
    deadline = time.monotonic() + start_s
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError, ValueError):
            said = json.loads((home / "run.json").read_text(encoding="utf-8"))
            if said["pid"] == process.pid:
                return Up(home, said["pid"], said["mqtt_port"], said["http_port"], said["token"])
        time.sleep(0.05)
    raise AssertionError(f"up did not start within {start_s} s:\n{log.read_text()}")
