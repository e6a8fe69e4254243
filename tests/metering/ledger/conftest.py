"""The adapters every contract test runs against, each with an empty database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from metering.ledger.sql_ledger import open_ledger
from tests import postgres_server


@contextmanager
def new_sqlite(folder: Path) -> Iterator[str]:
    yield f"sqlite:///{folder}/ledger.sqlite"


@contextmanager
def new_postgres(folder: Path) -> Iterator[str]:
    server, name = postgres_server.server(), postgres_server.name_for(folder)
    yield server.new_database(name)
    server.drop(name)


NEW = {"postgresql": new_postgres, "sqlite": new_sqlite}


@pytest.fixture(params=sorted(NEW))
def url(request, tmp_path):
    with NEW[request.param](tmp_path) as made:
        yield made


@pytest.fixture
def ledger(url):
    opened = open_ledger(url)
    yield opened
    opened.close()
