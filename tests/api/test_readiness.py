"""`/readyz` says to strangers which part is not ready, and why only to whoever has the token."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from api.collecting import Collector, collector_app
from api.home import Home
from api.roles import COLLECT
from api.services import open_services
from api.settings import load_settings
from ingest.journal import Journal
from metering.ledger.port import LedgerUnavailable
from tests.acceptance.running import make_home
from tests.api.test_backup import SITE
from tests.shape import needs_embedded

pytestmark = needs_embedded("the parts are joined by hand here")

TOKEN = "a-token-of-the-tests"
KNOWN = {"authorization": f"Bearer {TOKEN}"}
WHY = "Cannot use the ledger postgresql://tanyuan@db.park/tanyuan: refused."


@pytest.fixture
def home(tmp_path):
    return make_home(tmp_path / "home", SITE)


def part(home, monkeypatch, environ):
    """An app whose ledger is away and whose disk is too full."""
    settings = load_settings(home, environ={"TANYUAN_MIN_FREE_MB": str(1 << 40)} | environ)

    def away():
        raise LedgerUnavailable(WHY)

    opened = open_services(settings)
    given = opened.__enter__()
    monkeypatch.setattr(given.ledger, "check", away)
    return opened, create_app(given)


@pytest.mark.parametrize(
    ("environ", "headers", "is_known"),
    [
        ({"TANYUAN_HTTP_TOKEN": TOKEN}, {}, False),
        ({"TANYUAN_HTTP_TOKEN": TOKEN}, {"authorization": "Bearer another"}, False),
        ({"TANYUAN_HTTP_TOKEN": TOKEN}, KNOWN, True),
        ({}, {}, True),
    ],
    ids=["stranger", "wrong token", "token", "no token is set"],
)
def test_why_a_part_is_not_ready_is_for_whoever_has_the_token(
    home, monkeypatch, environ, headers, is_known
):
    opened, app = part(home, monkeypatch, environ)
    try:
        answer = TestClient(app).get("/readyz", headers=headers)
    finally:
        opened.__exit__(None, None, None)

    detail = answer.json()["detail"]
    assert answer.status_code == 503
    assert (WHY in detail, str(home) in detail) == (is_known, is_known)
    assert detail.startswith("Not ready: ledger, journal.") != is_known


@pytest.mark.parametrize("headers", [{}, KNOWN])
def test_collector_names_its_broker_to_whoever_has_the_token(home, headers):
    environ = {"TANYUAN_HTTP_TOKEN": TOKEN, "TANYUAN_BROKER": "mqtt://collector@broker.park"}
    settings = load_settings(home, environ=environ)
    with Journal(home / "journal", min_free_bytes=0) as journal:
        given = Collector(settings, Home(home), COLLECT, journal, datetime.now(UTC))
        given.subscriber = SimpleNamespace(connected=False, last_error="refused")
        answer = TestClient(collector_app(given)).get("/readyz", headers=headers)

    detail = answer.json()["detail"]
    assert answer.status_code == 503
    assert ("collector@broker.park" in detail) == bool(headers)
    assert detail.startswith("Not ready: broker.") != bool(headers)


def test_whoever_is_ready_says_so_to_everybody(home):
    environ = {"TANYUAN_HTTP_TOKEN": TOKEN, "TANYUAN_MIN_FREE_MB": "1"}
    with open_services(load_settings(home, environ=environ)) as given:
        answer = TestClient(create_app(given)).get("/readyz")

    assert (answer.status_code, answer.text) == (200, "ready\n")
