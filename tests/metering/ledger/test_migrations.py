"""The schema goes forward and back, equals the tables, and a newer one is refused."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from metering.ledger import schema
from metering.ledger.database import Database, LedgerRefused
from metering.ledger.port import LedgerUnavailable
from metering.ledger.sql_ledger import open_ledger
from metering.ledger.tables import metadata

ROOT = Path(__file__).parents[3]


@pytest.fixture
def database(url):
    opened = Database(url)
    yield opened
    opened.close()


def differences(database) -> list[object]:
    with database.reading() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        return list(compare_metadata(context, metadata))


def tables(database) -> set[str]:
    with database.reading() as connection:
        return set(inspect(connection).get_table_names()) - {"alembic_version"}


def run(database, what, revision) -> None:
    with database.writing() as connection:
        what(schema.alembic_config(connection), revision)


def stamp(database, revision: str) -> None:
    with database.writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :r"), {"r": revision})


def test_an_empty_database_goes_to_the_newest_schema_back_to_nothing_and_forward_again(database):
    assert tables(database) == set()
    schema.migrate(database)
    assert tables(database) == set(metadata.tables)
    run(database, command.downgrade, "base")
    assert tables(database) == set()
    schema.migrate(database)
    assert tables(database) == set(metadata.tables)


def test_the_migrations_make_the_tables_the_code_uses(database):
    assert len(differences(database)) >= len(metadata.tables)  # the comparison does look

    schema.migrate(database)

    assert differences(database) == []


def test_the_revisions_are_one_line_and_their_files_are_numbered_in_its_order():
    line = list(ScriptDirectory(str(schema.MIGRATIONS)).walk_revisions())

    assert schema.revisions() == tuple(script.revision for script in line)
    assert [int(name[1:]) for name in schema.revisions()] == list(range(len(line), 0, -1))


def test_opening_again_keeps_what_is_there(url):
    for value in ("1", "2"):
        ledger = open_ledger(url)
        ledger.put(value, value)
        ledger.close()

    ledger = open_ledger(url)
    kept = ledger.get("1"), ledger.get("2")
    ledger.close()
    assert kept == ("1", "2")


def test_a_schema_newer_than_the_program_is_refused_and_left_alone(url, database):
    open_ledger(url).close()
    stamp(database, "r9999")

    with pytest.raises(LedgerRefused, match=r"at schema r9999, made by a newer Tanyuan.*Install"):
        open_ledger(url)
    with pytest.raises(LedgerRefused, match="r9999"):
        open_ledger(url, migrate=False)
    assert tables(database) == set(metadata.tables)


def test_without_migration_an_empty_database_is_refused_and_stays_empty(url, database):
    with pytest.raises(LedgerRefused, match=r"is at schema none, this program needs r\d+: open it"):
        open_ledger(url, migrate=False)

    assert tables(database) == set()


def test_check_notices_that_the_schema_went_away(url, database):
    ledger = open_ledger(url)
    ledger.check()
    run(database, command.downgrade, "base")

    with pytest.raises(LedgerUnavailable, match="is at schema none"):
        ledger.check()
    ledger.close()


def test_a_migration_that_fails_leaves_the_database_as_it_was(url, database):
    with database.writing() as connection:
        connection.execute(text("CREATE TABLE note (mine INTEGER)"))

    with pytest.raises(Exception, match="already exists"):
        open_ledger(url)

    assert tables(database) == {"note"}
    with database.writing() as connection:
        connection.execute(text("DROP TABLE note"))


def test_threads_that_open_an_empty_database_at_once_all_get_a_ledger(url):
    with ThreadPoolExecutor(8) as pool:
        ledgers = list(pool.map(lambda _: open_ledger(url), range(8)))
    for number, ledger in enumerate(ledgers):
        ledger.put(str(number), "here")
    kept = [ledgers[0].get(str(number)) for number in range(8)]
    for ledger in ledgers:
        ledger.close()

    assert kept == ["here"] * 8


OPEN = """
import pathlib, sys, time
from metering.ledger.sql_ledger import open_ledger
url, name, gate = sys.argv[1:]
print("ready", flush=True)
while not pathlib.Path(gate).exists():
    time.sleep(0.001)
ledger = open_ledger(url)
ledger.put(name, "here")
ledger.close()
"""


def test_processes_that_open_an_empty_database_at_once_all_succeed(url, tmp_path):
    gate = tmp_path / "gate"
    started = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", OPEN, url, str(number), str(gate)],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for number in range(3)
    ]  # fmt: skip
    for process in started:
        assert process.stdout.readline() == "ready\n"
    gate.touch()
    errors = [process.communicate(timeout=60)[1] for process in started]

    assert errors == [""] * 3
    ledger = open_ledger(url)
    kept = [ledger.get(str(number)) for number in range(3)]
    ledger.close()
    assert kept == ["here"] * 3


IMPORTED = """
import sys
from metering.ledger.sql_ledger import open_ledger
open_ledger(sys.argv[1]).close()
sys.exit("alembic" in sys.modules)
"""


def test_opening_a_database_at_the_newest_schema_does_not_load_alembic(url):
    open_ledger(url).close()

    subprocess.run([sys.executable, "-c", IMPORTED, url], cwd=ROOT, check=True, timeout=60)
