"""Who may see the console where a token is set: whoever entered it, for a while, by a cookie.

The cookie holds no secret: it is the day it ends and a signature that only the token can make. A
new token ends every one.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Sequence
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from api.auth import NotAllowed, check_token

COOKIE = "tanyuan_console"

KEPT_S = 90 * 86_400
"""A display on a wall asks again after so long. [s]"""

PAGES = ("/", "/favicon.ico")
"""What the pages' framework answers beside its own files and its socket."""

FILES, SOCKET = "/_nicegui/", "/_nicegui_ws/"


def matches(given: str, tokens: Sequence[str]) -> bool:
    """Whether this is one of the tokens, in the same time whichever it is."""
    return any([hmac.compare_digest(given.encode(), token.encode()) for token in tokens])


def sign(token: str, until: int) -> str:
    """A cookie that lets in until an instant, in seconds since 1970."""
    mark = hmac.new(token.encode(), f"console {until}".encode(), hashlib.sha256).hexdigest()
    return f"{until}.{mark}"


def may_enter(connection: HTTPConnection, tokens: Sequence[str]) -> bool:
    """Whether a request carries the cookie or the token, or none is wanted."""
    if not tokens:
        return True
    cookie = connection.cookies.get(COOKIE, "")
    until = cookie.partition(".")[0]
    if until.isascii() and until.isdigit() and len(until) < 12 and int(until) > time.time():
        signed = [sign(token, int(until)).encode() for token in tokens]
        if any([hmac.compare_digest(cookie.encode(), each) for each in signed]):
            return True
    try:
        check_token(connection.headers.get("authorization"), tokens)
    except NotAllowed:
        return False
    return True


def to_login(connection: HTTPConnection) -> RedirectResponse:
    """Send a stranger to the login, and back here afterwards."""
    query = connection.url.query
    here = connection.url.path + (f"?{query}" if query else "")
    lang = connection.query_params.get("lang", "")
    return RedirectResponse(f"/login?next={quote(here)}&lang={quote(lang)}", status_code=303)


class Gate:
    """Stands before the pages' framework: lets in who may, and hides what is no page of ours."""

    def __init__(self, pages: ASGIApp, tokens: Sequence[str]) -> None:
        self._pages, self._tokens = pages, list(tokens)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, send to the login, or refuse."""
        path = scope.get("path", "")
        if scope["type"] == "lifespan" or path.startswith(FILES) or path == "/favicon.ico":
            await self._pages(scope, receive, send)
        elif path not in PAGES and not path.startswith(SOCKET):
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
                return
            raise HTTPException(
                404, f"Nothing is at {path}. The console is at /, the API at /api/v1."
            )
        elif may_enter(HTTPConnection(scope), self._tokens):
            await self._pages(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        elif path == "/":
            await to_login(HTTPConnection(scope))(scope, receive, send)
        else:
            raise HTTPException(401, "Wanted the console's cookie; log in at /login.")
