"""`listen` and `collect`: a journal with one door, served to the other processes.

It needs neither the store nor the ledger to accept messages: while they are away, whatever comes is
kept, and it is registered as soon as the ledger answers.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import secrets
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from anyio import to_thread
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger
from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric

from api import logs, problems
from api.answers import Document, to_json
from api.auth import check_token, may_ask
from api.doors import allow_connections, listener_of, served, subscriber_of
from api.home import Home, Running
from api.journal_numbers import settle_numbers, settle_or_remember
from api.journal_status import (
    broker_document,
    disk_metric,
    door_metrics,
    gauge,
    journal_metrics,
    plain,
    refusals,
)
from api.journals import Place, registering
from api.roles import COLLECT, Role, check_role
from api.routes.journals import serve_journal
from api.running import say
from api.services import open_journal
from api.settings import Settings
from api.signals import stop_signals, wait_for
from api.telemetry import telemetry
from api.version import version
from ingest.import_files import import_file
from ingest.journal import Journal
from ingest.listener import Listener
from metering.findings import Finding
from metering.ledger.port import Ledger, LedgerUnavailable, Noted
from metering.ledger.sql_ledger import open_ledger
from metering.periods import utc_text
from metering.site_files import load_home_sites

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ingest.subscriber import Subscriber

log = logging.getLogger(__name__)

VERIFY_AT = "0 3 * * sun"
"""When the journal is read through, in UTC."""


@dataclass(slots=True, eq=False)
class Collector:
    """The parts of a process that only collects."""

    settings: Settings
    home: Home
    role: Role
    journal: Journal
    started_at: datetime
    run_token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    listener: Listener | None = None
    subscriber: Subscriber | None = None

    @property
    def tokens(self) -> list[str]:
        """Who may ask; there is always a token."""
        secret = self.settings.http_token
        return [self.run_token, *([secret.get_secret_value()] if secret else [])]

    def unready(self) -> list[tuple[str, str]]:
        """The parts through which nothing more comes, and why."""
        found = [("journal", each) for each in refusals(self.journal, self.home, self.settings)]
        if self.subscriber is not None and not self.subscriber.connected:
            text = f"Not connected to {self.settings.broker}: {self.subscriber.last_error}"
            found.append(("broker", text))
        return found

    def collect(self) -> Iterator[Metric]:
        """Its metrics."""
        labels = {"version": version(), "role": self.role.name}
        yield gauge("build_info", "Version of the program.", 1, labels)
        yield from journal_metrics(self.journal)
        yield disk_metric(self.home)
        yield from door_metrics(self.listener, self.subscriber)


def run_collector(
    settings: Settings, role: Role, *, ready: Callable[[Running], None] | None = None
) -> None:
    """Run until SIGTERM or SIGINT.

    Args:
        settings: Of this process.
        role: `LISTEN` or `COLLECT`.
        ready: Called once the doors answer.
    """
    check_role(role, settings)
    logs.configure(settings.log_level, settings.log_format, secrets=settings.secrets)
    allow_connections()
    stop = threading.Event()
    with collecting(settings, role) as running, stop_signals(stop, list):
        if ready is not None:
            ready(running)
        wait_for(stop)
        log.info("stopping")


@contextmanager
def collecting(settings: Settings, role: Role) -> Iterator[Running]:
    """Accept messages, serve the journal and register it while inside."""
    home = Home(settings.home, settings.config)
    with ExitStack() as stack:
        stack.enter_context(home.owned())
        journal = open_journal(settings, home)
        stack.callback(journal.close)
        settle_or_remember(journal, settings.ledger_url, now=datetime.now(UTC))
        given = Collector(settings, home, role, journal, datetime.now(UTC))
        logs.hide(given.run_token)
        app = collector_app(given)
        stack.enter_context(telemetry(settings, role.name))(app)
        port = stack.enter_context(served(app, settings))
        url = settings.advertised_url(port)
        stack.enter_context(
            registering(
                lambda: open_ledger(settings.ledger_url),
                lambda: Place(journal.journal_id, url, role.name, journal.last_sequence),
                first=lambda ledger: _settle_late(journal, ledger),
            )
        )
        mqtt_port = _open_door(given, stack)
        stack.callback(_verifying(given).shutdown, wait=False)
        running = Running(os.getpid(), mqtt_port, port, given.run_token)
        home.announce(running)
        stack.callback(home.withdraw)
        say(_where(given, running), settings)
        yield running


def _settle_late(journal: Journal, ledger: Ledger) -> None:
    """Ask what could not be asked at the start."""
    if not journal.is_settled:
        settle_numbers(journal, ledger, now=datetime.now(UTC))


def _open_door(given: Collector, stack: ExitStack) -> int:
    """Let messages in; the MQTT port, or 0 where we go to a broker."""
    if given.role is COLLECT:
        given.subscriber = subscriber_of(given.settings, given.journal)
        given.subscriber.start()
        stack.callback(given.subscriber.stop)
        return 0
    given.listener = listener_of(given.settings, given.journal)
    given.listener.start()
    stack.callback(given.listener.stop)
    return given.listener.port


def _where(given: Collector, running: Running) -> str:
    came_from = (
        f"MQTT {given.settings.mqtt_bind}:{running.mqtt_port}"
        if given.listener is not None
        else f"from {given.settings.broker}"
    )
    return (
        f"tanyuan {given.role.name} is up: {came_from}, journal {given.journal.journal_id} at "
        f"{given.settings.advertised_url(running.http_port)}  (pid {running.pid})"
    )


def _verifying(given: Collector) -> BackgroundScheduler:
    """Read the journal through once a week, and note what is damaged."""
    scheduler = BackgroundScheduler(timezone="UTC")
    scheduler.add_job(
        _verify, CronTrigger.from_crontab(VERIFY_AT, timezone="UTC"), args=[given], id="verify"
    )
    scheduler.start()
    return scheduler


def _verify(given: Collector) -> list[str]:
    found = list(given.journal.verify().problems)
    for problem in found:
        log.error("journal: %s", problem)
    if found:
        now = datetime.now(UTC)
        day = now.replace(hour=0, minute=0, second=0, microsecond=0)
        subject = f"{given.journal.journal_id}"
        noted = [Noted(subject, day, Finding("journal.damaged", each), now) for each in found]
        try:
            ledger = open_ledger(given.settings.ledger_url)
            try:
                ledger.note(noted)
            finally:
                ledger.close()
        except LedgerUnavailable as error:
            log.warning("what is damaged is in this log only: %s", error)
    return found


# -- HTTP -------------------------------------------------------------------------------------


def _given(request: Request) -> Collector:
    given: Collector = request.app.state.collector
    check_token(request.headers.get("authorization"), given.tokens)
    return given


Given = Annotated[Collector, Depends(_given)]
doors = APIRouter(tags=["system"])
router = APIRouter(prefix="/api/v1", tags=["system"])


def collector_app(given: Collector) -> FastAPI:
    """What a collecting process serves: its journal, health, status and imports."""
    app = FastAPI(title=f"Tanyuan 碳园: {given.role.name}", version=version(), docs_url=None)
    app.state.collector = given
    problems.install(app)
    app.include_router(doors)
    app.include_router(router)
    serve_journal(app, given.journal, given.tokens)
    return app


@doors.get("/healthz")
def healthz() -> Response:
    """200 while the process answers."""
    return Response(b"ok\n", media_type="text/plain")


@doors.get("/readyz")
def readyz(request: Request) -> Response:
    """200 while messages are accepted; else 503 and, with the token, why."""
    given: Collector = request.app.state.collector
    tokens = given.tokens if given.settings.http_token else []
    known = may_ask(request.headers.get("authorization"), tokens)
    return problems.readiness(given.unready(), is_known=known)


@doors.get("/metrics")
def metrics(given: Given) -> Response:
    """Prometheus metrics."""
    registry = CollectorRegistry()
    registry.register(given)
    text = generate_latest(registry)
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


@router.get("/status")
def status(given: Given) -> Response:
    """The journal, its doors and the disk."""
    unready = [why for _, why in given.unready()]
    found: Document = {
        "version": version(),
        "role": given.role.name,
        "home": str(given.home.path),
        "started_at": utc_text(given.started_at),
        "ready": not unready,
        "journal": plain(given.journal.health()),
        "broker": broker_document(given.settings.broker, given.subscriber),
        "problems": unready,
    }
    return Response(to_json(found), media_type="application/json")


@router.post("/import")
async def import_upload(
    request: Request,
    given: Given,
    name: Annotated[str, Query(description="File name; its ending says CSV or Parquet")],
    site: Annotated[str | None, Query(description="Site the file's meters belong to")] = None,
) -> Response:
    """Readings from a file: they go through the journal like telegrams."""
    with tempfile.TemporaryDirectory(dir=given.home.path, prefix=".import-") as folder:
        path = Path(folder) / (Path(name).name or "file")
        await _write(path, request.stream())
        sites = [site] if site else _sites(given.home)
        report = await to_thread.run_sync(
            lambda: import_file(path, given.journal, sites=sites, received_at=datetime.now(UTC))
        )
    return Response(to_json(dataclasses.asdict(report)), media_type="application/json")


async def _write(path: Path, chunks: AsyncIterator[bytes]) -> None:
    with path.open("wb") as file:
        async for chunk in chunks:
            await to_thread.run_sync(file.write, chunk)


def _sites(home: Home) -> list[str]:
    return [each.site.id for each in load_home_sites(home.given)] if home.has_sites else []
