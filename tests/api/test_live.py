"""The park as of a moment: power, the day beside the usual day, and which meters are heard."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from api.figures import Figures
from api.latest import AHEAD
from api.live import live_document, meter_documents
from api.live_day import day_document
from api.live_power import power_document
from api.services import open_services
from api.settings import load_settings
from ingest.import_files import import_file
from tests.api.live_park import at, make_sites, mews_readings, park_readings


@pytest.fixture(scope="module")
def services(tmp_path_factory):
    folder = tmp_path_factory.mktemp("live")
    with open_services(load_settings(make_sites(folder / "home"), environ={})) as opened:
        now = datetime(2024, 4, 2, tzinfo=UTC)
        for site, file in (("park", park_readings), ("mews", mews_readings)):
            import_file(file(folder / f"{site}.csv"), opened.journal, sites=[site], received_at=now)
        assert opened.catch_up() is None
        yield opened


@pytest.fixture
def park(services):
    return services.figures("park")


def test_power_is_what_a_meter_shows_else_the_mean_of_its_last_readings(park):
    # E1 shows none: 6 kWh from 12:00 to 12:30 are 12 kW. E2 shows 55 × 2 = 110 kW.
    power = power_document(park, at(12, 30))

    assert power["site"] == {"value": pytest.approx(122), "meters": 2, "of": 2, "averaged": 1}
    assert power["buildings"]["a"]["value"] == pytest.approx(12)
    assert power["buildings"]["b"]["value"] == pytest.approx(110)


def test_power_of_long_ago_is_unknown_and_not_zero(park):
    power = power_document(park, at(14, 30))

    assert power["site"] == {"value": None, "meters": 0, "of": 2, "averaged": 0}


def test_a_moment_in_the_past_does_not_see_the_power_that_was_shown_later(park):
    # E2 shows nothing before 12:20: its register advanced 5 × 2 kWh from 11:00 to 12:00
    power = power_document(park, at(12, 10))

    assert power["buildings"]["b"] == {
        "value": pytest.approx(10), "meters": 1, "of": 1, "averaged": 1,
    }  # fmt: skip


def test_power_of_a_clock_a_little_ahead_counts_now_and_not_in_the_past(park):
    late = at(12, 18)

    assert power_document(park, late)["buildings"]["b"]["value"] == pytest.approx(10)
    now = power_document(park, late, ahead=AHEAD)
    assert now["buildings"]["b"]["value"] == pytest.approx(110)


def test_the_day_so_far_is_held_against_the_mean_of_working_days(park):
    # today (12 + 10) × 12.5 h = 275 kWh; a working day (10 + 10) × 12.5 h = 250 kWh
    today = day_document(park, at(12, 30))["today"]

    assert today["energy_kwh"] == pytest.approx(275)
    assert today["usual_kwh"] == pytest.approx(250)
    assert today["difference"] == pytest.approx(0.1)
    assert today["coverage"] == pytest.approx(1)


def test_hours_without_readings_yet_make_no_saving(park):
    # at 14:30 the registers are known until 12:30: 275 kWh against 250, not against 290
    today = day_document(park, at(14, 30))["today"]

    assert today["difference"] == pytest.approx(0.1)
    assert today["coverage"] == pytest.approx(12.5 / 14.5)


def test_a_sunday_is_held_against_weekends(park):
    # (4 + 10) × 12 h = 168 kWh on both
    today = day_document(park, at(12, day=24))["today"]

    assert today["energy_kwh"] == pytest.approx(168)
    assert today["usual_kwh"] == pytest.approx(168)


def test_the_first_days_have_no_usual_day(park):
    today = day_document(park, at(12, day=4))["today"]

    assert today["energy_kwh"] == pytest.approx(240)
    assert today["usual_kwh"] is None
    assert today["difference"] is None


def test_midnight_shows_the_day_that_just_ended(park):
    # Wednesday: (10 + 10) × 24
    day = day_document(park, at(0))

    assert day["day"] == "2024-03-27"
    assert day["today"]["energy_kwh"] == pytest.approx(480)


def test_a_moment_inside_an_hour_takes_only_its_part(park):
    # at 06:15: 22 × 6.25; the readings of 07:00 lie after it
    day = day_document(park, at(6, 15))

    assert day["today"]["energy_kwh"] == pytest.approx(137.5)
    assert day["hours"][6]["value"] == pytest.approx(5.5)
    assert day["hours"][7]["value"] is None
    assert day["hours"][7]["usual"] == pytest.approx(20)


def test_emissions_of_the_day_are_energy_times_the_factor_that_is_named(park):
    day = day_document(park, at(12, 30))

    (factor,) = day["emission_factors"]
    (emitted,) = day["emissions_today"]
    assert factor["unit"] == emitted["unit"] + "/kWh"
    assert emitted["value"] == pytest.approx(275 * factor["value"])
    assert emitted["factors"] == [factor["id"]]


def test_a_site_without_a_factor_says_why_there_is_no_carbon(services):
    day = day_document(services.figures("mews"), datetime(2024, 3, 20, 12, tzinfo=UTC))

    assert [each["value"] for each in day["emissions_today"]] in ([], [None])
    assert day["emission_reasons"]


def test_the_usual_hours_follow_the_clock_when_it_changes(services):
    # 31 March has 23 hours in London, without the one from 1 to 2:
    # 1 + 2 + … + 24 = 300 kWh, less 2
    day = day_document(services.figures("mews"), datetime(2024, 3, 31, 23, tzinfo=UTC))

    assert len(day["hours"]) == 23
    assert day["today"]["energy_kwh"] == pytest.approx(298)
    assert day["today"]["usual_kwh"] == pytest.approx(298)
    assert [hour["usual"] for hour in day["hours"][:3]] == pytest.approx([1, 3, 4])


def test_a_silent_meter_is_named_with_its_age_and_one_never_heard_has_none(services, park):
    found = {each["meter"]: each for each in meter_documents(services.store, park.site, at(12, 30))}

    # 25 March 08:30 to 28 March 12:30: 3 days and 4 hours
    assert found["E9"]["age_s"] == 3 * 86_400 + 4 * 3600
    assert found["E9"]["silent"]
    assert (found["E9"]["register"], found["E9"]["value"], found["E9"]["unit"]) == (
        "active_import", 3.0, "kWh",
    )  # fmt: skip
    assert found["E8"]["silent"]
    assert found["E8"]["age_s"] is None
    assert not found["E1"]["silent"]


def test_a_meter_silent_now_was_alive_then(services, park):
    found = meter_documents(services.store, park.site, at(8, 40, day=25))

    silent = {each["meter"]: each["silent"] for each in found}
    assert silent == {"E1": False, "E2": False, "E9": False, "E8": True}


def test_the_live_document_counts_meters_and_joins_buildings_with_their_power(park):
    document = live_document(park, at(12, 30))

    meters = document["meters"]
    assert (meters["live"], meters["total"], meters["never_heard"]) == (2, 4, 1)
    assert [each["meter"] for each in meters["silent"]] == ["E9", "E8"]
    assert [each["power_kw"]["value"] for each in document["buildings"]] == [
        pytest.approx(12), pytest.approx(110),
    ]  # fmt: skip
    assert document["power_kw"]["value"] == pytest.approx(122)


def test_a_reading_from_a_clock_ahead_has_no_negative_age(services, park):
    ahead = at(12, 30) - timedelta(minutes=2)
    found = meter_documents(services.store, park.site, ahead)

    assert {each["meter"]: each["age_s"] for each in found}["E1"] == 0


def test_what_passed_during_an_outage_does_not_tell_the_power(park):
    # E2 was not heard from 12:00 to 16:00; its 40 kWh are known, the power at 16:00 is not
    power = power_document(park, at(16, day=20))
    day = day_document(park, at(18, day=20))

    assert power["buildings"]["b"]["value"] is None
    assert power["site"] == {"value": pytest.approx(10), "meters": 1, "of": 2, "averaged": 1}
    assert day["today"]["energy_kwh"] == pytest.approx(360)
    assert ["interpolated" in hour["flags"] for hour in day["hours"][11:17]] == [
        False, True, True, True, True, False,
    ]  # fmt: skip


class _Counting:
    """A store that counts how often hours are asked of it."""

    def __init__(self, store):
        self._store, self.asked = store, 0

    def __getattr__(self, name):
        self.asked += name == "series"
        return getattr(self._store, name)


class _Piecewise(Figures):
    def gather(self, points, period):
        """Read nothing at once."""


def test_a_day_is_read_at_once_and_says_the_same_as_piece_by_piece(park):
    given = (park.site, park.registry, park.extra)
    whole, pieces = _Counting(park.store), _Counting(park.store)

    document = day_document(Figures(whole, *given), at(12, 30))

    assert document == day_document(_Piecewise(pieces, *given), at(12, 30))
    # 29 days of the site's meters, and the year of those that have quotas; however many they are
    assert whole.asked == 2
    assert pieces.asked > 5


def test_what_was_known_on_another_day_is_read_at_once_too(services):
    known = services.figures("park", known_by=date(2024, 4, 2))
    piecewise = _Piecewise(known.store, known.site, known.registry, known.extra, known.known_by)

    assert day_document(known, at(12, 30)) == day_document(piecewise, at(12, 30))
