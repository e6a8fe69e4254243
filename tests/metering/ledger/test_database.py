"""What goes wrong with a database is said in words that help."""

from __future__ import annotations

import gc
import os
import sqlite3
import threading
import time
import warnings
from datetime import UTC, datetime

import pytest
from sqlalchemy import URL, text
from sqlalchemy.exc import IntegrityError

from metering.ledger import database as database_module
from metering.ledger.database import Database, LedgerRefused
from metering.ledger.port import LedgerUnavailable
from metering.ledger.sql_ledger import open_ledger
from metering.periods import Period

NOON = datetime(2023, 6, 14, 12, tzinfo=UTC)


def setting(ledger, pragma: str) -> object:
    with ledger._db.reading() as connection:
        return connection.execute(text(f"PRAGMA {pragma}")).scalar_one()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def ledger(path):
    opened = open_ledger(f"sqlite:///{path}")
    yield opened
    opened.close()


def test_sqlite_writes_ahead_syncs_fully_and_holds_to_foreign_keys(ledger):
    assert setting(ledger, "journal_mode") == "wal"
    assert setting(ledger, "synchronous") == 2  # FULL
    assert setting(ledger, "foreign_keys") == 1
    assert setting(ledger, "busy_timeout") == 10_000


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(LedgerUnavailable, match=r"folder .*/nowhere does not exist: make it, or"):
        open_ledger(f"sqlite:///{tmp_path}/nowhere/ledger.sqlite")


def test_a_folder_in_the_place_of_the_file_is_named(tmp_path):
    with pytest.raises(LedgerUnavailable, match=r"See that .* is a file and that this user may"):
        open_ledger(f"sqlite:///{tmp_path}")


def test_a_database_that_may_only_be_read_is_read_and_says_so_when_written(path, ledger):
    ledger.put("a", "1")
    fixed = open_ledger(f"sqlite:///file:{path}?mode=ro&uri=true")
    kept = fixed.get("a")

    with pytest.raises(
        LedgerUnavailable, match=r"readonly database\. Let this user write the file"
    ):
        fixed.put("a", "2")
    fixed.close()
    assert kept == ledger.get("a") == "1"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write into a read-only folder")
def test_a_folder_that_may_only_be_read_says_so(tmp_path):
    folder = tmp_path / "fixed"
    folder.mkdir(mode=0o500)

    with pytest.raises(LedgerUnavailable, match="this user may write the folder"):
        open_ledger(f"sqlite:///{folder}/ledger.sqlite")


def test_a_file_that_is_no_database_says_so(path):
    path.write_bytes(b"site: {id: park}\n" * 100)

    with pytest.raises(LedgerUnavailable, match=r"not a database\. The file is no SQLite database"):
        open_ledger(f"sqlite:///{path}")


def test_a_database_another_process_holds_says_so_and_works_again_later(path, ledger, monkeypatch):
    monkeypatch.setattr(database_module, "WAIT_S", 0.05)
    hasty = open_ledger(f"sqlite:///{path}")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(LedgerUnavailable, match=r"locked\. Another process has kept it"):
        hasty.put("a", "1")
    assert hasty.get("a") is None  # reading goes on beside a writer
    other.execute("COMMIT")
    other.close()
    hasty.put("a", "1")
    kept = hasty.get("a")
    hasty.close()

    assert kept == "1"


def test_a_new_database_that_is_locked_while_it_is_opened_says_so_in_time(path, monkeypatch):
    monkeypatch.setattr(database_module, "WAIT_S", 0.05)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    began = time.monotonic()

    with pytest.raises(LedgerUnavailable, match=r"locked\. Another process has kept it"):
        open_ledger(f"sqlite:///{path}")
    took = time.monotonic() - began
    other.close()

    assert took < 5


def test_a_full_disk_says_so_and_nothing_of_the_call_is_kept(ledger):
    # the page limit belongs to a connection, and one call after another uses the same one
    pages = setting(ledger, "page_count")
    setting(ledger, f"max_page_count = {pages}")
    span = Period(NOON, NOON)

    with pytest.raises(LedgerUnavailable, match=r"full\. Make room on its disk\."):
        ledger.mark_dirty([(f"E{n}", span) for n in range(5_000)])
    assert ledger.count_dirty() == 0
    setting(ledger, f"max_page_count = {pages + 1_000}")
    ledger.mark_dirty([(f"E{n}", span) for n in range(5_000)])
    assert ledger.count_dirty() == 5_000


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ledger.sqlite", "Wanted an SQLAlchemy URL in TANYUAN_LEDGER"),
        ("postgresql://me:secret@host:five/db", "Wanted an SQLAlchemy URL in TANYUAN_LEDGER"),
        ("mysql://me:secret@host/db", "Wanted sqlite or postgresql in TANYUAN_LEDGER, found mysql"),
        ("postgresql+psycopg2://me:secret@host/db", "found postgresql+psycopg2: other databases"),
        ("postgresql+pg8000://me:secret@host/db", "found postgresql+pg8000: other databases"),
        ("postgresql://me:my@secret@host/db", "two @ before the host: write one that belongs to"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_with_the_remedy(url, words):
    with pytest.raises(LedgerRefused) as caught:
        open_ledger(url)

    assert words in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_fault_of_ours_is_not_called_unavailable(ledger):
    with pytest.raises(IntegrityError), ledger._db.writing() as connection:
        connection.execute(text("INSERT INTO note (name) VALUES ('a')"))


def test_a_url_object_and_an_odd_path_are_taken(tmp_path):
    folder = tmp_path / "园区 100% #1?"
    folder.mkdir()
    ledger = open_ledger(URL.create("sqlite", database=str(folder / "ledger.sqlite")))
    ledger.put("a", "1")
    ledger.close()

    assert (folder / "ledger.sqlite").stat().st_size > 0


def test_a_ledger_in_memory_is_one_for_all_threads():
    ledger = open_ledger("sqlite://")
    threads = [
        threading.Thread(target=ledger.mark_dirty, args=([(f"E{n}", Period(NOON, NOON))],))
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    count = ledger.count_dirty()
    ledger.close()

    assert count == 8


def test_closing_leaves_no_file_open(path):
    ledger = open_ledger(f"sqlite:///{path}")
    threads = [threading.Thread(target=ledger.put, args=(str(n), "")) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ledger.close()

    # the last connection that closes removes the write-ahead log
    assert [entry.name for entry in path.parent.iterdir()] == ["ledger.sqlite"]
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        gc.collect()
    assert [str(w.message) for w in seen if issubclass(w.category, ResourceWarning)] == []


def test_a_refused_opening_leaves_no_file_open(path):
    database = Database(f"sqlite:///{path}")
    database.close()
    with pytest.raises(LedgerRefused):
        open_ledger(f"sqlite:///{path}", migrate=False)

    assert [entry.name for entry in path.parent.iterdir()] == ["ledger.sqlite"]
