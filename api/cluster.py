"""Tasks on the workers of a Dask cluster.

A task travels as one packed piece of bytes, which the scheduler passes on without a look inside.
Scheduler and workers must have this program installed, in the version of whoever asks.
"""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import zstandard

from api.executors import ATTEMPTS, RUNNING, ComputeUnavailable, Promise, check_version

if TYPE_CHECKING:
    from distributed import Client

PATIENCE_S = 10.0
"""How long a scheduler may take to answer."""

COUNTED_FOR_S = 5.0
"""How long the number of the workers is taken for the same."""

_UNREADABLE = "Error during deserialization"
"""How distributed begins to say that a scheduler has not the modules that a task names."""

A = TypeVar("A")
B = TypeVar("B")


class Dask:
    """Workers of a Dask cluster.

    A worker that dies has its tasks given to others by the scheduler. Where scheduler or workers
    are gone, `ComputeUnavailable` says so, and the next task connects again.

    Args:
        address: Of its scheduler, such as `tcp://scheduler:8786`.
        patience_s: How long it may take to answer.
    """

    def __init__(self, address: str, *, patience_s: float = PATIENCE_S) -> None:
        self._address, self.patience_s = address, patience_s
        self._lock = threading.Lock()
        self._client: Client | None = None
        self._threads, self._counted_at = 0, 0.0

    @property
    def ahead(self) -> int:
        """Two tasks for each thread of the cluster, so that none waits for its next."""
        if time.monotonic() - self._counted_at > COUNTED_FOR_S:
            self.check()
        return 2 * self._threads

    def submit(self, function: Callable[[A], B], task: A) -> Promise[B]:
        """Begin a task; the scheduler gives it to another worker if one dies.

        Raises:
            ComputeUnavailable: There is no scheduler, or no worker.
        """
        client = self._connected()
        data = compressed((function, task))
        try:
            future = client.submit(perform, RUNNING, data, pure=False, retries=ATTEMPTS)
        except (OSError, RuntimeError) as error:  # the client is just being closed
            raise self.away(error) from error
        return _Sent(self, future)

    def check(self) -> None:
        """Return if the scheduler answers and has workers.

        Raises:
            ComputeUnavailable: It does not, or has none.
        """
        client = self._connected()
        try:
            found: dict[str, int] = client.nthreads(callback_timeout=self.patience_s)
        except (OSError, TimeoutError) as error:
            raise self.away(error) from error
        if not found:
            raise ComputeUnavailable(
                f"The Dask scheduler at {self._address} has no workers; what is dirty stays so and "
                "is made once it has. Start them: `dask worker " + self._address + "`."
            )
        self._threads, self._counted_at = sum(found.values()), time.monotonic()

    def close(self) -> None:
        """Let go of the scheduler."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close(timeout=2)

    def away(self, error: BaseException) -> ComputeUnavailable:
        """What is said of a cluster that does not answer."""
        self._counted_at = 0.0
        return ComputeUnavailable(
            f"The Dask cluster at {self._address} does not answer ({type(error).__name__}: "
            f"{error}). Look at its scheduler and workers; what is dirty stays so and is made "
            "once it is back. Without TANYUAN_DASK it is made here."
        )

    def _connected(self) -> Client:
        try:
            from distributed import Client
        except ImportError as error:
            raise ComputeUnavailable(
                "TANYUAN_DASK is set, but distributed is not installed. Install it: "
                "`pip install '.[cluster]'`."
            ) from error
        with self._lock:
            if self._client is not None and self._client.status == "running":
                return self._client
            if self._client is not None:
                self._client.close(timeout=2)
                self._client = None
            try:
                self._client = Client(
                    self._address, timeout=self.patience_s, set_as_default=False, name="tanyuan"
                )
                self._client.wait_for_workers(1, timeout=self.patience_s)
            except (OSError, TimeoutError, ValueError) as error:
                raise self.away(error) from error
            return self._client


class _Sent:
    def __init__(self, cluster: Dask, future: Any) -> None:  # noqa: ANN401 - a Dask future
        self._cluster, self._future = cluster, future

    def result(self) -> Any:  # noqa: ANN401 - whatever the task gives
        from distributed import CancelledError, KilledWorker

        while True:
            try:
                return expanded(self._future.result(timeout=self._cluster.patience_s))
            except TimeoutError:
                self._cluster.check()
            except (CancelledError, KilledWorker, OSError) as error:
                raise self._cluster.away(error) from error
            except (ImportError, RuntimeError) as error:
                if isinstance(error, RuntimeError) and not str(error).startswith(_UNREADABLE):
                    raise
                raise ComputeUnavailable(
                    f"The Dask cluster cannot take a task of Tanyuan {RUNNING} ({error}). Install "
                    "that on its scheduler and workers; what is dirty stays so."
                ) from error


def perform(asking: str, data: bytes) -> bytes:
    """On a worker: do a task.

    Raises:
        WrongVersion: Another version asked.
    """
    check_version(asking)
    function, task = expanded(data)
    return compressed(function(task))


def compressed(value: object) -> bytes:
    """A value as it travels to a worker and back."""
    return zstandard.ZstdCompressor(level=1).compress(pickle.dumps(value, protocol=5))


def expanded(data: bytes) -> Any:  # noqa: ANN401 - whatever was packed
    """The value again."""
    return pickle.loads(zstandard.ZstdDecompressor().decompress(data))
