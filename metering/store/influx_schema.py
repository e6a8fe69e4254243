"""How the store is laid out in InfluxDB: measurements, tags, fields, and names in its languages.

All fields are floats, always: an integer that comes into another shard is accepted and then takes
whole series out of answers, silently. Sequences and times of arrival are exact as floats below
2**53. Layout and reasons: flux/README.md.
"""

from __future__ import annotations

import re
from collections.abc import Collection
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
_TROUBLE: Final = frozenset("\\,=")
_RESERVED: Final = frozenset(("time", "name", "tags", "meter", "journal", "page", "site"))
_LIMIT_NS: Final = 2**63 - 3 * NS_PER_US
_EXACT: Final = 2**53

_FEW: Final = 10

Nanoseconds: TypeAlias = NDArray[np.int64]


def stored_name(name: str) -> str:
    """A name as tag value or field key: as it is, unless InfluxDB cannot carry it.

    Names are percent-encoded behind `~~` if they are empty, begin with `~` or `_`, mean something
    else there, or hold a backslash, a comma, an equals sign or what cannot be printed.
    """
    plain = name.isprintable() and not _TROUBLE.intersection(name)
    if plain and name and name[0] not in "~_" and name not in _RESERVED:
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
    return f"{np.datetime64(ns_within(ns), 'ns')}Z"


def flux_any(column: str, names: Collection[str]) -> str:
    """A filter for rows whose column has one of these values, in a form InfluxDB pushes down.

    Many are a regular expression: a chain of a hundred terms is refused as nested too deep, and a
    tree of them takes five times as long.
    """
    if len(names) > _FEW:
        return f"  |> filter(fn: (r) => r.{column} =~ {_pattern(names)})\n"
    terms = " or ".join(f"r.{column} == {flux_text(name)}" for name in names)
    return f"  |> filter(fn: (r) => {terms})\n"


def ql_name(name: str) -> str:
    """A field or measurement in InfluxQL."""
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def ql_any(tag: str, names: Collection[str]) -> str:
    """A condition in InfluxQL that a tag has one of these values."""
    if len(names) > _FEW:
        return f"{tag} =~ {_pattern(names)}"
    terms = [f"{tag} = {ql_text(name)}" for name in names]
    return f"({' OR '.join(terms)})"


def _pattern(names: Collection[str]) -> str:
    """A regular expression, as both languages write it, for exactly these names."""
    return "/^(" + "|".join(re.escape(name).replace("/", "\\/") for name in names) + ")$/"


def ql_text(text: str) -> str:
    """A string literal of InfluxQL."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def line_text(text: str) -> bytes:
    """A tag value or field key in line protocol."""
    for sign in (",", "=", " "):
        text = text.replace(sign, "\\" + sign)
    return text.encode()


def ns_within(ns: int) -> int:
    """An instant, moved into the times InfluxDB knows."""
    return min(max(ns, -_LIMIT_NS), _LIMIT_NS)


def span_ns(period: Period) -> tuple[int, int]:
    """A half-open period in nanoseconds, cut to the times InfluxDB knows."""
    low, high = (us_of(to_us(t)) * NS_PER_US for t in (period.start, period.end))
    return ns_within(low), ns_within(high)


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
