"""What was known on a day stays what it was, whatever comes later.

Arrival is the clock's business, so messages are put into the journal with the arrival we want, as
its doors do; each test then only opens the home.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from ingest.journal import Journal, Message
from metering.ledger.sql_ledger import open_ledger
from tests.acceptance.publishing import reading
from tests.acceptance.running import answer, call, make_home, rows, values
from tests.shape import ledger_of

SITE = """
site: {id: park, name: Park, timezone: Asia/Shanghai, region: CN-BJ}
buildings:
  - id: a
    area_m2: 100
    points:
      - {id: main, carrier: electricity, role: main, meter: {serial: E1, profile: native}}
      - {id: tariffs, carrier: electricity, role: sub, meter: {serial: T1, profile: native}}
quotas:
  - {id: own, subject: a, carrier: electricity, limit: 1, unit: kWh/m2,
     period: calendar_year, source: "own budget"}
"""
FACTOR = """
key: electricity.grid.location
unit: kgCO2/kWh
versions:
  - {value: 0.5, valid_from: 2023-01-01, valid_until: 2024-01-01, published: 2023-02-01,
     source: own}
{more}
sources:
  own: {title: Bulletin, publisher: Supplier, edition: "1", locator: p. 1}
"""
LATER = (
    "  - {value: 0.6, valid_from: 2023-01-01, valid_until: 2024-01-01, published: 2024-02-01,"
    " source: own}"
)
MARCH = ("--from", "2023-03-01", "--to", "2023-03-02", "--point", "main")
START = datetime(2023, 2, 28, 16, tzinfo=UTC)


def at(hour):
    return f"{START + timedelta(hours=hour):%Y-%m-%dT%H:%M:%SZ}"


def arrive(home, received_at, *readings):
    """One message in the journal that came at this instant."""
    instant = datetime.fromisoformat(received_at)
    micros = (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    payload = json.dumps({"readings": list(readings)}).encode()
    with Journal(home / "journal") as journal:
        journal.append([Message(micros, "tanyuan/park/gw/readings", payload, "mqtt", "gw")])


@pytest.fixture
def home(tmp_path):
    """A day of hourly readings, 1 kWh each, that came as they were taken, the next day at noon."""
    home = make_home(tmp_path / "home", SITE)
    hours = [reading("E1", at(n), active_import=100.0 + n) for n in range(25)]
    arrive(home, "2023-03-02T12:00:00+08:00", *hours)
    return home


def asked(home, *question, known_by=None):
    extra = ("--known-by", known_by) if known_by else ()
    done = call(home, *question, *extra, "--json")
    assert done.status == 0, done.err
    return done.out


def test_before_anything_came_nothing_was_known(home):
    found = rows(answer(home, "energy", *MARCH, "--every", "hour", "--known-by", "2023-03-01"))
    assert len(found) == 24
    assert {(r["value"], r["coverage"]) for r in found} == {(None, 0)}


def test_on_the_day_it_came_it_was_known(home):
    now = asked(home, "energy", *MARCH, "--every", "hour")
    assert asked(home, "energy", *MARCH, "--every", "hour", known_by="2023-03-02") == now
    assert b'"value":1.0' in now


def test_a_day_ends_with_the_site_s_midnight(home):
    """16:30 UTC on the 9th is half past midnight of the 10th in Shanghai."""
    arrive(home, "2023-04-09T16:30:00+00:00", reading("E1", at(48), active_import=200))
    question = ("energy", "--from", "2023-03-02", "--to", "2023-03-03", "--point", "main")
    assert values(answer(home, *question, "--known-by", "2023-04-09")) == [None]
    assert values(answer(home, *question, "--known-by", "2023-04-10")) == [pytest.approx(76)]


def test_a_conflicting_value_changes_nothing_that_was_known_before(home):
    questions = [("energy", *MARCH, "--every", every) for every in ("15min", "hour", "day")]
    questions.append(("emissions", *MARCH, "--every", "hour"))
    questions.append(("quota", "--on", "2023-03-01"))
    before = [asked(home, *q, known_by="2023-04-09") for q in questions]

    arrive(home, "2023-04-10T09:00:00+08:00", reading("E1", at(12), active_import=112.5))

    assert [asked(home, *q, known_by="2023-04-09") for q in questions] == before
    now = rows(answer(home, *questions[1]))
    assert [r["value"] for r in now[10:14]] == pytest.approx([1, 1.5, 0.5, 1])
    assert [r["flags"] for r in now[10:14]] == [[], ["conflict"], ["conflict"], []]
    for question in questions[:3]:
        assert asked(home, *question, known_by="2023-04-10") == asked(home, *question)


def test_that_holds_after_a_rebuild_too(home):
    question = ("energy", *MARCH, "--every", "hour")
    arrive(home, "2023-04-10T09:00:00+08:00", reading("E1", at(12), active_import=112.5))
    found = [asked(home, *question, known_by=day) for day in ("2023-04-09", "2023-04-10")]
    assert call(home, "rebuild", "--json").status == 0
    again = [asked(home, *question, known_by=day) for day in ("2023-04-09", "2023-04-10")]
    assert again == found
    assert found[0] != found[1]


def test_of_three_values_each_day_knows_its_own(home):
    arrive(home, "2023-04-10T09:00:00+08:00", reading("E1", at(12), active_import=112.5))
    arrive(home, "2023-04-20T09:00:00+08:00", reading("E1", at(12), active_import=112.25))
    hour = {
        day: rows(answer(home, "energy", *MARCH, "--every", "hour", "--known-by", day))[11]["value"]
        for day in ("2023-04-09", "2023-04-10", "2023-04-19", "2023-04-20")
    }
    assert hour == {
        "2023-04-09": pytest.approx(1),
        "2023-04-10": pytest.approx(1.5),
        "2023-04-19": pytest.approx(1.5),
        "2023-04-20": pytest.approx(1.25),
    }


def test_a_later_factor_does_not_move_what_was_known_before(home):
    own = home / "factors" / "own.yaml"
    own.write_text(FACTOR.replace("{more}", ""))
    question = ("emissions", *MARCH, "--every", "day")
    before = asked(home, *question, known_by="2024-01-31")
    assert values(json.loads(before)) == [pytest.approx(24 * 0.5)]

    own.write_text(FACTOR.replace("{more}", LATER))

    assert asked(home, *question, known_by="2024-01-31") == before
    assert values(answer(home, *question)) == [pytest.approx(24 * 0.6)]
    assert asked(home, *question, known_by="2024-02-01") == asked(home, *question)


def test_a_factor_nobody_had_published_was_not_known(home):
    """Neither the own one nor the national one of data year 2023, which came in December 2025."""
    (home / "factors" / "own.yaml").write_text(FACTOR.replace("{more}", ""))
    document = answer(home, "emissions", *MARCH, "--every", "day", "--known-by", "2023-03-05")
    assert values(document) == [pytest.approx(12)]
    (home / "factors" / "own.yaml").unlink()
    document = answer(home, "emissions", *MARCH, "--every", "day", "--known-by", "2023-03-05")
    (row,) = rows(document)
    assert (row["value"], row["flags"]) == (None, ["no_factor"])
    assert document["reasons"]


def test_a_later_site_version_does_not_move_what_was_known_before(home):
    """The meter turns out to sit behind a transformer of 40; that was written down today."""
    ledger = open_ledger(ledger_of(home))
    ledger.record_site("park", SITE.encode(), recorded_at=datetime(2023, 1, 5, tzinfo=UTC))
    ledger.close()
    questions = [("energy", *MARCH, "--every", every) for every in ("15min", "hour", "day")]
    questions.append(("emissions", *MARCH, "--every", "day"))
    before = [asked(home, *q, known_by="2023-06-01") for q in questions]

    changed = SITE.replace(
        "serial: E1, profile: native", "serial: E1, profile: native, multiplier: 40"
    )
    (home / "site.yaml").write_text(changed)

    assert [asked(home, *q, known_by="2023-06-01") for q in questions] == before
    assert values(answer(home, *questions[2])) == [pytest.approx(24 * 40)]


def test_a_point_that_was_not_there_yet_is_not_found(home):
    ledger = open_ledger(ledger_of(home))
    ledger.record_site("park", SITE.encode(), recorded_at=datetime(2023, 1, 5, tzinfo=UTC))
    ledger.close()
    new = "      - {id: new, carrier: heat, role: main, meter: {serial: H1, profile: native}}\n"
    (home / "site.yaml").write_text(SITE.replace("quotas:", new + "quotas:"))
    question = ("energy", *MARCH[:4], "--point", "new")
    assert call(home, *question, "--json").status == 0
    assert call(home, *question, "--known-by", "2023-06-01", "--json").status == 1


@pytest.mark.parametrize("known_by", ["2023-04-01", None])
def test_a_register_that_speaks_later_moves_no_earlier_figure(home, known_by):
    """Until April the meter said two tariffs, 3 + 4 kWh on 1 March; in May it also says the sum."""
    first = reading("T1", at(0), active_import_t1=10, active_import_t2=0)
    second = reading("T1", at(24), active_import_t1=13, active_import_t2=4)
    arrive(home, "2023-03-02T13:00:00+08:00", first, second)
    question = ("energy", *MARCH[:4], "--point", "tariffs")
    before = asked(home, *question, known_by=known_by)
    assert values(json.loads(before)) == [pytest.approx(7)]

    sums = [reading("T1", at(hour), active_import=hour) for hour in (1440, 1464)]
    arrive(home, "2023-05-03T12:00:00+08:00", *sums)

    assert asked(home, *question, known_by=known_by) == before


def test_a_trace_shows_the_telegrams_known_then(home):
    arrive(home, "2023-04-10T09:00:00+08:00", reading("E1", at(12), active_import=112.5))
    question = ("trace", "energy", "--point", "main", "--at", at(11.5))
    then = answer(home, *question, "--known-by", "2023-04-09")
    now = answer(home, *question)
    assert then["energy"]["value"] == pytest.approx(1)
    assert now["energy"]["value"] == pytest.approx(1.5)
    assert {r["sequence"] for r in then["readings"]} == {1}
    assert {r["sequence"] for r in now["readings"]} == {1, 2}
