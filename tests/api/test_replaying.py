"""A replay that one process asks another for: begun once, answered once, never lost unsaid."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from api import replaying
from api.replaying import Answering, Wanted, answer, ask
from ingest.quarantine import Quarantine, Replayed
from ingest.remote_journal import JournalUnavailable
from metering.store.port import StoreUnavailable, WriterReplaced
from tests.ingest.test_quarantine import AFTER, Home, message, reading


@pytest.fixture
def home(tmp_path, monkeypatch):
    """One message of a meter that was not known when it came, and is now."""
    monkeypatch.setattr(replaying, "LOOK_S", 0.02)
    made = Home(tmp_path, [message(reading("E28", 5.0))])
    made.context = AFTER
    yield made
    made.close()


@pytest.fixture
def answering(home):
    name = home.journal.journal_id
    made = Answering(home.ledger, lambda: {name: lambda: home.quarantine})
    made.start()
    yield made
    made.stop()


def test_what_was_asked_is_done_and_told(home, answering):
    done = ask(home.ledger, home.journal.journal_id)

    assert done == Replayed(messages=1, readings=1, closed=1)
    assert [(meter, value) for meter, value, *_ in home.rows()] == [("estate/E28", 5.0)]
    assert home.ledger.notes("replay/") == {}


def test_only_what_was_chosen_is_replayed(home, answering):
    assert ask(home.ledger, home.journal.journal_id, code="bad_json") == Replayed()
    assert ask(home.ledger, home.journal.journal_id, sequence=7) == Replayed()
    assert home.open() == [(1, 0, "unknown_meter")]


def test_where_nobody_answers_it_is_said_and_nothing_stays_behind(home):
    with pytest.raises(JournalUnavailable, match=r"nothing was replayed\. Start `project`"):
        ask(home.ledger, home.journal.journal_id, begun_within_s=0.1)
    assert home.ledger.notes("replay/") == {}
    assert not answer(home.ledger, home.journal.journal_id, lambda: home.quarantine)


def test_a_replay_that_fails_says_why_and_leaves_the_message_open(home):
    def check():
        raise WriterReplaced("another process has the lease")

    name = home.journal.journal_id
    quarantine = Quarantine(home.journal, home.store, home.ledger, lambda: AFTER, check=check)
    answering = Answering(home.ledger, lambda: {name: lambda: quarantine})
    answering.start()
    with pytest.raises(StoreUnavailable, match="another process has the lease"):
        ask(home.ledger, name)
    answering.stop()

    assert home.rows() == []
    assert home.open() == [(1, 0, "unknown_meter")]


def test_an_answer_that_nobody_fetched_and_a_note_we_cannot_read_make_room(home, answering):
    key = f"replay/{home.journal.journal_id}"
    for left in (Wanted("old", state="done").text(), "what is this"):
        assert home.ledger.swap(key, expected=None, value=left)
        assert ask(home.ledger, home.journal.journal_id).gone == 0
        assert home.ledger.get(key) is None


def test_a_replay_whose_process_died_is_begun_again_by_the_next(home):
    key = f"replay/{home.journal.journal_id}"
    home.ledger.put(key, Wanted("mine", state="begun").text())

    assert answer(home.ledger, home.journal.journal_id, lambda: home.quarantine)

    over = Wanted.of(home.ledger.get(key))
    assert (over.state, over.replayed.closed) == ("done", 1)


def test_several_who_ask_at_once_are_all_answered(home, answering):
    start = threading.Barrier(3)

    def asking(_):
        start.wait(10)
        return ask(home.ledger, home.journal.journal_id)

    with ThreadPoolExecutor(3) as askers:
        done = list(askers.map(asking, range(3)))

    assert sum(each.closed for each in done) == 1
    assert home.open() == []
