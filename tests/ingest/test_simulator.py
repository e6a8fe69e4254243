"""The made-up park: its registers against hand-worked counts, its messages against its truth."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from threading import Event, Thread
from zoneinfo import ZoneInfo

import numpy as np
import orjson
import pytest

from ingest.context import Context
from ingest.decoding import decode_batch
from ingest.journal_records import Record
from ingest.listener import Listener, ListenerSettings
from ingest.profiles import load_profiles
from ingest.publisher import Broker
from ingest.simulated_faults import (
    ClockError,
    DeadMeter,
    Garbage,
    Glitch,
    MeterExchange,
    Outage,
    UnknownFault,
)
from ingest.simulated_loads import UnknownShape, generator, load_of
from ingest.simulated_messages import CYCLE, BeforeTheYear
from ingest.simulated_registers import Signal, run_of, unmetered_of
from ingest.simulated_truth import NoTruth
from ingest.simulator import play_live, simulate, site_file
from metering.meter_points import Fixture, Meter, MeterPoint
from metering.periods import Period
from metering.pipeline import rows_of, streams_of
from metering.readings import Flag, Readings
from metering.site_checks import check_site
from metering.site_files import load_site
from metering.store.memory import MemoryStore
from metering.units import REGISTERS

BEIJING = ZoneInfo("Asia/Shanghai")
HOUR = Period(datetime(2023, 1, 1, tzinfo=UTC), datetime(2023, 1, 1, 2, tzinfo=UTC))
"""Two hours: 8 steps, 9 instants."""

DAYS = [("03-07", "03-11"), ("05-16", "05-19"), ("06-14", "06-15"), ("07-19", "07-20"),
        ("08-20", "08-21"), ("09-12", "09-13"), ("10-11", "10-11"), ("11-20", "11-21"),
        ("12-03", "12-04")]  # fmt: skip
"""The days around the faults of the demonstration; and the ends of the year."""


@pytest.fixture(scope="module")
def year():
    return simulate()


@pytest.fixture(scope="module")
def sent(year):
    """Every message of the year, as short as it can be kept: topic, hash; and those of DAYS."""
    keys, near_faults = [], []
    wanted = {"2023-01-01", "2023-12-31", "2024-01-01"}
    for first, last in DAYS:
        day, end = (date.fromisoformat(f"2023-{each}") for each in (first, last))
        while day <= end:
            wanted.add(day.isoformat())
            day += timedelta(days=1)
    for message in year.messages():
        keys.append(hash(message))
        at = re.search(rb'"at":"(.{10})', message.payload)
        if at is None or at[1].decode() in wanted or not at[1].startswith(b"202"):
            near_faults.append(message)
    return keys, near_faults


@pytest.fixture(scope="module")
def kept(year, sent):
    """What a store and the quarantine hold after the messages of DAYS came."""
    arrived = round(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1e6)
    records = [
        Record(number, arrived, message.topic, message.payload, "test", "test")
        for number, message in enumerate(sent[1], start=1)
    ]
    context = Context.of([year.park.site], load_profiles())
    batches = [
        decode_batch(records[low : low + 5000], context, journal="j")
        for low in range(0, len(records), 5000)
    ]
    store = MemoryStore()
    store.add(Readings.concat([batch.readings for batch in batches]))
    return store, [entry for batch in batches for entry in batch.rejected]


def steady_run(meter, *, per_step=12.0, period=HOUR, register="active_import", **options):
    """A register of a meter through which 12 kWh flow in each quarter hour."""
    steps = round(period.seconds / 900)
    point = MeterPoint("SIM-p", "electricity", "sub", (meter,))
    signal = Signal(register, np.full(steps, per_step))
    return run_of(signal, point, meter, period, seed=1, **options)


# -- the park ---------------------------------------------------------------------------------


def test_everything_in_the_park_says_that_it_is_simulated():
    site = load_site(site_file(), file="park.yaml")

    ids = [site.id, *(b.id for b in site.buildings), *(q.id for q in site.quotas)]
    ids += [p.id for p in site.all_points()]
    assert "simulated" in site.name
    assert "模拟" in site.name
    assert [each for each in (*ids, *site.serials) if not each.startswith("SIM")] == []
    assert all("模拟" in (p.name or "") for p in site.all_points())


def test_the_park_has_more_than_40_meters_and_no_finding():
    site = load_site(site_file(), file="park.yaml")

    assert len(site.serials) == 49
    assert {p.carrier for p in site.all_points()} == {
        "electricity", "heat", "gas", "water", "temperature",
    }  # fmt: skip
    assert check_site(site) == []


def test_2023_has_249_working_days(year):
    # 365 days - 105 of weekends = 260; - 18 weekdays of holidays (1 + 5 + 1 + 3 + 2 + 6) + 7 days
    # worked for them = 249
    assert year.park.around.working.sum() == 249 * 96


def test_photovoltaics_makes_nothing_at_night_and_most_around_noon(year):
    run = next(r for r in year.park.runs if r.serial == "SIM-E02" and r.cumulative)
    by_hour = np.diff(run.counts).reshape(365, 24, 4).sum(axis=(0, 2))

    assert by_hour[:4].sum() == 0
    assert by_hour[21:].sum() == 0
    assert by_hour.argmax() in (11, 12)


def test_heat_flows_in_the_heating_season_alone(year):
    months = year.truth.months("SIM-a-heat", "heat")

    # the season is 15 November to 15 March
    assert months[3:10] == [0.0] * 7
    assert min(months[0], months[1], months[2], months[10], months[11]) > 10_000


def test_a_main_is_its_sub_meters_plus_a_rest_nobody_meters(year):
    # loads.yaml: rest of b-main 0.03 × what its subs use + 1.5 kW, 8760 h long; for 40 min of the
    # exchange nothing was metered. Registers end in whole counts: 120 × 0.01 kWh and less each.
    truth = year.truth
    subs = ("SIM-b-lighting", "SIM-b-chiller", "SIM-b-lifts", "SIM-b-servers")
    used = sum(truth.point_used(sub) for sub in subs)

    unmetered = truth.unmetered["SIM-b-main", "active_import"]
    assert truth.point_used("SIM-b-main") + unmetered == pytest.approx(
        used * 1.03 + 1.5 * 8760, abs=5.0
    )


def test_the_park_uses_what_its_mains_import_and_its_roofs_make(year):
    truth = year.truth
    months = [truth.used("electricity", None, each) for each in truth.intervals("month")]

    assert truth.used("electricity") == pytest.approx(
        truth.amount("SIM-grid", "active_import")
        - truth.amount("SIM-grid", "active_export")
        + truth.amount("SIM-pv-carport", "active_export")
        + truth.amount("SIM-a-pv", "active_export"),
        rel=1e-12,
    )
    assert sum(months) == pytest.approx(truth.used("electricity"), rel=1e-12)


def test_gas_of_the_park_is_metered_volume_at_its_calorific_value(year):
    # 35.5 MJ/m³ / 3.6 = 9.8611 kWh/m³
    volume_m3 = year.truth.amount("SIM-gas", "gas_volume")

    assert year.truth.used("gas") == pytest.approx(volume_m3 * 35.5 / 3.6)


def test_heat_is_the_water_between_supply_and_return(year):
    truth = year.truth
    supply, back = (
        truth.amount("SIM-b-heat", f"volume_{each}_temperature") for each in ("supply", "return")
    )

    # 1.163 kWh per m³ and kelvin; a count is 1 m³·°C at each end of each register
    assert truth.amount("SIM-b-heat", "heat") == pytest.approx(1.163 * (supply - back), abs=2.5)


def test_one_building_is_within_its_quota_one_at_risk_one_exceeds_it(year):
    truth, site = year.truth, year.park.site
    to_october = Period(truth.period.start, datetime(2023, 10, 1, tzinfo=BEIJING).astimezone(UTC))
    share = {}
    for quota in site.quotas[:3]:
        limit_kwh = quota.limit * site.building(quota.subject).area_m2.values[0].value
        share[quota.subject] = [
            truth.used("electricity", quota.subject, span) / limit_kwh
            for span in (to_october, truth.period)
        ]

    # 273 of 365 days have gone by on 1 October: 74.8 %
    assert share["SIM-office-a"][0] < 0.748
    assert share["SIM-office-a"][1] < 0.95
    assert share["SIM-hotel"][0] > 0.748 + 0.03
    assert 0.95 < share["SIM-hotel"][1] < 1.0
    assert share["SIM-office-b"][0] > 1.0


# -- registers --------------------------------------------------------------------------------


def test_a_register_counts_before_its_multiplier_and_in_whole_counts():
    # 12 kWh / 40 = 0.3 a step; with one digit after the point 3 counts of 0.1
    run = steady_run(Meter("SIM-1", "native", multiplier=40))

    assert np.diff(run.counts).tolist() == [30] * 8
    assert np.diff(run.shown(0, 3)).tolist() == pytest.approx([0.3, 0.3])
    # two steps: 60 counts × 0.01 × 40 = 24 kWh
    assert run.amount(run.advance(0, 2)) == pytest.approx(24.0)


def test_what_is_less_than_a_count_waits_for_the_next_step():
    # 12 kWh / 1000 = 0.012 a step; 0.01 is shown after 1, 0.02 after 2, 0.03 after 3, 0.04 after 4,
    # and 0.06 after 5
    run = steady_run(Meter("SIM-1", "native", multiplier=1000))

    assert (run.counts - run.counts[0]).tolist() == [0, 1, 2, 3, 4, 6, 7, 8, 9]


def test_an_exchange_ends_and_begins_at_the_recorded_values():
    # 12 kWh a step, multiplier 40: 0.3 a step. Out after 3 steps, at 500.00: 499.10 at the start.
    # In 40 min later, after 5 2/3 steps, at 0: a third of a step is 0.1, then 0.3 a step.
    start = HOUR.start
    out = Fixture(start + timedelta(minutes=45), {"active_import": 500.0})
    back = Fixture(start + timedelta(minutes=85), {"active_import": 0.0})
    old = Meter("SIM-1", "native", multiplier=40, removed=out)
    new = Meter("SIM-2", "native", multiplier=40, installed=back)

    first, second = steady_run(old), steady_run(new)

    assert first.shown(0, 4).tolist() == pytest.approx([499.1, 499.4, 499.7, 500.0])
    assert (first.first, first.last, second.first, second.last) == (0, 3, 6, 8)
    assert second.shown(6, 9).tolist() == pytest.approx([0.1, 0.4, 0.7])
    # the third of a step from the exchange on belongs to the new meter: 0.1 × 40
    assert second.amount(second.advance(0, 6)) == pytest.approx(4.0)


def test_what_flows_while_no_meter_is_there_is_unmetered():
    # 40 min = 2 2/3 steps × 12 kWh = 32 kWh
    out = Fixture(HOUR.start + timedelta(minutes=45), {})
    back = Fixture(HOUR.start + timedelta(minutes=85), {})
    meters = (Meter("SIM-1", "native", removed=out), Meter("SIM-2", "native", installed=back))
    point = MeterPoint("SIM-p", "electricity", "sub", meters)

    lost = unmetered_of(Signal("active_import", np.full(8, 12.0)), point, HOUR)

    assert lost == pytest.approx(32.0)


def test_an_ordered_rollover_happens_in_its_quarter_hour():
    # 0.3 a step: the capacity of 1000 lies in the middle of the fifth step, 0.15 after its start
    meter = Meter("SIM-1", "native", multiplier=40, capacity=1000.0)

    run = steady_run(meter, rolls_over=HOUR.start + timedelta(hours=1))

    assert run.shown(0, 9).tolist() == pytest.approx(
        [998.65, 998.95, 999.25, 999.55, 999.85, 0.15, 0.45, 0.75, 1.05]
    )
    # 8 steps × 12 kWh: the rollover loses nothing
    assert run.amount(run.advance(0, 8)) == pytest.approx(96.0)


def test_a_meter_in_another_unit_counts_in_it():
    # 12 kWh = 0.012 MWh a step; with three digits 12 counts; the capacity of 1 000 kWh is 1 MWh
    point = MeterPoint("SIM-p", "heat", "main")
    meter = Meter("SIM-1", "native", capacity={"heat": 1000.0})
    signal = Signal("heat", np.full(8, 12.0), 3, "MWh")

    run = run_of(signal, point, meter, HOUR, seed=1)

    assert np.diff(run.counts).tolist() == [12] * 8
    assert run.capacity == 1000
    assert run.amount(run.advance(0, 8)) == pytest.approx(96.0)


def test_truth_is_asked_for_whole_quarter_hours_of_the_year(year):
    start = year.truth.period.start

    with pytest.raises(NoTruth, match="quarter hour"):
        year.truth.amount("SIM-grid", "active_import", Period(start, start + timedelta(minutes=20)))
    with pytest.raises(NoTruth, match=r"no register|No register 'heat'"):
        year.truth.amount("SIM-grid", "heat")


def test_a_load_of_an_unknown_shape_is_refused(year):
    rng = generator(1, "x")

    with pytest.raises(UnknownShape, match="office"):
        load_of([{"shape": "ofice", "base": 1}], year.park.around, rng)
    with pytest.raises(UnknownShape, match="peek"):
        load_of([{"shape": "solar", "peek": 1}], year.park.around, rng)


# -- messages ---------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(year):
    first = list(islice(year.messages(), 300))

    assert list(islice(simulate().messages(), 300)) == first
    assert list(islice(simulate(seed=7).messages(), 300)) != first


def test_the_year_has_as_many_messages_as_it_says(year, sent):
    # 4 gateways each quarter hour: 4 × 35 041 = 140 164; 2 each hour: 2 × 8 761 = 17 522;
    # 192 are lost with the hotel's gateway (48 h); 7 are garbage; about 1.5 % come twice
    keys, _ = sent
    plain = 140_164 + 17_522 - 192

    assert len(set(keys)) == plain + 7
    assert len(keys) == year.count.messages
    assert plain * 1.014 < len(keys) < plain * 1.016


def test_a_gateway_sends_the_readings_of_one_instant_together(year):
    message = next(m for m in year.messages() if "SIM-gw-heat" in m.topic)
    readings = orjson.loads(message.payload)["readings"]

    assert message.topic == "tanyuan/SIM-park/SIM-gw-heat/readings"
    assert [r["meter"] for r in readings] == ["SIM-H01", "SIM-T01", "SIM-H02", "SIM-H03", "SIM-H04"]
    assert {r["at"] for r in readings} == {"2023-01-01T00:00:00+08:00"}
    assert readings[0]["units"] == {"heat": "MWh"}
    assert all(set(r["registers"]) <= set(REGISTERS) for r in readings)


def test_readings_come_out_of_order_and_twice(sent):
    _, near_faults = sent
    times = [
        re.search(rb'"at":"2023-01-01T(.{5})', m.payload)[1]
        for m in near_faults[:500]
        if b'"at":"2023-01-01' in m.payload
    ]
    again = len(near_faults) - len(set(near_faults))

    assert times != sorted(times)
    assert again > 50


def test_what_was_held_back_comes_in_one_burst_after_newer_readings(sent):
    _, near_faults = sent
    times = [
        re.search(rb'"at":"(.{16})', m.payload)[1].decode()
        for m in near_faults
        if "SIM-gw-offices" in m.topic and b'"at":"2023-03-' in m.payload
    ]

    first_after = times.index("2023-03-10T10:00")
    # 72 h × 4 messages; a few are overtaken or come twice
    burst = [t for t in times[first_after + 1 : first_after + 300] if t < "2023-03-10T10:00"]
    assert min(burst) == "2023-03-07T10:00"
    assert len(set(burst)) > 270
    assert not [t for t in times[:first_after] if "2023-03-07T10:00" <= t < "2023-03-10T10:00"]


def test_a_dead_meter_is_missing_from_its_message_and_its_neighbours_are_not(sent):
    _, near_faults = sent
    of_gateway = [
        {r["meter"] for r in orjson.loads(m.payload)["readings"]}
        for m in near_faults
        if "SIM-gw-park" in m.topic and b'"at":"2023-12-04T12:00' in m.payload
    ]

    assert len(of_gateway[0]) == 8
    assert "SIM-E34" not in of_gateway[0]


# -- faults: no kWh is lost ---------------------------------------------------------------------


def answered(site, store, point_id, period):
    """What the platform answers for a point over days, computed from the readings it has."""
    point = site.point(point_id)
    register, ratio = {
        "electricity": ("active_export" if point.role == "generation" else "active_import", 1.0),
        "heat": ("heat", 1.0),
    }[point.carrier]
    meters = [site.meter_key(meter.serial) for meter in point.meters]
    near = store.read(period, meters=meters, registers=[register], before=24, after=24)
    (rows,) = rows_of(site, streams_of(site, [point], near), period, "day")
    return float(np.nansum(rows.value)) * ratio, rows


KINDS = [
    "outage_backfilled", "outage_lost", "meter_exchange", "glitch", "rollover", "clock_error",
    "dead_meter", "disorder",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_the_fault_loses_no_kwh_against_the_known_truth(kind, year, kept):
    store, _ = kept
    reports = [report for report in year.reports if report.kind == kind]

    got = {
        point: answered(year.park.site, store, point, report.check)[0]
        for report in reports
        for point in report.expected
    }

    expected = {p: kwh for report in reports for p, kwh in report.expected.items()}
    assert len(expected) > 0
    assert got == pytest.approx(expected, abs=1e-6)


def test_the_report_of_an_outage_names_its_13_meters_and_the_days_around_it(year):
    report = year.reports[0]

    # the gateway reads 15 meters; E13 and E14 are at one point
    assert (report.kind, len(report.points)) == ("outage_backfilled", 13)
    assert "72 h" in report.what
    assert str(report.check) == "2023-03-06T16:00:00Z/2023-03-10T16:00:00Z"


def test_the_dark_minutes_of_the_exchange_are_in_no_answer(year, kept):
    report = next(r for r in year.reports if r.kind == "meter_exchange")
    _, rows = answered(year.park.site, kept[0], "SIM-b-main", report.check)

    # 40 of 1440 minutes
    assert rows.coverage.tolist() == pytest.approx([1 - 40 / 1440])
    assert report.unmetered["SIM-b-main"] == pytest.approx(
        year.truth.unmetered["SIM-b-main", "active_import"]
    )
    assert 40 / 60 * 50 < report.unmetered["SIM-b-main"] < 40 / 60 * 700


def test_readings_with_a_wrong_clock_are_kept_and_flagged(kept):
    store, _ = kept
    far = Period(datetime(2100, 1, 1, tzinfo=UTC), datetime(2110, 1, 1, tzinfo=UTC))
    long_ago = Period(datetime(1970, 1, 1, tzinfo=UTC), datetime(1971, 1, 1, tzinfo=UTC))

    in_2106 = store.read(far, registers=["active_import"])
    in_1970 = store.read(long_ago, registers=["heat"])

    # 6 h: 24 quarter hours × 5 meters of the data room; 6 hours × 4 heat meters
    assert (len(in_2106), len(in_1970)) == (120, 24)
    assert (in_2106.flags & Flag.CLOCK).all()
    assert (in_1970.flags & Flag.CLOCK).all()


def test_garbage_ends_in_quarantine_under_the_codes_that_were_announced(year, kept):
    _, rejected = kept
    report = next(r for r in year.reports if r.kind == "garbage")

    assert sorted(entry.code for entry in rejected) == sorted(report.quarantined)
    assert sum(report.quarantined.values()) == 7


@pytest.mark.parametrize(
    "fault",
    [
        Outage("SIM-gw-cellar", HOUR.start, HOUR.end, backfilled=True),
        ClockError("SIM-gw-cellar", HOUR.start, HOUR.end, HOUR.start),
        Garbage("SIM-gw-cellar", HOUR.start),
        Glitch("SIM-X1", "active_import", HOUR.start, 1.0),
        DeadMeter("SIM-X1", HOUR.start),
        MeterExchange("SIM-grid"),
    ],
    ids=lambda fault: type(fault).__name__,
)
def test_a_fault_of_something_the_park_has_not_is_refused(fault):
    with pytest.raises(UnknownFault, match="SIM-"):
        simulate(faults=[fault])


# -- the present --------------------------------------------------------------------------------


def shown(messages):
    return {
        reading["meter"]: reading
        for message in messages
        for reading in orjson.loads(message.payload)["readings"]
    }


def test_the_present_goes_on_from_the_end_of_the_year(year):
    end = shown(year.live(year.truth.period.end))
    run = next(r for r in year.park.runs if r.serial == "SIM-E05" and r.cumulative)

    assert end["SIM-E05"]["at"] == "2024-01-01T00:00:00+08:00"
    assert end["SIM-E05"]["registers"]["active_import"] == pytest.approx(run.counts[-1] / 100)


def test_52_weeks_later_the_register_has_counted_the_last_52_weeks_again(year):
    run = next(r for r in year.park.runs if r.serial == "SIM-E05" and r.cumulative)
    later = shown(year.live(year.truth.period.end + timedelta(weeks=52)))

    lap = run.counts[-1] - run.counts[-1 - CYCLE]
    # the last digit of what had passed may fall either way
    assert later["SIM-E05"]["registers"]["active_import"] == pytest.approx(
        (run.counts[-1] + lap) / 100, abs=0.011
    )


def test_a_meter_installed_in_the_year_lives_through_the_whole_of_it_afterwards(year):
    # 52 weeks after the year the new meter at b-main, multiplier 120, has counted what the point
    # used in all of it but 1 January (Sunday), though it saw only half the year itself
    truth = year.truth
    end = truth.period.end
    now, later = (shown(year.live(end + timedelta(weeks=weeks))) for weeks in (0, 52))
    spans = Period(truth.period.start + timedelta(days=1), end)

    used = truth.point_used("SIM-b-main", spans) + truth.unmetered["SIM-b-main", "active_import"]
    counted = [each["SIM-E14"]["registers"]["active_import"] for each in (now, later)]
    assert (counted[1] - counted[0]) * 120 == pytest.approx(used, abs=5.0)


def test_registers_only_count_up_in_the_present(year):
    now = datetime(2026, 6, 3, 3, 59, 50, tzinfo=UTC)
    before, after = (shown(year.live(now + timedelta(seconds=seconds))) for seconds in (0, 1800))

    advance = {
        serial: after[serial]["registers"]["active_import"] - r["registers"]["active_import"]
        for serial, r in before.items()
        if "active_import" in r["registers"]
    }
    assert min(advance.values()) >= 0
    assert min(advance[serial] for serial in ("SIM-E05", "SIM-E14", "SIM-E26")) > 0


def test_a_dead_meter_stays_silent_in_the_present_and_the_old_one_gone(year):
    serials = set(shown(year.live(datetime(2026, 6, 3, tzinfo=UTC))))

    assert serials == set(year.park.site.serials) - {"SIM-E34", "SIM-E13"}


def test_the_park_has_no_present_before_its_year(year):
    with pytest.raises(BeforeTheYear, match="2022"):
        list(year.live(datetime(2022, 6, 1, tzinfo=UTC)))


def test_the_present_is_published_until_it_is_told_to_stop(year):
    arrived = []

    class Kept:
        def append(self, messages):
            arrived.extend(messages)
            return range(len(arrived) - len(messages) + 1, len(arrived) + 1)

    listener = Listener(Kept(), ListenerSettings(port=0))
    listener.start()
    stop = Event()
    before = datetime.now(UTC).replace(microsecond=0)
    player = Thread(
        target=play_live,
        args=(Broker(port=listener.port), year),
        kwargs={"stop": stop, "every": timedelta(milliseconds=20)},
    )
    player.start()
    deadline = before + timedelta(seconds=30)
    while len(arrived) < 18 and datetime.now(UTC) < deadline:
        stop.wait(0.01)
    stop.set()
    player.join(10)
    listener.stop()

    # six gateways, again and again
    assert not player.is_alive()
    assert len(arrived) >= 18
    assert len({message.topic for message in arrived[:6]}) == 6
    first = orjson.loads(arrived[0].payload)["readings"][0]["at"]
    assert before <= datetime.fromisoformat(first) <= datetime.now(UTC)
