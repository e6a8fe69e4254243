"""A year of quarter hours of a park, written straight into the store, and kept from run to run."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from metering.readings import Readings
from metering.store.duckdb_store import open_duckdb

MADE_AS = 1
"""Counted up when the data change, so that older ones are not taken for these."""

SITE = "bench"
YEAR = 2023
METERS_A_BUILDING = 50
QUARTERS = 35_040
_START = datetime(YEAR - 1, 12, 31, 16, tzinfo=UTC)
"""The first instant of the year in Asia/Shanghai."""
_QUARTER = timedelta(minutes=15)
_BATCH_QUARTERS = 96


def site_yaml(meters: int) -> str:
    """Buildings of fifty meters, one of them the main; a quota for each."""
    lines = [f"site: {{id: {SITE}, name: Bench, timezone: Asia/Shanghai, region: CN-BJ}}"]
    lines += ["factors: {provisional: true}", "buildings:"]
    for number in range(meters):
        building = f"b{number // METERS_A_BUILDING:03d}"
        main = f"p{number // METERS_A_BUILDING * METERS_A_BUILDING:05d}"
        first = number % METERS_A_BUILDING == 0
        if first:
            lines += [f"  - id: {building}", "    use: office", "    area_m2: 20000", "    points:"]
        role = "role: main" if first else f"role: sub, upstream: {main}"
        lines.append(
            f"      - {{id: p{number:05d}, carrier: electricity, {role}, meter: {{serial: "
            f"E{number:05d}, profile: native, capacity: 1000000, max_power_kw: 400}}}}"
        )
    lines.append("quotas:")
    for number in range(-(-meters // METERS_A_BUILDING)):
        lines.append(
            f"  - {{id: q{number:03d}, subject: b{number:03d}, carrier: electricity, limit: 70, "
            f"unit: kWh/m2, period: calendar_year, source: bench}}"
        )
    return "\n".join(lines) + "\n"


def made(cache: Path, meters: int) -> Path:
    """A home with the year in its store; made now unless it is there."""
    home = cache / f"year-{MADE_AS}-{meters}"
    if (home / "made.json").is_file():
        return home
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    (home / "site.yaml").write_text(site_yaml(meters), encoding="utf-8")
    rows = _fill(home / "store.duckdb", meters)
    (home / "made.json").write_text(json.dumps({"meters": meters, "rows": rows}))
    return home


def rows_in(home: Path) -> int:
    """How many readings were put in."""
    return int(json.loads((home / "made.json").read_text())["rows"])


def _fill(path: Path, meters: int) -> int:
    """Write the readings day by day, as they would have come in.

    Every meter shows 0.01 kWh steps, up to 62.5 kWh a quarter. One in twenty rolls over in the
    course of the year, one in ten is silent for some hours.
    """
    random = np.random.default_rng(20230101)
    level = random.uniform(0, 500_000, meters)
    level[::20] = 999_000.0
    size = random.uniform(0.5, 25, meters)
    silent_from = random.integers(0, QUARTERS, meters)
    silent_for = np.where(np.arange(meters) % 10 == 3, random.integers(4, 200, meters), 0)
    names = tuple(f"{SITE}/E{number:05d}" for number in range(meters))
    store, rows = open_duckdb(path), 0
    try:
        for first in range(0, QUARTERS, _BATCH_QUARTERS):
            quarter = np.arange(first, min(first + _BATCH_QUARTERS, QUARTERS))
            steps = np.round(random.uniform(0, 2.5, (len(quarter), meters)) * size, 2)
            shown = level + np.cumsum(steps, axis=0)
            level = shown[-1]
            since = quarter[:, None] - silent_from
            heard = ~((since >= 0) & (since < silent_for))
            batch = _batch(names, quarter, np.round(shown % 1_000_000, 2), heard)
            store.add(batch)
            rows += len(batch)
    finally:
        store.close()
    return rows


def _batch(
    names: tuple[str, ...], quarter: np.ndarray, shown: np.ndarray, heard: np.ndarray
) -> Readings:
    when, meter = np.nonzero(heard)
    start = np.datetime64(_START.replace(tzinfo=None), "us")
    read_at = start + quarter[when] * np.timedelta64(_QUARTER)
    none = np.zeros(len(meter), np.int32)
    return Readings(
        meters=names,
        registers=("active_import",),
        journals=("bench",),
        meter=meter.astype(np.int32),
        register=none,
        read_at=read_at.astype("datetime64[us]"),
        value=shown[when, meter],
        flags=none,
        received_at=(read_at + np.timedelta64(2, "s")).astype("datetime64[us]"),
        journal=none,
        sequence=quarter[when].astype(np.int64) * len(names) + meter + 1,
    )
