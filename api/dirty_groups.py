"""Which dirty spans are worked off together: few reads of the store, and little read in vain.

A read of the store costs much the same for one meter as for a hundred. Readings that come in any
order leave spans behind that begin and end on days of their own; each by itself would be hundreds
of reads where one serves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from typing import Final, TypeVar

WASTE: Final = 4.0
"""A group may take in so many times the days of its members. [1]"""

Item = TypeVar("Item")


def together(
    items: Sequence[Item],
    *,
    days: Callable[[Item], tuple[date, date]],
    owner: Callable[[Item], str],
) -> list[list[Item]]:
    """Group spans so that taking a group's whole time for all its owners wastes little.

    Args:
        items: What has a span.
        days: The first and the last day of a span, both included.
        owner: Whose span it is, such as a meter; a group is taken whole for each owner.
    """
    groups: list[list[Item]] = []
    owners: set[str] = set()
    begin = end = date.min
    own_days = 0
    for item in sorted(items, key=lambda each: (*days(each), owner(each))):
        first, last = days(item)
        until, needed = max(end, last), own_days + _days(first, last)
        wanted = len(owners) + (owner(item) not in owners)
        if groups and _days(begin, until) * wanted <= WASTE * needed:
            groups[-1].append(item)
            owners.add(owner(item))
            end, own_days = until, needed
        else:
            groups.append([item])
            owners, begin, end, own_days = {owner(item)}, first, last, _days(first, last)
    return groups


def _days(first: date, last: date) -> int:
    return (last - first).days + 1
