"""`up`: both doors, the line, the timetable and the page, in one process until told to stop."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from fastapi import FastAPI

from api import logs
from api.app import create_app
from api.doors import allow_connections, listener_of, served, subscriber_of
from api.home import Running
from api.indicator_writer import IndicatorWriter
from api.journals import Place, registering
from api.replaying import Answering
from api.routes.journals import serve_journal
from api.services import Services, open_services
from api.settings import Settings
from api.signals import stop_signals, wait_for
from api.telemetry import telemetry
from api.timetable import Timetable
from metering.ledger.port import LedgerUnavailable
from metering.ledger.sql_ledger import open_ledger
from metering.store.port import StoreUnavailable

log = logging.getLogger(__name__)

RETRY_S = 2.0
"""How often a store that was away at the start is tried."""


def run(settings: Settings, *, ready: Callable[[Services, Running], None] | None = None) -> None:
    """Run until SIGTERM or SIGINT; SIGHUP reads site and factor files again.

    Args:
        settings: Of the installation.
        ready: Called once both doors answer.
    """
    logs.configure(settings.log_level, settings.log_format, secrets=settings.secrets)
    allow_connections()
    with open_services(settings, patient=True) as services, doors(services) as running:
        logs.hide(services.run_token)
        stop = threading.Event()
        with stop_signals(stop, services.reload):
            if services.unapplied:
                threading.Thread(
                    target=_apply_later, args=(services, stop), name="applying", daemon=True
                ).start()
            print_where(running, settings)
            if ready is not None:
                ready(services, running)
            wait_for(stop)
        log.info("stopping")


def _apply_later(services: Services, stop: threading.Event) -> None:
    """Let go of what other definitions made, as soon as the store is there."""
    while not stop.wait(RETRY_S):
        try:
            services.apply()
        except (StoreUnavailable, LedgerUnavailable):
            continue
        except Exception:
            log.exception("definitions are not applied: a fault of ours; tried again in a minute")
            stop.wait(60.0)
            continue
        log.info("the store is back, definitions are applied")
        return


def print_where(running: Running, settings: Settings) -> None:
    """Say on stderr where the doors are."""
    say(
        f"tanyuan is up: MQTT {settings.mqtt_bind}:{running.mqtt_port}, "
        f"console http://{settings.http_bind}:{running.http_port}/  (pid {running.pid})",
        settings,
    )


def say(text: str, settings: Settings) -> None:
    """Say something to whoever started the process, in the form of its log."""
    from api.output import stderr

    if settings.log_format == "json":
        log.info(text)
    else:
        stderr().print(text, markup=False, soft_wrap=True)


@contextmanager
def doors(services: Services) -> Iterator[Running]:
    """Open both doors and keep the line and the timetable moving while inside."""
    settings, journal = services.settings, services.journal
    if journal is None:
        raise ValueError("`up` keeps a journal; these services have none.")
    with ExitStack() as stack:
        instrument = stack.enter_context(telemetry(settings, services.role.name))
        listener = listener_of(settings, journal)
        listener.start()
        stack.callback(listener.stop)
        services.listener = listener
        if settings.broker:
            subscriber = subscriber_of(settings, journal)
            subscriber.start()
            stack.callback(subscriber.stop)
            services.subscriber = subscriber
        if settings.writes_indicators:
            writer = services.indicators = IndicatorWriter(services)
            writer.start()
            stack.callback(writer.stop)
        services.line.start()
        stack.callback(services.line.stop)
        timetable = Timetable(services)
        timetable.start()
        stack.callback(timetable.stop)
        app = create_app(services)
        instrument(app)
        serve_journal(app, journal, services.own_tokens)
        mount_console(app, services)
        port = stack.enter_context(served(app, settings))
        if services.line.shared and settings.http_token:
            _register(stack, services, port)
        running = Running(os.getpid(), listener.port, port, services.run_token)
        services.home.announce(running)
        stack.callback(services.home.withdraw)
        yield running


def _register(stack: ExitStack, services: Services, port: int) -> None:
    """Let other processes of the installation find this journal; it is projected here."""
    settings, journal = services.settings, services.journal
    if journal is not None:
        url = settings.advertised_url(port)

        def place() -> Place:
            return Place(
                journal.journal_id, url, services.role.name, journal.last_sequence, projects=True
            )

        stack.enter_context(registering(lambda: open_ledger(settings.ledger_url), place))
        name = journal.journal_id
        own = {name: lambda: services.quarantine.of(name)}
        answering = Answering(services.ledger, lambda: own)
        answering.start()
        stack.callback(answering.stop)


def mount_console(app: FastAPI, services: Services) -> None:
    """Put the console's pages onto the app."""
    from api.console import mount

    mount(app, services)
