"""How a process is told to stop or to read its files again."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from api.problems import problem_of

log = logging.getLogger(__name__)

_TURN_S = 0.5


def wait_for(stop: threading.Event) -> None:
    """Wait for a signal to set an event.

    In turns, because the kernel may hand a signal to another thread (after SIGCONT, or while an
    earlier one is pending), which does not wake this one, and only this one runs handlers.
    """
    while not stop.wait(_TURN_S):
        pass


@contextmanager
def stop_signals(stop: threading.Event, reload: Callable[[], list[str]]) -> Iterator[None]:
    """Stop on SIGTERM and SIGINT, reload on SIGHUP, as long as we are inside.

    Args:
        stop: Set by the first two.
        reload: Reads site and factor files again and returns the sites that changed.
    """

    def read_again() -> None:
        try:
            log.info("reloaded; new site versions: %s", ", ".join(reload()) or "none")
        except Exception as error:
            log.exception("not reloaded, what was loaded stays: %s", problem_of(error)["detail"])

    handlers = {
        signal.SIGTERM: lambda *_: stop.set(),
        signal.SIGINT: lambda *_: stop.set(),
        signal.SIGHUP: lambda *_: threading.Thread(target=read_again, name="reload").start(),
    }
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
