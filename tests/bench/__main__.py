"""`python -m tests.bench [NAME…] [--quick] [--json]`: measures beside references, and prints."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console

from tests.bench import (
    answers,
    doors,
    drain,
    drain_losses,
    durable,
    executors,
    figures,
    machine,
    projection,
    recompute,
    up,
)
from tests.bench.figures import Figure, Section
from tests.bench.line import line
from tests.bench.settings import Scale, scale

MEASUREMENTS: dict[str, tuple[str, Callable[[Scale], list[Figure]]]] = {
    "idle": ("`up` with nothing to do", up.idle),
    "journal": ("Journal: append and sync", durable.journal),
    "listener": ("Listener: QoS 1, twelve registers a message", doors.listener),
    "subscriber": ("Subscriber: a broker's queue into the journal", doors.subscriber),
    "projection": ("Projection: journal to committed readings", projection.projection),
    "line": ("The whole line: MQTT to committed readings", line),
    "drain": ("A queue drained into InfluxDB 2, beside Telegraf", drain.drain),
    "losses": ("What is lost on the way into InfluxDB 2", drain_losses.losses),
    "recompute": ("Full recompute of a year of quarter hours", recompute.recompute),
    "executors": ("The same hours by several processes", executors.executors),
    "latency": ("API latency on that year", answers.latency),
}


def main() -> int:
    """Measure what was asked for; 1 if something could not be measured."""
    asked = _arguments()
    errors = Console(stderr=True, width=_width())
    cache = asked.cache or Path(tempfile.gettempdir()) / "tanyuan-bench"
    cache.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="run-", dir=cache))
    about = machine.describe(work)
    try:
        sizes = scale(quick=asked.quick, cache=cache, work=work)
        sections = list(_measured(asked.names or list(MEASUREMENTS), sizes, errors))
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if asked.json:
        sys.stdout.write(figures.document(about, sections, quick=asked.quick) + "\n")
    else:
        console = Console(width=_width())
        console.print(machine.sentence(about), markup=False, highlight=False)
        if asked.quick:
            console.print("Small sizes: read the ratios, not the figures.", style="dim")
        figures.print_tables(console, sections)
    return 1 if any(section.failure for section in sections) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(MEASUREMENTS))
    parser.add_argument("--quick", action="store_true", help="small sizes, about a minute")
    parser.add_argument("--json", action="store_true", help="one document on stdout")
    parser.add_argument("--cache", type=Path, help="where the made-up year is kept")
    asked = parser.parse_args()
    if unknown := set(asked.names) - set(MEASUREMENTS):
        parser.error(f"no measurement {', '.join(sorted(unknown))}; {', '.join(MEASUREMENTS)}")
    return asked


def _measured(names: list[str], sizes: Scale, errors: Console) -> Iterator[Section]:
    """Measure one after the other; one that fails says why, and the others go on."""
    for name in names:
        title, measure = MEASUREMENTS[name]
        errors.print(f"{name} …", style="dim", highlight=False)
        start = time.monotonic()
        found: list[Figure] = []
        failure = ""
        try:
            found = measure(sizes)
        except Exception as error:  # noqa: BLE001 - the others are measured all the same
            failure = f"{type(error).__name__}: {error}"
            traceback.print_exc()
        yield Section(name, title, tuple(found), time.monotonic() - start, failure)


def _width() -> int | None:
    """Wide where nobody's screen says otherwise, so that a log keeps its tables."""
    return None if sys.stdout.isatty() else 200


if __name__ == "__main__":
    sys.exit(main())
