"""Recomputing what is dirty gives the same bits as computing everything at once."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.catalog import Catalog
from api.compute import NotOurs, Recompute
from carbon.factor_files import load_registry
from metering.ledger.sql_ledger import open_ledger
from metering.periods import Period
from metering.readings import Flag, Reading, Readings
from metering.series import SHARES
from metering.site_files import load_site
from metering.store.memory import MemoryStore

SITE = load_site(
    b"""
site: {id: park, name: Park, timezone: Asia/Shanghai, region: CN-BJ}
buildings:
  - id: a
    area_m2: 1000
    points:
      - id: a-main
        carrier: electricity
        role: main
        meters:
          - serial: E1
            profile: native
            capacity: 100000
            max_power_kw: 500
            removed: {at: 2023-03-03T04:30:00+08:00, registers: {active_import: 820.0}}
          - serial: E2
            profile: native
            capacity: 100000
            max_power_kw: 500
            installed: {at: 2023-03-03T05:10:00+08:00, registers: {active_import: 7.0}}
      - id: a-heat
        carrier: heat
        role: main
        meter: {serial: H1, profile: native, max_power_kw: 300}
""",
    file="park.yaml",
)
START = datetime(2023, 2, 27, tzinfo=UTC)
REGISTRY = load_registry()
WHOLE = Period(datetime(1960, 1, 1, tzinfo=UTC), datetime(2110, 1, 1, tzinfo=UTC))


WRONG = (datetime(1970, 1, 1, tzinfo=UTC), datetime(2106, 2, 7, tzinfo=UTC))
"""What clocks show that never ran, and the last second of 32 bits."""


class Bench:
    """A store, a ledger and the recomputation over both, with the made-up site."""

    def __init__(self):
        self.store, self.ledger = MemoryStore(), open_ledger("sqlite://")
        self.recompute = Recompute(
            self.store, self.ledger, lambda: {SITE.id: SITE}, lambda: REGISTRY
        )

    def add(self, rows):
        batch = Readings.of(rows)
        self.store.add(batch)
        for meter in {row.meter for row in rows}:
            times = [row.read_at for row in rows if row.meter == meter]
            self.ledger.mark_dirty([(meter, Period(min(times), max(times)))])

    def bits(self):
        """Everything derived, as exact as it is kept, without the order of name tables."""
        found = []
        for kind in ("energy", "emissions"):
            series = self.store.series(kind, WHOLE)
            names = [
                np.array(table)[codes].tolist() if len(codes) else []
                for table, codes in (
                    (series.subjects, series.subject),
                    (series.quantities, series.quantity),
                    (series.sources, series.source),
                )
            ]
            columns = [series.start, series.value, series.flags]
            columns += [getattr(series, share) for share in SHARES]
            found.append((names, [column.tobytes() for column in columns]))
        return found

    def close(self):
        self.ledger.close()


def history(rng, size=120):
    """Uneven readings of three meters: gaps, glitches, repeats, a conflict, wrong clocks."""
    rows = []
    for meter, register, first in (
        ("park/E1", "active_import", START),
        ("park/E2", "active_import", datetime(2023, 3, 2, 22, tzinfo=UTC)),
        ("park/H1", "heat", START),
    ):
        minutes = np.cumsum(rng.choice([15, 15, 15, 30, 60, 600], size))
        values = 100 + np.cumsum(rng.choice([0.0, 1.5, 3.25], size))
        values[rng.integers(0, size, 3)] = rng.choice([0.0, 90_000.0], 3)
        for minute, value in zip(minutes.tolist(), values.tolist(), strict=True):
            read_at = first + timedelta(minutes=minute)
            rows.append(
                Reading(meter, register, read_at, value, Flag.NONE, read_at, "j", len(rows) + 1)
            )
        last = first + timedelta(minutes=int(minutes[-1]))
        for wrong in (*WRONG, last + timedelta(hours=2), first - timedelta(hours=3),
                      first + (last - first) * float(rng.random())):  # fmt: skip
            number, value = len(rows) + 1, float(rng.choice([0.0, 100.0]))
            rows.append(Reading(meter, register, wrong, value, Flag.CLOCK, START, "j", number))
    again = rows[int(rng.integers(0, len(rows)))]
    rows.append(Reading(again.meter, again.register, again.read_at, again.value + 0.5, Flag.NONE, again.received_at, "j", 10_000))  # fmt: skip  # noqa: E501
    return rows


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(7, 60))
def test_any_order_and_batching_gives_the_same_hours_to_the_bit(seed, batch):
    rng = np.random.default_rng(seed)
    rows = history(rng)
    whole, piecewise = Bench(), Bench()
    whole.add(rows)
    whole.recompute.work_off()

    shuffled = [rows[i] for i in rng.permutation(len(rows))]
    for low in range(0, len(shuffled), batch):
        piecewise.add(shuffled[low : low + batch])
        piecewise.recompute.work_off()

    got, wanted = piecewise.bits(), whole.bits()
    whole.close()
    piecewise.close()
    assert got == wanted


def test_readings_in_order_one_by_one_give_the_same_hours_as_all_at_once():
    rows = history(np.random.default_rng(3), size=60)
    whole, live = Bench(), Bench()
    whole.add(rows)
    whole.recompute.work_off()

    for row in sorted(rows, key=lambda row: row.read_at):
        live.add([row])
        live.recompute.work_off()

    got, wanted = live.bits(), whole.bits()
    whole.close()
    live.close()
    assert got == wanted


def test_a_wrong_clock_has_no_hours_made_between_it_and_the_others():
    bench, seen = Bench(), []
    bench.recompute.on_made = lambda _site, windows: seen.extend(windows)
    bench.add(history(np.random.default_rng(5)))
    bench.recompute.work_off()
    bench.close()
    assert {w.register for w in seen} == {"active_import", "heat"}
    assert min(w.hours.start for w in seen) >= START
    assert max(w.hours.end for w in seen) < START + timedelta(days=90)


def test_a_round_that_another_process_took_over_is_dirty_again():
    rows = history(np.random.default_rng(11))
    whole, stale = Bench(), Bench()
    whole.add(rows)
    whole.recompute.work_off()
    stale.add(rows[:200])
    # It leads when it begins and does not when it is done, as after a stop of the whole machine.
    leads = iter([True])
    stale.recompute.still_ours = lambda: next(leads, False)
    with pytest.raises(NotOurs, match="begins nothing more"):
        stale.recompute.work_off()

    # Whoever leads now had cleared what it made; what the other one saved late is made again.
    assert stale.ledger.count_dirty() > 0
    stale.add(rows[200:])
    stale.recompute.still_ours = lambda: True
    stale.recompute.work_off()
    got, wanted = stale.bits(), whole.bits()
    count = stale.ledger.count_dirty()
    whole.close()
    stale.close()
    assert got == wanted
    assert count == 0


def test_what_a_leader_was_at_is_dirty_again_also_when_the_new_one_cleared_it():
    bench = Bench()
    bench.add(history(np.random.default_rng(12)))
    real, replaced = bench.store.replace, []

    def taken_over(kind, series, *, spans):
        real(kind, series, spans=spans)
        if not replaced:
            replaced.append(kind)
            bench.ledger.clear_dirty(bench.ledger.dirty())  # the new leader made all of it
            bench.recompute.still_ours = lambda: False

    bench.store.replace = taken_over
    with pytest.raises(NotOurs):
        bench.recompute.work_off()
    count = bench.ledger.count_dirty()
    bench.close()
    assert count > 0


def test_exchange_conserves_energy_on_both_sides_and_knows_nothing_between():
    bench = Bench()
    at = datetime(2023, 3, 2, 20, tzinfo=UTC)
    # old meter 800 -> 810 (20:00) -> 820 when taken off at 20:30; new one 7 at 21:10 -> 12 at 22:00
    bench.add(
        [
            Reading("park/E1", "active_import", at - timedelta(hours=1), 800.0),
            Reading("park/E1", "active_import", at, 810.0),
            Reading("park/E2", "active_import", at + timedelta(hours=2), 12.0),
        ]
    )
    bench.recompute.work_off()

    hours = bench.store.series("energy", WHOLE, subjects=["park/a-main"])
    bench.close()
    # 19:00 10; 20:00 10 in its first half; 21:00 from 21:10 on, 5; nothing else
    assert hours.value.tolist() == [10.0, 10.0, 5.0]
    assert hours.coverage.tolist() == pytest.approx([1.0, 0.5, 50 / 60])
    assert [bool(f & Flag.EXCHANGE) for f in hours.flags] == [False, True, True]


def test_emissions_are_the_hours_times_the_factor_of_the_sites_year():
    bench = Bench()
    at = datetime(2023, 3, 1, tzinfo=UTC)
    bench.add(
        [
            Reading("park/E1", "active_import", at, 100.0),
            Reading("park/E1", "active_import", at + timedelta(hours=1), 110.0),
        ]
    )
    bench.recompute.work_off()

    found = bench.store.series("emissions", WHOLE)
    bench.close()
    # Beijing 2023: 0.5554 kgCO2/kWh (announcement 2025 no. 47) × 10 kWh
    assert found.start[0] == np.datetime64("2023-03-01T00:00")
    assert found.value[0] == pytest.approx(5.554)
    assert found.quantities == ("scope2.location",)
    assert found.sources[found.source[0]].startswith("electricity.grid.location/CN-BJ/2023@")


def test_nothing_dirty_costs_no_work():
    bench = Bench()

    worked = bench.recompute.work_off()

    bench.close()
    assert (worked.ranges, worked.hours) == (0, 0)


def test_changed_definition_of_a_point_makes_its_hours_again(tmp_path):
    (tmp_path / "site.yaml").write_text(_site(multiplier=1))
    bench = Bench()
    catalog = Catalog(tmp_path, bench.ledger)
    catalog.load(now=START)
    recompute = Recompute(bench.store, bench.ledger, catalog.sites, lambda: REGISTRY)
    at = datetime(2023, 3, 1, tzinfo=UTC)
    catalog.apply(bench.store, REGISTRY)
    bench.add([Reading("p/E", "active_import", at + timedelta(hours=h), 10.0 * h) for h in (1, 2)])
    recompute.work_off()
    before = bench.store.series("energy", WHOLE).value.tolist()

    (tmp_path / "site.yaml").write_text(_site(multiplier=40))
    changed = catalog.load(now=START + timedelta(days=1))
    points = catalog.apply(bench.store, REGISTRY)
    recompute.work_off()

    after = bench.store.series("energy", WHOLE).value.tolist()
    again = catalog.apply(bench.store, REGISTRY)
    old = catalog.known_by(catalog.site(None), date(2023, 2, 27))
    bench.close()
    assert (before, after) == ([10.0], [400.0])
    assert (changed, points, again) == (["p"], 1, 0)
    assert old.point("e").meters[0].multiplier == 1


def _site(*, multiplier):
    return f"""
site: {{id: p, name: P, timezone: UTC}}
points:
  - {{id: e, carrier: electricity, role: main,
      meter: {{serial: E, profile: native, multiplier: {multiplier}}}}}
"""
