"""Writes indicators for displays, in a thread of its own, beside whoever makes the hours.

What could not be written is kept in the ledger and written later, by this process or the next one
that leads; a store that is away stops nothing but the displays.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, timedelta
from itertools import islice

from api.compute import Window, everything
from api.indicators import daily_indicators, hourly_indicators, live_indicators
from api.pending_hours import PendingHours
from api.pending_hours import pieces as pieces_of
from api.platform_indicators import event_indicators, platform_indicators
from api.services import Services
from metering.ledger.port import LedgerUnavailable
from metering.periods import Period, local_day
from metering.sites import Site
from metering.store.indicators import Indicator, Key
from metering.store.port import ReadingStore, StoreUnavailable

log = logging.getLogger(__name__)

LIVE_S = 60.0
"""How often the present is written."""

DAILY_S = 900.0
"""How often quotas and factors of the day are."""

PATIENCE_S = 120.0
"""Hours are written at least so often while others are still being made."""

AT_ONCE = 20_000
"""So many rows are written in one go."""

VERSION = "2"
"""Of the rows; noted for each store that has them, or has them pending. One that was written with
another version is written again."""

_HOURLY = ("coverage", "emissions", "energy_estimated", "energy_measured", "measured")


class IndicatorWriter:
    """Writes the present every minute, and hours whenever they were made again.

    Args:
        given: The parts of this process.
    """

    def __init__(self, given: Services) -> None:
        self._given = given
        self._writing = threading.Lock()
        self._pending = PendingHours(given.ledger, lambda: given.store.store_id)
        self._stop, self._poke = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._live_at = self._daily_at = 0.0
        self._hours_at = time.monotonic()
        self._day: dict[str, date] = {}
        self._since: datetime | None = None
        self.last_error = ""

    def start(self) -> None:
        """Write until `stop`; hours that are made from now on are noted, also after it."""
        self._given.recompute.on_made = self.made
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, name="indicators", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 30.0) -> None:
        """Write what is pending, once, and end."""
        self._stop.set()
        self._poke.set()
        if self._thread is not None:
            self._thread.join(timeout_s)
            self._thread = None

    def made(self, site: Site, windows: Sequence[Window]) -> None:
        """Note which hours of a site were made again, so that they are written even after a crash.

        Raises:
            LedgerUnavailable: They are not noted; make them again.
            StoreUnavailable: Likewise.
        """
        self._pending.made(site, windows)
        self._poke.set()

    def flush(self, moment: datetime | None = None) -> None:
        """Write everything that is pending, and the present, now.

        Args:
            moment: What counts as the present; that of the clock if None.

        Raises:
            StoreUnavailable: What was not written is still pending.
            LedgerUnavailable: Likewise.
        """
        self._write_hours()
        now = moment or self._given.now()
        self._write_live(now)
        self._put(platform_indicators(self._given, now))
        self._put(event_indicators(self._given, since=None))
        self._write_days(now)

    def _run(self) -> None:
        while True:
            ending = self._stop.is_set()
            try:
                if self._turn():
                    self.last_error = ""
            except (StoreUnavailable, LedgerUnavailable) as error:
                if not self.last_error:
                    log.warning("indicators wait: %s", error)
                self.last_error = str(error)
            except Exception as error:
                log.exception("indicators: a fault of ours; tried again in a minute")
                self.last_error = f"{type(error).__name__}: {error}"
                self._stop.wait(LIVE_S)
            if ending:
                return
            self._poke.wait(max(1.0, LIVE_S - (time.monotonic() - self._live_at)))
            self._poke.clear()
            self._stop.wait(1.0)  # hours of many meters come together

    def _turn(self) -> bool:
        """Write what is due; a part that fails does not keep the others from being written.

        Returns:
            Whether the present was among it, so that nothing is left that failed before.

        Raises:
            StoreUnavailable: Something was not written; it is tried again.
            LedgerUnavailable: Likewise.
        """
        clock, now = time.monotonic(), self._given.now()
        parts: list[Callable[[], None]] = [lambda: self._write_settled(clock)]
        present = not self._live_at or clock - self._live_at >= LIVE_S
        if present:
            self._live_at = clock
            parts += [
                lambda: self._put(platform_indicators(self._given, now)),
                lambda: self._write_live(now),
                lambda: self._write_events(now),
            ]
        if not self._daily_at or clock - self._daily_at >= DAILY_S or self._is_new_day(now):
            self._daily_at = clock
            parts.append(lambda: self._write_days(now))
        failed: Exception | None = None
        for part in parts:
            try:
                part()
            except (StoreUnavailable, LedgerUnavailable) as error:
                failed = failed or error
        if failed is not None:
            raise failed
        return present

    def _write_settled(self, clock: float) -> None:
        if self._settled(clock):
            self._write_hours()
            self._hours_at = clock

    def _write_live(self, now: datetime) -> None:
        for site in self._given.catalog.sites().values():
            self._put(live_indicators(self._given.figures(site.id), now))

    def _write_events(self, now: datetime) -> None:
        self._put(event_indicators(self._given, since=self._since))
        self._since = now - timedelta(days=1)

    def _settled(self, clock: float) -> bool:
        """Whether hours are to be written now: while many more are being made they would be old."""
        waited = clock - self._hours_at >= PATIENCE_S
        return self._stop.is_set() or waited or not self._given.ledger.count_dirty()

    def _is_new_day(self, now: datetime) -> bool:
        sites = self._given.catalog.sites().values()
        return any(self._day.get(s.id) != local_day(now, tz=s.timezone) for s in sites)

    def _write_days(self, now: datetime) -> None:
        for site in self._given.catalog.sites().values():
            day = local_day(now, tz=site.timezone)
            self._put(daily_indicators(self._given.figures(site.id), day))
            self._day[site.id] = day

    def _begin(self) -> None:
        """Where a store has hours and no indicators yet, all hours are to be written."""
        given = self._given
        key = f"indicators.{given.store.store_id}"
        if given.ledger.get(key) == VERSION:
            return
        for site in given.catalog.sites().values():
            meters = [site.meter_key(serial) for serial in site.serials]
            spans = [span for _, span in everything(given.store, meters)]
            if spans:
                first = local_day(min(span.start for span in spans), tz=site.timezone)
                last = local_day(max(span.end for span in spans), tz=site.timezone)
                whole = Period.days(first, last + timedelta(days=1), tz=site.timezone)
                self._pending.add(site.id, _with_hours(given.store, site, whole))
        given.ledger.put(key, VERSION)  # last: until all of it is pending it is begun again

    def _write_hours(self) -> None:
        """Write the hours that are pending; those that fail stay so."""
        with self._writing:
            self._begin()
            for site in self._given.catalog.sites().values():
                while piece := self._pending.take(site.id):
                    self._write_piece(site, piece)
                    self._pending.written(site.id, piece)

    def _write_piece(self, site: Site, piece: Period) -> None:
        rows = list(hourly_indicators(self._given.figures(site.id), piece))
        there = self._drop_stale(site, piece, rows)
        self._put([row for row in rows if there.get(row.key) != row])

    def _drop_stale(
        self, site: Site, piece: Period, rows: Sequence[Indicator]
    ) -> dict[Key, Indicator]:
        """Take away figures of hours that are not known any more, or not in that way.

        Returns:
            What is there then.
        """
        store = self._given.store
        subjects = [site.id, *(f"{site.id}/{building.id}" for building in site.buildings)]
        there = {
            row.key: row for row in store.indicators(piece, subjects=subjects, quantities=_HOURLY)
        }
        stale = there.keys() - {row.key for row in rows}
        gone = {(subject, quantity) for subject, _, quantity, _ in stale}
        for subject, quantity in sorted(gone):
            store.drop_indicators(piece, subjects=[subject], quantities=[quantity])
        return {key: row for key, row in there.items() if (key[0], key[2]) not in gone}

    def _put(self, rows: Sequence[Indicator]) -> None:
        todo: Iterator[Indicator] = iter(rows)
        while part := list(islice(todo, AT_ONCE)):
            self._given.store.put_indicators(part)


def write_past(given: Services, site: Site, moments: Sequence[datetime]) -> None:
    """Write what the present was at moments of the past, such as after an import."""
    for moment in moments:
        rows = live_indicators(given.figures(site.id), moment)
        given.store.put_indicators(rows)
    days = sorted({local_day(moment, tz=site.timezone) for moment in moments})
    for day in days:
        given.store.put_indicators(daily_indicators(given.figures(site.id), day))


def _with_hours(store: ReadingStore, site: Site, whole: Period) -> list[Period]:
    """The part of a period from the first to the last piece that has hours, if any has.

    A meter whose clock was wrong may have readings decades away from all others.
    """
    subjects = [site.point_key(point) for point in site.all_points()]
    pieces = list(pieces_of(whole))

    def has_hours(piece: Period) -> bool:
        return len(store.series("energy", piece, subjects=subjects)) > 0

    first = next((piece for piece in pieces if has_hours(piece)), None)
    last = next((piece for piece in reversed(pieces) if has_hours(piece)), None)
    return [Period(first.start, last.end)] if first and last else []
