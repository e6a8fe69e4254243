"""What is peculiar to PostgreSQL: its driver, its limits, and what goes wrong in words."""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from metering.ledger import postgres
from metering.ledger.database import Database, LedgerRefused
from metering.ledger.port import LedgerUnavailable
from metering.ledger.sql_ledger import open_ledger
from tests.metering.ledger.conftest import new_postgres
from tests.postgres_server import PASSWORD, server


@pytest.fixture
def url(tmp_path):
    with new_postgres(tmp_path) as made:
        yield made


def test_the_driver_is_psycopg_3_whichever_way_postgresql_is_written():
    for scheme in ("postgres", "postgresql", "postgresql+psycopg"):
        database = Database(f"{scheme}://me:secret@127.0.0.1:1/tanyuan")
        database.close()
        assert database.shown == "postgresql+psycopg://me:***@127.0.0.1:1/tanyuan"


def test_without_its_driver_it_is_said_how_to_get_it(monkeypatch):
    monkeypatch.delitem(sys.modules, "metering.ledger.postgres")
    monkeypatch.setitem(sys.modules, "psycopg", None)

    with pytest.raises(LedgerRefused, match=r"pip install '\.\[postgresql\]'"):
        open_ledger("postgresql://me:secret@127.0.0.1:1/tanyuan")


@pytest.mark.parametrize("place", ["me:secret@127.0.0.1:1/x", "127.0.0.1:1/x?password=secret"])
def test_a_server_that_is_not_there_is_told_without_the_password(place):
    with pytest.raises(LedgerUnavailable, match="See that the database runs") as caught:
        open_ledger(f"postgresql://{place}")

    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wrong_password_is_told_and_not_shown(url):
    with pytest.raises(LedgerUnavailable, match="Correct the user or the password") as caught:
        open_ledger(url.replace(PASSWORD, "guessed"))

    assert "guessed" not in str(caught.value)


def test_a_database_that_does_not_exist_is_told():
    nowhere = server().url.set(database="nowhere")

    with pytest.raises(LedgerUnavailable, match='database "nowhere" does not exist'):
        open_ledger(nowhere)


def test_a_user_who_may_not_make_tables_is_told_to_become_the_owner(url, tmp_path):
    name = f"guest_{tmp_path.name}"[:60]
    with server().client() as client:
        client.execute(f"CREATE ROLE \"{name}\" LOGIN PASSWORD 'guest'")
    guest = server().url.set(database=url.rpartition("/")[2], username=name, password="guest")

    with pytest.raises(LedgerUnavailable, match=r"permission denied.*owner of the database"):
        open_ledger(guest)
    with server().client() as client:
        client.execute(f'DROP ROLE "{name}"')


def setting(database: Database, name: str) -> object:
    with database.reading() as connection:
        return connection.execute(text(f"SHOW {name}")).scalar_one()


def test_every_connection_has_its_limits_and_what_the_url_says_wins(url):
    usual = Database(url)
    own = Database(f"{url}?options=-c%20statement_timeout%3D3s&application_name=mine")

    assert setting(usual, "lock_timeout") == "10s"
    assert setting(usual, "statement_timeout") == "20s"
    assert setting(usual, "idle_in_transaction_session_timeout") == "1min"
    assert setting(usual, "synchronous_commit") == "on"  # the test server's default is off
    assert setting(usual, "application_name") == "tanyuan"
    assert setting(own, "lock_timeout") == "10s"
    assert setting(own, "statement_timeout") == "3s"
    assert setting(own, "application_name") == "mine"
    usual.close()
    own.close()


def test_a_statement_that_takes_too_long_is_ended_and_the_next_one_answered(url):
    hasty = Database(f"{url}?options=-c%20statement_timeout%3D50ms")

    with (
        pytest.raises(LedgerUnavailable, match=r"statement timeout\. The server is too busy"),
        hasty.reading() as connection,
    ):
        connection.execute(text("SELECT pg_sleep(5)"))
    assert setting(hasty, "statement_timeout") == "50ms"
    hasty.close()


def test_a_row_another_keeps_is_waited_for_only_so_long(url):
    ledger = open_ledger(url)
    hasty = open_ledger(f"{url}?options=-c%20lock_timeout%3D50ms")
    ledger.put("a", "1")
    with ledger._db.writing() as connection:
        connection.execute(text("UPDATE note SET content = '2'"))
        with pytest.raises(LedgerUnavailable, match=r"lock timeout.* Another process has kept it"):
            hasty.put("a", "3")
    hasty.put("b", "4")

    assert (ledger.get("a"), ledger.get("b")) == ("2", "4")
    hasty.close()
    ledger.close()


def test_more_callers_than_connections_take_turns(url):
    database = Database(url)

    def call(_: int) -> int:
        with database.reading() as connection:
            connection.execute(text("SELECT pg_sleep(0.02)"))
            return server().connections(database.url.database)

    with ThreadPoolExecutor(40) as pool:
        seen = list(pool.map(call, range(40)))
    database.close()

    assert max(seen) <= postgres.CONNECTIONS


def test_closing_leaves_no_connection(url):
    ledger = open_ledger(url)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: ledger.put(str(n), ""), range(50)))
    ledger.close()

    name = url.rpartition("/")[2]
    deadline = time.monotonic() + 10
    while server().connections(name) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert server().connections(name) == 0
