"""Columns arrive as they were sent, to the bit, and hardly anything is sent twice."""

from __future__ import annotations

import pickle

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from api.packing import packed, unpacked

NAN_WITH_A_PAYLOAD = np.array([0x7FF8000000000123], np.uint64).view(np.float64)[0]
VALUES = st.sampled_from([0.0, -0.0, 1.0, 0.1, float("nan"), float(NAN_WITH_A_PAYLOAD)])
COLUMN = st.one_of(
    st.lists(VALUES, max_size=4).map(lambda found: np.array(found, np.float64)),
    st.lists(st.integers(0, 1), max_size=4).map(lambda found: np.array(found, np.int32)),
    st.lists(st.integers(0, 1), max_size=4).map(lambda found: np.array(found, "datetime64[us]")),
)


@given(st.lists(COLUMN, max_size=6))
def test_columns_arrive_with_the_bits_they_had(columns):
    arrived = unpacked(pickle.loads(pickle.dumps(packed(columns))))

    assert [column.dtype for column in arrived] == [column.dtype for column in columns]
    assert [column.tobytes() for column in arrived] == [column.tobytes() for column in columns]


def test_a_constant_travels_as_one_value_and_a_repeated_column_once():
    column = np.arange(1000.0)

    size = len(pickle.dumps(packed([column, column.copy(), np.ones(1000), column[::-1]])))

    # two columns of 1000 × 8 bytes remain of four; 1000 bytes for what describes them
    assert 16_000 < size < 17_000
