"""The park as it is now: power, energy of the day, meters alive, and what they showed last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import numpy as np

from api.answers import Document
from api.figures import Figures
from api.latest import latest_by
from api.live_day import day_document
from api.live_power import NOT_AHEAD, power_document
from metering.periods import Period, from_us, utc_text
from metering.readings import flag_names
from metering.sites import Meter, MeterPoint, Site
from metering.store.port import ReadingStore
from metering.units import REGISTERS, RegisterType

SILENT_AFTER = timedelta(hours=2)
"""A meter is silent when its last reading is older than this and than `SILENT_RATIO` spacings."""

SILENT_RATIO = 4.0

SPACING_READINGS = 9
"""The usual spacing of a meter is told from so many of its last readings."""

_SHOWN_FIRST = (
    "active_import", "active_export", "heat", "cooling", "gas_energy", "gas_volume", "water_volume",
    "volume", "air_temperature", "active_power",
)  # fmt: skip
"""Which register stands for a meter in a list; of others the first by name."""


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


def meter_documents(
    store: ReadingStore,
    site: Site,
    moment: datetime,
    *,
    extra: Mapping[str, RegisterType] | None = None,
) -> list[Document]:
    """Every meter of a site that is in service, with its last reading and whether it is silent.

    Args:
        store: Where the readings are.
        site: Whose meters.
        moment: As it was then; later readings are not seen.
        extra: Registers that profiles add.
    """
    seen = _last_seen(store, site, moment)
    quiet = [meter for meter, (at, _, _) in seen.items() if moment - at > SILENT_AFTER]
    spacing = _usual_spacing(store, quiet, moment)
    types = {**REGISTERS, **(extra or {})}
    return [
        _meter_document(site, point, meter, moment, seen, spacing, types)
        for point in site.all_points()
        for meter in point.meters
        if meter.starts <= moment < meter.ends
    ]


def _meter_document(
    site: Site,
    point: MeterPoint,
    meter: Meter,
    moment: datetime,
    seen: Mapping[str, tuple[datetime, str, float]],
    spacing: Mapping[str, float],
    types: Mapping[str, RegisterType],
) -> Document:
    key = site.meter_key(meter.serial)
    at, register, value = seen.get(key, (None, None, None))
    # A clock a little ahead of ours makes a reading new, not one that is yet to come.
    age = None if at is None else max(0.0, (moment - at).total_seconds())
    limit = max(SILENT_AFTER.total_seconds(), SILENT_RATIO * spacing.get(key, 0.0))
    return {
        "meter": meter.serial,
        "point": point.id,
        "name": point.name,
        "building": point.building,
        "carrier": point.carrier,
        "last_read_at": None if at is None else utc_text(at),
        "age_s": age,
        "silent": age is None or age > limit,
        "register": register,
        "value": value,
        "unit": types[register].unit if register and register in types else None,
    }


def _usual_spacing(
    store: ReadingStore, meters: Sequence[str], moment: datetime
) -> dict[str, float]:
    """The usual time between the last readings of each meter's densest register, in seconds."""
    if not meters:
        return {}
    end = moment + timedelta(microseconds=1)
    last = store.read(Period(end, end), meters=sorted(meters), before=SPACING_READINGS)
    spacing: dict[str, float] = {}
    for meter, _, rows in last.registers_in_order():
        steps = np.sort(np.diff(last.read_at[rows]).astype(np.int64))
        if len(steps):
            usual = float(steps[(len(steps) - 1) // 2]) / 1e6
            spacing[meter] = min(spacing.get(meter, usual), usual)
    return spacing


def _last_seen(
    store: ReadingStore, site: Site, moment: datetime
) -> dict[str, tuple[datetime, str, float]]:
    """The newest reading of each meter by a moment: when, and what the register to list showed."""
    latest = latest_by(store, [site.meter_key(serial) for serial in site.serials], moment)
    newest_at: dict[str, np.datetime64] = {}
    shown: dict[str, tuple[int, str, float]] = {}
    rank = {name: place for place, name in enumerate(_SHOWN_FIRST)}
    for code, number, at, value in zip(
        latest.meter.tolist(), latest.register.tolist(), latest.read_at, latest.value, strict=True
    ):
        meter, register = latest.meters[code], latest.registers[number]
        newest_at[meter] = max(newest_at.get(meter, at), at)
        mine = (rank.get(register, len(rank)), register, float(value))
        shown[meter] = min(shown.get(meter, mine), mine)
    return {meter: (from_us(at), *shown[meter][1:]) for meter, at in newest_at.items()}


def meters_document(meters: Sequence[Document]) -> Document:
    """How many meters live, how old the oldest last reading is, and which are silent."""
    ages = [each["age_s"] for each in meters if each["age_s"] is not None]
    silent = [each for each in meters if each["silent"]]
    return {
        "live": len(meters) - len(silent),
        "total": len(meters),
        "oldest_age_s": max(ages, default=None),
        "never_heard": sum(each["age_s"] is None for each in meters),
        "silent": silent,
    }


def live_document(
    figures: Figures,
    moment: datetime,
    *,
    ahead: timedelta = NOT_AHEAD,
    meters: Sequence[Document] | None = None,
) -> Document:
    """What a park looks like at a moment: power, the day so far, quotas and meters.

    Power is the sum of what the boundary meters show, or of their last energy increment; energy and
    carbon are those of the site's day so far, beside the mean of the same kind of day before.

    Args:
        figures: Of the park.
        moment: Which one.
        ahead: As `power_document` has it.
        meters: As `meter_documents` gives them, where they are at hand.
    """
    site = figures.site
    power = power_document(figures, moment, ahead=ahead)
    day = day_document(figures, moment)
    if meters is None:
        meters = meter_documents(figures.store, site, moment, extra=figures.extra)
    buildings = [
        {**energy, "power_kw": power["buildings"][energy["id"]]} for energy in day["buildings"]
    ]
    return {
        "site": site.id,
        "at": utc_text(moment),
        "power_kw": power["site"],
        **{name: value for name, value in day.items() if name not in ("at", "buildings")},
        "meters": meters_document(meters),
        "buildings": buildings,
    }
