"""Park live: six numbers one reads across a room, then energy, then carbon."""

from __future__ import annotations

from dashboards import now, tiles
from dashboards.builder import Dashboard, build, carrier, site
from dashboards.layout import Panel, Row
from dashboards.look import (
    COLD,
    HEAT,
    MEASURED,
    MORE_IS_BAD,
    SHARE_USED,
    column,
    fixed,
    hidden,
    link,
    no_number,
)
from dashboards.panels import bargauge, stat, table
from dashboards.queries import (
    AT_SITE,
    BUILDINGS,
    LATELY,
    OF_SITE,
    PLATFORM,
    POINTS,
    SITE,
    latest,
    query,
    text,
)
from dashboards.texts import Texts

NAME = "park-live"


def dashboard(language: str) -> Dashboard:
    """The dashboard in one language."""
    t = Texts(language)
    big = [
        now.power(t, OF_SITE),
        now.energy_today(t, OF_SITE),
        _quota_used(t),
        now.heat_today(t, OF_SITE),
        stat(t, "meters_live", query("live_share"), fields="/.*/"),
        findings(t),
    ]
    small = [
        now.power_peak(t, OF_SITE),
        now.usual(t, SITE),
        _quota_expected(t),
        _supply_return(t),
        now.oldest_reading(t, 24),
        quarantined(t, 24),
    ]
    rows = [
        Row(now.NAMED, *((4, panel) for panel in big)),
        Row(3, *((4, panel) for panel in small)),
        Row(
            7,
            (7, _by_building(t)),
            (10, tiles.energy_hours(t, OF_SITE)),
            (7, tiles.quotas(t, "worst_quotas", BUILDINGS, limit=3, each=1)),
        ),
        Row(
            7,
            (7, tiles.carriers(t, OF_SITE)),
            (10, tiles.emission_hours(t, OF_SITE)),
            (7, now.emissions_today(t, OF_SITE)),
        ),
        Row(6, (14, tiles.power_series(t, OF_SITE)), (10, happened(t))),
    ]
    return build(t, NAME, rows, variables=[site(t), carrier(t)])


def findings(t: Texts, size: int | None = None) -> Panel:
    """How many findings were noted in the last 24 hours."""
    flux = latest(f'{OF_SITE} and r.about == "all"', "findings_day")
    return stat(t, "findings", flux, thresholds=MORE_IS_BAD, size=size)


def quarantined(t: Texts, size: int | None = None) -> Panel:
    """How many messages could not be read and wait for a fix."""
    flux = query(
        "total",
        where=PLATFORM,
        quantities="/^quarantine_open$/",
        alive="/^dirty_ranges$/",  # read from the ledger too: without it nothing is known
        back=LATELY,
    )
    return stat(t, "quarantined", flux, thresholds=MORE_IS_BAD, size=size)


def happened(t: Texts, where: str = AT_SITE, key: str = "happened", *, wide: int = 110) -> Panel:
    """The newest events as sentences."""
    return table(
        t,
        key,
        query("events", where=where),
        overrides=[
            column("time", displayName=t("column.when"), custom__width=175),
            column("code", displayName=t("column.code"), custom__width=160),
            column("subject", displayName=t("column.subject"), custom__width=wide),
            column("text", displayName=t("column.what")),
        ],
        no_value="nothing_happened",
    )


def _quota_used(t: Texts) -> Panel:
    return stat(
        t,
        "quota_used",
        _furthest_ahead("quota_used_share"),
        unit=tiles.SHARE,
        decimals=0,
        thresholds=SHARE_USED,
        overrides=[column("quota_used_share", mappings=no_number(t("not_assessable_yet")))],
        no_value="no_quota",
    )


def _quota_expected(t: Texts) -> Panel:
    return stat(
        t,
        "quota_expected",
        _furthest_ahead("quota_expected_share", "about"),
        unit=tiles.SHARE,
        decimals=0,
        names=True,
        size=24,
        fields="/.*/",
        overrides=[
            column("quota_expected_share", displayName=t("column.expected")),
            column("about", displayName=t("column.quota")),
        ],
        no_value="no_quota",
    )


def _furthest_ahead(*columns: str) -> str:
    """The quota of the site or a building that is furthest ahead of its pace."""
    return tiles.quotas_query(AT_SITE, 1, columns)


def _supply_return(t: Texts) -> Panel:
    return stat(
        t,
        "supply_return",
        query("supply_return", where=POINTS),
        unit=tiles.CELSIUS,
        decimals=1,
        names=True,
        size=24,
        overrides=[
            column("supply_temperature", displayName=t("column.supply"), color=fixed(HEAT)),
            column("return_temperature", displayName=t("column.return"), color=fixed(COLD)),
        ],
        no_value="no_heat",
    )


def _by_building(t: Texts) -> Panel:
    part = text(t("today.part"))
    flux = query("buildings_today", where=BUILDINGS, enough=now.ENOUGH, part=part)
    url = (
        f"/d/tanyuan-building-{t.language}?var-site=${{site}}&${{__url_time_range}}"
        "&var-building=${__data.fields.id}"
    )
    return bargauge(
        t,
        "by_building",
        flux,
        unit=tiles.KWH,
        decimals=1,
        color=fixed(MEASURED),
        overrides=[column("id", mappings=hidden(), noValue=""), column("note", noValue="")],
        links=[link(t("link.building"), url)],
    )
