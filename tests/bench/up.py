"""A running `up`: how long its start takes, what it holds in memory, how fast it answers."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from urllib.parse import urlencode

from tests.bench import messages
from tests.bench.children import REPO, ChildFailed, environment
from tests.bench.figures import Aim, Figure
from tests.bench.machine import resident_mb
from tests.bench.recompute import computed_home
from tests.bench.settings import Scale
from tests.bench.year import METERS_A_BUILDING, YEAR

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
def up(home: Path, *, patience_s: float = 120) -> Iterator[Up]:
    """Run `tanyuan up` until the block ends."""
    doors = {"TANYUAN_MQTT_PORT": "0", "TANYUAN_HTTP_PORT": "0"}
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


# -- answers ----------------------------------------------------------------------------------


def latency(scale: Scale) -> list[Figure]:
    """Questions over HTTP to an `up` that holds the year, one after the other."""
    with up(computed_home(scale)) as running:
        connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=120)
        try:
            floor = _asked(connection, running, [("/healthz", {})] * scale.requests)
            return [
                figure
                for name, questions in _questions(scale).items()
                for figure in _percentiles(name, _asked(connection, running, questions), floor)
            ]
        finally:
            connection.close()


def _questions(scale: Scale) -> dict[str, list[tuple[str, dict[str, str]]]]:
    """Questions of each kind; they differ, so that no answer is there already."""
    buildings = -(-scale.year_meters // METERS_A_BUILDING)
    first, last = date(YEAR, 1, 1), date(YEAR + 1, 1, 1)
    found: dict[str, list[tuple[str, dict[str, str]]]] = {}
    for number in range(scale.requests):
        day = first + timedelta(days=(number * 37) % 330)
        building = {"building": f"b{number % buildings:03d}"}
        month = {"from": str(day), "to": str(day + timedelta(days=31))}
        whole = {"from": str(first), "to": str(last)}
        energy = "/api/v1/energy"
        for name, path, query in (
            ("energy, building, a month by the hour", energy, month | building | {"every": "hour"}),
            ("energy, building, the year by the day", energy, whole | building | {"every": "day"}),
            (
                "energy, building, the year by the month",
                energy,
                whole | building | {"every": "month"},
            ),
            (
                "energy, building, the year by the hour",
                energy,
                whole | building | {"every": "hour"},
            ),
            ("energy, site, a month by the hour", energy, month | {"every": "hour"}),
            ("energy, site, the year by the day", energy, whole | {"every": "day"}),
            ("energy, site, the year by the month", energy, whole | {"every": "month"}),
            (
                "energy, point, a month by 15 min",
                energy,
                month | {"point": f"p{number % scale.year_meters:05d}", "every": "15min"},
            ),
            (
                "emissions, building, the year by the month",
                "/api/v1/emissions",
                whole | building | {"every": "month"},
            ),
            (
                "emissions, site, the year by the month",
                "/api/v1/emissions",
                whole | {"every": "month"},
            ),
            ("quota, all buildings", "/api/v1/quota", {"on": str(day)}),
            ("latest, all meters", "/api/v1/latest", {}),
            ("live", "/api/v1/live", {"at": f"{day}T12:00:00+08:00"}),
        ):
            found.setdefault(name, []).append((path, query))
    return found


def _asked(
    connection: http.client.HTTPConnection, running: Up, questions: list[tuple[str, dict[str, str]]]
) -> list[float]:
    """How long each answer took. [ms]."""
    milliseconds = []
    for path, query in questions:
        target = path + ("?" + urlencode(query) if query else "")
        start = time.perf_counter()
        connection.request("GET", target, headers={"authorization": f"Bearer {running.token}"})
        response = connection.getresponse()
        body = response.read()
        milliseconds.append((time.perf_counter() - start) * 1e3)
        if response.status != 200 or b'"behind"' in body:
            raise ValueError(f"{target}: {response.status} {body[:300]!r}")
    return milliseconds


def _percentiles(name: str, measured: list[float], floor: list[float]) -> list[Figure]:
    aim = Aim("at most", 200)
    reference = "healthz, the same way"
    return [
        Figure(f"{name}: p50", percentile(measured, 50), "ms", reference, percentile(floor, 50)),
        Figure(
            f"{name}: p99", percentile(measured, 99), "ms", reference, percentile(floor, 99), aim
        ),
    ]


def percentile(measured: list[float], share: int) -> float:
    """The smallest measured value that this share of all do not exceed. [%]."""
    ordered = sorted(measured)
    return ordered[max(0, -(-len(ordered) * share // 100) - 1)]
