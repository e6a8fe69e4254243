"""Copying a store: everything arrives, superseded rows too, whichever two stores they are."""

from datetime import UTC, datetime

import numpy as np
import pytest

import metering.store.copying
from metering.periods import Period
from metering.readings import Flag, Readings
from metering.store.copying import copy_store
from metering.store.indicators import Indicator
from metering.store.memory import MemoryStore
from metering.store.port import Span
from tests.metering.store.conftest import ADAPTERS
from tests.metering.store.test_contract import EVER, hours, minutes, reading, told

PAIRS = [(a, b) for a in sorted(ADAPTERS) for b in sorted(ADAPTERS) if a != b]
MONTH = 31 * 24 * 60


def fill(store):
    """Three months of two meters, a conflict, a repeat, a clock a year behind, and some hours."""
    rows = [
        reading(at, float(at), meter=meter, register=register, seq=seq)
        for seq, at in enumerate(range(0, 3 * MONTH, MONTH // 7))
        for meter in ("park/A", "园区/1")
        for register in ("import", "export")
    ]
    rows += [
        reading(0, 5.0, meter="park/A", seq=100, received=9),
        reading(MONTH // 7, float(MONTH // 7), meter="park/A", seq=101, received=MONTH),
        reading(-365 * 24 * 60, 1.0, meter="park/A", seq=102, flags=Flag.CLOCK),
    ]
    store.add(Readings.of(rows))
    given = hours(("p/1", "import", 0, 1.0), ("p/1", "export", 800, float("nan")))
    store.replace("energy", given, spans=[Span("p/1", EVER)])
    store.replace("emissions", hours(("p/2", "scope2", 1, 2.5)), spans=[Span("p/2", EVER)])


def answers(store):
    return (
        store.read(EVER),
        store.superseded(EVER),
        store.read(EVER, known_by=minutes(10)),
        store.summaries(),
        told(store.series("energy", EVER)),
        told(store.series("emissions", EVER)),
    )


def noted(monkeypatch, store, name):
    """How many rows each call of a store's method answers with, as they come."""
    sizes, asked = [], getattr(store, name)

    def noting(*given, **options):
        found = asked(*given, **options)
        sizes.append(len(found))
        return found

    monkeypatch.setattr(store, name, noting)
    return sizes


def test_of_many_meters_only_some_are_held_at_once(monkeypatch):
    monkeypatch.setattr(metering.store.copying, "HELD", 20)
    first, second = MemoryStore(), MemoryStore()
    fill(first)
    held = noted(monkeypatch, first, "read")
    assert copy_store(first, second).readings == 89
    # a month has 7 or 8 times of 2 registers of each of 2 meters, 28 and more: one meter at once
    assert max(held) <= 20
    monkeypatch.undo()
    assert answers(second) == answers(first)


def test_a_reading_of_1970_hides_no_month_that_is_too_much_to_hold(monkeypatch):
    # spread over the 54 years since, 40 meters with 31 readings of January would seem nothing
    names = [f"park/{n:02d}" for n in range(40)]
    rows = [reading(24 * 60 * d, float(d), meter=name, seq=d) for name in names for d in range(31)]
    long_ago = -54 * 365 * 24 * 60
    rows += [reading(long_ago, 1.0, meter=name, seq=99, flags=Flag.CLOCK) for name in names]
    first, second = MemoryStore(), MemoryStore()
    first.add(Readings.of(rows))
    monkeypatch.setattr(metering.store.copying, "HELD", 100)
    held = noted(monkeypatch, first, "read")

    assert copy_store(first, second).readings == 40 * 32
    assert max(held) == 93  # three meters of 31
    assert second.read(EVER) == first.read(EVER)


def test_indicators_of_a_year_are_never_held_at_once(monkeypatch):
    rows = [
        Indicator(f"park/{n}", "", "meter_age_s", minutes(hour * 60), float(hour))
        for n in range(3)
        for hour in range(24 * 30)
    ]
    far = Indicator("park", "", "event", datetime(2036, 2, 7, tzinfo=UTC), 1.0, "a wrong clock")
    early = Indicator("park", "", "event", datetime(1999, 2, 7, tzinfo=UTC), 1.0, "another")
    first, second = MemoryStore(), MemoryStore()
    first.put_indicators([*rows, far, early])
    monkeypatch.setattr(metering.store.copying, "HELD_INDICATORS", 50)
    held = noted(monkeypatch, first, "indicators")
    monkeypatch.setattr(first, "count_indicators", lambda p: counted(first, p))

    assert copy_store(first, second).indicators == 3 * 24 * 30 + 2
    assert max(held) <= 50
    assert second.indicators(EVER) == sorted([*rows, far, early])


def counted(store, period):
    return sum(period.start <= row.at < period.end for row in store._indicators.values())


@pytest.mark.parametrize("kind", sorted(ADAPTERS))
def test_rows_of_a_period_are_counted_superseded_ones_too(kind, tmp_path):
    store = ADAPTERS[kind].open(tmp_path)
    try:
        assert store.count(EVER) == {}
        assert store.count_indicators(EVER) == 0
        fill(store)
        # 22 times of 2 registers; park/A has one more time, another value and a repeat
        assert store.count(EVER) == {"park/A": 47, "园区/1": 44}
        assert store.count(Period(minutes(0), minutes(1))) == {"park/A": 3, "园区/1": 2}
        before = Period(minutes(-3 * MONTH), minutes(-2 * MONTH))
        assert store.count(before) == {}
        rows = [
            Indicator(subject, about, "power_kw", minutes(at), 1.0, text)
            for subject in ("park", "hill/a")
            for about, text in (("", ""), ("电", "said"))
            for at in (0, 5, 10)
        ]
        store.put_indicators(rows)
        assert store.count_indicators(EVER) == 12
        assert store.count_indicators(Period(minutes(5), minutes(10))) == 4
    finally:
        store.close()


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_copy_answers_as_the_store_it_was_made_from(source, target, tmp_path):
    folders = tmp_path / "from", tmp_path / "to"
    for folder in folders:
        folder.mkdir()
    first, second = ADAPTERS[source].open(folders[0]), ADAPTERS[target].open(folders[1])
    try:
        fill(first)
        expected = answers(first)
        for _ in range(2):
            copied = copy_store(first, second)
            # 22 times of 2 meters and 2 registers, and one a year before; one other value and
            # one repeat; 3 hours
            assert (copied.readings, copied.superseded, copied.hours) == (89, 2, 3)
            assert answers(second) == expected
    finally:
        first.close()
        second.close()


def test_the_progress_of_a_copy_is_told():
    source = MemoryStore()
    fill(source)
    steps = []

    copy_store(source, MemoryStore(), lambda what, copied: steps.append((what, copied.readings)))

    assert steps[0][0].startswith("2024-")
    assert [step for step in steps[-2:]] == [("p/1", 89), ("p/2", 89)]
    assert np.all(np.diff([count for _, count in steps]) >= 0)
