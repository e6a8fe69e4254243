"""What routes, commands and jobs are handed: one home, opened, with its parts joined together."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from api.answers import Document
from api.asking import Bounded
from api.catalog import Catalog
from api.compute import Recompute
from api.executors import executor_of
from api.figures import Figures
from api.home import Home
from api.journal_numbers import settle_numbers
from api.journals import Journals
from api.line import Behind, Line
from api.pending_hours import PendingHours
from api.quarantines import Quarantines
from api.roles import SCHEDULE, UP, Role, check_role
from api.settings import Settings
from carbon.factor_files import load_registry
from carbon.registry import Registry
from ingest.context import Context
from ingest.journal import Journal
from ingest.listener import Listener
from ingest.profile_model import Profiles
from ingest.profiles import load_profiles
from ingest.projector import Projector
from metering.ledger.port import Ledger
from metering.ledger.sql_ledger import open_ledger
from metering.periods import utc_text
from metering.store.duckdb_store import open_duckdb
from metering.store.port import ReadingStore, StoreUnavailable

if TYPE_CHECKING:
    from api.indicator_writer import IndicatorWriter
    from api.leading import Leading
    from api.projecting import Projecting
    from ingest.subscriber import Subscriber

log = logging.getLogger(__name__)


UNAPPLIED = (
    "The store was away when this process started; hours of definitions that may have changed are "
    "let go of first."
)


@dataclass(slots=True)
class Services:
    """The parts of one installation."""

    settings: Settings
    home: Home
    role: Role
    journal: Journal | None
    """Of this home; None where other processes keep the journals."""
    journals: Journals
    store: ReadingStore
    ledger: Ledger
    catalog: Catalog
    profiles: Profiles
    registry: Registry
    projector: Projector | None
    quarantine: Quarantines
    recompute: Recompute
    line: Line
    context: Context
    started_at: datetime
    unapplied: bool = False
    """Whether the store was away at the start, and may hold hours of other definitions still."""
    run_token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    bounded: Bounded = field(default_factory=Bounded)
    listener: Listener | None = None
    subscriber: Subscriber | None = None
    projecting: Projecting | None = None
    indicators: IndicatorWriter | None = None
    leading: Leading | None = None

    @property
    def tokens(self) -> list[str]:
        """Who may ask: nobody is turned away where no token is set."""
        secret = self.settings.http_token
        return [secret.get_secret_value(), self.run_token] if secret else []

    @property
    def own_tokens(self) -> list[str]:
        """What opens doors that nobody may use without a token."""
        secret = self.settings.http_token
        return [self.run_token, *([secret.get_secret_value()] if secret else [])]

    def now(self) -> datetime:
        """The time."""
        return datetime.now(UTC)

    def figures(self, site: str | None, *, known_by: date | None = None) -> Figures:
        """The figures of a site, as known now or on another day.

        Raises:
            SiteNotFound: No such site, or several and none named.
        """
        model = self.catalog.site(site)
        if known_by is not None:
            model = self.catalog.known_by(model, known_by)
        return Figures(self.store, model, self.registry, self.profiles.registers, known_by)

    def current(self, document: Document, behind: Behind | None) -> Document:
        """The document, saying what it does not include yet if that is so."""
        if behind is None:
            return document
        oldest = utc_text(behind.oldest) if behind.oldest else None
        found: Document = {"messages": behind.messages, "oldest": oldest}
        if behind.unknown:
            found["unknown"] = list(behind.unknown)
        return document | {"behind": found}

    def catch_up(self) -> Behind | None:
        """Include everything acknowledged before now, or say what is missing.

        Raises:
            StoreUnavailable: It was away when this process started, and holds hours of other
                definitions still.
        """
        if self.unapplied:
            raise StoreUnavailable(f"{UNAPPLIED} Ask again in some seconds.")
        patience_s = self.settings.answer_wait_s
        wait_s = patience_s if self.line.moving else float("inf")
        return self.line.catch_up(wait_s, others_s=patience_s)

    def reload(self) -> list[str]:
        """Read site files and factors again; return the sites that changed.

        Raises:
            SiteErrors: A site file cannot be used; nothing changes then.
            FactorFileError: A factor file cannot be used; nothing changes then.
        """
        registry = load_registry(self.home.factors)
        changed = self.catalog.load(now=self.now())
        self.registry = registry
        self.context = Context.of(self.catalog.sites().values(), self.profiles)
        if self.leading is None or self.leading.leads:  # who leads next applies them itself
            self.apply()
        return changed

    def apply(self) -> None:
        """Let go of what other definitions made, and read again what they could not read."""
        if self.role.recomputes:
            with self.recompute.paused():
                self.catalog.apply(self.store, self.registry)
        if self.journal is not None:
            self.quarantine.of(self.journal.journal_id).replay_all_if_changed()
        self.unapplied = False


@contextmanager
def open_services(
    settings: Settings, role: Role = UP, *, patient: bool = False
) -> Iterator[Services]:
    """Own a home and open what a role needs in it.

    Args:
        settings: Of the installation.
        role: What the process is to do.
        patient: Open also while the store is away; the caller applies definitions later.

    Raises:
        HomeError: It is no home, or another process owns it.
        SiteErrors: A site file cannot be used.
        FactorFileError: A factor file cannot be used.
        ProfileErrors: A profile cannot be used.
        SettingsError: The settings do not let several processes share an installation.
        StoreUnavailable: The store does not answer, and we are not patient.
    """
    check_role(role, settings)
    home = Home(settings.home, settings.config)
    home.check()
    with ExitStack() as stack:
        stack.enter_context(home.owned())
        registry = load_registry(home.factors)
        profiles = load_profiles(*([home.profiles] if home.profiles.is_dir() else []))
        ledger = open_ledger(settings.ledger_url)
        stack.callback(ledger.close)
        catalog = Catalog(home.given, ledger, profiles.registers)
        catalog.load(now=datetime.now(UTC))
        journal = open_journal(settings, home) if role.accepts else None
        if journal is not None:
            stack.callback(journal.close)
            settle_numbers(journal, ledger, now=datetime.now(UTC))
        secret = settings.http_token
        token = secret.get_secret_value() if secret else None
        journals = Journals(journal, ledger, token=token)
        stack.callback(journals.close)
        store = open_store(settings, home)
        stack.callback(store.close)
        services = _joined(
            settings, home, role, journals, store, ledger, catalog, profiles, registry
        )
        stack.callback(services.recompute.executor.close)
        stack.callback(services.line.stop)
        if role is not SCHEDULE:  # which does so once it leads
            try:
                services.apply()
            except StoreUnavailable as error:
                if not patient:
                    raise
                services.unapplied = True
                log.warning("the store is away, what comes is kept meanwhile: %s", error)
        yield services


def open_journal(settings: Settings, home: Home) -> Journal:
    """The journal of a home, for writing.

    Raises:
        JournalError: Another process has it open, or it cannot be read.
    """
    return Journal(
        home.journal,
        segment_bytes=settings.journal_segment_mb << 20,
        archive=settings.journal_archive,
        min_free_bytes=settings.min_free_mb << 20,
    )


def open_store(settings: Settings, home: Home) -> ReadingStore:
    """The time-series store that the settings name.

    Raises:
        StoreUnavailable: It does not answer, or another process holds it.
        StoreDamaged: Its files cannot be read.
    """
    if settings.store == "influxdb":
        from metering.store.influx_store import open_influx

        token = settings.influx_token
        return open_influx(
            settings.influx_url,
            org=settings.influx_org or "",
            token=token.get_secret_value() if token else "",
            bucket=settings.influx_bucket,
            derived_bucket=f"{settings.influx_bucket}_derived",
        )
    return open_duckdb(home.store, memory_limit_mb=settings.store_memory_mb)


def _joined(
    settings: Settings,
    home: Home,
    role: Role,
    journals: Journals,
    store: ReadingStore,
    ledger: Ledger,
    catalog: Catalog,
    profiles: Profiles,
    registry: Registry,
) -> Services:
    context = Context.of(catalog.sites().values(), profiles)
    held: list[Services] = []

    def current_context() -> Context:
        return held[0].context if held else context

    journal = journals.own
    projector = None
    if journal:
        projector = Projector(
            journal, store, ledger, current_context, now=lambda: datetime.now(UTC)
        )
    recompute = Recompute(
        store,
        ledger,
        catalog.sites,
        lambda: held[0].registry,
        profiles.registers,
        executor_of(settings.workers, settings.dask),
    )
    if settings.writes_indicators and role.recomputes:
        # Also where nobody writes them now, such as during a rebuild: the next writer finds them.
        recompute.on_made = PendingHours(ledger, lambda: store.store_id).made
    shared = settings.store == "influxdb"
    line = Line(
        journals, store, ledger, projector, recompute, recomputes=role.recomputes, shared=shared
    )
    services = Services(
        settings=settings,
        home=home,
        role=role,
        journal=journal,
        journals=journals,
        store=store,
        ledger=ledger,
        catalog=catalog,
        profiles=profiles,
        registry=registry,
        projector=projector,
        quarantine=Quarantines(journals, store, ledger, current_context),
        recompute=recompute,
        line=line,
        context=context,
        started_at=datetime.now(UTC),
    )
    held.append(services)
    return services
