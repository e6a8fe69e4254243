"""Backup and restore of a home whose site files, store and ledger are not its own."""

from __future__ import annotations

import shutil
import socket
from contextlib import closing

import pytest

from api.journals import Place
from api.settings import load_settings
from ingest.journal import Journal
from metering.ledger.sql_ledger import open_ledger
from tests import postgres_server
from tests.acceptance.running import call, make_home
from tests.api.test_backup import FACTORS, SITE, answers, fill, message, verified
from tests.influx_server import server
from tests.shape import needs_embedded

pytestmark = needs_embedded("which store and ledger are used is what is tested here")


@pytest.fixture
def config(tmp_path, monkeypatch):
    made = make_home(tmp_path / "config", SITE, factors={"own.yaml": FACTORS})
    (made / "shared.env").write_text("PASSWORD=hidden")
    monkeypatch.setenv("TANYUAN_CONFIG", str(made))
    return made


def saved(home, file):
    done = call(home, "backup", str(file), "--json")
    assert done.status == 0, done.err
    return done.document


def restored(home, file):
    done = call(home, "restore", str(file), "--json")
    assert done.status == 0, done.err
    return done.document


def test_files_that_another_folder_holds_come_back_into_it(config, tmp_path):
    home, file = tmp_path / "home", tmp_path / "b.tar.zst"
    fill(home)
    before, chain = answers(home), verified(home)

    made = saved(home, file)
    shutil.rmtree(home)
    shutil.rmtree(config)

    assert made["sites"] == ["park"]
    assert restored(home, file)["store"]["messages"] == 600
    assert sorted(path.name for path in config.rglob("*.*")) == ["own.yaml", "site.yaml"]
    assert answers(home) == before
    assert verified(home) == chain


def test_files_that_stand_in_the_other_folder_already_stay(config, tmp_path):
    home, file = tmp_path / "home", tmp_path / "b.tar.zst"
    fill(home, 150)
    saved(home, file)
    shutil.rmtree(home)
    newer = SITE.replace("name: Park", "name: New Park")
    (config / "site.yaml").write_text(newer)

    restored(home, file)

    assert (config / "site.yaml").read_text() == newer


def test_files_of_another_folder_are_put_into_the_home_where_none_is_named(
    config, tmp_path, monkeypatch
):
    home, file = tmp_path / "home", tmp_path / "b.tar.zst"
    fill(home, 150)
    saved(home, file)
    shutil.rmtree(home)
    monkeypatch.delenv("TANYUAN_CONFIG")

    restored(home, file)

    assert (home / "site.yaml").read_text() == SITE
    assert (home / "factors" / "own.yaml").read_text() == FACTORS


def shared(tmp_path, monkeypatch, url, org="park", token="a-token-of-the-tests"):
    """The settings of a collector's home; its ledger is that of the installation."""
    monkeypatch.setenv("TANYUAN_STORE", "influxdb")
    monkeypatch.setenv("TANYUAN_LEDGER", f"sqlite:///{tmp_path / 'shared.sqlite'}")
    monkeypatch.setenv("TANYUAN_INFLUX_BUCKET", tmp_path.name)
    monkeypatch.setenv("INFLUXDB_V2_URL", url)
    monkeypatch.setenv("INFLUXDB_V2_ORG", org)
    monkeypatch.setenv("INFLUXDB_V2_TOKEN", token)
    return load_settings(tmp_path / "home")


def registered(settings, home):
    """Say of a journal what a collector says of it."""
    with Journal(home / "journal", min_free_bytes=0) as journal:
        place = Place(journal.journal_id, "http://c1:8400", "collect", journal.last_sequence)
    with closing(open_ledger(settings.ledger_url)) as ledger:
        ledger.put(f"journal/{place.journal}", place.text())
    return place.journal


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_home_of_a_collector_is_put_back_while_the_shared_store_is_away(
    config, tmp_path, monkeypatch
):
    home, file = tmp_path / "home", tmp_path / "b.tar.zst"
    settings = shared(tmp_path, monkeypatch, f"http://127.0.0.1:{free_port()}")
    fill(home)
    chain = verified(home)
    registered(settings, home)
    ledger = (tmp_path / "shared.sqlite").read_bytes()

    assert saved(home, file)["shared"] is True
    shutil.rmtree(home)
    store = restored(home, file)["store"]

    assert store["rebuilt"] is False
    assert "rebuild" in store["note"]
    assert verified(home) == chain
    assert (tmp_path / "shared.sqlite").read_bytes() == ledger


def test_home_that_only_collects_needs_no_site_files_to_be_saved(tmp_path, monkeypatch):
    home, file = tmp_path / "home", tmp_path / "b.tar.zst"
    settings = shared(tmp_path, monkeypatch, f"http://127.0.0.1:{free_port()}")
    fill(home, 150)
    chain = verified(home)
    registered(settings, home)

    saved(home, file)
    shutil.rmtree(home)

    restored(home, file)
    assert verified(home) == chain


@pytest.mark.slow
def test_shared_store_stays_and_the_journal_of_a_collector_goes_on_behind_it(
    config, tmp_path, monkeypatch
):
    influx = server()
    home, file = tmp_path / "home", tmp_path / "b.tar.zst"
    settings = shared(tmp_path, monkeypatch, influx.url, influx.org, influx.token)
    influx.buckets |= {tmp_path.name, f"{tmp_path.name}_derived"}
    fill(home)
    name = registered(settings, home)
    saved(home, file)
    with Journal(home / "journal", min_free_bytes=0) as journal:
        journal.append([message(n) for n in range(600, 610)])
    assert call(home, "latest").status == 0  # moves the ten as well
    shutil.rmtree(home)

    assert restored(home, file)["store"]["rebuilt"] is False

    assert call(home, "latest").status == 0  # opens the journal, as a start does
    with Journal(home / "journal", min_free_bytes=0) as journal:
        assert list(journal.append([message(610)])) == [611]
    assert call(home, "latest").status == 0
    with (
        closing(open_ledger(settings.ledger_url)) as ledger,
        closing(influx.open(tmp_path.name)) as store,
    ):
        assert ledger.position(store_id=store.store_id, journal=name) == 611
        # 611 messages of which every fiftieth is garbage: 599 readings, and none is gone
        assert sum(each.count for each in store.summaries()) == 599


@pytest.fixture
def ledger(tmp_path):
    server, name = postgres_server.server(), postgres_server.name_for(tmp_path)
    yield server.new_database(name)
    server.drop(name)


@pytest.mark.slow
def test_backup_that_could_not_ask_the_ledger_is_restored_as_what_the_ledger_says_then(
    config, tmp_path, monkeypatch, ledger
):
    """One `up` on InfluxDB and PostgreSQL, saved while PostgreSQL could not be reached."""
    influx = server()
    home, file = tmp_path / "home", tmp_path / "b.tar.zst"
    shared(tmp_path, monkeypatch, influx.url, influx.org, influx.token)
    influx.buckets |= {tmp_path.name, f"{tmp_path.name}_derived"}
    fill(home)
    monkeypatch.setenv("TANYUAN_LEDGER", f"postgresql://tester@127.0.0.1:{free_port()}/away")
    assert saved(home, file)["shared"] is None

    monkeypatch.setenv("TANYUAN_LEDGER", ledger)
    open_ledger(load_settings(home).ledger_url).close()
    shutil.rmtree(home)
    store = restored(home, file)["store"]
    assert (store["rebuilt"], store["messages"]) == (True, 600)


def test_home_is_not_put_back_onto_another_kind_of_store_unasked(config, tmp_path, monkeypatch):
    """The secrets are in no backup, so the settings that name the store may not be there yet."""
    home, file = tmp_path / "home", tmp_path / "b.tar.zst"
    with monkeypatch.context() as before:
        shared(tmp_path, before, f"http://127.0.0.1:{free_port()}")
        fill(home, 150)
        saved(home, file)
    shutil.rmtree(home)

    refused = call(home, "restore", str(file), "--json")

    assert refused.status != 0
    for said in (
        "store is influxdb",
        "tanyuan.toml",
        "TANYUAN_STORE=duckdb",
        "Nothing was changed",
    ):
        assert said in refused.document["detail"]
    assert not (home / "store.duckdb").exists()
    monkeypatch.setenv("TANYUAN_STORE", "duckdb")
    store = restored(home, file)["store"]
    assert (store["rebuilt"], store["kind"], store["messages"]) == (True, "duckdb", 150)


def test_home_that_nobody_can_tell_of_is_put_back_without_touching_the_store(
    config, tmp_path, monkeypatch
):
    home, file = tmp_path / "home", tmp_path / "b.tar.zst"
    shared(tmp_path, monkeypatch, f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("TANYUAN_LEDGER", f"postgresql://tester@127.0.0.1:{free_port()}/away")
    fill(home, 150)
    assert saved(home, file)["shared"] is None
    shutil.rmtree(home)

    store = restored(home, file)["store"]
    assert store["rebuilt"] is False
    assert "rebuild" in store["note"]
