"""From decoded messages to the store and the ledger: idempotent steps in a fixed order.

Keep what could not be read, write the readings, mark their spans dirty, note conflicts; the caller
then saves the position. A crash between any two is repaired by doing the batch again. The mark
comes after the readings: one that came before could be worked off by a job before they are in, and
their hours would stay old for ever. Until the position is saved the batch counts as lag, so no
answer takes the time in between for the present.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np

from ingest.context import Context
from ingest.decoding import Decoded, decode_batch
from ingest.journal_records import Record
from ingest.rejections import printable
from metering.findings import Finding
from metering.ledger.port import Ledger, Noted, QuarantineEntry
from metering.periods import Period, from_us, utc_text
from metering.readings import SET_ASIDE, Flag, Readings
from metering.store.port import ReadingStore

log = logging.getLogger(__name__)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TICK: Final = timedelta(microseconds=1)
_DAY_US: Final = 86_400_000_000


def decode_sparing(records: Sequence[Record], context: Context, *, journal: str) -> Decoded:
    """Decode; a record our decoder stumbles over is quarantined, and the others go on."""
    try:
        return decode_batch(records, context, journal=journal)
    except Exception as fault:
        if len(records) == 1:
            log.exception("decoder: journal %s, message %d", journal, records[0].sequence)
            return Decoded(Readings.empty(), [_fault_entry(records[0], fault, journal)])
    middle = len(records) // 2
    parts = [
        decode_sparing(half, context, journal=journal)
        for half in (records[:middle], records[middle:])
    ]
    return Decoded(
        Readings.concat([part.readings for part in parts]),
        [entry for part in parts for entry in part.rejected],
        sum(part.ignored for part in parts),
    )


def keep(
    decoded: Decoded,
    store: ReadingStore,
    ledger: Ledger,
    *,
    check: Callable[[], None] | None = None,
) -> int:
    """Put what was decoded where it belongs; doing it again changes nothing.

    Args:
        decoded: Of one journal.
        store: Where readings go.
        ledger: Where everything else goes.
        check: Called before readings are written; raises where this process no longer may.

    Returns:
        The number of conflicts it made.
    """
    if decoded.rejected:
        ledger.quarantine(decoded.rejected)
    if not len(decoded.readings):
        return 0
    conflicts = store.add(decoded.readings, check=check)
    if spans := dirty_spans(decoded.readings):
        ledger.mark_dirty(spans)
    if findings := [*_conflict_findings(conflicts), *_set_aside_findings(decoded.readings)]:
        ledger.note(findings)
    return len(conflicts)


def dirty_spans(readings: Readings) -> list[tuple[str, Period]]:
    """The spans of each meter in which readings came; apart where a day lies between them.

    Readings that are not believed move no amount, but their hour says that they came.
    """
    if not len(readings):
        return []
    at = readings.read_at.astype(np.int64)
    order = np.lexsort((at, readings.meter))
    meter, at = readings.meter[order], at[order]
    first = np.ones(len(at), np.bool_)
    first[1:] = (np.diff(meter) != 0) | (np.diff(at) > _DAY_US)
    starts = np.flatnonzero(first)
    ends = at[np.append(starts[1:], len(at)) - 1].tolist()
    codes, begins = meter[starts].tolist(), at[starts].tolist()
    periods = {pair: _enclosing(*pair) for pair in set(zip(begins, ends, strict=True))}
    return [
        (readings.meters[code], periods[first_us, last_us])
        for code, first_us, last_us in zip(codes, begins, ends, strict=True)
    ]


def _enclosing(first_us: int, last_us: int) -> Period:
    """The half-open period that just holds both instants."""
    return Period(_EPOCH + first_us * _TICK, _EPOCH + (last_us + 1) * _TICK)


def _conflict_findings(conflicts: Readings) -> list[Noted]:
    """One finding for each meter and instant, whatever the number of registers."""
    grouped: dict[tuple[str, np.datetime64], list[int]] = {}
    for row in range(len(conflicts)):
        key = (conflicts.meters[conflicts.meter[row]], conflicts.read_at[row])
        grouped.setdefault(key, []).append(row)
    noted = []
    for (meter, read_at), rows in grouped.items():
        values = {
            conflicts.registers[conflicts.register[row]]: float(conflicts.value[row])
            for row in rows
        }
        at = from_us(read_at)
        message = (
            f"{meter} said different things for {utc_text(at)}: {', '.join(sorted(values))}. "
            f"What came last counts; the others stay in the store as superseded."
        )
        arrived = from_us(max(conflicts.received_at[row] for row in rows))
        finding = Finding("reading.conflict", message, {"counts": values})
        noted.append(Noted(meter, at, finding, arrived))
    return noted


_WHY: Final = {
    Flag.CLOCK: "a time in the future or before 2000: look at the clock of its gateway",
    Flag.IMPLAUSIBLE: "a value that its register cannot show: look at the meter and its profile",
}


def _set_aside_findings(readings: Readings) -> list[Noted]:
    """One finding for each meter, day of arrival and flag; such readings take no part in sums."""
    rows = np.flatnonzero(readings.flags & int(SET_ASIDE))
    first: dict[tuple[str, Flag, np.datetime64], int] = {}
    for row in rows.tolist():
        day = readings.received_at[row].astype("datetime64[D]").astype("datetime64[us]")
        for flag in _WHY:
            if readings.flags[row] & int(flag):
                first.setdefault((readings.meters[readings.meter[row]], flag, day), row)
    noted = []
    for (meter, flag, day), row in first.items():
        register = readings.registers[readings.register[row]]
        shown = {
            "register": register,
            "value": float(readings.value[row]),
            "at": utc_text(from_us(readings.read_at[row])),
        }
        message = (
            f"{meter} sent {_WHY[flag]}. First that day: {register} {shown['value']} for "
            f"{shown['at']}. It is kept and takes no part in any figure."
        )
        finding = Finding(f"reading.{str(flag.name).lower()}", message, shown)
        noted.append(Noted(meter, from_us(day), finding, from_us(readings.received_at[row])))
    return noted


def _fault_entry(record: Record, fault: Exception, journal: str) -> QuarantineEntry:
    return QuarantineEntry(
        journal=journal,
        sequence=record.sequence,
        part=-1,
        received_at=_EPOCH + timedelta(microseconds=record.received_at),
        topic=printable(record.topic),
        code="decoder_fault",
        message=(
            f"Wanted to decode this message, found a fault of ours: {type(fault).__name__}: "
            f"{printable(str(fault))}. Report it with the payload; replay after the repair."
        ),
    )
