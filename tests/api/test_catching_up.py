"""An answer waits for what it can help, and not for ever for what others are to do."""

from __future__ import annotations

import time

import pytest

from api.journals import Place
from api.services import open_services
from api.settings import load_settings
from tests.acceptance.running import make_home
from tests.api.test_backup import SITE, message
from tests.shape import needs_embedded

pytestmark = needs_embedded("the parts are joined by hand here")


@pytest.fixture
def alone(tmp_path):
    """A home that nothing runs in, of an installation with a collector that was stopped."""
    home = make_home(tmp_path / "home", SITE)
    given_s = {"TANYUAN_ANSWER_WAIT_S": "0.3"}
    with open_services(load_settings(home, environ=given_s)) as given:
        given.line.shared = True
        yield given


def register(given, **about):
    place = Place("0a1b2c3d", "http://127.0.0.1:9", "collect", 7, **about)
    given.ledger.put("journal/0a1b2c3d", place.text())


@pytest.mark.parametrize("stopped", [True, False])
def test_a_journal_of_another_process_is_waited_for_as_long_as_an_answer_may_take(alone, stopped):
    """A restored ledger may say that a collector had seven messages, and nobody moves them."""
    register(alone, stopped=stopped)
    began = time.monotonic()

    behind = alone.catch_up()

    assert time.monotonic() - began < 20
    assert behind.messages == 7
    assert behind.unknown == (() if stopped else ("0a1b2c3d",))


def test_what_this_process_has_to_do_is_done_however_long_it_takes(alone):
    alone.journal.append([message(n) for n in range(50)])

    assert alone.catch_up() is None
    # every fiftieth is garbage
    assert sum(each.count for each in alone.store.summaries()) == 49
