"""Who may ask: a bearer token where one is set."""

from __future__ import annotations

import hmac
from collections.abc import Collection


class NotAllowed(PermissionError):
    """A token is wanted, and none or a wrong one came."""


def may_ask(header: str | None, tokens: Collection[str]) -> bool:
    """Whether the Authorization header carries one of the tokens, or none is wanted."""
    given = (header or "").partition(" ")[2].encode()
    return not tokens or any([hmac.compare_digest(given, token.encode()) for token in tokens])


def check_token(header: str | None, tokens: Collection[str]) -> None:
    """Return if the Authorization header carries one of the tokens.

    Args:
        header: `Bearer …`, or None.
        tokens: Empty: everybody may ask (the door is on the loopback address then).

    Raises:
        NotAllowed: None of them came.
    """
    if not may_ask(header, tokens):
        raise NotAllowed(
            "Wanted the header 'Authorization: Bearer TOKEN' with the token that is set as "
            "TANYUAN_HTTP_TOKEN."
        )
