"""The same question gives the same bytes: again, restarted, rebuilt, in any order of arrival."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta

import pytest

from tests.acceptance.publishing import publish, reading
from tests.acceptance.running import answer, call, make_home, opened, rows, run, up, write_readings
from tests.shape import copy_home, lose_ledger, lose_store

SITE = """
site: {id: park, name: Park, timezone: Asia/Shanghai, region: CN-BJ}
factors: {provisional: true}
buildings:
  - id: a
    area_m2: 500
    points:
      - id: a-main
        carrier: electricity
        role: main
        meters:
          - serial: E1
            profile: native
            capacity: 10000
            max_power_kw: 900
            removed: {at: 2023-03-10T10:20:00+08:00, registers: {active_import: 6000.7}}
          - serial: E2
            profile: native
            max_power_kw: 900
            installed: {at: 2023-03-10T11:05:00+08:00, registers: {active_import: 0.3}}
      - {id: a-heat, carrier: heat, role: main,
         meter: {serial: H1, profile: native, max_power_kw: 500, capacity: 100000}}
      - {id: a-gas, carrier: gas, role: main, net_calorific_value_mj_m3: 35.5,
         meter: {serial: G1, profile: native}}
quotas:
  - {id: own, subject: a, carrier: electricity, limit: 90, unit: kWh/m2,
     period: calendar_year, source: "own budget"}
"""
FIRST = datetime(2023, 2, 28, 16, tzinfo=UTC)
SPAN = ("--from", "2023-03-01", "--to", "2023-03-21")
EVERY = ("15min", "hour", "day", "month", "year")
QUESTIONS = [
    *[("energy", *SPAN, "--every", every) for every in ("15min", "hour", "day", "month", "year")],
    *[
        ("emissions", *SPAN, "--every", every)
        for every in ("15min", "hour", "day", "month", "year")
    ],
    ("energy", *SPAN, "--every", "hour", "--point", "a-main"),
    ("energy", *SPAN, "--every", "day", "--point", "a-heat", "--register", "volume"),
    ("energy", *SPAN, "--every", "hour", "--known-by", "2090-01-01"),
    ("emissions", *SPAN, "--every", "day", "--known-by", "2090-01-01"),
    ("emissions", *SPAN, "--every", "day", "--method", "market"),
    ("quota", "--on", "2023-03-20"),
    ("quota", "--on", "2023-03-20", "--known-by", "2090-01-01"),
]
TRACES = [
    ("trace", "energy", "--point", "a-main", "--at", "2023-03-05T04:10:00Z"),
    ("trace", "emissions", "--point", "a-heat", "--at", "2023-03-05T04:10:00Z", "--every", "day"),
]


def telegrams(*, seed=7):
    """Twenty days with a rollover, an exchange, a gap, a glitch: single readings, odd minutes."""
    chance = random.Random(seed)
    found = []

    def add(meter, at, **registers):
        found.append(reading(meter, f"{at:%Y-%m-%dT%H:%M:%SZ}", **registers))

    energy, heat, volume, gas = 9000.0, 500.0, 20.0, 70.0
    exchange = datetime(2023, 3, 10, 2, 20, tzinfo=UTC)
    number, shown = 0, 0.3
    while (at := FIRST + timedelta(minutes=17 * number)) < FIRST + timedelta(days=20):
        number += 1
        if at < exchange:
            energy += chance.random() * 20 * (3000 / 10000) * 3
            add("E1", at, active_import=round(energy % 10000, 3))
        elif at > exchange + timedelta(minutes=45):
            shown += chance.random() * 20
            add("E2", at, active_import=round(shown, 3))
        if not 200 < number < 420:
            heat, volume = heat + chance.random() * 9, volume + chance.random()
            add("H1", at, heat=round(heat, 2), volume=round(volume, 3))
        if number % 11 == 0:
            gas += chance.random() * 4
            add("G1", at, gas_volume=round(gas, 3))
    add("H1", FIRST + timedelta(days=2, minutes=1), heat=90000.0)
    return found


def messages(readings, *, seed, most):
    """Native messages in a random order, of random sizes, with a tenth of it twice."""
    chance = random.Random(seed)
    mixed = [*readings, *chance.sample(readings, len(readings) // 10)]
    chance.shuffle(mixed)
    found = []
    while mixed:
        size = chance.randint(1, most)
        found.append(json.dumps({"readings": mixed[:size]}).encode())
        del mixed[:size]
    return found


def told(folder, payloads, *, pause_after=None):
    """A home that was told these messages by MQTT; asked once on the way."""
    home = make_home(folder, SITE)
    with up(home) as running:
        if pause_after is not None:
            publish(running.mqtt_port, payloads[:pause_after], site="park")
            running.ask("/energy", first="2023-03-01", to="2023-03-21", every="hour")
        publish(running.mqtt_port, payloads[pause_after or 0 :], site="park")
    return home


def all_answers(home, questions=QUESTIONS):
    found = {}
    with opened(home):
        for question in questions:
            done = call(home, *question, "--json")
            assert done.status == 0, done.err
            found[" ".join(question)] = done.out
    return found


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    payloads = messages(telegrams(), seed=1, most=40)
    return told(tmp_path_factory.mktemp("bytes") / "home", payloads, pause_after=len(payloads) // 2)


@pytest.fixture(scope="module")
def first(home):
    """The answers of the home, asked for the first time."""
    return all_answers(home, [*QUESTIONS, *TRACES])


def test_the_answers_say_something(home, first):
    """A rollover, an exchange, a gap, a glitch: else the comparisons below prove little."""
    seen = set()
    for row in rows(answer(home, *QUESTIONS[1], "--carrier", "electricity")):
        seen |= set(row["flags"])
    for row in rows(answer(home, *QUESTIONS[1], "--carrier", "heat")):
        seen |= set(row["flags"])
    assert {"rollover", "exchange", "gap", "glitch", "interpolated"} <= seen
    assert len({out for question, out in first.items() if "--every hour" in question}) == 3


def test_known_by_a_day_to_come_is_what_is_known_now(first):
    for question, out in first.items():
        if question.endswith("--known-by 2090-01-01"):
            assert out == first[question.removesuffix(" --known-by 2090-01-01")], question


def test_asked_again_by_processes_of_their_own(home, first):
    """Each opens the home anew, so this is also after a restart."""
    for question in (QUESTIONS[6], QUESTIONS[-2]):
        assert run(home, *question, "--json").out == first[" ".join(question)]


def test_asked_again_of_a_running_up(home, first):
    with up(home):
        found = {q: call(home, *q.split(), "--json").out for q in first}
    assert found == first


def test_after_a_rebuild(home, first, tmp_path):
    copy = copy_home(home, tmp_path / "copy")
    assert call(copy, "rebuild", "--json").status == 0
    assert all_answers(copy, [*QUESTIONS, *TRACES]) == first


def test_after_the_store_is_deleted(home, first, tmp_path):
    """The next command makes it again from the journal by itself."""
    copy = copy_home(home, tmp_path / "copy")
    lose_store(copy)
    assert all_answers(copy, [*QUESTIONS, *TRACES]) == first


def test_after_the_store_and_the_ledger_are_deleted(home, first, tmp_path):
    """Nothing was entered by hand here, so the journal and the files are the whole truth."""
    copy = copy_home(home, tmp_path / "copy")
    lose_store(copy)
    lose_ledger(copy)
    now = {q: a for q, a in first.items() if "--known-by" not in q}
    assert all_answers(copy, [q.split() for q in now]) == now


@pytest.mark.parametrize(("seed", "most"), [(2, 3), (3, 400)])
def test_with_readings_in_another_order_and_other_batches(first, tmp_path, seed, most):
    payloads = messages(telegrams(), seed=seed, most=most)
    other = told(tmp_path / "home", payloads, pause_after=len(payloads) // 3)
    assert all_answers(other) == {q: first[q] for q in map(" ".join, QUESTIONS)}
    for question in TRACES:
        assert figures(answer(other, *question)) == figures(json.loads(first[" ".join(question)]))


def figures(trace):
    """A trace without what depends on the order of arrival: sequence, arrival, telegram."""
    arrival = ("received_at", "journal", "sequence")
    kept = {name: part for name, part in trace.items() if name != "telegrams"}
    kept["readings"] = [
        {name: part for name, part in each.items() if name not in arrival}
        for each in trace["readings"]
    ]
    return kept


def test_imported_in_perfect_order(first, tmp_path):
    """A file on a perfect day: the same answers as from a bad one over MQTT."""
    other = make_home(tmp_path / "home", SITE)
    lines = [
        (each["meter"], register, each["at"], value)
        for each in sorted(telegrams(), key=lambda each: each["at"])
        for register, value in each["registers"].items()
    ]
    answer(other, "import", str(write_readings(tmp_path / "all.csv", lines)))
    assert all_answers(other) == {q: first[q] for q in map(" ".join, QUESTIONS)}


def late_and_odd(folder, odd):
    """A home that is told a good day, asked, and then told something odd about it."""
    home = make_home(folder, SITE)
    good = [("H1", "heat", f"{FIRST + timedelta(hours=n):%Y-%m-%dT%H:%M:%SZ}", 100 + n)
            for n in range(25)]  # fmt: skip
    answer(home, "import", str(write_readings(folder / "good.csv", good)))
    call(home, "energy", *SPAN, "--every", "hour", "--json")
    answer(home, "import", str(write_readings(folder / "odd.csv", odd)))
    return home


ODD = [
    pytest.param(
        ("H1", "heat", "2023-03-01T04:30:00Z", -5),
        id="a negative value between readings",
    ),
    pytest.param(
        ("H1", "heat", "2023-03-01T04:00:00Z", -5), id="a negative value in place of a reading"
    ),
    pytest.param(("H1", "heat", "2106-02-07T06:28:15Z", 130), id="a clock in 2106"),
]


@pytest.mark.parametrize("odd", ODD)
def test_what_is_set_aside_shows_the_same_before_and_after_a_rebuild(tmp_path, odd):
    home = late_and_odd(tmp_path / "home", [odd])
    questions = [
        ("energy", *SPAN, "--every", "hour", "--point", "a-heat"),
        ("energy", "--from", "2106-02-07", "--to", "2106-02-08", "--every", "hour"),
    ]
    before = all_answers(home, questions)
    known = all_answers(home, [(*q, "--known-by", "2090-01-01") for q in questions])
    assert call(home, "rebuild", "--json").status == 0
    after = all_answers(home, questions)
    assert before == after
    assert list(before.values()) == list(known.values())
