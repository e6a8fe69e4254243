"""Two years of a real estate through the MQTT doors, in disorder, and every hour comes back."""

from __future__ import annotations

import time
from contextlib import contextmanager
from datetime import timedelta

import numpy as np
import pytest

from tests.acceptance.estate import FIRST, disturbed, load_estate
from tests.acceptance.mosquitto import mosquitto
from tests.acceptance.publishing import batches, publish
from tests.acceptance.running import call, data, make_home, rows, up
from tests.shape import is_production

pytestmark = pytest.mark.slow

MARKS = [f"{FIRST + timedelta(hours=n):%Y-%m-%dT%H:%M:%SZ}" for n in range(2 * 365 * 24 + 1)]
WHOLE = {"first": "2018-01-01", "to": "2020-01-01"}
CARRIERS = {"electricity": 2, "gas": 1}
"""Each with the scope of its emissions."""


@pytest.fixture(scope="module")
def estate():
    return load_estate(data("cambridge-estate"))


@pytest.fixture(scope="module")
def messages(estate):
    """All that is published: what comes first, and three bursts late by more than a week."""
    prompt, late = disturbed(estate.readings(), seed=18)
    return list(batches(prompt, 100)), list(batches(late, 100))


@contextmanager
def by_listener(home):
    """Straight into the listener of the process."""
    with up(home) as running:
        yield running, running.mqtt_port


@contextmanager
def by_mosquitto(home):
    """Through a real broker, from which the subscriber of the process reads."""
    with (
        mosquitto(home.parent / "broker") as port,
        up(home, TANYUAN_BROKER=f"mqtt://127.0.0.1:{port}") as running,
    ):
        yield running, port


@pytest.fixture(scope="module", params=[by_listener, by_mosquitto], ids=["listener", "mosquitto"])
def told(request, estate, messages, tmp_path_factory):
    """The estate behind a running `up`, told everything in disorder; asked once between."""
    home = make_home(
        tmp_path_factory.mktemp("cambridge") / "home",
        estate.site_yaml(),
        factors=estate.factor_files(),
    )
    with request.param(home) as (running, port):
        if request.param is by_mosquitto:
            await_subscription(running)
        count = publish(port, messages[0], timeout_s=60)
        half = settled(running, count)
        count += publish(port, messages[1])
        settled(running, count)
        yield running, half


DIRECT = pytest.mark.parametrize("told", [by_listener], ids=["listener"], indirect=True)
"""What does not depend on the door is looked at behind one."""


def await_subscription(running):
    """A broker keeps nothing for a session it has not seen yet."""
    deadline = time.monotonic() + 20
    while not running.ask("/status")["broker"]["connected"]:
        assert time.monotonic() < deadline, "the subscriber did not connect"
        time.sleep(0.05)
    time.sleep(0.2)


def settled(running, count):
    """The answer, once so many messages are in the journal and it includes all of them.

    In disorder 590,000 readings and 560,000 hours cost InfluxDB a minute of two cores, where
    DuckDB takes five seconds.
    """
    deadline = time.monotonic() + (400 if is_production() else 90)
    while running.ask("/status")["journal"]["last_sequence"] < count:
        assert time.monotonic() < deadline, "not every message came through"
        time.sleep(0.1)
    while "behind" in (document := running.ask("/energy", every="year", **WHOLE)):
        assert time.monotonic() < deadline, "the line did not catch up"
    return document


def check_hours(found, expected):
    """One row for every hour, in order, each within 0.001 of what is expected."""
    assert [r["start"] for r in found] == MARKS[: len(expected)]
    assert [r["end"] for r in found] == MARKS[1 : len(expected) + 1]
    assert {(r["coverage"], r["measured"]) for r in found} == {(1.0, 1.0)}
    off = np.abs(np.array([r["value"] for r in found]) - expected)
    assert off.max() < 0.001


def test_every_hour_of_every_meter_comes_back(told, estate):
    for meter in estate.meters:
        found = rows(told[0].ask("/energy", point=meter.point, every="hour", **WHOLE))
        check_hours(found, meter.hourly_kwh)
        flagged = {n: r["flags"] for n, r in enumerate(found) if r["flags"]}
        assert flagged == {int(n): ["rollover"] for n in meter.rollovers}


def test_some_registers_did_roll_over(estate):
    """Otherwise the test above proves less than it says."""
    assert sum(len(m.rollovers) for m in estate.meters) >= 16
    assert any(len(m.rollovers) and m.multiplier == 40 for m in estate.meters)


def test_the_bursts_were_missed_before_they_came(told):
    """The answer between counted what came, and said that some of it was not measured."""
    half = [row for series in told[1]["series"] for row in series["rows"]]
    missed = [row for row in half if row["measured"] < 1]
    assert missed
    assert {row["coverage"] for row in half} == {1.0}
    assert all(("interpolated" in row["flags"]) == (row in missed) for row in half)


@DIRECT
def test_months_are_those_of_the_site(told, estate):
    """London's April begins on 31 March 23:00 UTC; meters with and without a multiplier."""
    for building in ("b105", "b111", "b58", "b35", "b40", "b91"):
        document = told[0].ask("/energy", building=building, every="month", **WHOLE)
        for meter in [m for m in estate.meters if m.building == building]:
            found = rows(document, meter.carrier)
            expected = estate.months(meter.hourly_kwh)
            assert len(found) == 24
            assert found[3]["start"] == "2018-03-31T23:00:00Z"
            assert [r["value"] for r in found] == pytest.approx(list(expected.values()), abs=0.001)


def test_the_site_is_the_sum_of_its_buildings(told, estate):
    hourly = told[0].ask("/energy", every="hour", **WHOLE)
    years = told[0].ask("/energy", every="year", **WHOLE)
    for carrier in CARRIERS:
        expected = estate.kwh(carrier)
        check_hours(rows(hourly, carrier), expected)
        sums = [expected[:8760].sum(), expected[8760:].sum()]
        assert [r["value"] for r in rows(years, carrier)] == pytest.approx(sums, abs=0.01)


def test_emissions_are_energy_times_the_factor_of_the_hour(told, estate):
    hourly = told[0].ask("/emissions", every="hour", **WHOLE)
    monthly = told[0].ask("/emissions", every="month", **WHOLE)
    for carrier, scope in CARRIERS.items():
        expected = estate.kgco2(carrier, estate.kwh(carrier))
        check_hours(rows(hourly, carrier), expected)
        months = list(estate.months(expected).values())
        assert [r["value"] for r in rows(monthly, carrier)] == pytest.approx(months, abs=0.001)
        (series,) = [s for s in monthly["series"] if s["carrier"] == carrier]
        assert (series["unit"], series["scope"]) == ("kgCO2", scope)
    names = [factor.partition("/")[0] for factor in monthly["factors"]]
    assert names == ["electricity.grid.location", "fuel.natural_gas"]
    assert "reasons" not in monthly


@DIRECT
def test_emissions_of_single_meters_are_energy_times_the_factor_of_the_hour(told, estate):
    for meter in estate.meters[:4]:
        document = told[0].ask("/emissions", point=meter.point, every="hour", **WHOLE)
        check_hours(rows(document), estate.kgco2(meter.carrier, meter.hourly_kwh))


def test_nothing_is_in_quarantine_and_nothing_waits(told):
    status = told[0].ask("/status")
    assert status["quarantine"] == {}
    assert status["lag"] == {"messages": 0, "dirty_ranges": 0, "last_error": None}


@DIRECT
def test_a_command_beside_it_prints_the_same_bytes(told):
    over_http = told[0].get("/api/v1/energy", every="month", **WHOLE)
    command = call(
        told[0].home, "energy", "--from", "2018-01-01", "--to", "2020-01-01",
        "--every", "month", "--json",
    )  # fmt: skip
    assert (command.status, command.out) == (0, over_http)
