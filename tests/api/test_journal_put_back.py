"""An older copy of a journal is put back: no number twice, and what is lost is said."""

from __future__ import annotations

import shutil
import threading
import time
from contextlib import ExitStack, closing

import pytest

from api.collecting import _settle_late
from api.journal_numbers import settle_or_remember
from api.journals import Journals, Place, registering
from api.line import Line
from api.tracing import _telegrams
from ingest.context import Context
from ingest.journal import Journal
from ingest.journal_folder import Meta, read_meta, write_meta
from ingest.profiles import load_profiles
from ingest.projector import JournalBehind, Projector
from metering.ledger.port import LedgerUnavailable
from metering.ledger.sql_ledger import open_ledger
from metering.periods import utc_text
from metering.store.memory import MemoryStore
from tests.acceptance.publishing import publish
from tests.acceptance.running import answer, call, make_home, up, values
from tests.api.test_backup import FACTORS, FIRST, SITE, message
from tests.api.test_remote_journal import TOKEN, Serving, begun, ledger, put_back, reached, serving
from tests.deploy.brokers import wait_until
from tests.ingest.test_projector import YEARS
from tests.shape import ledger_of, needs_embedded

__all__ = ["begun", "ledger", "serving"]

DAY = ("energy", "--from", "2024-01-01", "--to", "2024-01-02", "--every", "hour")


def told(home, at):
    """What the trace of the hour that begins then says of its telegrams."""
    return answer(home, "trace", "energy", "--point", "a-main", "--at", at)["telegrams"]


def telegram_of(number, sequence):
    """What a trace says of a message that is there."""
    return (sequence, message(number).payload.hex())


@needs_embedded("the folder of the journal goes back, and nothing else")
def test_home_whose_journal_is_an_older_copy_goes_on_and_says_what_is_lost(tmp_path):
    home = make_home(tmp_path / "home", SITE, factors={"own.yaml": FACTORS})
    with Journal(home / "journal", min_free_bytes=0) as journal:
        journal.append([message(n) for n in range(5)])
    shutil.copytree(home / "journal", tmp_path / "copy")
    with Journal(home / "journal", min_free_bytes=0) as journal:
        journal.append([message(n) for n in range(5, 10)])
    # Ten readings, each 7 kWh on: nine hours have 7 kWh.
    assert values(answer(home, *DAY))[:11] == [7.0] * 9 + [None] * 2
    shutil.rmtree(home / "journal")
    shutil.move(tmp_path / "copy", home / "journal")

    with up(home) as running:
        publish(running.mqtt_port, [message(n).payload for n in (10, 11)], site="park")
        query = {"first": "2024-01-01", "to": "2024-01-02", "every": "hour"}
        document = running.ask("/energy", **query)
        assert "behind" not in document
        assert values(document)[:12] == [7.0] * 11 + [None]
        assert running.ask("/status")["lag"]["messages"] == 0
        assert b"tanyuan_journal_last_sequence 12.0" in running.get("/metrics")
        assert b"tanyuan_projector_ahead 0.0" in running.get("/metrics")
        assert running.get("/readyz")

    # 00:00 to 01:00 is between messages 1 and 2; 10:00 to 11:00 between the new 11 and 12.
    assert [(t["sequence"], t["hex"]) for t in told(home, "2024-01-01T00:30:00Z")] == [
        telegram_of(0, 1),
        telegram_of(1, 2),
    ]
    assert [(t["sequence"], t["hex"]) for t in told(home, "2024-01-01T10:30:00Z")] == [
        telegram_of(10, 11),
        telegram_of(11, 12),
    ]
    for one in told(home, "2024-01-01T06:30:00Z"):
        assert "messages 6 to 10 are not in the journal" in one["error"]
        assert "hex" not in one
    whole = Journal.open_read_only(home / "journal").verify()
    assert (whole.problems, whole.messages) == ((), 7)
    assert [(each.first, each.last) for each in whole.lost] == [(6, 10)]
    with closing(open_ledger(ledger_of(home))) as kept:
        (noted,) = kept.findings(code="journal.lost")
        assert noted.finding.data == {"first": 6, "last": 10}

    done = call(home, "rebuild", "--json")
    assert done.status == 0, done.err
    assert [(each["first"], each["last"]) for each in done.document["lost"]] == [(6, 10)]
    assert done.document["messages"] == 7
    # 04:00 to 10:00 is 42 kWh between two readings, which are all that is left of it
    assert values(answer(home, *DAY))[:12] == [7.0] * 11 + [None]
    assert [t["sequence"] for t in told(home, "2024-01-01T06:30:00Z")] == [5, 11]


@pytest.fixture
def projecting(begun, ledger):
    """A projector that took all 610 messages over HTTP, and where it put them."""
    store, stop = MemoryStore(), threading.Event()
    context = Context({"park": {"E1": "native"}}, load_profiles())
    with ExitStack() as stack:
        stack.callback(store.close)
        with begun.open() as journal:
            remote = reached(begun, journal.journal_id)
            stack.callback(remote.close)
            projector = Projector(remote, store, ledger, lambda: context)
            thread = threading.Thread(target=projector.run, args=(stop,))
            thread.start()
            stack.callback(thread.join, 30)
            stack.callback(stop.set)
            wait_until(lambda: projector.counts.position == 610)
        yield projector, store


def place_of(begun, name):
    return Place(name, f"http://127.0.0.1:{begun.port}", "collect", 610)


def test_journal_that_ends_before_its_position_is_said_to_be_an_older_copy(
    begun, ledger, projecting
):
    projector, store = projecting
    put_back(begun)
    with begun.open() as journal:
        journal.append([message(n) for n in range(700, 704)])
        wait_until(lambda: projector.counts.ahead == 6)  # 610 in the store, 604 in the journal
        assert "ends at message 604, and the store has it up to 610" in projector.counts.last_error
        with pytest.raises(JournalBehind, match="older copy"):
            projector.step()
        place = place_of(begun, journal.journal_id)
        ledger.put(f"journal/{place.journal}", place.text())
        journals = Journals(None, ledger, token=TOKEN)
        line = Line(journals, store, ledger, None, None, recomputes=False, shared=True)
        assert line._catch_up_others(time.monotonic() + 5).unknown == (journal.journal_id,)
        journals.close()


def test_journal_that_was_put_back_goes_on_behind_what_the_ledger_knows(
    begun, ledger, projecting, tmp_path
):
    projector, _ = projecting
    url = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    # What its process said last is more than any store has.
    ledger.put(f"journal/{projector._journal.journal_id}", place_of_620(begun, projector).text())
    put_back(begun)

    settled(begun, url)
    with begun.open() as journal:
        assert list(journal.append([message(700)])) == [621]
        wait_until(lambda: projector.counts.position == 621)
        assert [(each.first, each.last) for each in journal.lost] == [(601, 620)]
        wait_until(lambda: projector.counts.last_error is None)
    (noted,) = ledger.findings(code="journal.lost")
    assert noted.finding.data == {"first": 601, "last": 620}


def place_of_620(begun, projector):
    return Place(projector._journal.journal_id, f"http://127.0.0.1:{begun.port}", "collect", 620)


def settled(begun, url):
    with Journal(begun.folder, fsync=False, sealing=False, min_free_bytes=0) as journal:
        settle_or_remember(journal, url, now=FIRST)


def test_messages_taken_before_the_ledger_could_be_asked_reach_the_store_too(
    begun, ledger, projecting, tmp_path
):
    projector, store = projecting
    lost = {r.sequence: r for r in store_rows(store) if r.sequence in (601, 602)}
    put_back(begun)
    away, url = threading.Event(), f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    away.set()

    def opened():
        if away.is_set():
            raise LedgerUnavailable("it is away")
        return open_ledger(url)

    with begun.open() as journal:
        journal.note_unasked()  # as at a start while the ledger does not answer
        assert list(journal.append([message(n) for n in range(700, 704)])) == [601, 602, 603, 604]
        name = journal.journal_id
        with registering(
            opened,
            lambda: Place(name, f"http://127.0.0.1:{begun.port}", "collect", journal.last_sequence),
            first=lambda there: _settle_late(journal, there),
            beat_s=0.05,
        ):
            time.sleep(0.3)
            assert projector.counts.position == 610  # nobody reads it before it was asked
            assert "before the ledger was asked" in projector.counts.last_error
            away.clear()
            wait_until(lambda: projector.counts.position == 610 and journal.is_settled)
            assert list(journal.append([message(710)])) == [611]
            wait_until(lambda: projector.counts.position == 611)

        # Message 700 arrived under number 601 again: both readings are there, apart by arrival.
        found = [r for r in store_rows(store) if r.sequence == 601]
        assert sorted(r.value for r in found) == [7.0 * 600, 7.0 * 700]
        (noted,) = ledger.findings(code="journal.repeated")
        assert noted.finding.data == {"first": 601, "last": 604}
        ledger.put(f"journal/{name}", place_of(begun, name).text())
        journals = Journals(None, ledger, token=TOKEN)
        old, new = _telegrams(
            journals,
            [
                {
                    "journal": name,
                    "sequence": r.sequence,
                    "received_at": utc_text(r.received_at),
                }
                for r in found
            ],
        )
        journals.close()
        assert lost[601].received_at < max(r.received_at for r in found)
        assert "the telegram of these readings is lost" in old["error"]
        assert new["hex"] == message(700).payload.hex()


def store_rows(store):
    return list(store.read(YEARS, registers=["active_import"]).rows())


def test_restored_collector_waits_for_the_ledger_and_refuses_meanwhile(tmp_path):
    serving = Serving(tmp_path / "journal")
    with serving.open() as journal:
        journal.append([message(n) for n in range(3)])
    meta = Meta(read_meta(serving.folder).journal, is_restored=True)
    write_meta(serving.folder, meta, sync=False)

    with serving.open() as journal:
        settle_or_remember(journal, "postgresql://nobody@127.0.0.1:1/none", now=FIRST)
        assert journal.unasked is None
        assert not journal.is_settled
        assert "before the ledger was asked" in str(journal.health().last_error)
        settle_or_remember(journal, f"sqlite:///{tmp_path / 'l.sqlite'}", now=FIRST)
        assert list(journal.append([message(3)])) == [4]
