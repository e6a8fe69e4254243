"""The adapters every contract test runs against, each with an empty database."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from sqlalchemy import text

from metering.ledger.database import Database
from metering.ledger.sql_ledger import open_ledger
from metering.ledger.tables import metadata

POSTGRES = "TANYUAN_TEST_POSTGRES_URL"


def new_sqlite(folder: Path) -> str:
    return f"sqlite:///{folder}/ledger.sqlite"


def new_postgres(_folder: Path) -> str:
    """Empty the database named in the environment; never name one that matters."""
    url = os.environ.get(POSTGRES)
    if not url:
        pytest.skip(
            f"PostgreSQL is not tested: set {POSTGRES} to the URL of a database that may be "
            "emptied, such as postgresql+psycopg://tester@127.0.0.1/tanyuan_test"
        )
    database = Database(url)
    with database.writing() as connection:
        metadata.drop_all(connection)
        connection.execute(text("DROP TABLE IF EXISTS alembic_version"))
    database.close()
    return url


NEW = {"postgresql": new_postgres, "sqlite": new_sqlite}


@pytest.fixture(params=sorted(NEW))
def url(request, tmp_path):
    return NEW[request.param](tmp_path)


@pytest.fixture
def ledger(url):
    opened = open_ledger(url)
    yield opened
    opened.close()
