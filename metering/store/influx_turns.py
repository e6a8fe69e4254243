"""Readers and writers of one process take turns where they meet in time.

So a reader sees whole batches. Between processes it sees what the server has of a batch so far.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

Span: TypeAlias = tuple[int, int]
"""low <= time < high."""


class Turns:
    """Who reads and who writes which times."""

    def __init__(self) -> None:
        self._gate = threading.Condition()
        self._writing = threading.Lock()
        self._reads: list[Span] = []
        self._written: Sequence[Span] = ()

    @contextmanager
    def read(self, low: int, high: int) -> Iterator[None]:
        """Keep writers of these times away; wait for the one that is there."""
        span = (low, high)
        with self._gate:
            self._gate.wait_for(lambda: not _meet([span], self._written))
            self._reads.append(span)
        try:
            yield
        finally:
            with self._gate:
                self._reads.remove(span)
                self._gate.notify_all()

    @contextmanager
    def write(self, spans: Sequence[Span]) -> Iterator[None]:
        """One writer at a time; new readers of these times wait, those that are there end first."""
        with self._writing:
            with self._gate:
                self._written = spans
                self._gate.wait_for(lambda: not _meet(self._reads, spans))
            try:
                yield
            finally:
                with self._gate:
                    self._written = ()
                    self._gate.notify_all()


def _meet(some: Sequence[Span], others: Sequence[Span]) -> bool:
    return any(a[0] < b[1] and b[0] < a[1] for a in some for b in others)
