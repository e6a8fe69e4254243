"""How much is measured: a small version that ends within a minute, and the full one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Sizes of everything that is measured."""

    quick: bool
    cache: Path
    """Where data that take long to make are kept from run to run."""
    work: Path
    """Where everything else is; removed afterwards."""
    messages: int
    """How many are sent to a listener or a broker in one run."""
    repeats: int
    """How often short runs are done; the median counts."""
    connections: int = 8
    meters: int = 1000
    """Meters that publish."""
    year_meters: int
    """Meters that have a year of quarter hours."""
    requests: int
    """Questions of one kind to the API."""


def scale(*, quick: bool, cache: Path, work: Path) -> Scale:
    """The sizes of a quick or a full run."""
    if quick:
        return Scale(
            quick=True,
            cache=cache,
            work=work,
            messages=16_000,
            repeats=1,
            year_meters=50,
            requests=10,
        )
    return Scale(
        quick=False,
        cache=cache,
        work=work,
        messages=300_000,
        repeats=3,
        year_meters=1000,
        requests=100,
    )
