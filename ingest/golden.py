"""Runs a profile's golden payloads through the decoder, as records of a journal would go."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ingest.context import Context
from ingest.decoding import decode_batch
from ingest.journal_records import Record
from ingest.profile_model import EXAMPLE_SITE, Example, Profile, Profiles
from metering.readings import flag_names

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CLOSE = 1e-12
"""Relative; the value may differ by the last bits of a unit's ratio."""


def failed_examples(profile: Profile, profiles: Profiles) -> list[str]:
    """Return one sentence for each golden payload that means something else; best is none."""
    sentences = []
    for example in profile.examples:
        if difference := _difference(example, profile, profiles):
            sentences.append(f"{profile.file}: {example.what}: {difference}")
    return sentences


def _difference(example: Example, profile: Profile, profiles: Profiles) -> str:
    arrived_us = (example.received_at - _EPOCH) // timedelta(microseconds=1)
    record = Record(1, arrived_us, example.topic, example.payload, "test", "golden")
    context = Context({EXAMPLE_SITE: dict.fromkeys(example.meters, profile.name)}, profiles)
    decoded = decode_batch([record], context, journal="golden")
    codes = tuple(entry.code for entry in decoded.rejected)
    if codes != example.quarantined:
        reasons = " ".join(entry.message for entry in decoded.rejected)
        return f"wanted {example.quarantined or 'nothing'} quarantined, found {codes}. {reasons}"
    wanted = {
        (f"{EXAMPLE_SITE}/{e.meter}", e.register): (
            e.value,
            e.read_at or example.received_at,
            list(e.flags),
        )
        for e in example.expect
    }
    found = {
        (r.meter, r.register): (r.value, r.read_at, flag_names(r.flags))
        for r in decoded.readings.rows()
    }
    if wanted.keys() != found.keys():
        return f"wanted {sorted(wanted)}, found {sorted(found)}."
    for key, (value, read_at, flags) in wanted.items():
        got, got_at, got_flags = found[key]
        if abs(got - value) > _CLOSE * abs(value) or (got_at, got_flags) != (read_at, flags):
            return f"{key}: wanted {wanted[key]}, found {found[key]}."
    return ""
