"""Pages without scripts: the login and the quarantine."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from api.catalog import SiteNotFound
from api.console.access import COOKIE, KEPT_S, matches, may_enter, sign, to_login
from api.console.catalogue import Texts, chosen, texts
from api.console.rendering import render_page
from api.console.sections import Asked
from api.console.wording import clock
from api.services import Services
from ingest.journal_reader import RecordNotFound
from ingest.quarantine import NotQuarantined
from ingest.segments import JournalError
from metering.ledger.port import QuarantineEntry
from metering.periods import utc_text

MAX_FORM = 8_192
"""A longer login is none. [bytes]"""

WRONG_S = 0.5
"""How long a wrong token has to wait for its answer."""

SHOWN, READ = 100, 10_000

PAYLOAD = 4_000
"""So much of a payload is shown. [characters]"""


def router(services: Services) -> APIRouter:
    """The routes of the plain pages."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/login")
    def show_login(request: Request) -> Response:
        return _login(services, dict(request.query_params), wrong=False)

    @routes.post("/login")
    async def enter(request: Request) -> Response:
        form = await _form(request)
        if not services.tokens:
            return RedirectResponse("/", status_code=303)
        if not matches(form.get("token", ""), services.tokens):
            await asyncio.sleep(WRONG_S)
            return _login(services, form, wrong=True)
        answer = RedirectResponse(_inside(form.get("next", "/")), status_code=303)
        until = int(time.time()) + KEPT_S
        answer.set_cookie(
            COOKIE,
            sign(services.tokens[0], until),
            max_age=KEPT_S,
            httponly=True,
            samesite="lax",
            secure=request.url.scheme == "https",
        )
        return answer

    @routes.get("/quarantine")
    def show_quarantine(request: Request) -> Response:
        if not may_enter(request, services.tokens):
            return to_login(request)
        return _quarantine(services, dict(request.query_params))

    return routes


async def _form(request: Request) -> dict[str, str]:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM:
            return {}
    fields = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True)
    return {name: values[0] for name, values in fields.items()}


def _inside(address: str) -> str:
    """An address of ours; anything that could lead elsewhere becomes the front page."""
    plain = address.isprintable() and "\\" not in address
    return address if plain and address.startswith("/") and address[1:2] != "/" else "/"


def _login(services: Services, asked: dict[str, str], *, wrong: bool) -> Response:
    words = texts(chosen(asked.get("lang"), _language(services, None)))
    page = render_page(
        "login.html",
        words,
        title="Tanyuan 碳园",
        next=_inside(asked.get("next", "/")),
        wrong=wrong,
    )
    return HTMLResponse(page, status_code=401 if wrong else 200, headers=_HEADERS)


_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
}
"""No script, nothing from elsewhere."""


def _language(services: Services, site: str | None) -> str:
    try:
        return services.catalog.site(site).language
    except SiteNotFound:
        return next((each.language for each in services.catalog.sites().values()), "en")


def _quarantine(services: Services, query: dict[str, str]) -> Response:
    site = query.get("site")
    language = chosen(query.get("lang"), _language(services, site))
    words = texts(language)
    code = query.get("code") or None
    found = services.ledger.quarantined(code=code, limit=READ)
    newest = sorted(found, key=lambda entry: entry.received_at, reverse=True)[:SHOWN]
    asked = Asked(
        site or "",
        language,
        at=query.get("at"),
        theme=query.get("theme"),
        named=bool(site),
        spoken="lang" in query,
    )
    page = render_page(
        "quarantine_list.html",
        words,
        title=words("quarantine.title"),
        code=code,
        home=asked.address(),
        cut=words("quarantine.shown", count=SHOWN) if len(found) > SHOWN else "",
        entries=[_entry(services, entry, words) for entry in newest],
    )
    return HTMLResponse(page, headers=_HEADERS)


def _entry(services: Services, entry: QuarantineEntry, words: Texts) -> dict[str, Any]:
    try:
        message = services.quarantine.show(entry.sequence)
        text = message.text if message.journal == entry.journal else None
    except (NotQuarantined, RecordNotFound, JournalError):
        text = None
    sites = services.catalog.sites().values()
    tz = next(iter(sites)).timezone
    cut = text is not None and len(text) > PAYLOAD
    return {
        "code": entry.code,
        "reason": words.known(f"reason.{entry.code}", entry.code),
        "message": entry.message,
        "meter": entry.meter,
        "topic": entry.topic,
        "sequence": entry.sequence,
        "received": clock(utc_text(entry.received_at), tz, seconds=True),
        "payload": None if text is None else text[:PAYLOAD],
        "cut": words("quarantine.cut", count=f"{len(text):,}") if text and cut else "",
    }
