"""Whatever is marked stays covered, and little more than that."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from metering.ledger.dirty_ranges import JOIN_BELOW_US, LAST_US, MAX_RANGES, coalesce, mark

DAY = JOIN_BELOW_US


def holds(found, span):
    """Whether one of the ranges holds all of a span, also the instant of an empty one."""
    start, end = span
    if start == end:
        return any(a <= start < b or a == b == start for a, b in found)
    return any(a <= start and end <= b for a, b in found)


def near_days(most):
    """Times on and beside day boundaries, so that gaps of just a day come up."""
    day = st.integers(0, most).map(lambda n: n * DAY)
    return st.builds(lambda at, off: max(0, at + off), day, st.integers(-2, 2))


def spans(most):
    times = near_days(most)
    return st.tuples(times, times).map(lambda pair: (min(pair), max(pair)))


def short_spans(most):
    length = st.sampled_from([0, 1, DAY // 2, DAY])
    return st.builds(lambda start, long: (start, start + long), near_days(most), length)


@given(st.lists(st.lists(short_spans(300), max_size=12), max_size=8))
def test_whatever_was_marked_stays_covered_by_at_most_sixteen_ranges(batches):
    kept = []
    for batch in batches:
        kept = coalesce([*kept, *batch])

    assert all(holds(kept, span) for batch in batches for span in batch)
    assert len(kept) <= MAX_RANGES


@given(st.lists(short_spans(60), max_size=60))
def test_ranges_are_ordered_and_at_least_a_day_apart(marked):
    found = coalesce(marked)

    assert all(b[0] - a[1] >= DAY for a, b in pairwise(found))


@given(st.lists(spans(12), max_size=MAX_RANGES))
def test_up_to_sixteen_marks_cover_only_themselves_and_gaps_below_a_day(marked):
    # walk over the marks in order; a gap of a day or more between what is covered so far and the
    # next mark must stay open, but for the microsecond that holds an instant at its edge
    found = coalesce(marked)

    reach = None
    for start, end in sorted(marked):
        if reach is not None and start - reach > DAY:
            assert not any(a <= reach + 1 and start <= b for a, b in found)
        reach = end if reach is None else max(reach, end)
    if marked:
        assert found[0][0] == min(start for start, _ in marked)
        assert reach <= found[-1][1] <= reach + 1


@given(st.lists(spans(12), max_size=30))
def test_coalescing_again_changes_nothing(marked):
    found = coalesce(marked)

    assert coalesce(found) == found
    assert coalesce([*found, *found]) == found


@given(st.lists(short_spans(200), max_size=40), st.lists(short_spans(200), min_size=1, max_size=5))
def test_a_mark_writes_every_range_it_touches_and_leaves_the_others(before, marked):
    kept = coalesce(before)

    write, gone = mark(kept, marked)

    rows = {start: end for start, end in kept if start not in gone}
    left = [(start, end) for start, end in rows.items() if start not in dict(write)]
    rows.update(write)
    assert sorted(rows.items()) == coalesce([*kept, *marked])
    assert all(holds(write, span) for span in marked)
    assert not any(holds(left, span) for span in marked)


def test_far_ranges_are_kept_as_they_are():
    far = [(0, 1), (DAY + 1, DAY + 2), (5 * DAY, 5 * DAY)]

    assert coalesce(far) == far
    assert mark(far, [(9 * DAY, 9 * DAY + 1)]) == ([(9 * DAY, 9 * DAY + 1)], [])


def test_a_gap_one_microsecond_below_a_day_is_closed():
    assert coalesce([(0, 1), (DAY, DAY + 2)]) == [(0, DAY + 2)]


def test_an_instant_between_two_ranges_is_held_by_the_joined_one():
    # 5 is the end of the first range, which a half-open range does not hold
    assert coalesce([(0, 5), (5, 5)]) == [(0, 6)]
    assert coalesce([(0, 5), (2, 2)]) == [(0, 5)]
    assert coalesce([(3, 3), (7, 7)]) == [(3, 8)]
    assert coalesce([(3, 3), (3, 9)]) == [(3, 9)]
    assert coalesce([(3, 3), (3, 3)]) == [(3, 3)]


def test_an_instant_at_the_end_of_time_does_not_leave_it():
    assert coalesce([(LAST_US - 5, LAST_US), (LAST_US, LAST_US)]) == [(LAST_US - 5, LAST_US)]


def test_among_seventeen_ranges_the_earliest_of_the_closest_pair_are_joined():
    apart = [(n * 3 * DAY, n * 3 * DAY + DAY) for n in range(17)]

    assert coalesce(apart) == [(0, 4 * DAY), *apart[2:]]


def test_a_range_that_grew_is_written_under_its_start_and_a_swallowed_one_is_dropped():
    kept = [(10, 20), (3 * DAY, 3 * DAY + 5), (9 * DAY, 9 * DAY + 1)]

    assert mark(kept, [(15, 30)]) == ([(10, 30)], [])
    assert mark(kept, [(5, 12)]) == ([(5, 20)], [10])
    assert mark(kept, [(20, 3 * DAY)]) == ([(10, 3 * DAY + 5)], [3 * DAY])
    assert mark(kept, [(12, 12)]) == ([(10, 20)], [])
