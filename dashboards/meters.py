"""Meters and the quality of their data: who is silent, what was found, what they said."""

from __future__ import annotations

from dashboards import now, tiles
from dashboards.builder import Dashboard, build, meter, register, site
from dashboards.layout import Panel, Row
from dashboards.look import (
    BAD,
    GOOD,
    MEASURED,
    MORE_IS_BAD,
    NONE_IS_GOOD,
    SHARE_KNOWN,
    WARN,
    column,
    fixed,
    mapping,
    of_query,
)  # fmt: skip
from dashboards.panels import bargauge, stat, state_timeline, table, timeseries
from dashboards.park_live import findings, happened, quarantined
from dashboards.queries import OF_SITE, POINTS, latest, query
from dashboards.texts import Texts

NAME = "meters"

SILENT = {"0": GOOD, "1": BAD}


def dashboard(language: str) -> Dashboard:
    """The dashboard in one language."""
    t = Texts(language)
    rows = [
        Row(
            now.NAMED + 1,
            (5, stat(t, "meters_live", query("live_share"), fields="/.*/")),
            (5, _never(t)),
            (5, now.oldest_reading(t)),
            (5, findings(t)),
            (4, quarantined(t)),
        ),
        Row(10, (9, _ages(t)), (15, _silence(t))),
        Row(8, (8, _findings_by_code(t)), (8, _flagged(t)), (8, _known(t))),
        Row(9, (15, _readings(t)), (9, _arrivals(t))),
        Row(8, (24, happened(t))),
    ]  # fmt: skip
    return build(t, NAME, rows, variables=[site(t), meter(t), register(t)])


def _never(t: Texts) -> Panel:
    flux = latest(OF_SITE, "meters_never_heard")
    return stat(t, "never_heard", flux, thresholds=MORE_IS_BAD)


def _ages(t: Texts) -> Panel:
    return table(
        t,
        "ages",
        query("oldest"),
        overrides=[
            column("subject", displayName=t("column.point")),
            column("about", displayName=t("column.meter")),
            column(
                "meter_age_s",
                displayName=t("column.age"),
                unit=tiles.AGE,
            ),
            column(
                "meter_silent",
                displayName=t("column.reports"),
                mappings=mapping(t.begins("silent."), SILENT),
                custom__displayMode="color-text",
            ),
        ],
    )


def _silence(t: Texts) -> Panel:
    return state_timeline(
        t,
        "silence",
        query("silence"),
        name="${__field.labels.subject}",
        thresholds=NONE_IS_GOOD,
        mappings=mapping(t.begins("silent."), SILENT),
        interval="10m",
    )


def _findings_by_code(t: Texts) -> Panel:
    flux = latest(f'{OF_SITE} and r.about != "all"', "findings_day")
    return table(
        t,
        "findings_by_code",
        flux,
        overrides=[
            column("subject", custom__hidden=True),
            column("about", displayName=t("column.code")),
            column("findings_day", displayName=t("column.count"), decimals=0),
        ],
        order=[(t("column.count"), True)],
        no_value="no_findings",
    )


def _flagged(t: Texts) -> Panel:
    return table(
        t,
        "flagged",
        query("flags"),
        overrides=[
            column("subject", displayName=t("column.point")),
            column("quantity", displayName=t("column.carrier")),
            column("hours", displayName=t("column.hours"), decimals=0),
        ],
        no_value="no_flags",
    )


def _known(t: Texts) -> Panel:
    flux = latest(POINTS, "coverage_today", form="highest")
    return bargauge(
        t,
        "coverage_by_building",
        flux,
        unit=tiles.SHARE,
        thresholds=SHARE_KNOWN,
        overrides=[column("_value", max=1)],
    )


def _readings(t: Texts) -> Panel:
    return timeseries(
        t,
        "readings",
        query("readings", meter="${meter:doublequote}", register="${register:doublequote}"),
        decimals=2,
        low=None,
        name="${__field.name}",
        overrides=[of_query("A", color=fixed(MEASURED), custom__axisSoftMin=None)],
    )


def _arrivals(t: Texts) -> Panel:
    return table(
        t,
        "arrivals",
        query("meters_live"),
        overrides=[
            column("meter", displayName=t("column.meter")),
            column("read_at", displayName=t("column.read_at")),
            column("received_at", displayName=t("column.received_at"), color=fixed(WARN)),
        ],
    )
