"""What every store of readings and hours does: nothing here knows which one it has."""

import threading
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metering.periods import Period, to_us
from metering.readings import SET_ASIDE, Flag, Reading, Readings, encode
from metering.series import SHARES, Series
from metering.store.port import MeterSummary, Span, StoreUnavailable, WriterReplaced

T0 = datetime(2025, 3, 1, tzinfo=UTC)
DAY = Period(T0, T0 + timedelta(days=1))
EVER = Period(datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC))
MICROSECOND = timedelta(microseconds=1)


def minutes(count):
    return T0 + timedelta(minutes=count)


def reading(
    at, value, *, meter="park/A1", register="import", seq=0, flags=Flag.NONE, received=None
):
    """A reading `at` minutes after T0, which arrived `received` minutes after it (else at once)."""
    return Reading(
        meter=meter,
        register=register,
        read_at=minutes(at),
        value=value,
        flags=flags,
        received_at=minutes(at if received is None else received),
        journal="j1",
        sequence=seq,
    )


def rows(readings):
    return list(readings.rows())


def values(readings):
    return readings.value.tolist()


# -- periods, selection and order


def test_the_end_of_a_period_belongs_to_the_next_one(store):
    store.add(Readings.of([reading(0, 1.0), reading(24 * 60, 2.0)]))

    assert values(store.read(DAY)) == [1.0]


def test_times_are_kept_to_the_microsecond(store):
    ends = [T0 - MICROSECOND, T0, DAY.end - MICROSECOND, DAY.end]
    store.add(Readings.of([Reading("m", "r", at, float(i)) for i, at in enumerate(ends)]))

    assert values(store.read(DAY)) == [1.0, 2.0]
    assert [r.read_at for r in rows(store.read(EVER))] == ends


def test_an_empty_store_answers_with_nothing(store):
    assert len(store.read(EVER, before=1, after=1)) == 0
    assert len(store.read(EVER, known_by=T0, before=1)) == 0
    assert len(store.latest()) == len(store.superseded(EVER)) == 0
    assert len(store.add(Readings.empty())) == 0
    assert store.summaries() == store.quantities("energy") == []
    assert len(store.series("emissions", EVER)) == 0


def test_answers_come_by_meter_name_register_name_and_time(store):
    given_rows = [
        reading(2, 1.0, meter="park/B", register="import"),
        reading(1, 2.0, meter="park/Ä", register="export"),
        reading(1, 3.0, meter="park/B", register="export"),
        reading(1, 4.0, meter="park/B", register="import"),
        reading(1, 5.0, meter="park/A", register="volume"),
    ]
    store.add(Readings.of(given_rows))

    found = store.read(DAY)

    assert values(found) == [5.0, 3.0, 4.0, 1.0, 2.0]
    assert found.meters == ("park/A", "park/B", "park/Ä")
    assert found.registers == ("export", "import", "volume")
    assert found.journals == ("j1",)
    assert (found.meter.dtype, found.read_at.dtype) == (np.dtype("int32"), np.dtype("M8[us]"))


def test_only_the_meters_and_registers_asked_for_are_read(store):
    store.add(
        Readings.of(
            [
                reading(1, 1.0, meter="park/A", register="import"),
                reading(1, 2.0, meter="park/A", register="export"),
                reading(1, 3.0, meter="park/B", register="import"),
            ]
        )
    )

    assert values(store.read(DAY, meters=["park/A", "park/nobody"])) == [2.0, 1.0]
    assert values(store.read(DAY, registers=["import"])) == [1.0, 3.0]
    assert values(store.read(DAY, meters=["park/B"], registers=["import"])) == [3.0]
    assert values(store.read(DAY, meters=["park/B"], registers=["import"], before=1)) == [3.0]
    assert len(store.read(DAY, meters=[])) == len(store.read(DAY, registers=["none"])) == 0
    assert values(store.latest(meters=["park/B"])) == [3.0]


def test_thousands_of_meters_can_be_asked_for_at_once(store):
    names = [f"park/{i}" for i in range(3000)]
    store.add(Readings.of([reading(1, float(i), meter=m) for i, m in enumerate(names)]))

    assert len(store.read(DAY, meters=names[:2500], before=1)) == 2500


def test_values_come_back_to_the_last_bit(store):
    exact = [0.1, 1 / 3, 1e-300, -1.5, 5e-324, 1.7976931348623157e308, 12345678.901234567, 0.0]
    store.add(Readings.of([reading(i, v) for i, v in enumerate(exact)]))

    assert values(store.read(DAY)) == exact


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_values_that_are_no_numbers_are_refused_whole(store, value):
    with pytest.raises(ValueError, match="park/A1 import"):
        store.add(Readings.of([reading(0, 1.0), reading(1, value)]))

    assert len(store.read(EVER)) == 0


@pytest.mark.parametrize(
    "name",
    ["园区/东门-电表№1", "a/b'c\"d;--", "a/" + "x" * 298, "a/%_\\,=", "a/ø", "ａ/ﬃ"],
    ids=["chinese", "quotes", "300 characters", "protocol signs", "latin", "full width"],
)
def test_odd_names_come_back_as_they_were(store, name):
    store.add(Readings.of([reading(0, 1.0, meter=name, register=name)]))
    store.replace("energy", hours((name, name, 0, 2.0)), spans=[Span(name, DAY)])

    (found,) = rows(store.read(DAY, meters=[name], registers=[name], before=1))
    assert (found.meter, found.register) == (name, name)
    assert store.quantities("energy") == [(name, name)]
    assert store.series("energy", DAY, subjects=[name], quantities=[name]).value.tolist() == [2.0]


# -- what counts


def test_the_same_rows_again_change_nothing(store):
    batch = Readings.of([reading(i, float(i), seq=i) for i in range(5)])
    store.add(batch)
    before = (store.read(EVER), store.superseded(EVER), store.summaries())

    conflicts = store.add(batch)
    store.add(Readings.concat([batch, batch]))

    assert len(conflicts) == 0
    assert (store.read(EVER), store.superseded(EVER), store.summaries()) == before


def test_a_writer_that_may_not_write_any_more_writes_nothing(store):
    def check():
        raise WriterReplaced("another has it")

    with pytest.raises(WriterReplaced):
        store.add(Readings.of([reading(0, 1.0)]), check=check)
    assert len(store.read(DAY)) == 0

    store.begin("j1")
    store.add(Readings.of([reading(0, 1.0)]), check=lambda: None)
    assert values(store.read(DAY)) == [1.0]


def test_the_last_change_counts_and_the_others_stay_beside_it(store):
    # A, then B, then A again: nothing equals its predecessor, so the last A counts
    a1, b2, a3 = reading(0, 7.0, seq=1), reading(0, 8.0, seq=2), reading(0, 7.0, seq=3)

    conflicts = store.add(Readings.of([b2, a3, a1]))

    (counts,) = rows(store.read(DAY))
    assert (counts.value, counts.sequence, counts.flags) == (7.0, 3, Flag.CONFLICT)
    assert rows(conflicts) == [counts]
    assert rows(store.superseded(DAY)) == [a1, b2]


def test_an_identical_repeat_is_put_beside_and_is_no_conflict(store):
    a1, a2 = reading(0, 7.0, seq=1), reading(0, 7.0, seq=2)

    assert len(store.add(Readings.of([a2]))) == 0
    assert len(store.add(Readings.of([a1]))) == 0

    assert rows(store.read(DAY)) == [a1]
    assert rows(store.superseded(DAY)) == [a2]


def test_a_repeat_of_the_newest_value_does_not_count_again(store):
    # A, B, B: the second B equals the row before it and drops out; B@2 counts, with a conflict
    a1, b2, b3 = reading(0, 7.0, seq=1), reading(0, 8.0, seq=2), reading(0, 8.0, seq=3)
    for one in (a1, b3, b2):
        store.add(Readings.of([one]))

    (counts,) = rows(store.read(DAY))
    assert (counts.sequence, counts.flags) == (2, Flag.CONFLICT)
    assert rows(store.superseded(DAY)) == [a1, b3]


def test_arrival_decides_before_the_sequence_and_the_journal_name_between_them(store):
    late = Reading("m", "r", T0, 1.0, received_at=minutes(9), journal="a", sequence=1)
    soon = Reading("m", "r", T0, 2.0, received_at=minutes(5), journal="z", sequence=9)
    store.add(Readings.of([late, soon]))
    same_time = [
        Reading("n", "r", T0, 1.0, received_at=minutes(5), journal="b", sequence=1),
        Reading("n", "r", T0, 2.0, received_at=minutes(5), journal="a", sequence=2),
    ]
    store.add(Readings.of(same_time))

    assert values(store.read(DAY)) == [1.0, 1.0]


def test_a_conflict_is_told_by_every_batch_that_touches_it(store):
    store.add(Readings.of([reading(0, 1.0, seq=1), reading(1, 5.0, seq=1)]))

    first = store.add(Readings.of([reading(0, 2.0, seq=2), reading(2, 6.0, seq=2)]))
    again = store.add(Readings.of([reading(0, 2.0, seq=2), reading(2, 6.0, seq=2)]))
    other = store.add(Readings.of([reading(3, 9.0, seq=3)]))

    assert [(r.value, r.flags) for r in rows(first)] == [(2.0, Flag.CONFLICT)]
    assert again == first
    assert len(other) == 0


def test_a_row_sent_with_the_conflict_flag_loses_it(store):
    store.add(Readings.of([reading(0, 1.0, flags=Flag.CONFLICT | Flag.STAMPED)]))

    assert rows(store.read(DAY)) == [reading(0, 1.0, flags=Flag.STAMPED)]


def test_two_readings_of_one_message_for_one_time_do_not_depend_on_their_order(store):
    # the same journal and sequence twice: one row, the smaller value, whatever came first
    store.add(Readings.of([reading(0, 2.0, seq=1)]))
    store.add(Readings.of([reading(0, 1.0, seq=1)]))
    store.add(Readings.of([reading(1, 1.0, seq=2)]))
    store.add(Readings.of([reading(1, 2.0, seq=2)]))

    assert values(store.read(DAY)) == [1.0, 1.0]
    assert len(store.superseded(DAY)) == 0


def test_superseded_rows_are_read_by_period_and_meter(store):
    twice = [
        reading(at, 1.0, meter=meter, seq=seq)
        for at in (0, 24 * 60)
        for meter in ("park/B", "park/A")
        for seq in (1, 2)
    ]
    store.add(Readings.of(twice))

    assert [(r.meter, r.sequence) for r in rows(store.superseded(DAY))] == [
        ("park/A", 2),
        ("park/B", 2),
    ]
    assert len(store.superseded(EVER, meters=["park/A"])) == 2


# -- as it was known


def test_known_by_sees_what_had_arrived_before_that_instant(store):
    store.add(
        Readings.of(
            [
                reading(0, 1.0, seq=1, received=1),
                reading(0, 2.0, seq=2, received=60),
                reading(5, 9.0, seq=3, received=90),
            ]
        )
    )

    assert len(store.read(DAY, known_by=minutes(1))) == 0
    first = store.read(DAY, known_by=minutes(60))
    second = store.read(DAY, known_by=minutes(60) + MICROSECOND)

    assert [(r.value, r.flags) for r in rows(first)] == [(1.0, Flag.NONE)]
    assert [(r.value, r.flags) for r in rows(second)] == [(2.0, Flag.CONFLICT)]
    assert store.read(DAY, known_by=minutes(91)) == store.read(DAY)


def test_known_by_holds_for_the_readings_around_a_period_too(store):
    store.add(
        Readings.of(
            [
                reading(-20, 1.0, seq=1),
                reading(-10, 2.0, seq=2, received=100),
                reading(24 * 60 + 10, 3.0, seq=3, received=100),
                reading(24 * 60 + 20, 4.0, seq=4, received=50),
            ]
        )
    )

    assert values(store.read(DAY, before=1, after=1, known_by=minutes(60))) == [1.0, 4.0]
    assert values(store.read(DAY, before=1, after=1)) == [2.0, 3.0]


# -- around a period


def test_readings_around_a_period_leave_out_those_set_aside(store):
    day = 24 * 60
    store.add(
        Readings.of(
            [
                reading(-40, 1.0),
                reading(-30, 2.0, flags=Flag.STAMPED),
                reading(-20, 3.0, flags=Flag.CLOCK),
                reading(-10, 4.0, flags=Flag.IMPLAUSIBLE | Flag.STAMPED),
                reading(0, 5.0, flags=Flag.CLOCK),
                reading(day, 6.0, flags=Flag.IMPLAUSIBLE),
                reading(day + 1, 7.0),
                reading(day + 2, 8.0),
            ]
        )
    )

    assert values(store.read(DAY)) == [5.0]
    assert values(store.read(DAY, before=1)) == [2.0, 5.0]
    assert values(store.read(DAY, before=9, after=1)) == [1.0, 2.0, 5.0, 7.0]
    assert values(store.read(DAY, after=2)) == [5.0, 7.0, 8.0]


def test_the_last_reading_before_a_period_is_found_however_far_back(store):
    year = 365 * 24 * 60
    dense = [reading(-i, 1000.0 - i, meter="park/dense") for i in range(1, 200)]
    sparse = [reading(-9 * year, 1.0, meter="park/sparse"), reading(-1, 2.0, meter="park/late")]
    gap = [reading(-3 * year - i, 50.0 - i, meter="park/gap") for i in range(30)]
    aside = [reading(-i, 0.0, meter="park/gap", flags=Flag.CLOCK) for i in range(1, 60)]
    store.add(Readings.of(dense + sparse + gap + aside))

    found = store.read(DAY, before=2)

    # by name: dense (two newest), gap (two newest that are not set aside), late, sparse
    assert values(found) == [998.0, 999.0, 49.0, 50.0, 2.0, 1.0]


def test_the_first_reading_after_a_period_is_found_however_far_on(store):
    year = 365 * 24 * 60
    store.add(
        Readings.of(
            [reading(9 * year + i, float(i), meter="park/far") for i in range(30)]
            + [reading(24 * 60 + i, float(i), meter="park/near") for i in range(30)]
            + [reading(-5, 7.0, meter="park/past")]
        )
    )

    assert values(store.read(DAY, after=2)) == [0.0, 1.0, 0.0, 1.0]


def test_latest_is_the_newest_reading_that_is_not_set_aside(store):
    store.add(
        Readings.of(
            [
                reading(0, 1.0),
                reading(9, 2.0),
                reading(99, 3.0, flags=Flag.CLOCK),
                reading(-(10**6), 4.0, register="export"),
                reading(5, 5.0, meter="park/only-bad", flags=Flag.IMPLAUSIBLE),
            ]
        )
    )
    store.add(Readings.of([reading(8, 9.0)]))

    assert values(store.latest()) == [4.0, 2.0]


def test_summaries_count_what_counts(store):
    store.add(
        Readings.of(
            [
                reading(0, 1.0, seq=1),
                reading(0, 1.0, seq=2, received=500),
                reading(9, 2.0, seq=3, received=30),
                reading(-10, 4.0, register="export", flags=Flag.CLOCK),
            ]
        )
    )

    # the repeat that arrived at 500 does not count
    assert store.summaries() == [
        MeterSummary("park/A1", "export", 1, minutes(-10), minutes(-10), minutes(-10)),
        MeterSummary("park/A1", "import", 2, minutes(0), minutes(9), minutes(30)),
    ]


# -- any order, any split


def _oracle(all_rows, known_by=None):
    """The rule of the port, row by row: {key: (row that counts, conflict, other rows)}."""
    single = {}
    for r in sorted(all_rows, key=lambda r: (r.received_at, r.value, r.flags)):
        single.setdefault((r.meter, r.register, r.read_at, r.journal, r.sequence), r)
    keys = {}
    for r in sorted(single.values(), key=lambda r: (r.received_at, r.journal, r.sequence)):
        if known_by is None or r.received_at < known_by:
            keys.setdefault((r.meter, r.register, r.read_at), []).append(r)
    found = {}
    for key, came in sorted(keys.items()):
        fit = [r for r in came if not r.flags & SET_ASIDE] or came
        left = [r for i, r in enumerate(fit) if i == 0 or r.value != fit[i - 1].value]
        found[key] = (left[-1], len(left) > 1, [r for r in came if r is not left[-1]])
    return found


def _flagged(row, conflict):
    return Reading(
        **{name: getattr(row, name) for name in row.__slots__ if name != "flags"},
        flags=row.flags | (Flag.CONFLICT if conflict else Flag.NONE),
    )


def _expect_read(found, period, before, after):
    counted = [_flagged(row, conflict) for row, conflict, _ in found.values()]
    answer = []
    for series in sorted({(r.meter, r.register) for r in counted}):
        mine = [r for r in counted if (r.meter, r.register) == series]
        good = [r for r in mine if not r.flags & SET_ASIDE]
        earlier = [r for r in good if r.read_at < period.start]
        answer += earlier[max(len(earlier) - before, 0) :]
        answer += [r for r in mine if period.contains(r.read_at)]
        answer += [r for r in good if r.read_at >= period.end][:after]
    return answer


ROWS = st.lists(
    st.builds(
        Reading,
        meter=st.sampled_from(["p/B", "p/A"]),
        register=st.sampled_from(["import", "export"]),
        read_at=st.sampled_from([minutes(i) for i in (0, 1, 2, 7, 50, 400, 40000)]),
        value=st.sampled_from([1.0, 2.0, -0.0, 0.0]),
        flags=st.sampled_from([Flag.NONE, Flag.STAMPED, Flag.CLOCK, Flag.CONFLICT]),
        received_at=st.sampled_from([minutes(i) for i in (1, 2, 3)]),
        journal=st.sampled_from(["j2", "j1"]),
        sequence=st.integers(0, 3),
    ),
    max_size=40,
)


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data(), came=ROWS)
def test_any_order_and_any_split_into_batches_gives_the_same_answers(store, data, came):
    store.clear()
    order = data.draw(st.permutations(came))
    cuts = data.draw(st.lists(st.integers(0, len(came)), max_size=4).map(sorted))
    repeated = data.draw(st.lists(st.sampled_from(came), max_size=5)) if came else []
    plain = [_flagged(_without_conflict(r), False) for r in came]
    expected = _oracle(plain)

    for low, high in zip([0, *cuts], [*cuts, len(came)], strict=True):
        batch = order[low:high]
        conflicts = store.add(Readings.of(batch))
        so_far = _oracle([_without_conflict(r) for r in order[:high]])
        touched = {(r.meter, r.register, r.read_at) for r in batch}
        assert rows(conflicts) == [
            _flagged(row, True) for key, (row, c, _) in so_far.items() if c and key in touched
        ]
    store.add(Readings.of(repeated))

    period = Period(minutes(2), minutes(50))
    assert rows(store.read(EVER)) == _expect_read(expected, EVER, 0, 0)
    assert rows(store.superseded(EVER)) == [r for _, _, others in expected.values() for r in others]
    for count in (1, 3):
        got = store.read(period, before=count, after=count)
        assert rows(got) == _expect_read(expected, period, count, count)
    for known_by in (minutes(2), minutes(3)):
        then = _oracle(plain, known_by)
        got = store.read(period, before=1, after=1, known_by=known_by)
        assert rows(got) == _expect_read(then, period, 1, 1)
    ended = Period(EVER.end, EVER.end)
    assert rows(store.latest()) == _expect_read(expected, ended, 1, 0)
    assert [(s.meter, s.register, s.count) for s in store.summaries()] == _counts(expected)


def _without_conflict(row):
    return Reading(
        **{name: getattr(row, name) for name in row.__slots__ if name != "flags"},
        flags=row.flags & ~Flag.CONFLICT,
    )


def _counts(expected):
    series = sorted({key[:2] for key in expected})
    return [(*s, sum(key[:2] == s for key in expected)) for s in series]


def test_a_reader_beside_a_writer_sees_whole_batches(store):
    stop = threading.Event()
    wrong = []

    def look():
        while not stop.is_set():
            found = store.read(DAY, before=1)
            if len(found) % 10:
                wrong.append(len(found))

    reader = threading.Thread(target=look)
    reader.start()
    try:
        for i in range(20):
            batch = [reading(i, float(i), meter=f"park/{m}", seq=i) for m in range(10)]
            store.add(Readings.of(batch))
    finally:
        stop.set()
        reader.join()

    assert wrong == []
    assert len(store.read(DAY)) == 200


# -- derived hours


def hours(*given_rows, source="v1"):
    """Hours from (subject, quantity, hour after T0, value); shares are counted up from 0.1."""
    subjects, subject = encode([row[0] for row in given_rows])
    quantities, quantity = encode([row[1] for row in given_rows])
    shares = {name: np.full(len(given_rows), 0.1 + i / 8) for i, name in enumerate(SHARES)}
    return Series(
        subjects=subjects,
        quantities=quantities,
        sources=(source,),
        subject=subject,
        quantity=quantity,
        start=np.array([to_us(minutes(60 * row[2])) for row in given_rows], "M8[us]"),
        duration_s=np.full(len(given_rows), 3600.0),
        value=np.array([row[3] for row in given_rows], np.float64),
        flags=np.full(len(given_rows), int(Flag.GAP), np.int32),
        source=np.zeros(len(given_rows), np.int32),
        **shares,
    )


def told(series):
    """Everything a series says, row by row; NaN as None."""
    columns = [
        [series.subjects[i] for i in series.subject],
        [series.quantities[i] for i in series.quantity],
        [series.sources[i] for i in series.source],
        *(getattr(series, name).tolist() for name in ("start", "duration_s", *SHARES, "flags")),
        [None if np.isnan(v) else v for v in series.value.tolist()],
    ]
    return list(zip(*columns, strict=True))


def hour_span(subject, first, last):
    return Span(subject, Period(minutes(60 * first), minutes(60 * last)))


def test_hours_come_back_with_all_columns_sorted_by_name(store):
    given_hours = hours(
        ("p/2", "import", 1, 4.0),
        ("p/2", "import", 0, 3.0),
        ("p/2", "export", 0, float("nan")),
        ("p/1", "import", 5, 1.0),
    )
    store.replace("energy", given_hours, spans=[hour_span("p/1", 0, 24), hour_span("p/2", 0, 24)])

    found = store.series("energy", DAY)

    assert told(found) == told(given_hours.take(np.array([3, 2, 1, 0])))
    assert found.subjects == ("p/1", "p/2")
    assert found.quantities == ("export", "import")
    assert found.sources == ("v1",)
    assert np.isnan(found.value[1])
    assert store.quantities("energy") == [("p/1", "import"), ("p/2", "export"), ("p/2", "import")]


def test_energy_and_emissions_are_kept_apart(store):
    store.replace("energy", hours(("p/1", "import", 0, 1.0)), spans=[hour_span("p/1", 0, 1)])
    store.replace("emissions", hours(("p/1", "scope2", 0, 2.0)), spans=[hour_span("p/1", 0, 1)])

    assert store.series("energy", DAY).value.tolist() == [1.0]
    assert store.series("emissions", DAY).quantities == ("scope2",)


def test_hours_are_read_by_half_open_period_subject_and_quantity(store):
    given_hours = hours(
        ("p/1", "import", -1, 0.0),
        ("p/1", "import", 0, 1.0),
        ("p/1", "export", 23, 2.0),
        ("p/2", "import", 23, 3.0),
        ("p/2", "import", 24, 4.0),
    )
    store.replace("energy", given_hours, spans=[hour_span(s, -1, 25) for s in ("p/1", "p/2")])

    assert store.series("energy", DAY).value.tolist() == [2.0, 1.0, 3.0]
    assert store.series("energy", DAY, subjects=["p/2", "p/9"]).value.tolist() == [3.0]
    assert store.series("energy", DAY, quantities=["import"]).value.tolist() == [1.0, 3.0]
    assert len(store.series("energy", DAY, subjects=[])) == 0


def test_replace_clears_the_spans_and_nothing_beside_them(store):
    first = hours(*[(s, "import", h, 10.0 * h) for s in ("p/1", "p/2") for h in range(6)])
    store.replace("energy", first, spans=[hour_span(s, 0, 6) for s in ("p/1", "p/2")])
    second = hours(("p/1", "import", 3, 99.0), source="v2")
    spans = [hour_span("p/1", 2, 4), hour_span("p/1", 3, 5), hour_span("p/9", 0, 6)]

    for _ in range(2):
        store.replace("energy", second, spans=spans)

    found = store.series("energy", DAY)
    # hours 2, 3 and 4 of p/1 are cleared, 3 comes again; p/2 stays whole
    assert found.value.tolist() == [0.0, 10.0, 99.0, 50.0, 0.0, 10.0, 20.0, 30.0, 40.0, 50.0]
    assert found.sources == ("v1", "v2")
    assert [found.sources[i] for i in found.source[:4]] == ["v1", "v1", "v2", "v1"]


def test_a_span_of_one_quantity_leaves_the_others(store):
    first = hours(*[("p/1", q, h, 1.0) for q in ("import", "export") for h in range(3)])
    store.replace("energy", first, spans=[hour_span("p/1", 0, 3)])
    only_import = Span("p/1", Period(T0, minutes(120)), "import")
    unheard_of = Span("p/1", Period(T0, minutes(120)), "volume")

    store.replace("energy", hours(("p/1", "import", 1, 2.0)), spans=[only_import, unheard_of])

    found = store.series("energy", DAY)
    # export: hours 0 to 2 as before; import: 0 cleared, 1 new, 2 outside of the span
    assert found.value.tolist() == [1.0, 1.0, 1.0, 2.0, 1.0]
    assert [found.quantities[i] for i in found.quantity] == ["export"] * 3 + ["import"] * 2
    with pytest.raises(ValueError, match="p/1 export"):
        store.replace("energy", hours(("p/1", "export", 1, 2.0)), spans=[only_import])


def test_replacing_by_nothing_leaves_nothing(store):
    store.replace("energy", hours(("p/1", "import", 0, 1.0)), spans=[hour_span("p/1", 0, 1)])

    store.replace("energy", Series.empty(), spans=[hour_span("p/1", 0, 1)])

    assert len(store.series("energy", EVER)) == 0
    assert store.quantities("energy") == []


@pytest.mark.parametrize("span", [hour_span("p/2", 0, 1), hour_span("p/1", 1, 2)])
def test_an_hour_outside_of_its_spans_is_refused(store, span):
    with pytest.raises(ValueError, match="p/1"):
        store.replace("energy", hours(("p/1", "import", 0, 1.0)), spans=[span])

    assert len(store.series("energy", EVER)) == 0


# -- the store itself


def test_clearing_derived_hours_keeps_the_readings(store):
    store.add(Readings.of([reading(0, 1.0)]))
    store.replace("energy", hours(("p/1", "import", 0, 1.0)), spans=[hour_span("p/1", 0, 1)])
    name = store.store_id

    store.clear(derived_only=True)

    assert len(store.series("energy", EVER)) == 0
    assert values(store.read(EVER)) == [1.0]
    assert store.store_id == name


def test_clearing_everything_makes_another_store(store):
    store.add(Readings.of([reading(0, 1.0, seq=1), reading(0, 2.0, seq=2)]))
    store.replace("energy", hours(("p/1", "import", 0, 1.0)), spans=[hour_span("p/1", 0, 1)])
    name = store.store_id

    store.clear()

    assert len(store.read(EVER, before=1)) == len(store.superseded(EVER)) == 0
    assert len(store.latest()) == len(store.series("energy", EVER)) == 0
    assert store.summaries() == []
    assert store.store_id != name
    assert len(store.add(Readings.of([reading(0, 3.0, seq=3)]))) == 0
    assert values(store.read(EVER)) == [3.0]


def test_what_was_kept_is_there_after_closing_and_opening(adapter, tmp_path):
    if not adapter.keeps:
        pytest.skip("this store ends with the process")
    first = adapter.open(tmp_path)
    first.add(Readings.of([reading(0, 1.0, seq=1), reading(0, 2.0, seq=2)]))
    first.add(Readings.of([reading(-90, 4.0, meter="园区/1")]))
    first.replace("energy", hours(("p/1", "import", 0, 1.0)), spans=[hour_span("p/1", 0, 1)])
    ask = [
        lambda s: s.store_id,
        lambda s: s.read(DAY, before=1),
        lambda s: s.superseded(DAY),
        lambda s: s.latest(),
        lambda s: s.summaries(),
        lambda s: told(s.series("energy", DAY)),
    ]
    before = [question(first) for question in ask]
    first.close()

    second = adapter.open(tmp_path)

    assert [question(second) for question in ask] == before
    assert rows(second.add(Readings.of([reading(0, 3.0, seq=3)])))[0].value == 3.0
    second.close()


def test_a_closed_store_says_so(adapter, tmp_path):
    store = adapter.open(tmp_path)
    store.check()
    store.close()
    store.close()

    with pytest.raises(StoreUnavailable, match="closed"):
        store.check()
    with pytest.raises(StoreUnavailable, match="closed"):
        store.add(Readings.of([reading(0, 1.0)]))
