"""A made-up park as dashboards see it: every indicator, some hours, some readings, up to a moment.

Eight buildings on a working day. One heat meter is silent, two hours are not known, three were
estimated; of one building the power of an hour is not known, of another one 43 % of the day; one
quota is ahead of its pace; one process runs everything.
"""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np

from metering.periods import Period, to_us
from metering.readings import Reading, Readings
from metering.store.indicators import Indicator
from metering.store.port import Span
from tests.metering.store.test_contract import hours

SITE = "park"
BUILDINGS = {"A1": 420.0, "A2": 310.0, "B1": 260.0, "B2": 150.0, "C1": 120.0, "C2": 85.0,
             "D1": 60.0, "D2": 35.0}  # fmt: skip
"""Buildings and their highest power. [kW]"""
NAME_OF_A1 = "Hall | 1号"
"""The others have no name yet."""
SILENT_FOR_AN_HOUR = "B1"
"""Its power is not known from four to three hours before the moment."""
METERS = [f"{building}-{kind}" for building in BUILDINGS for kind in ("power", "heat")]
PROCESS = "tanyuan/up"
CST = timedelta(hours=8)


def fill(store, now: datetime) -> None:
    """Put the park into a store, as it is at a moment."""
    for made in (minutes, hourly, daily, platform, events):
        store.put_indicators(list(made(now)))
    store.add(Readings.of(list(readings(now))))
    fill_hours(store, now)


def shape(at: datetime) -> float:
    """How much of its highest power a building takes, by the clock of Shanghai."""
    local = at + CST
    hour = local.hour + local.minute / 60
    work = 0.35 if local.weekday() >= 5 else 1.0
    return 0.3 + 0.6 * work * math.exp(-(((hour - 14) / 4.5) ** 2)) + 0.03 * math.sin(hour * 5)


def midnight(now: datetime) -> datetime:
    """When the day began in Shanghai."""
    local = now + CST
    return local.replace(hour=0, minute=0, second=0, microsecond=0) - CST


def minutes(now):
    """What is written every minute: here every five, and each of the last ten."""
    moments = [now - timedelta(minutes=5 * i) for i in range(3, 290)]
    for at in sorted([*moments, *(now - timedelta(minutes=i) for i in range(12))]):
        if 400 < (now - at).total_seconds() / 60 < 460:
            continue  # the platform was down for an hour
        passed = (at - midnight(at)).total_seconds() / 3600
        total = {"power_kw": 0.0, "energy_today_kwh": 0.0, "usual_today_kwh": 0.0}
        for name, kw in BUILDINGS.items():
            energy = (
                sum(
                    kw * shape(midnight(at) + timedelta(hours=h)) for h in np.arange(0, passed, 0.5)
                )
                / 2
            )
            row = {
                "power_kw": kw * shape(at),
                "energy_today_kwh": energy,
                "usual_today_kwh": 0.93 * energy,
            }
            silent = name == SILENT_FOR_AN_HOUR and 180 <= (now - at).total_seconds() / 60 < 240
            for quantity, value in row.items():
                if not (silent and quantity == "power_kw"):
                    yield Indicator(f"{SITE}/{name}", "", quantity, at, value)
                    total[quantity] += value
            yield Indicator(f"{SITE}/{name}", "", "power_meters", at, 0.0 if silent else 1.0)
            yield Indicator(f"{SITE}/{name}", "", "power_of", at, 1.0)
            coverage = {"B2": 0.93, "D1": 0.57}.get(name, 1.0)
            yield Indicator(f"{SITE}/{name}", "", "coverage_today", at, coverage)
            yield Indicator(f"{SITE}/{name}", "", "heat_today_gj", at, kw * passed * 0.004)
            yield Indicator(f"{SITE}/{name}", "", "heat_coverage_today", at, 0.99)
            yield Indicator(f"{SITE}/{name}-heat", "", "heat_power_kw", at, kw * 1.3)
            yield Indicator(f"{SITE}/{name}-heat", "", "supply_temperature", at, 61 + 4 * shape(at))
            yield Indicator(f"{SITE}/{name}-heat", "", "return_temperature", at, 41 + 2 * shape(at))
        whole = not 180 <= (now - at).total_seconds() / 60 < 240
        total["power_kw" if whole else "power_partial_kw"] = total.pop("power_kw")
        for quantity, value in total.items():
            yield Indicator(SITE, "", quantity, at, value)
        yield Indicator(SITE, "", "power_meters", at, 8.0 if whole else 7.0)
        yield Indicator(SITE, "", "power_of", at, 8.0)
        yield from _site_now(at, passed, total["energy_today_kwh"])


def _site_now(at, passed, energy):
    yield Indicator(SITE, "", "coverage_today", at, 0.99)
    yield Indicator(SITE, "", "heat_today_gj", at, sum(BUILDINGS.values()) * passed * 0.004)
    yield Indicator(SITE, "", "heat_coverage_today", at, 0.74)
    for about, factor, share in (("kgCO2", 0.58, 0.99), ("kgCO2e", 0.07, 0.74)):
        yield Indicator(SITE, about, "emissions_today", at, energy * factor)
        yield Indicator(SITE, about, "emissions_coverage_today", at, share)
    for quantity, value in (("live", 15), ("total", 16), ("never_heard", 0)):
        yield Indicator(SITE, "", f"meters_{quantity}", at, value)
    yield Indicator(SITE, "", "oldest_age_s", at, 13_320.0)
    for i, meter in enumerate(METERS):
        age = 13_320.0 if meter == "B2-heat" else 20.0 + 31 * i % 840
        yield Indicator(f"{SITE}/{meter}", f"M{1000 + i}", "meter_age_s", at, age)
        silent = float(meter == "B2-heat")
        yield Indicator(f"{SITE}/{meter}", f"M{1000 + i}", "meter_silent", at, silent)
    for code, count in (("all", 4), ("increment.reset", 1), ("reading.conflict", 3)):
        yield Indicator(SITE, code, "findings_day", at, count)


def hourly(now):
    """Hours of ten days: electricity, heat and their emissions."""
    this = now.replace(minute=0, second=0, microsecond=0)
    for i in range(1, 240):
        at = this - timedelta(hours=i)
        if i in (6, 7):
            continue  # nothing is known of them
        sums = {"electricity:kWh": 0.0, "heat:kWh": 0.0, "water:m3": 0.0}
        kind = "energy_estimated" if i in (8, 9, 30) else "energy_measured"
        for name, kw in BUILDINGS.items():
            used = {
                "electricity:kWh": kw * shape(at),
                "heat:kWh": kw * 1.3,
                "water:m3": kw / 90 * shape(at),
            }
            for about, value in used.items():
                sums[about] += value
                yield Indicator(f"{SITE}/{name}", about, kind, at, value)
            yield from _of_hour(f"{SITE}/{name}", at, used, kind)
        for about, value in sums.items():
            yield Indicator(SITE, about, kind, at, value)
        yield from _of_hour(SITE, at, sums, kind)


def _of_hour(subject, at, used, kind):
    share = 0.4 if kind == "energy_estimated" else 1.0
    for about in used:
        yield Indicator(subject, about, "coverage", at, 1.0)
        yield Indicator(subject, about, "measured", at, share)
    power, heat = used["electricity:kWh"], used["heat:kWh"]
    yield Indicator(subject, "2:electricity:kgCO2", "emissions", at, power * 0.58)
    yield Indicator(subject, "2:heat:kgCO2", "emissions", at, heat * 0.0036 * 110)


def daily(now):
    """Quotas and factors of ninety days."""
    quotas = {
        SITE: 1.01,
        f"{SITE}/A1": 1.12,
        f"{SITE}/A2": 0.97,
        f"{SITE}/B1": 1.04,
        f"{SITE}/C1": 0.9,
    }
    for i in range(90):
        at = midnight(now) - timedelta(days=i)
        yield Indicator(SITE, "", "timezone", at, 1.0, "Asia/Shanghai")
        yield Indicator(f"{SITE}/A1", "", "building_name", at, 1.0, NAME_OF_A1)
        expected = (320 - i) / 365
        named = [
            (subject, f"{subject.rpartition('/')[2]}-year", r) for subject, r in quotas.items()
        ]
        for subject, about, ratio in (*named, (f"{SITE}/A1", "A1-heat", 1.09)):
            limit = 2_000_000.0
            verdict, said = (2, "exceeded") if ratio * expected > 1 else (1, "at_risk")
            verdict, said = (verdict, said) if ratio > 1 else (0, "within")
            figures = {
                "used": limit * expected * ratio, "limit": limit, "used_share": expected * ratio,
                "expected_share": expected, "projection": limit * ratio, "coverage": 0.99,
                "projection_low": limit * ratio * 0.97, "projection_high": limit * ratio * 1.03,
            }  # fmt: skip
            for name, value in figures.items():
                yield Indicator(subject, about, f"quota_{name}", at, value)
            text = f"{said}: {ratio:.0%} of the limit at this pace"
            yield Indicator(subject, about, "quota_verdict", at, verdict, text)
        for name, value, text in (
            ("electricity.grid.CN-BJ.2023", 0.5554, "kgCO2/kWh · MEE and NBS · primary"),
            ("heat.purchased.BJ", 0.11, "tCO2/GJ · Beijing DRC · second-hand"),
        ):
            yield Indicator(SITE, name, "factor", at, value, text)


def platform(now):
    """One process: a backlog this morning, now gone; while the store was down nothing is there."""
    for i in range(290):
        if 148 < i < 156:
            continue
        at = now - timedelta(minutes=max(1, 5 * i))
        lag = max(0.0, 4000 - abs(i - 150) * 60.0)
        figures = {
            "lag_messages": lag, "lag_s": lag / 20, "dirty_ranges": lag // 400,
            "journals_silent": 0.0, "disk_free_bytes": 4e11 - 1e7 * (290 - i), "store_up": 1.0,
            "ledger_up": 0.0 if 200 < i < 204 else 1.0,
        }  # fmt: skip
        for quantity, value in figures.items():
            yield Indicator(PROCESS, "", quantity, at, value)
        journal = {"bytes": 3.1e9, "days_left": 412.0, "messages": 8_241_000.0 - 60 * i}
        for name, value in journal.items():
            yield Indicator(PROCESS, "j-7f3a", f"journal_{name}", at, value)
        for name in ("j-7f3a", "c-20b1"):
            yield Indicator(PROCESS, name, "journal_answers", at, 1.0)
        yield Indicator(PROCESS, "c-20b1", "journal_messages", at, 1_630_000.0 - 12 * i)
        for reason, count in (("payload.not_json", 2), ("meter.unknown", 1)):
            yield Indicator(PROCESS, reason, "quarantine_open", at, count)
        for job, age, ok in (
            ("intervals.daily", 5400, 1),
            ("quotas.daily", 5300, 1),
            ("backup.daily", 9000, 0),
        ):
            yield Indicator(PROCESS, job, "job_age_s", at, age)
            yield Indicator(PROCESS, job, "job_ok", at, ok)


def events(now):
    """Three of the park within the day, and one of the platform."""
    for back, subject, code, text in (
        (
            3.7,
            f"{SITE}/B2-heat",
            "meter.silent",
            "Meter M1007 at B2-heat has been silent for an hour.",
        ),
        (9.2, SITE, "site.changed", "Site file, version 4."),
        (5.1, "tanyuan/j-7f3a/812", "journal.damaged", "Messages 812 to 815 cannot be read."),
        (12.5, f"{SITE}/C1-power", "increment.reset", "Register active_import of M1008 fell."),
    ):
        yield Indicator(subject, code, "event", now - timedelta(hours=back), 1.0, text)


def readings(now):
    """A meter's register every quarter of an hour, with a gap of two hours."""
    start = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=24)
    value = 48_210.0
    for i in range(96):
        at = start + timedelta(minutes=15 * i)
        value += 105 * shape(at)
        if 40 <= i < 48:
            continue
        for register, shown in (("active_import", value), ("active_power", 420 * shape(at))):
            yield Reading(
                f"{SITE}/M1000", register, at, shown,
                received_at=at + timedelta(seconds=2), journal="j-7f3a", sequence=i,
            )  # fmt: skip


def fill_hours(store, now):
    """Some stored hours of a point, estimated ones among them."""
    rows = hours(*[(f"{SITE}/A1-power", "active_import", i, 100.0 + i) for i in range(24)])
    start = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=24)
    steps = np.arange(24) * np.timedelta64(1, "h")
    flags = np.where(np.arange(24) % 5 == 0, 1024, 0).astype(np.int32)
    rows = replace(rows, start=to_us(start) + steps, flags=flags)
    whole = Period(start, now.astimezone(UTC) + timedelta(hours=1))
    store.replace("energy", rows, spans=[Span(f"{SITE}/A1-power", whole)])
