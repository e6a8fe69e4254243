"""The Flux of panels and variables: files in `flux/` with `{{name}}` where an expression belongs.

Grafana puts the values of variables in (`${site:doublequote}` becomes `"park"`, escaped) and the
range of the dashboard (`v.timeRangeStart`). Where a query has one of the places of `USUAL`, it need
not be named by the caller.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib import resources
from typing import Any, Final

from dashboards.texts import Texts
from metering.store.flux_queries import FluxQueryError, flux_query, flux_query_names
from metering.store.influx_schema import flux_text

USUAL: Final = {
    "bucket": "${bucket:doublequote}",
    "derived": "${derived:doublequote}",
    "timezone": "${timezone:doublequote}",
    "site": "${site:doublequote}",
    "start": "v.timeRangeStart",
    "stop": "v.timeRangeStop",
    "every": "v.windowPeriod",
}
NAMES: Final = """dict.fromList(
    pairs: array.map(
        arr: array.concat(arr: ["|"], v: from(bucket: {derived})
          |> range(start: {start}, stop: {stop})
          |> filter(fn: (r) => r._measurement == "indicator" and r.site == {site} and r.quantity == "building_name")
          |> filter(fn: (r) => r._field == "text")
          |> last()
          |> group()
          |> map(fn: (r) => ({{_value: r.subject + "|" + r._value}}))
          |> findColumn(fn: (key) => true, column: "_value")),
        fn: (x) => {{
            parts = strings.splitN(v: x, t: "|", i: 2)

            return {{key: parts[0], value: parts[1]}}
        }},
    ),
)"""  # noqa: E501
"""Names of the buildings of a site by subject, as last said; needs array, dict and strings.

Of an array without anything in it `dict.fromList` makes an error: one pair is always there."""
NAMES_LATELY: Final = NAMES.format(
    **{name: USUAL[name] for name in ("derived", "site", "stop")},
    start=f"date.sub(d: 3d, from: {USUAL['stop']})",
)
NAMES_EVER: Final = NAMES.format(
    **{name: USUAL[name] for name in ("derived", "site")}, start="time(v: 0)", stop="now()"
)
USUAL["names"] = NAMES_LATELY
SITE: Final = USUAL["site"]
BUILDING: Final = f'{SITE} + "/" + ${{building:doublequote}}'
CARRIER: Final = "${carrier:doublequote}"
DATASOURCE: Final = {"type": "influxdb", "uid": "tanyuan-influxdb"}

OF_SITE: Final = f"r.subject == {SITE}"
OF_BUILDING: Final = f"r.subject == {BUILDING}"
BUILDINGS: Final = f"r.site == {SITE} and r.subject =~ /\\//"
POINTS: Final = BUILDINGS
AT_SITE: Final = f"r.site == {SITE}"
PLATFORM: Final = 'r.site == "tanyuan"'
"""Conditions of Flux: the site itself, one building, all buildings, all points, all that is at the
site, our processes."""

OF_HOURS: Final = "timezone.utc"
OF_DAYS: Final = f"timezone.location(name: {USUAL['timezone']})"
"""Where windows begin: hours in UTC, days in the zone of the site."""
WHOLE_DAYS: Final = f"date.truncate(t: {USUAL['start']}, unit: 1d)"
"""The beginning of the first day of the range."""
WHOLE_HOURS: Final = f"date.truncate(t: date.add(d: 3599999ms, to: {USUAL['start']}), unit: 1h)"
"""The first whole hour of the range: the rest of one before it would make all bars as narrow."""

LATELY: Final = "10m"
"""What is computed every minute and is older than this is not shown as being so now."""
LAST_DAYS: Final = "3d"
"""What is computed every day."""

_PLACE = re.compile(r"\{\{(\w+)\}\}")


def query_names() -> list[str]:
    """The queries of this package, sorted."""
    files = resources.files("dashboards").joinpath("flux").iterdir()
    return sorted(f.name.removesuffix(".flux") for f in files if f.name.endswith(".flux"))


def query(name: str, **expressions: str) -> str:
    """A query of this package, or else of the store, with its places filled in.

    Args:
        name: The file, without `.flux`.
        expressions: Flux for the places that `USUAL` does not fill, or fills otherwise.

    Raises:
        FluxQueryError: An expression is missing, or there is no place for it.
    """
    if name not in query_names() and name in flux_query_names():
        places = set(_PLACE.findall(_source("metering.store", name)))
        usual = {place: USUAL[place] for place in places & set(USUAL)}
        return flux_query(name, **(usual | expressions))
    lines = _source("dashboards", name).splitlines()
    text = "\n".join(line for line in lines if not line.startswith("//"))
    wanted = set(_PLACE.findall(text))
    if missing := wanted - set(expressions) - set(USUAL):
        raise FluxQueryError(f"{name}.flux also wants {', '.join(sorted(missing))}.")
    if unknown := set(expressions) - wanted:
        raise FluxQueryError(f"{name}.flux has no place for {', '.join(sorted(unknown))}.")
    given = USUAL | expressions
    return _PLACE.sub(lambda place: given[place[1]], text) + "\n"


def latest(where: str, *quantities: str, back: str = LATELY, form: str = "latest") -> str:
    """The newest figures of some quantities; `form` is one of the queries that read them."""
    return query(form, where=where, quantities=one_of(quantities), back=back)


def series(
    where: str,
    *quantities: str,
    by: str = "subject",
    every: str = "v.windowPeriod",
    fn: str = "mean",
) -> str:
    """Figures over time, one series for each value of the tag `by`."""
    return query(
        "series",
        start=WHOLE_HOURS if every == "1h" else USUAL["start"],
        where=where,
        quantities=one_of(quantities),
        by=f'["{by}"]',
        every=every,
        fn=fn,
        kept=f'["_time", "_value", "{by}"]',
    )


def days(where: str, quantity: str, *, by: str, fn: str = "sum") -> str:
    """A figure of the site's own days, one series for each value of the tag `by`."""
    return query(
        "days",
        where=where,
        quantities=one_of([quantity]),
        by=f'["{by}"]',
        fn=fn,
        kept=f'["_time", "_value", "{by}"]',
    )


def target(flux: str, ref: str = "A") -> dict[str, Any]:
    """A query as a panel holds it."""
    return {"datasource": dict(DATASOURCE), "query": flux, "refId": ref}


def targets(*flux: str) -> list[dict[str, Any]]:
    """Queries of one panel, A, B, C, ..."""
    return [target(text, chr(ord("A") + i)) for i, text in enumerate(flux)]


def text(value: str) -> str:
    """A string of Flux."""
    return flux_text(value)


def flux_words(t: Texts, prefix: str) -> str:
    """The words behind a prefix as a dictionary of Flux."""
    pairs = (f"{text(key)}: {text(word)}" for key, word in t.begins(prefix).items())
    return f"[{', '.join(pairs)}]"


def one_of(names: Iterable[str]) -> str:
    """A regular expression of Flux for exactly these names, which InfluxDB looks up itself."""
    return "/^(" + "|".join(re.escape(name) for name in names) + ")$/"


def _source(package: str, name: str) -> str:
    file = resources.files(package).joinpath("flux", f"{name}.flux")
    if not file.is_file():
        raise FluxQueryError(f"No query {name}. There are {', '.join(query_names())}.")
    return file.read_text(encoding="utf-8")
