"""From a figure back to the telegrams: the figure, its increments, readings, records, factor."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np

from api.answers import Document, factor_document, row_documents
from api.figures import Figures, Scope
from api.journals import Journals
from ingest.journal_reader import RecordNotFound
from ingest.segments import JournalError
from metering.periods import Every, Period, edges, from_us, local_day, midnight, to_us, utc_text
from metering.pipeline import Streams
from metering.readings import Readings, flag_names
from metering.registers import CONTEXT, Increments, increments
from metering.sites import MeterPoint

MAX_STEPS = 2_000
"""A longer trace names only the first and last of its increments."""


class NothingToTrace(LookupError):
    """No figure is there at that point and instant."""


def trace(
    figures: Figures, journals: Journals, point_id: str, instant: datetime, every: Every,
    *, emissions: bool,
) -> Document:  # fmt: skip
    """Follow the figure of the interval that holds an instant back to its telegrams.

    Raises:
        NothingToTrace: Nothing was ever measured around the instant.
    """
    point = figures.site.point(point_id)
    period = interval_around(figures, instant, every)
    document: Document = {
        "kind": "emissions" if emissions else "energy",
        "subject": point.id,
        "carrier": point.carrier,
    }
    recipe = figures.recipes(Scope(point=point_id))
    if not recipe:
        raise NothingToTrace(f"Point {point_id!r} carries {point.carrier}, which is no amount.")
    energy = row_documents(figures.rows(recipe[0], period, every))[0]
    document["energy"] = {"unit": recipe[0].unit, **energy}
    if emissions:
        found, factors, reasons = figures.emissions(Scope(point=point_id), period, every)
        document["emissions"] = [
            {"scope": each.scope, "unit": each.unit, **row_documents(each.rows)[0]}
            for each in found
        ]
        document["factors"] = [factor_document(factor) for factor in factors]
        document["reasons"] = sorted(reasons)
    registers = sorted({name for term in recipe[0].terms for name in term.registers})
    readings, streams = figures.streams([point], period, registers=registers)
    document["increments"] = _increments(streams, period)
    if not document["increments"]:
        raise NothingToTrace(
            f"No increment of {point_id!r} touches {utc_text(period.start)} to "
            f"{utc_text(period.end)}; look at /latest and the quarantine."
        )
    document["readings"] = _readings(readings, document["increments"])
    document["telegrams"] = _telegrams(journals, document["readings"])
    document["definition"] = _definition(point)
    return document


def interval_around(figures: Figures, instant: datetime, every: Every) -> Period:
    """The whole interval of the site that holds an instant."""
    tz = figures.site.timezone
    day = local_day(instant, tz=tz)
    first = day.replace(month=1, day=1) if every == "year" else day
    first = first.replace(day=1) if every == "month" else first
    days = {"year": 366, "month": 31}.get(every, 1)
    around = Period(midnight(first, tz=tz), midnight(first + timedelta(days=days), tz=tz))
    marks = edges(around, every, tz=tz)
    at = int(np.searchsorted(marks, np.array([to_us(instant)]), side="right")[0]) - 1
    return Period(from_us(marks[at]), from_us(marks[at + 1]))


def _increments(streams: Streams, period: Period) -> list[Document]:
    steps, _ = increments(streams.rows)
    low, high = to_us(period.start), to_us(period.end)
    touching = np.flatnonzero((steps.start < high) & (steps.end > low))
    if len(touching) > MAX_STEPS:
        touching = np.concatenate([touching[: MAX_STEPS // 2], touching[-MAX_STEPS // 2 :]])
    return [_increment(streams, steps, int(i), period) for i in touching]


def _increment(streams: Streams, steps: Increments, i: int, period: Period) -> Document:
    start, end = from_us(steps.start[i]), from_us(steps.end[i])
    inside = min(end, period.end) - max(start, period.start)
    amount = float(steps.amount[i])
    return {
        "register": streams.registers[steps.stream[i]],
        "start": utc_text(start),
        "end": utc_text(end),
        "amount": None if np.isnan(amount) else amount,
        "share_in_interval": inside / (end - start),
        "flags": flag_names(int(steps.flags[i])),
    }


def _readings(readings: Readings, steps: list[Document]) -> list[Document]:
    """The readings that bound the increments, and those between them that were set aside."""
    if not len(readings):
        return []
    first = min(step["start"] for step in steps)
    last = max(step["end"] for step in steps)
    wanted = {(s["register"], s[end]) for s in steps for end in ("start", "end")}
    found = []
    for reading in readings.rows():
        text = utc_text(reading.read_at)
        bounds = (reading.register, text) in wanted
        if bounds or (first <= text <= last and reading.flags):
            found.append(
                {
                    "meter": reading.meter.partition("/")[2],
                    "register": reading.register,
                    "at": text,
                    "value": reading.value,
                    "flags": flag_names(int(reading.flags)),
                    "received_at": utc_text(reading.received_at or reading.read_at),
                    "journal": reading.journal,
                    "sequence": reading.sequence,
                }
            )
    return found


def _telegrams(journals: Journals, readings: list[Document]) -> list[Document]:
    """The messages the readings came in, byte for byte."""
    wanted = {(each["journal"], each["sequence"], each["received_at"]) for each in readings}
    return [
        {"journal": name, "sequence": sequence, **_telegram(journals, name, sequence, arrived)}
        for name, sequence, arrived in sorted(wanted)
    ]


def _telegram(journals: Journals, name: str, sequence: int, arrived: str) -> Document:
    """One message, or why it is not there; a message that came at another time is not it."""
    try:
        record = journals.record(name, sequence)
    except (RecordNotFound, JournalError) as error:
        return {"error": str(error)}
    received_at = utc_text(from_us(np.datetime64(record.received_at, "us")))
    if received_at != arrived:
        return {
            "error": (
                f"The readings of message {sequence} arrived at {arrived}, and what journal "
                f"{name} has under that number arrived at {received_at}: it was put back from an "
                "older copy, and the telegram of these readings is lost."
            )
        }
    return {
        "received_at": received_at,
        "topic": record.topic,
        "door": record.door,
        "hex": record.payload.hex(),
        "text": record.payload.decode("utf-8", "replace"),
    }


def _definition(point: MeterPoint) -> Document:
    """What of the site model made the figure."""
    return {
        "point": point.id,
        "hash": point.definition_hash(),
        "meters": [meter.definition() for meter in point.meters],
        "context_readings": CONTEXT,
    }
