"""Panels that several dashboards show, of the site or of one building, written once."""

from __future__ import annotations

from collections.abc import Sequence

from dashboards.layout import Panel
from dashboards.look import (
    BAD,
    CARBON,
    ESTIMATED,
    HEAT,
    MEASURED,
    SHARE_KNOWN,
    SHARE_USED,
    Override,
    column,
    fixed,
    mapping,
    named_like,
    of_query,
    thresholds,
)  # fmt: skip
from dashboards.panels import bargauge, stat, table, timeseries
from dashboards.queries import (
    CARRIER,
    OF_DAYS,
    OF_HOURS,
    USUAL,
    WHOLE_DAYS,
    days,
    latest,
    query,
    series,
    text,
)
from dashboards.texts import Texts

KWH, KW, GJ, CELSIUS, SHARE = "kwatth", "kwatt", "suffix: GJ", "celsius", "percentunit"
AMOUNT = "locale"
QUOTA_COLUMNS = ("subject", "about", "quota_used_share", "quota_expected_share", "quota_verdict")

VERDICTS = {"0": "#5fcb93", "1": "#f2b450", "2": "#ff8175", "3": "#9db0a8", "4": "#9db0a8"}
DIFFERENCE = thresholds((0.05, "#f2b450"), (0.2, "#ff8175"))

ENOUGH = "0.9"
"""A day so far of which less is known is shown as a part; readings are always a little late."""

NAMED = 5
"""The height of a tile, four columns wide, whose name stands above its number and not beside it."""

KNOWN = "${__field.labels.known}"
"""The name of a number that says what part of it is known."""


def flux_words(t: Texts, prefix: str) -> str:
    """The words behind a prefix as a dictionary of Flux."""
    pairs = (f"{text(key)}: {text(word)}" for key, word in t.begins(prefix).items())
    return f"[{', '.join(pairs)}]"


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
        unit="s",
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


def energy_hours(t: Texts, where: str) -> Panel:
    """Energy of every hour of a carrier; what was estimated is another colour."""
    condition = f"{where} and r.about == {CARRIER}"
    return timeseries(
        t,
        "energy_hours",
        series(condition, "energy_measured", by="quantity", every="1h", fn="sum"),
        series(condition, "energy_estimated", by="quantity", every="1h", fn="sum"),
        unit=AMOUNT,
        decimals=1,
        bars=True,
        stacked=True,
        overrides=measured_and_estimated(t),
        interval="1h",
    )


def energy_days(t: Texts, where: str, back: str) -> Panel:
    """Energy of every day of a carrier."""
    condition = f"{where} and r.about == {CARRIER}"
    return timeseries(
        t,
        "energy_days",
        days(condition, "energy_measured", by="quantity"),
        days(condition, "energy_estimated", by="quantity"),
        unit=AMOUNT,
        decimals=0,
        bars=True,
        stacked=True,
        overrides=measured_and_estimated(t),
        interval="1d",
        back=back,
    )


def measured_and_estimated(t: Texts) -> list[Override]:
    """Query A is measured, B is estimated: named, and told apart by colour and fill."""
    return [
        of_query("A", displayName=t("series.measured"), color=fixed(MEASURED)),
        of_query(
            "B",
            displayName=t("series.estimated"),
            color=fixed(ESTIMATED),
            custom__fillOpacity=25,
            custom__lineWidth=1,
        ),
    ]


def power_series(t: Texts, where: str) -> Panel:
    """Power over time. The sum of some of the meters is another line: it is no drop in load."""
    return timeseries(
        t,
        "power_series",
        series(where, "power_kw", "power_partial_kw", by="quantity"),
        unit=KW,
        decimals=1,
        interval="5m",
        overrides=[
            named_like("power_kw", displayName=t("series.power"), color=fixed(MEASURED)),
            named_like(
                "power_partial_kw",
                displayName=t("series.power_partial"),
                color=fixed(ESTIMATED),
                custom__lineStyle={"fill": "dash", "dash": [8, 6]},
                custom__fillOpacity=0,
            ),
        ],
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


def emission_hours(
    t: Texts, where: str, *, every: str = "1h", key: str = "emission_hours"
) -> Panel:
    """Emissions by scope and carrier of every hour or day."""
    flux = query(
        "emission_series",
        where=where,
        every=every,
        start=WHOLE_DAYS if every == "1d" else USUAL["start"],
        location=OF_DAYS if every == "1d" else OF_HOURS,
        carriers=flux_words(t, "carrier."),
        scope=text(t("column.scope")),
    )
    return timeseries(
        t,
        key,
        flux,
        unit=AMOUNT,
        decimals=1,
        bars=True,
        stacked=True,
        name="${__field.labels.about}",
        interval=every,
        back="30d" if every == "1d" else None,
        overrides=[
            {  # CO2 and CO2e do not stand on each other: they are never added up
                "matcher": {"id": "byRegexp", "options": ".* kgCO2e$"},
                "properties": [
                    {"id": "custom.stacking", "value": {"mode": "normal", "group": "CO2e"}}
                ],
            },
            {
                "matcher": {"id": "byRegexp", "options": f".* {t('carrier.electricity')} .*"},
                "properties": [{"id": "color", "value": fixed(CARBON)}],
            },
            {
                "matcher": {"id": "byRegexp", "options": f".* {t('carrier.heat')} .*"},
                "properties": [{"id": "color", "value": fixed(HEAT)}],
            },
        ],
    )


def carriers(t: Texts, where: str) -> Panel:
    """What was used of every carrier in the range, in its own unit."""
    return table(
        t,
        "carriers",
        query("carrier_totals", where=where, carriers=flux_words(t, "carrier.")),
        overrides=[
            column("carrier", displayName=t("column.carrier")),
            column("energy", displayName=t("column.amount"), unit=AMOUNT, decimals=1),
            column("unit", displayName=t("column.unit"), custom__width=70),
            share_column("measured_share", t("column.measured")),
        ],
    )


def quotas(t: Texts, key: str, where: str, *, limit: int, each: int | None = None) -> Panel:
    """Quotas, those furthest ahead of their pace first; of a subject not more than `each`."""
    return table(
        t,
        key,
        quotas_query(where, limit, QUOTA_COLUMNS, each=each),
        overrides=[
            column("subject", displayName=t("column.subject")),
            column("about", displayName=t("column.quota")),
            share_column("quota_used_share", t("column.used"), SHARE_USED, gauge=True),
            share_column("quota_expected_share", t("column.expected"), None),
            verdict_column(t),
        ],
        no_value="no_quota",
    )


def quotas_query(where: str, limit: int, columns: Sequence[str], *, each: int | None = None) -> str:
    """Some columns of the quotas that are furthest ahead of their pace."""
    listed = ", ".join(text(name) for name in columns)
    return query(
        "quotas", where=where, each=str(each or limit), limit=str(limit), columns=f"[{listed}]"
    )


def verdict_column(t: Texts) -> Override:
    """The verdict on a quota in words and colour."""
    return column(
        "quota_verdict",
        displayName=t("column.verdict"),
        mappings=mapping(t.begins("verdict."), VERDICTS),
        custom__displayMode="color-text",
    )


def share_column(
    name: str, title: str, steps: dict[str, object] | None = SHARE_KNOWN, *, gauge: bool = False
) -> Override:
    """A column of shares, coloured unless `steps` is None."""
    look = {"thresholds": steps} if steps else {}
    mode = "gradient-gauge" if gauge else ("color-text" if steps else "auto")
    return column(
        name,
        displayName=title,
        unit=SHARE,
        decimals=0,
        custom__displayMode=mode,
        **look,
        **({"min": 0, "max": 1} if gauge else {}),
    )


def by_building(t: Texts, key: str, quantity: str, unit: str, where: str) -> Panel:
    """A bar for every building, the highest first."""
    flux = latest(where, quantity, form="highest")
    return bargauge(t, key, flux, unit=unit, decimals=1, color=fixed(MEASURED))
