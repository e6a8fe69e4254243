"""The park's page: one frame, whose sections are sent again when they change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from copy import copy

from fastapi import FastAPI
from nicegui import app as pages
from nicegui import ui
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount

from api.catalog import SiteNotFound
from api.console.access import Gate
from api.console.board import Board, Watch
from api.console.catalogue import HTML_LANGUAGE, chosen, texts
from api.console.rendering import render_page, style
from api.console.sections import SECTIONS, Asked, notices, section, top
from api.questions import BadQuestion, parse_instant
from api.services import Services

TICK_S = 0.4
"""How often an open page looks for something new. [s]"""

FIRST_S = 2.0
"""How long the page waits for its first figures before it comes without them. [s]"""

HISTORY = 60
"""Messages kept for a browser that lost its connection for a moment."""

_THEMES = ("light", "dark")

_ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" '
    'rx="6" fill="#2c7a62"/><path d="M7 23h4v-7H7zm7 0h4V9h-4zm7 0h4V13h-4z" fill="#fff"/></svg>'
)


def install(app: FastAPI, services: Services) -> None:
    """Put the page onto the app, behind the gate."""
    _forget_earlier()
    board = Board(services)

    @ui.page("/", response_timeout=FIRST_S + 8)
    async def park(request: Request) -> Response | None:
        try:
            asked = asked_of(request, services)
        except (SiteNotFound, BadQuestion) as error:
            return _refused(request, str(error))
        await _build(board, asked)
        return None

    ui.run_with(
        app,
        title="Tanyuan 碳园",
        favicon=_ICON,
        dark=None,
        binding_refresh_interval=None,
        reconnect_timeout=10.0,
        message_history_length=HISTORY,
        tailwind=False,
        show_welcome_message=False,
    )
    for route in app.routes:
        if isinstance(route, Mount) and route.app is pages:
            route.app = Gate(pages, services.tokens)


def _forget_earlier() -> None:
    """Take back what an earlier call in this process left on the framework's one app."""
    pages.middleware_stack = None
    pages.user_middleware.clear()


def asked_of(request: Request, services: Services) -> Asked:
    """What the address asks for.

    Raises:
        SiteNotFound: It names a site that is not there.
        BadQuestion: It names an instant that is none.
    """
    query = request.query_params
    name = query.get("site")
    sites = services.catalog.sites()
    site = services.catalog.site(name) if name or len(sites) == 1 else next(iter(sites.values()))
    # An offset's plus sign comes as a blank where the address was not encoded.
    at = (query.get("at") or "").replace(" ", "+") or None
    if at is not None and at != "latest":
        parse_instant(at, "at")
    theme = query.get("theme")
    return Asked(
        site=site.id,
        language=chosen(query.get("lang"), site.language),
        at=at,
        theme=theme if theme in _THEMES else None,
        named=bool(name),
        spoken="lang" in query,
    )


def _refused(request: Request, detail: str) -> Response:
    words = texts(chosen(request.query_params.get("lang"), "en"))
    page = render_page("refused.html", words, title=words("problem.heading"), detail=detail)
    return HTMLResponse(page, status_code=404)


async def _build(board: Board, asked: Asked) -> None:
    """Lay out the page for one viewer and keep it fresh."""
    watch = board.watch(asked.site, asked.at)
    board.look(watch)
    everything = (*watch.parts.values(), board.state)
    await asyncio.gather(*(part.first(FIRST_S) for part in everything))
    _dress(board, asked)
    shown: list[tuple[ui.html, Callable[[], str]]] = []

    def add(name: str, tag: str, make: Callable[[], str]) -> None:
        look = f"card at-{name}" if name in SECTIONS else f"at-{name}"
        shown.append((ui.html(make(), sanitize=False, tag=tag).classes(look), make))

    with ui.element("div").classes("page"):
        add("top", "div", lambda: top(board, watch, asked))
        add("notices", "div", lambda: notices(board, watch, asked))
        with ui.element("main").classes("board"):
            for name in SECTIONS:
                add(name, "section", _maker(name, board, watch, asked))

    def refresh() -> None:
        board.look(watch)
        for element, make in shown:
            html = make()
            if html != element.content:
                element.content = html

    ui.timer(TICK_S, refresh)


def _maker(name: str, board: Board, watch: Watch, asked: Asked) -> Callable[[], str]:
    return lambda: section(name, board, watch, asked)


def _dress(board: Board, asked: Asked) -> None:
    """The language, title and looks of the page for this viewer."""
    client = ui.context.client
    client.page = copy(client.page)
    client.page.language = HTML_LANGUAGE[asked.language]
    client.title = f"{board.services.catalog.site(asked.site).name} · Tanyuan 碳园"
    ui.add_head_html(f"<style>{style()}</style>")
    if asked.theme is not None:
        client.page.dark = asked.theme == "dark"
        ui.add_head_html(
            f"<script>document.documentElement.dataset.theme = '{asked.theme}'</script>"
        )
