"""What the store in InfluxDB adds to the contract: errors, several writers, buckets made anew."""

import signal
import socket
import threading
import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from metering.periods import Period
from metering.readings import Flag, Reading, Readings
from metering.store.influx_store import open_influx
from metering.store.port import Span, StoreUnavailable, WriterReplaced
from tests.influx_server import open_in, own_server, server
from tests.metering.store.test_contract import (
    DAY,
    EVER,
    T0,
    hour_span,
    hours,
    minutes,
    reading,
    rows,
    told,
    values,
)


@pytest.fixture
def store(tmp_path):
    opened = open_in(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def second(tmp_path):
    opened = open_in(tmp_path)
    yield opened
    opened.close()


def of_journal(journal, at, value, seq=0, received=None):
    when = minutes(at if received is None else received)
    return Reading("park/A1", "import", minutes(at), value, Flag.NONE, when, journal, seq)


# -- several processes, each with its journal


def test_writers_of_two_journals_never_overwrite_each_other(store, second):
    store.add(Readings.of([of_journal("a", 0, 1.0, seq=1)]))
    second.add(Readings.of([of_journal("b", 0, 1.0, seq=7, received=1)]))

    conflicts = store.add(Readings.of([of_journal("a", 5, 2.0, seq=2)]))

    assert len(conflicts) == 0
    for each in (store, second):
        assert [(r.journal, r.sequence) for r in rows(each.read(DAY))] == [("a", 1), ("a", 2)]
        assert [(r.journal, r.sequence) for r in rows(each.superseded(DAY))] == [("b", 7)]
        assert [(s.count, s.last_received_at) for s in each.summaries()] == [(2, minutes(5))]


def test_a_conflict_between_journals_is_told_to_whoever_comes_later(store, second):
    first = store.add(Readings.of([of_journal("a", 0, 1.0, seq=1)]))
    later = second.add(Readings.of([of_journal("b", 0, 3.0, seq=1, received=2)]))
    again = store.add(Readings.of([of_journal("a", 0, 1.0, seq=1)]))

    assert len(first) == 0
    assert values(later) == values(again) == [3.0]
    assert later.flags.tolist() == [int(Flag.CONFLICT)]


def test_writers_at_the_same_time_lose_nothing_and_one_of_them_sees_the_conflict(store, second):
    told_by = []

    def write(each, journal, offset):
        for i in range(10):
            batch = [
                of_journal(journal, j, float(offset), seq=j) for j in range(10 * i, 10 * i + 10)
            ]
            told_by.extend(r.read_at for r in rows(each.add(Readings.of(batch))))

    threads = [
        threading.Thread(target=write, args=(store, "a", 1)),
        threading.Thread(target=write, args=(second, "b", 2)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(store.read(DAY)) == len(store.superseded(DAY)) == 100
    assert {r.flags for r in rows(second.read(DAY))} == {Flag.CONFLICT}
    assert set(told_by) == {minutes(i) for i in range(100)}


# -- one journal, written by one process after the other


def both(at, value, seq, flags=Flag.NONE):
    """Two registers of one message."""
    return [
        reading(at, value, register=name, seq=seq, received=100 + seq, flags=flags)
        for name in ("import", "volume")
    ]


def test_a_process_that_begins_with_a_journal_again_sees_what_others_wrote(store, second):
    store.add(Readings.of(both(0, 1.0, 1)))
    second.begin("j1")
    second.add(Readings.of(both(60, 2.0, 50)))

    store.begin("j1")
    told_of = store.add(Readings.of([reading(60, 9.0, register="import", seq=40, received=140)]))

    # message 50 came later than 40 and counts; 40 is kept beside it, and each under its own number
    assert [(r.register, r.value, r.sequence) for r in rows(second.read(DAY))] == [
        ("import", 1.0, 1), ("import", 2.0, 50), ("volume", 1.0, 1), ("volume", 2.0, 50),
    ]  # fmt: skip
    assert [(r.value, r.sequence) for r in rows(second.superseded(DAY))] == [(9.0, 40)]
    assert values(told_of) == [2.0]


def test_a_later_message_of_one_register_leaves_the_origin_of_the_other(store, second):
    store.add(Readings.of(both(0, 1.0, 1)))
    second.begin("j1")
    second.add(Readings.of([reading(60, 2.0, register="volume", seq=50, received=150)]))

    store.begin("j1")
    store.add(Readings.of([reading(60, 9.0, register="import", seq=60, received=160)]))

    late = [(r.register, r.sequence) for r in rows(second.read(DAY)) if r.read_at == minutes(60)]
    assert late == [("import", 60), ("volume", 50)]


def test_a_row_set_aside_does_not_displace_what_another_process_wrote_meanwhile(store, second):
    store.add(Readings.of([reading(0, 1.0, seq=1)]))
    second.begin("j1")
    second.add(Readings.of([reading(60, 300.0, seq=10, received=10)]))

    store.begin("j1")
    store.add(Readings.of([reading(60, 310.0, seq=11, received=11, flags=Flag.IMPLAUSIBLE)]))

    assert values(store.read(DAY)) == [1.0, 300.0]
    assert values(store.superseded(DAY)) == [310.0]


def test_a_process_that_was_replaced_writes_nothing_more(store, second):
    store.add(Readings.of([reading(0, 1.0, seq=1)]))
    second.begin("j1")
    second.add(Readings.of([reading(60, 200.0, seq=2, received=2)]))
    second.add(Readings.of([reading(60, 250.0, seq=3, received=3)]))
    asked = []

    def check():
        asked.append(None)
        raise WriterReplaced("another has it")

    late = Readings.of([reading(60, 200.0, seq=2, received=2)])
    many = Readings.of([reading(120 + i, 1.0, seq=4 + i) for i in range(3)])
    for batch in (late, many):
        with pytest.raises(WriterReplaced):
            store.add(batch, check=check)

    assert len(asked) == 2
    assert values(second.read(DAY)) == [1.0, 250.0]
    assert values(second.superseded(DAY)) == [200.0]


def test_every_request_of_a_batch_is_asked_for(store):
    asked = []
    store.add(Readings.of([reading(0, 1.0, seq=1)]), check=lambda: asked.append(None))
    first = len(asked)
    # a correction: what counted goes beside first, then the new value takes its place
    store.add(Readings.of([reading(0, 2.0, seq=2, received=1)]), check=lambda: asked.append(None))

    assert first == 2  # the journal's mark, and the reading
    assert len(asked) - first == 2


# -- registers that come one by one, and points that are half there


def test_registers_of_one_time_may_come_in_messages_of_their_own(store, second):
    given = [
        reading(at, float(seq), register=name, seq=3 * at + seq, received=at + seq)
        for at in range(3)
        for seq, name in enumerate(("import", "export", "volume"))
    ]
    for one in given:
        store.add(Readings.of([one]))

    expected = sorted(given, key=lambda r: (r.register, r.read_at))
    assert rows(store.read(DAY)) == expected
    assert len(store.superseded(DAY)) == 0
    assert [(s.register, s.last_received_at) for s in second.summaries()] == [
        ("export", minutes(3)),
        ("import", minutes(2)),
        ("volume", minutes(4)),
    ]


def test_a_value_may_be_corrected_again_and_again_at_one_time(store):
    given = [reading(0, float(i), seq=i, received=i) for i in range(1100)]
    for start in range(0, 1100, 550):
        store.add(Readings.of(given[start : start + 550]))

    assert [(r.value, r.flags) for r in rows(store.read(DAY))] == [(1099.0, Flag.CONFLICT)]
    assert rows(store.superseded(DAY)) == given[:-1]
    assert values(store.read(DAY, known_by=minutes(1000))) == [999.0]


@pytest.mark.parametrize("after", range(6))
def test_a_batch_that_broke_off_anywhere_is_completed_when_it_comes_again(
    store, after, monkeypatch
):
    store.add(Readings.of([reading(0, 1.0, seq=1), reading(1, 1.0, seq=2)]))
    batch = Readings.of(
        [
            reading(0, 2.0, seq=3, received=5),
            reading(1, 1.0, seq=3, received=5),
            reading(2, 7.0, seq=3),
            reading(2, 8.0, seq=4, received=3),
            reading(3, 9.0, seq=5),
        ]
    )
    write, calls = store._influx.write, []

    def breaking(bucket, lines, *, check=None):
        for line in lines:
            if len(calls) == after:
                raise StoreUnavailable("cut")
            calls.append(line)
            write(bucket, [line], check=check)

    monkeypatch.setattr(store._influx, "write", breaking)
    with pytest.raises(StoreUnavailable, match="cut"):
        store.add(batch)
    monkeypatch.setattr(store._influx, "write", write)
    conflicts = store.add(batch)

    # minute 0: 1 then 2; minute 1: 1 twice; minute 2: 7 then 8; minute 3: 9
    assert values(store.read(DAY)) == [2.0, 1.0, 8.0, 9.0]
    assert values(conflicts) == [2.0, 8.0]
    assert [(r.value, r.sequence) for r in rows(store.superseded(DAY))] == [
        (1.0, 1),
        (1.0, 3),
        (7.0, 3),
    ]


# -- derived hours


def test_an_hour_that_becomes_whole_loses_what_made_it_partial(store):
    partial = hours(("p/1", "import", 0, 4.0))
    store.replace("energy", partial, spans=[hour_span("p/1", 0, 1)])
    whole = hours(("p/1", "import", 0, 5.0), source="v2")
    for name in ("coverage", "measured_hour", "measured_day", "measured_month", "measured_year"):
        getattr(whole, name)[:] = 1.0
    whole.flags[:] = 0

    store.replace("energy", whole, spans=[hour_span("p/1", 0, 1)])

    assert told(store.series("energy", DAY)) == told(whole)


def test_an_hour_that_becomes_unknown_has_no_value_any_more(store):
    store.replace("energy", hours(("p/1", "import", 0, 4.0)), spans=[hour_span("p/1", 0, 1)])

    unknown = hours(("p/1", "import", 0, float("nan")))
    store.replace("energy", unknown, spans=[hour_span("p/1", 0, 1)])

    assert told(store.series("energy", DAY)) == told(unknown)


def test_clearing_two_spans_leaves_the_hours_between_them(store):
    given = hours(*[("p/1", "import", h, float(h)) for h in range(6)])
    store.replace("energy", given, spans=[hour_span("p/1", 0, 6)])

    empty = given.take(np.zeros(6, np.bool_))
    store.replace("energy", empty, spans=[hour_span("p/1", 0, 2), hour_span("p/1", 4, 5)])

    assert store.series("energy", DAY).value.tolist() == [2.0, 3.0, 5.0]


def test_what_hours_were_made_from_is_known_to_another_process(store, second):
    store.replace("energy", hours(("p/1", "import", 0, 1.0)), spans=[Span("p/1", EVER)])
    assert second.series("energy", DAY).sources == ("v1",)

    given = hours(("p/1", "import", 1, 1.0), source="园区 v=2, b")
    store.replace("energy", given, spans=[Span("p/1", EVER)])

    assert second.series("energy", DAY).sources == ("园区 v=2, b",)


# -- buckets, tokens, and a server that is away


def test_buckets_that_are_missing_are_made_and_keep_everything(store, tmp_path):
    store.check()

    with server().client() as client:
        for name in (store._buckets.readings, store._buckets.derived):
            bucket = client.buckets_api().find_bucket_by_name(name)
            (rule,) = bucket.retention_rules
            assert rule.every_seconds == 0
            assert rule.shard_group_duration_seconds == 364 * 86_400


@pytest.mark.parametrize("which", ["readings", "derived"])
def test_a_bucket_that_was_deleted_is_waited_for_and_made_anew_it_is_another_store(
    store, which, monkeypatch
):
    monkeypatch.setattr("metering.store.influx_store.NAME_HOLDS_S", 0.0)
    store.add(Readings.of([reading(0, 1.0)]))
    name, bucket = store.store_id, getattr(store._buckets, which)
    server().drop(bucket)

    with pytest.raises(StoreUnavailable, match=r"404 .*[Mm]ake the bucket again"):
        _ = store.store_id
    if which == "readings":
        with pytest.raises(StoreUnavailable, match="404"):
            store.add(Readings.of([reading(1, 2.0)]))
        with pytest.raises(StoreUnavailable):
            store.read(DAY)
    else:
        with pytest.raises(StoreUnavailable):
            store.series("energy", DAY)
    with server().client() as client:
        client.buckets_api().create_bucket(bucket_name=bucket)
    looks = {
        "readings": lambda: store.add(Readings.of([reading(2, 3.0)])),
        "derived": lambda: store.store_id,
    }
    with pytest.raises(StoreUnavailable, match="made anew"):
        looks[which]()

    assert store.store_id not in ("", name)
    store.add(Readings.of([reading(i, float(i)) for i in range(3)]))
    assert values(store.read(DAY)) == [0.0, 1.0, 2.0]


def test_a_store_that_another_process_cleared_is_another_store_here_too(store, second):
    store.add(Readings.of([reading(0, 1.0)]))
    second.clear()

    with pytest.raises(StoreUnavailable, match="made anew"):
        store.add(Readings.of([reading(1, 1.0)]))

    assert store.store_id == second.store_id


def test_a_wrong_token_is_told():
    here = server()
    store = open_influx(here.url, org=here.org, token="wrong")

    with pytest.raises(StoreUnavailable, match=r"401 .*INFLUXDB_V2_TOKEN"):
        store.check()
    store.close()


def test_nobody_at_the_address_is_told_by_the_first_call_not_by_opening():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    store = open_influx(f"http://127.0.0.1:{port}", org="o", token="t")

    with pytest.raises(StoreUnavailable, match=r"refused.*Is it running"):
        store.add(Readings.of([reading(0, 1.0)]))
    store.close()


def test_a_token_for_the_two_buckets_alone_is_enough(store, tmp_path):
    from influxdb_client import Permission, PermissionResource

    store.add(Readings.of([reading(0, 1.0)]))
    here = server()
    with here.client() as client:
        org = client.organizations_api().find_organizations(org=here.org)[0].id
        found = [
            client.buckets_api().find_bucket_by_name(name)
            for name in (store._buckets.readings, store._buckets.derived)
        ]
        permissions = [
            Permission(action, PermissionResource(type="buckets", id=bucket.id, org_id=org))
            for bucket in found
            for action in ("read", "write")
        ]
        token = client.authorizations_api().create_authorization(org, permissions).token
    narrow = open_influx(
        here.url,
        org=here.org,
        token=token,
        bucket=store._buckets.readings,
        derived_bucket=store._buckets.derived,
    )

    narrow.add(Readings.of([reading(1, 2.0, seq=1)]))
    narrow.replace("energy", hours(("p/1", "import", 0, 1.0)), spans=[Span("p/1", EVER)])
    assert values(narrow.read(DAY, before=1)) == [1.0, 2.0]
    narrow.replace("energy", hours(), spans=[Span("p/1", EVER)])
    assert len(narrow.series("energy", DAY)) == 0
    narrow.close()


def test_a_sequence_or_time_that_has_no_place_is_refused_whole(store):
    late = Reading("m", "r", datetime(2300, 1, 1, tzinfo=UTC), 1.0)
    with pytest.raises(ValueError, match="1677 to 2262"):
        store.add(Readings.of([reading(0, 1.0), late]))
    with pytest.raises(ValueError, match=r"2\*\*53"):
        store.add(Readings.of([reading(0, 1.0, seq=2**53)]))

    assert len(store.read(EVER)) == 0


def test_what_others_write_into_the_bucket_is_left_out(store, caplog):
    store.add(Readings.of([reading(0, 1.0)]))
    ns = int((T0 + timedelta(minutes=5)).timestamp()) * 10**9
    store._influx.write(
        store._buckets.readings, [b"reading,journal=j1,meter=park/A1 import=9 %d" % ns]
    )

    assert values(store.read(DAY)) == [1.0]
    assert "not ours" in caplog.text


def test_a_line_the_server_refuses_is_named(store):
    store.check()
    with pytest.raises(StoreUnavailable, match=r"400 .*fault in the lines.*The line: broken"):
        store._influx.write(store._buckets.readings, [b"reading a=1 1", b"broken line 1 2 3"])


@pytest.mark.slow
def test_a_server_that_is_killed_stopped_and_frozen_loses_and_doubles_nothing():
    here = own_server()
    try:
        store = here.open("away", timeout_s=2.0)
        given = [reading(i, float(i), seq=i) for i in range(60)]
        batches = [Readings.of(given[i : i + 10]) for i in range(0, 60, 10)]
        store.add(batches[0])

        here.stop(signal.SIGKILL)
        with pytest.raises(StoreUnavailable, match="Is it running"):
            store.add(batches[1])
        with pytest.raises(StoreUnavailable):
            store.read(DAY)
        here.start()
        store.add(batches[1])

        here.process.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match="timed out"):
            store.add(batches[2])
        assert time.monotonic() - began < 10
        here.process.send_signal(signal.SIGCONT)
        store.add(batches[2])

        here.stop(signal.SIGINT)
        with pytest.raises(StoreUnavailable):
            store.check()
        here.start()
        for batch in batches:
            store.add(batch)

        assert rows(store.read(DAY)) == given
        assert len(store.superseded(DAY)) == 0
        assert store.read(Period(T0, T0), after=1).value.tolist() == [0.0]
        store.close()
    finally:
        here.end()
