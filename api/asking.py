"""Questions to store and ledger that must not keep health and metrics waiting.

A server that is frozen neither answers nor refuses. Each question has a name; while one of that
name is out, whoever asks the same waits for its answer, and no other is sent after it. Who has
several questions sends all of them first, so that they are waited for together.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as TookTooLong
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from metering.ledger.port import LedgerUnavailable
from metering.store.port import StoreDamaged, StoreUnavailable

WAIT_S = 3.0
"""How long a question may take."""

AT_ONCE = 16
"""Questions that may be out: more than there are names, so that a part that answers waits for none
that does not."""

AWAY = (StoreUnavailable, StoreDamaged, LedgerUnavailable)

T = TypeVar("T")


class Unanswered(RuntimeError):
    """No answer came in time."""


@dataclass(frozen=True, slots=True)
class Sent(Generic[T]):
    """A question that is out."""

    name: str
    answer: Future[T]
    until: float
    """When whoever sent it waits no longer, by the monotonic clock."""
    wait_s: float

    def get(self) -> T:
        """The answer.

        Raises:
            Unanswered: It took too long.
        """
        try:
            return self.answer.result(max(0.0, self.until - time.monotonic()))
        except TookTooLong as error:
            if self.answer.done():
                raise
            raise Unanswered(f"{self.name} did not answer in {self.wait_s:.0f} s.") from error

    def known(self) -> T | None:
        """The answer; None if there is none now."""
        try:
            return self.get()
        except (*AWAY, Unanswered):
            return None

    def came(self) -> bool:
        """Whether there is an answer now, whatever it says."""
        try:
            self.get()
        except (*AWAY, Unanswered):
            return False
        return True


class Bounded:
    """Asks in threads of its own and waits for a bounded time."""

    def __init__(self, *, wait_s: float = WAIT_S) -> None:
        self._wait_s = wait_s
        self._pool = ThreadPoolExecutor(AT_ONCE, "asking")
        self._out: dict[str, Future[Any]] = {}
        self._lock = threading.Lock()

    def send(self, name: str, question: Callable[[], T]) -> Sent[T]:
        """Send a question, unless one of that name is out, and do not wait for its answer."""
        with self._lock:
            before = self._out.get(name)
            under_way = before is not None and not before.done()
            asked: Future[T] = before if under_way and before else self._pool.submit(question)
            self._out[name] = asked
        return Sent(name, asked, time.monotonic() + self._wait_s, self._wait_s)

    def ask(self, name: str, question: Callable[[], T]) -> T:
        """The answer.

        Raises:
            Unanswered: It took too long.
        """
        return self.send(name, question).get()

    def known(self, name: str, question: Callable[[], T]) -> T | None:
        """The answer; None if there is none now."""
        return self.send(name, question).known()
