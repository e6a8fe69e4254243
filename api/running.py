"""`up`: both doors, the line, the timetable and the page, in one process until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import uvicorn
from fastapi import FastAPI

from api import logs
from api.app import create_app
from api.home import Running
from api.jobs import schedule
from api.problems import problem_of
from api.services import Services, open_services
from api.settings import Settings, SettingsError
from ingest.listener import Listener, ListenerError, ListenerSettings
from ingest.mqtt_users import load_users

if TYPE_CHECKING:
    from ingest.subscriber import Subscriber

log = logging.getLogger(__name__)

_TURN_S = 0.5


class DoorTaken(ListenerError):
    """The HTTP port cannot be listened on."""


def run(settings: Settings, *, ready: Callable[[Services, Running], None] | None = None) -> None:
    """Run until SIGTERM or SIGINT; SIGHUP reads site and factor files again.

    Args:
        settings: Of the installation.
        ready: Called once both doors answer.
    """
    logs.configure(settings.log_level, settings.log_format, secrets=settings.secrets)
    allow_connections()
    with open_services(settings) as services, doors(services) as running:
        logs.hide(services.run_token)
        stop = threading.Event()
        with stop_signals(services, stop):
            print_where(running, settings)
            if ready is not None:
                ready(services, running)
            wait_for(stop)
        log.info("stopping")


def wait_for(stop: threading.Event) -> None:
    """Wait for a signal to set an event.

    In turns, because the kernel may hand a signal to another thread (after SIGCONT, or while an
    earlier one is pending), which does not wake this one, and only this one runs handlers.
    """
    while not stop.wait(_TURN_S):
        pass


def allow_connections() -> None:
    """Raise the soft limit of open files to the hard one: every gateway and page takes one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:
        log.warning("open files stay limited to %d (the hard limit is %d): %s", soft, hard, error)


def print_where(running: Running, settings: Settings) -> None:
    """Say on stderr where the doors are."""
    from api.output import stderr

    text = (
        f"tanyuan is up: MQTT {settings.mqtt_bind}:{running.mqtt_port}, "
        f"console http://{settings.http_bind}:{running.http_port}/  (pid {running.pid})"
    )
    if settings.log_format == "json":
        log.info(text)
    else:
        stderr().print(text, markup=False, soft_wrap=True)


@contextmanager
def doors(services: Services) -> Iterator[Running]:
    """Open both doors and keep the line and the timetable moving while inside."""
    settings = services.settings
    with ExitStack() as stack:
        listener = Listener(services.journal, _listener_settings(settings))
        listener.start()
        stack.callback(listener.stop)
        services.listener = listener
        if settings.broker:
            subscriber = _subscriber(services)
            subscriber.start()
            stack.callback(subscriber.stop)
            services.subscriber = subscriber
        services.line.start()
        stack.callback(services.line.stop)
        scheduler = schedule(services)
        stack.callback(scheduler.shutdown, wait=False)
        app = create_app(services)
        _mount_console(app, services)
        port = stack.enter_context(_served(app, settings))
        running = Running(os.getpid(), listener.port, port, services.run_token)
        services.home.announce(running)
        stack.callback(services.home.withdraw)
        yield running


def _mount_console(app: FastAPI, services: Services) -> None:
    """Put the console's pages onto the app."""
    from api.console import mount

    mount(app, services)


def _listener_settings(settings: Settings) -> ListenerSettings:
    try:
        users = load_users(settings.mqtt_users) if settings.mqtt_users else None
    except (OSError, ValueError) as error:
        raise SettingsError(f"TANYUAN_MQTT_USERS: {error}.") from error
    return ListenerSettings(
        bind=settings.mqtt_bind,
        port=settings.mqtt_port,
        users=users,
        max_packet_bytes=settings.mqtt_max_packet_bytes,
    )


def _subscriber(services: Services) -> Subscriber:
    """The session on an outside broker; paho is imported only where there is one."""
    from ingest.subscriber import BrokerUrlInvalid, Subscriber, SubscriberSettings

    settings = services.settings
    secret = settings.broker_password
    wanted = SubscriberSettings(
        broker=settings.broker or "",
        password=secret.get_secret_value() if secret else None,
        ca_file=settings.broker_ca,
        filters=(settings.broker_topic,),
        group=settings.broker_share,
        client_id=settings.broker_client_id,
        version=5 if settings.broker_protocol == "5" else 4,
    )
    try:
        return Subscriber(services.journal, wanted)
    except BrokerUrlInvalid as error:
        raise SettingsError(f"TANYUAN_BROKER: {error}.") from error


@contextmanager
def _served(app: FastAPI, settings: Settings) -> Iterator[int]:
    """Serve the app in a thread with a loop of its own; gives the port."""
    door = _listening(settings)
    config = uvicorn.Config(
        app, log_config=None, access_log=False, timeout_graceful_shutdown=3, ws="websockets-sansio"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(
        target=lambda: asyncio.run(server.serve(sockets=[door])), name="http", daemon=True
    )
    thread.start()
    try:
        while not server.started:
            if not thread.is_alive():
                raise DoorTaken("The HTTP server ended while it started; the log says why.")
            thread.join(0.01)
        yield int(door.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(10)
        with contextlib.suppress(OSError):
            door.close()


def _listening(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.http_bind else socket.AF_INET
    # Named, because asyncio turns Nagle's delay off only where the protocol says TCP.
    door = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        door.bind((settings.http_bind, settings.http_port))
        door.listen(2048)
    except OSError as error:
        door.close()
        raise DoorTaken(
            f"Cannot listen for HTTP on {settings.http_bind}:{settings.http_port} "
            f"({error.strerror}). "
            "Set TANYUAN_HTTP_PORT to another port, 0 for a free one, or stop what uses this one."
        ) from error
    return door


@contextmanager
def stop_signals(services: Services, stop: threading.Event) -> Iterator[None]:
    """Stop on SIGTERM and SIGINT, reload on SIGHUP, as long as we are inside."""

    def reload() -> None:
        try:
            changed = services.reload()
            log.warning("reloaded; new site versions: %s", ", ".join(changed) or "none")
        except Exception as error:
            log.exception("not reloaded, what was loaded stays: %s", problem_of(error)["detail"])

    handlers = {
        signal.SIGTERM: lambda *_: stop.set(),
        signal.SIGINT: lambda *_: stop.set(),
        signal.SIGHUP: lambda *_: threading.Thread(target=reload, name="reload").start(),
    }
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
