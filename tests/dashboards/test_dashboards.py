"""What every dashboard must be: reproducible, whole, translated, and of core panels only."""

import itertools
import json
from pathlib import Path

import pytest

import dashboards
from dashboards.catalog import DASHBOARDS
from dashboards.layout import LayoutError, Row
from dashboards.look import BAD, UNKNOWN
from dashboards.texts import LANGUAGES, TextMissing, Texts, all_texts
from dashboards.writing import files, write
from tests.acceptance.running import call
from tests.dashboards.asking import panel_queries, variables_in

FOLDER = Path(dashboards.__file__).parent / "json"
CORE = {"stat", "timeseries", "bargauge", "table", "state-timeline", "text"}
"""Panels that Grafana 9.4 and later releases know; none of them is Angular."""

BOTH = [
    pytest.param(build(language), id=f"{name}-{language}")
    for name, build in DASHBOARDS.items()
    for language in LANGUAGES
]


def test_committed_files_are_what_the_code_builds():
    committed = {
        path.relative_to(FOLDER).as_posix(): path.read_text(encoding="utf-8")
        for path in FOLDER.rglob("*.json")
    }

    assert committed == files()


def test_writing_twice_changes_nothing(tmp_path):
    assert len(write(tmp_path)) == 2 * len(DASHBOARDS)
    assert write(tmp_path) == []


def constants(file):
    board = json.loads(file.read_text(encoding="utf-8"))
    return {v["name"]: (v["query"], v["current"]["value"], v["options"][0]["value"])
            for v in board["templating"]["list"] if v["type"] == "constant"}  # fmt: skip


def test_the_command_writes_what_is_committed_unless_it_is_told_otherwise(tmp_path):
    done = call(None, "dashboards", "write", str(tmp_path), "--json")

    assert (done.status, done.document["changed"]) == (0, len(files()))
    written = {
        path.relative_to(tmp_path).as_posix(): path.read_text(encoding="utf-8")
        for path in tmp_path.rglob("*.json")
    }
    assert written == files()


def test_files_for_another_park_count_its_days_and_read_its_buckets(tmp_path):
    options = ("--timezone", "Europe/Berlin", "--bucket", "werk", "--json")
    done = call(None, "dashboards", "write", str(tmp_path), *options)

    assert done.status == 0, done.err
    written = sorted(tmp_path.rglob("*.json"))
    assert len(written) == len(files())
    for file in written:
        assert constants(file) == {
            "timezone": ("Europe/Berlin",) * 3,
            "bucket": ("werk",) * 3,
            "derived": ("werk_derived",) * 3,
        }


def test_a_zone_that_does_not_exist_is_refused_before_anything_is_written(tmp_path):
    done = call(None, "dashboards", "write", str(tmp_path), "--timezone", "Mars/Base")

    assert done.status == 2
    assert "Europe/Berlin" in done.err
    assert "'Mars/Base'" in done.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dashboard", BOTH)
def test_panels_are_of_the_core_and_have_ids_of_their_own(dashboard):
    panels = dashboard["panels"]

    assert {panel["type"] for panel in panels} <= CORE
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert dashboard["schemaVersion"] == 37
    for panel in panels:
        assert panel["datasource"] == {"type": "influxdb", "uid": "tanyuan-influxdb"}
        assert panel["title"]
        assert panel["description"]
        assert panel["targets"] or panel["type"] == "text"
        says_nothing = panel["type"] in ("text", "timeseries")
        assert panel["fieldConfig"]["defaults"].get("noValue") or says_nothing


@pytest.mark.parametrize("dashboard", BOTH)
def test_what_is_unknown_has_not_the_colour_of_a_good_value(dashboard):
    for panel in dashboard["panels"]:
        if panel["type"] == "stat":
            field = panel["fieldConfig"]["defaults"]
            (shown,) = [m["options"]["result"] for m in field["mappings"] if m["type"] == "special"]
            assert shown["text"] == field["noValue"]
            silent = field["noValue"] in all_texts()["not_heard"].values()
            assert shown["color"] == (BAD if silent else UNKNOWN)


@pytest.mark.parametrize("dashboard", BOTH)
def test_no_unit_is_one_that_grafana_spells_out_in_english(dashboard):
    """Of 13 320 seconds it makes `3.7 hours`, whatever the language of the dashboard."""
    for panel in dashboard["panels"]:
        field = panel["fieldConfig"]
        given = [
            p["value"] for o in field["overrides"] for p in o["properties"] if p["id"] == "unit"
        ]
        assert {*given, field["defaults"].get("unit")} & {"s", "ms", "m", "h", "d"} == set()


@pytest.mark.parametrize("dashboard", BOTH)
def test_panels_fill_the_width_and_do_not_overlap(dashboard):
    cells = [
        (x, y)
        for grid in (panel["gridPos"] for panel in dashboard["panels"])
        for x in range(grid["x"], grid["x"] + grid["w"])
        for y in range(grid["y"], grid["y"] + grid["h"])
    ]

    assert len(set(cells)) == len(cells)
    assert len(cells) % 24 == 0
    assert max(x for x, _ in cells) == 23


@pytest.mark.parametrize("dashboard", BOTH)
def test_every_variable_that_is_used_is_there(dashboard):
    there = {variable["name"] for variable in dashboard["templating"]["list"]}
    shown = {v["name"] for v in dashboard["templating"]["list"] if v["hide"] == 0}
    used = variables_in(json.dumps(dashboard, ensure_ascii=False))

    assert used <= there
    assert shown <= used


@pytest.mark.parametrize("dashboard", BOTH)
def test_no_line_is_drawn_across_a_gap(dashboard):
    for panel in dashboard["panels"]:
        if panel["type"] in ("timeseries", "state-timeline"):
            assert panel["fieldConfig"]["defaults"]["custom"]["spanNulls"] is False
        if panel["type"] == "timeseries":
            # Grafana would draw a gap as the number this is, and "" is 0
            assert "noValue" not in panel["fieldConfig"]["defaults"]
            raw = [q["query"] for q in panel["targets"] if "aggregateWindow" not in q["query"]]
            assert len(raw) <= 1  # only the readings themselves
            assert all("createEmpty: true" in q["query"] or q["query"] in raw
                       for q in panel["targets"])  # fmt: skip


def test_uids_are_unique_and_links_lead_to_one():
    built = [build(language) for build in DASHBOARDS.values() for language in LANGUAGES]
    uids = [dashboard["uid"] for dashboard in built]

    assert len(set(uids)) == len(uids) == 10
    for dashboard in built:
        text = json.dumps(dashboard)
        for piece in text.split('"/d/')[1:]:
            assert piece.partition("?")[0] in uids
        assert dashboard["links"][0]["tags"][0] in dashboard["tags"]


@pytest.mark.parametrize("name", DASHBOARDS)
def test_languages_ask_the_same_and_stand_alike(name):
    one, other = (DASHBOARDS[name](language) for language in LANGUAGES)

    for mine, theirs in itertools.zip_longest(one["panels"], other["panels"]):
        assert mine["type"] == theirs["type"]
        assert mine["gridPos"] == theirs["gridPos"]
        assert len(mine["targets"]) == len(theirs["targets"])
    assert len(list(panel_queries(one))) == len(list(panel_queries(other)))


def test_every_text_has_every_language_and_no_other():
    for key, words in all_texts().items():
        assert sorted(words) == ["en", "zh"], key
        assert all(words.values()), key


def test_every_text_is_used(monkeypatch):
    asked = set()
    monkeypatch.setattr(
        Texts, "__call__", lambda self, key: asked.add(key) or all_texts()[key][self.language]
    )
    for build in DASHBOARDS.values():
        build("zh")

    assert set(all_texts()) - asked == set()


def test_missing_text_is_named():
    with pytest.raises(TextMissing, match=r"no 'zh' text 'nothing.of.it'"):
        Texts("zh")("nothing.of.it")
    with pytest.raises(TextMissing, match="'fr'"):
        Texts("fr")


def test_row_that_is_not_as_wide_as_the_grid_is_refused():
    with pytest.raises(LayoutError, match="24 columns, found 23"):
        Row(4, (12, {}), (11, {}))
