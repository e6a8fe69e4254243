"""Journal to store: order of steps, repeats, crashes between any two of them, and waiting."""

import json
import threading
from datetime import UTC, datetime, timedelta

import pytest

from ingest import decoding, keeping
from ingest.context import Context
from ingest.journal import Journal, Message
from ingest.profiles import load_profiles
from ingest.projector import Projector, ProjectorSettings
from ingest.segments import Damage, JournalDamaged
from metering.ledger.port import LedgerUnavailable
from metering.ledger.sql_ledger import open_ledger
from metering.periods import Period
from metering.readings import Flag
from metering.site_files import load_site
from metering.store.duckdb_store import open_duckdb
from metering.store.memory import MemoryStore
from metering.store.port import StoreUnavailable

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
START = datetime(2024, 1, 1, tzinfo=UTC)
QUARTER = timedelta(minutes=15)
YEARS = Period(datetime(1900, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC))
PROFILES = load_profiles()
QUICK = ProjectorSettings(linger_s=0.0, first_wait_s=0.001, longest_wait_s=0.01)


@pytest.fixture
def journal(tmp_path):
    with Journal(tmp_path / "journal", fsync=False, sealing=False, min_free_bytes=0) as opened:
        yield opened


@pytest.fixture
def ledger(tmp_path):
    opened = open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    yield opened
    opened.close()


@pytest.fixture(params=["memory", "duckdb"])
def store(request, tmp_path):
    opened = MemoryStore()
    if request.param == "duckdb":
        opened = open_duckdb(tmp_path / "store.duckdb")
    yield opened
    opened.close()


@pytest.fixture
def context():
    return Context({"estate": {"E27": "native", "H1": "native"}}, PROFILES)


def message(payload, *, arrived=START, topic="tanyuan/estate/gw1/readings"):
    if not isinstance(payload, bytes):
        payload = json.dumps(payload).encode()
    return Message((arrived - EPOCH) // timedelta(microseconds=1), topic, payload, "mqtt", "gw1")


def reading(n, value=None, *, meter="E27", at=None, register="active_import"):
    instant = START + n * QUARTER
    return message(
        {
            "meter": meter,
            "at": at or instant.isoformat(),
            "registers": {register: float(n) if value is None else value},
        },
        arrived=instant + timedelta(seconds=1),
    )


def rows(store):
    return [(r.meter, r.read_at, r.value, r.sequence) for r in store.read(YEARS).rows()]


def state(store, ledger):
    """Everything a step leaves behind, the versions of marks apart."""
    return (
        list(store.read(YEARS).rows()),
        list(store.superseded(YEARS).rows()),
        ledger.quarantined(state=None),
        [(d.meter, d.period) for d in ledger.dirty()],
        ledger.findings(),
    )


LATE = datetime(2106, 2, 7, 6, 28, 15, tzinfo=UTC)
MIXED = [
    reading(0),
    reading(1),
    message(b"garbage"),
    reading(1, 7.5),
    reading(2, meter="nobody"),
    reading(2, meter="H1", register="heat"),
    reading(3, at="2106-02-07T06:28:15Z"),
    reading(4),
]


def test_a_step_stores_readings_marks_ranges_and_keeps_what_it_could_not_read(
    journal, store, ledger, context
):
    journal.append(MIXED)
    projector = Projector(journal, store, ledger, lambda: context)

    done = projector.step()

    assert (done.messages, done.readings, done.quarantined, done.position) == (8, 6, 2, 8)
    assert done.conflicts == 1
    assert [(e.sequence, e.code) for e in ledger.quarantined()] == [
        (3, "bad_json"),
        (5, "unknown_meter"),
    ]
    assert ledger.position(store_id=store.store_id, journal=journal.journal_id) == 8
    tick = timedelta(microseconds=1)
    assert [(d.meter, d.period) for d in ledger.dirty()] == [
        ("estate/E27", Period(START, START + 4 * QUARTER + tick)),
        # the reading of 2106 marks its own instant
        ("estate/E27", Period(LATE, LATE + tick)),
        ("estate/H1", Period(START + 2 * QUARTER, START + 2 * QUARTER + tick)),
    ]
    clock = [r for r in store.read(YEARS).rows() if r.flags & Flag.CLOCK]
    assert [r.sequence for r in clock] == [7]


def test_a_second_value_for_a_reading_is_a_finding(journal, store, ledger, context):
    journal.append([reading(1, 1.0), reading(1, 1.0), reading(1, 7.5)])

    Projector(journal, store, ledger, lambda: context).step()

    (noted,) = ledger.findings(code="reading.conflict")
    assert (noted.subject, noted.at) == ("estate/E27", START + QUARTER)
    assert noted.finding.data == {"counts": {"active_import": 7.5}}
    (row,) = store.read(YEARS).rows()
    assert (row.value, row.flags) == (7.5, Flag.CONFLICT)


def test_the_position_is_saved_and_nothing_is_done_twice(journal, store, ledger, context):
    journal.append([reading(n) for n in range(10)])
    first = Projector(journal, store, ledger, lambda: context)
    assert [first.step(4).position for _ in range(4)] == [4, 8, 10, 10]

    again = Projector(journal, store, ledger, lambda: context)
    assert again.step().messages == 0
    assert (again.lag, again.counts.oldest_unprojected) == (0, None)


def test_a_store_made_anew_begins_at_the_start(journal, store, ledger, context):
    journal.append([reading(n) for n in range(3)])
    Projector(journal, store, ledger, lambda: context).step()

    fresh = MemoryStore()
    done = Projector(journal, fresh, ledger, lambda: context).step()

    assert done.messages == 3
    assert list(fresh.read(YEARS).rows()) == list(store.read(YEARS).rows())


class Fragile:
    """Stands before a store or ledger and fails at the n-th writing call, before or after it."""

    WRITES = ("mark_dirty", "quarantine", "add", "note", "save_position")

    def __init__(self, inner, plan):
        self._inner, self._plan = inner, plan

    def __getattr__(self, name):
        value = getattr(self._inner, name)
        if name not in self.WRITES:
            return value

        def call(*args, **kwargs):
            self._plan.tick()
            result = value(*args, **kwargs)
            self._plan.tick()
            return result

        return call


class Crash(BaseException):
    """Like a SIGKILL: nothing catches it."""


class Plan:
    def __init__(self, fail_at):
        self.calls, self.fail_at = 0, fail_at

    def tick(self):
        self.calls += 1
        if self.calls == self.fail_at:
            raise Crash


def test_a_crash_between_any_two_steps_is_repaired_by_doing_the_batch_again(
    tmp_path, journal, context
):
    journal.append(MIXED)
    calm_store, calm_ledger = MemoryStore(), open_ledger(f"sqlite:///{tmp_path / 'calm.sqlite'}")
    counter = Plan(fail_at=-1)
    Projector(
        journal, Fragile(calm_store, counter), Fragile(calm_ledger, counter), lambda: context
    ).step()
    wanted = state(calm_store, calm_ledger)
    # quarantine, add, mark dirty, note, save position: each before and after
    assert counter.calls == 10

    for fail_at in range(1, counter.calls + 1):
        plan = Plan(fail_at)
        store = MemoryStore()
        ledger = open_ledger(f"sqlite:///{tmp_path / f'{fail_at}.sqlite'}")
        projector = Projector(journal, Fragile(store, plan), Fragile(ledger, plan), lambda: context)
        with pytest.raises(Crash):
            projector.step()
        Projector(journal, store, ledger, lambda: context).step()

        assert state(store, ledger) == wanted, f"after a crash at call {fail_at}"
        ledger.close()
    calm_ledger.close()


def test_a_job_that_works_while_readings_are_written_leaves_their_ranges_dirty(
    journal, store, ledger, context
):
    journal.append([reading(0)])

    class HastyJob(MemoryStore):
        def add(self, batch, *, check=None):
            ledger.clear_dirty(ledger.dirty())
            return super().add(batch, check=check)

    hasty = HastyJob()
    Projector(journal, hasty, ledger, lambda: context).step()

    assert [d.meter for d in ledger.dirty()] == ["estate/E27"]


def test_late_readings_mark_their_own_span_and_not_the_time_between(
    journal, store, ledger, context
):
    journal.append([reading(n) for n in (0, 1, 2)] + [reading(n) for n in (960, 961)])

    Projector(journal, store, ledger, lambda: context).step()

    tick = timedelta(microseconds=1)
    # 960 quarter hours are ten days
    assert [d.period for d in ledger.dirty()] == [
        Period(START, START + 2 * QUARTER + tick),
        Period(START + 960 * QUARTER, START + 961 * QUARTER + tick),
    ]


def test_implausible_readings_mark_their_own_instant_so_that_the_hour_can_say_so(
    journal, store, ledger, context
):
    journal.append([reading(0, -5.0)])

    Projector(journal, store, ledger, lambda: context).step()

    (row,) = store.read(YEARS).rows()
    assert row.flags == Flag.IMPLAUSIBLE
    tick = timedelta(microseconds=1)
    assert [d.period for d in ledger.dirty()] == [Period(START, START + tick)]


def test_a_fault_of_the_decoder_takes_out_one_message_only(
    journal, store, ledger, context, monkeypatch, caplog
):
    journal.append([reading(n) for n in range(20)])
    decode = decoding.decode_batch

    def stumble(records, given, *, journal):
        if any(record.sequence in (4, 13) for record in records):
            raise ZeroDivisionError("a bug")
        return decode(records, given, journal=journal)

    monkeypatch.setattr(keeping, "decode_batch", stumble)
    projector = Projector(journal, store, ledger, lambda: context)
    projector.step()

    kept = [r[3] for r in rows(store)]
    assert kept == [n for n in range(1, 21) if n not in (4, 13)]
    found = ledger.quarantined()
    assert [(e.sequence, e.part, e.code) for e in found] == [
        (4, -1, "decoder_fault"),
        (13, -1, "decoder_fault"),
    ]
    assert "ZeroDivisionError: a bug" in found[0].message
    assert projector.counts.quarantined["decoder_fault"] == 2
    assert sum("Traceback" in (r.exc_text or "") for r in caplog.records) == 2


class Away:
    """A store or ledger that does not answer for a while."""

    def __init__(self, inner, method, error, times):
        self._inner, self._method, self._error, self._times = inner, method, error, times

    def __getattr__(self, name):
        if name == self._method and self._times > 0:
            self._times -= 1
            raise self._error
        return getattr(self._inner, name)


def run_until(projector, sequence):
    stop = threading.Event()
    thread = threading.Thread(target=projector.run, args=(stop,))
    thread.start()
    try:
        return projector.wait_until(sequence, timeout=20)
    finally:
        stop.set()
        thread.join(20)


@pytest.mark.parametrize("method", ["add", "position", "mark_dirty", "save_position"])
def test_the_projector_waits_while_a_store_is_away_and_loses_nothing(
    journal, store, ledger, context, method
):
    journal.append([reading(n) for n in range(5)])
    away_store = Away(store, method, StoreUnavailable("the store is away"), 3)
    away_ledger = Away(ledger, method, LedgerUnavailable("the ledger is away"), 3)
    projector = Projector(journal, away_store, away_ledger, lambda: context, settings=QUICK)

    assert run_until(projector, 5)

    assert [r[2] for r in rows(store)] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert projector.counts.errors == 3
    assert projector.counts.last_error is None


def test_an_unexpected_fault_of_the_store_does_not_end_the_thread(
    journal, store, ledger, context, caplog
):
    journal.append([reading(0)])
    broken = Away(store, "add", RuntimeError("what is this"), 2)
    projector = Projector(journal, broken, ledger, lambda: context, settings=QUICK)

    assert run_until(projector, 1)

    assert projector.counts.errors == 2
    assert "what is this" in caplog.text


def test_the_thread_takes_messages_as_they_come(journal, store, ledger, context):
    latest = []
    projector = Projector(
        journal, store, ledger, lambda: context, settings=QUICK, on_latest=latest.append
    )
    stop = threading.Event()
    thread = threading.Thread(target=projector.run, args=(stop,))
    thread.start()
    try:
        for n in range(5):
            last = journal.append([reading(n)])[-1]
            assert projector.wait_until(last, timeout=20)
            assert len(rows(store)) == n + 1
    finally:
        stop.set()
        thread.join(20)
    assert [float(v) for batch in latest for v in batch.value] == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_drain_takes_all_there_is(journal, store, ledger, context):
    journal.append([reading(n) for n in range(25)])
    projector = Projector(
        journal, store, ledger, lambda: context, settings=ProjectorSettings(batch=10)
    )

    assert projector.drain(timeout=20)
    assert len(rows(store)) == 25
    assert projector.counts.batches == 3


def test_drain_gives_up_with_the_reason(journal, store, ledger, context):
    journal.append([reading(0)])
    away = Away(store, "add", StoreUnavailable("the store is away"), 10_000)
    projector = Projector(journal, away, ledger, lambda: context, settings=QUICK)

    with pytest.raises(StoreUnavailable, match="away"):
        projector.drain(timeout=0.05)


def test_lag_and_the_oldest_waiting_message_are_seen(journal, store, ledger, context):
    journal.append([reading(n) for n in range(10)])
    projector = Projector(journal, store, ledger, lambda: context)
    assert projector.lag == 10

    projector.step(4)

    assert (projector.lag, projector.counts.lag) == (6, 6)
    # the fourth message came at 00:45:01; those behind it came no earlier
    assert projector.counts.oldest_unprojected == START + 3 * QUARTER + timedelta(seconds=1)


def test_lost_records_are_stepped_over_and_noted(tmp_path, store, ledger, context):
    class Torn(Journal):
        def read(self, after, limit=10_000, *, max_bytes=32 << 20):
            if after < 3:
                raise JournalDamaged(Damage(self.folder / "seg", 100, 1, 3, 900))
            return super().read(after, limit, max_bytes=max_bytes)

    began = datetime(2024, 6, 1, tzinfo=UTC)
    with Torn(tmp_path / "torn", fsync=False, sealing=False, min_free_bytes=0) as torn:
        torn.append([reading(n) for n in range(5)])
        projector = Projector(torn, store, ledger, lambda: context, now=lambda: began)
        assert projector.drain(timeout=20)

    assert [r[3] for r in rows(store)] == [4, 5]
    (noted,) = ledger.findings(code="journal.damaged", since=began)
    assert noted.finding.data == {"first": 1, "last": 3}


SITE = b"""
site: {id: estate, name: Estate, timezone: Europe/London}
buildings:
  - id: b27
    points:
      - id: b27-electricity
        carrier: electricity
        role: main
        meters:
          - {serial: E26, profile: native, removed: {at: 2023-06-14T10:30:00+00:00}}
          - {serial: E27, profile: native, installed: {at: 2023-06-14T11:10:00+00:00}}
"""


def test_every_meter_a_site_ever_had_is_known(journal, store, ledger):
    site = load_site(SITE, file="site.yaml")
    journal.append([reading(0), reading(1, meter="E26"), reading(2, meter="E28")])

    Projector(journal, store, ledger, lambda: Context.of([site], PROFILES)).step()

    assert [r[0] for r in rows(store)] == ["estate/E26", "estate/E27"]
    assert [e.code for e in ledger.quarantined()] == ["unknown_meter"]


def test_order_of_arrival_does_not_matter(tmp_path, context):
    messages = [reading(n, value) for n in range(30) for value in (float(n),)]
    shuffled = messages[::-1] + messages[5:9]
    found = []
    for number, batch in enumerate((messages, shuffled)):
        with Journal(
            tmp_path / f"j{number}", fsync=False, sealing=False, min_free_bytes=0
        ) as journal:
            journal.append(batch)
            ledger = open_ledger(f"sqlite:///{tmp_path / f'l{number}.sqlite'}")
            store = MemoryStore()
            Projector(journal, store, ledger, lambda: context).drain(timeout=20)
            found.append([(r.read_at, r.value, r.flags) for r in store.read(YEARS).rows()])
            ledger.close()

    assert found[0] == found[1]
