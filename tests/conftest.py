"""What every run of the tests says and tidies up."""

from tests.influx_server import REASON, end_server, was_missed


def pytest_sessionfinish():
    end_server()


def pytest_terminal_summary(terminalreporter):
    if was_missed():
        terminalreporter.section("NOT TESTED ON INFLUXDB", red=True, bold=True)
        terminalreporter.line(REASON)
