"""Two years of a real estate through the MQTT doors, in disorder, and every hour comes back."""

from __future__ import annotations

import time
from datetime import timedelta

import numpy as np
import pytest

from tests.acceptance.estate import FIRST, disturbed, load_estate
from tests.acceptance.publishing import batches, publish
from tests.acceptance.running import call, data, make_home, rows, up

pytestmark = pytest.mark.slow

MARKS = [f"{FIRST + timedelta(hours=n):%Y-%m-%dT%H:%M:%SZ}" for n in range(2 * 365 * 24 + 1)]
WHOLE = {"first": "2018-01-01", "to": "2020-01-01"}


@pytest.fixture(scope="module")
def estate():
    return load_estate(data("cambridge-estate"))


@pytest.fixture(scope="module")
def told(estate, tmp_path_factory):
    """The estate behind a running `up`, told everything in disorder; asked once between."""
    home = make_home(
        tmp_path_factory.mktemp("cambridge") / "home",
        estate.site_yaml(),
        factors=estate.factor_files(),
    )
    prompt, late = disturbed(estate.readings(), seed=18)
    with up(home) as running:
        publish(running.mqtt_port, batches(prompt, 100))
        half = settled(running)
        publish(running.mqtt_port, batches(late, 100))
        settled(running)
        yield running, half


def settled(running, seconds=60):
    """Ask until the answer includes everything that was acknowledged."""
    deadline = time.monotonic() + seconds
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


@pytest.mark.parametrize("carrier", ["electricity", "gas"])
def test_months_are_those_of_the_site(told, estate, carrier):
    """London's April begins on 31 March 23:00 UTC; every month is compared, meter by meter."""
    for meter in [m for m in estate.meters if m.carrier == carrier]:
        found = rows(told[0].ask("/energy", point=meter.point, every="month", **WHOLE))
        expected = estate.months(meter.hourly_kwh)
        assert len(found) == 24
        assert found[3]["start"] == "2018-03-31T23:00:00Z"
        assert [r["value"] for r in found] == pytest.approx(list(expected.values()), abs=0.001)


@pytest.mark.parametrize("carrier", ["electricity", "gas"])
def test_the_site_is_the_sum_of_its_buildings(told, estate, carrier):
    expected = estate.kwh(carrier)
    hourly = rows(told[0].ask("/energy", carrier=carrier, every="hour", **WHOLE))
    check_hours(hourly, expected)
    years = rows(told[0].ask("/energy", carrier=carrier, every="year", **WHOLE))
    assert [r["value"] for r in years] == pytest.approx(
        [expected[:8760].sum(), expected[8760:].sum()], abs=0.01
    )


@pytest.mark.parametrize(("carrier", "scope"), [("electricity", 2), ("gas", 1)])
def test_emissions_are_energy_times_the_factor_of_the_hour(told, estate, carrier, scope):
    expected = estate.kgco2(carrier, estate.kwh(carrier))
    for every in ("hour", "month"):
        document = told[0].ask("/emissions", carrier=carrier, every=every, **WHOLE)
        (series,) = document["series"]
        assert (series["unit"], series["scope"]) == ("kgCO2", scope)
        values = [r["value"] for r in series["rows"]]
        if every == "hour":
            check_hours(series["rows"], expected)
        else:
            months = list(estate.months(expected).values())
            assert values == pytest.approx(months, abs=0.001)
        assert "reasons" not in document


def test_emissions_of_single_meters_are_energy_times_the_factor_of_the_hour(told, estate):
    for meter in estate.meters[:6]:
        document = told[0].ask("/emissions", point=meter.point, every="hour", **WHOLE)
        check_hours(document["series"][0]["rows"], estate.kgco2(meter.carrier, meter.hourly_kwh))


def test_the_factors_are_named(told):
    document = told[0].ask("/emissions", every="year", **WHOLE)
    assert [f.partition("/")[0] for f in document["factors"]] == [
        "electricity.grid.location",
        "fuel.natural_gas",
    ]


def test_nothing_is_in_quarantine_and_nothing_is_counted_twice(told, estate):
    status = told[0].ask("/status")
    assert status["quarantine"] == {}
    assert status["lag"]["messages"] == 0


def test_a_command_beside_it_prints_the_same_bytes(told):
    query = {"every": "month", **WHOLE}
    over_http = told[0].get("/api/v1/energy", **query)
    command = call(
        told[0].home, "energy", "--from", "2018-01-01", "--to", "2020-01-01",
        "--every", "month", "--json",
    )  # fmt: skip
    assert (command.status, command.out) == (0, over_http)
