"""The panels all dashboards are made of: core panels that Grafana 9.4 and later both know.

A panel's title is the text of its key, its description the text of the key with `.about`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dashboards.layout import Panel
from dashboards.look import ALL_CALM, BAD, UNKNOWN, Mapping, Override, nothing
from dashboards.queries import DATASOURCE, targets
from dashboards.texts import Texts

Options = dict[str, Any]


def stat(
    t: Texts,
    key: str,
    *flux: str,
    unit: str = "none",
    decimals: int | None = 0,
    thresholds: Options = ALL_CALM,
    mappings: Sequence[Mapping] = (),
    overrides: Sequence[Override] = (),
    names: bool = False,
    name: str | None = None,
    fields: str = "",
    size: int | None = None,
    no_value: str = "unknown",
) -> Panel:
    """The one number that matters; with `names`, several beside each other, each with its name.

    Args:
        t: The texts.
        key: Of the title.
        flux: Queries.
        unit: As Grafana spells it.
        decimals: Digits behind the point; None as many as it takes.
        thresholds: Colours by value.
        mappings: Words for values.
        overrides: Settings of single fields.
        names: Whether the names of the fields are shown.
        name: Of every field, such as `${__field.labels.known}`, where overrides give none.
        fields: Which fields, as a regular expression; empty for all numbers.
        size: Of the number in pixels; as large as fits if None.
        no_value: The key of what is shown when nothing is known.
    """
    options: Options = {
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "textMode": "value_and_name" if names else "value",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": fields, "values": False},
        "text": {"valueSize": size} if size else {},
    }
    words = [*mappings, nothing(t(no_value), BAD if no_value == "not_heard" else UNKNOWN)]
    field = _field(t, unit, decimals, thresholds, words, no_value)
    field |= {"displayName": name} if name else {}
    panel = _panel(t, key, "stat", flux, options, field, overrides)
    return panel | ({"transformations": [_in_order(overrides)]} if overrides else {})


def bargauge(
    t: Texts,
    key: str,
    *flux: str,
    unit: str = "none",
    decimals: int | None = 0,
    thresholds: Options = ALL_CALM,
    color: Options | None = None,
    overrides: Sequence[Override] = (),
    links: Sequence[Options] = (),
    no_value: str = "unknown",
) -> Panel:
    """A bar per row of the answer, in its order."""
    options: Options = {
        "displayMode": "basic",
        "orientation": "horizontal",
        "showUnfilled": True,
        "minVizHeight": 10,
        "minVizWidth": 0,
        "valueMode": "text",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": True, "limit": 12},
        "text": {"valueSize": 20},
    }
    field = _field(t, unit, decimals, thresholds, (), no_value)
    field |= {"min": 0, "links": list(links)}
    if color:
        field["color"] = color
    return _panel(t, key, "bargauge", flux, options, field, overrides)


def timeseries(
    t: Texts,
    key: str,
    *flux: str,
    unit: str = "none",
    decimals: int | None = None,
    bars: bool = False,
    stacked: bool = False,
    name: str | None = None,
    low: float | None = 0,
    high: float | None = None,
    overrides: Sequence[Override] = (),
    interval: str | None = None,
    back: str | None = None,
) -> Panel:
    """Values over time. A gap is a gap: nothing is drawn across what is not known.

    Args:
        t: The texts.
        key: Of the title.
        flux: Queries; each series is named by `name` or an override.
        unit: As Grafana spells it.
        decimals: Digits behind the point; as many as it takes if None.
        bars: Bars, for amounts of an hour or a day; else a line.
        stacked: Whether series stand on each other.
        name: Of the series, such as `${__field.labels.building}`.
        low: Where the axis begins, if not where the values do.
        high: Where it ends.
        overrides: Settings of single series.
        interval: The shortest window of a point.
        back: A range of its own, such as `30d`, instead of the dashboard's.
    """
    field = _field(t, unit, decimals, ALL_CALM, (), "unknown") | {
        "color": {"mode": "palette-classic"},
        "custom": _drawn(bars=bars, stacked=stacked),
        **({"displayName": name} if name else {}),
        **({"min": low} if low is not None else {}),
        **({"max": high} if high is not None else {}),
    }
    # Grafana draws a gap as the number in `noValue`, and writes it at marks of the axis.
    del field["noValue"]
    options = {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    panel = _panel(t, key, "timeseries", flux, options, field, overrides)
    return panel | ({"interval": interval} if interval else {}) | _range(back)


def table(
    t: Texts,
    key: str,
    *flux: str,
    overrides: Sequence[Override] = (),
    order: Sequence[tuple[str, bool]] = (),
    back: str | None = None,
    no_value: str = "unknown",
) -> Panel:
    """Rows of an answer. Each column is named and shaped by an override.

    Args:
        t: The texts.
        key: Of the title.
        flux: Queries.
        overrides: Settings of the columns.
        order: Columns by their shown names, with whether the largest is first.
        back: A range of its own instead of the dashboard's.
        no_value: The key of what is shown when nothing is known.
    """
    field = _field(t, "none", None, ALL_CALM, (), no_value)
    custom = {"align": "auto", "displayMode": "auto", "inspect": False, "minWidth": 60}
    field["custom"] = custom
    options = {
        "showHeader": True,
        "cellHeight": "sm",
        "footer": {"show": False, "reducer": ["sum"], "countRows": False, "fields": ""},
        "sortBy": [{"displayName": name, "desc": largest} for name, largest in order],
    }
    panel = _panel(t, key, "table", flux, options, field, overrides)
    return panel | {"transformations": [_in_order(overrides)]} | _range(back)


def state_timeline(
    t: Texts,
    key: str,
    *flux: str,
    name: str,
    unit: str = "none",
    thresholds: Options = ALL_CALM,
    mappings: Sequence[Mapping] = (),
    interval: str | None = None,
) -> Panel:
    """One line per subject whose colour is its state; what is not known stays empty."""
    field = _field(t, unit, None, thresholds, mappings, "unknown") | {
        "color": {"mode": "thresholds"},
        "displayName": name,
        "custom": {"lineWidth": 0, "fillOpacity": 85, "spanNulls": False},
    }
    options = {
        "mergeValues": True,
        "showValue": "never",
        "alignValue": "left",
        "rowHeight": 0.85,
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False},
        "tooltip": {"mode": "single", "sort": "none"},
    }
    panel = _panel(t, key, "state-timeline", flux, options, field, ())
    return panel | ({"interval": interval} if interval else {})


def words(t: Texts, key: str) -> Panel:
    """A sentence or two that are always true: how to read what stands beside them."""
    options = {"mode": "markdown", "content": t(f"{key}.words")}
    panel = _panel(t, key, "text", (), options, {}, ())
    return panel | {"transparent": True}


def _in_order(overrides: Sequence[Override]) -> Options:
    """Columns in the order of their overrides; InfluxDB answers in that of the alphabet."""
    names = [str(each["matcher"]["options"]) for each in overrides]
    order = {name: place for place, name in enumerate(names)}
    options = {"indexByName": order, "excludeByName": {}, "renameByName": {}}
    return {"id": "organize", "options": options}


def _drawn(*, bars: bool, stacked: bool) -> Options:
    """How a series is drawn: never across what is not known."""
    return {
        "drawStyle": "bars" if bars else "line",
        "lineInterpolation": "linear",
        "lineWidth": 1 if bars else 2,
        "fillOpacity": 80 if bars else (25 if stacked else 8),
        "gradientMode": "none",
        "showPoints": "never" if bars else "auto",
        "pointSize": 4,
        "spanNulls": False,
        "barAlignment": 1 if bars else 0,
        "barWidthFactor": 0.85,
        "axisBorderShow": False,
        "axisPlacement": "auto",
        "axisLabel": "",
        "axisSoftMin": 0,
        "scaleDistribution": {"type": "linear"},
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
        "hideFrom": {"legend": False, "tooltip": False, "viz": False},
        "thresholdsStyle": {"mode": "off"},
    }


def _range(back: str | None) -> Options:
    return {"timeFrom": back, "hideTimeOverride": False} if back else {}


def _field(
    t: Texts,
    unit: str,
    decimals: int | None,
    thresholds: Options,
    mappings: Sequence[Mapping],
    no_value: str,
) -> Options:
    return {
        "unit": unit,
        **({} if decimals is None else {"decimals": decimals}),
        "color": {"mode": "thresholds"},
        "thresholds": thresholds,
        "mappings": list(mappings),
        "noValue": t(no_value),
    }


def _panel(
    t: Texts,
    key: str,
    kind: str,
    flux: Sequence[str],
    options: Options,
    field: Options,
    overrides: Sequence[Override],
) -> Panel:
    return {
        "type": kind,
        "title": t(key),
        "description": t(f"{key}.about"),
        "datasource": dict(DATASOURCE),
        "targets": targets(*flux),
        "options": options,
        "fieldConfig": {"defaults": field, "overrides": list(overrides)},
        "transparent": False,
    }
