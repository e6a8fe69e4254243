"""The time-series port: what every store of readings and derived hours must do.

An adapter keeps, for every register and time, *all* rows that came: the one that counts and, apart
from it, the superseded ones (identical repeats and earlier, different values). What counts is a
function of that set alone, so that neither order nor repetition of arrival matters:

    sort the rows of a key by (received_at, journal, sequence); where a row without a `SET_ASIDE`
    flag is among them, leave out those with one: what is not believed never takes the place of
    what is; drop each row whose value equals that of the row before it; the last one left counts;
    it carries Flag.CONFLICT if more than one is left.

With `known_by` the same function is applied to the rows received before that instant. Journals
are ordered by name. `Flag.CONFLICT` is the store's alone: a row that comes with it loses it. Should
copies of one row (same meter, register, time, journal and sequence) differ, the smallest by
(received_at, value, flags) stands for them all, so that their order does not matter either.

Answers are sorted, and so are their tables of names, which hold the names that occur. A value of
-0.0 comes back as 0.0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, Protocol, TypeAlias

from metering.periods import Period
from metering.readings import Readings
from metering.series import Series
from metering.store.indicators import Indicator

SeriesKind: TypeAlias = Literal["energy", "emissions"]
"""Which derived table: hourly register increments, or hourly emissions."""


EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
"""A reading of an earlier time has a wrong clock."""


class StoreUnavailable(RuntimeError):
    """The store does not answer now; nothing was lost, the same call may be made again later."""


class WriterReplaced(StoreUnavailable):
    """Another process may be writing the same now; it does what is left undone here."""


class StoreDamaged(RuntimeError):
    """The store's files cannot be read; it can be made again from the journal."""


@dataclass(frozen=True, slots=True)
class Span:
    """A period of one subject, such as hours that are replaced."""

    subject: str
    period: Period
    quantity: str | None = None
    """Only this quantity of the subject; all if None."""


@dataclass(frozen=True, slots=True)
class MeterSummary:
    """What a store knows of one register without reading it through."""

    meter: str
    register: str
    count: int
    first_read_at: datetime
    last_read_at: datetime
    last_received_at: datetime

    @property
    def believed(self) -> Period:
        """From first to last reading as far as no wrong clock can have stretched it.

        No meter was read before `EARLIEST`, and nothing is read after it arrived.
        """
        last = min(self.last_read_at, self.last_received_at)
        first = min(max(self.first_read_at, EARLIEST), last)
        return Period(first, last)

    """The newest arrival among the readings that count."""


class Opening(Protocol):
    """Opens a store in whatever process it is called in; may be hashed and pickled.

    It holds what the server wants to know of who asks, such as a token.
    """

    def __hash__(self) -> int:
        """The same for the same place."""

    def __call__(self) -> ReadingStore:
        """Open it.

        Raises:
            StoreUnavailable: It does not answer, or does not let us in.
        """


class ReadingStore(Protocol):
    """Keeps register readings and derived hours as columns.

    Every adapter passes tests/metering/store/test_contract.py. All methods may be called from
    several threads; a reader sees whole batches.
    """

    @property
    def opening(self) -> Opening | None:
        """What opens this store in another process too; None where only this one may have it."""
        return None

    @property
    def store_id(self) -> str:
        """A random name given at creation: a store made anew has another."""

    def begin(self, journal: str) -> None:
        """Be told that this process writes a journal from now on, and others may have before.

        Args:
            journal: Whose readings come; until the next call nobody else adds any of it.
        """
        return None  # whoever remembers nothing has nothing to forget

    def add(self, batch: Readings, *, check: Callable[[], None] | None = None) -> Readings:
        """Keep a batch of readings; adding the same rows again changes nothing.

        Args:
            batch: Any order, repeats allowed. Rows are identified by meter, register, read_at,
                journal and sequence.
            check: Called immediately before anything is written; what it raises where this process
                may not write any more goes on to the caller.

        Returns:
            The readings that now count for those keys of this batch that have more than one
            distinct value, also if an earlier batch said so already; empty in the usual case.

        Raises:
            StoreUnavailable: Nothing or a part was kept; add the same batch again.
            ValueError: A value is NaN or infinite; nothing was kept.
        """

    def read(
        self,
        period: Period,
        *,
        meters: Sequence[str] | None = None,
        registers: Sequence[str] | None = None,
        before: int = 0,
        after: int = 0,
        known_by: datetime | None = None,
    ) -> Readings:
        """Return the readings that count with start <= read_at < end.

        Args:
            period: What is read.
            meters: Only these; all if None.
            registers: Only these; all if None.
            before: For each meter and register also up to this many readings before the period,
                the newest ones, not counting those with `SET_ASIDE` flags (they are left out).
            after: Likewise up to this many from the period's end on, the oldest ones.
            known_by: As if nothing had arrived at or after this instant.

        Returns:
            Sorted by meter name, register name and time.
        """

    def superseded(self, period: Period, *, meters: Sequence[str] | None = None) -> Readings:
        """Return the rows that do not count, identical repeats included, in the same order."""

    def latest(self, *, meters: Sequence[str] | None = None) -> Readings:
        """Return the newest reading of every register, those with `SET_ASIDE` flags left out."""

    def summaries(self) -> list[MeterSummary]:
        """Return counts and ends of every register that has readings, sorted."""

    def count(self, period: Period) -> dict[str, int]:
        """Return how many rows of each meter a period has, superseded ones too, without reading it.

        What several journals say of one time may be counted once or several times.
        """

    def replace(self, kind: SeriesKind, series: Series, *, spans: Sequence[Span]) -> None:
        """Put these hours in the place of everything the spans hold; idempotent.

        Args:
            kind: Which derived table.
            series: Every row lies inside a span of its subject.
            spans: What is cleared first. Subjects and half-open periods.

        Raises:
            ValueError: An hour lies in no span of its subject and quantity; nothing was changed.
        """

    def series(
        self,
        kind: SeriesKind,
        period: Period,
        *,
        subjects: Sequence[str] | None = None,
        quantities: Sequence[str] | None = None,
    ) -> Series:
        """Return the hours with start in the period, sorted by subject, quantity and start.

        Subjects and quantities are sorted by name.
        """

    def quantities(self, kind: SeriesKind) -> list[tuple[str, str]]:
        """Return every (subject, quantity) that has hours, sorted."""

    def put_indicators(self, rows: Sequence[Indicator]) -> None:
        """Keep indicators; a row takes the place of the one with the same key.

        Raises:
            StoreUnavailable: Some of them may have been kept; put the same ones again.
        """

    def indicators(
        self,
        period: Period,
        *,
        subjects: Sequence[str] | None = None,
        quantities: Sequence[str] | None = None,
    ) -> list[Indicator]:
        """Return the indicators of a period, sorted by subject, about, quantity and time.

        They are for displays: a text may come back with its line breaks as spaces.
        """

    def count_indicators(self, period: Period) -> int:
        """Return how many indicators a period has, without reading them."""

    def drop_indicators(
        self, period: Period, *, subjects: Sequence[str], quantities: Sequence[str]
    ) -> None:
        """Forget the indicators of a period, of these subjects and quantities."""

    def clear(self, *, derived_only: bool = False) -> None:
        """Forget everything, or only the derived hours and the indicators.

        Without its readings the store is another one and has another `store_id`.
        """

    def check(self) -> None:
        """Return if the store answers and can write.

        Raises:
            StoreUnavailable: It does not; the message says what to do.
        """

    def close(self) -> None:
        """Write what is pending and let go of files and connections."""
