"""Indicators in InfluxDB: one measurement in the derived bucket, which panels read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np

from metering.periods import Period
from metering.store.indicators import Indicator, latest_of_each
from metering.store.influx_client import Influx
from metering.store.influx_columns import ask, select
from metering.store.influx_schema import (
    NS_PER_US,
    flux_any,
    flux_text,
    flux_time,
    line_text,
    plain_name,
    site_of,
    span_ns,
    stored_name,
)

INDICATOR: Final = "indicator"
NOTHING: Final = "-"
"""The tag `about` of rows that are about nothing in particular; InfluxDB has no empty tags."""

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

_TAGS = ("subject", "about", "quantity")


def put_indicators(influx: Influx, bucket: str, rows: Sequence[Indicator]) -> None:
    """Write rows; those with the same keys are written over."""
    series: dict[tuple[str, str, str], bytes] = {}
    lines = []
    for row in latest_of_each(rows):
        name = row.subject, row.about, row.quantity
        if name not in series:
            series[name] = _series(*name)
        lines.append(series[name] + _point(row))
    if lines:
        influx.write(bucket, lines)


def read_indicators(
    influx: Influx,
    bucket: str,
    period: Period,
    *,
    subjects: Sequence[str] | None,
    quantities: Sequence[str] | None,
) -> list[Indicator]:
    """The rows of a period, sorted."""
    low, high = span_ns(period)
    if low >= high or subjects == [] or quantities == []:
        return []
    flux = (
        f"from(bucket: {flux_text(bucket)})\n"
        f"  |> range(start: {flux_time(low)}, stop: {flux_time(high)})\n"
        f"  |> filter(fn: (r) => r._measurement == {flux_text(INDICATOR)})\n"
    )
    for column, names in (("subject", subjects), ("quantity", quantities)):
        if names is not None:
            flux += flux_any(column, [stored_name(name) for name in names])
    values = ask(influx, flux + '  |> filter(fn: (r) => r._field == "value")\n', tags=_TAGS)
    said = _texts(influx, flux)
    found = []
    tags = zip(*(values.tags[name] for name in _TAGS), strict=True)
    for (subject, about, quantity), ns, value in zip(
        tags, values.time.tolist(), values.value.tolist(), strict=True
    ):
        text = said.get((subject, about, quantity, ns), "")
        at = EPOCH + ns // NS_PER_US * _MICROSECOND
        found.append(Indicator(subject, _plain(about), quantity, at, value, text))
    return sorted(found)


def count_indicators(influx: Influx, bucket: str, period: Period) -> int:
    """How many rows a period has."""
    low, high = span_ns(period)
    if low >= high:
        return 0
    found = select(
        influx, bucket, INDICATOR, low_ns=low, high_ns=high, tags=("site",), counted=True
    )
    return int(np.nansum(found.fields["value"])) if len(found) else 0


def drop_indicators(
    influx: Influx,
    bucket: str,
    period: Period,
    subjects: Sequence[str],
    quantities: Sequence[str],
) -> None:
    """Forget the rows of a period, of these subjects and quantities; one request for each pair."""
    low, high = span_ns(period)
    if low >= high:
        return
    for subject in subjects:
        for quantity in quantities:
            of_subject = f"subject={_in_predicate(subject)}"
            of_quantity = f"quantity={_in_predicate(quantity)}"
            only = f'_measurement="{INDICATOR}" AND {of_subject} AND {of_quantity}'
            influx.delete(bucket, low, high, only)


def _in_predicate(name: str) -> str:
    escaped = stored_name(name).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def forget_indicators(influx: Influx, bucket: str) -> None:
    """Delete all of them."""
    influx.delete(bucket, -(2**63), 2**63, f'_measurement="{INDICATOR}"')


def _texts(influx: Influx, flux: str) -> dict[tuple[str, str, str, int], str]:
    table = influx.query(
        flux + '  |> filter(fn: (r) => r._field == "text")\n'
        '  |> rename(columns: {_value: "text"})\n'
        '  |> keep(columns: ["_time", "text", "subject", "about", "quantity"])\n'
    )
    if not table.num_rows:
        return {}
    columns = [[plain_name(t) for t in table.column(name).to_pylist()] for name in _TAGS]
    times = table.column("_time").cast("int64").to_pylist()
    return dict(
        zip(zip(*columns, times, strict=True), table.column("text").to_pylist(), strict=True)
    )


def _series(subject: str, about: str, quantity: str) -> bytes:
    """Measurement and tags of a line; the same for all times of a series."""
    tags = {
        "about": stored_name(about) if about else NOTHING,
        "quantity": stored_name(quantity),
        "site": site_of(subject),
        "subject": stored_name(subject),
    }
    named = (name.encode() + b"=" + line_text(value) for name, value in tags.items())
    return b",".join([INDICATOR.encode(), *named])


def _point(row: Indicator) -> bytes:
    """Fields and time of a line."""
    fields = f" value={row.value!r}".encode()
    if row.text:
        fields += b',text="' + _quoted(row.text) + b'"'
    us = (row.at - EPOCH) // _MICROSECOND
    return fields + b" %d" % (us * NS_PER_US)


def _quoted(text: str) -> bytes:
    safe = text.replace("\n", " ").replace("\\", "\\\\").replace('"', '\\"')
    return safe.encode("utf-8", "replace")


def _plain(about: str) -> str:
    return "" if about == NOTHING else about
