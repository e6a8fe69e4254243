"""Indicators for displays: the answers of the API, written down as they are at a moment.

Nothing is computed here: what a wall shows is what the API says.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta

import numpy as np

from api.answers import Document
from api.figures import EmissionRows, Figures, Scope
from api.latest import AHEAD, latest_by
from api.live import live_document, meter_documents
from api.quota_answers import quota_document
from metering.intervals import Rows
from metering.periods import Period, local_day, midnight, to_us
from metering.readings import Flag, Floats, Mask
from metering.sites import Quota, Site
from metering.store.indicators import Indicator

GJ_PER_KWH = 0.0036
"""Exact: 3.6 MJ a kWh."""

LOOSE = Flag.ESTIMATED | Flag.INTERPOLATED | Flag.GAP
"""An hour with one of these is shown as estimated."""

MEASURED = 0.9
"""So is one of which less than this share was measured, such as the sum of some of the meters."""

VERDICTS = ("within", "at_risk", "exceeded", "not_assessable", "not_in_scope")
"""A verdict is written as its place in this list."""

_SHOWN = ("supply_temperature", "return_temperature")


def full_minute(moment: datetime) -> datetime:
    """The minute a moment lies in.

    What is written every minute bears it: times that stand at equal steps take a tenth of the room
    that those with microseconds take in InfluxDB.
    """
    return moment.replace(second=0, microsecond=0)


class _Rows:
    """Collects the rows of one moment; what is unknown has none."""

    def __init__(self, at: datetime) -> None:
        self._at = at
        self.rows: list[Indicator] = []

    def add(
        self, subject: str, quantity: str, value: float | None, about: str = "", text: str = ""
    ) -> None:
        """Add a figure, if it is known."""
        if value is not None and np.isfinite(value):
            self.rows.append(Indicator(subject, about, quantity, self._at, float(value), text))


def live_indicators(figures: Figures, moment: datetime) -> list[Indicator]:
    """The park at a moment: power, the day so far, heat, meters.

    Args:
        figures: Of the park.
        moment: Which one.
    """
    site = figures.site
    meters = meter_documents(figures.store, site, moment, extra=figures.extra)
    live = live_document(figures, moment, ahead=AHEAD, meters=meters)
    out = _Rows(full_minute(moment))
    for subject, power, day in (
        (site.id, live["power_kw"], live["today"]),
        *((f"{site.id}/{b['id']}", b["power_kw"], b) for b in live["buildings"]),
    ):
        _add_power(out, subject, power)
        out.add(subject, "energy_today_kwh", day["energy_kwh"])
        out.add(subject, "usual_today_kwh", day["usual_kwh"])
        out.add(subject, "coverage_today", day["coverage"])
    for each in live["emissions_today"]:
        out.add(site.id, "emissions_today", each["value"], each["unit"])
        out.add(site.id, "emissions_coverage_today", each["coverage"], each["unit"])
    _add_heat(out, figures, moment)
    _add_meters(out, site, live["meters"], meters)
    return out.rows


def _add_power(out: _Rows, subject: str, power: Document) -> None:
    """The power now, of how many meters it is; the sum of some of them is another quantity."""
    whole = power["meters"] == power["of"]
    out.add(subject, "power_kw" if whole else "power_partial_kw", power["value"])
    if power["of"]:
        out.add(subject, "power_meters", power["meters"])
        out.add(subject, "power_of", power["of"])


def _add_heat(out: _Rows, figures: Figures, moment: datetime) -> None:
    """Heat of the day so far, and what the heat meters show."""
    site = figures.site
    day = local_day(moment - timedelta(microseconds=1), tz=site.timezone)
    whole = Period.days(day, day + timedelta(days=1), tz=site.timezone)
    scopes = [(site.id, Scope())]
    scopes += [(f"{site.id}/{b.id}", Scope(building=b.id)) for b in site.buildings]
    for subject, scope in scopes:
        for recipe in figures.recipes(scope, carrier="heat"):
            energy_kwh, coverage = _so_far(figures.rows(recipe, whole, "hour"), moment)
            out.add(subject, "heat_today_gj", energy_kwh * GJ_PER_KWH)
            out.add(subject, "heat_coverage_today", coverage)
    serials = {
        site.meter_key(m.serial): point
        for point in site.all_points()
        if point.carrier == "heat"
        for m in point.meters
    }
    for reading in latest_by(figures.store, sorted(serials), moment).rows():
        recent = moment - reading.read_at < timedelta(hours=2)
        if reading.register in (*_SHOWN, "active_power") and recent:
            quantity = "heat_power_kw" if reading.register == "active_power" else reading.register
            out.add(site.point_key(serials[reading.meter]), quantity, reading.value)


def _so_far(rows: Rows, moment: datetime) -> tuple[float, float]:
    """The energy known of the hours before a moment, NaN if none is, and the share that is known.

    Of the hour the moment lies in, what is known of later is taken off, spread evenly.
    """
    start, end = rows.edges[:-1], rows.edges[1:]
    passed = (to_us(moment) - start).astype(np.int64) / (end - start).astype(np.int64)
    over = np.clip(passed, 0.0, 1.0)
    known = np.minimum(rows.coverage, over)
    used = (over > 0) & (known > 0) & ~np.isnan(rows.value)
    if not used.any():
        return float("nan"), 0.0
    energy_kwh = rows.value[used] * known[used] / rows.coverage[used]
    return float(energy_kwh.sum()), float(known.sum() / over.sum())


def _whole(seconds: float | None) -> float | None:
    return None if seconds is None else float(round(seconds))


def _add_meters(out: _Rows, site: Site, counted: Document, meters: Sequence[Document]) -> None:
    out.add(site.id, "meters_live", counted["live"])
    out.add(site.id, "meters_total", counted["total"])
    out.add(site.id, "meters_never_heard", counted["never_heard"])
    out.add(site.id, "oldest_age_s", _whole(counted["oldest_age_s"]))
    for meter in meters:
        subject = f"{site.id}/{meter['point']}"
        out.add(subject, "meter_age_s", _whole(meter["age_s"]), meter["meter"])
        out.add(subject, "meter_silent", float(meter["silent"]), meter["meter"])


def hourly_indicators(figures: Figures, period: Period) -> Iterator[Indicator]:
    """Energy and emissions of the site and its buildings, hour by hour.

    Args:
        figures: Of the site.
        period: Whole hours.
    """
    site = figures.site
    for subject, scope in (
        (site.id, Scope()),
        *((f"{site.id}/{b.id}", Scope(building=b.id)) for b in site.buildings),
    ):
        for recipe in figures.recipes(scope):
            rows = figures.rows(recipe, period, "hour")
            yield from _energy(subject, f"{recipe.carrier}:{recipe.unit}", rows)
        found, _, _ = figures.emissions(scope, period, "hour")
        yield from _emissions(subject, found)


def _energy(subject: str, about: str, rows: Rows) -> Iterator[Indicator]:
    known = ~np.isnan(rows.value)
    loose = ((rows.flags & int(LOOSE)) != 0) | (rows.measured < MEASURED)
    yield from _hours(subject, about, "energy_measured", rows, rows.value, known & ~loose)
    yield from _hours(subject, about, "energy_estimated", rows, rows.value, known & loose)
    every = np.ones(len(known), np.bool_)
    yield from _hours(subject, about, "coverage", rows, rows.coverage, every)
    yield from _hours(subject, about, "measured", rows, rows.measured, every)


def _emissions(subject: str, found: Iterable[EmissionRows]) -> Iterator[Indicator]:
    for each in found:
        about = f"{each.scope}:{each.carrier}:{each.unit}"
        value = each.rows.value
        yield from _hours(subject, about, "emissions", each.rows, value, ~np.isnan(value))


def _hours(
    subject: str, about: str, quantity: str, rows: Rows, values: Floats, which: Mask
) -> Iterator[Indicator]:
    starts = rows.edges[:-1][which].astype("datetime64[us]").tolist()
    for start, value in zip(starts, values[which].tolist(), strict=True):
        yield Indicator(subject, about, quantity, start.replace(tzinfo=UTC), value)


def daily_indicators(figures: Figures, day: date) -> list[Indicator]:
    """Quotas at the end of a day, or so far, the factors of its emissions, its zone and names."""
    site = figures.site
    out = _Rows(midnight(day, tz=site.timezone))
    out.add(site.id, "timezone", 1.0, text=site.timezone.key)
    for building in site.buildings:
        out.add(f"{site.id}/{building.id}", "building_name", 1.0, text=building.name)
    quotas = {quota.id: quota for quota in site.quotas}
    for use in quota_document(figures, day)["quotas"]:
        _add_quota(out, _subject(site, quotas[use["quota"]]), use)
    whole = Period.days(day, day + timedelta(days=1), tz=site.timezone)
    _, factors, _ = figures.emissions(Scope(), whole, "hour")
    for factor in factors:
        text = f"{factor.unit} · {factor.source.publisher} · {factor.verification.value}"
        out.add(site.id, "factor", factor.value, factor.id, text)
    return out.rows


def _add_quota(out: _Rows, subject: str, use: Document) -> None:
    about = use["quota"]
    for quantity in ("used", "limit", "used_share", "expected_share", "coverage"):
        out.add(subject, f"quota_{quantity}", use[quantity], about)
    projection = use["projection"] or {}
    for name, key in (("", "value"), ("_low", "low"), ("_high", "high")):
        out.add(subject, f"quota_projection{name}", projection.get(key), about)
    text = ": ".join([use["verdict"], " ".join(use["reasons"])]).removesuffix(": ")
    out.add(subject, "quota_verdict", float(VERDICTS.index(use["verdict"])), about, text)


def _subject(site: Site, quota: Quota) -> str:
    return site.id if quota.subject == site.id else f"{site.id}/{quota.subject}"
