"""What the ordered faults did to the made-up park, and what must come out in spite of them.

A report names the meters and the time, and has the known truth around it: what the platform must
answer for each point over whole site days, what nobody can know, and what must be in quarantine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from ingest.simulated_faults import (
    ClockError,
    DeadMeter,
    Disorder,
    Fault,
    Garbage,
    Glitch,
    MeterExchange,
    Outage,
    Rollover,
    UnknownFault,
    garbage_messages,
    meters_of,
)
from ingest.simulated_park import Park
from metering.meter_points import MeterPoint
from metering.periods import Period, local_day, midnight, utc_text


@dataclass(frozen=True, slots=True)
class FaultReport:
    """What a fault did, and what must come out."""

    kind: str
    what: str
    meters: tuple[str, ...]
    points: tuple[str, ...]
    start: datetime
    end: datetime
    check: Period
    """Whole site days around it, with good readings at both ends where there are any."""
    expected: Mapping[str, float] = field(default_factory=dict)
    """Point -> what the platform must answer for it over `check`. [kWh; water m³]"""
    unmetered: Mapping[str, float] = field(default_factory=dict)
    """Point -> what truly flowed within `check` and no reading can tell. [kWh; water m³]"""
    quarantined: Mapping[str, int] = field(default_factory=dict)
    """Reason code -> how many must be in quarantine."""


def report_of(fault: Fault, park: Park) -> FaultReport:
    """Say what a fault did and what must come out.

    Raises:
        UnknownFault: It names something the park does not have.
    """
    match fault:
        case Outage():
            return _outage(fault, park)
        case ClockError():
            return _clock_error(fault, park)
        case MeterExchange():
            return _exchange(fault, park)
        case Rollover() | Glitch():
            return _one_register(fault, park)
        case DeadMeter():
            return _dead_meter(fault, park)
        case Garbage():
            return _garbage(fault, park)
        case Disorder():
            return _disorder(fault, park)


def _one_register(fault: Rollover | Glitch, park: Park) -> FaultReport:
    if isinstance(fault, Rollover):
        what = f"The register of meter {fault.serial} passed its capacity and began again at 0."
        return _of_meters(park, "rollover", what, [fault.serial], fault.at)
    what = f"Meter {fault.serial} once showed {fault.value:,.2f} as {fault.register}."
    return _of_meters(park, "glitch", what, [fault.serial], fault.at)


def _outage(fault: Outage, park: Park) -> FaultReport:
    hours = (fault.end - fault.start) / timedelta(hours=1)
    then = "then sent everything in one burst" if fault.backfilled else "its readings are lost"
    what = f"Gateway {fault.gateway} was silent for {hours:g} h; {then}."
    kind = "outage_backfilled" if fault.backfilled else "outage_lost"
    return _of_meters(park, kind, what, meters_of(park, fault.gateway), fault.start, fault.end)


def _clock_error(fault: ClockError, park: Park) -> FaultReport:
    hours = (fault.end - fault.start) / timedelta(hours=1)
    shows = utc_text(fault.shows)
    what = f"The clock of gateway {fault.gateway} jumped to {shows} and ran on for {hours:g} h."
    meters = meters_of(park, fault.gateway)
    return _of_meters(park, "clock_error", what, meters, fault.start, fault.end)


def _exchange(fault: MeterExchange, park: Park) -> FaultReport:
    point = park.site.point(fault.point)
    if len(point.meters) < 2:
        raise UnknownFault(f"Point {fault.point!r} of the made-up park has no meter exchange.")
    old, new = point.meters[:2]
    minutes = (new.starts - old.ends) / timedelta(minutes=1)
    what = (
        f"Meter {old.serial} at {point.id} was replaced by {new.serial}; for {minutes:g} min "
        "nothing metered what flowed."
    )
    serials = [old.serial, new.serial]
    report = _of_meters(park, "meter_exchange", what, serials, old.ends, new.starts)
    lost = sum(park.truth.unmetered.get((point.id, r), 0.0) for r in ("active_import", "heat"))
    return _with_unmetered(report, {point.id: lost})


def _dead_meter(fault: DeadMeter, park: Park) -> FaultReport:
    what = f"Meter {fault.serial} is silent since {utc_text(fault.since)}."
    point = _point_of(park, fault.serial)
    spacing = park.loads.spacing[_gateway_of(park, fault.serial)]
    year = park.truth.period
    until = fault.since.astimezone(UTC) - spacing
    known, unknown = Period(year.start, until), Period(until, year.end)
    return FaultReport(
        "dead_meter", what, (fault.serial,), (point.id,), until, year.end, year,
        expected={point.id: park.truth.point_used(point.id, known)},
        unmetered={point.id: park.truth.point_used(point.id, unknown)},
    )  # fmt: skip


def _garbage(fault: Garbage, park: Park) -> FaultReport:
    messages = garbage_messages(fault, park)
    what = f"Gateway {fault.gateway} sent {len(messages)} messages that nobody can read."
    codes = [code for _, _, code in messages]
    report = _of_meters(park, "garbage", what, [], fault.at)
    return FaultReport(
        report.kind, what, (), (), report.start, report.end, report.check,
        quarantined={code: codes.count(code) for code in codes},
    )  # fmt: skip


def _disorder(fault: Disorder, park: Park) -> FaultReport:
    what = (
        f"{fault.duplicated:.1%} of all messages came twice, {fault.delayed:.1%} were overtaken "
        f"by up to {fault.within} others."
    )
    year = park.truth.period
    points = {each.point.id for each in park.site.boundary("electricity")}
    expected = {point: park.truth.point_used(point) for point in sorted(points)}
    return FaultReport(
        "disorder", what, (), tuple(expected), year.start, year.end, year, expected=expected
    )


def _of_meters(
    park: Park,
    kind: str,
    what: str,
    serials: list[str],
    start: datetime,
    end: datetime | None = None,
) -> FaultReport:
    """A report with the truth of the meters' points over the site days it touches."""
    start, end = start.astimezone(UTC), (end or start).astimezone(UTC)
    check = _days(park, start, end)
    points = list(dict.fromkeys(_point_of(park, serial) for serial in serials))
    expected = {
        point.id: park.truth.point_used(point.id, check)
        for point in points
        if point.carrier != "temperature"
    }
    return FaultReport(
        kind, what, tuple(serials), tuple(expected), start, end, check, expected=expected
    )


def _days(park: Park, start: datetime, end: datetime) -> Period:
    tz = park.site.timezone
    last = local_day(end, tz=tz) + timedelta(days=1)
    return Period(midnight(local_day(start, tz=tz), tz=tz), midnight(last, tz=tz))


def _with_unmetered(report: FaultReport, unmetered: Mapping[str, float]) -> FaultReport:
    return FaultReport(
        report.kind, report.what, report.meters, report.points, report.start, report.end,
        report.check, expected=report.expected, unmetered=unmetered,
    )  # fmt: skip


def _point_of(park: Park, serial: str) -> MeterPoint:
    found = park.site.placements_of(serial)
    if not found:
        raise UnknownFault(f"No meter {serial!r} in the made-up park; see its park.yaml.")
    return found[0].point


def _gateway_of(park: Park, serial: str) -> str:
    return park.site.placements_of(serial)[0].meter.gateway or ""
