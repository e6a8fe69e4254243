"""How fast a running `up` answers, from a file and from InfluxDB."""

from __future__ import annotations

import http.client
import time
from datetime import date, timedelta
from pathlib import Path
from urllib.parse import urlencode

from api.moving import copy_between
from tests.bench.drain_places import Influx, NoInflux, influx
from tests.bench.executors_work import settings_of
from tests.bench.figures import Aim, Figure
from tests.bench.recompute import computed_home
from tests.bench.settings import Scale
from tests.bench.up import Up, up
from tests.bench.year import METERS_A_BUILDING, YEAR
from tests.influx_server import ORG, TOKEN


def latency(scale: Scale) -> list[Figure]:
    """Questions over HTTP to an `up` that holds the year, one after the other; two stores."""
    home = computed_home(scale)
    with up(home) as running:
        found = _answers(scale, running, "")
    try:
        with influx() as server:
            return found + _in_influx(scale, home, server)
    except NoInflux as error:
        return [*found, Figure("the same in InfluxDB", None, "ms", str(error))]


def _in_influx(scale: Scale, home: Path, server: Influx) -> list[Figure]:
    """The same from an InfluxDB that was given all of it."""
    url = server.server.url
    start = time.monotonic()
    copied = copy_between(settings_of(home, url), "duckdb", "influxdb", say=lambda _text: None)
    copied_s = time.monotonic() - start
    settings = {
        "TANYUAN_STORE": "influxdb", "INFLUXDB_V2_URL": url, "INFLUXDB_V2_ORG": ORG,
        "INFLUXDB_V2_TOKEN": TOKEN,
    }  # fmt: skip
    with up(home, **settings) as running:
        found = _answers(scale, running, "InfluxDB: ")
    note = f"{copied['readings']:,} readings, {copied['hours']:,} hours"
    return [Figure("InfluxDB: `store copy` into it", copied_s, "s", note=note), *found]


def _answers(scale: Scale, running: Up, where: str) -> list[Figure]:
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=120)
    try:
        floor = _asked(connection, running, [("/healthz", {})] * scale.requests)
        return [
            figure
            for name, questions in _questions(scale).items()
            for figure in _percentiles(where + name, _asked(connection, running, questions), floor)
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
            ("live, a day of the year", "/api/v1/live", {"at": f"{day}T12:00:00+08:00"}),
            ("live, as of the newest reading", "/api/v1/live", {"at": "latest"}),
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
