"""Questions to store and ledger that must not keep health and metrics waiting.

A server that is frozen neither answers nor refuses. Each question has a name; while one of that
name is out, whoever asks the same waits for its answer, and no other is sent after it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as TookTooLong
from typing import Any, TypeVar

from metering.ledger.port import LedgerUnavailable
from metering.store.port import StoreDamaged, StoreUnavailable

WAIT_S = 3.0
"""How long a question may take."""

AWAY = (StoreUnavailable, StoreDamaged, LedgerUnavailable)

T = TypeVar("T")


class Unanswered(RuntimeError):
    """No answer came in time."""


class Bounded:
    """Asks in threads of its own and waits for a bounded time."""

    def __init__(self, *, wait_s: float = WAIT_S) -> None:
        self._wait_s = wait_s
        self._pool = ThreadPoolExecutor(8, "asking")
        self._out: dict[str, Future[Any]] = {}
        self._lock = threading.Lock()

    def ask(self, name: str, question: Callable[[], T]) -> T:
        """The answer.

        Raises:
            Unanswered: It took too long.
        """
        with self._lock:
            before = self._out.get(name)
            under_way = before is not None and not before.done()
            asked: Future[T] = before if under_way and before else self._pool.submit(question)
            self._out[name] = asked
        try:
            return asked.result(self._wait_s)
        except TookTooLong as error:
            if asked.done():
                raise
            raise Unanswered(f"{name} did not answer in {self._wait_s:.0f} s.") from error

    def known(self, name: str, question: Callable[[], T]) -> T | None:
        """The answer; None if there is none now."""
        try:
            return self.ask(name, question)
        except (*AWAY, Unanswered):
            return None
