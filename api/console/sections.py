"""The sections of the park's page: which parts each is made of, and its HTML."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from api.answers import Document
from api.console import charts, views
from api.console.board import Board, Watch
from api.console.catalogue import LANGUAGES, Language, texts
from api.console.rendering import render
from api.console.views import Scene
from api.console.wording import age, clock
from metering.periods import utc_text
from metering.sites import Site

Parts = Mapping[str, Document]

SIMULATED = ("simulated", "模拟")
"""Words in a site's name that mark made-up data."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the address of the page asks for."""

    site: str
    language: Language
    at: str | None = None
    theme: str | None = None
    named: bool = False
    """Whether the address names the site."""
    spoken: bool = False
    """Whether the address names the language."""

    def address(self, path: str = "/", **other: str | None) -> str:
        """The address of a page, asking for the same except for what is given."""
        same = {
            "site": self.site if self.named else None,
            "lang": self.language if self.spoken else None,
            "at": self.at,
            "theme": self.theme,
        }
        query = {name: value for name, value in (same | other).items() if value}
        return f"{path}?{urlencode(query)}" if query else path


def _quarantine(parts: Parts, scene: Scene, asked: Asked) -> dict[str, Any]:
    counts = parts["state"]["quarantine"]
    return {
        "counts": [
            (code, scene.texts.known(f"reason.{code}", code), count)
            for code, count in sorted(counts.items())
        ],
        "open": sum(counts.values()),
        "link": asked.address("/quarantine", lang=asked.language),
    }


Fill = Callable[[Parts, Scene, Asked], dict[str, Any]]

SECTIONS: Mapping[str, tuple[tuple[str, ...], str, Fill]] = {
    "power": (
        ("power",),
        "power.html",
        lambda parts, scene, asked: {"power": views.power_view(parts["power"]["site"], scene)},
    ),
    "energy": (
        ("day",),
        "energy.html",
        lambda parts, scene, asked: {"energy": views.energy_view(parts["day"]["today"], scene)},
    ),
    "carbon": (
        ("day",),
        "carbon.html",
        lambda parts, scene, asked: {"carbon": views.carbon_view(parts["day"], scene)},
    ),
    "meters": (
        ("meters",),
        "meters.html",
        lambda parts, scene, asked: {"meters": views.meters_view(parts["meters"]["counts"], scene)},
    ),
    "quotas": (
        ("day",),
        "quotas.html",
        lambda parts, scene, asked: {"quotas": charts.quotas_view(parts["day"]["quotas"], scene)},
    ),
    "hours": (
        ("day",),
        "hours.html",
        lambda parts, scene, asked: {"hours": charts.hours_view(parts["day"]["hours"], scene)},
    ),
    "buildings": (
        ("day", "power"),
        "buildings.html",
        lambda parts, scene, asked: {
            "buildings": views.buildings_view(
                parts["day"]["buildings"], parts["power"]["buildings"], scene
            )
        },
    ),
    "silent": (
        ("meters",),
        "silent.html",
        lambda parts, scene, asked: {"lists": views.meter_lists(parts["meters"]["all"], scene)},
    ),
    "all": (
        ("meters",),
        "all_meters.html",
        lambda parts, scene, asked: {"lists": views.meter_lists(parts["meters"]["all"], scene)},
    ),
    "quarantine": (
        ("state",),
        "quarantine.html",
        _quarantine,
    ),
}
"""Section → the parts it needs, its template, and what fills it."""


def scene_of(board: Board, asked: Asked) -> Scene:
    """For whom the page is made."""
    site = board.services.catalog.site(asked.site)
    return Scene(site, texts(asked.language), past=asked.at is not None)


def section(name: str, board: Board, watch: Watch, asked: Asked) -> str:
    """A section's HTML; made again only when something in it changed."""
    scene = scene_of(board, asked)
    needed, template, fill = SECTIONS[name]
    all_parts = {**watch.parts, "state": board.state}
    made_of = (scene.site, asked, *(all_parts[part].version for part in needed))
    known = watch.rendered.get((name, asked.language))
    if known is not None and known[0] == made_of:
        return known[1]
    found = {part: all_parts[part].value for part in needed}
    present = {part: value for part, value in found.items() if value is not None}
    if len(present) < len(found):
        return render("waiting.html", scene.texts)
    html = render(template, scene.texts, **fill(present, scene, asked))
    watch.rendered[(name, asked.language)] = (made_of, html)
    return html


def top(board: Board, watch: Watch, asked: Asked) -> str:
    """The head of the page: which park, as of when, other sites and languages."""
    scene = scene_of(board, asked)
    site = scene.site
    moment = (watch.power.value or {}).get("at") or utc_text(board.services.now())
    return render(
        "top.html",
        scene.texts,
        name=site.name,
        simulated=is_simulated(site),
        past=scene.past,
        as_of=scene.texts("page.as_of", time=clock(moment, scene.tz, seconds=True)),
        zone=site.timezone.key,
        sites=_site_links(board, asked),
        languages=[
            {
                "text": scene.texts(f"languages.{language}"),
                "href": asked.address(lang=language),
                "lang": language,
                "here": language == asked.language,
            }
            for language in LANGUAGES
        ],
    )


def notices(board: Board, watch: Watch, asked: Asked) -> str:
    """What whoever reads the page must know before believing it; empty if there is nothing."""
    scene = scene_of(board, asked)
    return render("notices.html", scene.texts, notices=_notices(board, watch, scene))


def is_simulated(site: Site) -> bool:
    """Whether a site says of itself that its data are made up."""
    return any(word in site.name.casefold() for word in SIMULATED)


def _site_links(board: Board, asked: Asked) -> list[dict[str, Any]]:
    sites = board.services.catalog.sites()
    if len(sites) < 2:
        return []
    return [
        {"text": site.name, "href": asked.address(site=name), "here": name == asked.site}
        for name, site in sites.items()
    ]


def _notices(board: Board, watch: Watch, scene: Scene) -> list[dict[str, str]]:
    words = scene.texts
    state, behind = board.state.value or {}, board.behind.value or {}
    errors = dict.fromkeys(part.error for part in watch.parts.values() if part.error)
    errors |= dict.fromkeys(part.error for part in (board.state, board.behind) if part.error)
    errors |= dict.fromkeys(state.get("problems", ()))
    found = [
        {"tone": "bad", "text": words("problem.heading"), "detail": detail} for detail in errors
    ]
    stale = [part.stale_s for part in watch.parts.values() if part.stale_s is not None]
    if stale:
        text = words("problem.stale", age=age(max(stale), words))
        found.append({"tone": "bad", "text": text, "detail": ""})
    if state.get("broker_lost"):
        found.append({"tone": "bad", "text": words("problem.broker"), "detail": ""})
    if behind.get("messages"):
        text = words("problem.behind", count=f"{behind['messages']:,}")
        since = words("problem.behind_since", time=clock(behind["oldest"], scene.tz, seconds=True))
        found.append({"tone": "warn", "text": f"{text}; {since}", "detail": ""})
    elif behind.get("hours"):
        found.append({"tone": "warn", "text": words("problem.hours"), "detail": ""})
    return found
