"""Makes everything that is derived again from the journals."""

from __future__ import annotations

import heapq
import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from api.answers import Document
from api.home import Home, HomeBusy
from api.leases import LeaseTaken, alone, lease_names
from api.roles import SCHEDULE, UP, Role
from api.services import Services, open_services
from api.settings import Settings
from ingest.journal_records import Record
from ingest.keeping import decode_sparing, keep
from ingest.projector import MessageJournal
from ingest.segments import JournalDamaged

log = logging.getLogger(__name__)

BATCH = 20_000
"""So many messages are moved at once."""


def rebuild_home(settings: Settings) -> Document:
    """Forget the store and make it again; the journals and the dated facts stay.

    A store that is damaged is set aside first, never deleted. Where several processes share an
    installation, every registered journal is read, and those who move journals or make hours must
    have ended.

    Raises:
        HomeBusy: A running process owns the home, or moves a journal, or makes hours.
        JournalUnavailable: The process that keeps a journal does not answer.
    """
    home = Home(settings.home, settings.config)
    home.check()
    running = home.running()
    if running is not None:
        raise HomeBusy(
            f"The home {home.path} is in use by process {running.pid}. Stop it, then rebuild."
        )
    moved = []
    if settings.store == "duckdb":
        with home.owned():
            moved = _set_aside(home)
    with open_services(settings, _role(settings, home)) as services, ExitStack() as stack:
        journals, check = _journals(services, stack)
        services.recompute.still_ours = _holds(check)
        services.ledger.forget_positions()
        services.store.clear()
        services.catalog.apply(services.store, services.registry)
        lost: list[Document] = []
        messages = _project_all(services, journals, check, lost)
        services.recompute.work_off()
        readings = sum(each.count for each in services.store.summaries())
        return {
            "messages": messages,
            "readings": readings,
            "quarantined": sum(services.ledger.quarantine_counts().values()),
            "set_aside": [path.name for path in moved],
            "lost": lost,
        }


def _role(settings: Settings, home: Home) -> Role:
    """Without a journal of its own where others keep them."""
    alone = settings.store == "duckdb" or home.journal.is_dir() or settings.ledger is None
    return UP if alone else SCHEDULE


def _holds(check: Callable[[], None]) -> Callable[[], bool]:
    def holds() -> bool:
        try:
            check()
        except LeaseTaken:
            return False
        return True

    return holds


def _journals(
    services: Services, stack: ExitStack
) -> tuple[list[MessageJournal], Callable[[], None]]:
    """Every journal of the installation, once nobody else works on the store; and a check of that.

    Raises:
        HomeBusy: Somebody does.
    """
    places = services.journals.places() if services.line.shared else {}
    names = lease_names(places) if places else []
    check = stack.enter_context(alone(services.ledger, names, "rebuild"))
    inside = [place for place in places.values() if place.projects and not place.stopped]
    if inside:
        raise HomeBusy(
            f"The process at {inside[0].url} moves its journal into the store itself. Stop it, "
            "then rebuild in its home."
        )
    found: list[MessageJournal] = [services.journals.own] if services.journals.own else []
    for place in places.values():
        remote = services.journals.remote(place)
        remote.ask_last()
        found.append(remote)
    return found, check


def _project_all(
    services: Services,
    journals: Sequence[MessageJournal],
    check: Callable[[], None],
    lost: list[Document],
) -> int:
    """Move every message into the store, in the order of (arrival, journal, sequence).

    Args:
        services: The parts.
        journals: All that there are.
        check: Whether nobody else works on the store.
        lost: Gets what could not be read.

    Raises:
        LeaseTaken: Another process began to work on the store; rebuild again.
    """
    store_id, moved = services.store.store_id, 0
    merged = heapq.merge(
        *(_messages(journal, lost) for journal in journals),
        key=lambda each: (each[1].received_at, each[0], each[1].sequence),
    )
    while batch := list(itertools.islice(merged, BATCH)):
        check()
        for name in sorted({name for name, _ in batch}):
            records = [record for of, record in batch if of == name]
            decoded = decode_sparing(records, services.context, journal=name)
            keep(decoded, services.store, services.ledger)
            last = records[-1].sequence
            services.ledger.save_position(last, store_id=store_id, journal=name)
        moved += len(batch)
    return moved


def _messages(journal: MessageJournal, lost: list[Document]) -> Iterator[tuple[str, Record]]:
    """All messages of a journal up to where it is now; what is damaged or lost is stepped over."""
    at, last = 0, journal.last_sequence
    while at < last:
        try:
            records = journal.read(at, BATCH)
        except JournalDamaged as damage:
            log.error("rebuild: %s", damage)
            found = {"journal": journal.journal_id, "first": at + 1}
            at = max(damage.last_lost, at + 1)
            lost.append({**found, "last": at})
            continue
        if not records:
            return
        yield from ((journal.journal_id, record) for record in records)
        at = records[-1].sequence


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
