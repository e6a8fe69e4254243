"""Held against other systems' own test cases: upload cases of OED, and its daily bars."""

from __future__ import annotations

import csv
import gzip
import json
import math
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from tests.acceptance.running import answer, data, make_home, opened, rows, write_readings

# -- upload cases --------------------------------------------------------------------------------

NOT_OURS = {
    "oed/pipe1": "rows are amounts with their own times; `import` takes what a register shows",
    "oed/pipe14": "amounts with their own times",
    "oed/pipe15": "amounts, and a tolerance for their length",
    "oed/pipe18": "amounts, and a tolerance for gaps between them",
    "oed/pipe24": "amounts with their end alone",
    "oed/pipe26": "amounts; one has a time that cannot be read",
    "oed/pipe27": "amounts; one has a time that cannot be read",
    "oed/pipe30": "amounts; one has a value that cannot be read",
    "oed/pipe50": "amounts sent again with the wish to replace them",
    "oed/pipe51": "amounts sent again without that wish; here the later in the journal counts",
    "oed/pipe111": "amounts across a clock change, cut there by the local clock",
    "oed/pipe112": "amounts across a clock change",
    "oed/pipe113": "amounts across a clock change",
    "oed/pipe118": "amounts across a clock change, sent with overlaps",
    "oed/pipe122": "amounts across a clock change, sent with overlaps",
    "oed/pipe123": "amounts across a clock change, sent with overlaps",
}
PLAIN = ("oed/pipe20", "oed/pipe21", "oed/pipe40", "oed/pipe60")
"""A register that counts up: our intervals are theirs."""

RESET = ("oed/pipe5", "oed/pipe6", "oed/pipe9", "oed/pipe12", "oed/pipe13")
"""A register that falls. There, a reset counts from zero inside an announced time of day, and all
rows are refused outside it. Here it is one unknown increment, flagged, and costs no other: what was
used between the last reading and the fall is known to nobody."""

SITE = """
site: {id: oed, name: OED, timezone: UTC}
points:
  - {id: p, carrier: electricity, role: main, meter: {serial: M, profile: native}}
"""


def cases():
    return {
        c["id"]: c
        for c in json.loads((data("register-semantics") / "oed_pipeline.json").read_text())
    }


def instant(text):
    """Times without an offset are UTC there."""
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def imported(folder, case):
    """A home that imported each upload of a case: what the register showed at each row's end."""
    home = make_home(folder, SITE)
    for number, step in enumerate(s for s in case["steps"] if s["kind"] == "readings"):
        kept = [row for row in step["input_rows"] if row[0] != "reading"]
        lines = [("M", "active_import", instant(row[-1]).isoformat(), row[0]) for row in kept]
        answer(home, "import", str(write_readings(folder / f"{number}.csv", lines)))
    return home


def amount(home, start, end):
    """What passed between two instants: the sum of quarter hours that lie in between."""
    days = f"{start:%Y-%m-%d}", f"{end + timedelta(days=1):%Y-%m-%d}"
    found = rows(answer(home, "energy", "--from", days[0], "--to", days[1], "--every", "15min"))
    inside = [r for r in found if start <= instant(r["start"]) and instant(r["end"]) <= end]
    assert len(inside) == (end - start) / timedelta(minutes=15)
    return inside


def test_every_case_is_tested_or_named_as_not_ours():
    assert set(cases()) == {*NOT_OURS, *PLAIN, *RESET, "oed/pipe29", "oed/pipe114"}


@pytest.mark.parametrize("name", PLAIN)
def test_a_register_that_counts_up_gives_their_intervals(tmp_path, name):
    """The first row begins nothing: before it nobody knows what the register showed."""
    case = cases()[name]
    home = imported(tmp_path / "home", case)
    with opened(home):
        for kwh, start, end in case["expected_readings"]:
            inside = amount(home, instant(start), instant(end))
            assert math.fsum(r["value"] for r in inside) == pytest.approx(kwh)
        before = instant(case["expected_readings"][0][1])
        assert {r["value"] for r in amount(home, before - timedelta(hours=1), before)} == {None}


def steps_of(home, ends):
    """What passed between each reading and the next; None where nobody knows."""
    with opened(home):
        steps = [amount(home, *span) for span in pairwise(ends)]
    found = [None if s[0]["value"] is None else math.fsum(r["value"] for r in s) for s in steps]
    flags = [{flag for r in s for flag in r["flags"]} - {"interpolated"} for s in steps]
    return found, flags


@pytest.mark.parametrize("name", RESET)
def test_a_register_that_falls_is_unknown_there_and_known_elsewhere(tmp_path, name):
    """24, 72, 144, 96, 216: 48, 72 and 120 are as they say, the fall is unknown.

    Without 144, or without 96, the register would only count up; as both fit, neither is believed.
    """
    case = cases()[name]
    ends = [instant(row[2]) for row in case["steps"][0]["input_rows"]]
    found, flags = steps_of(imported(tmp_path / "home", case), ends)
    assert found == [pytest.approx(48), pytest.approx(72), None, pytest.approx(120)]
    assert flags == [set(), set(), {"reset"}, set()]


def test_a_value_that_cannot_be_read_costs_itself_alone(tmp_path):
    """24, 72.1, 144, "240.x", 360; there all is refused. 360 - 144 = 216 goes over two days."""
    case = cases()["oed/pipe29"]
    ends = [instant(row[2]) for row in case["steps"][0]["input_rows"]]
    home = imported(tmp_path / "home", case)
    days, _ = steps_of(home, ends)
    (entry,) = answer(home, "quarantine", "list")["entries"]
    assert days == pytest.approx([48.1, 71.9, 108, 108])
    assert entry["code"] == "not_finite"


def test_a_register_across_a_clock_change_is_counted_by_utc(tmp_path):
    """Steps of 23 minutes across the missing hour in Chicago: 23, 46 and 69 kWh.

    There the middle one is cut at the clock change into 28 and 18; in UTC it is 23 even minutes:
    of its 46 kWh 14/23 lie before 02:00 local time, which is 08:00 UTC.
    """
    case = cases()["oed/pipe114"]
    chicago = SITE.replace("UTC", "America/Chicago")
    home = imported(tmp_path / "home", case)
    (home / "site.yaml").write_text(chicago)
    with opened(home):
        hours = rows(answer(home, "energy", "--from", "2022-03-13", "--to", "2022-03-14",
                            "--every", "hour"))  # fmt: skip
    assert len(hours) == 23
    known = {r["start"]: r["value"] for r in hours if r["value"] is not None}
    assert known == {
        "2022-03-13T07:00:00Z": pytest.approx(23 + 28),
        "2022-03-13T08:00:00Z": pytest.approx(18 + 69),
    }
    assert sum(kwh for kwh, *_ in case["expected_readings"]) == pytest.approx(sum(known.values()))


# -- bars ----------------------------------------------------------------------------------------

BARS_SITE = """
site: {id: oed, name: OED, timezone: UTC, region: XX}
points:
  - {id: m15, carrier: electricity, role: main, meter: {serial: M15, profile: native}}
  - {id: m20, carrier: electricity, role: main, meter: {serial: M20, profile: native}}
"""
CO2 = """
key: electricity.grid.location
unit: kgCO2/kWh
versions:
  - {value: 0.709, valid_from: 2022-01-01, published: 2022-01-01, source: oed}
sources:
  oed: {title: Unit conversions, publisher: OED, edition: "1", locator: kWh to kgCO2}
"""
SPAN = ("--from", "2022-08-18", "--to", "2022-11-01")


def table(name):
    path = data("aggregation-reference") / name
    reader = gzip.open if name.endswith(".gz") else open
    with reader(path, "rt", encoding="utf-8") as file:
        return [
            (float(r["reading"]), instant(r["start time"]), instant(r["end time"]))
            for r in csv.DictReader(file)
        ]


@pytest.fixture(scope="module")
def bars(tmp_path_factory):
    """Two meters of 75 days whose amounts were added up into registers."""
    folder = tmp_path_factory.mktemp("bars") / "home"
    home = make_home(folder, BARS_SITE, factors={"co2.yaml": CO2})
    lines = []
    for meter, file in (("M15", "readings_ri_15_days_75.csv.gz"),
                        ("M20", "readings_ri_20_days_75.csv.gz")):  # fmt: skip
        amounts = table(file)
        total = 0.0
        lines.append((meter, "active_import", amounts[0][1].isoformat(), total))
        for kwh, _, end in amounts:
            total += kwh
            lines.append((meter, "active_import", end.isoformat(), repr(total)))
    answer(home, "import", str(write_readings(folder / "bars.csv", lines)))
    with opened(home):
        yield home


def check(found, expected, *, ratio=1.0):
    assert [(instant(r["start"]), instant(r["end"])) for r in found] == [e[1:] for e in expected]
    assert [r["value"] for r in found] == pytest.approx([e[0] * ratio for e in expected], abs=1e-6)
    assert {(r["coverage"], r["measured"], *r["flags"]) for r in found} == {(1, 1)}


def test_daily_sums_are_their_daily_bars(bars):
    expected = table("expected_bar_ri_15_mu_kWh_gu_kWh_st_-inf_et_inf_bd_1.csv")
    check(rows(answer(bars, "energy", *SPAN, "--point", "m15")), expected)


def test_daily_sums_of_both_meters_are_their_group_bars(bars):
    expected = table("expected_bar_group_ri_15-20_mu_kWh_gu_kWh_st_-inf_et_inf_bd_1.csv")
    check(rows(answer(bars, "energy", *SPAN)), expected)


def test_daily_emissions_are_their_bars_in_kgco2(bars):
    expected = table("expected_bar_ri_15_mu_kWh_gu_kgCO2_st_-inf_et_inf_bd_1.csv")
    check(rows(answer(bars, "emissions", *SPAN, "--every", "day", "--point", "m15")), expected)
    expected = table("expected_bar_group_ri_15-20_mu_kWh_gu_kgCO2_st_-inf_et_inf_bd_1.csv")
    check(rows(answer(bars, "emissions", *SPAN, "--every", "day")), expected)


LINES = "expected_line_ri_15_mu_kWh_gu_kWh_st_2022-09-21_000000_et_2022-10-0"


@pytest.mark.parametrize(("file", "every"), [(LINES + "6_000000.csv.gz", "hour"),
                                             (LINES + "5_000000.csv.gz", "15min")])  # fmt: skip
def test_sums_of_hours_and_quarter_hours_are_their_lines(bars, file, every):
    """A point of a line is a rate, kWh per hour: a quarter of it in a quarter of an hour."""
    expected = table(file)
    first, until = f"{expected[0][1]:%Y-%m-%d}", f"{expected[-1][2]:%Y-%m-%d}"
    found = rows(answer(bars, "energy", "--from", first, "--to", until,
                        "--every", every, "--point", "m15"))  # fmt: skip
    check(found, expected, ratio={"hour": 1, "15min": 0.25}[every])


def test_all_of_it_is_the_bar_of_75_days(bars):
    """75 days; a bar of 76 days does not fit and is empty there."""
    ((kwh, *_),) = table("expected_bar_ri_15_mu_kWh_gu_kWh_st_-inf_et_inf_bd_75.csv")
    found = rows(answer(bars, "energy", *SPAN, "--every", "year", "--point", "m15"))
    assert [r["value"] for r in found] == [pytest.approx(kwh, abs=1e-6)]


def test_quarter_hours_are_the_amounts_that_went_in(bars):
    """Each value is a difference of a register near 300,000: about 1e-10 kWh is lost in doubles."""
    expected = table("readings_ri_15_days_75.csv.gz")
    check(rows(answer(bars, "energy", *SPAN, "--every", "15min", "--point", "m15")), expected)


def test_with_holes_the_register_still_adds_up(tmp_path):
    """Where amounts are missing the register is not; the day is known, but not all measured."""
    kept = {(start, end) for _, start, end in table("readings_ri_15_days_75_holes.csv.gz")}
    whole = table("readings_ri_15_days_75.csv.gz")
    assert 0 < len(kept) < len(whole)
    total, lines = 0.0, [("M15", "active_import", whole[0][1].isoformat(), 0.0)]
    for kwh, start, end in whole:
        total += kwh
        if (start, end) in kept or end == whole[-1][2]:
            lines.append(("M15", "active_import", end.isoformat(), repr(total)))
    home = make_home(tmp_path / "home", BARS_SITE)
    answer(home, "import", str(write_readings(tmp_path / "holes.csv", lines)))
    found = rows(answer(home, "energy", *SPAN, "--point", "m15"))
    assert math.fsum(r["value"] for r in found) == pytest.approx(total, abs=1e-6)
    assert {r["coverage"] for r in found} == {1}
    assert any(r["measured"] < 1 for r in found)
