"""Orders of columns, against NumPy's plain lexicographic sort."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from metering.store.duckdb_columns import covering
from metering.store.sorting import sort_order, used_names


def us(*numbers):
    return np.array(numbers, "datetime64[us]")


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 300), st.integers(-3, 3))))
def test_rows_are_ordered_by_major_minor_and_time_and_else_as_they_came(given_rows):
    # up to 401 x 301 series: more than the 65 536 that one pass of 16 bits tells apart
    major, minor, at = (np.array([r[i] for r in given_rows], np.int32) for i in range(3))
    at = at.astype("datetime64[us]")

    order = sort_order(major, minor, at)

    expected = np.lexsort((at, minor, major))
    got = np.arange(len(at)) if order is None else order
    np.testing.assert_array_equal(got, expected)


def test_rows_in_order_need_no_order():
    assert sort_order(np.array([0, 0, 1], "i4"), np.array([1, 1, 0], "i4"), us(1, 2, 0)) is None


def test_only_names_that_occur_are_left_and_they_are_sorted():
    names, codes = used_names(("c", "x", "a"), np.array([2, 0, 2], np.int32))

    assert names == ("a", "c")
    assert codes.tolist() == [0, 1, 0]


def test_a_far_off_time_gets_a_span_of_its_own():
    spans = covering(us(100, 101, 5_000_000), us(101, 103, 5_000_001))

    assert [(int(a.astype(int)), int(b.astype(int))) for a, b in spans] == [
        (100, 103),
        (5_000_000, 5_000_001),
    ]


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(1, 30)), min_size=1))
def test_a_few_spans_cover_all_that_was_asked_and_do_not_overlap(asked):
    low = us(*(a for a, _ in asked))
    high = us(*(a + length for a, length in asked))

    spans = covering(low, high)

    assert 1 <= len(spans) <= 8
    assert all(
        any(a <= one and two <= b for a, b in spans) for one, two in zip(low, high, strict=True)
    )
    assert all(spans[i][1] < spans[i + 1][0] for i in range(len(spans) - 1))
