"""One building: now, today, its quotas with pace and projection, and its last weeks."""

from __future__ import annotations

from dashboards import now, tiles
from dashboards.builder import Dashboard, build, building, carrier, site
from dashboards.layout import Panel, Row
from dashboards.look import ESTIMATED, MEASURED, SHARE_KNOWN, USUAL_DAY, column, fixed, of_query
from dashboards.panels import stat, table, timeseries
from dashboards.queries import BUILDING, LAST_DAYS, OF_BUILDING, days, latest, query, series
from dashboards.texts import Texts

NAME = "building"

QUOTA = ("quota_used", "quota_limit", "quota_projection_low", "quota_projection",
         "quota_projection_high")  # fmt: skip


def dashboard(language: str) -> Dashboard:
    """The dashboard in one language."""
    t = Texts(language)
    rows = [
        Row(
            now.NAMED + 1,
            (5, now.power(t, OF_BUILDING)),
            (5, now.energy_today(t, OF_BUILDING)),
            (5, now.usual(t, BUILDING)),
            (4, _coverage(t)),
            (5, now.heat_today(t, OF_BUILDING)),
        ),
        Row(
            6,
            (10, tiles.quotas(t, "quotas", OF_BUILDING, limit=10)),
            (8, _projection(t)),
            (6, _reasons(t)),
        ),
        Row(9, (12, tiles.energy_hours(t, OF_BUILDING)), (12, tiles.power_series(t, OF_BUILDING))),
        Row(9, (12, tiles.energy_days(t, OF_BUILDING, "60d")), (12, _pace(t))),
        Row(8, (12, tiles.emission_hours(t, OF_BUILDING)), (12, _known(t))),
        Row(6, (24, tiles.carriers(t, OF_BUILDING))),
    ]
    return build(t, NAME, rows, variables=[site(t), building(t), carrier(t)])


def _coverage(t: Texts) -> Panel:
    flux = latest(OF_BUILDING, "coverage_today")
    return stat(t, "coverage_today", flux, unit=tiles.SHARE, decimals=0, thresholds=SHARE_KNOWN)


def _projection(t: Texts) -> Panel:
    return table(
        t,
        "projection",
        latest(OF_BUILDING, *QUOTA, back=LAST_DAYS),
        overrides=[
            column("subject", custom__hidden=True),
            column("about", displayName=t("column.quota")),
            *(
                column(name, displayName=t(f"column.{name}"), unit=tiles.AMOUNT, decimals=1)
                for name in QUOTA
            ),
        ],
        no_value="no_quota",
    )


def _reasons(t: Texts) -> Panel:
    return table(
        t,
        "reasons",
        query("quota_reasons", where=OF_BUILDING),
        overrides=[
            column("about", displayName=t("column.quota"), custom__width=130),
            column("reason", displayName=t("column.reason")),
        ],
        no_value="no_quota",
    )


def _pace(t: Texts) -> Panel:
    label = " ${__field.labels.about}"
    return timeseries(
        t,
        "pace",
        days(OF_BUILDING, "quota_used_share", by="about", fn="last"),
        days(OF_BUILDING, "quota_expected_share", by="about", fn="last"),
        unit=tiles.SHARE,
        decimals=0,
        interval="1d",
        back="180d",
        overrides=[
            of_query("A", displayName=t("column.used") + label, color=fixed(MEASURED)),
            of_query("B", displayName=t("column.expected") + label, color=fixed(USUAL_DAY)),
        ],
    )


def _known(t: Texts) -> Panel:
    """What share of every hour is known, and what share was measured."""
    condition = f"{OF_BUILDING} and r.about == ${{carrier:doublequote}}"
    return timeseries(
        t,
        "known",
        series(condition, "coverage", by="quantity", every="1h"),
        series(condition, "measured", by="quantity", every="1h"),
        unit=tiles.SHARE,
        decimals=0,
        high=1,
        interval="1h",
        overrides=[
            of_query("A", displayName=t("column.known"), color=fixed(MEASURED)),
            of_query("B", displayName=t("column.measured"), color=fixed(ESTIMATED)),
        ],
    )
