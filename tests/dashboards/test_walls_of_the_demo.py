"""What the demonstration leaves in a real InfluxDB is enough for every query of every dashboard."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from api.indicator_writer import IndicatorWriter
from api.jobs import run_for
from api.services import open_services
from api.settings import load_settings
from dashboards.catalog import DASHBOARDS
from tests import shape
from tests.dashboards.asking import as_grafana_asks, panel_queries
from tests.influx_server import server

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(
        not shape.is_production(),
        reason="the year of the demonstration takes minutes in InfluxDB: make test-production",
    ),
]

PARK = {
    "site": "SIM-park",
    "building": "SIM-office-a",
    "carrier": "electricity:kWh",
    "meter": "SIM-park/SIM-E01",
    "register": "active_import",
    "timezone": "Asia/Shanghai",
}
END = datetime(2023, 12, 31, 16, 0, 30, tzinfo=UTC)
OUTAGE = datetime(2023, 11, 21, tzinfo=UTC)
"""After a night in which the heat meters' gateway was silent, so that hours are estimated."""
ASKED = {
    (name, where): flux
    for name, build in DASHBOARDS.items()
    for where, flux in panel_queries(build("en"))
}
UNKNOWN_ON_THE_FIRST_DAY = {("platform", "Days of disk left A")}
"""How fast a journal grows is not known of one that is some minutes old."""


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """The bucket of a demonstration after its daily jobs."""
    place = shape.settings_of(tmp_path_factory.mktemp("demo") / "home")
    done = subprocess.run(
        [Path(sys.executable).with_name("tanyuan"), "demo", "--once"],
        env=os.environ | place, capture_output=True, text=True, check=False, timeout=1200,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    home = Path(re.search(r"^home: (\S+)$", done.stdout, re.MULTILINE)[1])
    with open_services(load_settings(home, environ=place)) as services:
        run_for(services, "quotas.daily", date(2023, 12, 31))
        IndicatorWriter(services).flush()
    return place["TANYUAN_INFLUX_BUCKET"]


@pytest.mark.parametrize(("name", "where"), ASKED)
def test_query_finds_something_in_what_the_demonstration_left(filled, name, where):
    if (name, where) in UNKNOWN_ON_THE_FIRST_DAY:
        pytest.skip("how fast a journal grows is not known of one that is some minutes old")
    looks = [
        {"now": END},
        {"now": END, "days": 30, "window": "1d"},
        {"now": OUTAGE, "days": 2, "chosen": PARK | {"carrier": "heat:kWh"}},
        {"now": datetime.now(UTC) + timedelta(seconds=1)},
    ]
    found = 0
    with server().client() as client:
        for look in looks:
            text = as_grafana_asks(ASKED[name, where], bucket=filled, **{"chosen": PARK, **look})
            tables = client.query_api().query(text)
            found += sum(
                value is not None
                for table in tables
                for record in table.records
                for key, value in record.values.items()
                if key not in ("result", "table", "_start", "_stop", "_time")
            )
    assert found, ASKED[name, where]
