"""Every query of every dashboard, asked of a real InfluxDB that holds the made-up park."""

import math
import re
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib import resources

import pytest

from dashboards.catalog import DASHBOARDS
from dashboards.look import ESTIMATED
from dashboards.queries import AT_SITE, FluxQueryError, query, query_names
from dashboards.texts import LANGUAGES, Texts
from metering.store.indicators import Indicator
from tests.dashboards.asking import VALUES, as_grafana_asks, panel_queries
from tests.dashboards.made_up_park import (
    BUILDINGS,
    NAME_OF_A1,
    daily,
    fill,
    hourly,
    minutes,
    platform,
)
from tests.influx_server import server

NOW = datetime(2025, 11, 19, 6, 42, tzinfo=UTC)  # a Wednesday, 14:42 in Shanghai
BUCKET = "walls"

ASKED = {
    (name, where): flux
    for name, build in DASHBOARDS.items()
    for where, flux in panel_queries(build("en"))
}


@pytest.fixture(scope="module")
def ask():
    with closing(server().open(BUCKET)) as store:
        fill(store, NOW)
    with server().client() as client:

        def rows(flux, **options):
            text = as_grafana_asks(flux, now=NOW, bucket=BUCKET, **options)
            tables = client.query_api().query(text)
            return [record.values for table in tables for record in table.records]

        yield rows


@pytest.mark.parametrize(("name", "where"), ASKED)
def test_query_is_answered_with_something_to_show(ask, name, where):
    found = ask(ASKED[name, where])
    shown = [
        value
        for row in found
        for key, value in row.items()
        if key not in ("result", "table", "_start", "_stop", "_time") and value is not None
    ]

    assert shown, ASKED[name, where]


@pytest.fixture(scope="module")
def hardly_anything():
    """One row of every quantity, but of those that usually come in pairs only one."""
    seldom = ("usual_today_kwh", "meters_total", "quota_expected_share", "heat_power_kw",
              "supply_temperature", "energy_estimated", "job_ok", "journal_bytes")  # fmt: skip
    rows = {
        (row.quantity, row.subject): row
        for made in (minutes, hourly, daily, platform)
        for row in made(NOW - timedelta(minutes=1))
        if row.quantity not in seldom
    }
    with closing(server().open("sparse")) as store:
        store.put_indicators([replace(row, text="") for row in rows.values()])
    with closing(server().open("void")) as store:
        store.put_indicators([Indicator("else", "", "power_kw", NOW - timedelta(days=99), 1.0)])
    with server().client() as client:
        yield client.query_api()


@pytest.mark.parametrize("bucket", ["sparse", "void"])
@pytest.mark.parametrize(("name", "where"), ASKED)
def test_query_is_no_error_where_hardly_anything_is_known(hardly_anything, bucket, name, where):
    tables = hardly_anything.query(as_grafana_asks(ASKED[name, where], now=NOW, bucket=bucket))

    if bucket == "void" and where != "$timezone":
        values = [r.values for table in tables for r in table.records]
        assert values == []


def test_every_query_file_is_used_by_a_dashboard():
    asked = list(ASKED.values())

    for name in query_names():
        places = PLACE.findall(source(name))
        shape = re.escape(query(name, **{p: f"<{p}>" for p in places}))
        for place in places:
            shape = shape.replace(re.escape(f"<{place}>"), "(?:.|\n)*?")
        assert any(re.fullmatch(shape, flux) for flux in asked), name


def test_an_hour_of_which_nothing_is_known_is_empty_and_not_zero(ask):
    found = ask(ASKED["park-live", "Energy by the hour · ${carrier:text} A"], window="1h")
    values = {row["_time"].hour: row["_value"] for row in found}

    # the park knows nothing of 6 and 7 hours ago: 00:00 and 23:00; 8 and 9 hours ago are estimated
    assert [values[hour] for hour in (0, 23, 22, 21)] == [None] * 4
    assert values[1] > 0


def test_worst_buildings_are_three_and_the_one_furthest_ahead_is_first(ask):
    found = ask(ASKED["park-live", "Tightest quotas by building A"])

    # 112, 104, 97 % of the pace; of A1 there is a second one at 109 %.
    assert [(row["subject"], row["about"]) for row in found] == [
        (NAME_OF_A1, "A1-year"), ("B1", "B1-year"), ("A2", "A2-year"),
    ]  # fmt: skip
    whole = ask(ASKED["building", "Quotas and pace A"])
    assert [row["about"] for row in whole] == ["A1-year", "A1-heat"]


def test_a_quota_of_which_nothing_is_known_is_no_number_and_is_the_last():
    at = NOW - timedelta(hours=2)
    unknown = {"limit": 900.0, "expected_share": 0.89, "verdict": 3.0}
    rows = [Indicator("yard/north", "north-el", f"quota_{q}", at, v) for q, v in unknown.items()]
    behind = {"limit": 900.0, "used_share": 0.10, "expected_share": 0.89, "verdict": 0.0}
    more = [Indicator("yard/east", "east-el", f"quota_{q}", at, v) for q, v in behind.items()]
    flux = as_grafana_asks(
        ASKED["park-live", "Quota used A"],
        now=NOW,
        bucket="unused",
        chosen=VALUES | {"site": "yard"},
    )
    with closing(server().open("unused")) as store, server().client() as client:
        store.put_indicators(rows)
        (alone,) = client.query_api().query(flux)[0].records
        store.put_indicators(more)
        (first,) = client.query_api().query(flux)[0].records

    assert math.isnan(alone.values["quota_used_share"])
    assert first.values["quota_used_share"] == 0.10


def test_buildings_stand_in_the_order_of_their_energy_and_without_the_site(ask):
    found = ask(ASKED["park-live", "Electricity today by building A"])

    assert [row["id"] for row in found] == list(BUILDINGS)


def test_buildings_bear_their_names_where_they_have_one(ask):
    names = [NAME_OF_A1, *list(BUILDINGS)[1:]]
    bars = ask(ASKED["park-live", "Electricity today by building A"])
    known = ask(ASKED["meters", "Known of today by building A"])
    carbon = ask(ASKED["carbon", "Buildings in the range (kg) A"])

    assert [row["name"] for row in bars] == names
    assert {row["name"] for row in known} == set(names)
    assert carbon[0]["name"] == f"{NAME_OF_A1} · kgCO2"


def at_stop(flux, moment):
    return flux.replace("v.timeRangeStop", f"{moment:%Y-%m-%dT%H:%M:%SZ}")


@pytest.fixture(scope="module")
def one_fell_silent():
    """Of three boundary meters one is silent for 30 minutes: 100 and 104 kW, then 60 and 62."""
    rows = [
        Indicator("park", "", quantity, NOW - timedelta(minutes=back), value)
        for back, kw, known in ((50, 100.0, 3), (40, 104.0, 3), (20, 60.0, 2), (3, 62.0, 2))
        for quantity, value in (
            ("power_kw" if known == 3 else "power_partial_kw", kw),
            ("power_meters", float(known)),
            ("power_of", 3.0),
        )
    ]
    with closing(server().open("silent")) as store:
        store.put_indicators(rows)
    with server().client() as client:

        def rows(where, *, now=NOW, **options):
            text = as_grafana_asks(ASKED["park-live", where], now=now, bucket="silent", **options)
            tables = client.query_api().query(text)
            return [record.values for table in tables for record in table.records]

        yield rows


def test_a_sum_of_some_of_the_meters_says_so_beside_the_number(one_fell_silent):
    (now,) = one_fell_silent("Power now A")
    (before,) = one_fell_silent("Power now A", now=NOW - timedelta(minutes=35))

    assert (now["known"], now["_value"]) == ("only meters 2 / 3", 62.0)
    assert (before["known"], before["_value"]) == ("meters 3 / 3", 104.0)


def test_a_sum_of_some_of_the_meters_is_a_line_of_its_own_and_no_peak(one_fell_silent):
    found = one_fell_silent("Power over time A", window="10m")
    lines = {name: [r["_value"] for r in found if r["quantity"] == name and r["_value"] is not None]
             for name in ("power_kw", "power_partial_kw")}  # fmt: skip
    peaks = [row["_value"] for row in one_fell_silent("Highest in the range A")]

    assert lines == {"power_kw": [100.0, 104.0], "power_partial_kw": [60.0, 62.0]}
    assert max(value for value in peaks if value is not None) == 104.0


def test_a_figure_of_the_day_says_which_share_of_the_day_is_known(ask):
    labels = {
        title: [row["known"] for row in ask(ASKED["park-live", f"{title} A"])]
        for title in ("Electricity today", "Heat today", "Emissions today (kg)")
    }

    assert labels == {
        "Electricity today": ["known 99 %"],
        "Heat today": ["only known 74 %"],
        "Emissions today (kg)": ["kgCO2 · known 99 %", "kgCO2e · only known 74 %"],
    }
    bars = ask(ASKED["park-live", "Electricity today by building A"])
    assert {row["name"]: row["note"] for row in bars if row["note"]} == {"D1": "only known 57 %"}


def test_a_part_of_the_day_has_the_colour_of_what_is_estimated():
    for language in LANGUAGES:
        t = Texts(language)
        for key in ("power", "energy_today", "heat_today", "emissions_today"):
            part = "power.part" if key == "power" else "today.part"
            panels = DASHBOARDS["park-live"](language)["panels"]
            (panel,) = [p for p in panels if p["title"] == t(key)]
            (override,) = panel["fieldConfig"]["overrides"]
            pattern = override["matcher"]["options"]
            whole = t(part.replace("part", "whole"))
            assert re.fullmatch(pattern, f"_value kgCO2 · {t(part)} 57 %")
            assert not re.fullmatch(pattern, f"_value kgCO2 · {whole} 99 %")
            assert override["properties"][0]["value"]["fixedColor"] == ESTIMATED


def test_numbers_of_now_vanish_when_nobody_computes_them_any_more(ask):
    flux = ASKED["park-live", "Power now A"]

    assert len(ask(flux)) == 1
    assert (
        ask(flux.replace("v.timeRangeStop", f"{NOW + timedelta(minutes=11):%Y-%m-%dT%H:%M:%SZ}"))
        == []
    )


def test_findings_and_quarantine_are_counted(ask):
    assert [row["findings_day"] for row in ask(ASKED["park-live", "Findings in 24 h A"])] == [4]
    assert [row["_value"] for row in ask(ASKED["park-live", "Messages set aside A"])] == [3]


def test_nothing_set_aside_is_zero_only_while_somebody_looks():
    flux = as_grafana_asks(ASKED["park-live", "Messages set aside A"], now=NOW, bucket="calm")
    row = Indicator("tanyuan/up", "", "dirty_ranges", NOW - timedelta(minutes=1), 4.0)
    no_ledger = Indicator("tanyuan/up", "", "store_up", NOW - timedelta(minutes=1), 1.0)
    with closing(server().open("calm")) as store, server().client() as client:
        store.put_indicators([replace(row, at=NOW - timedelta(days=1)), no_ledger])
        assert client.query_api().query(flux) == []
        store.put_indicators([row])
        tables = client.query_api().query(flux)

    assert [record.values["_value"] for table in tables for record in table.records] == [0.0]


def test_a_store_that_was_down_is_a_gap_and_silence_now_is_down(ask):
    over_time = ask(ASKED["platform", "Store heard over time A"], window="5m")
    known = {(NOW - row["_time"]) // timedelta(minutes=5): row["_value"] for row in over_time}
    # The fixture writes every five minutes, but not from 149 to 155 times five minutes ago.
    assert [known[i] for i in (150, 152, 154)] == [None] * 3
    assert {known[i] for i in (140, 147, 158, 170)} == {1.0}

    flux = ASKED["platform", "Time-series store A"]
    assert [row["store_up"] for row in ask(flux)] == [1.0]
    later = f"{NOW + timedelta(minutes=11):%Y-%m-%dT%H:%M:%SZ}"
    assert ask(flux.replace("v.timeRangeStop", later)) == []
    for title in ("Time-series store", "Ledger"):
        panel = next(p for p in DASHBOARDS["platform"]("en")["panels"] if p["title"] == title)
        assert panel["fieldConfig"]["defaults"]["noValue"] == "down or not heard"


def test_lag_is_unknown_soon_after_nobody_can_tell_it_any_more(ask):
    flux = ASKED["platform", "Lag A"]

    assert len(ask(flux)) == 1
    assert ask(at_stop(flux, NOW + timedelta(minutes=3))) == []


@pytest.fixture(scope="module")
def a_daily_meter():
    """W1 is read once a day and in time, E1 every minute; E2 fell silent, E3 was never heard."""
    meters = {"W1": (30_000.0, 0), "E1": (20.0, 0), "E2": (9_000.0, 1), "E3": (None, 1)}

    def rows(site, names, at):
        for name in names:
            age, silent = meters[name]
            yield Indicator(f"{site}/{name}", name, "meter_silent", at, float(silent))
            if age is not None:
                yield Indicator(f"{site}/{name}", name, "meter_age_s", at, age)
        live = sum(not meters[name][1] for name in names)
        yield Indicator(site, "", "meters_live", at, float(live))
        yield Indicator(site, "", "meters_total", at, float(len(names)))
        yield Indicator(site, "", "oldest_age_s", at, 30_000.0)

    at = NOW - timedelta(minutes=1)
    with closing(server().open("daily")) as store:
        store.put_indicators([*rows("calm", ("W1", "E1"), at), *rows("park", meters, at)])
    with server().client() as client:

        def asked(name, where, site):
            flux = ASKED[name, where]
            chosen = VALUES | {"site": site}
            text = as_grafana_asks(flux, now=NOW, bucket="daily", chosen=chosen)
            return [r.values for table in client.query_api().query(text) for r in table.records]

        yield asked


def test_days_are_counted_in_the_zone_of_the_site_that_is_chosen():
    at = NOW - timedelta(hours=2)
    rows = [
        Indicator("mews", "", "timezone", at - timedelta(days=9), 1.0, "Europe/Berlin"),
        Indicator("mews", "", "timezone", at, 1.0, "Europe/London"),
        Indicator("quay", "", "timezone", at, 1.0, "America/New_York"),
    ]
    found = {}
    with closing(server().open("zones")) as store, server().client() as client:
        store.put_indicators(rows)
        for site in ("mews", "quay", "new"):
            chosen = VALUES | {"site": site}
            flux = ASKED["building", "$timezone"]
            text = as_grafana_asks(flux, now=NOW, bucket="zones", chosen=chosen)
            (table,) = client.query_api().query(text)
            found[site] = [record.get_value() for record in table.records]

    assert found == {"mews": ["Europe/London"], "quay": ["America/New_York"],
                     "new": ["Asia/Shanghai"]}  # fmt: skip


def test_an_old_reading_of_a_meter_that_is_read_daily_is_in_time(a_daily_meter):
    for board in ("park-live", "meters"):
        (calm,) = a_daily_meter(board, "Oldest reading A", "calm")
        (park,) = a_daily_meter(board, "Oldest reading A", "park")
        assert (calm["known"], calm["_value"]) == ("all in time", pytest.approx(30_000 / 3600))
        assert (park["known"], park["_value"]) == ("2 silent", pytest.approx(30_000 / 3600))
        (panel,) = [p for p in DASHBOARDS[board]("en")["panels"] if p["title"] == "Oldest reading"]
        (red,) = panel["fieldConfig"]["overrides"]
        assert re.fullmatch(red["matcher"]["options"], "_value 2 silent")
        assert not re.fullmatch(red["matcher"]["options"], "_value all in time")


def test_silent_meters_are_listed_first_and_those_never_heard_before_all(a_daily_meter):
    listed = a_daily_meter("meters", "Age of the newest reading A", "park")

    assert [(row["subject"], row.get("meter_age_s"), row["meter_silent"]) for row in listed] == [
        ("E3", None, 1), ("E2", 9_000, 1), ("W1", 30_000, 0), ("E1", 20, 0),
    ]  # fmt: skip


def test_silence_over_time_is_what_the_platform_calls_silent(a_daily_meter):
    found = a_daily_meter("meters", "Silence over time A", "park")
    known = {row["subject"]: row["_value"] for row in found if row["_value"] is not None}

    assert known == {"E1": 0, "W1": 0, "E2": 1, "E3": 1}


def test_variables_offer_what_is_there(ask):
    offered = {
        name: [row["_value"] for row in ask(ASKED["meters", f"${name}"])]
        for name in ("site", "meter", "register")
    }
    offered |= {
        name: [row["_value"] for row in ask(ASKED["building", f"${name}"])]
        for name in ("building", "carrier")
    }

    assert offered["site"] == ["park"]
    named = {building: building for building in BUILDINGS} | {"A1": NAME_OF_A1}
    assert sorted(offered["building"]) == sorted(f"{id_}|{name}" for id_, name in named.items())
    assert sorted(offered["carrier"]) == [
        "electricity:kWh|electricity · kWh", "heat:kWh|heat · kWh", "water:m3|water · m3",
    ]  # fmt: skip
    assert offered["meter"] == [VALUES["meter"]]
    assert sorted(offered["register"]) == ["active_import", "active_power"]


def test_a_finding_of_a_journal_makes_no_site_to_choose():
    at = NOW - timedelta(hours=1)
    rows = [
        Indicator("park", "", "meters_total", at, 16.0),
        Indicator("0a1b2c3d/812", "journal.damaged", "event", at, 1.0, "As older releases wrote."),
        Indicator("tanyuan/0a1b2c3d/812", "journal.damaged", "event", at, 1.0, "As it is now."),
    ]
    with closing(server().open("owned")) as store, server().client() as client:
        store.put_indicators(rows)
        flux = as_grafana_asks(ASKED["park-live", "$site"], now=NOW, bucket="owned")
        tables = client.query_api().query(flux)

    assert [record.get_value() for table in tables for record in table.records] == ["park"]


def test_events_of_the_platform_stand_on_its_dashboard_and_those_of_the_site_on_the_others(ask):
    platform = ask(ASKED["platform", "What happened to the platform A"])
    site = ask(ASKED["park-live", "What happened A"])

    assert [row["code"] for row in platform] == ["journal.damaged", "site.changed"]
    assert [row["code"] for row in site] == ["meter.silent", "site.changed", "increment.reset"]


def test_a_name_with_a_quote_cannot_leave_its_place():
    flux = as_grafana_asks(query("events", where=AT_SITE), now=NOW, bucket='b"')

    assert 'from(bucket: "b\\"_derived")' in flux


def test_a_query_says_what_it_lacks():
    with pytest.raises(FluxQueryError, match="also wants fn, kept, quantities, where"):
        query("days", by='["about"]')
    with pytest.raises(FluxQueryError, match="has no place for meter"):
        query("events", where=AT_SITE, meter='"E1"')


PLACE = re.compile(r"\{\{(\w+)\}\}")


def source(name):
    text = resources.files("dashboards").joinpath("flux", f"{name}.flux").read_text("utf-8")
    return "\n".join(line for line in text.splitlines() if not line.startswith("//"))
