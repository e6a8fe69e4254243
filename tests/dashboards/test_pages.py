"""Dashboards in a real Grafana over a real InfluxDB that holds the made-up park as it is now.

First what Grafana's server answers to every query, then, in Chromium, what a person sees.
"""

import os
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dashboards.builder import uid
from dashboards.catalog import DASHBOARDS
from dashboards.texts import LANGUAGES, all_texts
from metering.store.indicators import Indicator
from tests.api.console.chromium import PROGRAM, chromium
from tests.dashboards.asking import VALUES, as_grafana_asks, panel_queries
from tests.dashboards.grafana_server import NO_PAGES, PASSWORD, provisioned_like_compose, started
from tests.dashboards.made_up_park import fill, platform
from tests.influx_server import ORG, server

BUCKET = "tanyuan"  # as the committed dashboards say
NOW = datetime.now(UTC).replace(second=0, microsecond=0)
PICTURES = os.environ.get("TANYUAN_TEST_PICTURES")
"""A folder for pictures that somebody wants to look at."""

CARRIER = {"en": "electricity · kWh", "zh": "电 · kWh"}

EVERY = [(name, language) for name in DASHBOARDS for language in LANGUAGES]


@pytest.fixture(scope="module")
def grafana(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grafana")
    with closing(server().open(BUCKET)) as store:
        fill(store, NOW)
    token = server().token_that_reads(BUCKET)
    running = started(
        folder,
        provisioning=provisioned_like_compose(folder, token=token),
        INFLUXDB_V2_URL=server().url,
        INFLUXDB_V2_ORG=ORG,
    )
    yield running
    running.stop()


def asked_of_server(name):
    found = list(panel_queries(DASHBOARDS[name]("en")))
    queries = [
        {
            "refId": f"Q{i}",
            "datasource": {"type": "influxdb", "uid": "tanyuan-influxdb"},
            "query": as_grafana_asks(flux, now=NOW, bucket=BUCKET, ranges=False),
            "intervalMs": 600_000,
            "maxDataPoints": 800,
        }
        for i, (_, flux) in enumerate(found)
    ]
    return [where for where, _ in found], queries


@pytest.mark.parametrize("name", DASHBOARDS)
def test_server_answers_every_query_with_values_and_without_an_error(grafana, name):
    places, queries = asked_of_server(name)
    ms = int(NOW.timestamp() * 1000)
    body = {"queries": queries, "from": str(ms - 86_400_000), "to": str(ms)}

    results = grafana.ask("POST", "/ds/query", body)["results"]

    for where, query in zip(places, queries, strict=True):
        answer = results[query["refId"]]
        assert "error" not in answer, (where, answer)
        columns = [values for frame in answer["frames"] for values in frame["data"]["values"]]
        assert any(value is not None for column in columns for value in column), where
        assert not any(f["schema"].get("meta", {}).get("notices") for f in answer["frames"]), where


@pytest.fixture(scope="module")
def tab(grafana, tmp_path_factory):
    if PROGRAM is None:
        pytest.skip("chromium is not on the PATH")
    if not grafana.has_pages:
        pytest.skip(NO_PAGES)
    with chromium(tmp_path_factory.mktemp("chromium") / "profile") as found:
        found.open(f"{grafana.url}/login")
        found.wait_for("Grafana")
        found.run(
            "fetch('/login', {method: 'POST', headers: {'content-type': 'application/json'},"
            f" body: JSON.stringify({{user: 'admin', password: '{PASSWORD}'}})}})"
        )
        time.sleep(2)
        yield found


def show(tab, grafana, name, language, **chosen):
    """Open a dashboard as a wall shows it, high enough that every panel is drawn."""
    with closing(server().open(BUCKET)) as store:  # what is older than three minutes is not lag now
        store.put_indicators(list(platform(datetime.now(UTC).replace(microsecond=0))))
    tab.size(1920, 2200)
    values = VALUES | chosen
    choice = "&".join(f"var-{key}={value}" for key, value in values.items() if key != "timezone")
    tab.open(f"{grafana.url}/d/{uid(name, language)}?orgId=1&kiosk&{choice}")
    titles = [panel["title"] for panel in DASHBOARDS[name](language)["panels"]]
    tab.wait_for(titles[0], within_s=60)
    time.sleep(1)
    deadline = time.monotonic() + 60
    while tab.run(LOADING) and time.monotonic() < deadline:
        time.sleep(0.2)
    time.sleep(1)


LOADING = (
    "document.querySelectorAll('.panel-loading,[aria-label=\"Panel loading bar\"]').length > 0"
)
ERRORS = (
    '[...document.querySelectorAll(\'[data-testid="data-testid Panel status error"],'
    '[aria-label="Panel header error"],.panel-info-corner--error,'
    '[data-testid="data-testid Alert error"]\')].map(e => e.outerHTML.slice(0, 300))'
)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "language"), EVERY)
def test_every_panel_is_drawn_with_something_in_it(tab, grafana, name, language):
    show(tab, grafana, name, language)
    seen = tab.text()
    if PICTURES:
        tab.screenshot(Path(PICTURES) / f"{name}-{language}-whole.png")
        tab.size(1920, 1080)
        time.sleep(1)
        tab.screenshot(Path(PICTURES) / f"{name}-{language}.png")

    assert tab.run(ERRORS) == []
    for panel in DASHBOARDS[name](language)["panels"]:
        title = panel["title"].replace("${carrier:text}", CARRIER[language])
        assert title.replace("${meter}", VALUES["meter"]) in seen
    for nothing in ("No data", all_texts()["unknown"][language], "undefined", "NaN"):
        assert [line for line in seen.splitlines() if f" {line}".endswith(f" {nothing}")] == []


@pytest.mark.slow
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_quota_that_is_not_assessable_yet_is_told_from_none_at_all(tab, grafana, language):
    set_one = {"limit": 900.0, "expected_share": 0.89, "coverage": 0.0, "verdict": 3.0}
    with closing(server().open(BUCKET)) as store:
        store.put_indicators([
            *(Indicator("yard/north", "north-el", f"quota_{name}", NOW, value)
              for name, value in set_one.items()),
            *(Indicator(site, "", "meters_total", NOW, 1.0) for site in ("yard", "quay")),
        ])  # fmt: skip
    words = all_texts()
    yet, none = (words[key][language] for key in ("not_assessable_yet", "no_quota"))
    counted = {}
    for site in ("yard", "quay"):
        show(tab, grafana, "park-live", language, site=site)
        lines = tab.text().splitlines()
        counted[site] = (lines.count(yet), lines.count(none))
        if PICTURES:
            tab.screenshot(Path(PICTURES) / f"park-live-{language}-{site}.png")

    assert counted["yard"] == (1, 0)
    # The number, what is expected, and the table of buildings.
    assert counted["quay"] == (0, 3)


@pytest.mark.slow
def test_no_page_asked_for_anything_outside(tab, grafana):
    ours = (grafana.url, grafana.url.replace("http:", "ws:"))
    outside = [address for address in tab.requested if not address.startswith(ours)]

    assert [a for a in outside if not a.startswith(("data:", "blob:", "about:"))] == []
