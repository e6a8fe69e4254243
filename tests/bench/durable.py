"""The journal beside a bare loop that writes and syncs the same bytes."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ingest.journal import Journal, Message
from ingest.journal_records import Encoder
from tests.bench.figures import Figure
from tests.bench.messages import mixed
from tests.bench.settings import Scale

T = TypeVar("T")

_BATCH = 1000
_MOST = 100_000


@dataclass(frozen=True, slots=True)
class Writes:
    """How fast a disk took messages."""

    per_s: float
    batch_ms: float
    """The median batch."""
    cpu_us: float
    """Processor time of a message."""


def batches(scale: Scale, batch: int) -> list[list[Message]]:
    """The messages of a run as the listener hands them over."""
    count = min(scale.messages, _MOST)
    rows = mixed(count, meters=scale.meters, connections=scale.connections)
    made = [
        Message(1_704_067_200_000_000 + number, topic, payload, "listener", "bench")
        for number, (topic, payload) in enumerate(rows)
    ]
    return [made[start : start + batch] for start in range(0, len(made), batch)]


def timed(work: Iterable[T], write: Callable[[T], object], *, batch: int) -> Writes:
    """Hand over one batch after the other."""
    seconds = []
    used = time.process_time()
    for each in work:
        start = time.perf_counter()
        write(each)
        seconds.append(time.perf_counter() - start)
    used = time.process_time() - used
    count = batch * len(seconds)
    return Writes(count / sum(seconds), statistics.median(seconds) * 1e3, used / count * 1e6)


def durable_writes(scale: Scale, *, batch: int) -> Writes:
    """Write and sync the journal's bytes of every batch, with nothing else."""
    encoder = Encoder()
    rows = [bytes(encoder.encode(each, first=1)) for each in batches(scale, batch)]
    path = scale.work / "bare.bin"
    handle = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)

    def write(row: bytes) -> None:
        os.write(handle, row)
        os.fdatasync(handle)

    try:
        return timed(rows, write, batch=batch)
    finally:
        os.close(handle)
        path.unlink()


def filled(folder: Path, scale: Scale) -> tuple[Journal, Writes]:
    """A journal with the messages of a run, and how fast it took them."""
    work = batches(scale, _BATCH)
    journal = Journal(folder)
    return journal, timed(work, journal.append, batch=_BATCH)


def journal(scale: Scale) -> list[Figure]:
    """Appending batches of 1,000 messages, synced."""
    bare = durable_writes(scale, batch=_BATCH)
    it, ours = filled(scale.work / "journal", scale)
    it.close()
    name = "os.write + os.fdatasync of the same bytes"
    return [
        Figure("append, batches of 1,000", ours.per_s, "messages/s", name, bare.per_s),
        Figure("append, the median batch", ours.batch_ms, "ms", name, bare.batch_ms),
        Figure("append: processor time", ours.cpu_us, "µs/message", name, bare.cpu_us),
    ]
