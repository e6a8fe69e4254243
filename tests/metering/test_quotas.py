"""Use against a limit, worked by hand: periods, units, shares, verdicts."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.dated import Dated, DatedValue, HeatingSeason
from metering.intervals import Rows
from metering.meter_points import MeterPoint
from metering.periods import edges, local_day
from metering.quotas import CoalRatio, RowsMismatch, period_of, use_of
from metering.sites import Building, Quota, Site

SHANGHAI = ZoneInfo("Asia/Shanghai")
LONDON = ZoneInfo("Europe/London")
END_OF_2024 = date(2024, 12, 31)

QUOTA = Quota(
    id="a-2024", subject="a", carrier="electricity", limit=110.0, unit="kWh/m2",
    period="calendar_year", source="own budget 2024",
)  # fmt: skip
KWH = replace(QUOTA, unit="kWh", limit=36_600.0)
"""100 kWh a day in a leap year."""


def site_with(tz=SHANGHAI, **attributes):
    a = Building(id="a", name="A", **attributes)
    season = HeatingSeason(first=(11, 15), until=(3, 16))
    return Site(id="park", name="Park", timezone=tz, buildings=(a,), heating_season=season)


def area(value, first=None, until=None):
    return Dated((DatedValue(value, first, until),))


def use(quota, day_use, *, on, site=None, unit="kWh", coverage=1.0, **more):
    """The quota's state if every day, by its date, used `day_use(day)`; NaN: nothing known."""
    site = site or site_with(area_m2=area(5200.0))
    period = period_of(quota, site, on=on)
    marks = edges(period, "day", tz=site.timezone)
    first = local_day(period.start, tz=site.timezone)
    days = [first + timedelta(days=n) for n in range(len(marks) - 1)]
    value = np.array([day_use(day) if day <= on else np.nan for day in days], np.float64)
    share = np.where(np.isnan(value), 0.0, coverage)
    rows = Rows(marks, value, share, share, np.zeros(len(value), np.int32))
    return use_of(quota, rows, unit=unit, site=site, on=on, **more)


def known_until(last, value=100.0):
    return lambda day: value if day <= last else np.nan


# --- periods ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "on", "first", "until"),
    [
        ("calendar_year", date(2024, 1, 1), date(2024, 1, 1), date(2025, 1, 1)),
        ("calendar_year", date(2024, 12, 31), date(2024, 1, 1), date(2025, 1, 1)),
        ("rolling_year", date(2024, 6, 30), date(2023, 7, 1), date(2024, 7, 1)),
        ("rolling_year", date(2024, 2, 29), date(2023, 3, 1), date(2024, 3, 1)),
        ("rolling_year", date(2025, 2, 28), date(2024, 2, 29), date(2025, 3, 1)),
        ("heating_season", date(2023, 11, 15), date(2023, 11, 15), date(2024, 3, 16)),
        ("heating_season", date(2024, 3, 15), date(2023, 11, 15), date(2024, 3, 16)),
        ("heating_season", date(2024, 7, 1), date(2023, 11, 15), date(2024, 3, 16)),
        ("heating_season", date(2023, 11, 14), date(2022, 11, 15), date(2023, 3, 16)),
    ],
)
def test_period_is_the_one_the_day_belongs_to(kind, on, first, until):
    got = period_of(replace(QUOTA, period=kind), site_with(), on=on)

    assert local_day(got.start, tz=SHANGHAI) == first
    assert local_day(got.end, tz=SHANGHAI) == until


@pytest.mark.parametrize(
    ("tz", "start", "end"),
    [
        # midnight in Shanghai is 16:00 UTC of the day before; London keeps GMT in winter
        (SHANGHAI, "2023-12-31T16:00:00Z", "2024-12-31T16:00:00Z"),
        (LONDON, "2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z"),
    ],
)
def test_calendar_year_begins_and_ends_at_the_site_s_midnight(tz, start, end):
    got = use(KWH, lambda day: 100.0, on=END_OF_2024, site=site_with(tz))

    assert got.as_document()["period"] == {"kind": "calendar_year", "start": start, "end": end}


@pytest.mark.parametrize(
    ("on", "share"),
    [
        (date(2024, 1, 1), 1 / 366),
        (date(2024, 6, 30), 182 / 366),  # 31 + 29 + 31 + 30 + 31 + 30 = 182
        (date(2024, 12, 31), 1.0),
        (date(2023, 12, 30), 364 / 365),
    ],
)
@pytest.mark.parametrize("tz", [SHANGHAI, LONDON])
def test_expected_share_counts_whole_days_the_asked_one_included(tz, on, share):
    got = use(KWH, lambda day: 100.0, on=on, site=site_with(tz))

    assert got.expected_share == share


def test_heating_season_counts_its_own_days():
    # 15 November to 15 March of a leap year: 16 + 31 + 31 + 29 + 15 = 122 days; 31 December: 47
    quota = replace(KWH, period="heating_season")

    assert use(quota, lambda day: 1.0, on=date(2023, 12, 31)).expected_share == 47 / 122
    assert use(quota, lambda day: 1.0, on=date(2024, 3, 15)).expected_share == 1.0
    over = use(quota, lambda day: 1.0, on=date(2024, 8, 1))
    assert (over.expected_share, over.used) == (1.0, 122.0)


def test_rolling_year_is_always_over():
    got = use(replace(KWH, period="rolling_year"), lambda day: 100.0, on=date(2024, 6, 30))

    assert (got.expected_share, got.used) == (1.0, 36_600.0)


def test_heating_season_of_a_site_that_states_none_is_not_assessable():
    site = replace(site_with(), heating_season=None)
    quota = replace(KWH, period="heating_season")

    got = use_of(quota, None, unit="kWh", site=site, on=END_OF_2024)

    assert got.verdict == "not_assessable"
    assert got.as_document()["period"] == {"kind": "heating_season", "start": None, "end": None}
    assert "heating_season" in got.reasons[0]


def test_rows_of_another_span_are_refused():
    site = site_with()
    year_before = edges(period_of(KWH, site, on=date(2023, 5, 1)), "day", tz=SHANGHAI)

    with pytest.raises(RowsMismatch, match="Wanted the days of 2023-12-31T16:00:00Z"):
        use_of(KWH, Rows.unknown(year_before), unit="kWh", site=site, on=END_OF_2024)


def test_what_the_rows_hold_after_the_day_is_not_used():
    site = site_with()
    marks = edges(period_of(KWH, site, on=END_OF_2024), "day", tz=SHANGHAI)
    full = np.ones(366)
    rows = Rows(marks, full * 100.0, full, full, np.zeros(366, np.int32))

    got = use_of(KWH, rows, unit="kWh", site=site, on=date(2024, 1, 31))

    assert (got.used, got.coverage) == (3100.0, 1.0)


# --- units -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unit", "daily", "used"),
    [
        ("kWh", 1000.0, 366_000.0),
        ("MWh", 1000.0, 366.0),
        ("GJ", 1000.0, 1317.6),  # 366 MWh × 3.6 GJ/MWh
        ("kWh/m2", 1000.0, 73.2),  # / 5000 m²
        ("MWh/person", 1000.0, 3.66),  # / 100 persons
        ("GJ/m2", 1000.0, 0.26352),
    ],
)
def test_use_is_put_into_the_unit_of_the_quota(unit, daily, used):
    site = site_with(area_m2=area(5000.0), people=area(100.0))

    got = use(replace(QUOTA, unit=unit), lambda day: daily, on=END_OF_2024, site=site)

    assert got.used == used
    assert got.unit == unit


def test_area_that_changes_counts_by_the_time_it_held():
    # 2024: 182 days to 30 June with 1000 m², 184 days with 2000 m²:
    # (182 × 1000 + 184 × 2000) / 366 = 550 000 / 366 m²; 366 × 1000 kWh / that = 243.5563...
    change = date(2024, 7, 1)
    areas = Dated((DatedValue(1000.0, None, change), DatedValue(2000.0, change)))
    site = site_with(area_m2=areas)

    at_the_end = use(QUOTA, lambda day: 1000.0, on=END_OF_2024, site=site)
    halfway = use(QUOTA, lambda day: 1000.0, on=date(2024, 6, 30), site=site)

    assert at_the_end.used == pytest.approx(366_000 * 366 / 550_000, rel=1e-12)
    assert halfway.used == 182.0  # 182 000 kWh on the 1000 m² so far
    # the projection is held against the area of the whole year
    assert halfway.projection.value == pytest.approx(366_000 * 366 / 550_000, rel=1e-12)


def test_unknown_area_is_not_assessable_and_names_building_and_days():
    site = site_with(area_m2=area(5200.0, first=date(2024, 3, 1)))

    got = use(QUOTA, lambda day: 100.0, on=END_OF_2024, site=site)

    assert (got.verdict, got.used, got.used_share) == ("not_assessable", None, None)
    # January and February 2024: 31 + 29 days
    assert got.reasons == (
        "The quota is per m2, and area_m2 is not known of 'a' on 60 days from 2024-01-01 to "
        "2024-02-29.",
    )


def test_area_not_known_ahead_leaves_the_pace_to_decide():
    site = site_with(area_m2=area(1000.0, until=date(2024, 7, 1)))

    got = use(QUOTA, lambda day: 500.0, on=date(2024, 6, 30), site=site)

    # 182 × 500 / 1000 = 91 kWh/m2 of 110 in half of the year
    assert (got.used, got.projection, got.verdict) == (91.0, None, "at_risk")


def test_no_head_count_at_all_is_not_assessable():
    quota = replace(QUOTA, unit="kWh/person")

    assert "people is not known of 'a'" in use(quota, lambda day: 1.0, on=END_OF_2024).reasons[0]
    nobody = site_with(people=area(0.0))
    got = use(quota, lambda day: 1.0, on=END_OF_2024, site=nobody)
    assert got.reasons == ("The quota is per person, and the mean of people is 0.",)
    assert got.verdict == "not_assessable"


def test_quota_of_a_point_is_divided_by_the_area_of_its_building():
    point = MeterPoint(id="a-main", name="A", carrier="electricity", role="main", building="a")
    a = Building(id="a", name="A", area_m2=area(1000.0), points=(point,))
    b = Building(id="b", name="B", area_m2=area(3000.0))
    site = replace(site_with(), buildings=(a, b))

    of_point = use(replace(QUOTA, subject="a-main"), lambda d: 100.0, on=END_OF_2024, site=site)
    of_site = use(replace(QUOTA, subject="park"), lambda d: 100.0, on=END_OF_2024, site=site)

    assert (of_point.used, of_site.used) == (36.6, 9.15)  # 36 600 kWh / 1000 m², / 4000 m²


def test_standard_coal_takes_the_ratio_it_is_handed_and_its_verification():
    quota = replace(QUOTA, unit="kgce/m2", limit=10.0)
    coal = CoalRatio(0.1229, "standard_coal.electricity", "second-hand")

    got = use(quota, lambda day: 1000.0, on=END_OF_2024, coal=coal)

    # 366 000 kWh × 0.1229 kgce/kWh / 5200 m² = 44 981.4 / 5200
    assert got.used == pytest.approx(8.650269230769231, rel=1e-12)
    assert (got.verdict, got.verification) == ("within", "second-hand")


def test_standard_coal_by_an_unverified_ratio_is_not_in_scope_and_gives_no_figure():
    quota = replace(QUOTA, unit="kgce/m2")
    coal = CoalRatio(0.30, "standard_coal.equivalent", "unverified")

    got = use(quota, lambda day: 1000.0, on=END_OF_2024, coal=coal)

    assert (got.verdict, got.used, got.verification) == ("not_in_scope", None, "unverified")
    assert "standard_coal.equivalent is unverified" in got.reasons[0]


def test_standard_coal_without_a_ratio_is_not_assessable():
    got = use(replace(QUOTA, unit="kgce"), lambda day: 1.0, on=END_OF_2024)

    assert got.verdict == "not_assessable"
    assert got.reasons == ("Nothing turns electricity in kWh into kgce; add a factor row for it.",)


def test_volume_is_not_held_against_a_limit_of_energy():
    gas = replace(QUOTA, carrier="gas")

    got = use(gas, lambda day: 1.0, on=END_OF_2024, unit="m3")

    assert (got.verdict, got.used) == ("not_assessable", None)
    assert "gas in m3" in got.reasons[0]
    volume = replace(gas, unit="m3", limit=400.0)
    assert use(volume, lambda day: 1.0, on=END_OF_2024, unit="m3").used == 366.0


def test_subject_without_a_meter_is_not_assessable_and_says_so():
    got = use_of(QUOTA, None, unit=None, site=site_with(), on=END_OF_2024)

    assert (got.verdict, got.coverage) == ("not_assessable", 0.0)
    assert "No meter point of 'a' measures electricity." in got.reasons


# --- shares and verdicts ---------------------------------------------------------------------


def test_document_has_the_fields_of_the_answer():
    got = use(QUOTA, lambda day: 1300.0, on=END_OF_2024).as_document()

    # 366 × 1300 / 5200 = 91.5 kWh/m²; 91.5 / 110 of the limit
    assert got == {
        "quota": "a-2024",
        "subject": "a",
        "period": {
            "kind": "calendar_year",
            "start": "2023-12-31T16:00:00Z",
            "end": "2024-12-31T16:00:00Z",
        },
        "limit": 110.0,
        "unit": "kWh/m2",
        "used": 91.5,
        "coverage": 1.0,
        "measured": 1.0,
        "expected_share": 1.0,
        "used_share": 91.5 / 110,
        "projection": {"value": 91.5, "low": 91.5, "high": 91.5},
        "verdict": "within",
        "verification": "own",
        "reasons": [],
    }


def test_use_equal_to_the_limit_is_within_it():
    # 0.1 is not a binary fraction: added one by one, 366 of them are not 36.6
    tenths = replace(KWH, limit=36.6)

    assert use(tenths, lambda day: 0.1, on=END_OF_2024).verdict == "within"
    assert use(replace(KWH, limit=36_600.0), lambda day: 100.0, on=END_OF_2024).verdict == "within"


def test_a_watt_hour_above_the_limit_is_exceeded():
    got = use(replace(KWH, limit=36_599.999), lambda day: 100.0, on=END_OF_2024)

    assert got.verdict == "exceeded"
    assert got.reasons == ("Use is 36,600 kWh, the limit 36,599.999.",)


def test_coverage_is_weighted_by_time_not_by_days():
    # London 2024: 31 March has 23 h. Known: all of January to 31 March but that day:
    # 91 days × 24 h - 1 h = 2183 h, of which 2160 h are known
    short = date(2024, 3, 31)

    got = use(KWH, lambda day: np.nan if day == short else 1.0, on=short, site=site_with(LONDON))

    assert got.coverage == pytest.approx(2160 / 2183, rel=1e-12)


def test_low_coverage_is_not_assessable_and_says_how_much_is_known():
    # 100 of 182 days known: 54.945 %
    got = use(KWH, known_until(date(2024, 4, 9)), on=date(2024, 6, 30))

    assert (got.verdict, got.used) == ("not_assessable", 10_000.0)
    assert got.coverage == pytest.approx(100 / 182)
    assert got.reasons == (
        "Only 54.9 % of the time from 2024-01-01 to 2024-06-30 is known; a verdict needs 90.0 %.",
    )


def test_nine_tenths_known_is_enough_for_a_verdict():
    # every day known to 90 %: 36 600 × 0.9 = 32 940 known, the missing tenth at the same rate
    # makes 36 600 kWh, the limit
    got = use(KWH, lambda day: 90.0, on=END_OF_2024, coverage=0.9)

    assert (got.verdict, got.used) == ("within", 32_940.0)
    assert got.projection.value == pytest.approx(36_600.0)
    assert use(KWH, lambda day: 90.0, on=END_OF_2024, coverage=0.89).verdict == "not_assessable"


def test_what_is_known_alone_can_exceed_the_limit():
    # 100 days of 400 kWh are 40 000 kWh, above 36 600 whatever the rest was
    got = use(KWH, known_until(date(2024, 4, 9), 400.0), on=date(2024, 6, 30))

    assert got.verdict == "exceeded"
    assert got.reasons[0] == "What is known alone is 40,000 kWh, the limit 36,600."
    assert got.reasons[1].startswith("Only 54.9 %")


def test_where_energy_flows_back_what_is_known_alone_decides_nothing():
    # one day of the 100 known fed 50 kWh back: the 82 unknown ones may have done so too
    known = known_until(date(2024, 4, 9), 400.0)
    sunny = date(2024, 3, 3)

    got = use(KWH, lambda day: -50.0 if day == sunny else known(day), on=date(2024, 6, 30))

    assert (got.verdict, got.used) == ("not_assessable", 39_550.0)


def test_nothing_known_has_no_use_and_no_shares():
    got = use(KWH, lambda day: np.nan, on=date(2024, 6, 30))

    assert (got.used, got.used_share, got.coverage, got.projection) == (None, None, 0.0, None)
    assert got.verdict == "not_assessable"
    assert got.reasons == ("Nothing is known of electricity of 'a' from 2024-01-01 to 2024-06-30.",)


def test_day_that_is_still_to_come_is_not_assessable():
    # asked for the end of 2024 with readings up to June: half of the elapsed time is unknown
    got = use(KWH, known_until(date(2024, 6, 30)), on=END_OF_2024)

    assert (got.verdict, got.expected_share) == ("not_assessable", 1.0)
    assert got.coverage == pytest.approx(182 / 366)


def test_projection_above_the_limit_is_a_risk_and_says_so():
    # 182 days of 101 kWh, 184 to come: 366 × 101 = 36 966 kWh
    got = use(KWH, lambda day: 101.0, on=date(2024, 6, 30))

    assert got.verdict == "at_risk"
    assert got.projection.value == pytest.approx(36_966.0)
    assert got.reasons[0].startswith("The projection is 36,966 kWh")


def test_use_ahead_of_the_calendar_is_within_if_the_projection_is():
    # Working days 120, weekends 40 kWh. To Friday 2024-06-28 there are 180 days, 130 of them
    # working days (26 weeks without their last weekend, 2024-01-01 is a Monday) and 50 weekend
    # days: 15 600 + 2000 = 17 600 kWh. 2024 has 262 working days and 104 weekend days:
    # 31 440 + 4160 = 35 600 kWh.
    got = use(
        replace(KWH, limit=35_700.0),
        lambda day: 120.0 if day.weekday() < 5 else 40.0,
        on=date(2024, 6, 28),
    )

    assert got.used == 17_600.0
    assert got.used_share > got.expected_share
    assert got.projection.value == pytest.approx(35_600.0)
    assert got.verdict == "within"


@pytest.mark.parametrize(
    ("daily", "verdict"),
    [
        # after 10 of 366 days 2.73 % are expected; 130 kWh a day are 1300 / 36 600 = 3.55 %,
        # less than 1 % of the limit ahead; 140 kWh are 3.83 %, more than that
        (130.0, "within"),
        (140.0, "at_risk"),
    ],
)
def test_first_weeks_are_judged_by_their_pace(daily, verdict):
    got = use(KWH, lambda day: daily, on=date(2024, 1, 10))

    assert (got.projection, got.verdict) == (None, verdict)
    assert "28 known days" in got.reasons[0]


def test_export_above_import_is_within():
    got = use(KWH, lambda day: -10.0, on=END_OF_2024)

    assert (got.used, got.verdict) == (-3660.0, "within")
    assert got.used_share == pytest.approx(-0.1)


@pytest.mark.parametrize(
    ("on", "verdict"),
    [
        (date(2024, 3, 31), "not_in_scope"),
        (date(2024, 4, 1), "within"),
        (date(2024, 9, 30), "within"),
        (date(2024, 10, 1), "not_in_scope"),
    ],
)
def test_quota_counts_only_while_it_is_in_force(on, verdict):
    quota = replace(KWH, valid_from=date(2024, 4, 1), valid_until=date(2024, 10, 1))

    got = use(quota, lambda day: 90.0, on=on)

    assert got.verdict == verdict
    if verdict == "not_in_scope":
        assert got.reasons == (
            f"In force from 2024-04-01 until 2024-10-01, that day not included; not on {on}.",
        )


@given(
    daily=st.lists(st.floats(0, 200) | st.just(np.nan), min_size=7, max_size=7),
    known=st.integers(1, 366),
    on=st.dates(date(2024, 1, 1), END_OF_2024),
    power=st.integers(-8, 8),
)
def test_scaling_limit_and_use_alike_keeps_the_verdict(daily, known, on, power):
    last = date(2023, 12, 31) + timedelta(days=known)

    def day_use(day):
        return daily[day.weekday()] if day <= last else np.nan

    # a power of two scales floats without rounding
    factor = 2.0**power
    one = use(KWH, day_use, on=on)
    other = use(replace(KWH, limit=KWH.limit * factor), lambda d: day_use(d) * factor, on=on)

    assert (one.verdict, one.used_share) == (other.verdict, other.used_share)
