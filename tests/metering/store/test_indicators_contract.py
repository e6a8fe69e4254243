"""What every store does with indicators."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from metering.periods import Period
from metering.store.copying import copy_store
from metering.store.duckdb_store import open_duckdb
from metering.store.indicators import Indicator
from metering.store.memory import MemoryStore

T0 = datetime(2025, 3, 1, tzinfo=UTC)
DAY = Period(T0, T0 + timedelta(days=1))


def power(minute, value, *, subject="park/a", about="", quantity="power_kw", text=""):
    return Indicator(subject, about, quantity, T0 + timedelta(minutes=minute), value, text)


def test_what_was_put_is_there_sorted_and_within_the_period(store):
    rows = [power(24 * 60, 3.0), power(5, 2.5), power(0, 1.0), power(0, 9.0, subject="park")]
    store.put_indicators(rows)

    assert store.indicators(DAY) == [rows[3], rows[2], rows[1]]
    assert store.indicators(DAY, subjects=["park"]) == [rows[3]]
    assert store.indicators(DAY, subjects=[]) == []
    assert store.indicators(DAY, quantities=["other"]) == []


def test_a_row_takes_the_place_of_the_one_with_the_same_key(store):
    store.put_indicators([power(0, 1.0), power(0, 2.0, about="q"), power(1, 5.0)])
    store.put_indicators([power(0, 3.0), power(0, 4.0)])

    assert [row.value for row in store.indicators(DAY)] == [4.0, 5.0, 2.0]


def test_names_and_texts_of_any_kind_come_back(store):
    odd = Indicator("park/楼, a=b", "电:kWh", "energy measured", T0, -1.5, 'says "no\\\\t" – 超额')
    plain = Indicator("park", "", "event", T0, 1.0, "a sentence, with = and spaces")
    store.put_indicators([odd, plain])

    assert store.indicators(DAY) == [plain, odd]


def test_some_are_dropped_and_the_others_stay(store):
    rows = [power(m, float(m), subject=s, quantity=q)
            for m in (0, 60) for s in ("park", 'park/a "b"') for q in ("x", "y")]  # fmt: skip
    store.put_indicators(rows)
    first = Period(T0, T0 + timedelta(minutes=60))
    store.drop_indicators(first, subjects=['park/a "b"'], quantities=["x"])
    store.drop_indicators(first, subjects=["park"], quantities=["x", "y"])
    store.drop_indicators(DAY, subjects=[], quantities=["x"])
    store.drop_indicators(DAY, subjects=["park"], quantities=[])

    left = [(row.subject, row.quantity, row.value) for row in store.indicators(DAY)]
    assert left == [("park", "x", 60.0), ("park", "y", 60.0), ('park/a "b"', "x", 60.0),
                    ('park/a "b"', "y", 0.0), ('park/a "b"', "y", 60.0)]  # fmt: skip


def test_clearing_what_is_derived_clears_indicators(store):
    store.put_indicators([power(0, 1.0)])
    store.clear(derived_only=True)
    assert store.indicators(DAY) == []
    store.put_indicators([power(0, 1.0)])
    store.clear()
    assert store.indicators(DAY) == []


def test_nothing_put_is_nothing_kept(store):
    store.put_indicators([])
    assert store.indicators(DAY) == []


def test_they_are_copied_into_another_store(store):
    rows = [power(0, 1.0), power(60 * 24 * 400, 2.0, text="later")]
    store.put_indicators(rows)
    target = MemoryStore()

    assert copy_store(store, target).indicators == 2
    assert target.indicators(Period(T0, T0 + timedelta(days=1000))) == rows


def test_a_file_of_before_there_were_indicators_gets_room_for_them(tmp_path):
    duckdb = pytest.importorskip("duckdb")
    path = tmp_path / "store.duckdb"
    open_duckdb(path).close()
    with duckdb.connect(str(path)) as old:
        old.execute("DROP TABLE indicators")

    store = open_duckdb(path)
    store.put_indicators([power(0, 1.0)])
    assert store.indicators(DAY) == [power(0, 1.0)]
    store.close()
