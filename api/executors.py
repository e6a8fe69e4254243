"""Who does the tasks of a recomputation: this process, a pool beside it, or a Dask cluster.

Whoever does them, results come back in the order of the tasks and are saved in it.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

if TYPE_CHECKING:
    from distributed import Client

log = logging.getLogger(__name__)

IDLE_S = 60.0
"""A pool that had nothing to do for so long ends; the next large round starts another."""

ATTEMPTS = 4
"""So often a task is done again whose worker died."""

_DYING = (
    f"Workers died {ATTEMPTS} times over one task. Look for what ends them, such as too little "
    "memory; set TANYUAN_WORKERS=0 to do without them."
)

A = TypeVar("A")
B = TypeVar("B")
B_co = TypeVar("B_co", covariant=True)


class ComputeUnavailable(RuntimeError):
    """Those who do the tasks do not answer; nothing was lost, the same tasks come again."""


class Promise(Protocol[B_co]):
    """A result that comes."""

    def result(self) -> B_co:
        """Wait for it."""


class Executor(Protocol):
    """Does tasks."""

    @property
    def width(self) -> int:
        """How many tasks it does at once."""

    def submit(self, function: Callable[[A], B], task: A) -> Promise[B]:
        """Begin a task.

        Args:
            function: A function of a module, without side effects.
            task: What it is handed; it must be possible to pickle it.
        """

    def close(self) -> None:
        """End whatever was started."""


class _Done:
    def __init__(self, value: Any) -> None:  # noqa: ANN401 - whatever the task gives
        self._value = value

    def result(self) -> Any:  # noqa: ANN401 - whatever the task gives
        return self._value


class Inline:
    """Does every task at once, in this process."""

    width = 1

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
        self.width, self._idle_s = workers, idle_s
        self._lock = threading.Lock()
        self._pool: ProcessPoolExecutor | None = None
        self._timer: threading.Timer | None = None
        self._used_at = time.monotonic()
        self._out = self._number = 0

    @property
    def pids(self) -> list[int]:
        """The processes there are."""
        with self._lock:
            return sorted(getattr(self._pool, "_processes", None) or {})

    def submit(self, function: Callable[[A], B], task: A) -> Promise[B]:
        """Begin a task in one of the processes."""
        with self._lock:
            self._out += 1
        return _Retried(self, function, task)

    def begin(self, function: Callable[[A], B], task: A) -> tuple[int, Future[B]]:
        """Hand a task to the pool, which is started if there is none; which pool that is."""
        with self._lock:
            for _ in range(ATTEMPTS):
                if self._pool is None:
                    self._start()
                pool = cast(ProcessPoolExecutor, self._pool)
                try:
                    return self._number, pool.submit(function, task)
                except BrokenProcessPool:
                    self._pool = None
                    pool.shutdown(wait=False, cancel_futures=True)
        raise ComputeUnavailable(_DYING)

    def _start(self) -> None:
        self._number += 1
        self._pool = ProcessPoolExecutor(
            self.width,
            mp_context=get_context("spawn"),
            initializer=_begin_worker,
            initargs=(os.getpid(),),
        )
        self._watch()

    def ended(self) -> None:
        """A task has come back, one way or the other."""
        with self._lock:
            self._out -= 1
            self._used_at = time.monotonic()

    def renew(self, number: int, broken: BaseException) -> None:
        """Let go of a pool one of whose processes died, if that is still the one in use."""
        with self._lock:
            if number != self._number:
                return
            pool, self._pool = self._pool, None
        if pool is not None:
            log.warning("a worker died, its tasks are done again: %s", broken)
            pool.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        """End the processes."""
        with self._lock:
            pool, self._pool = self._pool, None
            if self._timer is not None:
                self._timer.cancel()
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)

    def _watch(self) -> None:
        self._timer = threading.Timer(self._idle_s / 2, self._end_if_idle)
        self._timer.daemon = True
        self._timer.start()

    def _end_if_idle(self) -> None:
        with self._lock:
            if self._pool is None:
                return
            if self._out or time.monotonic() - self._used_at < self._idle_s:
                self._watch()
                return
            pool, self._pool = self._pool, None
        pool.shutdown(wait=True)


class _Retried:
    """A task in a pool, done again if its process dies: it has no side effects."""

    def __init__(self, pool: Pool, function: Callable[[Any], Any], task: object) -> None:
        self._pool, self._function, self._task = pool, function, task
        self._number, self._future = pool.begin(function, task)

    def result(self) -> Any:  # noqa: ANN401 - whatever the task gives
        try:
            for _ in range(ATTEMPTS):
                try:
                    return self._future.result()
                except (BrokenProcessPool, CancelledError) as broken:
                    self._pool.renew(self._number, broken)
                    self._number, self._future = self._pool.begin(self._function, self._task)
        finally:
            self._pool.ended()
        raise ComputeUnavailable(_DYING)


class Dask:
    """Workers of a Dask cluster.

    Args:
        address: Of its scheduler, such as `tcp://scheduler:8786`.
        timeout_s: How long the scheduler may take to answer.
    """

    def __init__(self, address: str, *, timeout_s: float = 10.0) -> None:
        self._address, self._timeout_s = address, timeout_s
        self._lock = threading.Lock()
        self._client: Client | None = None

    @property
    def width(self) -> int:
        """Two tasks for each thread of the cluster, so that none waits for its next."""
        threads: dict[str, int] = self._connected().nthreads()
        return max(2, 2 * sum(threads.values()))

    def submit(self, function: Callable[[A], B], task: A) -> Promise[B]:
        """Begin a task; the scheduler gives it to another worker if one dies.

        Raises:
            ComputeUnavailable: There is no scheduler.
        """
        client = self._connected()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sending large graph")
            return _OfCluster(self, client.submit(function, task, pure=False, retries=ATTEMPTS))

    def close(self) -> None:
        """Let go of the scheduler."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close(timeout=2)

    def away(self, error: BaseException) -> ComputeUnavailable:
        """What is said of a cluster that does not answer."""
        return ComputeUnavailable(
            f"The Dask cluster at {self._address} does not answer ({type(error).__name__}: "
            f"{error}). Look at its scheduler and workers; what is dirty stays so and is made "
            "once it is back. Without TANYUAN_DASK it is made here."
        )

    def _connected(self) -> Client:
        from distributed import Client

        with self._lock:
            if self._client is not None and self._client.status == "running":
                return self._client
            if self._client is not None:
                self._client.close(timeout=2)
                self._client = None
            try:
                self._client = Client(
                    self._address, timeout=self._timeout_s, set_as_default=False, name="tanyuan"
                )
                self._client.wait_for_workers(1, timeout=self._timeout_s)
            except (OSError, TimeoutError) as error:
                raise self.away(error) from error
            return self._client


class _OfCluster:
    def __init__(self, cluster: Dask, future: Any) -> None:  # noqa: ANN401 - a Dask future
        self._cluster, self._future = cluster, future

    def result(self) -> Any:  # noqa: ANN401 - whatever the task gives
        from distributed import CancelledError as Cancelled
        from distributed import KilledWorker
        from distributed.comm.core import CommClosedError

        try:
            return self._future.result()
        except (Cancelled, KilledWorker, CommClosedError, OSError, TimeoutError) as error:
            raise self._cluster.away(error) from error


def executor_of(workers: int | None, dask: str | None) -> Executor:
    """Who does the tasks.

    Args:
        workers: Processes of a pool; 0: none, None: one fewer than there are cores, at most 8.
        dask: The scheduler of a cluster, which then does them.
    """
    if dask:
        return Dask(dask)
    if workers is None:
        workers = max(1, min(8, (os.cpu_count() or 2) - 1))
    return Pool(workers) if workers else Inline()


def _begin_worker(parent: int) -> None:
    """In a process of the pool: leave Ctrl-C to the parent, and end when it is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(0)

    threading.Thread(target=watch, name="watch-parent", daemon=True).start()
