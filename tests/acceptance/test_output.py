"""What a command prints, where, and how it ends."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from api.commands.keeping import cause_rows
from tests.acceptance.park import DAY, make_park
from tests.acceptance.running import answer, call, make_home, run, up
from tests.shape import needs_embedded


@pytest.fixture(scope="module")
def park(tmp_path_factory):
    return make_park(tmp_path_factory.mktemp("output") / "home")


def is_problem(done, *, status):
    """One problem document on stdout and nothing else there; the same in words on stderr."""
    problem = json.loads(done.out)
    assert done.out.count(b"\n") == 1
    assert {"type", "title", "status", "detail"} <= set(problem)
    assert problem["title"].split()[0] in done.err
    assert done.status == status
    return problem


def test_an_answer_is_one_document_on_stdout_and_nothing_else(park):
    done = run(park, "energy", *DAY, "--json")
    assert (done.status, done.err) == (0, "")
    assert done.out.endswith(b"}\n")
    assert list(json.loads(done.out)) == ["series"]


def test_without_json_people_get_a_table(park):
    done = call(park, "energy", *DAY)
    assert done.status == 0
    assert "electricity" in done.out.decode()


def test_a_table_names_the_unit_and_the_day_as_it_was_asked_for(park):
    out = call(park, "energy", *DAY, "--point", "a-heat").out.decode()
    assert "a-heat: heat [kWh]" in out
    # 1 March in Shanghai begins at 16:00 UTC of 28 February; the meter showed 75 more
    assert "2023-03-01  75 " in out


def test_quotas_are_those_at_the_end_of_yesterday_if_no_day_is_named(park):
    zone = ZoneInfo("Asia/Shanghai")
    before = datetime.now(zone).date() - timedelta(days=1)
    document = answer(park, "quota")
    after = datetime.now(zone).date() - timedelta(days=1)
    assert document["on"] in (before.isoformat(), after.isoformat())
    assert call(park, "quota").out.decode().startswith("Quotas at the end of 20")


def test_series_and_rows_have_the_keys_of_the_interface_in_their_order(park):
    series = answer(park, "energy", *DAY)["series"][0]
    assert list(series) == ["subject", "carrier", "unit", "rows"]
    assert list(series["rows"][0]) == ["start", "end", "value", "coverage", "measured", "flags"]
    document = answer(park, "emissions", *DAY)
    assert list(document)[:3] == ["method", "factors", "series"]
    assert list(document["series"][0]) == ["subject", "carrier", "scope", "unit", "rows"]


@pytest.mark.parametrize(
    "question",
    [
        ("energy", *DAY, "--point", "nowhere"),
        ("energy", *DAY, "--building", "z"),
        ("energy", *DAY, "--carrier", "steam"),
        ("energy", *DAY, "--site", "elsewhere"),
        ("energy", *DAY, "--point", "a-main", "--building", "a"),
        ("energy", "--from", "2024-01-02", "--to", "2024-01-01"),
        ("energy", "--from", "yesterday", "--to", "2024-01-01"),
        ("energy", "--from", "2024-01-01T00:00:00Z", "--to", "2024-02-01"),
        ("emissions", *DAY, "--point", "nowhere"),
        ("quota", "--on", "2024-13-01"),
        ("trace", "energy", "--point", "nowhere", "--at", "2023-03-01T00:00:00Z"),
        ("trace", "energy", "--point", "a-main", "--at", "2023-03-01T00:00:00"),
        ("trace", "energy", "--point", "a-main", "--at", "2010-03-01T00:00:00Z"),
        ("quarantine", "show", "77"),
    ],
    ids=lambda question: " ".join(question),
)
def test_a_refusal_is_a_problem_and_status_1(park, question):
    is_problem(call(park, *question, "--json"), status=1)


def test_a_refusal_without_json_leaves_stdout_empty(park):
    done = call(park, "energy", *DAY, "--point", "nowhere")
    assert (done.status, done.out) == (1, b"")
    assert "nowhere" in done.err


def test_the_closest_name_is_offered(park):
    problem = is_problem(call(park, "energy", *DAY, "--point", "a-man", "--json"), status=1)
    assert "a-main" in problem["detail"]


@pytest.mark.parametrize(
    "wrong",
    [
        ("energy",),
        ("energy", *DAY, "--every", "fortnight"),
        ("energy", *DAY, "--colour", "red"),
        ("emissions", *DAY, "--method", "guess"),
        ("quarantine", "show", "seven"),
        ("frobnicate",),
    ],
    ids=lambda wrong: " ".join(wrong),
)
def test_wrong_use_is_status_2_and_stdout_stays_empty(park, wrong):
    done = call(park, *wrong, "--json")
    assert (done.status, done.out) == (2, b"")
    assert done.err


def test_a_folder_that_is_no_home_is_refused(tmp_path):
    problem = is_problem(call(tmp_path, "energy", *DAY, "--json"), status=1)
    assert "init" in problem["detail"]


def test_a_site_file_with_errors_is_refused_with_file_and_line(tmp_path):
    site = "site: {id: x, name: X, timezone: Europe/Lodnon}\n"
    home = make_home(tmp_path / "home", site)
    problem = is_problem(call(home, "status", "--json"), status=1)
    assert "site.yaml" in problem["detail"]
    assert "Europe/London" in problem["detail"]


@needs_embedded("a damaged DuckDB file is meant")
def test_a_store_that_cannot_be_used_is_status_3(tmp_path):
    home = make_home(tmp_path / "home", "site: {id: x, name: X, timezone: UTC}\n")
    (home / "store.duckdb").write_bytes(b"no database" * 1000)
    problem = is_problem(call(home, "status", "--json"), status=3)
    assert "rebuild" in problem["detail"]


@needs_embedded("a damaged DuckDB file is meant")
def test_rebuild_mends_a_store_that_cannot_be_used(tmp_path):
    home = make_park(tmp_path / "home")
    before = call(home, "energy", *DAY, "--json").out
    (home / "store.duckdb").write_bytes(b"no database" * 1000)
    assert call(home, "rebuild", "--json").status == 0
    assert call(home, "energy", *DAY, "--json").out == before


def test_a_setting_that_is_none_is_refused(park, monkeypatch):
    monkeypatch.setenv("TANYUAN_ANSWER_WAIT_S", "soon")
    problem = is_problem(call(park, "status", "--json"), status=1)
    assert "TANYUAN_ANSWER_WAIT_S" in problem["detail"]


def test_version_is_printed(park):
    done = call(None, "--version")
    assert done.status == 0
    assert done.out.startswith(b"tanyuan ")


def test_status_says_lag_silent_meters_disk_and_jobs(park):
    document = answer(park, "status")
    assert {"lag", "silent_meters", "disk", "jobs"} <= set(document)


def test_init_writes_a_home_that_works(tmp_path):
    home = tmp_path / "new"
    assert call(home, "init").status == 0
    assert (home / "site.yaml").is_file()
    assert call(home, "status", "--json").status == 0
    assert call(home, "init").status == 1


def test_import_says_what_became_of_the_file(park, tmp_path):
    odd = tmp_path / "odd.csv"
    odd.write_text(
        "meter,register,at,value\n"
        "E1,active_import,2023-03-05T00:00:00+08:00,2000\n"
        "E9,active_import,2023-03-05T00:00:00+08:00,1\n"
        "E1,active_import,2023-03-05T01:00:00+08:00,many\n",
        encoding="utf-8",
    )
    document = answer(park, "import", str(odd))
    assert document["rows"] == 3
    codes = {entry["code"] for entry in answer(park, "quarantine", "list")["entries"]}
    assert codes == {"unknown_meter", "not_finite"}


def test_quarantine_is_a_line_for_each_cause_and_nothing_is_cut(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    home = make_park(tmp_path / "home")
    odd = tmp_path / "odd.csv"
    rows = [("H1", "flow_temperature", 0), ("H1", "flow_temperature", 1), ("H1", "heat", "many")]
    rows += [("H1", "flow_temperature", 2), ("E9[x]", "heat", 3)]
    lines = [f"{m},{r},2023-03-05T0{n}:00:00+08:00,{v}" for n, (m, r, v) in enumerate(rows)]
    odd.write_text("\n".join(["meter,register,at,value", *lines]), encoding="utf-8")
    answer(home, "import", str(odd))
    entries = answer(home, "quarantine", "list")["entries"]
    assert len(entries) == 5

    done = call(home, "quarantine", "list")

    title, heading, *shown = done.out.decode().splitlines()
    assert title == "5 open"
    assert heading.split() == ["count", "first", "last", "from", "to", "code", "meter", "cause"]
    found = {line.split()[5]: line for line in shown}
    assert len(found) == len(shown) == 3
    register = found["unknown_register"].split()
    sequences = [e["sequence"] for e in entries if e["code"] == "unknown_register"]
    assert register[:3] == ["3", str(min(sequences)), str(max(sequences))]
    assert register[6] == "park/H1"
    assert "Did you mean" in found["unknown_register"]
    assert "supply_temperature" in found["unknown_register"]
    assert "Known" not in found["unknown_register"]
    assert "park/E9[x]" in found["unknown_meter"]
    whole = call(home, "quarantine", "show", register[1]).out.decode()
    assert whole.count("Known: ") == 1
    parts = sorted(e["part"] for e in entries if e["code"] == "unknown_register")
    assert f"parts: {', '.join(map(str, parts))}\n" in whole
    assert "Known: " in next(e for e in entries if e["code"] == "unknown_register")["message"]


def test_causes_that_differ_in_numbers_alone_are_one():
    def entry(sequence, message):
        at = f"2024-01-01T00:00:{sequence:02}.5Z"
        return {"journal": "j", "sequence": sequence, "part": 0, "received_at": at,
                "code": "bad_time", "meter": "p/E1", "message": message}  # fmt: skip

    wrong = 'Wanted a time with an offset, found "2024-01-01T00:{:02}:00".'
    rows = cause_rows([entry(n, wrong.format(n)) for n in (7, 8, 9)] + [entry(4, "Else.")])

    assert [row[:4] for row in rows] == [["j", 1, 4, 4], ["j", 3, 7, 9]]
    assert rows[1][4:6] == ["2024-01-01T00:00:07Z", "2024-01-01T00:00:09Z"]


def test_import_of_a_file_that_is_no_table_is_refused(park, tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("hello")
    is_problem(call(park, "import", str(path), "--json"), status=1)


@pytest.mark.slow
def test_beside_a_running_up_refusals_are_the_same_bytes(park):
    refused = ("energy", *DAY, "--point", "nowhere", "--json")
    alone = call(park, *refused)
    with up(park):
        beside = call(park, *refused)
        assert (beside.status, beside.out) == (alone.status, alone.out)
        assert is_problem(beside, status=1)["status"] == 404
