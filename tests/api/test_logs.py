"""One event per line on stderr, as text or JSON, and never a secret."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys

import pytest

from api import logs


@pytest.fixture
def said(capsys, monkeypatch):
    """What the log says after it was configured; everything is put back afterwards."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    monkeypatch.setattr(logs, "_secrets", set())

    def lines():
        return capsys.readouterr().err.splitlines()

    levels = {name: logging.getLogger(name).level for name in logs.CHATTY}
    yield lines
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)


def failing():
    try:
        raise ValueError("first line\nsecond line")
    except ValueError:
        logging.getLogger("ingest.test").exception("it failed")


@pytest.mark.parametrize("form", ["text", "json"])
def test_event_with_a_traceback_is_one_line(said, form):
    logs.configure("INFO", form)

    failing()

    lines = said()
    assert len(lines) == 1
    assert "it failed" in lines[0]
    assert "ValueError" in lines[0]
    assert "second line" in lines[0]


def test_json_line_has_time_level_logger_and_message(said):
    logs.configure("INFO", "json")
    record = logging.LogRecord("ingest.x", logging.WARNING, "f", 1, "%s away", ("broker",), None)
    record.created = 1_704_067_200.25  # 2024-01-01T00:00:00.250Z

    logging.getLogger().handle(record)

    event = json.loads(said()[0])
    assert event["time"] == "2024-01-01T00:00:00.250Z"
    assert (event["level"], event["logger"]) == ("WARNING", "ingest.x")
    assert event["message"] == "broker away"
    assert "traceback" not in event


@pytest.mark.parametrize("form", ["text", "json"])
def test_what_a_stranger_sends_can_neither_end_a_line_nor_colour_the_terminal(said, form):
    logs.configure("INFO", form)

    logging.getLogger("x").info("client %s", "gw\n2024 INFO x: forged\x1b[31m\u2028")

    lines = said()
    assert len(lines) == 1
    assert "\x1b" not in lines[0]


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize(
    "text",
    [
        "the token is s3cret-token!",
        "asked with Authorization: Bearer abcdef.123",
        'GET /live?token=abcdef.123&x=1 {"token": "abcdef.123"}',
        "ledger postgresql+psycopg://tanyuan:abcdef.123@db/tanyuan",
        "ledger postgresql+psycopg://db/tanyuan?user=tanyuan&password=abcdef.123&sslmode=require",
        "ledger postgresql+psycopg://db/tanyuan?sslpassword=abcdef.123",
        "host=db password=abcdef.123 user=tanyuan",
        "{'password': 'abcdef.123'}",
    ],
)
def test_no_line_shows_a_secret(said, form, text):
    logs.configure("INFO", form, secrets=["s3cret-token!"])

    logging.getLogger("x").info(text)

    line = said()[0]
    assert logs.HIDDEN in line
    assert "s3cret" not in line
    assert "abcdef" not in line


def test_name_of_a_setting_is_shown_with_what_is_said_of_it(said):
    logs.configure("INFO")

    logging.getLogger("x").info("TANYUAN_BROKER_PASSWORD: wanted a user too")

    assert said()[0].endswith("TANYUAN_BROKER_PASSWORD: wanted a user too")


def test_level_decides_what_is_written_and_the_last_configuration_counts_alone(said):
    logs.configure("INFO")
    logs.configure("WARNING", "json")

    logging.getLogger("x").info("not this")
    logging.getLogger("x").warning("this")

    assert [json.loads(line)["message"] for line in said()] == ["this"]


@pytest.mark.parametrize("name", ["httpx2", "alembic.runtime.migration", "apscheduler.scheduler"])
@pytest.mark.parametrize(
    ("level", "kept"), [("DEBUG", ["poll", "odd"]), ("INFO", ["odd"]), ("ERROR", [])]
)
def test_libraries_that_say_every_step_are_heard_with_debug_only(said, name, level, kept):
    logs.configure(level)

    logging.getLogger(name).info("poll")
    logging.getLogger(name).warning("odd")

    assert [line.rpartition(" ")[2] for line in said()] == kept


def test_command_line_writes_json_where_the_setting_asks_for_it(tmp_path):
    # the site file has a fault the operator must hear of; nothing else may be on stderr
    (tmp_path / "site.yaml").write_text("site: {id: p, name: P, timezone: Europe/London}\n")
    code = (
        "import sys, logging; from api import cli; sys.argv = ['tanyuan', '--home', sys.argv[1],"
        " 'check']\n"
        "try: cli.main()\n"
        "finally: logging.getLogger('x').warning('after')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env=os.environ | {"TANYUAN_LOG_FORMAT": "json"},
        capture_output=True,
        text=True,
        check=False,
    )

    last = done.stderr.splitlines()[-1]
    assert json.loads(last)["message"] == "after"
