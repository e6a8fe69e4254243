"""The adapters that pass the contract. A new one joins by one line in `ADAPTERS`."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from metering.store.duckdb_store import open_duckdb
from metering.store.memory import MemoryStore
from metering.store.port import ReadingStore
from tests.influx_server import open_in


@dataclass(frozen=True)
class Adapter:
    open: Callable[[Path], ReadingStore]
    """Opens the store that belongs to an empty folder, or opens it again."""
    keeps: bool = True
    """Whether what it holds outlives it."""


ADAPTERS = {
    "memory": Adapter(lambda folder: MemoryStore(), keeps=False),
    "duckdb": Adapter(lambda folder: open_duckdb(folder / "store.duckdb", memory_limit_mb=256)),
    "influxdb": Adapter(open_in),
}


@pytest.fixture(params=sorted(ADAPTERS))
def adapter(request) -> Adapter:
    return ADAPTERS[request.param]


@pytest.fixture
def store(adapter, tmp_path):
    opened = adapter.open(tmp_path)
    yield opened
    opened.close()
