"""Bars for quotas and hours: what they stand for in words, and their proportions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from api.answers import Document
from api.console.catalogue import Texts
from api.console.views import WHOLE, Scene, View, coverage_words, more_words
from api.console.wording import clock, flag_words, nice_top, number, percent, unit

WORST_FIRST = ("exceeded", "at_risk", "not_assessable", "within", "not_in_scope")
"""The order of verdicts."""

QUOTAS_SHOWN = 8

_INFERRED = {"interpolated", "estimated"}


def quotas_view(quotas: Sequence[Document], scene: Scene) -> View:
    """Use against every quota, the worst first."""
    ordered = sorted(quotas, key=_badness)
    return {
        "rows": [_quota(each, scene) for each in ordered[:QUOTAS_SHOWN]],
        "more": more_words(len(ordered), QUOTAS_SHOWN, "quota.more", scene.texts),
    }


def _badness(quota: Document) -> tuple[int, float, str]:
    ahead = (quota["used_share"] or 0.0) - (quota["expected_share"] or 0.0)
    return WORST_FIRST.index(quota["verdict"]), -ahead, quota["quota"]


def _quota(quota: Document, scene: Scene) -> View:
    texts = scene.texts
    used, expected = quota["used_share"], quota["expected_share"]
    # The bar ends at the limit, or where use has got to beyond it.
    full = max(1.0, used or 0.0)
    limit = {"limit": number(quota["limit"]), "unit": unit(quota["unit"], texts)}
    known = quota["used"] is not None
    projection = quota["projection"]
    rule = next((each for each in scene.site.quotas if each.id == quota["quota"]), None)
    return {
        "name": _subject(quota["subject"], scene),
        "what": texts.known(f"carrier.{rule.carrier}", rule.carrier) if rule else "",
        "id": quota["quota"],
        "period": texts(f"period.{quota['period']['kind']}"),
        "verdict": quota["verdict"],
        "verdict_word": texts(f"verdict.{quota['verdict']}"),
        "amount": texts("quota.used", used=number(quota["used"]), **limit)
        if known
        else texts("quota.used_unknown", **limit),
        "share": texts("quota.share", used=percent(used, 1)),
        "expected": "" if expected is None else _expected(expected, texts),
        "used_width": 0.0 if used is None else 100 * max(used, 0.0) / full,
        "expected_at": None if expected is None else 100 * expected / full,
        "limit_at": 100 / full if full > 1 else None,
        "projection": _projection(projection, texts) if projection else "",
        "coverage": coverage_words(quota["coverage"], "quota.coverage", texts),
        "reasons": quota["reasons"] if quota["verdict"] == "not_assessable" else [],
    }


def _expected(share: float, texts: Texts) -> str:
    return texts("quota.expected", expected=percent(share, 1))


def _projection(projection: Mapping[str, float], texts: Texts) -> str:
    words = {name: number(each) for name, each in projection.items()}
    # At the end of the period nothing is left to expect.
    return texts("quota.projection", **words) if len(set(words.values())) > 1 else ""


def _subject(subject: str, scene: Scene) -> str:
    if subject == scene.site.id:
        return scene.site.name
    for building in scene.site.buildings:
        if building.id == subject:
            return building.name or building.id
    for point in scene.site.all_points():
        if point.id == subject:
            return point.name or point.id
    return subject


def hours_view(hours: Sequence[Document], scene: Scene) -> View:
    """The day hour by hour, as parts of the tallest thing shown."""
    values = [each[name] for each in hours for name in ("value", "usual")]
    known = [value for value in values if value is not None]
    top = nice_top(known)
    return {
        "columns": [_hour(each, top, scene) for each in hours],
        "top": number(top) if known else "",
        "half": number(top / 2) if known else "",
        "nothing": all(each["value"] is None for each in hours),
    }


def _hour(hour: Document, top: float, scene: Scene) -> View:
    texts = scene.texts
    value, usual = hour["value"], hour["usual"]
    inferred = bool(_INFERRED & set(hour["flags"]))
    begins = clock(hour["start"], scene.tz)[11:13]
    partial = 0 < hour["coverage"] < min(WHOLE, hour["over"] * WHOLE)
    if hour["over"] == 0:
        kind = "ahead"
    elif value is None:
        kind = "gap" if hour["over"] == 1 else "ahead"
    else:
        kind = "inferred" if inferred else "partial" if partial or hour["over"] < 1 else "known"
    words = [f"{begins}:00 {number(value)} kWh"] if value is not None else [f"{begins}:00"]
    words += [f"{texts('hours.usual')} {number(usual)} kWh"] if usual is not None else []
    words += [texts("hours.gap")] if kind == "gap" else []
    words += [texts("hours.partial", percent=percent(hour["coverage"]))] if partial else []
    words += flag_words(hour["flags"], texts)
    return {
        "hour": begins,
        "kind": kind,
        "height": 0.0 if value is None else 100 * max(value, 0.0) / top,
        "usual_at": None if usual is None else 100 * max(usual, 0.0) / top,
        "value": number(value),
        "usual": number(usual),
        "label": ", ".join(words),
    }
