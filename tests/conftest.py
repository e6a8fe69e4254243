"""What every run of the tests says and tidies up."""

import pytest

from tests import influx_server, postgres_server, shape
from tests.dashboards import grafana_server


@pytest.fixture(scope="module", autouse=True)
def _homes_of_a_file_are_dropped_after_it():
    yield
    shape.drop_all()


def pytest_sessionfinish():
    influx_server.end_server()
    postgres_server.end_server()


def pytest_terminal_summary(terminalreporter):
    skipped = [str(report.longrepr) for report in terminalreporter.stats.get("skipped", [])]
    for name, reason in (
        ("INFLUXDB", influx_server.REASON),
        ("POSTGRESQL", postgres_server.REASON),
        ("GRAFANA", grafana_server.REASON),
        ("GRAFANA'S PAGES", grafana_server.NO_PAGES),
    ):
        if any(reason in said for said in skipped):
            terminalreporter.section(f"NOT TESTED ON {name}", red=True, bold=True)
            terminalreporter.line(reason)
