"""In which shape the tests run the product: embedded, or on InfluxDB 2 and PostgreSQL.

`TANYUAN_TEST_SHAPE=production` gives every home a pair of buckets and a database of its own, on
servers that a worker of the tests starts once. They are dropped after each file of tests.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests import influx_server, postgres_server
from tests.postgres_server import name_for

VARIABLE = "TANYUAN_TEST_SHAPE"

ANSWER_WAIT_S = "60"
"""Here it is tested that answers are right, whatever else the machine does meanwhile; after a
change they cost some ten times the work that they cost on DuckDB."""

_databases: dict[str, str] = {}
"""The URLs of the databases made for homes, by name."""

_given: dict[Path, str] = {}
"""The ledgers of homes that a test chose itself."""


def is_production() -> bool:
    """Whether the product is to run on InfluxDB and PostgreSQL."""
    shape = os.environ.get(VARIABLE) or "embedded"
    assert shape in ("embedded", "production"), f"{VARIABLE} is {shape}"
    return shape == "production"


def settings_of(home: Path) -> dict[str, str]:
    """What the environment says to the product about a home; mostly nothing if embedded."""
    if not is_production():
        given = _given.get(home.absolute())
        return {"TANYUAN_LEDGER": given} if given else {}
    influx = influx_server.server()
    return {
        "TANYUAN_STORE": "influxdb",
        "TANYUAN_INFLUX_BUCKET": name_for(home.absolute()),
        "INFLUXDB_V2_URL": influx.url,
        "INFLUXDB_V2_ORG": influx.org,
        "INFLUXDB_V2_TOKEN": influx.token,
        "TANYUAN_LEDGER": ledger_of(home),
        "TANYUAN_ANSWER_WAIT_S": ANSWER_WAIT_S,
    }


def ledger_of(home: Path) -> str:
    """The URL of a home's ledger."""
    if given := _given.get(home.absolute()):
        return given
    if not is_production():
        return f"sqlite:///{home.absolute() / 'ledger.sqlite'}"
    name = name_for(home.absolute())
    if name not in _databases:
        _databases[name] = postgres_server.server().new_database(name)
    return _databases[name]


def give_ledger(home: Path, url: str) -> None:
    """Let a home have this ledger, in either shape; the test itself takes it away."""
    _given[home.absolute()] = url


def lose_store(home: Path) -> None:
    """Take a home's store away, as a disk does that was not saved."""
    for file in home.glob("store.duckdb*"):
        file.unlink()
    if is_production():
        _drop_buckets(name_for(home.absolute()))


def lose_ledger(home: Path) -> None:
    """Take a home's ledger away."""
    for file in home.glob("ledger.sqlite*"):
        file.unlink()
    if is_production():
        postgres_server.server().new_database(name_for(home.absolute()))


def copy_home(home: Path, to: Path) -> Path:
    """A copy of a home and of its ledger; in the production shape its store begins empty."""
    shutil.copytree(home, to)
    if is_production():
        ledger_of(home)
        name = name_for(to.absolute())
        _databases[name] = postgres_server.server().new_database(
            name, template=name_for(home.absolute())
        )
    return to


def drop_all() -> None:
    """Drop what was made for homes."""
    for name in _databases:
        postgres_server.server().drop(name)
        _drop_buckets(name)
    _databases.clear()
    _given.clear()


def needs_embedded(reason: str) -> pytest.MarkDecorator:
    """A mark of tests about files that the production shape does not have."""
    return pytest.mark.skipif(is_production(), reason=reason)


def _drop_buckets(name: str) -> None:
    for bucket in (name, f"{name}_derived"):
        influx_server.server().drop(bucket)
