"""How the store is laid out in InfluxDB: measurements, tags, fields, and names in its languages.

All fields are floats, always: an integer that comes into another shard is accepted and then takes
whole series out of answers, silently. Sequences and times of arrival are exact as floats below
2**53. Layout and reasons: flux/README.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeAlias
from urllib.parse import quote, unquote

import numpy as np
from numpy.typing import NDArray

from metering.periods import Period, Times, to_us
from metering.readings import Readings

SCHEMA_VERSION: Final = 1

READING: Final = "reading"
"""One point per meter, journal and time: what counts among the rows of that journal."""
SUPERSEDED: Final = "superseded"
"""Rows of a journal that do not count, or did not at some time; apart by nanoseconds."""
META: Final = "meta"
"""The store's name and the journals that write into it, at the epoch."""
SOURCE: Final = "source"
"""What hours were made from: the text of every code, at the epoch."""

SEQUENCE: Final = "~sequence"
RECEIVED: Final = "~received"
FLAGS: Final = "~flags"
"""With `:` and a register's name: of this register alone. Flags are there where not zero."""

SLOTS: Final = 1000
"""Rows of one meter, journal and microsecond that fit into one series of `superseded`."""

NS_PER_US: Final = 1000
_LIMIT_NS: Final = 2**63 - 3 * NS_PER_US
_EXACT: Final = 2**53

Nanoseconds: TypeAlias = NDArray[np.int64]


def stored_name(name: str) -> str:
    """A name as tag value or field key: as it is, unless the line protocol cannot carry it.

    Names that are empty, begin with `~` or hold a backslash or a control character are
    percent-encoded behind `~~`.
    """
    if name and not name.startswith("~") and "\\" not in name and name.isprintable():
        return name
    return "~~" + quote(name, safe="")


def plain_name(stored: str) -> str:
    """The name behind a tag value or field key."""
    return unquote(stored[2:]) if stored.startswith("~~") else stored


def of_register(kind: str, register: str) -> str:
    """The field that says something of one register, such as its flags."""
    return f"{kind}:{stored_name(register)}"


def site_of(name: str) -> str:
    """The tag `site` of a meter or subject: what stands before the first stroke, or the name."""
    return stored_name(name.partition("/")[0])


def flux_text(text: str) -> str:
    """A string literal of Flux."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("${", "\\${")
    return f'"{escaped}"'


def flux_time(ns: int) -> str:
    """An instant as Flux and the delete API write it."""
    bounded = min(max(ns, -_LIMIT_NS), _LIMIT_NS)
    return f"{np.datetime64(bounded, 'ns')}Z"


def flux_any(column: str, names: Iterable[str]) -> str:
    """A filter for rows whose column has one of these values, in a form InfluxDB pushes down.

    The terms are paired like a tree: Flux refuses a chain of a hundred as nested too deep.
    """
    terms = [f"r.{column} == {flux_text(name)}" for name in names]
    while len(terms) > 1:
        pairs = [f"({a} or {b})" for a, b in zip(terms[::2], terms[1::2], strict=False)]
        terms = pairs + terms[len(terms) - len(terms) % 2 :]
    return f"  |> filter(fn: (r) => {terms[0]})\n"


def line_text(text: str) -> bytes:
    """A tag value or field key in line protocol."""
    for sign in (",", "=", " "):
        text = text.replace(sign, "\\" + sign)
    return text.encode()


def span_ns(period: Period) -> tuple[int, int]:
    """A half-open period in nanoseconds, cut to the times InfluxDB knows."""
    low, high = (us_of(to_us(t)) * NS_PER_US for t in (period.start, period.end))
    return max(low, -_LIMIT_NS), min(high, _LIMIT_NS)


def us_of(instant: np.datetime64) -> int:
    """Microseconds since the epoch."""
    return int(instant.astype(np.int64))


def to_ns(times: Times) -> Nanoseconds:
    """Times as InfluxDB counts them."""
    return np.asarray(times.astype(np.int64) * NS_PER_US)


def to_times(ns: Nanoseconds) -> Times:
    """The microsecond each instant lies in; what is below it tells rows apart."""
    return np.asarray((ns // NS_PER_US).astype("datetime64[us]"))


def check_fits(batch: Readings) -> None:
    """Refuse what InfluxDB has no place for.

    Raises:
        ValueError: A time outside of 1677 to 2262, or a sequence of 2**53 and more.
    """
    limit = _LIMIT_NS // NS_PER_US
    odd = np.abs(batch.read_at.astype(np.int64)) > limit
    odd |= np.abs(batch.sequence) >= _EXACT
    odd |= np.abs(batch.received_at.astype(np.int64)) >= _EXACT
    if odd.any():
        i = int(np.flatnonzero(odd)[0])
        raise ValueError(
            f"Wanted times from 1677 to 2262 and sequences below 2**53, found {batch.read_at[i]}, "
            f"received {batch.received_at[i]}, sequence {batch.sequence[i]} for "
            f"{batch.meters[batch.meter[i]]}. Set such readings aside before they are added."
        )
