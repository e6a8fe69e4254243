"""One process owns a home; a command beside it asks it and prints the same bytes."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess

import pytest

from tests.acceptance.park import DAY, make_park
from tests.acceptance.publishing import batches, publish, reading
from tests.acceptance.running import answer, call, environment, run, up, values
from tests.shape import settings_of

pytestmark = pytest.mark.slow

QUESTIONS = [
    ("energy", *DAY),
    ("energy", *DAY[:4], "--every", "15min", "--building", "a"),
    ("emissions", *DAY),
    ("emissions", *DAY, "--method", "market"),
    ("quota", "--on", "2023-03-01"),
    ("trace", "energy", "--point", "a-main", "--at", "2023-03-01T00:00:00Z", "--every", "day"),
    ("quarantine", "list"),
    ("latest",),
    ("energy", *DAY, "--point", "nowhere"),
]


@pytest.fixture
def park(tmp_path):
    return make_park(tmp_path / "home")


def test_a_command_prints_the_same_bytes_beside_a_running_up_as_without(park):
    alone = [call(park, *q, "--json") for q in QUESTIONS]
    with up(park):
        beside = [call(park, *q, "--json") for q in QUESTIONS]
        own_process = run(park, *QUESTIONS[0], "--json")
    assert [(d.status, d.out) for d in beside] == [(d.status, d.out) for d in alone]
    assert (own_process.status, own_process.out) == (0, alone[0].out)


@pytest.mark.parametrize("version", [5, 3])
def test_what_was_acknowledged_is_in_the_next_answer(park, version):
    """1,100 kWh at the end of 1 March; 1,124 a day later were acknowledged a moment ago."""
    question = ("energy", "--from", "2023-03-02", "--to", "2023-03-03", "--point", "a-main")
    told = reading("E1", "2023-03-02T16:00:00Z", active_import=1124)
    with up(park) as running:
        assert values(answer(park, *question)) == [None]
        publish(running.mqtt_port, batches([told], 1), site="park", version=version)
        assert values(answer(park, *question)) == [pytest.approx(24)]


def test_an_import_beside_a_running_up_is_counted(park, tmp_path):
    file = tmp_path / "more.csv"
    file.write_text("meter,register,at,value\nE1,active_import,2023-03-02T16:00:00Z,1124\n")
    with up(park):
        assert answer(park, "import", str(file))["rows"] == 1
        found = answer(park, "energy", "--from", "2023-03-02", "--to", "2023-03-03",
                       "--point", "a-main")  # fmt: skip
    assert values(found) == [pytest.approx(24)]


def test_run_json_names_pid_ports_and_token_and_is_its_owner_s_alone(park):
    with up(park) as running:
        file = park / "run.json"
        said = json.loads(file.read_text())
        assert list(said) == ["pid", "mqtt_port", "http_port", "token"]
        assert said["pid"] == running.pid
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not file.exists()


def test_rebuild_beside_a_running_up_is_refused_with_the_pid(park):
    with up(park) as running:
        done = call(park, "rebuild", "--json")
    assert done.status == 1
    assert str(running.pid) in done.document["detail"]


def test_a_second_up_is_refused_with_the_pid(park):
    with up(park) as running:
        done = subprocess.run(
            [str(running.program), "--home", str(park), "up"],
            env=environment(**settings_of(park), TANYUAN_MQTT_PORT="0", TANYUAN_HTTP_PORT="0"),
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert json.loads((park / "run.json").read_text())["pid"] == running.pid
    assert done.returncode == 1
    assert str(running.pid) in done.stderr.decode()
    assert done.stdout == b""


@pytest.mark.parametrize("pid", ["gone", "other"])
def test_a_stale_run_json_is_ignored(park, pid):
    """A pid that is gone, or that by now is another process."""
    before = call(park, *QUESTIONS[0], "--json").out
    ended = subprocess.Popen(["true"])
    ended.wait()
    stale = {"gone": ended.pid, "other": os.getppid()}[pid]
    said = {"pid": stale, "mqtt_port": 1, "http_port": 1, "token": "x"}
    (park / "run.json").write_text(json.dumps(said))
    assert call(park, *QUESTIONS[0], "--json").out == before
    with up(park):
        assert call(park, *QUESTIONS[0], "--json").out == before


def test_after_a_kill_the_next_command_and_the_next_up_work(park):
    question = ("energy", "--from", "2023-03-02", "--to", "2023-03-03", "--point", "a-main")
    with up(park) as running:
        told = reading("E1", "2023-03-02T16:00:00Z", active_import=1124)
        publish(running.mqtt_port, batches([told], 1), site="park")
        os.kill(running.pid, signal.SIGKILL)
    assert (park / "run.json").exists()
    assert values(answer(park, *question)) == [pytest.approx(24)]
    with up(park):
        assert values(answer(park, *question)) == [pytest.approx(24)]


def test_the_token_of_a_home_opens_its_api_and_nothing_else_does(park):
    from urllib.error import HTTPError

    with up(park, TANYUAN_HTTP_TOKEN="open sesame") as running:
        assert call(park, *QUESTIONS[0], "--json").status == 0
        with pytest.raises(HTTPError) as refused:
            running.with_token("guess").get("/api/v1/status")
        with refused.value as response:
            assert response.code == 401
            assert json.loads(response.read())["status"] == 401
        assert running.with_token("open sesame").ask("/status")["ready"]
