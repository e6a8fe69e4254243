"""Readings laid along the points their meters served."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from metering.pipeline import modulus, streams_of
from metering.readings import Reading, Readings
from metering.site_files import load_site

SITE = load_site(
    b"""
site: {id: p, name: P, timezone: UTC}
points:
  - id: a
    carrier: electricity
    role: main
    meters:
      - {serial: M1, profile: native, removed: {at: 2024-01-01T06:00:00Z}}
      - {serial: M2, profile: native, multiplier: 40, installed: {at: 2024-01-01T06:00:00Z}}
  - id: b
    carrier: electricity
    role: main
    meters:
      - {serial: M1, profile: native, installed: {at: 2024-01-01T08:00:00Z}}
""",
    file="p.yaml",
)
START = datetime(2024, 1, 1, tzinfo=UTC)


def shown(meter, hour, value, register="active_import"):
    return Reading(f"p/{meter}", register, START + timedelta(hours=hour), value)


@pytest.mark.parametrize(
    ("capacity", "begins_again"),
    [(99999.9, 100_000.0), (99_999_999, 100_000_000.0), (1_000_000, 1_000_000.0), (9, 10.0)],
)
def test_capacity_of_nines_alone_is_the_highest_the_register_shows(capacity, begins_again):
    assert modulus(capacity) == begins_again


def test_meter_that_moved_serves_each_point_in_its_own_time():
    readings = Readings.of([shown("M1", hour, hour) for hour in (1, 5, 7, 9, 10)])

    streams = streams_of(SITE, SITE.all_points(), readings)

    # hour 7 lies between the two places
    found = {
        point.id: streams.rows.value[streams.rows.stream == number].tolist()
        for number, point in enumerate(streams.points)
    }
    assert found == {"a": [1, 5], "b": [9, 10]}


def test_multiplier_is_that_of_the_meter_that_was_there():
    readings = Readings.of([shown("M1", 5, 1), shown("M2", 7, 2)])

    streams = streams_of(SITE, [SITE.point("a")], readings)

    assert streams.rows.multiplier.tolist() == [1, 40]
    assert streams.rows.segment.tolist() == [0, 1]


def test_momentary_registers_make_no_stream():
    readings = Readings.of([shown("M1", 1, 3.5, "active_power")])

    assert len(streams_of(SITE, SITE.all_points(), readings)) == 0
