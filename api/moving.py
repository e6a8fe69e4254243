"""`store copy`: takes everything from one kind of store into another, so that a home can change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack

from api.answers import Document
from api.catalog import APPLIED
from api.home import Home, HomeBusy
from api.journals import registered
from api.leases import alone, lease_names
from api.services import open_store
from api.settings import Settings, SettingsError
from ingest.journal import Journal
from metering.ledger.port import Ledger
from metering.ledger.sql_ledger import open_ledger
from metering.store.copying import Copied, copy_store
from metering.store.port import ReadingStore

KINDS = ("duckdb", "influxdb")


def copy_between(
    settings: Settings, source: str, target: str, *, say: Callable[[str], None]
) -> Document:
    """Copy the store of a home into another kind of store, and where the journals stand in it.

    Args:
        settings: Of the home; those of InfluxDB must be there whichever store it uses.
        source: `duckdb` or `influxdb`.
        target: The other one. What it has stays; copying again changes nothing.
        say: Is told how far it is.

    Raises:
        SettingsError: The kinds are the same, or what it takes to reach InfluxDB is not set.
        HomeBusy: A running process owns the home, or works on the store.
        StoreUnavailable: One of them did not answer; copy again.
    """
    if source == target:
        raise SettingsError(f"Wanted two kinds of store, found {source} twice.")
    if not (settings.influx_org and settings.influx_token):
        raise SettingsError(
            "INFLUXDB_V2_ORG or INFLUXDB_V2_TOKEN is not set. Set both, and INFLUXDB_V2_URL "
            "unless the server is at http://127.0.0.1:8086."
        )
    home = Home(settings.home, settings.config)
    home.check()
    running = home.running()
    if running is not None:
        raise HomeBusy(
            f"The home {home.path} is in use by process {running.pid}. Stop it, then copy."
        )
    if source == "duckdb" and not home.store.exists():
        raise SettingsError(f"Wanted a store to copy at {home.store}, found none.")
    with ExitStack() as stack:
        stack.enter_context(home.owned())
        ledger = open_ledger(settings.ledger_url)
        stack.callback(ledger.close)
        check = stack.enter_context(alone(ledger, lease_names(registered(ledger)), "copy"))
        first, second = (_opened(settings, home, kind, stack) for kind in (source, target))
        positions = _positions(home, ledger, first)

        def told(what: str, done: Copied) -> None:
            check()
            say(_progress(what, done))

        copied = copy_store(first, second, told)
        journals = _carry_on(ledger, positions, first, second)
        return {
            "from": source,
            "to": target,
            "readings": copied.readings,
            "superseded": copied.superseded,
            "hours": copied.hours,
            "indicators": copied.indicators,
            "journals": journals,
            "next": f"Set TANYUAN_STORE={target}; the other store stays as it is.",
        }


def _opened(settings: Settings, home: Home, kind: str, stack: ExitStack) -> ReadingStore:
    store = open_store(settings.model_copy(update={"store": kind}), home)
    stack.callback(store.close)
    return store


def _progress(what: str, done: Copied) -> str:
    return (
        f"{what}: {done.readings} readings, {done.superseded} superseded, "
        f"{done.hours} hours, {done.indicators} indicators"
    )


def _positions(home: Home, ledger: Ledger, source: ReadingStore) -> dict[str, int]:
    """Up to where each journal is in a store, before it is read: at least so much is copied."""
    names = set(registered(ledger))
    if home.journal.is_dir():
        names.add(Journal.open_read_only(home.journal).journal_id)
    return {
        journal: ledger.position(store_id=source.store_id, journal=journal)
        for journal in sorted(names)
    }


def _carry_on(
    ledger: Ledger, positions: Mapping[str, int], source: ReadingStore, target: ReadingStore
) -> list[Document]:
    """Let the target go on where the source was, and not at the beginning of every journal."""
    found: list[Document] = []
    for journal, at in positions.items():
        there = ledger.position(store_id=target.store_id, journal=journal)
        ledger.save_position(max(at, there), store_id=target.store_id, journal=journal)
        found.append({"journal": journal, "sequence": max(at, there)})
    for note in (APPLIED, "indicators"):
        text = ledger.get(f"{note}.{source.store_id}")
        if text is not None:
            ledger.put(f"{note}.{target.store_id}", text)
    return found
