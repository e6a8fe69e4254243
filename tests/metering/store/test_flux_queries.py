"""The queries of panels, asked of a real InfluxDB, with answers worked by hand."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib import resources

import numpy as np
import pytest

from metering.readings import Reading, Readings
from metering.store.flux_queries import FluxQueryError, flux_query, flux_query_names
from metering.store.influx_schema import flux_text
from metering.store.port import Span
from tests.influx_server import open_in, server
from tests.metering.store.test_contract import EVER, T0, hours, minutes, reading

RANGE = {"start": "2025-03-01T00:00:00Z", "stop": "2025-04-02T00:00:00Z"}
# Berlin's clocks went forward on 30 March 2025: that day ran from 29 March 23:00 to 30 March 22:00
DST_DAY = datetime(2025, 3, 29, 23, tzinfo=UTC)


@pytest.fixture
def store(tmp_path):
    opened = open_in(tmp_path)
    yield opened
    opened.close()


def ask(store, name, **expressions):
    """Rows of the answer as dictionaries, in its order."""
    buckets = {"bucket": store._buckets.readings, "derived": store._buckets.derived}
    text = flux_query_text(name)
    given = {key: flux_text(value) for key, value in (buckets | expressions).items()}
    wanted = {key: given[key] for key in given if f"{{{{{key}}}}}" in text}
    with server().client() as client:
        tables = client.query_api().query(flux_query(name, **wanted, **RANGE))
    return [record.values for table in tables for record in table.records]


def flux_query_text(name):
    return (resources.files("metering.store") / "flux" / f"{name}.flux").read_text("utf-8")


def fill_hours(store, kind, *rows, site="p"):
    """Whole hours (subject, quantity, hours after T0, value)."""
    given = hours(*[(f"{site}/{s}", *rest) for s, *rest in rows])
    ones = {name: np.ones(len(given)) for name in ("coverage", "measured_hour", "measured_day")}
    given = replace(given, **ones, flags=np.zeros(len(given), np.int32))
    store.replace(kind, given, spans=[Span(name, EVER) for name in given.subjects])
    return given


def test_every_query_is_tested_here():
    assert flux_query_names() == [
        "covered_hours",
        "emissions_days",
        "energy_days",
        "energy_hours",
        "energy_totals",
        "flagged_hours",
        "meters_live",
        "readings",
    ]


def test_readings_show_what_counts_in_the_order_of_time(store):
    store.add(Readings.of([reading(5, 2.0, seq=1), reading(0, 1.0, seq=2)]))
    store.add(Readings.of([reading(5, 3.0, seq=3, received=9)]))

    found = ask(store, "readings", meter="park/A1", register="import")

    assert [(r["_time"], r["_value"]) for r in found] == [(minutes(0), 1.0), (minutes(5), 3.0)]


def test_live_meters_tell_the_newest_arrival_over_all_journals(store):
    other = Reading("park/A1", "import", minutes(7), 2.0, received_at=minutes(8), journal="j2")
    silent = reading(3, 1.0, meter="park/B", received=4)
    store.add(Readings.of([reading(5, 1.0), other, silent, reading(1, 1.0, meter="else/C")]))

    found = ask(store, "meters_live", site="park")

    assert [(r["meter"], r["read_at"], r["received_at"]) for r in found] == [
        ("park/B", minutes(3), minutes(4)),
        ("park/A1", minutes(7), minutes(8)),
    ]


def test_hours_have_no_value_where_nothing_is_known(store):
    fill_hours(store, "energy", ("1", "q", 0, 4.0), ("1", "q", 1, float("nan")), ("1", "q", 2, 5.0))

    found = ask(store, "energy_hours", subject="p/1", quantity="q")

    assert [(r["_time"], r["_value"]) for r in found] == [(minutes(0), 4.0), (minutes(120), 5.0)]


def test_a_day_of_23_hours_is_a_day(store):
    first = int((DST_DAY - T0) / timedelta(hours=1))
    fill_hours(store, "energy", *[("1", "q", first + i, 1.0) for i in range(-1, 24)])

    found = ask(store, "energy_days", site="p", quantity="q", timezone="Europe/Berlin")

    # one hour before the day, the 23 of the day, one after it
    assert [(r["_time"], r["_value"]) for r in found[1:]] == [
        (DST_DAY, 23.0),
        (DST_DAY + timedelta(hours=23), 1.0),
    ]
    assert found[0]["_value"] == 1.0


def test_totals_of_a_site_come_most_first(store):
    fill_hours(store, "energy", ("1", "q", 0, 1.0), ("2", "q", 0, 2.0), ("2", "q", 1, 3.0))
    fill_hours(store, "energy", ("1", "q", 0, 100.0), site="other")

    found = ask(store, "energy_totals", site="p", quantity="q")

    assert [(r["subject"], r["_value"]) for r in found] == [("p/2", 5.0), ("p/1", 1.0)]


def test_covered_hours_count_parts_and_whole_hours(store):
    given = fill_hours(store, "energy", *[("1", "q", h, 1.0) for h in range(3)])
    given.coverage[:] = (0.5, 1.0, 0.25)
    store.replace("energy", given, spans=[Span("p/1", EVER)])

    found = ask(store, "covered_hours", site="p", quantity="q", timezone="UTC")

    # 0.5 + 1 + 0.25
    assert [(r["_time"], r["subject"], r["_value"]) for r in found] == [(T0, "p/1", 1.75)]


def test_flagged_hours_are_those_with_flags(store):
    given = fill_hours(store, "energy", *[("1", "q", h, 1.0) for h in range(3)])
    given.flags[1] = 512 | 1024
    store.replace("energy", given, spans=[Span("p/1", EVER)])
    given.flags[:] = 0
    given.flags[2] = 16
    store.replace("energy", given, spans=[Span("p/1", EVER)])

    found = ask(store, "flagged_hours", site="p")

    assert [(r["_time"], r["_value"]) for r in found] == [(minutes(120), 16.0)]


def test_emissions_of_days_are_summed_by_scope(store):
    fill_hours(
        store,
        "emissions",
        ("1", "scope2", 0, 1.5),
        ("2", "scope2", 23, 2.0),
        ("1", "scope1", 24, 4.0),
    )

    found = ask(store, "emissions_days", site="p", timezone="UTC")

    assert sorted((r["quantity"], r["_time"], r["_value"]) for r in found) == [
        ("scope1", T0 + timedelta(days=1), 4.0),
        ("scope2", T0, 3.5),
    ]


def test_a_query_without_what_it_needs_is_refused():
    with pytest.raises(FluxQueryError, match="meter, register, start, stop"):
        flux_query("readings", bucket='"b"')
    with pytest.raises(FluxQueryError, match="energy_days"):
        flux_query("nothing")
