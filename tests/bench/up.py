"""A running `up`: how long its start takes and what it holds in memory."""

from __future__ import annotations

import contextlib
import json
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench import messages
from tests.bench.children import REPO, ChildFailed, environment
from tests.bench.figures import Aim, Figure
from tests.bench.machine import resident_mb
from tests.bench.settings import Scale

_IMPORTS = (
    "alembic, apscheduler, duckdb, fastapi, nicegui, numpy, orjson, paho.mqtt.client, pyarrow, "
    "pydantic, sqlalchemy, uvicorn, yaml, zstandard"
)
_SETTLED_S = 2.0


@dataclass(frozen=True, slots=True)
class Up:
    """A running `up`."""

    pid: int
    port: int
    token: str
    start_s: float


@contextmanager
def up(home: Path, *, patience_s: float = 120, **settings: str) -> Iterator[Up]:
    """Run `tanyuan up` with some settings until the block ends."""
    doors = {"TANYUAN_MQTT_PORT": "0", "TANYUAN_HTTP_PORT": "0", **settings}
    program = Path(sys.executable).with_name("tanyuan")
    start = time.monotonic()
    with (home / "up.log").open("ab") as log:
        process = subprocess.Popen(
            [str(program), "--home", str(home), "up"],
            env=environment(**doors),
            stdout=log,
            stderr=log,
        )
    try:
        said = _announced(home, process, start + patience_s)
        yield Up(process.pid, said["http_port"], said["token"], time.monotonic() - start)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(30)


def _announced(home: Path, process: subprocess.Popen[bytes], deadline: float) -> dict:
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError, ValueError):
            said = json.loads((home / "run.json").read_text(encoding="utf-8"))
            if said["pid"] == process.pid:
                return said
        time.sleep(0.005)
    raise ChildFailed(f"up did not start: {(home / 'up.log').read_text()[-2000:]}")


# -- idle -------------------------------------------------------------------------------------


def idle(scale: Scale) -> list[Figure]:
    """Start and memory of an `up` that has nothing to do."""
    starts, memory = [], []
    for number in range(scale.repeats + 1):
        home = scale.work / f"idle-{number}"
        home.mkdir()
        (home / "site.yaml").write_text(messages.site_yaml(40), encoding="utf-8")
        with up(home) as running:
            time.sleep(_SETTLED_S)
            memory.append(resident_mb(running.pid))
            starts.append(running.start_s)
    bare = [_imports() for _ in range(scale.repeats + 1)][1:]
    name = "importing the third-party packages it uses"
    return [
        Figure(
            "until both doors answer",
            statistics.median(starts[1:]),
            "s",
            name,
            statistics.median(seconds for seconds, _ in bare),
            aim=Aim("at most", 3),
            note=f"40 meters; the first time {starts[0]:.1f} s",
        ),
        Figure(
            "resident memory, idle",
            statistics.median(memory),
            "MB",
            name,
            statistics.median(used for _, used in bare),
            aim=Aim("at most", 250),
        ),
    ]


def _imports() -> tuple[float, float]:
    """Seconds and memory of the imports alone."""
    code = f"import {_IMPORTS}; from tests.bench.machine import resident_mb; print(resident_mb())"
    start = time.monotonic()
    said = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPO,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return time.monotonic() - start, float(said.stdout.split()[-1])
