"""Health of the platform: is everything up, does it keep pace, how long does the disk last."""

from __future__ import annotations

from dashboards import tiles
from dashboards.builder import Dashboard, build
from dashboards.layout import Panel, Row
from dashboards.look import (
    BAD,
    DAYS_LEFT,
    GOOD,
    IS_UP,
    LAG,
    MORE_IS_BAD,
    NONE_IS_GOOD,
    Override,
    column,
    mapping,
    nothing,
)  # fmt: skip
from dashboards.panels import stat, state_timeline, table, timeseries
from dashboards.park_live import happened, quarantined
from dashboards.queries import LATELY, PLATFORM, latest, series
from dashboards.texts import Texts

NAME = "platform"

SOON = "3m"
"""What is not known any more is not to look well for ten minutes more."""
JOURNAL = ("journal_answers", "journal_bytes", "journal_days_left", "journal_messages")
EVENTS = f'{PLATFORM} or r.about == "site.changed"'
"""What happened to the platform, and what was changed on any of its sites."""


def dashboard(language: str) -> Dashboard:
    """The dashboard in one language."""
    t = Texts(language)
    rows = [
        Row(
            4,
            (3, _up(t, "store_up")),
            (3, _up(t, "ledger_up")),
            (4, _worst(t, "lag_s", "max", unit=tiles.AGE, thresholds=LAG, back=SOON)),
            (4, _worst(t, "journals_silent", "max", thresholds=NONE_IS_GOOD)),
            (3, _worst(t, "dirty_ranges", "max", thresholds=MORE_IS_BAD)),
            (4, _worst(t, "journal_days_left", "min", unit="suffix: d", thresholds=DAYS_LEFT)),
            (3, quarantined(t)),
        ),
        Row(8, (12, _lines(t, "lag_messages", "short")), (12, _lines(t, "dirty_ranges", "short"))),
        Row(6, (24, _states(t))),
        Row(8, (12, _jobs(t)), (12, _journals(t))),
        Row(8, (12, _lines(t, "disk_free_bytes", "bytes")), (12, _quarantine(t))),
        Row(8, (24, happened(t, EVENTS, "platform_happened", wide=280))),
    ]
    return build(t, NAME, rows, variables=[], events=False)


def _up(t: Texts, quantity: str) -> Panel:
    """Up or down; silence counts as down, because a store that is down cannot take its own 0."""
    words = mapping(t.begins("up."), {"0": BAD, "1": GOOD})
    panel = stat(
        t,
        quantity,
        latest(PLATFORM, quantity),
        thresholds=IS_UP,
        mappings=words,
        no_value="not_heard",
    )
    panel["options"]["reduceOptions"]["calcs"] = ["min"]
    return panel


def _worst(
    t: Texts, quantity: str, calculation: str, *, back: str = LATELY, **look: object
) -> Panel:
    flux = latest(PLATFORM, quantity, back=back)
    panel = stat(t, f"{quantity}_now", flux, **look)  # type: ignore[arg-type]
    panel["options"]["reduceOptions"]["calcs"] = [calculation]
    return panel


def _lines(t: Texts, quantity: str, unit: str) -> Panel:
    return timeseries(
        t,
        quantity,
        series(PLATFORM, quantity, fn="max"),
        unit=unit,
        decimals=0 if unit == "short" else 1,
        name="${__field.labels.subject}",
        interval="5m",
    )


def _states(t: Texts) -> Panel:
    return state_timeline(
        t,
        "processes",
        series(PLATFORM, "store_up", fn="min"),
        name="${__field.labels.subject}",
        thresholds=IS_UP,
        mappings=mapping(t.begins("up."), {"0": BAD, "1": GOOD}),
        interval="5m",
    )


def _jobs(t: Texts) -> Panel:
    return table(
        t,
        "jobs",
        latest(PLATFORM, "job_age_s", "job_ok"),
        overrides=[
            column("subject", displayName=t("column.process")),
            column("about", displayName=t("column.job")),
            column("job_age_s", displayName=t("column.ended"), unit=tiles.AGE),
            column(
                "job_ok",
                displayName=t("column.result"),
                mappings=mapping(t.begins("job."), {"0": BAD, "1": GOOD}),
                custom__displayMode="color-text",
            ),
        ],
    )


def _journals(t: Texts) -> Panel:
    return table(
        t,
        "journals",
        latest(PLATFORM, *JOURNAL),
        overrides=[
            column("subject", displayName=t("column.process")),
            column("about", displayName=t("column.journal")),
            column(
                "journal_answers",
                displayName=t("column.answers"),
                mappings=mapping(t.begins("up."), {"0": BAD, "1": GOOD}),
                custom__displayMode="color-text",
            ),
            column(
                "journal_bytes", displayName=t("column.size"), unit="bytes", decimals=1, noValue="–"
            ),
            _days_left(t),
            column("journal_messages", displayName=t("column.messages"), unit="locale", decimals=0),
        ],
    )


def _days_left(t: Texts) -> Override:
    return column(
        "journal_days_left",
        displayName=t("column.days_left"),
        mappings=[nothing("–")],
        unit="suffix: d",
        decimals=0,
        thresholds=DAYS_LEFT,
        custom__displayMode="color-text",
    )


def _quarantine(t: Texts) -> Panel:
    return table(
        t,
        "quarantine",
        latest(PLATFORM, "quarantine_open"),
        overrides=[
            column("subject", displayName=t("column.process")),
            column("about", displayName=t("column.reason")),
            column("quarantine_open", displayName=t("column.count"), decimals=0),
        ],
        no_value="nothing_quarantined",
    )
