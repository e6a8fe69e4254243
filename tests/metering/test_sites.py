"""The questions asked of a site: areas by day, meters by time, and what makes up its energy."""

import pickle
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from metering.dated import Dated, DatedValue, HeatingSeason
from metering.periods import Period
from metering.sites import (
    Building,
    BuildingNotFound,
    Fixture,
    Meter,
    MeterNotFound,
    MeterPoint,
    Part,
    PointNotFound,
    Quota,
    Site,
    quota_units,
)

SHANGHAI = ZoneInfo("Asia/Shanghai")
BERLIN = ZoneInfo("Europe/Berlin")


def point(point_id, role="sub", **more):
    return MeterPoint(point_id, more.pop("carrier", "electricity"), role, **more)


def site_of(own=(), **buildings):
    """A site with its own points, and the points of each building by the building's id."""
    return Site(
        "s",
        "Site",
        SHANGHAI,
        points=tuple(own),
        buildings=tuple(
            Building(name, name, points=tuple(replace(p, building=name) for p in points))
            for name, points in buildings.items()
        ),
    )


def parts(site, carrier="electricity", building=None):
    return [(each.point.id, each.part.value) for each in site.boundary(carrier, building)]


AREA = Dated(
    (
        DatedValue(20000.0, date(2019, 1, 1), date(2023, 7, 1)),
        DatedValue(21500.0, date(2023, 7, 1), None),
    )
)


@pytest.mark.parametrize(
    ("day", "area"),
    [
        (date(2018, 12, 31), None),
        (date(2019, 1, 1), 20000.0),
        (date(2023, 6, 30), 20000.0),
        (date(2023, 7, 1), 21500.0),
        (date(2099, 1, 1), 21500.0),
    ],
)
def test_a_dated_value_holds_from_its_first_day_to_the_day_before_its_end(day, area):
    assert Building("b", "B", area_m2=AREA).area_on(day) == area


def test_the_mean_of_a_dated_value_is_weighted_by_time():
    year = Period.year(2023, tz=SHANGHAI)

    # January to June 2023 has 181 days, July to December 184
    assert AREA.mean(year, tz=SHANGHAI) == pytest.approx((181 * 20000 + 184 * 21500) / 365)


def test_the_mean_counts_the_days_of_the_site_with_their_own_length():
    area = Dated(
        (
            DatedValue(100.0, date(2025, 3, 29), date(2025, 3, 30)),
            DatedValue(200.0, date(2025, 3, 30), None),
        )
    )
    period = Period.days(date(2025, 3, 29), date(2025, 3, 31), tz=BERLIN)

    # 30 March 2025 has 23 hours in Berlin
    assert area.mean(period, tz=BERLIN) == pytest.approx((24 * 100 + 23 * 200) / 47)


def test_the_mean_is_unknown_if_any_of_the_period_is():
    assert AREA.mean(Period.year(2018, tz=SHANGHAI), tz=SHANGHAI) is None
    days = Period.days(date(2018, 12, 31), date(2020, 1, 1), tz=SHANGHAI)
    assert AREA.mean(days, tz=SHANGHAI) is None


def test_the_mean_of_a_single_value_is_that_value_to_the_digit():
    assert Dated((DatedValue(0.1),)).mean(Period.year(2023, tz=SHANGHAI), tz=SHANGHAI) == 0.1


def test_the_mean_over_no_time_is_the_value_of_the_day():
    now = datetime(2023, 6, 30, 16, tzinfo=UTC)  # midnight of 1 July in Shanghai

    assert AREA.mean(Period(now, now), tz=SHANGHAI) == 21500.0


def test_the_area_of_the_site_is_that_of_its_buildings_or_unknown():
    site = replace(
        site_of(),
        buildings=(
            Building("a", "A", area_m2=Dated((DatedValue(10.0),))),
            Building("b", "B", area_m2=Dated((DatedValue(5.0, date(2024, 1, 1)),))),
        ),
    )

    assert site.area_mean_m2(Period.year(2024, tz=SHANGHAI)) == 15.0
    assert site.area_mean_m2(Period.year(2023, tz=SHANGHAI)) is None
    assert site.area_mean_m2(Period.year(2023, tz=SHANGHAI), "a") == 10.0
    assert site.people_mean(Period.year(2024, tz=SHANGHAI), "a") is None
    assert site_of().area_mean_m2(Period.year(2024, tz=SHANGHAI)) is None


def test_a_heating_season_may_cross_the_turn_of_the_year():
    assert HeatingSeason((11, 15), (3, 16)).days(2023) == (date(2023, 11, 15), date(2024, 3, 16))
    assert HeatingSeason((5, 1), (9, 1)).days(2023) == (date(2023, 5, 1), date(2023, 9, 1))


def test_points_are_listed_in_the_order_of_the_file():
    site = site_of([point("z")], b=[point("y")], a=[point("x", carrier="heat")])

    assert [each.id for each in site.all_points()] == ["z", "y", "x"]
    assert [each.id for each in site.points_in("a")] == ["x"]
    assert site.carriers() == ("electricity", "heat")
    assert site.carriers("a") == ("heat",)


def test_an_unknown_point_is_answered_by_the_closest_ones():
    site = site_of(b=[point("b27-electricity"), point("b27-gas")])

    with pytest.raises(PointNotFound, match="'b27-electricty' at site 's'") as caught:
        site.point("b27-electricty")

    assert str(caught.value).endswith("Closest: b27-electricity.")
    assert site.point("b27-gas").id == "b27-gas"


def test_an_unknown_building_without_a_like_is_answered_by_how_many_there_are():
    with pytest.raises(BuildingNotFound, match=r"No building 'xyz' at site 's'. It has 2 of them."):
        site_of(a=[], b=[]).building("xyz")


def test_keys_carry_the_site():
    site = site_of([point("p")])

    assert (site.meter_key("E1"), site.point_key(site.point("p"))) == ("s/E1", "s/p")


T0 = datetime(2023, 5, 1, tzinfo=UTC)


def test_a_moved_meter_belongs_to_the_point_it_served_at_the_time():
    site = site_of(
        [
            point("new", meters=(Meter("E1", "native", installed=Fixture(T0)),)),
            point("old", meters=(Meter("E1", "native", removed=Fixture(T0)),)),
        ]
    )

    assert [each.point.id for each in site.placements_of("E1")] == ["old", "new"]
    assert site.meter_point_of("E1", instant=T0 - timedelta(seconds=1)).id == "old"
    assert site.meter_point_of("E1", instant=T0).id == "new"
    assert site.meter_point_of("E1").id == "new"
    assert site.serials == ("E1",)


def test_a_meter_that_the_site_does_not_have_is_not_found():
    site = site_of([point("p", meters=(Meter("E1", "native", removed=Fixture(T0)),))])

    assert site.placements_of("E2") == ()
    with pytest.raises(MeterNotFound, match=r"No meter 'E11' at site 's'\. Closest: E1\."):
        site.meter_point_of("E11")
    with pytest.raises(MeterNotFound, match="No point at 2023-05-01T00:00:00Z for meter 'E1'"):
        site.meter_point_of("E1", instant=T0)


def test_a_point_has_no_meter_between_two_meters():
    old = Meter("A", "native", removed=Fixture(T0))
    new = Meter("B", "native", installed=Fixture(T0 + timedelta(hours=1)))
    place = point("p", meters=(old, new))

    assert place.meter_at(T0 - timedelta(days=9999)) is old
    assert place.meter_at(T0) is None
    assert place.meter_at(T0 + timedelta(hours=1)) is new


def test_one_capacity_is_for_every_register_and_several_for_their_own():
    assert Meter("A", "native", capacity=9.0).capacity_of("heat") == 9.0
    assert Meter("A", "native", capacity={"heat": 9.0}).capacity_of("volume") is None
    assert Meter("A", "native").capacity_of("heat") is None


def test_a_building_used_what_its_topmost_mains_took_in():
    site = site_of(
        a=[
            point("m1", "main"),
            point("m2", "main", upstream="sub"),
            point("sub", upstream="m1"),
            point("m3", "main"),
            point("heat", "main", carrier="heat"),
        ]
    )

    assert parts(site, building="a") == [("m1", "main"), ("m3", "main")]
    assert parts(site, "heat", "a") == [("heat", "main")]
    assert parts(site, "water", "a") == []


def test_a_building_without_a_main_used_what_the_roots_of_its_tree_took_in():
    site = site_of(
        a=[point("root"), point("below", upstream="root"), point("fed", upstream="other")],
        b=[point("other", "main"), point("pv-load", upstream="pv"), point("pv", "generation")],
    )

    assert parts(site, building="a") == [("root", "main"), ("fed", "main")]


def test_own_generation_is_added_and_storage_taken_off():
    site = site_of(
        a=[
            point("main", "main"),
            point("pv", "generation", upstream="main"),
            point("inverter", "generation", upstream="pv"),
            point("battery", "storage", upstream="main"),
            point("load", upstream="main"),
        ]
    )

    assert parts(site, building="a") == [
        ("main", "main"),
        ("pv", "generation"),
        ("battery", "storage"),
    ]
    assert [each.sign for each in site.boundary("electricity", "a")] == [1, 1, -1]
    assert site.boundary("electricity", "a")[0].part is Part.MAIN


def test_a_load_behind_generation_is_no_root():
    site = site_of(a=[point("pv", "generation"), point("load", upstream="pv"), point("grid")])

    assert parts(site, building="a") == [("grid", "main"), ("pv", "generation")]


def test_the_mains_of_the_site_win_over_those_of_its_buildings():
    site = site_of(
        [point("park", "main")],
        a=[point("a", "main", upstream="park"), point("pv", "generation", upstream="a")],
        b=[point("b", "main")],
    )

    assert parts(site) == [("park", "main"), ("pv", "generation")]


def test_a_site_without_a_main_is_the_sum_of_its_buildings():
    site = site_of(
        [point("lamps")],
        a=[point("a", "main"), point("a-sub", upstream="a")],
        b=[point("b-root"), point("b-sub", upstream="b-root")],
        c=[point("c", "main", upstream="a-sub")],
    )

    # c is fed through a's main, so a's figure holds it already
    assert parts(site) == [("a", "main"), ("b-root", "main")]
    assert parts(site, building="c") == [("c", "main")]


def test_a_site_without_any_main_is_the_roots_of_its_tree():
    site = site_of([point("lamps")], a=[point("x", upstream="lamps"), point("y")])

    assert parts(site) == [("lamps", "main"), ("y", "main")]


BASE = point(
    "p",
    "main",
    meters=(Meter("E1", "native", capacity={"active_import": 9.0}, removed=Fixture(T0)),),
)


@pytest.mark.parametrize(
    "changed",
    [
        replace(BASE, carrier="heat"),
        replace(BASE, role="generation"),
        replace(BASE, net_calorific_value_mj_m3=35.5),
        replace(BASE, reference="0 degC"),
        replace(BASE, meters=()),
        *(
            replace(BASE, meters=(replace(BASE.meters[0], **change),))
            for change in (
                {"serial": "E2"},
                {"profile": "other"},
                {"capacity": {"active_import": 10.0}},
                {"capacity": 9.0},
                {"multiplier": 2.0},
                {"max_power_kw": 5.0},
                {"max_flow_m3h": 5.0},
                {"installed": Fixture(T0 - timedelta(days=1))},
                {"removed": Fixture(T0 + timedelta(seconds=1))},
                {"removed": Fixture(T0, {"active_import": 1.0})},
            )
        ),
    ],
)
def test_what_can_move_a_figure_moves_the_definition_hash(changed):
    assert changed.definition_hash() != BASE.definition_hash()


def test_what_cannot_move_a_figure_leaves_the_definition_hash():
    meter = replace(
        BASE.meters[0], gateway="g", address="1", accuracy_class="1", note="in the cellar"
    )
    same = replace(BASE, name="Cellar", item="01A00", upstream="x", building="b", meters=(meter,))

    assert same.definition_hash() == BASE.definition_hash()


def test_the_definition_hash_is_short_and_stays_over_releases():
    # sha256 of the text below, as sha256sum prints it
    # {"carrier":"electricity","meters":[],"role":"main"}
    assert point("p", "main").definition_hash() == "e8ce79bb296f"


def test_a_quota_says_what_it_limits_and_when():
    quota = Quota(
        "q", "b", "heat", 5.0, "GJ/person", "rolling_year", "us", None, date(2023, 1, 1),
        date(2024, 1, 1),
    )  # fmt: skip

    assert (quota.measure, quota.per) == ("GJ", "person")
    assert replace(quota, unit="kgce").per is None
    days = (date(2022, 12, 31), date(2023, 1, 1), date(2023, 12, 31), date(2024, 1, 1))
    assert [quota.valid_on(day) for day in days] == [False, True, True, False]


def test_the_units_of_a_quota_follow_its_carrier():
    assert quota_units("water") == ("m3", "m3/m2", "m3/person")
    assert "m3" not in quota_units("heat")
    assert {"kWh", "m3", "kgce/m2"} <= set(quota_units("gas"))
    assert quota_units("temperature") == ()


def test_a_site_can_be_handed_to_another_process():
    site = site_of([BASE], a=[point("x")])

    copy = pickle.loads(pickle.dumps(site))

    assert copy == site
    assert copy.point("p").definition_hash() == BASE.definition_hash()
    assert hash(copy) == hash(site)
