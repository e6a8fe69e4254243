"""Dirty spans that lie together are worked off together, and little is taken in vain."""

from __future__ import annotations

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from api.dirty_groups import WASTE, together

JANUARY = date(2023, 1, 1)
SPANS = st.tuples(
    st.sampled_from("abcdefgh"),
    st.integers(0, 700).map(lambda n: JANUARY + timedelta(n)),
    st.integers(0, 200),
).map(lambda span: (span[0], span[1], span[1] + timedelta(span[2])))


def grouped(spans):
    return together(spans, days=lambda s: (s[1], s[2]), owner=lambda s: s[0])


@given(st.lists(SPANS, max_size=60))
def test_every_span_is_in_one_group_and_no_group_wastes_more_than_allowed(spans):
    groups = grouped(spans)

    assert sorted(each for group in groups for each in group) == sorted(spans)
    for group in groups:
        whole = (max(s[2] for s in group) - min(s[1] for s in group)).days + 1
        own = sum((s[2] - s[1]).days + 1 for s in group)
        assert whole * len({s[0] for s in group}) <= WASTE * own


@given(st.lists(SPANS, max_size=30), st.randoms(use_true_random=False))
def test_the_order_of_spans_changes_no_group(spans, chance):
    mixed = list(spans)
    chance.shuffle(mixed)

    assert sorted(map(sorted, grouped(mixed))) == sorted(map(sorted, grouped(spans)))


def test_spans_of_a_backfill_in_any_order_are_few_groups():
    """32 meters, 16 spans each of 45 days, no two beginning on the same day: not 512 reads.

    Together 32 x 16 x 45 = 23,040 days of 32 meters x 731 days = 23,392.
    """
    spans = [
        (f"m{meter}", JANUARY + timedelta(first), JANUARY + timedelta(first + 44))
        for meter in range(32)
        for first in range(meter % 11, 720, 45)
    ]

    assert len(grouped(spans)) <= 12


def test_two_spans_far_apart_stay_apart():
    new_year = ("a", JANUARY, JANUARY)
    christmas = ("a", date(2023, 12, 25), date(2023, 12, 25))

    assert grouped([christmas, new_year]) == [[new_year], [christmas]]
