"""Copying a store: everything arrives, superseded rows too, whichever two stores they are."""

import numpy as np
import pytest

import metering.store.copying
from metering.readings import Flag, Readings
from metering.store.copying import copy_store
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


def test_of_many_meters_only_some_are_held_at_once(monkeypatch):
    monkeypatch.setattr(metering.store.copying, "HELD", 5)
    first, second, held = MemoryStore(), MemoryStore(), []
    fill(first)
    read = first.read

    def noting(period, **options):
        found = read(period, **options)
        held.append(len(set(found.meter.tolist())))
        return found

    monkeypatch.setattr(first, "read", noting)
    assert copy_store(first, second).readings == 89
    assert max(held) == 1
    monkeypatch.undo()
    assert answers(second) == answers(first)


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
