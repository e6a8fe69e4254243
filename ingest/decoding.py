"""From journal records to readings: what each message of a batch holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from ingest.columns import Columns, readings_of
from ingest.context import Claim, Context, Ignored
from ingest.journal_records import Record
from ingest.json_profiles import ProfileReading, readings_in
from ingest.json_text import load_json
from ingest.native import (
    Accepted,
    SiteMeters,
    Suspect,
    fill_fast,
    items_of,
    read_item,
    read_registers,
)
from ingest.profile_model import Profile
from ingest.rejections import Rejected, not_finite, printable, shown
from metering.ledger.port import QuarantineEntry
from metering.readings import Flag, Readings

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_REASONS_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a batch of records held."""

    readings: Readings
    rejected: list[QuarantineEntry]
    ignored: int = 0
    """Messages without a reading, as a profile says there may be."""


def decode_batch(records: Sequence[Record], context: Context, *, journal: str) -> Decoded:
    """Decode records into readings; what cannot be read spares its neighbours.

    Args:
        records: Of one journal.
        context: The sites and profiles that count now.
        journal: The journal's id.
    """
    careful = _Careful(records, context, journal)
    suspects = fill_fast(
        records,
        context.native_codes,
        careful.columns,
        context.caches,
        max_readings=context.settings.max_readings,
    )
    for suspect in suspects:
        careful.decode(suspect)
    readings, unfit = readings_of(
        careful.columns,
        records,
        meters=context.meters,
        book=context.caches.book,
        journal=journal,
        settings=context.settings,
    )
    for record, part, meter, register, value in unfit:
        name = context.caches.book.names[register]
        careful.reject(record, part, not_finite(name, value, meter=context.meters[meter]))
    return Decoded(readings, careful.entries(), careful.ignored)


class _Careful:
    """Takes what the fast path left; the reasons of one reading become one entry."""

    def __init__(self, records: Sequence[Record], context: Context, journal: str) -> None:
        self.columns = Columns()
        self.ignored = 0
        self._records, self._context, self._journal = records, context, journal
        self._found: dict[tuple[int, int], list[Rejected]] = {}

    def reject(self, record: int, part: int, reason: Rejected) -> None:
        """Note one reason."""
        self._found.setdefault((record, part), []).append(reason)

    def entries(self) -> list[QuarantineEntry]:
        """Everything rejected, in the order of the journal."""
        return [self._entry(*key, reasons) for key, reasons in sorted(self._found.items())]

    def decode(self, suspect: Suspect) -> None:
        """Decode a message, or one reading of it."""
        index, part, item = suspect
        record = self._records[index]
        route = self._context.route(record.topic)
        if isinstance(route, Rejected):
            self.reject(index, -1, route)
            return
        try:
            if isinstance(route, Ignored):
                self.ignored += 1
            elif not isinstance(route, SiteMeters):
                self._claimed(index, record, route)
            elif part >= 0:
                self._native(index, part, item, route)
            else:
                limit = self._context.settings.max_readings
                for number, each in enumerate(items_of(record.payload, max_readings=limit)):
                    self._native(index, number, each, route)
        except Rejected as reason:
            self.reject(index, -1, reason)

    def _entry(self, record: int, part: int, reasons: list[Rejected]) -> QuarantineEntry:
        sentences = [reason.message for reason in reasons[:_REASONS_SHOWN]]
        if (more := len(reasons) - _REASONS_SHOWN) > 0:
            sentences.append(f"And {more} more.")
        sequence, received_us, topic = self._records[record][:3]
        return QuarantineEntry(
            journal=self._journal,
            sequence=sequence,
            part=part,
            received_at=_EPOCH + timedelta(microseconds=received_us),
            topic=printable(topic),
            code=reasons[0].code,
            message=" ".join(sentences),
            meter=printable(reasons[0].meter),
        )

    def _keep(self, index: int, part: int, accepted: Accepted) -> None:
        self.columns.add(
            meter=accepted.meter,
            read_us=accepted.read_us,
            flags=accepted.flags,
            record=index,
            part=part,
            shape=accepted.shape,
            values=accepted.values,
        )

    def _native(self, index: int, part: int, item: object, route: SiteMeters) -> None:
        accepted, reasons = read_item(
            item,
            route,
            self._context.caches,
            received_us=self._records[index].received_at,
            elsewhere=self._context.site_of,
        )
        if accepted is not None:
            self._keep(index, part, accepted)
        for reason in reasons:
            self.reject(index, part, reason)

    def _claimed(self, index: int, record: Record, claims: Sequence[Claim]) -> None:
        """Decode a message that one or several JSON profiles claim.

        Several profiles may share a topic; the meter, by its profile in the site model, decides.
        """
        message = load_json(record.payload)
        refusals: list[Rejected] = []
        for profile, places in claims:
            try:
                parts = readings_in(message, profile.groups, places, self._context.caches.times)
            except Rejected as reason:
                refusals.append(reason)
                continue
            if len(claims) == 1 or any(self._codes(profile, part) for part in parts):
                for number, part in enumerate(parts):
                    self._part(index, number, part, profile)
                return
            refusals.append(_unknown(parts[0].serial, profile, []))
        if any(c.profile.sparse for c in claims) and {r.code for r in refusals} == {"no_registers"}:
            self.ignored += 1
            return
        raise min(refusals, key=lambda reason: reason.code != "unknown_meter")

    def _codes(self, profile: Profile, part: ProfileReading) -> list[int]:
        return self._context.by_profile.get((profile.name, part.serial), [])

    def _part(self, index: int, number: int, part: ProfileReading, profile: Profile) -> None:
        codes = self._codes(profile, part)
        if len(codes) != 1:
            self.reject(index, number, _unknown(part.serial, profile, codes))
            return
        meter = self._context.meters[codes[0]]
        shape, values, reasons = read_registers(
            part.registers, part.units, self._context.caches.book, meter=meter
        )
        if values and part.read_us is None:
            arrived_us, stamped = self._records[index].received_at, int(Flag.STAMPED)
            self._keep(index, number, Accepted(codes[0], arrived_us, stamped, shape, values))
        elif values and part.read_us is not None:
            self._keep(index, number, Accepted(codes[0], part.read_us, 0, shape, values))
        for reason in reasons:
            self.reject(index, number, reason)


def _unknown(serial: str, profile: Profile, codes: Sequence[int]) -> Rejected:
    if codes:
        return Rejected(
            "unknown_meter",
            f"Wanted one site with the meter {shown(serial)}, found {len(codes)}. "
            f"Let the gateway use the native topic, which names the site.",
            meter=serial,
        )
    return Rejected(
        "unknown_meter",
        f"Wanted a meter with `profile: {profile.name}` in the site file, found {shown(serial)}. "
        f"Add it, then replay the quarantine.",
        meter=serial,
    )
