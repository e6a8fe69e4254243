"""Which store the buckets are: a name in both of them, gone when either is deleted and made again.

It is looked at after every write, not before: what was written into a bucket that had just been
made anew is then noticed by the same call, and the projector begins at the journal's beginning.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Final

from metering.store.influx_client import Influx
from metering.store.influx_columns import ask
from metering.store.influx_schema import (
    META,
    SCHEMA_VERSION,
    flux_text,
    line_text,
    stored_name,
)
from metering.store.port import StoreUnavailable

_STORE: Final = "store"
_JOURNAL: Final = "journal"


@dataclass(frozen=True, slots=True)
class Buckets:
    """Where a store is."""

    readings: str
    derived: str
    shard_days: int


@dataclass(frozen=True, slots=True)
class Marks:
    """What one bucket says of itself."""

    stores: frozenset[str]
    journals: frozenset[str]


def read_marks(influx: Influx, bucket: str) -> Marks:
    """The marks in a bucket.

    Raises:
        StoreUnavailable: The bucket is missing, or a newer version made it.
    """
    flux = (
        f"from(bucket: {flux_text(bucket)})\n"
        f"  |> range(start: 1970-01-01T00:00:00Z, stop: 1970-01-01T00:00:01Z)\n"
        f"  |> filter(fn: (r) => r._measurement == {flux_text(META)})\n"
    )
    answer = ask(influx, flux, tags=("kind", "name"), timed=False)
    if len(answer) and (newest := answer.value.max()) > SCHEMA_VERSION:
        raise StoreUnavailable(
            f"A newer Tanyuan made the bucket {bucket} at {influx.url}: schema {newest:.0f}, this "
            f"one knows {SCHEMA_VERSION}. Start the newer one, or give this one other buckets."
        )
    marks = list(zip(answer.tags["kind"], answer.tags["name"], strict=True))
    return Marks(
        frozenset(name for kind, name in marks if kind == _STORE),
        frozenset(name for kind, name in marks if kind == _JOURNAL),
    )


def store_name(raw: Marks, derived: Marks) -> str | None:
    """The name both buckets agree on; the first by name if processes made several at once."""
    return min(raw.stores & derived.stores, default=None)


def open_marks(influx: Influx, buckets: Buckets) -> str:
    """The store's name, after making buckets and name if they are missing."""
    for bucket in (buckets.readings, buckets.derived):
        influx.ensure_bucket(bucket, shard_days=buckets.shard_days)
    return find_or_make_name(influx, buckets)


def find_or_make_name(influx: Influx, buckets: Buckets) -> str:
    """The store's name; a new one where the buckets do not agree on any."""
    places = (buckets.readings, buckets.derived)
    name = store_name(*(read_marks(influx, bucket) for bucket in places))
    if name is None:
        fresh = uuid.uuid4().hex
        for bucket in places:
            influx.write(bucket, [_mark_line(_STORE, fresh)])
        name = store_name(*(read_marks(influx, bucket) for bucket in places))
    if name is None:
        raise StoreUnavailable(
            f"InfluxDB at {influx.url} took the store's name and does not give it back. Do the "
            f"buckets {' and '.join(places)} keep everything (retention infinite)?"
        )
    return name


def mark_journal(influx: Influx, bucket: str, journal: str) -> None:
    """Say that a journal writes here, before it does."""
    influx.write(bucket, [_mark_line(_JOURNAL, journal)])


def _mark_line(kind: str, name: str) -> bytes:
    text = line_text(stored_name(name))
    return b"%b,kind=%b,name=%b version=%d.0 0" % (
        META.encode(),
        kind.encode(),
        text,
        SCHEMA_VERSION,
    )
