"""Figures for displays are those of the API, and only what is known is there."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from api.indicator_writer import IndicatorWriter
from api.indicators import daily_indicators, full_minute, hourly_indicators, live_indicators
from api.journals import Place
from api.pending_hours import PendingHours, together, without
from api.platform_indicators import event_indicators, platform_indicators
from api.services import open_services
from api.settings import load_settings
from ingest.import_files import import_file
from metering.findings import Finding
from metering.ledger.port import LedgerUnavailable, Noted
from metering.periods import Period
from metering.store.flux_queries import flux_query_names
from metering.store.port import StoreUnavailable
from tests.acceptance.running import write_readings
from tests.api.live_park import SHANGHAI, at, make_sites, park_readings
from tests.influx_server import open_in

AHEAD = "2105-06-01T00:00:00Z"
HOURS = Period(at(11, day=20), at(18, day=20))


@pytest.fixture
def services(tmp_path):
    with open_services(load_settings(make_sites(tmp_path / "home"), environ={})) as opened:
        file = park_readings(tmp_path / "park.csv")
        now = datetime(2024, 4, 2, tzinfo=UTC)
        import_file(file, opened.journal, sites=["park"], received_at=now)
        assert opened.catch_up() is None
        yield opened


def by_key(rows):
    return {(row.subject, row.about, row.quantity): row.value for row in rows}


def test_the_present_of_a_park_is_what_its_live_answer_says(services):
    found = by_key(live_indicators(services.figures("park"), at(12, 30)))

    # As in test_live: 12 kW, and 55 × 2 shown; 12 × 12.5 and 10 × 12.5 kWh; 10 an hour are usual.
    assert found["park/a", "", "power_kw"] == pytest.approx(12)
    assert found["park/b", "", "power_kw"] == pytest.approx(110)
    assert found["park", "", "power_kw"] == pytest.approx(122)
    assert found["park", "", "energy_today_kwh"] == pytest.approx(275)
    assert found["park", "", "usual_today_kwh"] == pytest.approx(250)
    assert found["park/a", "", "usual_today_kwh"] == pytest.approx(125)
    # E1 and E2 are heard, E9 is silent since the 25th, E8 never was.
    assert found["park", "", "meters_live"] == 2
    assert found["park", "", "meters_total"] == 4
    assert found["park", "", "meters_never_heard"] == 1
    assert found["park", "", "oldest_age_s"] == 3 * 86400 + 4 * 3600
    assert found["park/b-lift", "E9", "meter_age_s"] == 3 * 86400 + 4 * 3600
    assert ("park/b-pump", "E8", "meter_age_s") not in found
    silent = {about: value for (_, about, quantity), value in found.items()
              if quantity == "meter_silent"}  # fmt: skip
    assert silent == {"E1": 0, "E2": 0, "E8": 1, "E9": 1}


def test_what_is_not_known_has_no_row(services):
    found = by_key(live_indicators(services.figures("park"), at(14, 30)))
    assert ("park", "", "power_kw") not in found
    assert ("park", "", "heat_today_gj") not in found


def test_the_sum_of_some_of_the_meters_is_not_the_power_of_the_park(services, tmp_path):
    # Of building a 3 kWh more at 14:15 than at 14:00; b was heard at 12:30 for the last time.
    late = [("E1", "active_import", at(14, m).isoformat(), 10_000 + m / 5) for m in (0, 15)]
    file = write_readings(tmp_path / "late.csv", late)
    import_file(file, services.journal, sites=["park"], received_at=services.now())
    assert services.catch_up() is None

    found = by_key(live_indicators(services.figures("park"), at(14, 30)))

    assert ("park", "", "power_kw") not in found
    assert found["park", "", "power_partial_kw"] == pytest.approx(12)
    assert (found["park", "", "power_meters"], found["park", "", "power_of"]) == (1, 2)
    assert found["park/a", "", "power_kw"] == pytest.approx(12)
    assert (found["park/b", "", "power_meters"], found["park/b", "", "power_of"]) == (0, 1)
    names = {quantity for subject, _, quantity in found if subject == "park/b"}
    assert {"power_kw", "power_partial_kw"} & names == set()


def test_figures_of_the_day_so_far_have_their_coverage_beside_them(tmp_path):
    home = make_sites(tmp_path / "home")
    heat = """
site: {id: baths, timezone: Asia/Shanghai, region: CN-BJ, language: en}
factors: {provisional: true}
buildings:
  - id: pool
    points:
      - {id: pool-heat, carrier: heat, role: main, meter: {serial: H1, profile: native}}
      - {id: pool-main, carrier: electricity, role: main, meter: {serial: E5, profile: native}}
"""
    (home / "sites" / "baths.yaml").write_text(heat, encoding="utf-8")
    # Each hour 50 kWh of heat until 10:00, 100 kWh from then on; of electricity 8 kWh until 06:00.
    rows = [("H1", "heat", at(h).isoformat(), 50 * h + 50 * max(0, h - 10)) for h in range(14)]
    rows += [("E5", "active_import", at(h).isoformat(), 8 * h) for h in range(7)]
    file = write_readings(tmp_path / "baths.csv", rows)
    with open_services(load_settings(home, environ={})) as services:
        import_file(file, services.journal, sites=["baths"], received_at=services.now())
        assert services.catch_up() is None
        now = by_key(live_indicators(services.figures("baths"), at(16)))
        past = by_key(live_indicators(services.figures("baths"), at(12, 30)))

    # By 13:00 13 × 50 + 3 × 50 = 800 kWh, 3.6 MJ each, and 13 of 16 hours are known.
    for subject in ("baths", "baths/pool"):
        assert now[subject, "", "heat_today_gj"] == pytest.approx(2.88)
        assert now[subject, "", "heat_coverage_today"] == pytest.approx(13 / 16)
        # At 12:30 nothing of what came later: 50 kWh less.
        assert past[subject, "", "heat_today_gj"] == pytest.approx(2.70)
        assert past[subject, "", "heat_coverage_today"] == pytest.approx(1)
    assert now["baths", "", "energy_today_kwh"] == pytest.approx(48)
    assert now["baths", "", "coverage_today"] == pytest.approx(6 / 16)
    shares = {key[1]: v for key, v in now.items() if key[2] == "emissions_coverage_today"}
    assert "kgCO2" in shares
    assert all(6 / 16 <= share <= 13 / 16 for share in shares.values())


def test_an_hour_is_measured_or_estimated_and_never_both(services):
    rows = list(hourly_indicators(services.figures("park"), HOURS))
    shown = {(r.subject, r.at, r.quantity): r.value for r in rows if "energy" in r.quantity}

    # Building b was not heard from 12 to 16: its 40 kWh are spread over four hours.
    hours = [at(hour, day=20) for hour in range(11, 18)]
    assert [shown.get(("park/b", h, "energy_estimated")) for h in hours] == [
        None, *[pytest.approx(10)] * 4, None, None,
    ]  # fmt: skip
    assert [shown.get(("park/b", h, "energy_measured")) for h in hours] == [
        pytest.approx(10), *[None] * 4, pytest.approx(10), pytest.approx(10),
    ]  # fmt: skip
    assert {r.about for r in rows if "energy" in r.quantity} == {"electricity:kWh"}


def test_quotas_and_factors_of_a_day_are_written_with_their_verdicts(services):
    rows = daily_indicators(services.figures("park"), date(2024, 3, 28))
    found = by_key(rows)

    # 24 days at 10 kWh an hour, but 6 of them (weekends) at 4, and 12 hours and a half at 12.
    used = (18 * 240 + 6 * 96 + 12.5 * 12) / 100
    assert found["park/a", "a-year", "quota_limit"] == 20
    assert found["park/b", "b-year", "quota_limit"] == 900
    assert found["park/a", "a-year", "quota_used"] == pytest.approx(used)
    assert found["park/a", "a-year", "quota_used_share"] == pytest.approx(used / 20)
    verdict = next(r for r in rows if (r.about, r.quantity) == ("a-year", "quota_verdict"))
    assert verdict.value == 2
    assert verdict.text.startswith("exceeded: ")
    assert any(r.quantity == "factor" and "kgCO2" in r.text for r in rows)
    assert [r.text for r in rows if r.quantity == "timezone"] == ["Asia/Shanghai"]
    names = {r.subject: r.text for r in rows if r.quantity == "building_name"}
    assert names == {f"park/{b.id}": b.name for b in services.figures("park").site.buildings}
    assert "park/b" in names
    (zone,) = (r.text for r in daily_indicators(services.figures("mews"), date(2024, 3, 28))
               if r.quantity == "timezone")  # fmt: skip
    assert zone == "Europe/London"
    assert {r.at for r in rows} == {datetime(2024, 3, 28, tzinfo=SHANGHAI)}


def test_the_platform_says_how_it_is_and_events_are_marked_where_they_were_noted(services):
    now = services.now()
    noted = Noted("park/b-lift", at(8), Finding("meter.silent", "It is silent."), now)
    services.ledger.note([noted])

    found = by_key(platform_indicators(services, now))
    assert found["tanyuan/up", "", "lag_messages"] == 0
    assert found["tanyuan/up", "", "store_up"] == found["tanyuan/up", "", "ledger_up"] == 1
    assert found["park", "meter.silent", "findings_day"] == 1
    assert found["park", "all", "findings_day"] == 1
    assert found["mews", "all", "findings_day"] == 0
    events = event_indicators(services, since=None)
    assert [(e.subject, e.about, e.at, e.text) for e in events if e.about == "meter.silent"] == [
        ("park/b-lift", "meter.silent", now, "It is silent.")
    ]
    assert {e.subject for e in events if e.about == "site.changed"} == {"park", "mews"}
    assert event_indicators(services, since=now + timedelta(seconds=1)) == []


def test_lag_is_not_known_while_a_journal_does_not_answer(services):
    services.line.shared = True
    stopped = Place("c-stopped", "http://127.0.0.1:1", "collect", 0, stopped=True)
    services.ledger.put("journal/c-stopped", stopped.text())
    before = by_key(platform_indicators(services, services.now()))

    dead = Place("c-dead", "http://127.0.0.1:1", "collect", 10)
    services.ledger.put("journal/c-dead", dead.text())
    found = by_key(platform_indicators(services, services.now()))

    # One that ended in order holds no more than it said; nobody knows what a dead one holds.
    assert before["tanyuan/up", "", "lag_s"] == 0
    assert before["tanyuan/up", "", "journals_silent"] == 0
    assert before["tanyuan/up", "c-stopped", "journal_answers"] == 1
    assert ("tanyuan/up", "", "lag_s") not in found
    assert found["tanyuan/up", "", "journals_silent"] == 1
    assert found["tanyuan/up", "c-stopped", "journal_answers"] == 1
    assert found["tanyuan/up", "c-dead", "journal_answers"] == 0
    assert found["tanyuan/up", "", "lag_messages"] == 10
    assert found["tanyuan/up", services.journal.journal_id, "journal_answers"] == 1


def test_what_happens_to_a_journal_happens_to_the_platform_and_not_to_a_site(services):
    now = services.now()
    damaged = Finding("journal.damaged", "Messages 8 to 9 cannot be read.")
    for subject in ("0a1b2c3d/8", "0a1b2c3d", "park/b-lift"):
        services.ledger.note([Noted(subject, at(8), damaged, now)])
    run = services.ledger.start_job("quotas.daily", HOURS, at=now)
    services.ledger.end_job(run, at=now, failed="No disk.")

    events = event_indicators(services, since=None)
    kinds = ("journal.damaged", "job.failed")

    assert {(e.subject, e.about) for e in events if e.about in kinds} == {
        ("tanyuan/0a1b2c3d/8", "journal.damaged"),
        ("tanyuan/0a1b2c3d", "journal.damaged"),
        ("park/b-lift", "journal.damaged"),
        ("park", "job.failed"),
        ("mews", "job.failed"),
        ("tanyuan/up", "job.failed"),
    }


def test_hours_are_written_once_made_and_what_they_were_before_is_gone(services, tmp_path):
    writer = IndicatorWriter(services)
    services.recompute.on_made = writer.made
    writer.flush(at(12, 30))
    assert shown_at(services, 13) == {("energy_estimated", 10.0)}

    import_late(services, tmp_path)
    assert services.catch_up() is None
    writer.flush(at(12, 30))

    # 2 × 6, 2 × 4, 2 × 5 kWh until 15:00.
    assert shown_at(services, 12) == {("energy_measured", 12.0)}
    assert shown_at(services, 13) == {("energy_measured", 8.0)}
    assert shown_at(services, 14) == {("energy_measured", 10.0)}


def test_a_ledger_that_is_away_is_said_and_what_needs_none_is_written_all_the_same(
    services, monkeypatch
):
    def no_ledger(*_, **__):
        raise LedgerUnavailable("It is away.")

    calls = ("check", "count_dirty", "quarantine_counts", "job_runs", "findings", "notes", "get",
             "swap", "dirty", "position", "site_versions")  # fmt: skip
    now = services.now()
    writer = IndicatorWriter(services)
    with monkeypatch.context() as broken:
        for name in calls:
            broken.setattr(type(services.ledger), name, no_ledger)
        found = by_key(platform_indicators(services, now))
        with pytest.raises(LedgerUnavailable):
            writer._turn()

    assert found["tanyuan/up", "", "ledger_up"] == 0
    assert found["tanyuan/up", "", "store_up"] == 1
    assert found["tanyuan/up", "", "disk_free_bytes"] > 0
    journal = services.journal.health().journal_id
    assert found["tanyuan/up", journal, "journal_messages"] == services.journal.last_sequence
    absent = {"dirty_ranges", "quarantine_open", "job_age_s", "findings_day"}
    assert absent & {quantity for _, _, quantity in found} == set()
    written = services.store.indicators(
        Period(full_minute(now), now + timedelta(minutes=5)),
        quantities=["ledger_up", "meters_total"],
    )
    assert {(row.subject, row.value) for row in written} == {
        ("tanyuan/up", 0.0), ("park", 4.0), ("mews", 1.0),
    }  # fmt: skip


def test_what_is_written_every_minute_bears_the_full_minute_and_ages_full_seconds(services):
    at_once = at(12, 30) + timedelta(seconds=17, microseconds=4)

    rows = live_indicators(services.figures("park"), at_once)
    rows += platform_indicators(services, at_once)

    assert {row.at for row in rows} == {at(12, 30)}
    ages = {row.about: row.value for row in rows if row.quantity == "meter_age_s"}
    # E1 was last read at 12:30, E9 on 25 March at 08:30
    assert ages["E1"] == 17
    assert ages["E9"] == 3 * 86_400 + 4 * 3600 + 17


def test_findings_of_years_are_not_read_for_those_of_a_day(services, monkeypatch):
    now = services.now()
    old = Noted("park/b-lift", at(8), Finding("meter.gap", "Old."), now - timedelta(days=400))
    new = Noted("park/b-lift", at(9), Finding("meter.gap", "New."), now - timedelta(hours=3))
    services.ledger.note([old, new])
    given, asked = type(services.ledger).findings, []

    def counted(self, **options):
        found = given(self, **options)
        asked.append([n.finding.message for n in found if n.finding.code == "meter.gap"])
        return found

    monkeypatch.setattr(type(services.ledger), "findings", counted)
    found = by_key(platform_indicators(services, now))
    event_indicators(services, since=now - timedelta(days=1))

    assert found["park", "meter.gap", "findings_day"] == 1
    assert asked == [["New."], ["New."]]


def import_late(services, tmp_path):
    """The registers of building b between 12 and 16 come after all: 8 kWh from 13 to 14."""
    e2 = 500.0 + 5 * (16 * 24 + 12)
    late = [("E2", "active_import", at(h, day=20).isoformat(), e2 + plus)
            for h, plus in ((13, 6), (14, 10), (15, 15))]  # fmt: skip
    file = write_readings(tmp_path / "late.csv", late)
    import_file(file, services.journal, sites=["park"], received_at=services.now())


def shown_at(services, hour):
    span = Period(at(hour, day=20), at(hour + 1, day=20))
    names = ("energy_measured", "energy_estimated")
    rows = services.store.indicators(span, subjects=["park/b"], quantities=names)
    return {(r.quantity, round(r.value, 6)) for r in rows}


def test_hours_that_were_made_before_a_crash_are_written_by_who_comes_next(services, tmp_path):
    dead = IndicatorWriter(services)
    services.recompute.on_made = dead.made
    dead.flush(at(12, 30))
    import_late(services, tmp_path)
    assert services.catch_up() is None
    assert services.ledger.count_dirty() == 0
    assert shown_at(services, 13) == {("energy_estimated", 10.0)}

    # The process that made them is killed before it wrote them; another one leads now.
    IndicatorWriter(services).flush(at(12, 30))

    assert shown_at(services, 13) == {("energy_measured", 8.0)}


def test_a_piece_that_was_begun_before_a_crash_is_written_again(services, tmp_path, monkeypatch):
    dead = IndicatorWriter(services)
    services.recompute.on_made = dead.made
    dead.flush(at(12, 30))
    import_late(services, tmp_path)
    assert services.catch_up() is None
    with monkeypatch.context() as broken:
        broken.setattr(services.store, "put_indicators", away)
        with pytest.raises(StoreUnavailable):
            dead.flush(at(12, 30))

    IndicatorWriter(services).flush(at(12, 30))

    assert shown_at(services, 13) == {("energy_measured", 8.0)}


def away(*_, **__):
    raise StoreUnavailable("It is away.")


def test_the_first_fill_of_a_store_goes_on_after_a_crash(services, monkeypatch):
    with monkeypatch.context() as broken:
        broken.setattr(services.store, "put_indicators", away)
        with pytest.raises(StoreUnavailable):
            IndicatorWriter(services).flush(at(12, 30))

    IndicatorWriter(services).flush(at(12, 30))

    ever = Period(datetime(2000, 1, 1, tzinfo=UTC), services.now())
    written = services.store.indicators(ever, subjects=["park/a"], quantities=["energy_measured"])
    assert len(written) == 24 * 24 + 12


def test_a_ledger_that_is_away_makes_the_round_fail_and_its_hours_are_made_again(
    services, monkeypatch
):
    writer = IndicatorWriter(services)
    services.recompute.on_made = writer.made
    writer.flush(at(12, 30))
    services.ledger.mark_dirty([("park/E2", Period(at(16, day=20), at(17, day=20)))])

    def no_ledger(*_, **__):
        raise LedgerUnavailable("It is away.")

    with monkeypatch.context() as broken:
        broken.setattr(type(services.ledger), "swap", no_ledger)
        with pytest.raises(LedgerUnavailable):
            services.recompute.work_off()
    assert services.ledger.count_dirty() == 1

    services.recompute.work_off()
    assert services.ledger.count_dirty() == 0
    noted = PendingHours(services.ledger, lambda: services.store.store_id).take("park")
    assert noted is not None
    assert noted.start <= at(16, day=20) < noted.end


def test_what_is_made_again_while_it_is_written_stays_pending(services):
    mine, others = (PendingHours(services.ledger, lambda: "s") for _ in range(2))
    mine.add("park", [hours(0, 5)])
    assert mine.take("park") == hours(0, 5)
    others.add("park", [hours(3, 4)])
    mine.written("park", hours(0, 5))
    assert mine.take("park") == hours(3, 4)
    mine.written("park", hours(3, 4))
    assert mine.take("park") is None
    assert services.ledger.notes("pending_hours.s.") == {}


def test_what_another_took_and_did_not_finish_is_taken_again(services):
    dead, mine = (PendingHours(services.ledger, lambda: "s") for _ in range(2))
    dead.add("park", [hours(0, 24 * 40)])
    assert dead.take("park") == hours(0, 24 * 31)
    assert mine.take("park") == hours(0, 24 * 31)
    dead.written("park", hours(0, 24 * 31))  # it was only slow: what is taken since is not its own
    assert mine.take("park") == hours(0, 24 * 31)
    mine.written("park", hours(0, 24 * 31))
    assert mine.take("park") == hours(24 * 31, 24 * 40)


def test_the_thread_writes_by_itself_and_ends_in_order(services):
    writer = IndicatorWriter(services)
    writer.start()
    writer.stop()
    ever = Period(datetime(2000, 1, 1, tzinfo=UTC), services.now() + timedelta(days=1))
    written = services.store.indicators(ever, quantities=["energy_measured", "meters_total"])
    # All 24.5 days, of which half an hour shows as estimated; made before the writer was there.
    assert len(
        [r for r in written if r.quantity == "energy_measured" and r.subject == "park/a"]
    ) == (24 * 24 + 12)
    assert {r.value for r in written if r.quantity == "meters_total" and r.subject == "park"} == {4}
    assert writer.last_error == ""


def test_a_meter_whose_clock_was_wrong_does_not_spread_hours_over_decades(services, tmp_path):
    # The clock of E1 stood at the Unix epoch once, and far ahead another time.
    wrong = [("E1", "active_import", time, 1.0) for time in ("1970-01-01T00:00:00Z", AHEAD)]
    file = write_readings(tmp_path / "wrong.csv", wrong)
    import_file(file, services.journal, sites=["park"], received_at=services.now())
    assert services.catch_up() is None
    spans = {each.meter: (each.first_read_at, each.last_read_at)
             for each in services.store.summaries()}  # fmt: skip
    first, last = spans["park/E1"]
    assert first.year == 1970
    assert last.year == 2105

    IndicatorWriter(services).flush(at(12, 30))

    ever = Period(datetime(1970, 1, 1, tzinfo=UTC), datetime(2110, 1, 1, tzinfo=UTC))
    shares = services.store.indicators(ever, subjects=["park"], quantities=["coverage"])
    # The readings begin on 1 March and end on the 25th, at a park in Shanghai; hours are written
    # 31 days at a time, from the first of January 2000 on.
    assert {row.at.year for row in shares} == {2024}
    assert len(shares) <= 2 * 31 * 24
    assert max(row.value for row in shares) > 0


def test_what_panels_read_is_in_influxdb_as_documented(services, tmp_path):
    store = open_in(tmp_path / "influx")
    rows = live_indicators(services.figures("park"), at(12, 30))
    store.put_indicators(rows)
    flux = (
        f'from(bucket: "{store._buckets.derived}")\n'
        "  |> range(start: 2024-03-28T00:00:00Z, stop: 2024-03-29T00:00:00Z)\n"
        '  |> filter(fn: (r) => r._measurement == "indicator" and r.site == "park")\n'
        '  |> filter(fn: (r) => r.subject == "park" and r.quantity == "power_kw")\n'
        '  |> filter(fn: (r) => r._field == "value" and r.about == "-")\n'
    )
    found = store._influx.query(flux)
    assert found.column("_value").to_pylist() == [pytest.approx(122)]
    assert flux_query_names()
    store.close()


def hours(first, last):
    start = datetime(2024, 1, 1, tzinfo=UTC)
    return Period(start + timedelta(hours=first), start + timedelta(hours=last))


def test_spans_that_lie_near_are_one_and_what_is_written_is_cut_out():
    assert together([hours(100, 101), hours(0, 1), hours(10, 12), hours(0, 5)]) == [
        hours(0, 12), hours(100, 101),
    ]  # fmt: skip
    assert without(hours(0, 10), hours(0, 10)) == []
    assert without(hours(0, 10), hours(0, 4)) == [hours(4, 10)]
    assert without(hours(0, 10), hours(3, 4)) == [hours(0, 3), hours(4, 10)]
    assert without(hours(0, 10), hours(10, 12)) == [hours(0, 10)]


def test_hours_that_a_command_made_again_are_written_by_the_next_process(tmp_path):
    home = make_sites(tmp_path / "home")
    settings = load_settings(home, environ={"TANYUAN_INDICATORS": "on"})
    with open_services(settings) as command:  # it writes no indicators itself
        import_file(park_readings(tmp_path / "park.csv"), command.journal, sites=["park"],
                    received_at=datetime(2024, 4, 2, tzinfo=UTC))  # fmt: skip
        assert command.catch_up() is None
        IndicatorWriter(command).flush(at(12, 30))
        e2 = 500.0 + 5 * (16 * 24 + 12)
        late = [("E2", "active_import", at(13, day=20).isoformat(), e2 + 6)]
        file = write_readings(tmp_path / "late.csv", late)
        import_file(file, command.journal, sites=["park"], received_at=command.now())
        assert command.catch_up() is None
    with open_services(settings) as later:
        IndicatorWriter(later).flush(at(12, 30))
        hour = Period(at(12, day=20), at(13, day=20))
        (row,) = later.store.indicators(hour, subjects=["park/b"], quantities=["energy_measured"])
        assert row.value == pytest.approx(12.0)  # twice the 6 kWh that E2 now shows
