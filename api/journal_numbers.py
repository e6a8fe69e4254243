"""No number of a journal is given twice, also after an older copy of it was put back.

Whoever restores a backup of a home, or the snapshot of a machine, has a journal that ends earlier
than what others have of it: the store holds readings of later messages, answers and quarantines
name their numbers. So before a journal gives a number, the ledger is asked for the newest one that
anybody knows, and the journal goes on behind it.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

from api.journals import registered
from ingest.journal import Journal, Lost
from metering.findings import Finding
from metering.ledger.port import Ledger, LedgerUnavailable, Noted
from metering.ledger.sql_ledger import open_ledger
from metering.periods import utc_text

log = logging.getLogger(__name__)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def settle_numbers(journal: Journal, ledger: Ledger, *, now: datetime) -> None:
    """Let a journal go on behind every number the ledger knows of, and note what is lost.

    If it took messages before the ledger could be asked, they may bear numbers that others had
    before them; they are moved into every store all the same.

    Raises:
        LedgerUnavailable: It does not answer; ask again.
        JournalError: The disk does not take it; likewise.
    """
    name, begun = journal.journal_id, journal.unasked
    place = registered(ledger).get(name)
    known = max(ledger.furthest(name), place.last_sequence if place else 0)
    if begun is not None and known > begun:
        ledger.set_back(begun, journal=name)
    lost = journal.go_on_behind(known, found_at=(now - _EPOCH) // timedelta(microseconds=1))
    last = known if lost is None else lost.first - 1
    if begun is not None and begun < last <= known:
        ledger.note([_repeated(name, begun + 1, last, now)])
    if journal.lost:
        ledger.note([_lost(name, each) for each in journal.lost])


def settle_or_remember(journal: Journal, ledger_url: str, *, now: datetime) -> None:
    """Settle the numbers if the ledger answers; else see that it is done before anybody reads.

    Raises:
        JournalError: The disk does not take it.
    """
    try:
        ledger = open_ledger(ledger_url)
        try:
            settle_numbers(journal, ledger, now=now)
        finally:
            ledger.close()
    except LedgerUnavailable as error:
        journal.note_unasked()
        log.warning("the journal is served once the ledger has been asked about it: %s", error)


def _lost(name: str, lost: Lost) -> Noted:
    at = _EPOCH + timedelta(microseconds=lost.found_at)
    message = (
        f"Messages {lost.first} to {lost.last} are lost: the journal was found to be an older copy "
        f"on {utc_text(at)}. What the store holds of them counts, but leads to no telegram any "
        "more, and a rebuild makes the store without it."
    )
    finding = Finding("journal.lost", message, {"first": lost.first, "last": lost.last})
    return Noted(f"{name}/{lost.first}", at, finding, at)


def _repeated(name: str, first: int, last: int, now: datetime) -> Noted:
    message = (
        f"The journal was put back from a copy that ends before message {first}, and took messages "
        f"while the ledger could not be asked. Numbers {first} to {last} were given twice: a "
        "reading belongs to the message that arrived when it did."
    )
    finding = Finding("journal.repeated", message, {"first": first, "last": last})
    return Noted(f"{name}/{first}", now, finding, now)
