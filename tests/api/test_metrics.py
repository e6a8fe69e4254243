"""Every metric that deploy/README.md says to watch is given by the processes it is about."""

from __future__ import annotations

import re
import threading
import time
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from api.collecting import Collector
from api.home import Home
from api.projecting import Projecting
from api.roles import COLLECT, LISTEN, PROJECT, SCHEDULE, SERVE, UP
from api.services import open_services
from api.settings import load_settings
from api.status import metrics_text, status_document, unready
from ingest.journal import Journal
from ingest.listener import ListenerCounts
from ingest.subscriber import SubscriberCounts
from tests import postgres_server
from tests.acceptance.running import make_home
from tests.api.test_backup import SITE, fill
from tests.deploy.brokers import DEPLOY
from tests.shape import needs_embedded

pytestmark = needs_embedded("the parts are joined by hand here")

README = (DEPLOY / "README.md").read_text(encoding="utf-8")

KEEPS_A_JOURNAL = {LISTEN, COLLECT, UP}
OPENS_STORE_AND_LEDGER = {PROJECT, SERVE, SCHEDULE, UP}
GIVEN_BY = {
    "tanyuan_store_up": OPENS_STORE_AND_LEDGER,
    "tanyuan_ledger_up": OPENS_STORE_AND_LEDGER,
    "tanyuan_leads": {SCHEDULE},
    "tanyuan_displays_written": {UP, SCHEDULE},
    "tanyuan_journal_lag_messages": {PROJECT},
    "tanyuan_journal_ahead_messages": {PROJECT},
    "tanyuan_projector_ahead": {UP},
    "tanyuan_journal_refused_batches": KEEPS_A_JOURNAL,
    "tanyuan_projector_lag_messages": OPENS_STORE_AND_LEDGER,
    "tanyuan_dirty_ranges": OPENS_STORE_AND_LEDGER,
    "tanyuan_disk_free_bytes": KEEPS_A_JOURNAL | OPENS_STORE_AND_LEDGER,
    "tanyuan_journal_days_left": KEEPS_A_JOURNAL,
    "tanyuan_quarantine_open": OPENS_STORE_AND_LEDGER,
    "tanyuan_meters": OPENS_STORE_AND_LEDGER,
    "tanyuan_meters_live": OPENS_STORE_AND_LEDGER,
    "tanyuan_oldest_reading_age_seconds": OPENS_STORE_AND_LEDGER,
    "tanyuan_subscriber_connected": {COLLECT, UP},
    "tanyuan_subscriber_journal_refusals_total": {COLLECT, UP},
    "tanyuan_listener_journal_refusals_total": {LISTEN, UP},
    "tanyuan_listener_refused_auth_total": {LISTEN, UP},
    "tanyuan_projector_conflicts_total": {PROJECT, UP},
    "tanyuan_projector_errors_total": {PROJECT, UP},
}
"""Which processes give a metric; of the subscriber only with an outside broker, of displays only
where they are given figures, and of several `schedule` only by the one that leads."""

SUBSCRIBER = SimpleNamespace(counts=SubscriberCounts(), connected=True, last_error=None)
LISTENER = SimpleNamespace(counts=ListenerCounts())


def of_collector(home, role):
    with Journal(home / "journal", min_free_bytes=0) as journal:
        given = Collector(
            load_settings(home, environ={}), Home(home), role, journal, datetime.now(UTC)
        )
        given.listener = LISTENER if role is LISTEN else None
        given.subscriber = SUBSCRIBER if role is COLLECT else None
        registry = CollectorRegistry()
        registry.register(given)
        return generate_latest(registry).decode()


def of_part(home, role):
    with open_services(load_settings(home, environ={})) as given:
        given.role = role
        if role is UP:
            given.listener, given.subscriber = LISTENER, SUBSCRIBER
        else:
            given.journal = given.projector = None
        if role is PROJECT:
            given.projecting = Projecting(given)
        if role is SCHEDULE:
            given.leading = SimpleNamespace(leads=True)
        if role in (UP, SCHEDULE):
            given.indicators = SimpleNamespace(last_error="")
        return metrics_text(given).decode()


@pytest.mark.parametrize(
    "role", [UP, LISTEN, COLLECT, PROJECT, SERVE, SCHEDULE], ids=lambda role: role.name
)
def test_every_process_gives_the_metrics_that_are_about_it(tmp_path, role):
    home = make_home(tmp_path / "home", SITE)
    fill(home, 300)
    text = of_collector(home, role) if role in (LISTEN, COLLECT) else of_part(home, role)
    given = set(re.findall(r"# TYPE (\S+) ", text))

    assert {name for name in GIVEN_BY if role in GIVEN_BY[name]} == given & set(GIVEN_BY)


def test_list_of_what_to_watch_is_that_of_the_processes():
    rows = re.search(r"## What to watch\n(.*?)\n## ", README, re.DOTALL)[1]

    assert set(re.findall(r"tanyuan_[a-z_]+[a-z]", rows)) == set(GIVEN_BY)


def test_displays_that_are_not_given_their_figures_are_a_metric_and_in_the_status(tmp_path):
    home = make_home(tmp_path / "home", SITE)
    with open_services(load_settings(home, environ={})) as given:
        assert status_document(given)["displays"] is None
        given.indicators = SimpleNamespace(last_error="")
        assert "\ntanyuan_displays_written 1.0\n" in metrics_text(given).decode()
        assert status_document(given)["displays"] == {"last_error": None}
        given.indicators.last_error = "The store is away."
        assert "\ntanyuan_displays_written 0.0\n" in metrics_text(given).decode()
        assert status_document(given)["displays"] == {"last_error": "The store is away."}


@pytest.fixture
def frozen(tmp_path):
    """Services whose PostgreSQL is stopped where it is, and their store."""
    server, name = postgres_server.own_server(), postgres_server.name_for(tmp_path)
    home = make_home(tmp_path / "home", SITE)
    environ = {"TANYUAN_LEDGER": server.new_database(name)}
    try:
        with open_services(load_settings(home, environ=environ)) as given:
            server.freeze()
            try:
                yield given
            finally:
                server.thaw()
    finally:
        server.end()


@pytest.mark.timeout(120)
def test_frozen_ledger_is_a_metric_before_the_scrape_ends(frozen):
    began = time.monotonic()
    text = metrics_text(frozen).decode()
    took_s = time.monotonic() - began

    # Prometheus waits 10 s; the questions are waited for together, 3 s
    assert took_s < 6
    assert "\ntanyuan_ledger_up 0.0\n" in text
    assert "\ntanyuan_store_up 1.0\n" in text
    assert '\ntanyuan_meters{site="park"} 1.0\n' in text
    assert "# TYPE tanyuan_dirty_ranges " not in text  # it cannot be known


@pytest.mark.timeout(120)
def test_status_and_readiness_wait_for_store_and_ledger_together(frozen, monkeypatch):
    thawed = threading.Event()
    monkeypatch.setattr(frozen.store, "check", lambda: thawed.wait(60))
    try:
        for answer in (lambda: status_document(frozen)["problems"], lambda: unready(frozen)):
            began = time.monotonic()
            assert len(answer()) == 2
            assert time.monotonic() - began < 6
    finally:
        thawed.set()
