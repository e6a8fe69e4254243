"""An `up` that cannot start says in one sentence why, and ends; no traceback, no second guess."""

import socket

import pytest

from tests.acceptance.running import environment, run
from tests.crash.fleet import make_fleet, site_yaml
from tests.crash.running import Up

pytestmark = pytest.mark.slow

REFUSED, FAULT = 1, 3


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / "home"
    folder.mkdir()
    fleet = make_fleet(1, electricity=1, heat=0, gas=0, readings=2)
    (folder / "site.yaml").write_text(site_yaml(fleet))
    return folder


@pytest.fixture
def taken():
    """A port somebody else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        yield str(door.getsockname()[1])


def said(done):
    """What was said on stderr, on one line."""
    text = " ".join(done.err.split())
    assert "Traceback" not in text
    assert "fault of ours" not in text
    return text


@pytest.mark.parametrize(
    ("ports", "remedy"),
    [
        (("--mqtt-port", "{}", "--http-port", "0"), "choose another port"),
        (("--mqtt-port", "0", "--http-port", "{}"), "Set TANYUAN_HTTP_PORT to another port"),
    ],
    ids=["MQTT", "HTTP"],
)
def test_a_port_that_is_taken_is_named_with_the_remedy(home, taken, ports, remedy):
    done = run(home, "up", *(each.format(taken) for each in ports))

    assert done.status == FAULT
    assert f"127.0.0.1:{taken}" in said(done)
    assert remedy in said(done)


@pytest.mark.parametrize(
    ("setting", "value", "sentence"),
    [
        ("TANYUAN_BROKER", "http://127.0.0.1", "expected mqtt[s]://user@host:port"),
        ("TANYUAN_MQTT_USERS", "no-such-file", "No such file or directory"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(home, monkeypatch, setting, value, sentence):
    changed = environment(**{setting: value})
    monkeypatch.setattr("tests.acceptance.running.environment", lambda **_: changed)

    done = run(home, "up", "--mqtt-port", "0", "--http-port", "0")

    assert done.status == REFUSED
    assert setting in said(done)
    assert sentence in said(done)


def test_a_second_up_is_refused_with_the_process_that_has_the_home(home):
    with Up(home) as first:
        done = run(home, "up", "--mqtt-port", "0", "--http-port", "0")
        rebuilt = run(home, "rebuild", "--json")

        assert done.status == rebuilt.status == REFUSED
        assert f"process {first.process.pid}" in said(done)
        assert str(first.process.pid) in rebuilt.document["detail"]
        assert first.get("/readyz")[0] == 200
