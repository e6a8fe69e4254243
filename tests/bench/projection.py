"""From the journal to committed readings, beside reading the JSON alone."""

from __future__ import annotations

import time
from collections.abc import Callable

import orjson

from ingest.context import Context
from ingest.decoding import decode_batch
from ingest.journal import Journal
from ingest.profiles import load_profiles
from ingest.projector import Projector
from metering.ledger.sql_ledger import open_ledger
from metering.site_files import load_site
from metering.store.duckdb_store import open_duckdb
from tests.bench.durable import filled
from tests.bench.figures import Figure
from tests.bench.messages import REGISTERS, site_yaml
from tests.bench.settings import Scale

_ALONE = "orjson.loads alone over the same payloads"


def projection(scale: Scale) -> list[Figure]:
    """Everything the projector does, and its largest parts by themselves."""
    site = load_site(site_yaml(scale.meters).encode(), file="site.yaml")
    context = Context.of([site], load_profiles())
    journal, _ = filled(scale.work / "projection-journal", scale)
    try:
        return _measured(scale, journal, context)
    finally:
        journal.close()


def _measured(scale: Scale, journal: Journal, context: Context) -> list[Figure]:
    records = journal.read(0, journal.last_sequence, max_bytes=1 << 40)
    count = len(records)
    parsed, parsed_cpu = seconds_of(lambda: [orjson.loads(record.payload) for record in records])
    decoded, _ = seconds_of(lambda: _decode(journal, records, context))
    seconds, used, readings = _project(scale, journal, context)
    if readings != count * len(REGISTERS):
        raise ValueError(f"Wanted {count * len(REGISTERS)} readings in the store, found {readings}")
    rate, alone = count / seconds, count / parsed
    return [
        Figure("journal → decoded → committed in DuckDB", rate, "messages/s", _ALONE, alone),
        Figure("the same in readings", rate * len(REGISTERS), "readings/s"),
        Figure(
            "the same: processor time",
            used / count * 1e6,
            "µs/message",
            _ALONE,
            parsed_cpu / count * 1e6,
            note="two threads of DuckDB included",
        ),
        Figure("decoded into columns, nothing kept", count / decoded, "messages/s", _ALONE, alone),
    ]


def _decode(journal: Journal, records: list, context: Context) -> None:
    for start in range(0, len(records), 20_000):
        decode_batch(records[start : start + 20_000], context, journal=journal.journal_id)


def _project(scale: Scale, journal: Journal, context: Context) -> tuple[float, float, int]:
    """Seconds, processor seconds and readings of projecting all there is."""
    ledger = open_ledger(f"sqlite:///{scale.work / 'projection-ledger.sqlite'}")
    store = open_duckdb(scale.work / "projection.duckdb")
    try:
        projector = Projector(journal, store, ledger, lambda: context)
        seconds, used = seconds_of(lambda: _drain(projector))
        return seconds, used, projector.counts.readings
    finally:
        store.close()
        ledger.close()


def _drain(projector: Projector) -> None:
    while projector.step().messages:
        continue


def seconds_of(work: Callable[[], object]) -> tuple[float, float]:
    """How long something took, and how much processor time. [s]."""
    start, used = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - start, time.process_time() - used
