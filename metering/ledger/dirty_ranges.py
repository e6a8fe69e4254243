"""Keep what must be computed again as few ranges, and never less than was marked.

A range is a pair of integers: microseconds since 1970, [start, end). A single instant, start equal
to end, is kept as it is while nothing lies near it. Joined with others it becomes the last
microsecond of the joined range at the latest, so that the half-open range contains it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TypeAlias

Range: TypeAlias = tuple[int, int]
"""[start, end) in microseconds since 1970, UTC; start equal to end is a single instant."""

JOIN_BELOW_US = 86_400_000_000
"""Ranges that lie less than a day apart are kept as one."""

MAX_RANGES = 16
"""More ranges of one meter than this are not kept apart."""

LAST_US = 253_402_300_799_999_999
"""The last microsecond of the year 9999; no later instant can be told."""


def _joined(earlier: Range, later: Range) -> Range:
    """The smallest range that holds two, the second not starting before the first."""
    (start, end), (later_start, later_end) = earlier, later
    if later_start == later_end > start:
        later_end += 1
    if start == end < later_end:
        end += 1
    return start, min(max(end, later_end), LAST_US)


def _without_narrowest_gap(ranges: Sequence[Range]) -> list[Range]:
    """Join the two neighbours that lie closest; among equals the earliest."""
    gaps = [later[0] - earlier[1] for earlier, later in pairwise(ranges)]
    at = gaps.index(min(gaps))
    return [*ranges[:at], _joined(ranges[at], ranges[at + 1]), *ranges[at + 2 :]]


def coalesce(ranges: Iterable[Range]) -> list[Range]:
    """Join ranges that overlap or lie less than a day apart, then the closest beyond 16.

    Returns:
        At most 16 ranges by start, at least a day apart, which hold all that was given.
    """
    kept: list[Range] = []
    for span in sorted(ranges):
        if kept and span[0] - kept[-1][1] < JOIN_BELOW_US:
            kept[-1] = _joined(kept[-1], span)
        else:
            kept.append(span)
    while len(kept) > MAX_RANGES:
        kept = _without_narrowest_gap(kept)
    return kept


def mark(kept: Sequence[Range], spans: Sequence[Range]) -> tuple[list[Range], list[int]]:
    """Add spans to the ranges of one meter.

    Args:
        kept: What `coalesce` returned before.
        spans: What is marked now.

    Returns:
        The ranges to write, and the starts of kept ranges that are no more. A range is written
        when it is new, has another end, or was marked again although it has not.
    """
    after = coalesce([*kept, *spans])
    starts = [start for start, _ in after]
    gone = [start for start, _ in kept if start not in starts]
    if len(after) == 1:
        return after, gone
    marked = {bisect_right(starts, start) - 1 for start, _ in spans}
    return [at for i, at in enumerate(after) if i in marked or at not in kept], gone
