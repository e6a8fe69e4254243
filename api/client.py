"""Asks the API: of the running `up`, or of the home opened here; the same bytes either way."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx2
import orjson

from api.home import Home
from api.settings import Settings

TIMEOUT_S = 600.0
"""An import or a long recomputation may take its time."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back."""

    status: int
    body: bytes

    @property
    def ok(self) -> bool:
        """Whether it is an answer and no problem."""
        return self.status < 400

    @property
    def document(self) -> dict[str, Any]:
        """The body as a document."""
        found: dict[str, Any] = orjson.loads(self.body)
        return found


def ask(
    settings: Settings,
    method: str,
    path: str,
    *,
    params: Mapping[str, Any] | None = None,
    content: Any = None,  # noqa: ANN401 - bytes, or chunks of them
    body: Mapping[str, Any] | None = None,
) -> Reply:
    """Ask one thing.

    Raises:
        HomeError: Nothing runs, and the home cannot be opened.
    """
    given = {name: value for name, value in (params or {}).items() if value is not None}
    running = Home(settings.home, settings.config).running()
    if running is not None:
        transport = httpx2.AsyncHTTPTransport()
        base = f"http://{_host(settings.http_bind)}:{running.http_port}"
        return asyncio.run(
            _send(transport, base, running.token, method, path, given, content, body)
        )
    from api.app import create_app
    from api.services import open_services

    with open_services(settings) as services:
        local = httpx2.ASGITransport(app=create_app(services), raise_app_exceptions=False)
        token = services.run_token
        return asyncio.run(_send(local, "http://home", token, method, path, given, content, body))


def _host(bind: str) -> str:
    """Where a door bound to an address is reached from here."""
    if bind in ("0.0.0.0", "localhost"):
        return "127.0.0.1"
    return f"[{'::1' if bind == '::' else bind}]" if ":" in bind else bind


async def _send(
    transport: httpx2.AsyncBaseTransport,
    base: str,
    token: str,
    method: str,
    path: str,
    params: Mapping[str, Any],
    content: Any,  # noqa: ANN401 - bytes, or chunks of them
    body: Mapping[str, Any] | None,
) -> Reply:
    headers = {"authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(
        transport=transport, base_url=base, timeout=TIMEOUT_S, headers=headers, trust_env=False
    ) as client:
        response = await client.request(method, path, params=params, content=content, json=body)
        return Reply(response.status_code, response.content)
