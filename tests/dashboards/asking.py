"""What Grafana does with a dashboard, without Grafana: variables, ranges and queries."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

VARIABLE = re.compile(r"\$\{(\w+)(?::(\w+))?\}")
OWN = ("__field", "__data", "__url_time_range")

VALUES = {
    "site": "park",
    "building": "A1",
    "carrier": "electricity:kWh",
    "meter": "park/M1000",
    "register": "active_import",
    "timezone": "Asia/Shanghai",
}
"""What somebody chose who looks at the made-up park."""


def panel_queries(dashboard: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Every query of a dashboard and where it stands: panels, variables, annotations."""
    for panel in dashboard["panels"]:
        for each in panel["targets"]:
            yield f"{panel['title']} {each['refId']}", each["query"]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield f"${variable['name']}", variable["query"]
    for annotation in dashboard["annotations"]["list"]:
        if query := annotation["target"].get("query"):
            yield annotation["name"], query


def variables_in(text: str) -> set[str]:
    """The variables of a dashboard that a text uses; not those Grafana itself has."""
    return {name for name, _ in VARIABLE.findall(text) if not name.startswith("__")}


def as_grafana_asks(
    flux: str,
    *,
    now: datetime,
    bucket: str,
    window: str = "5m",
    days: float = 1,
    ranges: bool = True,
    chosen: Mapping[str, str] = VALUES,
) -> str:
    """A query as Grafana sends it: `doublequote` quotes and escapes."""
    values = {**chosen, "bucket": bucket, "derived": f"{bucket}_derived"}

    def value(found: re.Match[str]) -> str:
        plain = values[found[1]]
        return '"' + plain.replace('"', '\\"') + '"' if found[2] == "doublequote" else plain

    text = VARIABLE.sub(value, flux)
    if not ranges:
        return text  # its server puts them in
    for name, moment in (("Start", now - timedelta(days=days)), ("Stop", now)):
        text = text.replace(f"v.timeRange{name}", f"{moment:%Y-%m-%dT%H:%M:%SZ}")
    return text.replace("v.windowPeriod", window)
