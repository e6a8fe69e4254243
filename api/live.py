"""The park as it is now: power, energy of the day, meters alive, and what they showed last."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np

from api.answers import Document
from api.figures import Figures, Scope
from api.quota_answers import quota_document
from metering.intervals import Rows
from metering.periods import Period, from_us, local_day, midnight, utc_text
from metering.readings import Readings, flag_names
from metering.sites import MeterPoint, Site
from metering.store.port import MeterSummary, ReadingStore

SILENT_AFTER = timedelta(hours=2)
"""A meter is silent when its last reading is older than this and than `SILENT_RATIO` spacings."""

SILENT_RATIO = 4.0

POWER_AGE = timedelta(hours=1)
"""A power older than this is not the power now."""


def site_document(site: Site) -> Document:
    """A site, its buildings and points."""
    return {
        "id": site.id,
        "name": site.name,
        "timezone": site.timezone.key,
        "region": site.region,
        "language": site.language,
        "buildings": [
            {
                "id": building.id,
                "name": building.name,
                "use": building.use,
                "points": [_point_document(point) for point in building.points],
            }
            for building in site.buildings
        ],
        "points": [_point_document(point) for point in site.points],
        "quotas": [quota.id for quota in site.quotas],
    }


def _point_document(point: MeterPoint) -> Document:
    return {
        "id": point.id,
        "carrier": point.carrier,
        "role": point.role,
        "item": point.item,
        "upstream": point.upstream,
        "meters": [meter.serial for meter in point.meters],
    }


def newest(store: ReadingStore, site: str) -> datetime | None:
    """When the newest believed reading of a site was taken."""
    latest = store.latest()
    own = [code for code, name in enumerate(latest.meters) if name.startswith(site + "/")]
    times = latest.read_at[np.isin(latest.meter, own)]
    return from_us(times.max()) if len(times) else None


def latest_documents(store: ReadingStore, site: Site) -> list[Document]:
    """The newest reading of every register of a site."""
    meters = [site.meter_key(serial) for serial in site.serials]
    return [
        {
            "meter": reading.meter.partition("/")[2],
            "register": reading.register,
            "at": utc_text(reading.read_at),
            "value": reading.value,
            "flags": flag_names(int(reading.flags)),
            "received_at": utc_text(reading.received_at or reading.read_at),
        }
        for reading in store.latest(meters=meters).rows()
    ]


def meter_documents(store: ReadingStore, site: Site, moment: datetime) -> list[Document]:
    """Every meter of a site that is in service, with its last reading and whether it is silent."""
    latest = _last_seen(store, site)
    spacing = _spacing(store.summaries())
    found = []
    for point in site.all_points():
        for meter in point.meters:
            if not meter.starts <= moment < meter.ends:
                continue
            key = site.meter_key(meter.serial)
            seen = latest.get(key)
            age = None if seen is None else (moment - seen).total_seconds()
            limit = max(SILENT_AFTER.total_seconds(), SILENT_RATIO * spacing.get(key, 0.0))
            found.append(
                {
                    "meter": meter.serial,
                    "point": point.id,
                    "building": point.building,
                    "carrier": point.carrier,
                    "last_read_at": None if seen is None else utc_text(seen),
                    "age_s": age,
                    "silent": age is None or age > limit,
                }
            )
    return found


def _last_seen(store: ReadingStore, site: Site) -> dict[str, datetime]:
    latest = store.latest(meters=[site.meter_key(serial) for serial in site.serials])
    seen: dict[str, datetime] = {}
    for code, at in zip(latest.meter.tolist(), latest.read_at, strict=True):
        name = latest.meters[code]
        seen[name] = max(seen.get(name, from_us(at)), from_us(at))
    return seen


def _spacing(summaries: list[MeterSummary]) -> dict[str, float]:
    """The mean time between readings of each meter's densest register. [s]."""
    spacing: dict[str, float] = {}
    for each in summaries:
        if each.count > 1:
            mean = (each.last_read_at - each.first_read_at).total_seconds() / (each.count - 1)
            spacing[each.meter] = min(spacing.get(each.meter, mean), mean)
    return spacing


def live_document(figures: Figures, moment: datetime) -> Document:
    """What a park looks like at a moment.

    Power is the sum of what the boundary meters show, or of their last energy increment; energy and
    carbon are those of the site's day so far, beside the mean of the same kind of day before.
    """
    site = figures.site
    meters = meter_documents(figures.store, site, moment)
    alive = [each for each in meters if not each["silent"]]
    ages = [each["age_s"] for each in meters if each["age_s"] is not None]
    day = local_day(moment, tz=site.timezone)
    return {
        "site": site.id,
        "at": utc_text(moment),
        "power_kw": _power(figures, moment),
        "today": _today(figures, moment),
        "emissions_today": _emissions_today(figures, moment),
        "quotas": quota_document(figures, day)["quotas"],
        "meters": {
            "live": len(alive),
            "total": len(meters),
            "oldest_age_s": max(ages, default=None),
            "silent": [each for each in meters if each["silent"]],
        },
        "buildings": [
            {"id": building.id, "name": building.name}
            | _use_today(figures, Scope(building=building.id), moment)
            for building in site.buildings
        ],
    }


def _power(figures: Figures, moment: datetime) -> Document:
    """Electric power at the boundary: shown by the meters, else from their last increment. [kW]."""
    site = figures.site
    boundary = site.boundary("electricity")
    keys = {
        site.meter_key(meter.serial): (each, meter)
        for each in boundary
        for meter in each.point.meters
        if meter.starts <= moment < meter.ends
    }
    shown = _newest_power(figures.store.latest(meters=sorted(keys)), moment)
    total, known, estimated = 0.0, 0, False
    for key, (each, meter) in keys.items():
        power = shown.get(key)
        if power is not None:
            power *= meter.multiplier
        else:
            power, estimated = _from_energy(figures, each.point, moment), True
        if power is not None:
            total += power * each.sign
            known += 1
    return {
        "value": total if known else None,
        "meters": known,
        "of": len(keys),
        "estimated": estimated and known > 0,
    }


def _newest_power(latest: Readings, moment: datetime) -> dict[str, float]:
    return {
        reading.meter: reading.value
        for reading in latest.rows()
        if reading.register == "active_power"
        and timedelta(0) <= moment - reading.read_at <= POWER_AGE
    }


def _from_energy(figures: Figures, point: MeterPoint, moment: datetime) -> float | None:
    """The mean power of the last full quarter hour with a figure, within the last hours."""
    recipe = figures.recipes(Scope(point=point.id))
    end = moment.replace(minute=moment.minute // 15 * 15, second=0, microsecond=0)
    rows = figures.rows(recipe[0], Period(end - timedelta(hours=3), end), "15min")
    covered = np.flatnonzero((rows.coverage == 1) & ~np.isnan(rows.value))
    return float(rows.value[covered[-1]]) * 4 if len(covered) else None


def _today(figures: Figures, moment: datetime) -> Document:
    return _use_today(figures, Scope(), moment)


def _use_today(figures: Figures, scope: Scope, moment: datetime) -> Document:
    """Electricity of the day so far, and the mean of the last four days of its kind as far."""
    recipes = figures.recipes(scope, carrier="electricity")
    if not recipes:
        return {"energy_kwh": None, "usual_kwh": None, "coverage": 0.0}
    site = figures.site
    day = local_day(moment, tz=site.timezone)
    start = midnight(day, tz=site.timezone)
    elapsed = moment - start
    first = midnight(day - timedelta(days=28), tz=site.timezone)
    hour = moment.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    rows = figures.rows(recipes[0], Period(first, max(hour, start + timedelta(hours=1))), "hour")
    today, coverage = _sum_between(rows, start, hour)
    usual: list[float] = []
    for back in range(1, 29):
        other = day - timedelta(days=back)
        if (other.weekday() >= 5) == (day.weekday() >= 5) and len(usual) < 4:
            begin = midnight(other, tz=site.timezone)
            value, share = _sum_between(rows, begin, begin + elapsed)
            usual += [value] if value is not None and share >= 0.9 else []
    mean = sum(usual) / len(usual) if usual else None
    return {"energy_kwh": today, "usual_kwh": mean, "coverage": coverage}


def _sum_between(rows: Rows, start: datetime, end: datetime) -> tuple[float | None, float]:
    low = np.datetime64(start.replace(tzinfo=None), "us")
    high = np.datetime64(end.replace(tzinfo=None), "us")
    inside = (rows.edges[:-1] >= low) & (rows.edges[:-1] < high)
    if not inside.any():
        return None, 0.0
    values = rows.value[inside]
    known = ~np.isnan(values)
    value = float(values[known].sum()) if known.any() else None
    return value, float(rows.coverage[inside].mean())


def _emissions_today(figures: Figures, moment: datetime) -> list[Document]:
    """Emissions of the day so far, by gas basis."""
    site = figures.site
    start = midnight(local_day(moment, tz=site.timezone), tz=site.timezone)
    hour = moment.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    found, factors, _ = figures.emissions(
        Scope(), Period(start, max(hour, start + timedelta(hours=1))), "hour"
    )
    totals: dict[str, float] = {}
    flags = 0
    for each in found:
        known = each.rows.value[~np.isnan(each.rows.value)]
        if len(known):
            totals[each.unit] = totals.get(each.unit, 0.0) + float(known.sum())
        flags |= int(np.bitwise_or.reduce(each.rows.flags))
    return [
        {
            "unit": unit,
            "value": value,
            "flags": flag_names(flags),
            "factors": [f.id for f in factors],
        }
        for unit, value in sorted(totals.items())
    ]
