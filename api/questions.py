"""What is asked, in the words of the command line and of queries: days, scope, interval."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

from api.figures import Scope
from metering.periods import Every, Period, PeriodError
from metering.sites import Site

MAX_ROWS = 400_000
"""A longer answer is refused; it would be asked for by mistake."""


class BadQuestion(ValueError):
    """A question that cannot be answered as it stands; the message says what is wanted."""


@dataclass(frozen=True, slots=True)
class Question:
    """What most answers are asked with."""

    first: date
    until: date
    every: Every = "day"
    site: str | None = None
    building: str | None = None
    point: str | None = None
    carrier: str | None = None
    register: str | None = None
    known_by: date | None = None
    method: Literal["location", "market"] = "location"

    @property
    def scope(self) -> Scope:
        """The point, the building or the site.

        Raises:
            BadQuestion: Both a point and a building are named.
        """
        if self.point and self.building:
            raise BadQuestion("Name a point or a building, not both.")
        return Scope(self.point, self.building)

    def period(self, site: Site) -> Period:
        """The site's days asked for.

        Raises:
            BadQuestion: The span is empty, or would make too many rows.
        """
        if self.until <= self.first:
            raise BadQuestion(
                f"Wanted days from (included) to (not included), found {self.first} to "
                f"{self.until}. The year 2024 is --from 2024-01-01 --to 2025-01-01."
            )
        try:
            period = Period.days(self.first, self.until, tz=site.timezone)
        except (OverflowError, PeriodError) as error:
            raise BadQuestion(f"Days {self.first} to {self.until} cannot be: {error}") from error
        rows = {"15min": period.seconds / 900, "hour": period.seconds / 3600}.get(self.every, 0)
        if rows > MAX_ROWS:
            raise BadQuestion(
                f"{self.first} to {self.until} by {self.every} makes {rows:,.0f} rows; at most "
                f"{MAX_ROWS:,} are given at once. Ask for a shorter span or longer intervals."
            )
        return period


def parse_day(text: str, name: str) -> date:
    """Read a day.

    Raises:
        BadQuestion: It is none.
    """
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise BadQuestion(f"{name}: wanted a day such as 2024-01-31, found {text!r}.") from None


def parse_instant(text: str, name: str) -> datetime:
    """Read an instant with its offset.

    Raises:
        BadQuestion: It is none, or has no offset.
    """
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise BadQuestion(
            f"{name}: wanted an instant such as 2024-01-31T08:00:00Z, found {text!r}."
        ) from None
    if instant.tzinfo is None:
        raise BadQuestion(f"{name}: {text!r} has no offset; write 2024-01-31T08:00:00Z or +08:00.")
    return instant
