"""The doors of a process: HTTP, and what messages come in through."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import uvicorn
from fastapi import FastAPI

from api.settings import Settings, SettingsError
from ingest.journal import Journal
from ingest.listener import Listener, ListenerError, ListenerSettings
from ingest.mqtt_users import load_users

if TYPE_CHECKING:
    from ingest.subscriber import Subscriber

log = logging.getLogger(__name__)


class DoorTaken(ListenerError):
    """The HTTP port cannot be listened on."""


def allow_connections() -> None:
    """Raise the soft limit of open files to the hard one: every gateway and page takes one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:
        log.warning("open files stay limited to %d (the hard limit is %d): %s", soft, hard, error)


def listener_of(settings: Settings, journal: Journal) -> Listener:
    """The MQTT end point that gateways publish to.

    Raises:
        SettingsError: The file of users cannot be used.
    """
    try:
        users = load_users(settings.mqtt_users) if settings.mqtt_users else None
    except (OSError, ValueError) as error:
        raise SettingsError(f"TANYUAN_MQTT_USERS: {error}.") from error
    wanted = ListenerSettings(
        bind=settings.mqtt_bind,
        port=settings.mqtt_port,
        users=users,
        max_packet_bytes=settings.mqtt_max_packet_bytes,
    )
    return Listener(journal, wanted)


def subscriber_of(settings: Settings, journal: Journal) -> Subscriber:
    """The session on an outside broker; paho is imported only where there is one.

    Raises:
        SettingsError: The broker's address cannot be used.
    """
    from ingest.subscriber import BrokerUrlInvalid, Subscriber, SubscriberSettings

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
        return Subscriber(journal, wanted)
    except BrokerUrlInvalid as error:
        raise SettingsError(f"TANYUAN_BROKER: {error}.") from error


@contextmanager
def served(app: FastAPI, settings: Settings) -> Iterator[int]:
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
