"""Every journal of an installation: the one in this home, and those that other processes serve.

A process that keeps a journal registers it in the ledger and says every few seconds how far it is;
others read it over HTTP, with the token of the installation.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from api.remote_journal import RemoteJournal
from ingest.journal import Journal
from ingest.journal_reader import RecordNotFound
from ingest.journal_records import Record
from ingest.projector import MessageJournal
from ingest.remote_journal import JournalUnavailable
from ingest.segments import JournalError
from metering.ledger.port import Ledger, LedgerUnavailable

log = logging.getLogger(__name__)

BEAT_S = 3.0
"""How often a process says how far its journal is."""

_KEY = "journal/"


class NoSuchJournal(LookupError):
    """This process keeps another journal, or none."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a journal is served, as its process last said."""

    journal: str
    url: str
    role: str
    last_sequence: int
    """The newest message when it was said."""
    projects: bool = False
    """Whether its own process moves it into the store."""
    stopped: bool = False
    """Whether the process ended in order: nothing came after `last_sequence`."""

    def text(self) -> str:
        """As the ledger keeps it."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)


def registered(ledger: Ledger) -> dict[str, Place]:
    """The journals that processes registered, by id."""
    found = {}
    for key, text in ledger.notes(_KEY).items():
        try:
            place = Place(**json.loads(text))
        except (ValueError, TypeError) as error:
            log.warning("%s in the ledger cannot be read and is passed over: %s", key, error)
            continue
        found[place.journal] = place
    return found


def forget(ledger: Ledger, journal: str) -> bool:
    """Take a journal off the list; say whether it was on it."""
    text = ledger.get(_KEY + journal)
    return text is not None and ledger.swap(_KEY + journal, expected=text, value=None)


@contextmanager
def registering(
    open_ledger: Callable[[], Ledger],
    place: Callable[[], Place],
    *,
    first: Callable[[Ledger], None] = lambda _: None,
    beat_s: float = BEAT_S,
) -> Iterator[None]:
    """Register a journal while inside, and keep saying how far it is.

    Args:
        open_ledger: Opens the ledger; tried again as long as it does not answer, because a
            journal accepts messages without it.
        place: What is to be said now.
        first: What is done once the ledger answers, before anything is said.
        beat_s: How often.
    """
    stop = threading.Event()
    thread = threading.Thread(
        target=_keep_saying,
        args=(open_ledger, place, first, beat_s, stop),
        name="register",
        daemon=True,
    )
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)


def _keep_saying(
    open_ledger: Callable[[], Ledger],
    place: Callable[[], Place],
    first: Callable[[Ledger], None],
    beat_s: float,
    stop: threading.Event,
) -> None:
    ledger: Ledger | None = None
    said = away = ""
    is_first = True
    try:
        while True:
            ending = stop.is_set()
            try:
                ledger = ledger or open_ledger()
                if is_first:
                    first(ledger)
                    is_first = False
                now = dataclasses.replace(place(), stopped=ending)
                if now.text() != said:
                    ledger.put(_KEY + now.journal, now.text())
                    said = now.text()
                away = ""
            except (LedgerUnavailable, JournalError) as error:
                if not away:
                    log.warning("the journal is not registered yet: %s", error)
                away = str(error)
            if ending:
                return
            stop.wait(beat_s)
    finally:
        if ledger is not None:
            ledger.close()


class Journals:
    """The journals of an installation.

    Args:
        own: That of this home, if it has one.
        ledger: Where the others are registered.
        token: What they want to see.
    """

    def __init__(self, own: Journal | None, ledger: Ledger, *, token: str | None) -> None:
        self.own = own
        self._ledger, self._token = ledger, token
        self._open: dict[str, RemoteJournal] = {}
        self._lock = threading.Lock()

    def places(self) -> Mapping[str, Place]:
        """Where the journals of other processes are.

        Raises:
            LedgerUnavailable: The ledger does not answer.
        """
        found = registered(self._ledger)
        if self.own is not None:
            found.pop(self.own.journal_id, None)
        return found

    def ids(self) -> list[str]:
        """The names of all journals, this home's first."""
        own = [self.own.journal_id] if self.own is not None else []
        return own + sorted(self.places())

    def reader(self, journal: str) -> MessageJournal:
        """A journal to read.

        Raises:
            RecordNotFound: Nobody keeps a journal of that name.
        """
        if self.own is not None and journal == self.own.journal_id:
            return self.own
        place = self.places().get(journal)
        if place is None:
            raise RecordNotFound(
                f"Wanted journal {journal}, found neither in this home nor registered in the "
                "ledger. Start the process that keeps it; its journal is registered by itself."
            )
        return self.remote(place)

    def remote(self, place: Place) -> RemoteJournal:
        """The journal of another process; connections are kept."""
        with self._lock:
            found = self._open.get(place.journal)
            if found is None or found.url != place.url:
                if found is not None:
                    found.close()
                found = RemoteJournal(place.journal, place.url, token=self._token)
                self._open[place.journal] = found
            return found

    def record(self, journal: str, sequence: int) -> Record:
        """One message, wherever it is kept.

        Raises:
            RecordNotFound: There is no such journal or message.
            JournalError: It cannot be read, or its process does not answer.
        """
        return self.reader(journal).record(sequence)

    def newest(self, place: Place, *, timeout_s: float) -> int | None:
        """The newest message of another process's journal; None if it cannot be known now."""
        try:
            return self.remote(place).ask_last(timeout_s)
        except JournalUnavailable:
            return place.last_sequence if place.stopped else None

    def close(self) -> None:
        """Let go of connections to other processes."""
        with self._lock:
            for each in self._open.values():
                each.close()
            self._open.clear()


def wait_for_positions(
    ledger: Ledger, store_id: str, wanted: Mapping[str, int], *, until: float
) -> dict[str, int]:
    """Wait until journals are in the store as far as wanted; return the messages still missing."""
    pause = 0.01
    while True:
        missing = {
            journal: sequence - at
            for journal, sequence in wanted.items()
            if (at := ledger.position(store_id=store_id, journal=journal)) < sequence
        }
        if not missing or time.monotonic() >= until:
            return missing
        time.sleep(min(pause, max(0.0, until - time.monotonic())))
        pause = min(2 * pause, 0.2)
