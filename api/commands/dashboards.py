"""Commands for dashboards: which there are, as files, into a Grafana."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import available_timezones

import click

from api.answers import to_json
from api.commands.asking import as_json
from api.output import print_document, print_json, stderr, stdout
from api.problems import document
from metering.periods import Period

if TYPE_CHECKING:
    from api.settings import Settings
    from metering.store.indicators import Indicator

LANGUAGE = click.Choice(["zh", "en", "both"])
EVENT_DAYS = 31
"""So far back events are marked in Grafana."""


@click.group()
def dashboards() -> None:
    """Dashboards for Grafana, in Chinese and English."""


@dashboards.command("list")
@as_json
def list_(json_out: bool) -> int:
    """The dashboards there are, with their uids."""
    from dashboards.catalog import DASHBOARDS
    from dashboards.texts import LANGUAGES

    built = [build(language) for build in DASHBOARDS.values() for language in LANGUAGES]
    found = [{key: each[key] for key in ("uid", "title", "description")} for each in built]
    if json_out:
        print_json(to_json({"dashboards": found}))
        return 0
    for each in found:
        stdout().print(f"{each['uid']:<24}{each['title']}: {each['description']}", markup=False)
    return 0


def _zone(_context: click.Context, _parameter: click.Parameter, name: str | None) -> str | None:
    """The name of a zone, if there is one of that name."""
    if name is not None and name not in available_timezones():
        raise click.BadParameter(
            f"wanted the name of a time zone, such as Europe/Berlin, found {name!r}."
        )
    return name


ZONE = click.option(
    "--timezone",
    callback=_zone,
    help="In which days of all sites are counted, such as Europe/Berlin; else each in its own.",
)


@dashboards.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@ZONE
@click.option("--bucket", help="Of readings in InfluxDB; else tanyuan.")
@as_json
def write(folder: Path, timezone: str | None, bucket: str | None, json_out: bool) -> int:
    """Write every dashboard below the folder DIR, as zh/NAME.json and en/NAME.json."""
    from api.publishing import for_buckets
    from dashboards.builder import BUCKET
    from dashboards.writing import files
    from dashboards.writing import write as write_files

    changed = write_files(
        folder, lambda dashboard: for_buckets(dashboard, bucket or BUCKET, timezone)
    )
    said = {"folder": str(folder), "files": len(files()), "changed": len(changed)}
    print_document(said, as_json=json_out)
    return 0


@dashboards.command()
@click.option("--url", help="Of Grafana; else $TANYUAN_GRAFANA_URL.")
@click.option("--language", type=LANGUAGE, default="both", show_default=True)
@click.option("--folder", help="Title of the folder they are put into.")
@ZONE
@click.option("--annotations", is_flag=True, help="Also mark the events of the last 31 days.")
@as_json
@click.pass_context
def publish(
    context: click.Context,
    url: str | None,
    language: str,
    folder: str | None,
    timezone: str | None,
    annotations: bool,
    json_out: bool,
) -> int:
    """Put folder, datasource and dashboards into a Grafana; again, and nothing changes."""
    from api.publishing import (
        GrafanaRefused,
        GrafanaUnavailable,
        for_buckets,
        opened,
    )
    from api.publishing import publish as publish_all
    from dashboards.builder import FOLDER
    from dashboards.catalog import DASHBOARDS
    from dashboards.texts import LANGUAGES

    settings = context.obj.settings
    chosen = LANGUAGES if language == "both" else (language,)
    built = [build(each) for build in DASHBOARDS.values() for each in chosen]
    boards = [for_buckets(board, settings.influx_bucket, timezone) for board in built]
    try:
        with opened(settings, url) as grafana:
            events = _events(settings) if annotations else []
            done = publish_all(settings, grafana, boards, folder=folder or FOLDER, events=events)
    except GrafanaRefused as error:
        return _no(409, error, json_out=json_out)
    except GrafanaUnavailable as error:
        return _no(503, error, json_out=json_out)
    print_document(asdict(done), as_json=json_out)
    return 0


def _events(settings: Settings) -> list[Indicator]:
    """The events of the last days, out of InfluxDB."""
    from metering.store.influx_store import open_influx

    store = open_influx(
        settings.influx_url,
        org=settings.influx_org or "",
        token=settings.influx_token.get_secret_value() if settings.influx_token else "",
        bucket=settings.influx_bucket,
        derived_bucket=f"{settings.influx_bucket}_derived",
    )
    try:
        now = datetime.now(UTC)
        lately = Period(now - timedelta(days=EVENT_DAYS), now)
        return store.indicators(lately, quantities=["event"])
    finally:
        store.close()


def _no(status: int, error: Exception, *, json_out: bool) -> int:
    """Say why nothing, or not everything, was published."""
    title = "Not published" if status < 500 else "Grafana does not answer"
    if json_out:
        code = "grafana-refused" if status < 500 else "grafana-unavailable"
        print_json(to_json(document(status, title, str(error), code=code)))
    stderr().print(f"{title}. {error}", markup=False, soft_wrap=True)
    return 1 if status < 500 else 3


COMMANDS = (dashboards,)
