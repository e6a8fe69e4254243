"""Makes everything that is derived again from the journal."""

from __future__ import annotations

from pathlib import Path

from api.answers import Document
from api.home import Home, HomeBusy
from api.services import open_services
from api.settings import Settings


def rebuild_home(settings: Settings) -> Document:
    """Forget the store and make it again; the journal and the dated facts stay.

    A store that is damaged is set aside first, never deleted.

    Raises:
        HomeBusy: A running process owns the home.
    """
    home = Home(settings.home, settings.config)
    home.check()
    running = home.running()
    if running is not None:
        raise HomeBusy(
            f"The home {home.path} is in use by process {running.pid}. Stop it, then rebuild."
        )
    with home.owned():
        moved = _set_aside(home)
    with open_services(settings) as services:
        services.ledger.forget_positions()
        services.store.clear()
        services.catalog.apply(services.store, services.registry)
        services.catch_up()
        readings = sum(each.count for each in services.store.summaries())
        return {
            "messages": services.journals.own.last_sequence if services.journals.own else 0,
            "readings": readings,
            "quarantined": sum(services.ledger.quarantine_counts().values()),
            "set_aside": [path.name for path in moved],
        }


def _set_aside(home: Home) -> list[Path]:
    """Move the store's files out of the way; what was set aside before stays what it is."""
    moved = []
    for path in sorted(home.path.glob(home.store.name + "*")):
        if path.is_file() and ".old" not in path.name:
            number = sum(1 for _ in home.path.glob(f"{path.name}.old*"))
            target = path.with_name(f"{path.name}.old{number or ''}")
            path.replace(target)
            moved.append(target)
    return moved
