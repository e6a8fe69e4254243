"""What backup and restore must know of a home that is one part of a shared installation.

Several processes then use one store and one ledger, so that restoring the home of one of them
must leave both as they are: other journals are in there as well.
"""

from __future__ import annotations

from contextlib import closing

from api.journals import registered
from api.settings import Settings
from metering.ledger.port import LedgerUnavailable
from metering.ledger.sql_ledger import open_ledger


def is_shared(settings: Settings, journal: str | None) -> bool | None:
    """Whether other processes use the store of a home too; None if that cannot be known now.

    Args:
        settings: Of the home.
        journal: The id of its journal, if it has one.
    """
    if settings.store == "duckdb" or settings.ledger is None:
        return False
    try:
        with closing(open_ledger(settings.ledger_url, migrate=False)) as ledger:
            places = registered(ledger)
    except LedgerUnavailable:
        return None
    own = places.pop(journal, None) if journal else None
    return bool(places) or (own is not None and not own.projects)
