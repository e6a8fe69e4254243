"""Panels that several dashboards show, of the site or of one building, written once."""

from __future__ import annotations

from collections.abc import Sequence

from dashboards.layout import Panel
from dashboards.look import (
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
    no_number,
    of_query,
)  # fmt: skip
from dashboards.panels import bargauge, table, timeseries
from dashboards.queries import (
    CARRIER,
    OF_DAYS,
    OF_HOURS,
    WHOLE_DAYS,
    WHOLE_HOURS,
    days,
    flux_words,
    latest,
    query,
    series,
    text,
)
from dashboards.texts import Texts

KWH, KW, GJ, CELSIUS, SHARE = "kwatth", "kwatt", "suffix: GJ", "celsius", "percentunit"
AMOUNT = "locale"
HOURS, AGE = "suffix: h", "dtdhms"
"""Grafana writes units of time such as `s` in English, whatever the language."""
QUOTA_COLUMNS = ("subject", "about", "quota_used_share", "quota_expected_share", "quota_verdict")

VERDICTS = {"0": "#5fcb93", "1": "#f2b450", "2": "#ff8175", "3": "#9db0a8", "4": "#9db0a8"}


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


def emission_hours(
    t: Texts, where: str, *, every: str = "1h", key: str = "emission_hours"
) -> Panel:
    """Emissions by scope and carrier of every hour or day."""
    flux = query(
        "emission_series",
        where=where,
        every=every,
        start=WHOLE_DAYS if every == "1d" else WHOLE_HOURS,
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
            share_column("quota_used_share", t("column.used"), SHARE_USED, gauge=True, nan="–"),
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
        custom__width=115,
        custom__displayMode="color-text",
    )


def share_column(
    name: str,
    title: str,
    steps: dict[str, object] | None = SHARE_KNOWN,
    *,
    gauge: bool = False,
    nan: str | None = None,
) -> Override:
    """A column of shares, coloured unless `steps` is None; `nan` is shown for what is no number."""
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
        **({"mappings": no_number(nan)} if nan else {}),
    )


def by_building(t: Texts, key: str, quantity: str, unit: str, where: str) -> Panel:
    """A bar for every building, the highest first."""
    flux = latest(where, quantity, form="highest")
    return bargauge(t, key, flux, unit=unit, decimals=1, color=fixed(MEASURED))
