"""The arithmetic of deploy/sizing.md, and its command against a real InfluxDB."""

from __future__ import annotations

import re
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from metering.periods import Period
from metering.store.indicators import Indicator
from tests.deploy.brokers import DEPLOY
from tests.influx_server import server

SIZING = (DEPLOY / "sizing.md").read_text(encoding="utf-8")
README = (DEPLOY / "README.md").read_text(encoding="utf-8")
YEAR_S = 31.5e6
EVERY_S = {"15 min": 900, "15 s": 15}


def number(text):
    return float(text.replace(",", ""))


def disk_rows():
    part = SIZING[SIZING.index("| meters (50 a building), every") :].split("\n\n")[0]
    return [[cell.strip() for cell in row.split("|")[1:-1]] for row in part.splitlines()[2:]]


@pytest.mark.parametrize("row", disk_rows(), ids=lambda row: row[0])
def test_disk_of_influxdb_is_what_its_arithmetic_gives(row):
    meters, every = row[0].rsplit(", ", 1)
    meters = number(meters)
    readings_s = meters * 12 / EVERY_S[every]
    figures_s = (2 * meters + 6 * (meters / 50 + 1) + 20) / 60
    readings, hours, displays = readings_s * 0.11, meters * 0.0008, figures_s * 0.05
    expected = [readings_s, figures_s, readings, hours, displays, readings + hours + displays]

    # bytes a row and the factors made of them are rounded: 0.11 is 3.4 × 31.5 ÷ 1000 = 0.107
    assert [number(cell) for cell in row[1:]] == pytest.approx(expected, rel=0.05, abs=0.05)


def test_factors_are_the_measured_bytes_times_a_year():
    for name, measured in (("readings", 27.6e6 / 8.06e6), ("displays", 5.1e6 / 3.10e6)):
        line = next(line for line in SIZING.splitlines() if f"InfluxDB, GB a year, {name}" in line)
        bytes_each = float(re.search(r"([\d.]+) B ÷", line)[1])
        factor = float(line.rsplit("× ", 1)[1])
        assert bytes_each == pytest.approx(measured, abs=0.05)
        assert factor == pytest.approx(bytes_each * YEAR_S / 1e9, abs=0.005)


def test_capacity_table_says_the_same_of_influxdb():
    whole = {row[0].replace(" (50 a building)", ""): number(row[-1]) for row in disk_rows()}
    part = README[README.index("| meters | every | messages/s") :].split("\n\n")[0]
    for row in part.splitlines()[2:]:
        meters, every, *_, influx = (cell.strip() for cell in row.split("|")[1:-1])
        size, unit = influx.split()
        gb = number(size) * {"GB": 1, "TB": 1000}[unit]
        assert gb == pytest.approx(whole[f"{meters}, {every}"], rel=0.01)


@pytest.mark.slow
def test_old_ages_of_meters_are_deleted_by_the_command_as_written(tmp_path):
    block = re.search(r"```sh\n(influx delete .*?)```", SIZING, re.DOTALL)[1]
    bucket = re.search(r"--bucket (\S+)", block)[1]
    predicate = re.search(r"--predicate '(.*)'", block)[1]
    assert bucket == "tanyuan_derived"
    influx, now = server(), datetime.now(UTC)
    with closing(influx.open(tmp_path.name)) as store:
        rows = [
            Indicator("park/p", "E1", quantity, now - timedelta(days=days), 1.0)
            for quantity in ("meter_age_s", "power_kw")
            for days in (200, 100, 80, 1)
        ]
        store.put_indicators(rows)
        with influx.client() as client:
            start, stop = "1970-01-01T00:00:00Z", f"{now - timedelta(days=90):%Y-%m-%dT00:00:00Z}"
            client.delete_api().delete(
                start, stop, predicate, bucket=f"{tmp_path.name}_derived", org=influx.org
            )
        left = store.indicators(Period(now - timedelta(days=300), now))

    kept = [row for row in rows if row.quantity == "power_kw" or now - row.at < timedelta(days=90)]
    assert sorted(left) == sorted(kept)
