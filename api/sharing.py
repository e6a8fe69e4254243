"""`project`, `serve` and `schedule`: the parts of an installation that need store and ledger."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from api import logs
from api.app import create_app
from api.doors import allow_connections, served
from api.home import Running
from api.leading import Leading
from api.projecting import Projecting
from api.roles import PROJECT, SCHEDULE, SERVE, Role
from api.running import mount_console, say
from api.services import Services, open_services
from api.settings import Settings
from api.signals import stop_signals, wait_for
from api.telemetry import telemetry
from metering.ledger.port import LedgerUnavailable
from metering.store.port import StoreUnavailable

log = logging.getLogger(__name__)

RETRY_S = 2.0
"""How long to wait for a store or a ledger that does not answer at the start."""


def run_part(
    settings: Settings, role: Role, *, ready: Callable[[Services, Running], None] | None = None
) -> None:
    """Run until SIGTERM or SIGINT; SIGHUP reads site and factor files again.

    Args:
        settings: Of this process.
        role: `PROJECT`, `SERVE` or `SCHEDULE`.
        ready: Called once it answers.
    """
    logs.configure(settings.log_level, settings.log_format, secrets=settings.secrets)
    allow_connections()
    stop = threading.Event()
    reload: list[Callable[[], list[str]]] = [list]
    with stop_signals(stop, lambda: reload[0]()), ExitStack() as stack:
        services = _opened(settings, role, stack, stop)
        if services is None:
            return
        logs.hide(services.run_token)
        running = stack.enter_context(part(services, reload))
        say(_where(services, running), settings)
        if ready is not None:
            ready(services, running)
        wait_for(stop)
        log.info("stopping")


def _opened(
    settings: Settings, role: Role, stack: ExitStack, stop: threading.Event
) -> Services | None:
    """The parts, once store and ledger answer; None if we are told to stop before."""
    while not stop.is_set():
        try:
            return stack.enter_context(open_services(settings, role))
        except (StoreUnavailable, LedgerUnavailable) as error:
            log.warning("%s waits: %s", role.name, error)
            stop.wait(RETRY_S)
    return None


@contextmanager
def part(services: Services, reload: list[Callable[[], list[str]]]) -> Iterator[Running]:
    """Do a role's work and answer over HTTP while inside."""
    settings, role = services.settings, services.role
    reload[0] = services.reload
    with ExitStack() as stack:
        instrument = stack.enter_context(telemetry(settings, role.name))
        if role is PROJECT:
            projecting = Projecting(services)
            projecting.start()
            stack.callback(projecting.stop)
            services.projecting = projecting
            reload[0] = projecting.reload
        if role is SCHEDULE:
            leading = services.leading = Leading(services)
            leading.start()
            stack.callback(leading.stop)
        app = create_app(services)
        instrument(app)
        if role is SERVE:
            mount_console(app, services)
        port = stack.enter_context(served(app, settings))
        running = Running(os.getpid(), 0, port, services.run_token)
        services.home.announce(running)
        stack.callback(services.home.withdraw)
        yield running


def _where(services: Services, running: Running) -> str:
    role, settings = services.role, services.settings
    url = f"http://{settings.http_bind}:{running.http_port}/"
    return f"tanyuan {role.name} is up: {url}  (pid {running.pid})"
