"""Indicators: single figures of a moment, an hour or a day, as displays show them.

They are made from readings, hours, quotas and the platform's own state, so that a display adds
nothing up by itself and shows what the API answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from metering.periods import Period

Key: TypeAlias = tuple[str, str, str, datetime]
"""Subject, about, quantity and moment."""


@dataclass(frozen=True, slots=True, order=True)
class Indicator:
    """One figure. A figure that is not known has no row.

    Attributes:
        subject: What it is of: `site`, `site/building`, `site/point`, or `tanyuan/process`.
        about: What in it, such as a carrier with its unit, a quota or a journal; may be empty.
        quantity: Which figure, such as `power_kw`.
        at: Of what moment, or when its hour or day begins.
        value: The figure.
        text: What goes with it, such as the sentence of an event.
    """

    subject: str
    about: str
    quantity: str
    at: datetime
    value: float
    text: str = ""

    @property
    def key(self) -> Key:
        """There is one row for each."""
        return self.subject, self.about, self.quantity, self.at


def latest_of_each(rows: Iterable[Indicator]) -> list[Indicator]:
    """One row for each key, the last of those given, sorted."""
    found = {row.key: row for row in rows}
    return [found[key] for key in sorted(found)]


def chosen(
    rows: Iterable[Indicator],
    period: Period,
    subjects: Sequence[str] | None,
    quantities: Sequence[str] | None,
) -> list[Indicator]:
    """Those of a period, some subjects and some quantities, sorted."""
    return sorted(
        row
        for row in rows
        if period.start <= row.at < period.end
        and (subjects is None or row.subject in set(subjects))
        and (quantities is None or row.quantity in set(quantities))
    )
