"""How far the readings of every register reach: what keeps a search from going on for ever."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metering.periods import Times
from metering.readings import Codes, Mask


@dataclass(frozen=True, slots=True)
class Extents:
    """First and last time and number of times of every (meter, register), sorted by these."""

    meter: Codes
    register: Codes
    count: NDArray[np.int64]
    first: Times
    last: Times

    def __len__(self) -> int:
        return len(self.count)

    @classmethod
    def of_keys(cls, meter: Codes, register: Codes, read_at: Times) -> Extents:
        """The extents of different times, sorted by meter, register and time."""
        new = np.ones(len(meter), np.bool_)
        new[1:] = (meter[1:] != meter[:-1]) | (register[1:] != register[:-1])
        starts = np.flatnonzero(new)
        counts = np.diff(starts, append=len(meter))
        return cls(
            meter[starts],
            register[starts],
            counts,
            read_at[starts],
            read_at[starts + counts - 1],
        )

    def cover(self, meter: Codes, register: Codes, read_at: Times) -> Mask:
        """Whether each time lies between the first and the last of its register."""
        if not len(self):
            return np.zeros(len(meter), np.bool_)
        key = series_key(meter, register)
        mine = series_key(self.meter, self.register)
        place = np.minimum(np.searchsorted(mine, key), len(mine) - 1)
        inside = (read_at >= self.first[place]) & (read_at <= self.last[place])
        return np.asarray((mine[place] == key) & inside)

    def take(self, which: Mask | NDArray[np.intp]) -> Extents:
        """Some of the registers."""
        return Extents(
            self.meter[which],
            self.register[which],
            self.count[which],
            self.first[which],
            self.last[which],
        )

    def together(self, other: Extents) -> Extents:
        """The extents of both, none of whose times are the same."""
        if not len(self) or not len(other):
            return self if len(self) else other
        both = [
            np.concatenate([getattr(self, name), getattr(other, name)])
            for name in ("meter", "register", "count", "first", "last")
        ]
        order = np.lexsort((both[1], both[0]))
        meter, register, count, first, last = (column[order] for column in both)
        new = np.ones(len(order), np.bool_)
        new[1:] = (meter[1:] != meter[:-1]) | (register[1:] != register[:-1])
        starts = np.flatnonzero(new)
        return Extents(
            meter[starts],
            register[starts],
            np.add.reduceat(count, starts),
            np.minimum.reduceat(first, starts),
            np.maximum.reduceat(last, starts),
        )


def series_key(meter: Codes, register: Codes) -> NDArray[np.int64]:
    """One number for each meter and register, in their order."""
    return (meter.astype(np.int64) << 32) | register
