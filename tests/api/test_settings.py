"""Settings come from the environment, then from the file, and are refused with their name."""

from __future__ import annotations

import pytest

from api.settings import SettingsError, load_settings, secret_names


def test_environment_wins_over_the_file_and_the_command_line_over_both(tmp_path):
    (tmp_path / "tanyuan.toml").write_text("mqtt_port = 1\nhttp_port = 2\nmin_free_mb = 3\n")

    found = load_settings(
        tmp_path,
        environ={"TANYUAN_MQTT_PORT": "11", "TANYUAN_HTTP_PORT": "12"},
        given={"mqtt_port": 21},
    )

    assert (found.mqtt_port, found.http_port, found.min_free_mb) == (21, 12, 3)


def test_home_comes_from_the_environment_where_it_is_not_given(tmp_path):
    found = load_settings(environ={"TANYUAN_HOME": str(tmp_path)})

    assert found.home == tmp_path
    assert found.ledger_url == f"sqlite:///{tmp_path}/ledger.sqlite"


@pytest.mark.parametrize(
    ("toml", "environ", "words"),
    [
        ("mqtt_prot = 1\n", {}, ["tanyuan.toml", "mqtt_prot", "mqtt_port"]),
        ("mqtt_port = \n", {}, ["tanyuan.toml", "TOML"]),
        ("", {"TANYUAN_MQTT_PORT": "abc"}, ["the environment", "TANYUAN_MQTT_PORT", "abc"]),
        ("", {"TANYUAN_HTTP_PORT": "70000"}, ["TANYUAN_HTTP_PORT", "70000"]),
        ("", {"TANYUAN_STORE": "mysql"}, ["TANYUAN_STORE", "duckdb"]),
    ],
)
def test_setting_that_cannot_be_used_is_named_with_where_it_stands(tmp_path, toml, environ, words):
    (tmp_path / "tanyuan.toml").write_text(toml)

    with pytest.raises(SettingsError) as caught:
        load_settings(tmp_path, environ=environ)

    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("influxdb_v2_org", "influx_org"),
        ("INFLUXDB_V2_URL", "influx_url"),
        ("TANYUAN_MQTT_PORT", "mqtt_port"),
        ("infux_bucket", "influx_bucket"),
    ],
)
def test_setting_that_was_probably_meant_is_named_first(tmp_path, wrong, right):
    (tmp_path / "tanyuan.toml").write_text(f"{wrong} = 'x'\n")

    with pytest.raises(SettingsError) as caught:
        load_settings(tmp_path, environ={})

    first, known = str(caught.value).splitlines()
    assert first == f"tanyuan.toml: {wrong!r} is no setting. Write {right}."
    assert known.startswith("Known: ")


def test_all_settings_are_listed_once_however_many_names_are_wrong(tmp_path):
    (tmp_path / "tanyuan.toml").write_text("influxdb_v2_org = 'x'\nzzz = 1\nqqq = 2\n")

    with pytest.raises(SettingsError) as caught:
        load_settings(tmp_path, environ={})

    assert str(caught.value).count("Known: ") == 1
    assert "'zzz' is no setting.\n" in str(caught.value)


def test_address_others_can_reach_is_refused_without_any_secret(tmp_path):
    with pytest.raises(SettingsError, match="TANYUAN_HTTP_TOKEN"):
        load_settings(tmp_path, environ={"TANYUAN_BIND": "0.0.0.0"})


def test_door_without_its_secret_stays_on_this_machine(tmp_path):
    found = load_settings(
        tmp_path, environ={"TANYUAN_BIND": "0.0.0.0", "TANYUAN_HTTP_TOKEN": "hidden"}
    )

    assert (found.http_bind, found.mqtt_bind) == ("0.0.0.0", "127.0.0.1")


def test_secret_is_not_in_what_is_printed(tmp_path):
    found = load_settings(tmp_path, environ={"TANYUAN_HTTP_TOKEN": "hidden"})

    assert "hidden" not in repr(found)
    assert "hidden" not in str(found)


def test_secret_may_stand_in_a_file_of_its_own(tmp_path):
    (tmp_path / "secret").write_text("from a file\n")

    found = load_settings(tmp_path, environ={"TANYUAN_HTTP_TOKEN_FILE": str(tmp_path / "secret")})

    assert found.secrets == ["from a file"]


@pytest.mark.parametrize(
    ("ledger", "hidden"),
    [
        ("postgresql+psycopg://tanyuan:pass%40word@db/tanyuan", ["pass%40word", "pass@word"]),
        ("postgresql+psycopg://db/tanyuan?user=t&password=pass-word", ["pass-word"]),
        ("postgresql+psycopg://db/t?sslpassword=key-word&sslmode=require", ["key-word"]),
        ("postgresql+psycopg://tanyuan@db/tanyuan", []),
        ("sqlite:////var/lib/tanyuan/ledger.sqlite", []),
    ],
)
def test_password_in_the_url_of_the_ledger_is_a_secret(tmp_path, ledger, hidden):
    found = load_settings(tmp_path, environ={"TANYUAN_LEDGER": ledger})

    assert found.secrets == hidden


def test_token_for_grafana_is_a_secret(tmp_path):
    found = load_settings(tmp_path, environ={"TANYUAN_GRAFANA_INFLUX_TOKEN": "read-only"})

    assert found.secrets == ["read-only"]
    assert "read-only" not in repr(found)
    assert "grafana_influx_token" in secret_names()


@pytest.mark.parametrize(
    ("content", "environ", "words"),
    [
        (None, {}, ["TANYUAN_HTTP_TOKEN_FILE", "secret"]),
        ("", {}, ["TANYUAN_HTTP_TOKEN_FILE", "empty"]),
        ("a\n", {"TANYUAN_HTTP_TOKEN": "b"}, ["TANYUAN_HTTP_TOKEN", "both"]),
    ],
    ids=["missing", "empty", "twice"],
)
def test_secret_file_that_cannot_be_used_is_named(tmp_path, content, environ, words):
    file = tmp_path / "secret"
    if content is not None:
        file.write_text(content)

    with pytest.raises(SettingsError) as caught:
        load_settings(tmp_path, environ={"TANYUAN_HTTP_TOKEN_FILE": str(file), **environ})

    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize(
    "url",
    ["http://c1:84oo", "c1:8400", "http://", "ftp://c1", "http://c1:99999", "http://c 1", "c1"],
)
def test_address_under_which_nobody_could_ask_is_refused(tmp_path, url):
    with pytest.raises(SettingsError) as caught:
        load_settings(tmp_path, environ={"TANYUAN_ADVERTISE": url})

    assert "TANYUAN_ADVERTISE" in str(caught.value)
    assert repr(url) in str(caught.value)


@pytest.mark.parametrize("url", ["http://c1:8400", "https://c1.example.org/", "http://[::1]:8400"])
def test_address_under_which_others_ask_may_be_any_url_of_the_web(tmp_path, url):
    found = load_settings(tmp_path, environ={"TANYUAN_ADVERTISE": url})

    assert found.advertised_url(1) == url
