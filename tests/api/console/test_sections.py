"""What the sections say of documents: unknown is a dash, dead looks dead, the worst comes first."""

from __future__ import annotations

import re

import pytest

from api.console import charts, views
from api.console.catalogue import LANGUAGES, texts
from api.console.rendering import render
from api.console.views import Scene
from metering.site_files import load_site
from metering.units import REGISTERS
from tests.api.live_park import PARK

NOTHING = {"value": None, "meters": 0, "of": 2, "averaged": 0}


@pytest.fixture(params=LANGUAGES)
def scene(request):
    site = load_site(PARK.encode(), file="park.yaml", registers=frozenset(REGISTERS))
    return Scene(site, texts(request.param))


def words(html):
    """The text of some HTML, blanks made single."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html)).strip()


def quota(name, verdict, used, expected, **other):
    return {
        "quota": name, "subject": "a", "verdict": verdict, "limit": 20.0, "unit": "kWh/m2",
        "used": None if used is None else used * 20, "used_share": used, "expected_share": expected,
        "projection": None, "coverage": 1.0, "reasons": [],
        "period": {"kind": "calendar_year", "start": None, "end": None},
    } | other  # fmt: skip


def meter(serial, age_s, *, silent, **other):
    return {
        "meter": serial, "point": "b-lift", "name": "电梯", "building": "b",
        "carrier": "electricity", "last_read_at": None if age_s is None else "2024-03-25T00:30:00Z",
        "age_s": age_s, "silent": silent, "register": "active_import", "value": 3.0, "unit": "kWh",
    } | other  # fmt: skip


def hour(value, *, over=1.0, coverage=1.0, flags=(), usual=20.0):
    return {
        "start": "2024-03-28T00:00:00Z", "over": over, "value": value, "usual": usual,
        "coverage": coverage, "measured": coverage, "flags": list(flags),
    }  # fmt: skip


def test_unknown_power_is_a_dash_with_its_reason(scene):
    html = render("power.html", scene.texts, power=views.power_view(NOTHING, scene))

    assert "– kW" in words(html)
    assert scene.texts("power.none") in words(html)
    assert re.search(r"\b0\b", words(html)) is None


def test_power_of_some_meters_says_how_many_are_missing(scene):
    power = {"value": 110.0, "meters": 1, "of": 2, "averaged": 1}
    shown = views.power_view(power, scene)

    assert shown["value"] == "110"
    assert shown["partial"]
    assert shown["note"] == scene.texts("power.partial", known=1, of=2)
    assert shown["averaged"] == scene.texts("power.averaged")


def test_an_unknown_day_is_dashes_and_no_difference(scene):
    today = {"energy_kwh": None, "usual_kwh": None, "difference": None, "coverage": 0.0}
    html = render("energy.html", scene.texts, energy=views.energy_view(today, scene))

    assert "– kWh" in words(html)
    assert scene.texts("energy.no_usual") in words(html)
    assert scene.texts("energy.coverage", percent="0 %") in words(html)


def test_more_than_usual_is_said_in_words_and_coloured_when_it_is_much(scene):
    today = {"energy_kwh": 275.0, "usual_kwh": 220.0, "difference": 0.25, "coverage": 1.0}
    shown = views.energy_view(today, scene)

    assert shown["difference"] == scene.texts("energy.more", percent="25.0 %")
    assert shown["tone"] == "warn"
    assert shown["coverage"] == ""


def test_carbon_without_a_factor_is_a_dash_that_says_so(scene):
    day = {"emissions_today": [], "emission_factors": [], "emission_reasons": ["No factor."]}
    html = render("carbon.html", scene.texts, carbon=views.carbon_view(day, scene))

    assert "–" in words(html)
    assert scene.texts("carbon.no_factor") in words(html)


def test_carbon_shows_its_factor_and_its_flags_in_words(scene):
    factor = {
        "value": 0.5568, "unit": "kgCO2/kWh", "valid_from": "2022-01-01",
        "publisher": "MEE", "document": "Announcement",
    }  # fmt: skip
    emitted = {"unit": "kgCO2", "value": 153.1, "coverage": 1.0, "flags": ["provisional_factor"]}
    day = {"emissions_today": [emitted], "emission_factors": [factor], "emission_reasons": []}
    html = render("carbon.html", scene.texts, carbon=views.carbon_view(day, scene))

    assert "153 kg CO₂" in words(html)
    assert "0.5568 kg CO₂/kWh" in words(html)
    assert scene.texts("flag.provisional_factor") in words(html)
    assert "MEE" in html


def test_quotas_come_worst_first_and_the_furthest_ahead_before_others(scene):
    found = charts.quotas_view(
        [quota("calm", "within", 0.2, 0.5), quota("near", "within", 0.49, 0.5),
         quota("unclear", "not_assessable", None, 0.5), quota("over", "exceeded", 1.4, 0.5),
         quota("risk", "at_risk", 0.6, 0.5)],
        scene,
    )  # fmt: skip

    assert [row["id"] for row in found["rows"]] == ["over", "risk", "unclear", "near", "calm"]


def test_the_bar_of_an_exceeded_quota_ends_at_its_use_and_marks_limit_and_pace(scene):
    (row,) = charts.quotas_view([quota("over", "exceeded", 1.25, 0.5)], scene)["rows"]

    # 125 % is the whole bar: the limit is at 100 / 1.25, the expected share at 50 / 1.25
    assert (row["used_width"], row["limit_at"], row["expected_at"]) == (100, 80, 40)
    assert row["verdict_word"] == scene.texts("verdict.exceeded")
    assert "kWh/m²" in row["amount"]


def test_a_quota_of_which_nothing_is_known_is_no_bar_of_zero(scene):
    (row,) = charts.quotas_view(
        [quota("unclear", "not_assessable", None, 0.5, coverage=0.1, reasons=["Too little."])],
        scene,
    )["rows"]
    html = render("quotas.html", scene.texts, quotas={"rows": [row], "more": ""})

    assert scene.texts("quota.used_unknown", limit="20.0", unit="kWh/m²") in words(html)
    assert scene.texts("quota.share", used="–") in words(html)
    assert "Too little." in html


def test_silent_meters_are_struck_out_longest_silence_first(scene):
    lists = views.meter_lists(
        [meter("E1", 5.0, silent=False), meter("E9", 273_600.0, silent=True),
         meter("E7", 9000.0, silent=True), meter("E8", None, silent=True, value=None, unit=None)],
        scene,
    )  # fmt: skip
    html = render("silent.html", scene.texts, lists=lists)

    assert [each["meter"] for each in lists["silent"]] == ["E8", "E9", "E7"]
    assert [each["meter"] for each in lists["all"]] == ["E8", "E9", "E7", "E1"]
    assert "<s>电梯</s>" in html
    # 273 600 s are 3 days and 4 hours
    assert scene.texts("meters.silent_for", age=_age(scene)) in words(html)
    assert scene.texts("meters.never") in words(html)


def _age(scene):
    return scene.texts("age.days", n=3, m=4)


def test_a_long_list_says_how_many_more_there_are(scene):
    found = [meter(f"E{n}", 5.0, silent=False) for n in range(views.METERS_SHOWN + 7)]
    lists = views.meter_lists(found, scene)

    assert len(lists["all"]) == views.METERS_SHOWN
    assert lists["all_more"] == scene.texts("meters.more", count=7)


def test_gaps_inferred_and_coming_hours_look_different(scene):
    shown = charts.hours_view(
        [hour(22.0), hour(22.0, flags=["interpolated"]), hour(None, coverage=0.0),
         hour(9.0, coverage=0.4), hour(11.0, over=0.5, coverage=0.5),
         hour(None, over=0.0, coverage=0.0)],
        scene,
    )  # fmt: skip

    assert [column["kind"] for column in shown["columns"]] == [
        "known", "inferred", "gap", "partial", "partial", "ahead",
    ]  # fmt: skip
    assert shown["columns"][2]["value"] == "–"
    assert scene.texts("hours.gap") in shown["columns"][2]["label"]
    assert shown["top"] == "25.0"
    # 22 of 25
    assert shown["columns"][0]["height"] == pytest.approx(88)


def test_names_from_the_site_file_cannot_become_markup(scene):
    row = {
        "id": "b", "name": "<b>楼</b>", "use": None, "energy_kwh": 1.0, "usual_kwh": None,
        "difference": None, "coverage": 1.0,
    }  # fmt: skip
    html = render(
        "buildings.html",
        scene.texts,
        buildings=views.buildings_view([row], {"b": NOTHING}, scene),
    )

    assert "&lt;b&gt;楼&lt;/b&gt;" in html
    assert "<b>楼" not in html


def test_a_building_without_figures_shows_dashes(scene):
    row = {
        "id": "a", "name": "A", "use": None, "energy_kwh": None, "usual_kwh": None,
        "difference": None, "coverage": 0.0,
    }  # fmt: skip
    (shown,) = views.buildings_view([row], {"a": NOTHING}, scene)

    assert (shown["power"], shown["energy"], shown["usual"], shown["difference"]) == ("–",) * 4


@pytest.mark.parametrize(
    ("share", "wanted"),
    [(0.0203, "+2.0 %"), (-0.0203, "−2.0 %"), (-0.0001, "0.0 %"), (1e-9, "0.0 %")],
)
def test_a_difference_has_a_sign_unless_it_is_none(scene, share, wanted):
    row = {
        "id": "a", "name": "A", "use": None, "energy_kwh": 1.0, "usual_kwh": 1.0,
        "difference": share, "coverage": 1.0,
    }  # fmt: skip
    (shown,) = views.buildings_view([row], {"a": NOTHING}, scene)

    assert shown["difference"] == wanted


def test_a_day_of_which_nothing_is_known_has_no_scale(scene):
    shown = charts.hours_view([hour(None, coverage=0.0, usual=None)], scene)

    assert (shown["top"], shown["half"], shown["nothing"]) == ("", "", True)
