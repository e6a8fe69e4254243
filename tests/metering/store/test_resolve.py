"""The rule of the port as a function of columns."""

from datetime import UTC, datetime, timedelta

import numpy as np

from metering.readings import Flag, Reading, Readings
from metering.store.resolve import counting_rows, resolve, superseded_rows

T0 = datetime(2025, 3, 1, tzinfo=UTC)


def came(value, received, *, seq=None, journal="j", meter="m", flags=Flag.NONE):
    return Reading(
        meter,
        "import",
        T0,
        value,
        flags=flags,
        received_at=T0 + timedelta(seconds=received),
        journal=journal,
        sequence=received if seq is None else seq,
    )


def apart(*given):
    rows = Readings.of(given)
    found = resolve(rows)
    counting = [(r.value, r.sequence, r.flags) for r in counting_rows(rows, found).rows()]
    return counting, [(r.value, r.sequence) for r in superseded_rows(rows, found).rows()]


def test_nothing_resolves_to_nothing():
    assert apart() == ([], [])


def test_a_single_row_counts_as_it_is():
    assert apart(came(1.0, 1, flags=Flag.STAMPED)) == ([(1.0, 1, Flag.STAMPED)], [])


def test_a_value_that_returns_counts_where_it_returned():
    # A, B, A: no row equals the one before it; the last counts
    assert apart(came(2.0, 2), came(1.0, 3), came(1.0, 1)) == (
        [(1.0, 3, Flag.CONFLICT)],
        [(1.0, 1), (2.0, 2)],
    )


def test_equal_rows_in_a_run_drop_out_but_the_first():
    # A, A, B, B, A: left are A@1, B@3, A@5
    given = [came(v, i + 1) for i, v in enumerate([1.0, 1.0, 2.0, 2.0, 1.0])]

    assert apart(*given) == (
        [(1.0, 5, Flag.CONFLICT)],
        [(1.0, 1), (1.0, 2), (2.0, 3), (2.0, 4)],
    )


def test_the_same_row_twice_is_there_once():
    assert apart(came(1.0, 1), came(1.0, 1)) == ([(1.0, 1, Flag.NONE)], [])


def test_copies_of_a_row_that_differ_are_one_row_whatever_their_order():
    early, late = came(5.0, 1, seq=7), came(4.0, 2, seq=7)

    assert apart(early, late) == apart(late, early) == ([(5.0, 7, Flag.NONE)], [])


def test_journals_of_one_instant_are_ordered_by_name_not_by_code():
    # "b" is met first and has the lower code; by name "a" comes before it
    b, a = came(1.0, 1, journal="b"), came(2.0, 1, journal="a")

    assert apart(b, a)[0] == apart(a, b)[0] == [(1.0, 1, Flag.CONFLICT)]


def test_what_is_not_believed_never_takes_the_place_of_what_is():
    # -5 came later and is implausible; 3 stands, without a conflict
    assert apart(came(3.0, 1), came(-5.0, 2, flags=Flag.IMPLAUSIBLE)) == (
        [(3.0, 1, Flag.NONE)],
        [(-5.0, 2)],
    )


def test_a_value_sent_again_when_its_time_has_come_is_believed():
    # first it lay in the future, then the gateway sent the same again
    assert apart(came(3.0, 1, flags=Flag.CLOCK), came(3.0, 2)) == (
        [(3.0, 2, Flag.NONE)],
        [(3.0, 1)],
    )


def test_of_rows_that_are_all_not_believed_the_last_counts():
    given = came(-1.0, 1, flags=Flag.IMPLAUSIBLE), came(-2.0, 2, flags=Flag.IMPLAUSIBLE)

    assert apart(*given)[0] == [(-2.0, 2, Flag.IMPLAUSIBLE | Flag.CONFLICT)]


def test_zero_and_minus_zero_are_the_same_value():
    assert apart(came(0.0, 1), came(-0.0, 2))[0] == [(0.0, 1, Flag.NONE)]


def test_the_conflict_flag_is_set_by_the_rule_alone():
    given = [came(1.0, 1, flags=Flag.CONFLICT), came(2.0, 1, meter="n"), came(3.0, 2, meter="n")]

    assert apart(*given) == ([(1.0, 1, Flag.NONE), (3.0, 2, Flag.CONFLICT)], [(2.0, 1)])


def test_every_superseded_row_names_the_row_that_counts_instead():
    rows = Readings.of([came(1.0, i, meter=m) for m in ("b", "a", "c") for i in (1, 2, 3)])

    found = resolve(rows)

    assert rows.meter[found.counting].tolist() == [1, 0, 2]
    assert len(found.superseded) == 6
    np.testing.assert_array_equal(
        rows.meter[found.superseded], rows.meter[found.counting][found.superseded_by]
    )
