"""Derived columns of subjects: a value per hour with its shares, flags and provenance.

The stored interval is the hour. What days, months and years need beside the value travels along:
how much of the hour is known, and how much of it lies inside increments that count as measured for
an hour, a day, a month and a year. A roll-up is then a sum, weighted by time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metering.periods import Times
from metering.readings import Codes, Floats, Mask, encode

SHARES = ("coverage", "measured_hour", "measured_day", "measured_month", "measured_year")
"""The share columns, in the order in which adapters keep them."""


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """Hours of subjects and quantities as columns of one length n.

    Sorted by subject, quantity and start when it comes from a store. Hours of which nothing is
    known and nothing is to be said are left out.
    """

    subjects: tuple[str, ...]
    """Meter points, `site/point`."""
    quantities: tuple[str, ...]
    """Register names, or scopes of emissions."""
    sources: tuple[str, ...]
    """What rows were made from: point definition and code version, or the factor id."""
    subject: Codes
    quantity: Codes
    start: Times
    duration_s: Floats
    """Length of the hour, 3600 but for the odd end of a day. [s] Shape (n,)."""
    value: Floats
    """NaN where nothing is known. Shape (n,)."""
    coverage: Floats
    measured_hour: Floats
    measured_day: Floats
    measured_month: Floats
    measured_year: Floats
    flags: Codes
    source: Codes

    def __len__(self) -> int:
        return len(self.value)

    @classmethod
    def empty(cls) -> Series:
        """No hours."""
        none = np.empty(0, np.float64)
        code = np.empty(0, np.int32)
        time = np.empty(0, "datetime64[us]")
        return cls(
            (), (), (), code, code, time, none, none, none, none, none, none, none, code, code
        )

    def take(self, which: Mask | NDArray[np.intp] | slice) -> Series:
        """Some of the hours, by mask, index or slice; the names stay as they are."""
        return Series(
            subjects=self.subjects,
            quantities=self.quantities,
            sources=self.sources,
            subject=self.subject[which],
            quantity=self.quantity[which],
            start=self.start[which],
            duration_s=self.duration_s[which],
            value=self.value[which],
            coverage=self.coverage[which],
            measured_hour=self.measured_hour[which],
            measured_day=self.measured_day[which],
            measured_month=self.measured_month[which],
            measured_year=self.measured_year[which],
            flags=self.flags[which],
            source=self.source[which],
        )

    @classmethod
    def concat(cls, parts: Sequence[Series]) -> Series:
        """All hours of the parts, one after the other."""
        if not parts:
            return cls.empty()
        columns: dict[str, Any] = {}
        for names, codes in (
            ("subjects", "subject"),
            ("quantities", "quantity"),
            ("sources", "source"),
        ):
            # Parts of one series share their tables: each is looked at once.
            tables = {id(table): table for table in (getattr(part, names) for part in parts)}
            columns[names], lookup = encode([n for table in tables.values() for n in table])
            starts = np.cumsum([0, *map(len, tables.values())]).tolist()
            offset = dict(zip(tables, starts, strict=False))
            columns[codes] = np.concatenate(
                [lookup[getattr(p, codes) + offset[id(getattr(p, names))]] for p in parts if len(p)]
                or [np.empty(0, np.int32)]
            )
        for column in ("start", "duration_s", "value", *SHARES, "flags"):
            columns[column] = np.concatenate([getattr(part, column) for part in parts])
        return cls(**columns)
