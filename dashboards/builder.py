"""What surrounds the panels of a dashboard: variables, links, annotations, range and refresh."""

from __future__ import annotations

from typing import Any, Final

from dashboards.layout import Row, place
from dashboards.look import WARN
from dashboards.queries import AT_SITE, DATASOURCE, NAMES_EVER, flux_words, query, target, text
from dashboards.texts import Texts

Dashboard = dict[str, Any]
Variable = dict[str, Any]

SCHEMA_VERSION: Final = 37
"""Of Grafana 9.4; later releases bring a dashboard of it up to theirs when they open it."""
FOLDER: Final = "Tanyuan 碳园"
FOLDER_UID: Final = "tanyuan"
BUCKET: Final = "tanyuan"
"""Of readings; derived figures are in the one with `_derived` behind it."""
TIMEZONE: Final = "Asia/Shanghai"
"""In which days are counted where there is no site, or nothing said yet in which its days are."""

WORDED: Final = r"/^(?<value>[^|]+)\|(?<text>.+)$/"
"""Of choices that are a value and what people read of it, such as `heat:kWh|heat · kWh`."""

ON_LOAD: Final = 1
"""A variable is asked for when the dashboard is opened, over all time: releases differ in whether
they tell the range of the dashboard to the query of a variable (11.1 says 1970)."""


def uid(name: str, language: str) -> str:
    """The uid of a dashboard."""
    return f"tanyuan-{name}-{language}"


def build(
    t: Texts,
    name: str,
    rows: list[Row],
    *,
    variables: list[Variable],
    back: str = "24h",
    refresh: str = "1m",
    events: bool = True,
) -> Dashboard:
    """A dashboard from its rows; its title is the text `name`."""
    return {
        "uid": uid(name, t.language),
        "title": t(name),
        "description": t(f"{name}.about"),
        "tags": ["tanyuan", f"tanyuan-{t.language}"],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": True,
        "style": "dark",
        "graphTooltip": 1,
        "timezone": "browser",
        "time": {"from": f"now-{back}", "to": "now"},
        "timepicker": {"refresh_intervals": ["30s", "1m", "5m", "15m", "1h"]},
        "refresh": refresh,
        "weekStart": "monday",
        "fiscalYearStartMonth": 0,
        "liveNow": False,
        "links": [_to_the_others(t)],
        "annotations": {"list": [_by_hand(t), *([_events(t)] if events else [])]},
        "templating": {"list": [*variables, *_hidden(t, variables)]},
        "panels": place(*rows),
    }


def asked(
    t: Texts, name: str, flux: str, *, all_of_them: bool = False, regex: str = ""
) -> Variable:
    """A variable whose choices are the answer to a query; `regex` may tell value and text apart."""
    return {
        "name": name,
        "label": t(f"variable.{name}"),
        "type": "query",
        "datasource": dict(DATASOURCE),
        "definition": flux,
        "query": flux,
        "refresh": ON_LOAD,
        "regex": regex,
        "sort": 1,
        "hide": 0,
        "includeAll": all_of_them,
        "multi": all_of_them,
        "options": [],
        "current": {},
        "skipUrlSync": False,
    }


def site(t: Texts) -> Variable:
    """Which site."""
    return asked(t, "site", query("sites"))


def building(t: Texts) -> Variable:
    """Which building of the site."""
    return asked(t, "building", query("buildings", names=NAMES_EVER), regex=WORDED)


def carrier(t: Texts) -> Variable:
    """Which carrier and unit, such as `electricity:kWh`, which reads `electricity · kWh`."""
    return asked(t, "carrier", query("carriers", carriers=flux_words(t, "carrier.")), regex=WORDED)


def meter(t: Texts) -> Variable:
    """Which meter of the site."""
    return asked(t, "meter", query("meters"))


def register(t: Texts) -> Variable:
    """Which register of the meter."""
    return asked(t, "register", query("registers"))


def _hidden(t: Texts, shown: list[Variable]) -> list[Variable]:
    """Where to read, and in which zone days are counted: that of the site, where one is chosen."""
    values = {"bucket": BUCKET, "derived": f"{BUCKET}_derived"}
    if any(variable["name"] == "site" for variable in shown):
        return [*_constants(values), _zone_of_site(t)]
    return _constants(values | {"timezone": TIMEZONE})


def _zone_of_site(t: Texts) -> Variable:
    zone = asked(t, "timezone", query("timezone", usual=text(TIMEZONE)))
    return zone | {"hide": 2, "skipUrlSync": True}


def _constants(values: dict[str, str]) -> list[Variable]:
    return [
        {
            "name": name,
            "type": "constant",
            "query": value,
            "hide": 2,
            "current": {"selected": True, "text": value, "value": value},
            "options": [{"selected": True, "text": value, "value": value}],
            "skipUrlSync": True,
        }
        for name, value in values.items()
    ]


def _to_the_others(t: Texts) -> dict[str, Any]:
    return {
        "type": "dashboards",
        "title": t("links"),
        "tags": [f"tanyuan-{t.language}"],
        "asDropdown": False,
        "includeVars": True,
        "keepTime": True,
        "targetBlank": False,
        "icon": "external link",
        "tooltip": "",
        "url": "",
    }


def _by_hand(t: Texts) -> dict[str, Any]:
    """Notes people put on dashboards, which Grafana keeps itself."""
    return {
        "builtIn": 1,
        "datasource": {"type": "grafana", "uid": "-- Grafana --"},
        "enable": True,
        "hide": True,
        "iconColor": "rgba(0, 211, 255, 1)",
        "name": t("annotation.notes"),
        "target": {"limit": 100, "matchAny": False, "tags": [], "type": "dashboard"},
        "type": "dashboard",
    }


def _events(t: Texts) -> dict[str, Any]:
    """What happened to the site, out of the indicators."""
    return {
        "datasource": dict(DATASOURCE),
        "enable": True,
        "hide": False,
        "iconColor": WARN,
        "name": t("annotation.events"),
        "target": target(query("events", where=AT_SITE), "Anno"),
        "mappings": {
            "time": {"source": "field", "value": "time"},
            "title": {"source": "field", "value": "code"},
            "text": {"source": "field", "value": "text"},
            "tags": {"source": "field", "value": "subject"},
        },
    }
