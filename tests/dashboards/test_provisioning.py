"""A Grafana that reads the files of `deploy/` has the same as one that was published into."""

import json
import os
import time
from unittest import mock

import pytest
import yaml

from dashboards.catalog import DASHBOARDS
from dashboards.queries import DATASOURCE
from dashboards.writing import files
from tests.acceptance.running import call
from tests.dashboards.grafana_server import ROOT, provisioned_like_compose, started
from tests.influx_server import ORG, TOKEN, server


@pytest.fixture(scope="module")
def grafana(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grafana")
    running = started(
        folder,
        provisioning=provisioned_like_compose(folder, token=TOKEN),
        INFLUXDB_V2_URL=server().url,
        INFLUXDB_V2_ORG=ORG,
    )
    deadline = time.monotonic() + 30
    while len(running.ask("GET", "/search?type=dash-db")) < len(files()):
        assert time.monotonic() < deadline, running.log()[-2000:]
        time.sleep(0.2)
    yield running
    running.stop()


def test_every_dashboard_is_there_as_it_is_committed(grafana):
    found = grafana.ask("GET", "/search?type=dash-db")

    assert len(found) == 2 * len(DASHBOARDS)
    assert {each["folderUid"] for each in found} == {"tanyuan"}
    for text in files().values():
        wanted = json.loads(text)
        answer = grafana.ask("GET", f"/dashboards/uid/{wanted['uid']}")
        assert answer["meta"]["provisioned"] is True
        there = answer["dashboard"]
        for board in (wanted, there):
            board.pop("id", None)
            board.pop("version", None)
        assert there == wanted


def test_datasource_reaches_influxdb_with_the_token_of_the_file(grafana):
    assert grafana.ask("GET", f"/datasources/uid/{DATASOURCE['uid']}/health")["status"] == "OK"


def test_publishing_over_provisioned_files_is_refused_and_says_what_to_do(tmp_path, grafana):
    environ = {
        "TANYUAN_GRAFANA_URL": grafana.url,
        "TANYUAN_GRAFANA_TOKEN": grafana.token("Admin"),
        "INFLUXDB_V2_URL": server().url,
        "INFLUXDB_V2_ORG": ORG,
        "INFLUXDB_V2_TOKEN": TOKEN,
    }
    with mock.patch.dict(os.environ, environ):
        done = call(tmp_path, "dashboards", "publish", "--json")

    assert done.status == 1
    assert "It comes from files of Grafana's own provisioning" in done.document["detail"]
    assert "tanyuan dashboards write" in done.document["detail"]


def test_grafana_of_the_compose_file_asks_nobody_and_lets_nobody_in():
    compose = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text(encoding="utf-8"))
    service = compose["services"]["grafana"]
    given = service["environment"]

    assert given["GF_AUTH_ANONYMOUS_ENABLED"] == "false"
    assert given["GF_ANALYTICS_REPORTING_ENABLED"] == "false"
    assert given["GF_ANALYTICS_CHECK_FOR_UPDATES"] == "false"
    assert given["GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES"] == "false"
    assert given["GF_PLUGINS_PREINSTALL_DISABLED"] == "true"
    mounted = {volume.split(":")[0] for volume in service["volumes"]} - {"grafana"}
    assert {(ROOT / "deploy" / path).resolve() for path in mounted} == {
        ROOT / "deploy" / "grafana" / "provisioning",
        ROOT / "dashboards" / "json",
    }
    home = given["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home.removeprefix("/etc/grafana/tanyuan/") in files()
