"""Work on the year, each in a process of its own: `python -m tests.bench.year_work`."""

from __future__ import annotations

import argparse
import time
from datetime import date, timedelta
from pathlib import Path

import duckdb

from api.compute import everything
from api.emission_hours import split
from api.services import Services, open_services
from api.settings import Settings
from metering.intervals import roll_up
from metering.periods import Period, edges
from tests.bench import year
from tests.bench.machine import peak_mb, resident_mb
from tests.bench.sender import tell

_HOURS = """
    SELECT meter, register, date_trunc('hour', read_at - INTERVAL 1 microsecond) AS hour,
           sum(advance) AS energy
    FROM (SELECT meter, register, read_at,
                 value - lag(value) OVER (PARTITION BY meter, register ORDER BY read_at) AS advance
          FROM readings)
    GROUP BY ALL
"""
"""The energy of every hour, were there no rollovers, gaps or wrong clocks."""


def bare(store: Path, *, kept: bool) -> None:
    """The bare query; its result into memory, or into a table of the same file."""
    with duckdb.connect(str(store)) as connection:
        connection.execute("SET threads = 2")
        start, used = time.monotonic(), time.process_time()
        if kept:
            connection.execute(f"CREATE TABLE bare_hours AS {_HOURS}")
            connection.execute("CHECKPOINT")
            rows = 0
        else:
            rows = connection.sql(_HOURS).to_arrow_table().num_rows
        found = {"seconds": time.monotonic() - start, "cpu_s": time.process_time() - used}
        tell(found | {"rows": rows, "peak_mb": peak_mb()})


def recompute(home: Path) -> None:
    """Everything marked dirty, worked off; then the monthly totals; then one late reading."""
    with open_services(Settings(home=home)) as services:
        site = services.catalog.site(None)
        before = resident_mb()
        whole = everything(services.store, map(site.meter_key, site.serials))
        services.ledger.mark_dirty(whole)
        start, used = time.monotonic(), time.process_time()
        worked = services.recompute.work_off()
        hours = time.monotonic()
        months = _monthly_totals(services)
        end = time.monotonic()
        found = {
            "hours": worked.hours,
            "hours_s": hours - start,
            "months": months,
            "months_s": end - hours,
            "cpu_s": time.process_time() - used,
            "idle_mb": before,
            "peak_mb": peak_mb(),
        }
        found |= {"late_s": _late_reading(services), "nothing_s": _nothing(services)}
        tell(found)


def _monthly_totals(services: Services) -> int:
    """Energy and emissions of every point and month, with coverage."""
    site, made = services.catalog.site(None), 0
    whole = Period.days(date(year.YEAR, 1, 1), date(year.YEAR + 1, 1, 1), tz=site.timezone)
    marks = edges(whole, "month", tz=site.timezone)
    subjects = [site.point_key(point) for point in site.points_in(None)]
    for start in range(0, len(subjects), 200):
        for kind in ("energy", "emissions"):
            series = services.store.series(kind, whole, subjects=subjects[start : start + 200])
            for hours in split(series).values():
                for each in hours.by_register.values():
                    made += len(roll_up(each, marks, "month").value)
    return made


def _late_reading(services: Services) -> float:
    """One meter and instant in the middle of the year, marked and worked off. [s]."""
    site = services.catalog.site(None)
    middle = Period.days(date(year.YEAR, 7, 1), date(year.YEAR, 7, 2), tz=site.timezone).start
    span = Period(middle, middle + timedelta(minutes=15))
    seconds = []
    for serial in sorted(site.serials)[:5]:
        start = time.monotonic()
        services.ledger.mark_dirty([(site.meter_key(serial), span)])
        services.recompute.work_off()
        seconds.append(time.monotonic() - start)
    return sorted(seconds)[2]


def _nothing(services: Services) -> float:
    """A round in which nothing is dirty. [s]."""
    start = time.monotonic()
    services.recompute.work_off()
    return time.monotonic() - start


def main() -> None:
    """Do one piece of work."""
    parser = argparse.ArgumentParser()
    parser.add_argument("work", choices=("bare", "bare-kept", "recompute", "make"))
    parser.add_argument("place", type=Path)
    parser.add_argument("--meters", type=int)
    asked = parser.parse_args()
    if asked.work == "recompute":
        recompute(asked.place)
    elif asked.work == "make":
        start = time.monotonic()
        home = year.made(asked.place, asked.meters)
        tell({"home": str(home), "seconds": time.monotonic() - start})
    else:
        bare(asked.place, kept=asked.work == "bare-kept")


if __name__ == "__main__":
    main()
