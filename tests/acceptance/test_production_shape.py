"""The production shape gives the very same bytes as the embedded one: always tested, in short.

`make test-production` runs all tests of the whole line in it.
"""

from __future__ import annotations

import os
import shutil
import signal

import pytest

from tests import postgres_server
from tests.acceptance.park import DAY, make_park
from tests.acceptance.publishing import batches, publish, reading
from tests.acceptance.running import answer, call, up, values
from tests.acceptance.test_same_bytes import QUESTIONS, all_answers, messages, telegrams, told
from tests.shape import VARIABLE, ledger_of, lose_store

PARK = [
    ("energy", *DAY),
    ("energy", *DAY[:4], "--every", "15min"),
    ("emissions", *DAY),
    ("energy", *DAY, "--point", "a-sub"),
]


@pytest.fixture(autouse=True)
def shape(monkeypatch):
    """Put what follows into a shape; production to begin with."""

    def put(name):
        monkeypatch.setenv(VARIABLE, name)

    put("production")
    return put


def test_a_day_worked_by_hand_is_the_same_to_the_byte(tmp_path, shape):
    home = make_park(tmp_path / "production")
    production = all_answers(home, PARK)
    shape("embedded")

    assert all_answers(make_park(tmp_path / "embedded"), PARK) == production
    assert not list(home.glob("store.duckdb*")) + list(home.glob("ledger.sqlite*"))


@pytest.mark.slow
def test_twenty_odd_days_over_mqtt_are_the_same_to_the_byte(tmp_path, shape):
    """Rollover, exchange, gap, glitch, duplicates, in a random order; every kind of question."""
    payloads = messages(telegrams(), seed=5, most=40)
    production = all_answers(told(tmp_path / "production", payloads), QUESTIONS)
    shape("embedded")

    assert all_answers(told(tmp_path / "embedded", payloads), QUESTIONS) == production


@pytest.mark.slow
def test_killed_restarted_and_rebuilt_it_answers_the_same(tmp_path):
    home = make_park(tmp_path / "home")
    question = ("energy", "--from", "2023-03-02", "--to", "2023-03-03", "--point", "a-main")
    with up(home) as running:
        later = reading("E1", "2023-03-02T16:00:00Z", active_import=1124)
        publish(running.mqtt_port, batches([later], 1), site="park")
        os.kill(running.pid, signal.SIGKILL)
    # the register showed 1100 a day before
    assert values(answer(home, *question)) == [pytest.approx(24)]
    before = all_answers(home, PARK)
    lose_store(home)

    assert call(home, "rebuild", "--json").status == 0

    assert all_answers(home, PARK) == before
    with up(home) as running:
        assert running.ask("/status")["ready"] is True
        assert values(answer(home, *question)) == [pytest.approx(24)]


def test_a_ledger_of_a_newer_program_is_refused_without_its_password(tmp_path):
    home = make_park(tmp_path / "home")
    name = ledger_of(home).rpartition("/")[2]
    with postgres_server.server().client(name) as client:
        client.execute("UPDATE alembic_version SET version_num = 'r9999'")

    refused = call(home, "energy", *DAY, "--json")

    assert (refused.status, refused.document["status"]) == (3, 503)
    assert "made by a newer Tanyuan" in refused.document["detail"]
    assert postgres_server.PASSWORD not in refused.err + refused.out.decode()


def test_a_folder_moved_to_other_servers_answers_the_same(tmp_path):
    """Nothing but the journal and the files of the home go along."""
    home = make_park(tmp_path / "home")
    before = all_answers(home, PARK)

    moved = shutil.copytree(home, tmp_path / "moved")

    assert all_answers(moved, PARK) == before
