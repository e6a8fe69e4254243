"""Carbon and the factors it was computed with: no kilogram without its source."""

from __future__ import annotations

from dashboards import now, tiles
from dashboards.builder import Dashboard, build, site
from dashboards.layout import Panel, Row
from dashboards.look import BAD, CARBON, GOOD, WARN, column, fixed, mapping
from dashboards.panels import bargauge, table, timeseries, words
from dashboards.queries import BUILDINGS, OF_SITE, days, query
from dashboards.texts import Texts

NAME = "carbon"

VERIFICATION = {"primary": GOOD, "own": GOOD, "second-hand": WARN, "unverified": BAD}


def dashboard(language: str) -> Dashboard:
    """The dashboard in one language."""
    t = Texts(language)
    rows = [
        Row(6, (10, now.emissions_today(t, OF_SITE)), (14, words(t, "reading_carbon"))),
        Row(10, (16, tiles.emission_hours(t, OF_SITE)), (8, _by_building(t))),
        Row(9, (24, tiles.emission_hours(t, OF_SITE, every="1d", key="emission_days"))),
        Row(9, (14, _factors(t)), (10, _factor_series(t))),
    ]
    return build(t, NAME, rows, variables=[site(t)])


def _by_building(t: Texts) -> Panel:
    flux = query("emission_totals", where=BUILDINGS)
    return bargauge(
        t, "emissions_by_building", flux, unit=tiles.AMOUNT, decimals=1, color=fixed(CARBON)
    )


def _factors(t: Texts) -> Panel:
    return table(
        t,
        "factors",
        query("factors"),
        overrides=[
            column("factor", displayName=t("column.factor")),
            column("value", displayName=t("column.value"), decimals=4),
            column("unit", displayName=t("column.unit"), custom__width=130),
            column("publisher", displayName=t("column.publisher")),
            column(
                "verification",
                displayName=t("column.verification"),
                mappings=mapping(t.begins("verification."), VERIFICATION),
                custom__displayMode="color-text",
            ),
        ],
        no_value="no_factor",
    )


def _factor_series(t: Texts) -> Panel:
    return timeseries(
        t,
        "factor_series",
        days(OF_SITE, "factor", by="about", fn="last"),
        decimals=4,
        low=None,
        name="${__field.labels.about}",
        interval="1d",
        back="180d",
    )
