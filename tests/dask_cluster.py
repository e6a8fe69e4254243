"""A Dask scheduler and its workers on this machine, as processes of their own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

_ONE_THREAD = (
    "--nthreads=1",
    "--no-nanny",
    "--host=127.0.0.1",
    "--memory-limit=0",
    "--death-timeout=60",
)


class Cluster:
    """Processes started with Dask's command line; killed and started again by tests.

    Args:
        workers: How many, each with one thread.
        program: A folder whose modules are found before those of this repository.
    """

    def __init__(self, workers: int = 2, *, program: str | None = None):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self.port}"
        self._environment = os.environ | ({"PYTHONPATH": program} if program else {})
        self._folder = program
        self._wanted = workers
        self.scheduler: subprocess.Popen | None = None
        self.workers: list[subprocess.Popen] = []
        self.make_whole()

    def make_whole(self) -> None:
        """Start what is not there, and wait until the scheduler listens."""
        if self.scheduler is None or self.scheduler.poll() is not None:
            self.scheduler = self._start(
                "scheduler", "--host", "127.0.0.1", "--port", str(self.port)
            )
        self.workers = [worker for worker in self.workers if worker.poll() is None]
        while len(self.workers) < self._wanted:
            self.workers.append(self._start("worker", self.address, *_ONE_THREAD))
        self._wait_for_the_port()

    def kill(self, process: subprocess.Popen) -> None:
        """End one at once, as a power cut would."""
        process.send_signal(signal.SIGKILL)
        process.wait()

    def end(self) -> None:
        """End all."""
        for process in (*self.workers, self.scheduler):
            if process is not None:
                self.kill(process)

    def _start(self, part: str, *options: str) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-m", "dask", part, *options, "--no-dashboard"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=self._environment,
            cwd=self._folder,
        )

    def _wait_for_the_port(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise TimeoutError("the scheduler does not listen")


@contextmanager
def running(workers: int = 2, *, program: str | None = None) -> Iterator[Cluster]:
    """A cluster until the block ends."""
    cluster = Cluster(workers, program=program)
    try:
        yield cluster
    finally:
        cluster.end()
