"""From a figure back to its telegrams, and from the telegrams to the figure by hand."""

from __future__ import annotations

import json

import pytest

from tests.acceptance.publishing import publish, reading
from tests.acceptance.running import answer, call, make_home, rows, up

SITE = """
site: {id: park, name: Park, timezone: Asia/Shanghai, region: CN-BJ}
buildings:
  - id: a
    points:
      - {id: main, carrier: electricity, role: main,
         meter: {serial: E1, profile: native, multiplier: 40}}
      - {id: heat, carrier: heat, role: main, meter: {serial: H1, profile: native}}
"""
TELEGRAMS = [
    reading("E1", "2023-03-01T07:50:00+08:00", active_import=100.0),
    reading("E1", "2023-03-01T08:30:00+08:00", active_import=102.0),
    reading("E1", "2023-03-01T09:10:00+08:00", active_import=106.0),
    reading("H1", "2023-03-01T08:30:00+08:00", heat=-1.0),
    reading("H1", "2023-03-01T08:00:00+08:00", heat=10.0),
    reading("H1", "2023-03-01T09:00:00+08:00", heat=14.0),
]
PAYLOADS = [json.dumps(each, ensure_ascii=False).encode() for each in TELEGRAMS]
AT = "2023-03-01T08:05:00+08:00"


@pytest.fixture(scope="module")
def park(tmp_path_factory):
    home = make_home(tmp_path_factory.mktemp("trace") / "home", SITE)
    with up(home) as running:
        publish(running.mqtt_port, PAYLOADS, site="park", window=1)
    return home


def trace(park, kind, point, *more):
    return answer(park, "trace", kind, "--point", point, "--at", AT, *more)


def test_the_figure_is_the_one_energy_prints(park):
    """40 x (2 x 30/40 + 4 x 30/40) = 180 kWh from 8 to 9."""
    found = trace(park, "energy", "main")
    hours = rows(answer(park, "energy", "--from", "2023-03-01", "--to", "2023-03-02",
                        "--every", "hour", "--point", "main"))  # fmt: skip
    assert {**hours[8], "unit": "kWh"} == found["energy"]
    assert found["energy"]["value"] == pytest.approx(180)


def test_the_increments_and_their_shares_make_the_figure(park):
    found = trace(park, "energy", "main")
    assert [(i["start"], i["end"]) for i in found["increments"]] == [
        ("2023-02-28T23:50:00Z", "2023-03-01T00:30:00Z"),
        ("2023-03-01T00:30:00Z", "2023-03-01T01:10:00Z"),
    ]
    made = sum(i["amount"] * i["share_in_interval"] for i in found["increments"])
    assert made == pytest.approx(found["energy"]["value"])


def test_the_readings_make_the_increments(park):
    found = trace(park, "energy", "main")
    shown = [(r["meter"], r["register"], r["at"], r["value"]) for r in found["readings"]]
    assert shown == [
        ("E1", "active_import", "2023-02-28T23:50:00Z", 100),
        ("E1", "active_import", "2023-03-01T00:30:00Z", 102),
        ("E1", "active_import", "2023-03-01T01:10:00Z", 106),
    ]
    multiplier = found["definition"]["meters"][0]["multiplier"]
    assert [i["amount"] for i in found["increments"]] == pytest.approx(
        [multiplier * (102 - 100), multiplier * (106 - 102)]
    )


def test_each_reading_leads_to_its_telegram_byte_for_byte(park):
    found = trace(park, "energy", "main")
    telegrams = {(t["journal"], t["sequence"]): t for t in found["telegrams"]}
    assert len(telegrams) == 3
    for each in found["readings"]:
        telegram = telegrams[each["journal"], each["sequence"]]
        assert bytes.fromhex(telegram["hex"]) in PAYLOADS
        assert telegram["text"] == bytes.fromhex(telegram["hex"]).decode()
        assert telegram["topic"] == "tanyuan/park/gw/readings"
        assert json.loads(telegram["text"])["registers"]["active_import"] == each["value"]
        assert each["received_at"] == telegram["received_at"]


def test_a_reading_that_was_set_aside_shows_why(park):
    found = trace(park, "energy", "heat")
    assert found["energy"]["value"] == pytest.approx(4)
    aside = [r for r in found["readings"] if r["flags"]]
    assert [(r["value"], r["flags"]) for r in aside] == [(-1, ["implausible"])]


def test_emissions_lead_to_the_factor_and_its_document(park):
    found = trace(park, "emissions", "main")
    (row,), (factor,) = found["emissions"], found["factors"]
    assert row["value"] == pytest.approx(180 * factor["value"])
    assert (row["unit"], factor["unit"], factor["region"]) == ("kgCO2", "kgCO2/kWh", "CN-BJ")
    assert factor["value"] == 0.5554
    assert {"id", "valid_from", "published", "publisher", "document", "verification"} <= set(factor)


@pytest.mark.parametrize("every", ["15min", "day", "month", "year"])
def test_longer_and_shorter_intervals_are_traced_too(park, every):
    found = trace(park, "energy", "main", "--every", every)
    made = sum(i["amount"] * i["share_in_interval"] for i in found["increments"])
    assert made == pytest.approx(found["energy"]["value"])


def test_a_figure_of_which_nothing_is_known_cannot_be_traced(park):
    done = call(
        park, "trace", "energy", "--point", "main", "--at", "2023-05-01T00:00:00Z", "--json"
    )
    assert done.status == 1
    assert done.document["status"] == 404
