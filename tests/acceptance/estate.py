"""The Cambridge estate as registers, and what must come out of them, from the CSV files alone.

Nothing of the product is used here. A meter shows its running total at every full hour; every
meter has its own start, some show 1/40 (a current transformer), some pass their capacity.
"""

from __future__ import annotations

import csv
import gzip
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

LONDON = ZoneInfo("Europe/London")
FIRST = datetime(2018, 1, 1, tzinfo=UTC)
GAS_KGCO2 = 0.18254
"""kgCO2 per kWh of gas, of our own choice. A constant, so that it tells itself from the series."""

REGISTERS = {"electricity": "active_import", "gas": "gas_energy"}

FACTORS = """
factors:
  - key: electricity.grid.location
    unit: kgCO2/kWh
    region: GB
    versions:
      - {series: grid.csv, valid_from: 2018-01-01, valid_until: 2020-01-01,
         published: 2020-01-02, source: eso}
  - key: fuel.natural_gas
    unit: kgCO2/kWh
    region: GB
    versions:
      - {value: 0.18254, valid_from: 2018-01-01, published: 2018-01-01, source: own}
sources:
  eso: {title: Carbon intensity by the hour, publisher: National Grid ESO, edition: 2018 to 2019,
        locator: whole file}
  own: {title: Gas analysis, publisher: The estate, edition: "2018", locator: p. 1}
"""


@dataclass(frozen=True)
class Meter:
    """One meter of the estate."""

    building: str
    carrier: str
    hourly_kwh: np.ndarray
    multiplier: int = 1
    capacity: int | None = None
    start: float = 0.0
    """What the register shows at the first hour, before the multiplier."""

    @property
    def point(self) -> str:
        return f"{self.building}-{self.carrier}"

    @property
    def shown(self) -> np.ndarray:
        """The register at every full hour, to four decimals. Shape (hours + 1,)."""
        total = np.concatenate([[0.0], np.cumsum(self.hourly_kwh)])
        register = self.start + total / self.multiplier
        if self.capacity is not None:
            register = register % self.capacity
        return np.round(register, 4)

    @property
    def rollovers(self) -> np.ndarray:
        """The hours in which the register begins again."""
        return np.flatnonzero(np.diff(self.shown) < 0)


@dataclass(frozen=True)
class Estate:
    """The meters, the grid, and the hours they share."""

    meters: list[Meter]
    grid_kgco2_kwh: np.ndarray

    @property
    def hours(self) -> int:
        return len(self.grid_kgco2_kwh)

    @property
    def end(self) -> datetime:
        return FIRST + timedelta(hours=self.hours)

    def kwh(self, carrier: str) -> np.ndarray:
        """What all meters of a carrier used, by the hour."""
        return np.sum([m.hourly_kwh for m in self.meters if m.carrier == carrier], axis=0)

    def kgco2(self, carrier: str, kwh: np.ndarray) -> np.ndarray:
        return kwh * (self.grid_kgco2_kwh if carrier == "electricity" else GAS_KGCO2)

    def months(self, hourly: np.ndarray) -> dict[str, float]:
        """Sums by the calendar month of London, by hand from each hour's own clock time."""
        found: dict[str, float] = {}
        for number, value in enumerate(hourly.tolist()):
            local = (FIRST + timedelta(hours=number)).astimezone(LONDON)
            found[f"{local:%Y-%m}"] = found.get(f"{local:%Y-%m}", 0.0) + value
        return found

    def site_yaml(self) -> str:
        lines = [
            "site: {id: estate, name: Estate, timezone: Europe/London, region: GB}",
            "buildings:",
        ]
        for building in dict.fromkeys(m.building for m in self.meters):
            lines += [f"  - id: {building}", "    points:"]
            for m in self.meters:
                if m.building == building:
                    capacity = f", capacity: {m.capacity}" if m.capacity else ""
                    lines += [
                        f"      - {{id: {m.point}, carrier: {m.carrier}, role: main,",
                        f"         meter: {{serial: {m.point}, profile: native, max_power_kw: 20000"
                        f", multiplier: {m.multiplier}{capacity}}}}}",
                    ]
        return "\n".join(lines) + "\n"

    def factor_files(self) -> dict[str, str]:
        rows = [
            f"{FIRST + timedelta(hours=n):%Y-%m-%dT%H:%M:%SZ},{value!r}"
            for n, value in enumerate(self.grid_kgco2_kwh.tolist())
        ]
        return {"own.yaml": FACTORS, "grid.csv": "\n".join(["start,value", *rows]) + "\n"}

    def readings(self) -> list[dict[str, Any]]:
        """Every reading of every meter, hour by hour."""
        times = [f"{FIRST + timedelta(hours=n):%Y-%m-%dT%H:%M:%SZ}" for n in range(self.hours + 1)]
        return [
            {"meter": m.point, "at": at, "registers": {REGISTERS[m.carrier]: value}}
            for m in self.meters
            for at, value in zip(times, m.shown.tolist(), strict=True)
        ]


def load_estate(folder: Path, *, hours: int | None = None) -> Estate:
    """The estate, or its first hours."""
    with gzip.open(folder / "meters.csv.gz", "rt", encoding="utf-8") as file:
        header, *lines = csv.reader(file)
    with gzip.open(folder / "grid_carbon.csv.gz", "rt", encoding="utf-8") as file:
        grid = np.array([float(cells[1]) for cells in list(csv.reader(file))[1:]])
    table = np.array([[float(cell) for cell in cells[1:]] for cells in lines])[:hours]
    assert lines[0][0] == "2018-01-01T00:00:00Z"
    assert len(lines) == len(grid)
    meters = [
        _dressed(number, *name.split("_")[:2], table[:, number])
        for number, name in enumerate(header[1:])
    ]
    return Estate(meters, grid[:hours])


def _dressed(number: int, building: str, carrier: str, hourly: np.ndarray) -> Meter:
    """Every third meter behind a transformer of 40; every other one about to pass its capacity."""
    multiplier = 40 if number % 3 == 0 else 1
    capacity = 100_000 if number % 2 == 0 else None
    start = 99_990.0 if capacity else 1000.0 * number
    return Meter(building, carrier, hourly, multiplier, capacity, start)


def disturbed(
    readings: list[dict[str, Any]], *, seed: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Shuffle, repeat 5 % somewhere else, and hold back three bursts of several days.

    Returns:
        What comes first, and what comes after all of it: the bursts, late by far more than a week
        of newer readings, themselves shuffled and with repeats.
    """
    chance = random.Random(seed)
    meters = sorted({r["meter"] for r in readings})
    times = sorted({r["at"] for r in readings})
    held: set[tuple[str, str]] = set()
    for burst in range(3):
        at = chance.randrange(len(times) * 3 // 4)
        span = times[at : at + 24 * (burst + 2)]
        held |= {(m, t) for m in chance.sample(meters, len(meters) // 4) for t in span}
    late = [r for r in readings if (r["meter"], r["at"]) in held]
    prompt = [r for r in readings if (r["meter"], r["at"]) not in held]
    for part in (prompt, late):
        part += chance.sample(part, len(part) // 20)
        chance.shuffle(part)
    return prompt, late
