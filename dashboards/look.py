"""Colours, thresholds, mappings and overrides: what a value looks like."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

Override: TypeAlias = dict[str, Any]
Mapping: TypeAlias = dict[str, Any]

MEASURED: Final = "#3d9d7e"
ESTIMATED: Final = "#f2b450"
USUAL_DAY: Final = "#9db0a8"
CALM: Final = "#eef4f1"
GOOD: Final = "#5fcb93"
WARN: Final = "#f2b450"
BAD: Final = "#ff8175"
UNKNOWN: Final = "#51605a"
HEAT: Final = "#e08a5b"
COLD: Final = "#5b9fe0"
CARBON: Final = "#a58ad8"


def thresholds(*steps: tuple[float, str], base: str = CALM) -> dict[str, Any]:
    """Colours by value: `base` below the first step, then each colour from its value on."""
    first: dict[str, Any] = {"color": base, "value": None}
    return {
        "mode": "absolute",
        "steps": [first, *({"color": color, "value": value} for value, color in steps)],
    }


ALL_CALM: Final = thresholds()
MORE_IS_BAD: Final = thresholds((1, WARN), base=GOOD)
NONE_IS_GOOD: Final = thresholds((1, BAD), base=GOOD)
SHARE_KNOWN: Final = thresholds((0.5, WARN), (0.98, GOOD), base=BAD)
SHARE_USED: Final = thresholds((0.9, WARN), (1.0, BAD), base=GOOD)
IS_UP: Final = thresholds((1, GOOD), base=BAD)
DAYS_LEFT: Final = thresholds((14, WARN), (60, GOOD), base=BAD)
LAG: Final = thresholds((60, WARN), (600, BAD), base=GOOD)


def mapping(words: dict[str, str], colors: dict[str, str] | None = None) -> list[Mapping]:
    """Words, and maybe colours, for single values."""
    options: dict[str, Any] = {}
    for index, (value, word) in enumerate(words.items()):
        options[value] = {"index": index, "text": word}
        if colors and value in colors:
            options[value]["color"] = colors[value]
    return [{"type": "value", "options": options}]


def nothing(word: str, color: str = UNKNOWN) -> Mapping:
    """What is shown of nothing: it has no colour of a good or bad value, unless that is said."""
    result = {"index": 0, "text": word, "color": color}
    return {"type": "special", "options": {"match": "null", "result": result}}


def no_number(word: str) -> list[Mapping]:
    """What a column of numbers shows of one that is none; to Grafana every text is none too."""
    result = {"index": 0, "text": word, "color": UNKNOWN}
    return [{"type": "special", "options": {"match": "null+nan", "result": result}}]


def column(name: str, **properties: Any) -> Override:  # noqa: ANN401 - whatever Grafana knows
    """Settings of the field of this name; `__` in a property stands for a dot."""
    return _override({"id": "byName", "options": name}, properties)


def of_query(ref: str, **properties: Any) -> Override:  # noqa: ANN401 - whatever Grafana knows
    """Settings of everything the query of this letter gives."""
    return _override({"id": "byFrameRefID", "options": ref}, properties)


def named_like(pattern: str, **properties: Any) -> Override:  # noqa: ANN401 - as above
    """Settings of every field whose name, labels included, has this pattern in it."""
    return _override({"id": "byRegexp", "options": f".*{pattern}.*"}, properties)


def hidden() -> list[Mapping]:
    """Words for a column of texts that a link needs and nobody is to read: none."""
    result = {"index": 0, "text": ""}
    return [{"type": "regex", "options": {"pattern": ".*", "result": result}}]


def fixed(color: str) -> dict[str, Any]:
    """One colour, whatever the value."""
    return {"mode": "fixed", "fixedColor": color}


def link(title: str, url: str) -> dict[str, Any]:
    """A way from a value to a place that says more."""
    return {"title": title, "url": url, "targetBlank": False}


def _override(matcher: dict[str, Any], properties: dict[str, Any]) -> Override:
    ids = [{"id": k.replace("__", "."), "value": v} for k, v in properties.items()]
    return {"matcher": matcher, "properties": ids}
