"""Single numbers of now and of the day so far, each with what it is known of."""

from __future__ import annotations

from dashboards.layout import Panel
from dashboards.look import BAD, ESTIMATED, Override, column, fixed, named_like, thresholds
from dashboards.panels import stat
from dashboards.queries import query, series, text
from dashboards.texts import Texts
from dashboards.tiles import AMOUNT, GJ, HOURS, KW, KWH, SHARE

DIFFERENCE = thresholds((0.05, "#f2b450"), (0.2, "#ff8175"))

ENOUGH = "0.9"
"""A day so far of which less is known is shown as a part; readings are always a little late."""

NAMED = 5
"""The height of a tile, four columns wide, whose name stands above its number and not beside it."""

KNOWN = "${__field.labels.known}"
"""The name of a number that says what part of it is known."""


def power(t: Texts, where: str) -> Panel:
    """Electric power now, and of how many meters; the sum of some of them is no whole."""
    words = {"whole": text(t("power.whole")), "part": text(t("power.part"))}
    flux = query("power_now", where=where, **words)
    look = _of_a_part(t("power.part"))
    return stat(t, "power", flux, unit=KW, decimals=1, names=True, name=KNOWN, overrides=look)


def power_peak(t: Texts, where: str) -> Panel:
    """The highest power of the range, of moments at which every meter was known."""
    peak = series(where, "power_kw", every="10m", fn="mean")
    panel = stat(t, "power_peak", peak, unit=KW, decimals=1, size=24)
    panel["options"]["reduceOptions"]["calcs"] = ["max"]
    return panel


def oldest_reading(t: Texts, size: int | None = None) -> Panel:
    """How old the oldest of all last readings is; red where a meter is silent for its kind."""
    silent, in_time = t("meters.silent"), t("meters.in_time")
    return stat(
        t,
        "oldest_age",
        query("oldest_reading", silent=text(silent), in_time=text(in_time)),
        unit=HOURS,
        decimals=1,
        size=size,
        names=True,
        name=KNOWN,
        overrides=[named_like(f"[0-9] {silent}", color=fixed(BAD))],
    )


def energy_today(t: Texts, where: str) -> Panel:
    """Electricity of the day so far."""
    flux = known_part(t, where, "energy_today_kwh", "coverage_today")
    look = _of_a_part(t("today.part"))
    return stat(
        t, "energy_today", flux, unit=KWH, decimals=1, names=True, name=KNOWN, overrides=look
    )


def known_part(t: Texts, where: str, quantity: str, share: str) -> str:
    """A figure of the day so far, and which share of the day it is known of."""
    return query(
        "known_part",
        where=where,
        quantity=text(quantity),
        share=text(share),
        enough=ENOUGH,
        whole=text(t("today.whole")),
        part=text(t("today.part")),
    )


def _of_a_part(words: str) -> list[Override]:
    """What says so in its name has the colour of what is estimated."""
    return [named_like(words, color=fixed(ESTIMATED))]


def usual(t: Texts, subject: str) -> Panel:
    """The usual day until now, and how far off this one is."""
    return stat(
        t,
        "usual",
        query("today_against_usual", subject=subject),
        unit=KWH,
        decimals=1,
        names=True,
        size=24,
        no_value="no_usual_day",
        overrides=[
            column("usual", displayName=t("column.usual")),
            column(
                "difference",
                displayName=t("column.difference"),
                unit=SHARE,
                thresholds=DIFFERENCE,
            ),
        ],
    )


def heat_today(t: Texts, where: str) -> Panel:
    """Heat of the day so far."""
    return stat(
        t,
        "heat_today",
        known_part(t, where, "heat_today_gj", "heat_coverage_today"),
        unit=GJ,
        decimals=1,
        names=True,
        name=KNOWN,
        overrides=_of_a_part(t("today.part")),
        no_value="no_heat",
    )


def emissions_today(t: Texts, where: str) -> Panel:
    """Emissions of the day so far, by gas basis."""
    return stat(
        t,
        "emissions_today",
        known_part(t, where, "emissions_today", "emissions_coverage_today"),
        unit=AMOUNT,
        names=True,
        name=KNOWN,
        overrides=_of_a_part(t("today.part")),
        no_value="no_factor",
    )
