"""Columns as they travel to another process: each array once, and a constant as one value.

Most columns of hours say the same in every row, or the same as the column beside them. Values are
compared by their bits, so that what arrives is what was sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Column: TypeAlias = NDArray[Any]
Packed: TypeAlias = list["tuple[int, Column] | Column | int"]
"""Of each column its length and its only value, or itself, or the place of one like it."""


def packed(columns: Sequence[Column]) -> Packed:
    """The columns with nothing in them said twice."""
    found: Packed = []
    whole: dict[tuple[np.dtype[Any], int], list[int]] = {}
    for number, column in enumerate(columns):
        bits = _bits(column)
        if len(bits) and (bits == bits[0]).all():
            found.append((len(column), column[:1].copy()))
            continue
        alike = whole.setdefault((column.dtype, len(column)), [])
        same = next((n for n in alike if np.array_equal(bits, _bits(columns[n]))), None)
        if same is None:
            alike.append(number)
        found.append(np.ascontiguousarray(column) if same is None else same)
    return found


def unpacked(found: Packed) -> list[Column]:
    """The columns again; those that were alike are one array now."""
    columns: list[Column] = []
    for each in found:
        if isinstance(each, tuple):
            columns.append(np.repeat(each[1], each[0]))
        elif isinstance(each, int):
            columns.append(columns[each])
        else:
            columns.append(each)
    return columns


def _bits(column: Column) -> NDArray[np.unsignedinteger[Any]]:
    """The column as whole numbers of the same bits: NaN equals NaN, and -0.0 is not 0.0."""
    return np.ascontiguousarray(column).view(f"u{column.dtype.itemsize}")
