"""From documents to what a page shows: plain values and words, ready for the templates.

Nothing in here computes a figure; numbers are only put into words, order and proportion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from api.answers import Document
from api.console.catalogue import Texts
from api.console.wording import (
    MINUS,
    UNKNOWN,
    age,
    clock,
    flag_words,
    number,
    percent,
    reading,
    unit,
)
from metering.sites import Site

View = dict[str, Any]

SILENT_SHOWN, METERS_SHOWN = 60, 200

AS_USUAL = 0.005
"""A smaller difference is none. [1]"""

WHOLE = 0.995
"""From this coverage on nothing is said about it. [1]"""

NOTEWORTHY = 0.1
"""A larger excess over the usual day is coloured. [1]"""


@dataclass(frozen=True, slots=True)
class Scene:
    """For whom a view is made: which site, which words, and whether it is now."""

    site: Site
    texts: Texts
    past: bool = False

    @property
    def tz(self) -> ZoneInfo:
        """The site's zone."""
        return self.site.timezone

    def title(self, key: str) -> str:
        """A title that says whether it is about now."""
        return self.texts(f"{key}_then" if self.past else key)

    def place(self, building: str | None) -> str:
        """The name of a building, or the word for the park itself."""
        if building is None:
            return self.texts("meters.of_site")
        return self.site.building(building).name or building


def power_view(power: Document, scene: Scene) -> View:
    """The power of the park."""
    texts = scene.texts
    known, of = power["meters"], power["of"]
    if of == 0:
        note = texts("power.no_meters")
    elif known == 0:
        note = texts("power.none")
    elif known < of:
        note = texts("power.partial", known=known, of=of)
    else:
        note = texts("power.shown", count=known)
    return {
        "title": scene.title("power.title"),
        "value": number(power["value"]),
        "note": note,
        "averaged": texts("power.averaged") if power["averaged"] else "",
        "partial": known < of,
    }


def energy_view(today: Document, scene: Scene) -> View:
    """The electricity of the day beside the usual day."""
    texts = scene.texts
    usual = today["usual_kwh"]
    return {
        "title": scene.title("energy.title"),
        "value": number(today["energy_kwh"]),
        "usual": texts("energy.no_usual")
        if usual is None
        else texts("energy.usual", value=number(usual)),
        "difference": _difference(today["difference"], texts),
        "tone": _tone(today["difference"]),
        "coverage": coverage_words(today["coverage"], "energy.coverage", texts),
    }


def _difference(share: float | None, texts: Texts) -> str:
    if share is None:
        return ""
    if abs(share) < AS_USUAL:
        return texts("energy.same")
    return texts("energy.more" if share > 0 else "energy.less", percent=percent(abs(share), 1))


def _tone(share: float | None) -> str:
    if share is None or share <= NOTEWORTHY:
        return "calm"
    return "warn"


def coverage_words(share: float | None, key: str, texts: Texts) -> str:
    """How much is known, where that is not all."""
    return "" if share is None or share >= WHOLE else texts(key, percent=percent(share))


def carbon_view(day: Document, scene: Scene) -> View:
    """The emissions of the day, one line for each gas basis, with what they rest on."""
    texts = scene.texts
    lines = [
        {
            "value": number(each["value"]),
            "unit": unit(each["unit"], texts),
            "flags": flag_words(each["flags"], texts),
        }
        for each in day["emissions_today"]
    ]
    factors = day["emission_factors"]
    values = [f"{factor['value']:g} {unit(factor['unit'], texts)}" for factor in factors]
    reason = texts("carbon.no_factor" if day["emission_reasons"] else "carbon.nothing")
    return {
        "title": scene.title("carbon.title"),
        "lines": lines or [{"value": UNKNOWN, "unit": unit("kgCO2", texts), "flags": [reason]}],
        "factors": texts("carbon.factors", values=" · ".join(values)) if values else "",
        "sources": "; ".join(
            texts(
                "carbon.factor",
                value=value,
                start=factor["valid_from"],
                publisher=factor["publisher"],
                document=factor["document"],
            )
            for factor, value in zip(factors, values, strict=True)
        ),
    }


def meters_view(meters: Document, scene: Scene) -> View:
    """How many meters are heard."""
    texts = scene.texts
    notes = []
    if meters["oldest_age_s"] is not None:
        notes.append(texts("meters.oldest", age=age(meters["oldest_age_s"], texts)))
    dead = len(meters["silent"])
    never = meters["never_heard"]
    if dead - never:
        notes.append(texts("meters.silent_count", count=dead - never))
    if never:
        notes.append(texts("meters.never_count", count=never))
    if meters["total"] and not dead:
        notes.append(texts("meters.all_live"))
    return {
        "title": texts("meters.title"),
        "live": meters["live"],
        "total": meters["total"],
        "notes": notes,
        "dead": dead > 0,
        "none": texts("meters.none") if not meters["total"] else "",
    }


def meter_lists(meters: Sequence[Document], scene: Scene) -> View:
    """The silent meters, longest silence first, and all of them."""
    texts = scene.texts
    silent = sorted(
        (each for each in meters if each["silent"]),
        key=lambda each: (each["age_s"] is not None, -(each["age_s"] or 0.0), each["meter"]),
    )
    heard = [each for each in meters if not each["silent"]]
    return {
        "silent": [_meter(each, scene) for each in silent[:SILENT_SHOWN]],
        "silent_more": more_words(len(silent), SILENT_SHOWN, "meters.more", texts),
        "all": [_meter(each, scene) for each in [*silent, *heard][:METERS_SHOWN]],
        "all_more": more_words(len(meters), METERS_SHOWN, "meters.more", texts),
    }


def more_words(count: int, shown: int, key: str, texts: Texts) -> str:
    """How many more there are than are shown, if there are."""
    return texts(key, count=count - shown) if count > shown else ""


def _meter(meter: Document, scene: Scene) -> View:
    texts = scene.texts
    never = meter["age_s"] is None
    span = age(meter["age_s"], texts)
    return {
        "meter": meter["meter"],
        "name": meter["name"] or meter["point"],
        "place": scene.place(meter["building"]),
        "carrier": texts.known(f"carrier.{meter['carrier']}", meter["carrier"]),
        "value": reading(meter["value"]),
        "unit": unit(meter["unit"], texts),
        "at": "" if never else clock(meter["last_read_at"], scene.tz),
        "ago": texts("meters.never") if never else texts("meters.ago", age=span),
        "silence": texts("meters.never") if never else texts("meters.silent_for", age=span),
        "silent": meter["silent"],
    }


def buildings_view(
    buildings: Sequence[Document], power: Mapping[str, Document], scene: Scene
) -> list[View]:
    """Each building: power, the day beside the usual one, and how much of it is known."""
    texts = scene.texts
    rows = []
    for each in buildings:
        share = each["difference"]
        kw = power.get(each["id"], {})
        rows.append(
            {
                "name": each["name"] or each["id"],
                "power": number(kw.get("value")),
                "partial": 0 < kw.get("meters", 0) < kw.get("of", 0),
                "energy": number(each["energy_kwh"]),
                "usual": number(each["usual_kwh"]),
                "difference": UNKNOWN if share is None else _signed(share),
                "words": _difference(share, texts),
                "tone": _tone(share),
                "coverage": percent(each["coverage"]),
            }
        )
    return rows


def _signed(share: float) -> str:
    text = percent(share, 1).removeprefix(MINUS)
    if float(text.split()[0].replace(",", "")) == 0:
        return text
    return f"{MINUS if share < 0 else '+'}{text}"
