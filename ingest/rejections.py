"""Why a message, or one reading of it, is quarantined: stable codes and one sentence each.

Whatever came from outside is quoted short and printable, so that a sentence can be logged, shown
and kept by any ledger.
"""

from __future__ import annotations

import math
from typing import Final

CODES: Final[dict[str, str]] = {
    "unknown_topic": "no profile claims the topic",
    "unknown_site": "the topic names a site this home does not have",
    "invalid_utf8": "the payload is not UTF-8 text",
    "bad_json": "the payload is not JSON",
    "not_an_object": "a JSON object was wanted, and something else was there",
    "too_many_readings": "one message carries more readings than allowed",
    "missing_meter": "a reading does not say which meter",
    "unknown_meter": "the site model has no such meter",
    "wrong_site": "the meter belongs to another site of this home",
    "bad_time": "the time cannot be read or cannot be",
    "time_without_offset": "the time does not say in which zone it is",
    "no_registers": "a reading carries no register",
    "unknown_register": "a register has a name no profile knows",
    "unknown_unit": "a unit is unknown or does not fit its register",
    "not_finite": "a value is no finite number",
    "decoder_fault": "our decoder failed on this message: a bug of ours",
}
"""Every reason code, and what it means."""

_SHOWN = 80


class Rejected(ValueError):
    """A message or a reading that cannot be read; the code is stable."""

    def __init__(self, code: str, message: str, *, meter: str = "") -> None:
        super().__init__(message)
        self.code, self.message, self.meter = code, message, meter


def printable(text: str, *, limit: int = 200) -> str:
    """Text from outside without what a ledger or a terminal could stumble over."""
    cut = text if len(text) <= limit else text[:limit] + "…"
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in cut)


def shown(value: object) -> str:
    """A value from outside as a sentence quotes it: short, and printable."""
    if isinstance(value, dict):
        return f"an object with {len(value)} keys"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and abs(value) >= 10**_SHOWN:
        return "a number of more than 80 digits"
    if isinstance(value, str):
        return f'"{printable(value, limit=_SHOWN)}"'
    return printable(repr(value), limit=_SHOWN)


def not_finite(register: str, value: object, *, meter: str = "") -> Rejected:
    """The rejection of a value that is no finite number."""
    remedy = "Send a JSON number; leave the register out when it is not known."
    if isinstance(value, str):
        remedy = "Send a JSON number, without quotes; leave it out when it is not known."
    elif isinstance(value, float) and math.isfinite(value):
        remedy = "In the register's canonical unit it is too large; look at the unit."
    message = f"Wanted a finite number for {register}, found {shown(value)}. {remedy}"
    return Rejected("not_finite", message, meter=meter)
