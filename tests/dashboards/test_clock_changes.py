"""Hours and days of panels where the clock is put forward or back, asked of a real InfluxDB.

A site in London uses 1 kWh and emits 0.2 kg in every hour of the week around each change of 2024.
"""

from collections import Counter
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from dashboards.catalog import DASHBOARDS
from metering.store.indicators import Indicator
from tests.dashboards.asking import VALUES, as_grafana_asks, panel_queries
from tests.influx_server import server

BUCKET = "clocks"
HOUR = timedelta(hours=1)
SPRING, AUTUMN = datetime(2024, 3, 31, tzinfo=UTC), datetime(2024, 10, 27, tzinfo=UTC)
"""The days on which London's clock changes, at 01:00 UTC both: 01:00 becomes 02:00, 02:00 01:00."""
ASKED = {
    (name, where): flux
    for name, build in DASHBOARDS.items()
    for where, flux in panel_queries(build("en"))
}
LONDON = VALUES | {"site": "mews", "building": "one", "timezone": "Europe/London"}
BY_HOUR = [
    *((name, "Emissions by the hour (kg) A") for name in ("park-live", "building", "carbon")),
    ("park-live", "Energy by the hour · ${carrier:text} A"),
]
BY_DAY = {("building", "Energy by the day · ${carrier:text} A"): 1.0,
          ("carbon", "Emissions by the day (kg, 30 days) A"): 0.2}  # fmt: skip
"""Panels, and what an hour adds to their bars."""


def hours_of_a_week(day):
    """The hours from four days before a day to the end of the third after it."""
    start = day - timedelta(days=4)
    for i in range(24 * 8):
        at = start + i * HOUR
        for subject in ("mews", "mews/one"):
            yield Indicator(subject, "electricity:kWh", "energy_measured", at, 1.0)
            yield Indicator(subject, "2:electricity:kgCO2", "emissions", at, 0.2)


@pytest.fixture(scope="module")
def ask():
    with closing(server().open(BUCKET)) as store:
        for day in (SPRING, AUTUMN):
            store.put_indicators(list(hours_of_a_week(day)))
    with server().client() as client:

        def bars(panel, now, days, chosen=LONDON, empty=False):
            flux = as_grafana_asks(ASKED[panel], now=now, bucket=BUCKET, days=days, chosen=chosen)
            tables = client.query_api().query(flux)
            found = [(r.get_time(), r.get_value()) for table in tables for r in table.records]
            assert max(Counter(at for at, _ in found).values()) == 1
            return {at: value for at, value in found if empty or value is not None}

        yield bars


@pytest.mark.parametrize("day", [SPRING, AUTUMN])
@pytest.mark.parametrize("panel", BY_HOUR)
def test_every_hour_of_a_day_on_which_the_clock_changes_is_a_bar_of_its_own(ask, panel, day):
    # Asked at 00:00 UTC of the next day about two days: 48 hours, whatever the clock does in them.
    found = ask(panel, day + timedelta(days=1), 2)

    one = 0.2 if "Emissions" in panel[1] else 1.0
    assert found == {day + (i - 24) * HOUR: pytest.approx(one) for i in range(48)}


@pytest.mark.parametrize("panel", BY_HOUR)
def test_bars_stand_an_hour_apart_whenever_the_range_begins(ask, panel):
    # From 26 October, 10:17: a window until 11:00 would make every bar 43 minutes wide.
    found = ask(panel, datetime(2024, 10, 27, 10, 17, tzinfo=UTC), 1, empty=True)

    assert sorted(found) == [datetime(2024, 10, 26, 11, tzinfo=UTC) + i * HOUR for i in range(24)]


@pytest.mark.parametrize("panel", BY_DAY)
def test_a_day_has_the_hours_its_clock_shows(ask, panel):
    one = BY_DAY[panel]

    # Asked on 29 October, 10:17 UTC: 25 October still began at 23:00 UTC the day before.
    autumn = ask(panel, datetime(2024, 10, 29, 10, 17, tzinfo=UTC), 4)
    assert autumn == {
        datetime(2024, 10, 24, 23, tzinfo=UTC): pytest.approx(24 * one),
        datetime(2024, 10, 25, 23, tzinfo=UTC): pytest.approx(24 * one),
        datetime(2024, 10, 26, 23, tzinfo=UTC): pytest.approx(25 * one),
        datetime(2024, 10, 28, tzinfo=UTC): pytest.approx(24 * one),
        datetime(2024, 10, 29, tzinfo=UTC): pytest.approx(11 * one),  # today, until 10:17
    }
    # And on 2 April, 10:17 UTC: 31 March has 23 hours, from then on a day begins at 23:00 UTC.
    spring = ask(panel, datetime(2024, 4, 2, 10, 17, tzinfo=UTC), 4)
    assert spring == {
        datetime(2024, 3, 29, tzinfo=UTC): pytest.approx(24 * one),
        datetime(2024, 3, 30, tzinfo=UTC): pytest.approx(24 * one),
        datetime(2024, 3, 31, tzinfo=UTC): pytest.approx(23 * one),
        datetime(2024, 3, 31, 23, tzinfo=UTC): pytest.approx(24 * one),
        datetime(2024, 4, 1, 23, tzinfo=UTC): pytest.approx(12 * one),
    }


@pytest.mark.parametrize("panel", BY_DAY)
def test_the_first_bar_is_a_whole_day_where_the_clock_never_changes_too(ask, panel):
    # 29 October, 10:17 UTC, is 18:17 in Shanghai, where a day is 16:00 to 16:00 UTC.
    shanghai = LONDON | {"timezone": "Asia/Shanghai"}
    found = ask(panel, datetime(2024, 10, 29, 10, 17, tzinfo=UTC), 2, shanghai)

    assert found == {
        datetime(2024, 10, 26, 16, tzinfo=UTC): pytest.approx(24 * BY_DAY[panel]),
        datetime(2024, 10, 27, 16, tzinfo=UTC): pytest.approx(24 * BY_DAY[panel]),
        datetime(2024, 10, 28, 16, tzinfo=UTC): pytest.approx(19 * BY_DAY[panel]),
    }


@pytest.mark.parametrize("at", [SPRING + HOUR * 12, AUTUMN + HOUR * 12])
def test_a_day_that_is_asked_about_on_the_day_of_the_change_is_whole(ask, at):
    found = ask(("building", "Energy by the day · ${carrier:text} A"), at, 1)

    # Saturday, and Sunday until 12:00 UTC; in autumn the days begin at 23:00 UTC.
    early = HOUR if at.month == 10 else timedelta(0)
    sunday = datetime(2024, at.month, at.day, tzinfo=UTC) - early
    assert found == {sunday - 24 * HOUR: 24.0, sunday: 12.0 + early / HOUR}
