"""Processes of our own, and the lines they exchange with us."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parents[2]


class ChildFailed(RuntimeError):
    """A process of a measurement ended without saying what it should."""


def environment(**extra: str) -> dict[str, str]:
    """This environment without what would slow down or steer the program."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name != "PYTHONDONTWRITEBYTECODE" and not name.startswith("TANYUAN_")
    }
    return kept | extra


@dataclass(slots=True)
class Child:
    """A running process that says JSON, a line at a time."""

    process: subprocess.Popen[str]
    name: str

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def hear(self) -> dict[str, Any]:
        """Wait for its next line."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise ChildFailed(f"{self.name} ended with status {self.process.wait(30)}")
        heard: dict[str, Any] = json.loads(line)
        return heard

    def say(self, word: str = "go") -> None:
        """Give it a line."""
        assert self.process.stdin is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()


@contextmanager
def child(module: str, *arguments: object) -> Iterator[Child]:
    """Run a module of this package in a process of its own until the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-m", f"tests.bench.{module}", *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPO,
        env=environment(),
    )
    try:
        yield Child(process, f"{module} {' '.join(map(str, arguments))}")
    finally:
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(OSError):
            process.stdin.close()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait(30)
        process.stdout.close()


@contextmanager
def sending(
    port: int, *, messages: int, meters: int, connections: int, version: int = 5
) -> Iterator[Child]:
    """A sender with its packets encoded, waiting for the word to begin."""
    options = {
        "port": port,
        "version": version,
        "messages": messages,
        "meters": meters,
        "connections": connections,
        "window": 1000,
    }
    arguments = [word for name, value in options.items() for word in (f"--{name}", value)]
    with child("sender", *arguments) as sender:
        sender.hear()
        yield sender


def sent(sender: Child) -> dict[str, Any]:
    """Let a sender begin, and wait until all is acknowledged."""
    sender.say()
    return sender.hear()
