"""One journal that cannot be projected keeps no other one waiting, and no thread dies unseen."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import pytest

from api import projecting
from api.journals import Place
from api.projecting import Projecting
from api.replaying import ask
from api.services import open_services
from api.settings import load_settings
from api.status import metrics_text, not_ready
from ingest.journal import Journal
from ingest.quarantine import Replayed
from ingest.remote_journal import JournalUnavailable
from tests.acceptance.running import make_home
from tests.api.test_backup import SITE, message
from tests.deploy.brokers import wait_until
from tests.shape import needs_embedded

pytestmark = needs_embedded("the parts are joined by hand here")


class Nearby:
    """A journal in another folder, read as if its process served it."""

    def __init__(self, journal, url):
        self._journal, self.url, self.journal_id = journal, url, journal.journal_id

    def __getattr__(self, name):
        return getattr(self._journal, name)


@pytest.fixture
def parts(tmp_path, monkeypatch):
    """An installation with journals of three collectors, of which nobody projects any yet."""
    home = make_home(tmp_path / "home", SITE)
    kept = {}
    with open_services(load_settings(home, environ={})) as given:
        for number in range(3):
            journal = Journal(tmp_path / f"c{number}", min_free_bytes=0)
            journal.append([message(n) for n in range(10 * number, 10 * number + 10)])
            kept[journal.journal_id] = journal
        remote = given.journals.remote

        def reached(place):
            if place.url.endswith("oo"):
                return remote(place)
            return Nearby(kept[place.journal], place.url)

        monkeypatch.setattr(given.journals, "remote", reached)
        yield SimpleNamespace(
            given=given, journals=sorted(kept), kept=kept, readings=lambda: readings(given)
        )
        for journal in kept.values():
            journal.close()


def readings(given):
    return sum(each.count for each in given.store.summaries())


def register(given, name, url):
    given.ledger.put(f"journal/{name}", Place(name, url, "collect", 10).text())


@pytest.fixture
def running(parts):
    """Projects once the journals are registered; looks every 20 ms."""
    made = Projecting(parts.given, look_s=0.02)
    parts.given.projecting = made
    yield made
    made.stop()


def test_address_that_is_none_keeps_no_other_journal_waiting(parts, running, caplog):
    bad, *good = parts.journals
    register(parts.given, bad, "http://c1:84oo")
    for name in good:
        register(parts.given, name, "http://c2:8400")

    running.start()

    wait_until(lambda: parts.readings() == 20)
    assert sorted(running.counts) == good
    assert not_ready(parts.given) == []
    assert running.errors > 0
    said = [each.getMessage() for each in caplog.records if "84oo" in each.getMessage()]
    assert len(said) == 1
    assert "TANYUAN_ADVERTISE" in said[0]

    register(parts.given, bad, "http://c1:8400")
    wait_until(lambda: parts.readings() == 30)


def test_journal_that_is_an_older_copy_makes_the_process_unready(parts, running):
    name, other = parts.journals[:2]
    store_id = parts.given.store.store_id
    parts.given.ledger.save_position(50, store_id=store_id, journal=name)
    for each in (name, other):
        register(parts.given, each, "http://c2:8400")

    running.start()

    wait_until(lambda: parts.readings() == 10)
    wait_until(lambda: running.counts[name].ahead == 40)  # 50 in the store, 10 in the journal
    (said,) = not_ready(parts.given)
    assert f"Journal {name} ends at message 10, and the store has it up to 50" in said
    samples = metrics_text(parts.given).decode()
    assert f'tanyuan_journal_ahead_messages{{journal="{name}"}} 40.0' in samples
    assert f'tanyuan_journal_ahead_messages{{journal="{other}"}} 0.0' in samples


def test_thread_of_a_journal_begins_again_whatever_it_dies_of(parts, running, monkeypatch):
    for name in parts.journals:
        register(parts.given, name, "http://c2:8400")
    replay, failed = parts.given.quarantine.of, threading.Event()

    def fails_once(name, check):
        if not failed.is_set():
            failed.set()
            raise ArithmeticError("a bug")
        return replay(name, check)

    monkeypatch.setattr(parts.given.quarantine, "of", fails_once)
    running.start()

    wait_until(lambda: parts.readings() == 30)
    assert failed.is_set()
    assert running.errors == 1
    assert not_ready(parts.given) == []


def test_look_that_fails_is_made_again(parts, running, monkeypatch):
    register(parts.given, parts.journals[0], "http://c2:8400")
    places, failed = parts.given.journals.places, threading.Event()

    def fails_once():
        if not failed.is_set():
            failed.set()
            raise ArithmeticError("a bug")
        return places()

    monkeypatch.setattr(parts.given.journals, "places", fails_once)
    running.start()

    wait_until(lambda: parts.readings() == 10)
    assert failed.is_set()


def test_thread_that_ended_after_all_is_said_by_readyz(parts, running, monkeypatch):
    name = parts.journals[0]
    register(parts.given, name, "http://c2:8400")
    running.start()
    wait_until(lambda: parts.readings() == 10)
    assert not_ready(parts.given) == []

    running._work[name].stop.set()
    running._work[name].thread.join(30)
    running._work[name].stop = threading.Event()
    assert name in " ".join(not_ready(parts.given))

    monkeypatch.setattr(running, "look", lambda: time.sleep(0.5))
    monkeypatch.setattr(projecting, "STUCK_S", 0.1)
    time.sleep(0.3)
    assert "looked for" in " ".join(not_ready(parts.given))


def test_a_journal_whose_lease_was_lost_is_written_no_more(parts, running):
    name = parts.journals[0]
    register(parts.given, name, "http://c2:8400")
    now = time.monotonic()
    lease = running._lease(name)
    lease.clock = lambda: now
    assert lease.hold()
    running._begin(parts.given.journals.places()[name])
    wait_until(lambda: parts.readings() == 10)

    now += lease.term_s  # this process stood still for as long as a lease holds
    parts.kept[name].append([message(n) for n in range(100, 105)])

    wait_until(lambda: "lease" in (running.counts[name].last_error or ""))
    assert parts.readings() == 10
    assert lease.hold()  # nobody else wanted it meanwhile
    wait_until(lambda: parts.readings() == 15)
    running._end(name)


def test_a_replay_that_another_process_wants_is_made_by_the_one_that_moves_the_journal(
    parts, running
):
    name = parts.journals[0]
    register(parts.given, name, "http://c2:8400")
    parts.kept[name].append([message(1)._replace(payload=b"{")])
    with pytest.raises(JournalUnavailable, match="Start `project`"):
        ask(parts.given.ledger, name, begun_within_s=0.2)

    running.start()
    wait_until(lambda: parts.given.ledger.quarantine_counts())

    assert ask(parts.given.ledger, name) == Replayed(messages=1, still_open=1)
    assert ask(parts.given.ledger, name, code="unknown_meter") == Replayed()
    # Through the door of a process that may not write this journal
    assert parts.given.quarantine.replay() == Replayed(messages=1, still_open=1)
