"""What the doctor looks at of the journals that other processes of the installation keep."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial

from api.backup import ledger_file
from api.doctor import Check, Patient
from api.journals import Place, registered
from api.remote_journal import RemoteJournal
from ingest.journal_folder import META_NAME, read_meta
from ingest.remote_journal import JournalUnavailable
from metering.ledger.port import LedgerUnavailable
from metering.ledger.sql_ledger import open_ledger

_ASK_JOURNAL_S = 5.0
_AT_ONCE = 8
"""Journals that are asked at the same time, so that several that hang cost one wait."""


def others(patient: Patient) -> list[Place]:
    """The journals that other processes registered; none while the ledger does not answer."""
    file = ledger_file(patient.settings)
    if file is not None and not file.is_file():
        return []
    try:
        with closing(open_ledger(patient.settings.ledger_url, migrate=False)) as ledger:
            found = registered(ledger)
    except LedgerUnavailable:
        return []  # said by its own check
    folder = patient.home.journal
    if (folder / META_NAME).is_file():
        found.pop(read_meta(folder).journal, None)
    return list(found.values())


def check_journals(patient: Patient) -> Sequence[Check]:
    """The journals that other processes keep answer, each asked where it is registered."""
    places = others(patient)
    if not places:
        return []
    token = patient.settings.http_token
    ask = partial(_silence, token=token.get_secret_value() if token else None)
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        silent = [check for check in pool.map(ask, places) if check is not None]
    answering = len(places) - len(silent)
    text = f"{answering} of {len(places)} of other processes answer, or ended in order."
    return silent or [Check("journals", "ok", text)]


def _silence(place: Place, *, token: str | None) -> Check | None:
    """What is to be said of a journal that does not answer; None if that is well."""
    if place.stopped:
        return None
    try:
        with closing(RemoteJournal(place.journal, place.url, token=token)) as journal:
            journal.ask_last(_ASK_JOURNAL_S)
    except JournalUnavailable as error:
        text = f"{error} It was at message {place.last_sequence} when it was last heard."
        remedy = (
            f"Start its `{place.role}` again: what it holds may be missing in answers until then. "
            f"If it is gone for good: tanyuan journal forget {place.journal}"
        )
        return Check("journals", "warn", text, remedy)
    return None
