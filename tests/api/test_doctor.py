"""The doctor finds what is broken, says what to do, and changes nothing."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import signal
import socket
import sqlite3
import threading
import time
from contextlib import closing
from datetime import UTC, datetime

import pytest
from fastapi import FastAPI

from api import doctor_machine, doctor_parts, problems
from api.doctor import Patient, examine, is_well
from api.doors import served
from api.home import Home, Running
from api.journals import Place
from api.routes.journals import serve_journal
from api.settings import load_settings
from ingest.journal import Journal
from metering.ledger.sql_ledger import open_ledger
from tests.acceptance.publishing import publish
from tests.acceptance.running import call, make_home, run, up
from tests.api.test_backup import FACTORS, SITE, fill, message


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("TANYUAN_MQTT_PORT", "0")
    monkeypatch.setenv("TANYUAN_HTTP_PORT", "0")
    made = make_home(tmp_path / "home", SITE, factors={"own.yaml": FACTORS})
    made.chmod(0o700)
    return made


def used(home):
    """A home with a journal, a ledger and a store."""
    fill(home, 300)
    assert call(home, "latest").status == 0
    return home


def checks(home, *, deep=False, now=None, **environ):
    settings = load_settings(home, environ=os.environ | environ)
    return examine(settings, now=now or datetime.now(UTC), deep=deep)


def named(found, name):
    return [check for check in found if check.name == name]


def status_of(found, name):
    return [check.status for check in named(found, name)]


def said(found, name):
    check = next(c for c in named(found, name) if c.status != "ok")
    assert check.remedy
    return f"{check.status}: {check.message} {check.remedy}"


def test_new_home_is_well(home):
    found = checks(home)

    assert is_well(found), [c for c in found if c.status == "fail"]
    assert {c.name for c in found} >= {
        "python", "libraries", "open_files", "ports", "broker", "settings", "home", "secrets",
        "disk", "clock", "sites", "factors", "profiles", "process", "journal", "ledger", "store",
        "grafana", "dask", "telemetry",
    }  # fmt: skip


def test_home_that_keeps_no_journal_beside_others_that_do_is_not_said_to_begin_one(home):
    used(home)
    shutil.rmtree(home / "journal")
    with closing(open_ledger(load_settings(home).ledger_url)) as ledger:
        place = Place("j1", f"http://127.0.0.1:{free_port()}", "collect", 7, stopped=True)
        ledger.put("journal/j1", place.text())

    found = checks(home)

    assert "keeps none; 1 of other" in named(found, "journal")[0].message
    (journals,) = named(found, "journals")
    assert (journals.status, journals.message.startswith("1 of 1")) == ("ok", True)


def test_every_journal_that_does_not_answer_is_named_with_what_to_do(home):
    used(home)
    with closing(open_ledger(load_settings(home).ledger_url)) as ledger:
        for name in ("j1", "j2"):
            place = Place(name, f"http://127.0.0.1:{free_port()}", "collect", 7)
            ledger.put(f"journal/{name}", place.text())

    found = checks(home)

    assert status_of(found, "journals") == ["warn", "warn"]
    text = said(found, "journals")
    assert "journal j1 " in text
    assert "message 7" in text
    assert "Start its `collect` again" in text
    assert "journal forget j1" in text
    assert is_well(found)


@pytest.mark.parametrize(
    ("token", "status", "word"),
    [("a-token-of-the-tests", "ok", "1 of 1"), ("wrong", "warn", "401")],
)
def test_journal_of_another_process_is_asked_with_the_token(home, tmp_path, token, status, word):
    used(home)
    with Journal(tmp_path / "other", min_free_bytes=0) as journal:
        app = FastAPI()
        problems.install(app)
        serve_journal(app, journal, ["a-token-of-the-tests"])
        with served(app, load_settings(home)) as port:
            with closing(open_ledger(load_settings(home).ledger_url)) as ledger:
                place = Place(journal.journal_id, f"http://127.0.0.1:{port}", "collect", 0)
                ledger.put(f"journal/{journal.journal_id}", place.text())
            (found,) = named(checks(home, TANYUAN_HTTP_TOKEN=token), "journals")

    assert found.status == status
    assert word in found.message


def test_used_home_is_well_and_its_store_is_where_the_journal_is(home):
    found = checks(used(home), deep=True)

    assert is_well(found)
    # 300 messages of which every fiftieth is garbage: 294 readings
    assert "294 readings of 1 meters" in named(found, "store")[0].message
    assert named(found, "lag")[0].message.startswith("0 messages")
    assert "all 300 messages" in named(found, "journal")[0].message


def test_store_that_is_behind_says_by_how_much(home):
    used(home)
    fill_more = [message(n) for n in range(300, 310)]
    with Journal(home / "journal", min_free_bytes=0) as journal:
        journal.append(fill_more)

    found = checks(home)

    assert named(found, "lag")[0].message.startswith("10 messages")


def test_journal_that_was_put_back_is_found_and_what_it_lost_is_named(home):
    used(home)
    shutil.copytree(home / "journal", home.with_name("copy"))
    with Journal(home / "journal", min_free_bytes=0) as journal:
        journal.append([message(n) for n in range(300, 310)])
    assert call(home, "latest").status == 0  # moves the ten as well
    shutil.rmtree(home / "journal")
    home.with_name("copy").rename(home / "journal")

    (found,) = named(checks(home), "lag")
    assert found.status == "warn"
    assert "up to message 310, and it ends at 300" in found.message
    assert "Do not rebuild" in found.remedy

    assert call(home, "latest").status == 0  # opens it, as a start does
    assert named(checks(home), "lag")[0].message.startswith("0 messages")
    for deep in (False, True):
        (found,) = named(checks(home, deep=deep), "journal")
        assert (found.status, "messages 301 to 310 are lost" in found.message) == ("ok", True)


def test_json_is_one_document_and_a_refusal_one_problem(home):
    well = call(home, "doctor", "--json")
    (home / "site.yaml").write_text("site: 1\n")
    ill = call(home, "doctor", "--json")

    assert well.status == 0
    assert well.document["ok"] is True
    assert ill.status == 1
    assert ill.document["type"] == "urn:tanyuan:problem:unwell"
    assert "site.yaml" in ill.document["detail"]
    assert {"name", "status", "message", "remedy"} == set(ill.document["checks"][0])


def test_setting_that_cannot_be_used_is_a_check_that_fails(home):
    (home / "tanyuan.toml").write_text("answer_wait_s = 'soon'\n")

    done = call(home, "doctor", "--json")

    assert done.status == 1
    assert [c["name"] for c in done.document["checks"]] == ["settings"]
    assert "ANSWER_WAIT_S" in done.document["detail"]


def test_folder_that_is_no_home_is_said_to_need_init(tmp_path, monkeypatch):
    found = checks(tmp_path / "nothing", TANYUAN_MQTT_PORT="0", TANYUAN_HTTP_PORT="0")

    assert "init" in said(found, "home")
    assert not (tmp_path / "nothing").exists()


def test_damage_in_the_newest_sealed_segment_is_found_at_once(home):
    used(home)
    segment = max((home / "journal").glob("*.sealed"))
    data = bytearray(segment.read_bytes())
    data[100] ^= 1
    segment.write_bytes(data)

    assert "fail" in said(checks(home), "journal")


def test_damage_in_an_old_segment_is_found_when_all_is_read(home):
    fill(home, 600)
    segment = min((home / "journal").glob("*.sealed"))
    data = bytearray(segment.read_bytes())
    data[100] ^= 1
    segment.write_bytes(data)

    assert status_of(checks(home), "journal") == ["ok"]
    assert segment.name in said(checks(home, deep=True), "journal")


def test_ledger_that_is_no_database_is_found(home):
    used(home)
    (home / "ledger.sqlite").write_bytes(b"not a database" * 500)

    assert "backup" in said(checks(home), "ledger")


def test_ledger_of_a_newer_version_fails_and_of_an_older_one_warns(home):
    used(home)
    with closing(sqlite3.connect(home / "ledger.sqlite")) as ledger, ledger:
        ledger.execute("UPDATE alembic_version SET version_num = 'r9999'")
    assert "fail: " in said(checks(home), "ledger")
    with closing(sqlite3.connect(home / "ledger.sqlite")) as ledger, ledger:
        ledger.execute("DELETE FROM alembic_version")

    assert "warn: " in said(checks(home), "ledger")
    with closing(sqlite3.connect(home / "ledger.sqlite")) as ledger:
        assert ledger.execute("SELECT count(*) FROM alembic_version").fetchone() == (0,)


def test_store_that_is_damaged_is_to_be_rebuilt(home):
    used(home)
    (home / "store.duckdb").write_bytes(b"\0" * 20_000)

    assert "rebuild" in said(checks(home), "store")


def test_influxdb_that_does_not_answer_is_found(home):
    found = checks(
        home,
        TANYUAN_STORE="influxdb",
        INFLUXDB_V2_URL=f"http://127.0.0.1:{free_port()}",
        INFLUXDB_V2_ORG="park",
        INFLUXDB_V2_TOKEN="a-token-of-the-tests",
    )

    assert "127.0.0.1" in said(found, "store")
    assert "a-token-of-the-tests" not in said(found, "store")


def test_influxdb_that_does_not_answer_is_found_beside_a_process_too(home):
    settings = load_settings(
        home,
        environ={
            "TANYUAN_STORE": "influxdb",
            "INFLUXDB_V2_URL": f"http://127.0.0.1:{free_port()}",
            "INFLUXDB_V2_ORG": "park",
            "INFLUXDB_V2_TOKEN": "a-token-of-the-tests",
        },
    )
    patient = Patient(settings, Home(home), Running(1, 0, 8400, "t"), datetime.now(UTC), False)

    (found,) = doctor_parts.check_store(patient)

    assert (found.name, found.status) == ("store", "fail")
    assert "127.0.0.1" in found.message


def test_clock_that_is_behind_what_was_written_is_found(home):
    used(home)

    assert "after" in named(checks(home), "clock")[0].message
    early = datetime(2024, 6, 1, tzinfo=UTC)
    assert "NTP" in said(checks(home, now=early), "clock")
    assert "2019" in said(checks(home, now=datetime(2019, 1, 1, tzinfo=UTC)), "clock")


def test_port_that_is_taken_is_named(home):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])

        found = checks(home, TANYUAN_HTTP_PORT=port)

    assert port in said(found, "ports")
    assert "TANYUAN_HTTP_PORT" in said(found, "ports")


def test_full_disk_is_found(home):
    assert "fail" in said(checks(home, TANYUAN_MIN_FREE_MB=str(1 << 40)), "disk")


def test_secret_that_everyone_can_read_is_found(home, tmp_path):
    home.chmod(0o755)
    (home / "tanyuan.toml").write_text('http_token = "a-long-enough-token-for-all"\n')
    (home / "tanyuan.toml").chmod(0o644)

    assert "chmod o-rwx" in said(checks(home), "secrets")
    (home / "tanyuan.toml").chmod(0o600)
    assert status_of(checks(home), "secrets") == ["ok"]


def test_weak_token_and_a_users_file_that_cannot_be_read_are_found(home, tmp_path):
    (tmp_path / "users").write_text("gw1:plain\n")

    found = checks(home, TANYUAN_HTTP_TOKEN="short", TANYUAN_MQTT_USERS=str(tmp_path / "users"))

    assert status_of(found, "settings") == ["warn", "fail"]
    assert all("short" not in check.message for check in found)


def test_door_without_its_secret_is_said_to_stay_here(home):
    found = checks(home, TANYUAN_BIND="0.0.0.0", TANYUAN_HTTP_TOKEN="a-long-enough-token")

    assert "TANYUAN_MQTT_USERS" in said(found, "settings")


def test_broker_that_is_away_is_found_and_one_without_encryption_is_named(home):
    found = checks(home, TANYUAN_BROKER=f"mqtt://collector@127.0.0.1:{free_port()}")

    assert "TANYUAN_BROKER" in said(found, "broker")
    assert "TANYUAN_BROKER_CA" in said(
        checks(home, TANYUAN_BROKER="mqtt://collector@broker.invalid"), "broker_encryption"
    )


@pytest.mark.parametrize(
    ("name", "variable", "scheme"),
    [
        ("grafana", "TANYUAN_GRAFANA_URL", "http"),
        ("dask", "TANYUAN_DASK", "tcp"),
        ("telemetry", "TANYUAN_OTLP_ENDPOINT", "http"),
    ],
)
def test_what_is_set_and_away_is_found_with_its_setting(home, name, variable, scheme):
    found = checks(home, **{variable: f"{scheme}://127.0.0.1:{free_port()}"})

    assert said(found, name).startswith("fail")
    assert variable in said(found, name)
    assert "fail" in said(checks(home, **{variable: f"{scheme}://127.0.0.1:84oo"}), name)


class Web:
    """A server that answers every question with one status and one document."""

    def __init__(self, answers):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                status, body = answers[self.path.partition("?")[0]]
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(body).encode())

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port

    def __enter__(self):
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.mark.parametrize(
    ("health", "search", "verdict", "word"),
    [
        ({"database": "ok", "version": "9.4.3"}, 200, "ok", "answers"),
        ({"database": "ok", "version": "9.4.3"}, 401, "fail", "token"),
        ({"database": "failing"}, 200, "fail", "failing"),
        (["something else"], 200, "fail", "not Grafana"),
    ],
)
def test_grafana_is_asked_for_its_health_and_with_our_token(home, health, search, verdict, word):
    answers = {"/api/health": (200, health), "/api/search": (search, [])}
    with Web(answers) as grafana:
        url, secret = f"http://127.0.0.1:{grafana.port}", "a-token-of-the-tests"
        found = checks(home, TANYUAN_GRAFANA_URL=url, TANYUAN_GRAFANA_TOKEN=secret)

    check = named(found, "grafana")[0]
    assert (check.status, word in check.message) == (verdict, True)
    assert secret not in check.message


def test_scheduler_and_collector_of_spans_that_listen_are_well(home):
    with Web({}) as there:
        found = checks(
            home,
            TANYUAN_DASK=f"tcp://127.0.0.1:{there.port}",
            TANYUAN_OTLP_ENDPOINT=f"http://127.0.0.1:{there.port}",
        )

    assert status_of(found, "dask") == status_of(found, "telemetry") == ["ok"]


COLLECTS = {"version": "1", "role": "collect", "ready": True, "journal": {"days_left": 3.0},
            "broker": {"url": "mqtt://b", "connected": True, "last_error": None}}  # fmt: skip
ANSWERS = {"version": "1", "role": "serve", "journal": None, "broker": None, "silent_meters": [],
           "lag": {"messages": 0, "dirty_ranges": 0, "last_error": None},
           "quarantine": {}}  # fmt: skip
AWAY = {"version": "1", "role": "up", "journal": {"days_left": None}, "broker": None,
        "lag": {"messages": None, "dirty_ranges": None, "last_error": None},
        "quarantine": None, "silent_meters": None, "problems": ["No ledger."]}  # fmt: skip

WALLS = ANSWERS | {"role": "schedule", "displays": {"last_error": "The store is away."}}


@pytest.mark.parametrize(
    ("ready", "status", "expected"),
    [
        (True, COLLECTS, [("process", "ok"), ("disk", "warn"), ("broker", "ok")]),
        (True, ANSWERS, [("process", "ok"), ("lag", "ok")]),
        (True, WALLS, [("process", "ok"), ("lag", "ok"), ("displays", "fail")]),
        (False, AWAY, [("process", "fail"), ("lag", "warn")]),
        (True, {}, [("process", "ok")]),
    ],
    ids=["collect", "serve", "walls stand still", "up without its ledger", "nothing"],
)
def test_what_a_process_does_not_say_is_passed_over(home, monkeypatch, ready, status, expected):
    monkeypatch.setattr("api.doctor_parts._asked", lambda *_: (ready, status))
    settings = load_settings(home, environ={})
    patient = Patient(settings, Home(home), Running(1, 0, 8400, "t"), datetime.now(UTC), False)

    found = doctor_parts.check_process(patient)

    assert [(check.name, check.status) for check in found] == expected


def test_run_file_of_a_process_that_was_killed_is_said_to_be_stale(home):
    (home / "run.json").write_text('{"pid": 1, "mqtt_port": 1, "http_port": 1, "token": "t"}')

    assert "up" in said(checks(home), "process")


def test_what_was_set_aside_is_named(home):
    (home / "store.duckdb.old").write_bytes(b"x")

    assert "store.duckdb.old" in said(checks(home), "left_overs")


@pytest.mark.parametrize(
    ("requirement", "problem"),
    [
        ("click>=8.2", ""),
        ("click>=999", "click is"),
        ("click<2", "click is"),
        ("no-such-library-of-ours>=1", "no-such-library-of-ours is missing."),
        ("uvicorn[standard]>=0.1 ; python_version > '3'", ""),
    ],
)
def test_library_that_is_missing_or_does_not_fit_is_named(requirement, problem):
    assert doctor_machine._misfit(requirement).startswith(problem)
    assert bool(doctor_machine._misfit(requirement)) == bool(problem)


@pytest.mark.slow
def test_running_up_is_asked_and_stays_as_it_was(home):
    with up(home) as running:
        publish(running.mqtt_port, [message(0).payload, b"{"], site="park")
        running.ask("/energy", first="2024-01-01", to="2024-01-02")
        before = running.ask("/status")["started_at"]

        done = run(home, "doctor", "--json", "--deep")

        assert done.status == 0, done.err
        found = {check["name"]: check for check in done.document["checks"]}
        assert str(running.pid) in found["process"]["message"]
        assert str(running.mqtt_port) in found["ports"]["message"]
        assert found["lag"]["message"].startswith("0 messages")
        assert found["quarantine"]["status"] == "warn"
        assert "store" not in found
        assert running.ask("/status")["started_at"] == before


@pytest.mark.slow
def test_up_that_hangs_is_found_in_time(home, monkeypatch):
    monkeypatch.setattr("api.doctor_parts._ASK_S", 1.0)
    with up(home) as running:
        os.kill(running.pid, signal.SIGSTOP)
        try:
            begun = time.monotonic()
            found = checks(home)
            assert time.monotonic() - begun < 30
        finally:
            os.kill(running.pid, signal.SIGCONT)

    assert str(running.pid) in said(found, "process")


def test_doctor_writes_nothing_into_the_home(home):
    used(home)
    shutil.rmtree(home / "factors")
    before = sorted(path.relative_to(home) for path in home.rglob("*"))

    checks(home, deep=True)

    assert sorted(path.relative_to(home) for path in home.rglob("*")) == before


def test_document_for_people_has_a_line_for_each_check_and_its_remedy(home):
    (home / "store.duckdb.old").write_bytes(b"x")

    done = call(home, "doctor")

    text = done.out.decode()
    assert done.status == 0
    assert "ok   python: Python 3." in text
    assert "warn left_overs: " in text
    assert "\n     Remove them from" in text
    assert json.loads(call(home, "doctor", "--json").out)["ok"] is True
