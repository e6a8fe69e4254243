"""Publishing into a real Grafana: everything once, again without a change, and clear refusals."""

import json
import os
from contextlib import closing
from datetime import UTC, datetime
from unittest import mock

import pytest

from dashboards.catalog import DASHBOARDS
from dashboards.writing import files
from tests.acceptance.running import call
from tests.dashboards.grafana_server import started
from tests.dashboards.made_up_park import events
from tests.influx_server import ORG, TOKEN, server

BUCKET = "published"


@pytest.fixture(scope="module")
def grafana(tmp_path_factory):
    running = started(tmp_path_factory.mktemp("grafana"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def admin(grafana):
    return {
        "TANYUAN_GRAFANA_URL": grafana.url,
        "TANYUAN_GRAFANA_TOKEN": grafana.token("Admin"),
        "INFLUXDB_V2_URL": server().url,
        "INFLUXDB_V2_ORG": ORG,
        "INFLUXDB_V2_TOKEN": TOKEN,
        "TANYUAN_INFLUX_BUCKET": BUCKET,
    }


def publish(tmp_path, environ, *options):
    with mock.patch.dict(os.environ, environ):
        return call(tmp_path, "dashboards", "publish", "--json", *options)


def without_version(board):
    return {key: value for key, value in board.items() if key not in ("id", "version")}


def test_everything_is_there_once_however_often_it_is_published(tmp_path, grafana, admin):
    first = publish(tmp_path, admin)
    again = publish(tmp_path, admin)

    assert (first.status, again.status) == (0, 0), first.err + again.err
    assert (first.document["datasource"], again.document["datasource"]) == ("made", "changed")
    assert len(first.document["dashboards"]) == 2 * len(DASHBOARDS)
    found = grafana.ask("GET", "/search?type=dash-db")
    assert len(found) == 2 * len(DASHBOARDS)
    assert {each["folderTitle"] for each in found} == {"Tanyuan 碳园"}
    assert [each["name"] for each in grafana.ask("GET", "/datasources")] == ["Tanyuan"]
    health = grafana.ask("GET", "/datasources/uid/tanyuan-influxdb/health")
    assert health["status"] == "OK"


def test_what_is_published_is_what_is_committed_but_for_the_buckets(tmp_path, grafana, admin):
    assert publish(tmp_path, admin).status == 0

    for name, text in files().items():
        wanted = json.loads(text)
        found = grafana.ask("GET", f"/dashboards/uid/{wanted['uid']}")["dashboard"]
        buckets = {v["name"]: v["query"] for v in found["templating"]["list"]}
        assert buckets["bucket"] == BUCKET
        assert buckets["derived"] == f"{BUCKET}_derived"
        for board in (wanted, found):
            del board["templating"]
        assert without_version(found) == without_version(wanted), name


def test_one_language_alone_another_folder_and_zone(tmp_path, grafana, admin):
    done = publish(
        tmp_path, admin, "--language", "en", "--folder", "Wall", "--timezone", "Europe/London"
    )

    assert {each["uid"][-3:] for each in done.document["dashboards"]} == {"-en"}
    found = grafana.ask("GET", "/dashboards/uid/tanyuan-carbon-en")
    assert found["meta"]["folderTitle"] == "Wall"
    zone = [v for v in found["dashboard"]["templating"]["list"] if v["name"] == "timezone"]
    assert [(each["type"], each["query"]) for each in zone] == [("constant", "Europe/London")]
    assert publish(tmp_path, admin).status == 0  # and back to the zone of each site
    found = grafana.ask("GET", "/dashboards/uid/tanyuan-carbon-en")
    zone = [v for v in found["dashboard"]["templating"]["list"] if v["name"] == "timezone"]
    assert [(each["type"], each["hide"]) for each in zone] == [("query", 2)]


def test_events_are_marked_once(tmp_path, grafana, admin):
    now = datetime.now(UTC).replace(microsecond=0)
    with closing(server().open(BUCKET)) as store:
        store.put_indicators(list(events(now)))

    first = publish(tmp_path, admin, "--annotations")
    again = publish(tmp_path, admin, "--annotations")

    assert first.document["annotations"] == 4, first.err
    assert again.document["annotations"] == 0
    found = grafana.ask("GET", "/annotations?tags=tanyuan&limit=100")
    assert sorted(each["text"] for each in found) == sorted(row.text for row in events(now))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"TANYUAN_GRAFANA_TOKEN": "wrong"}, "Check TANYUAN_GRAFANA_TOKEN"),
        ({"TANYUAN_GRAFANA_TOKEN": ""}, "TANYUAN_GRAFANA_TOKEN is not set"),
        ({"INFLUXDB_V2_TOKEN": ""}, "and INFLUXDB_V2_TOKEN, are not set"),
        ({"TANYUAN_GRAFANA_URL": "grafana"}, "Write it as https://"),
    ],
)
def test_what_is_wrong_is_said_with_its_remedy(tmp_path, admin, changes, says):
    done = publish(tmp_path, {**admin, **changes})

    assert done.status == 1
    assert says in done.document["detail"]


def test_a_token_with_too_few_rights_is_told_which_it_needs(tmp_path, grafana, admin):
    done = publish(tmp_path, admin | {"TANYUAN_GRAFANA_TOKEN": grafana.token("Viewer")})

    assert done.status == 1
    assert "needs the role Admin" in done.document["detail"]


def test_a_grafana_that_is_not_there_is_a_fault_not_a_refusal(tmp_path, admin):
    done = publish(tmp_path, admin | {"TANYUAN_GRAFANA_URL": "http://127.0.0.1:1"})

    assert done.status == 3
    assert "nothing answers at http://127.0.0.1:1" in done.document["detail"]


def test_a_server_that_is_not_grafana_is_named(tmp_path, admin):
    done = publish(tmp_path, admin | {"TANYUAN_GRAFANA_URL": server().url})

    assert done.status == 1
    assert server().url in done.document["detail"]
