"""Quarantine: what is shown, and what a replay after a fix gives."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from ingest.context import Context
from ingest.journal import Journal, Message
from ingest.profiles import load_profiles
from ingest.projector import Projector
from ingest.quarantine import NotQuarantined, Quarantine
from metering.ledger.port import QuarantineEntry
from metering.ledger.sql_ledger import open_ledger
from metering.periods import Period
from metering.store.memory import MemoryStore

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
AT = datetime(2024, 1, 1, tzinfo=UTC)
ARRIVED = AT + timedelta(seconds=3)
YEARS = Period(datetime(1900, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC))
PROFILES = load_profiles()
BEFORE = Context({"estate": {"E27": "native"}}, PROFILES)
AFTER = Context({"estate": {"E27": "native", "E28": "native"}}, PROFILES)


def message(payload, topic="tanyuan/estate/gw1/readings"):
    if not isinstance(payload, bytes):
        payload = json.dumps(payload).encode()
    arrived_us = (ARRIVED - EPOCH) // timedelta(microseconds=1)
    return Message(arrived_us, topic, payload, "mqtt", "gw1")


def reading(meter, value):
    return {"meter": meter, "at": AT.isoformat(), "registers": {"active_import": value}}


class Home:
    """A journal, a store and a ledger, and the site model that counts now."""

    def __init__(self, folder, messages, context=BEFORE):
        self.context = context
        self.journal = Journal(folder / "j", fsync=False, sealing=False, min_free_bytes=0)
        self.store, self.ledger = MemoryStore(), open_ledger(f"sqlite:///{folder / 'l.sqlite'}")
        self.journal.append(messages)
        Projector(self.journal, self.store, self.ledger, lambda: self.context).step()
        self.quarantine = Quarantine(self.journal, self.store, self.ledger, lambda: self.context)

    def open(self):
        return [(e.sequence, e.part, e.code) for e in self.ledger.quarantined()]

    def rows(self):
        return [
            (r.meter, r.value, r.sequence, r.received_at) for r in self.store.read(YEARS).rows()
        ]

    def close(self):
        self.journal.close()
        self.ledger.close()


@pytest.fixture
def home(tmp_path):
    homes = []

    def make(*messages, context=BEFORE):
        homes.append(Home(tmp_path, messages, context))
        return homes[-1]

    yield make
    for each in homes:
        each.close()


def test_a_quarantined_message_is_shown_with_its_bytes_and_reasons(home):
    given = home(message(b'{"meter": "\xc3\xa4\xff"'))

    shown = given.quarantine.show(1)

    assert shown.payload == b'{"meter": "\xc3\xa4\xff"'
    assert shown.text == '{"meter": "ä\\xff"'
    assert shown.hex.endswith("22 c3 a4 ff 22")
    assert (shown.topic, shown.door, shown.client) == (
        "tanyuan/estate/gw1/readings",
        "mqtt",
        "gw1",
    )
    assert (shown.received_at, [e.code for e in shown.entries]) == (ARRIVED, ["invalid_utf8"])


def test_a_message_that_is_not_in_quarantine_is_named(home):
    given = home(message(reading("E27", 1)))

    with pytest.raises(NotQuarantined, match="quarantined message 1"):
        given.quarantine.show(1)


def test_after_a_meter_was_added_its_readings_are_stored_as_they_came(home):
    given = home(message(reading("E28", 5.0)), message(reading("E27", 1.0)))
    assert given.open() == [(1, 0, "unknown_meter")]
    given.ledger.clear_dirty(given.ledger.dirty())

    given.context = AFTER
    done = given.quarantine.replay()

    assert (done.messages, done.readings, done.closed, done.still_open) == (1, 1, 1, 0)
    assert given.rows() == [
        ("estate/E27", 1.0, 2, ARRIVED),
        ("estate/E28", 5.0, 1, ARRIVED),
    ]
    assert given.open() == []
    assert [e.state for e in given.ledger.quarantined(state=None)] == ["replayed"]
    assert [d.meter for d in given.ledger.dirty()] == ["estate/E28"]


def test_a_replay_gives_what_a_rebuild_gives(home, tmp_path):
    messages = [
        message({"readings": [reading("E28", 5.0), reading("E27", 1.0), reading("X", 9.0)]}),
        message(b"nonsense"),
        message(reading("E28", 6.0)),
    ]
    given = home(*messages)
    given.context = AFTER
    given.quarantine.replay()

    fresh = MemoryStore()
    given.ledger.forget_positions()
    Projector(given.journal, fresh, given.ledger, lambda: AFTER).drain(timeout=20)

    assert list(fresh.read(YEARS).rows()) == list(given.store.read(YEARS).rows())
    assert list(fresh.superseded(YEARS).rows()) == list(given.store.superseded(YEARS).rows())
    assert given.open() == [(1, 2, "unknown_meter"), (2, -1, "bad_json")]


def test_what_still_fails_stays_open_with_its_new_reason(home):
    both = {"readings": [reading("E28", 5.0), {**reading("E28", 6.0), "at": "2024-01-01T00:00"}]}
    given = home(message(both))
    assert given.open() == [(1, 0, "unknown_meter"), (1, 1, "unknown_meter")]

    given.context = AFTER
    done = given.quarantine.replay()

    assert (done.closed, done.still_open) == (0, 1)
    assert given.open() == [(1, 1, "time_without_offset")]
    assert given.rows() == [("estate/E28", 5.0, 1, ARRIVED)]


def test_a_replay_can_be_limited_to_a_message_or_a_reason(home):
    given = home(
        message(reading("E28", 1.0)), message(reading("E28", 2.0)), message(b"x"), context=BEFORE
    )
    given.context = AFTER

    assert given.quarantine.replay(sequence=2).closed == 1
    assert given.open() == [(1, 0, "unknown_meter"), (3, -1, "bad_json")]
    assert given.quarantine.replay(code="bad_json").still_open == 1
    assert given.quarantine.replay(code="unknown_meter").closed == 1
    assert given.open() == [(3, -1, "bad_json")]


def test_a_replay_done_twice_changes_nothing(home):
    given = home(message(reading("E28", 1.0)), message(b"x"))
    given.context = AFTER
    given.quarantine.replay()
    rows, entries = given.rows(), given.ledger.quarantined(state=None)

    given.quarantine.replay()

    assert (given.rows(), given.ledger.quarantined(state=None)) == (rows, entries)


def test_a_start_replays_only_when_sites_or_profiles_changed(home):
    given = home(message(reading("E28", 1.0)))
    assert given.quarantine.replay_all_if_changed().still_open == 1
    assert given.quarantine.replay_all_if_changed() is None

    given.context = AFTER
    assert given.quarantine.replay_all_if_changed().closed == 1
    assert given.quarantine.replay_all_if_changed() is None


def test_a_crash_in_a_replay_leaves_the_message_open(home):
    given = home(message(reading("E28", 1.0)))
    given.context = AFTER

    class Torn(MemoryStore):
        def add(self, batch, *, check=None):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Quarantine(given.journal, Torn(), given.ledger, lambda: AFTER).replay()

    assert given.open() == [(1, 0, "unknown_meter")]


def test_messages_of_another_journal_or_lost_ones_stay_and_are_counted(home):
    given = home(message(reading("E28", 1.0)))
    entry = given.ledger.quarantined()[0]
    foreign = QuarantineEntry("other", 1, 0, ARRIVED, entry.topic, "unknown_meter", "…")
    lost = QuarantineEntry(entry.journal, 99, 0, ARRIVED, entry.topic, "unknown_meter", "…")
    given.ledger.quarantine([foreign, lost])
    given.context = AFTER

    done = given.quarantine.replay()

    assert (done.messages, done.closed, done.gone) == (1, 1, 2)
    assert {(e.journal, e.sequence) for e in given.ledger.quarantined()} == {
        ("other", 1),
        (entry.journal, 99),
    }
