"""Who does the tasks of a recomputation: this process, a pool beside it, or a Dask cluster.

Whoever does them, results come back in the order of the tasks and are saved in it. Tasks have no
side effects: one whose worker died is done again, by another.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, CancelledError, Future
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import numpy as np

from api.version import version

if TYPE_CHECKING:
    from concurrent.futures import ProcessPoolExecutor

log = logging.getLogger(__name__)

RUNNING: Final = f"{version()} with NumPy {np.__version__}"
"""What this process runs, as it was when it started: both can move the last bit of a figure."""

MOST_WORKERS = 8
"""More of them wait for the store, which one process reads and writes."""

IDLE_S = 60.0
"""A pool that had nothing to do for so long ends; the next large round starts another."""

ATTEMPTS = 4
"""So often a task is done whose worker died."""

A = TypeVar("A")
B = TypeVar("B")
B_co = TypeVar("B_co", covariant=True)


class ComputeUnavailable(RuntimeError):
    """Those who do the tasks do not answer; nothing was lost, the same tasks come again."""


class WrongVersion(ComputeUnavailable):
    """The process that was to do a task runs another version than the one that asked."""


class Promise(Protocol[B_co]):
    """A result that comes."""

    def result(self) -> B_co:
        """Wait for it.

        Raises:
            ComputeUnavailable: Nobody does the task.
        """


class Executor(Protocol):
    """Does tasks."""

    @property
    def ahead(self) -> int:
        """How many tasks may be under way while the next one is made ready."""

    def submit(self, function: Callable[[A], B], task: A) -> Promise[B]:
        """Begin a task.

        Args:
            function: A function of a module, without side effects.
            task: What it is handed; it must be possible to pickle it.

        Raises:
            ComputeUnavailable: Nobody is there to do it.
        """

    def close(self) -> None:
        """End whatever was started; nothing is begun afterwards."""


class _Done:
    def __init__(self, value: Any) -> None:  # noqa: ANN401 - whatever the task gives
        self._value = value

    def result(self) -> Any:  # noqa: ANN401 - whatever the task gives
        return self._value


class Inline:
    """Does every task at once, in this process."""

    ahead = 0

    def submit(self, function: Callable[[A], B], task: A) -> Promise[B]:
        """Do the task."""
        return _Done(function(task))

    def close(self) -> None:
        """Nothing was started."""


class Pool:
    """A pool of processes that are started when first needed and end when idle.

    Args:
        workers: How many processes.
        idle_s: After how long without a task they end.
    """

    def __init__(self, workers: int, *, idle_s: float = IDLE_S) -> None:
        self.workers, self.ahead, self._idle_s = workers, workers + 1, idle_s
        # A future that is done already calls back while the lock is held.
        self._lock = threading.RLock()
        self._pool: ProcessPoolExecutor | None = None
        self._timer: threading.Timer | None = None
        self._used_at = time.monotonic()
        self._under_way = 0
        self._closed = False

    @property
    def pids(self) -> list[int]:
        """The processes there are."""
        with self._lock:
            return sorted(getattr(self._pool, "_processes", None) or {})

    def submit(self, function: Callable[[A], B], task: A) -> Promise[B]:
        """Begin a task in one of the processes."""
        return _Retried(self, function, task)

    def begin(self, function: Callable[[A], B], task: A) -> tuple[ProcessPoolExecutor, Future[B]]:
        """Hand a task to the pool, which is started if there is none; which pool that is."""
        with self._lock:
            for _ in range(ATTEMPTS):
                pool = self._pool or self._start()
                try:
                    future = pool.submit(checked, RUNNING, function, task)
                except BrokenExecutor as broken:
                    self.drop(pool, broken)
                    continue
                self._under_way += 1
                future.add_done_callback(self._ended)
                return pool, future
        raise ComputeUnavailable(_DYING)

    def drop(self, pool: ProcessPoolExecutor, broken: BaseException) -> None:
        """Let go of a pool one of whose processes died, if that is still the one in use."""
        with self._lock:
            if pool is not self._pool:
                return
            self._pool = None
        log.warning("a worker died, its tasks are done again: %s", broken)
        pool.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        """End the processes; what they have begun is done first, and forgotten."""
        with self._lock:
            pool, self._pool, self._closed = self._pool, None, True
            if self._timer is not None:
                self._timer.cancel()
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)

    def _start(self) -> ProcessPoolExecutor:
        from concurrent.futures import ProcessPoolExecutor
        from multiprocessing import get_context

        if self._closed:
            raise ComputeUnavailable("This process is ending; what is dirty stays so.")
        self._pool = ProcessPoolExecutor(
            self.workers, mp_context=get_context("spawn"), initializer=_begin_worker
        )
        self._used_at = time.monotonic()
        self._watch()
        return self._pool

    def _ended(self, _: Future[Any]) -> None:
        with self._lock:
            self._under_way -= 1
            self._used_at = time.monotonic()

    def _watch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = threading.Timer(self._idle_s / 2, self._end_if_idle)
        self._timer.daemon = True
        self._timer.start()

    def _end_if_idle(self) -> None:
        with self._lock:
            pool = self._pool
            if pool is None:
                return
            if self._under_way or time.monotonic() - self._used_at < self._idle_s:
                self._watch()
                return
            self._pool = None
        pool.shutdown(wait=True)


class _Retried:
    """A task in a pool, done again if its process dies."""

    def __init__(self, pool: Pool, function: Callable[[Any], Any], task: object) -> None:
        self._pool, self._function, self._task = pool, function, task
        self._of, self._future = pool.begin(function, task)

    def result(self) -> Any:  # noqa: ANN401 - whatever the task gives
        for attempt in range(ATTEMPTS):
            try:
                return self._future.result()
            except (BrokenExecutor, CancelledError) as broken:
                self._pool.drop(self._of, broken)
                if attempt + 1 < ATTEMPTS:
                    self._of, self._future = self._pool.begin(self._function, self._task)
        raise ComputeUnavailable(_DYING)


_DYING = (
    f"Workers died {ATTEMPTS} times over one task; what is dirty stays so and is tried again. Look "
    "for what ends them, such as too little memory; with TANYUAN_WORKERS=0 it is made without them."
)


def executor_of(workers: int | None, dask: str | None) -> Executor:
    """Who does the tasks.

    Args:
        workers: Processes of a pool; 0: none. None: one fewer than there are cores, at most 8,
            and none on two cores, where handing over costs more than a second worker gains.
        dask: The scheduler of a cluster, which then does them.
    """
    if dask:
        from api.cluster import Dask

        return Dask(dask)
    if workers is None:
        workers = min(MOST_WORKERS, _cores() - 1) if _cores() > 2 else 0
    return Pool(workers) if workers else Inline()


def _cores() -> int:
    """The processors this process may use."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def checked(asking: str, function: Callable[[A], B], task: A) -> B:
    """In another process: do a task, if what runs here is what runs there."""
    check_version(asking)
    return function(task)


def check_version(asking: str) -> None:
    """Return if whoever asks runs what runs here.

    Raises:
        WrongVersion: It does not.
    """
    if asking != RUNNING:
        raise WrongVersion(
            f"A task of Tanyuan {asking} came to a worker that runs {RUNNING}; what is dirty stays "
            "so. Start the workers with the versions of the installation, from the same image or "
            "constraints file."
        )


def _begin_worker() -> None:
    """In a process of the pool: leave Ctrl-C to the parent, and end when it is gone."""
    from multiprocessing import parent_process

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(0)

    threading.Thread(target=watch, name="watch-parent", daemon=True).start()
