"""Strangers do not get in, cookies cannot be made up, and a login leads nowhere else."""

from __future__ import annotations

import time

import pytest
from starlette.requests import HTTPConnection

from api.console.access import COOKIE, matches, may_enter, sign
from api.console.plain_pages import _inside

TOKEN = "a-long-token"


def visitor(*, cookie=None, bearer=None):
    headers = []
    if cookie is not None:
        headers.append((b"cookie", f"{COOKIE}={cookie}".encode()))
    if bearer is not None:
        headers.append((b"authorization", f"Bearer {bearer}".encode()))
    return HTTPConnection({"type": "http", "headers": headers})


def soon():
    return int(time.time()) + 60


def test_without_a_token_everybody_may_enter():
    assert may_enter(visitor(), [])


def test_with_a_token_only_the_cookie_or_the_token_opens():
    assert not may_enter(visitor(), [TOKEN])
    assert may_enter(visitor(cookie=sign(TOKEN, soon())), [TOKEN])
    assert may_enter(visitor(bearer=TOKEN), [TOKEN])
    assert not may_enter(visitor(bearer="another"), [TOKEN])


def test_a_cookie_of_another_token_or_time_does_not_open():
    until = soon()
    mark = sign(TOKEN, until).partition(".")[2]

    assert not may_enter(visitor(cookie=sign("old-token", until)), [TOKEN])
    assert not may_enter(visitor(cookie=f"{until + 9999}.{mark}"), [TOKEN])
    assert not may_enter(visitor(cookie=sign(TOKEN, int(time.time()) - 1)), [TOKEN])


@pytest.mark.parametrize("cookie", ["", ".", "x.y", "²³.1", "9" * 5000 + ".a", "-5.a", "1e9.a"])
def test_a_made_up_cookie_is_no_error(cookie):
    assert not may_enter(visitor(cookie=cookie.encode("utf-8").decode("latin-1")), [TOKEN])


def test_the_cookie_does_not_hold_the_token():
    assert TOKEN not in sign(TOKEN, soon())


def test_a_token_is_matched_whole_and_in_any_alphabet():
    assert matches(TOKEN, ["other", TOKEN])
    assert not matches(TOKEN[:-1], [TOKEN])
    assert not matches("令牌", [TOKEN])


@pytest.mark.parametrize(
    ("address", "wanted"),
    [("/?lang=en", "/?lang=en"), ("https://example.org/", "/"), ("//example.org", "/"),
     ("/\\example.org", "/"), ("", "/"), ("/a\r\nSet-Cookie: x", "/"), ("javascript:x", "/")],
)  # fmt: skip
def test_a_login_leads_back_only_to_pages_of_ours(address, wanted):
    assert _inside(address) == wanted
