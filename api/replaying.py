"""Replays that one process asks another for, because only one at a time may write a journal.

Whoever moves a journal into the store replays its messages too. The request is a note in the ledger
under the journal's name, and so is the answer; whoever asked takes it away.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from ingest.quarantine import Quarantine, Replayed
from ingest.remote_journal import JournalUnavailable
from ingest.segments import JournalError
from metering.ledger.port import Ledger, LedgerUnavailable
from metering.store.port import StoreUnavailable

log = logging.getLogger(__name__)

BEGUN_WITHIN_S: Final = 20.0
"""Who moves a journal looks every few seconds; one that just took it over needs its time."""

DONE_WITHIN_S: Final = 240.0
"""A replay that was begun is waited for as long."""

LOOK_S: Final = 2.0
_PAUSE_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Wanted:
    """A request and how far it is."""

    id: str
    sequence: int | None = None
    code: str | None = None
    state: str = "asked"
    """`asked`, `begun`, `done` or `failed`."""
    replayed: Replayed = field(default_factory=Replayed)
    why: str = ""

    @property
    def is_over(self) -> bool:
        """Whether nobody works on it any more."""
        return self.state in ("done", "failed")

    def text(self) -> str:
        """As it stands in the note."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def of(cls, text: str) -> Wanted:
        """What a note says; one that says nothing we know is over."""
        try:
            found = json.loads(text)
            return cls(**found | {"replayed": Replayed(**found["replayed"])})
        except (ValueError, TypeError, KeyError):
            return cls("", state="failed", why="it cannot be read")


def ask(
    ledger: Ledger,
    journal: str,
    *,
    sequence: int | None = None,
    code: str | None = None,
    begun_within_s: float = BEGUN_WITHIN_S,
) -> Replayed:
    """Have messages of a journal replayed by whoever moves it into the store.

    Args:
        ledger: Carries request and answer.
        journal: Which.
        sequence: Only this message.
        code: Only messages with this reason.
        begun_within_s: How long somebody may take to begin.

    Raises:
        JournalUnavailable: Nobody began in time, or what was begun did not end in time.
        StoreUnavailable: It was begun and failed; replay again.
        LedgerUnavailable: The ledger does not answer.
    """
    mine, deadline = Wanted(secrets.token_hex(8), sequence, code), time.monotonic() + begun_within_s
    while not ledger.swap(_key(journal), expected=None, value=mine.text()):
        _make_room(ledger, _key(journal))
        if time.monotonic() > deadline:
            raise JournalUnavailable(f"Another replay of journal {journal} goes on; wait for it.")
        time.sleep(_PAUSE_S)
    over = _outcome(ledger, journal, mine, deadline)
    if over.state == "failed":
        raise StoreUnavailable(over.why)
    return over.replayed


def _outcome(ledger: Ledger, journal: str, mine: Wanted, deadline: float) -> Wanted:
    """Wait for the answer to a request, and take it away."""
    key, begun = _key(journal), False
    while True:
        text = ledger.get(key)
        found = Wanted.of(text or "")
        if found.id != mine.id:
            raise JournalUnavailable(f"A replay of journal {journal} was withdrawn; replay again.")
        if found.is_over:
            ledger.swap(key, expected=text, value=None)
            return found
        if found.state == "begun" and not begun:
            begun, deadline = True, time.monotonic() + DONE_WITHIN_S
        if time.monotonic() > deadline and ledger.swap(key, expected=text, value=None):
            raise JournalUnavailable(_STILL_AT_IT if begun else _NOBODY.format(journal))
        time.sleep(_PAUSE_S)


_NOBODY: Final = (
    "Nobody moves journal {} into the store now, so nothing was replayed. Start `project` (or look "
    "at its log), then replay again."
)
_STILL_AT_IT: Final = (
    f"The replay takes longer than {DONE_WITHIN_S:.0f} s and goes on; the quarantine says what is "
    "left."
)


def _make_room(ledger: Ledger, key: str) -> None:
    """Take an answer away that nobody fetched."""
    text = ledger.get(key)
    if text is not None and Wanted.of(text).is_over:
        ledger.swap(key, expected=text, value=None)


def answer(ledger: Ledger, journal: str, quarantine: Callable[[], Quarantine]) -> bool:
    """Do what was asked for a journal that this process moves; say whether there was anything.

    Raises:
        LedgerUnavailable: The ledger does not answer; the request stays.
    """
    key = _key(journal)
    text = ledger.get(key)
    wanted = Wanted.of(text) if text is not None else None
    if wanted is None or wanted.is_over:
        return False
    begun = dataclasses.replace(wanted, state="begun")
    # One that another process began and did not end is begun again: doing it twice is harmless.
    if begun != wanted and not ledger.swap(key, expected=text, value=begun.text()):
        return False
    try:
        replayed = _replayed(ledger, wanted, journal, quarantine())
        over = dataclasses.replace(begun, state="done", replayed=replayed)
    except (StoreUnavailable, LedgerUnavailable, JournalError, LookupError) as error:
        over = dataclasses.replace(begun, state="failed", why=str(error))
    ledger.swap(key, expected=begun.text(), value=over.text())
    return True


def _replayed(ledger: Ledger, wanted: Wanted, journal: str, quarantine: Quarantine) -> Replayed:
    entries = ledger.quarantined(sequence=wanted.sequence, code=wanted.code)
    own = {entry.sequence for entry in entries if entry.journal == journal}
    return quarantine.replay_messages(own, Replayed())


class Answering:
    """Does what is asked for the journals that this process moves, in a thread of its own.

    Args:
        ledger: Carries requests and answers.
        mine: The journals, and how the quarantine of each is opened.
    """

    def __init__(
        self, ledger: Ledger, mine: Callable[[], Mapping[str, Callable[[], Quarantine]]]
    ) -> None:
        self._ledger, self._mine = ledger, mine
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="replays", daemon=True)

    def start(self) -> None:
        """Look for requests until `stop`."""
        self._thread.start()

    def stop(self, timeout_s: float = 30.0) -> None:
        """End after the replay under way."""
        self._stop.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._stop.wait(LOOK_S):
            for journal, quarantine in self._mine().items():
                try:
                    answer(self._ledger, journal, quarantine)
                except LedgerUnavailable as error:
                    log.warning("replays: %s", error)
                except Exception:
                    log.exception("replays: journal %s cannot be replayed", journal)


def _key(journal: str) -> str:
    return f"replay/{journal}"
