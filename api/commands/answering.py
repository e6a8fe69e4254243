"""Commands that answer: energy, emissions, quota, trace, latest readings, status."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import click

from api.commands.asking import as_json, known_by_option, put, site_option, span_options
from api.output import print_behind, print_fields, print_series, print_table


@click.command()
@span_options
@click.option("--register", help="One register instead of the energy.")
@as_json
@click.pass_context
def energy(context: click.Context, /, json_out: bool, **asked: str | None) -> int:
    """Energy of a point, a building or the site."""
    return put(context, "/energy", _query(asked), json_out=json_out, show=_series(asked))


@click.command()
@span_options
@click.option(
    "--method", type=click.Choice(["location", "market"]), default="location", show_default=True
)
@as_json
@click.pass_context
def emissions(context: click.Context, /, json_out: bool, **asked: str | None) -> int:
    """Emissions of a point, a building or the site."""
    return put(context, "/emissions", _query(asked), json_out=json_out, show=_series(asked))


def _query(asked: dict[str, str | None]) -> dict[str, Any]:
    """Options as the API names them: `from` and `to` are no names in Python."""
    rest = {name: value for name, value in asked.items() if name not in ("first", "until")}
    return {"from": asked["first"], "to": asked["until"], **rest}


def _series(asked: dict[str, str | None]) -> Callable[[dict[str, Any]], None]:
    return partial(print_series, every=asked["every"] or "", first=asked["first"] or "")


@click.command()
@click.option(
    "--on", "on", metavar="DAY", help="State at the end of this day. Default: the site's yesterday."
)
@site_option
@known_by_option
@as_json
@click.pass_context
def quota(
    context: click.Context, on: str | None, site: str | None, known_by: str | None, json_out: bool
) -> int:
    """Use against every quota of the site."""
    params = {"on": on, "site": site, "known_by": known_by}
    return put(context, "/quota", params, json_out=json_out, show=_print_quotas)


def _print_quotas(document: dict[str, Any]) -> None:
    print_table(
        f"Quotas at the end of {document['on']}",
        ("quota", "subject", "used", "limit", "unit", "used share", "expected", "verdict"),
        [
            (
                q["quota"],
                q["subject"],
                q["used"],
                q["limit"],
                q["unit"],
                q["used_share"],
                q["expected_share"],
                q["verdict"],
            )
            for q in document["quotas"]
        ],
    )
    for each in document["quotas"]:
        for reason in each["reasons"]:
            click.echo(f"{each['quota']}: {reason}")
    print_behind(document)


@click.command()
@click.argument("kind", type=click.Choice(["energy", "emissions"]))
@click.option("--point", required=True, metavar="ID", help="Meter point.")
@click.option("--at", required=True, metavar="INSTANT", help="Inside the interval, with offset.")
@click.option(
    "--every",
    type=click.Choice(["15min", "hour", "day", "month", "year"]),
    default="hour",
    show_default=True,
)
@site_option
@known_by_option
@as_json
@click.pass_context
def trace(
    context: click.Context,
    kind: str,
    point: str,
    at: str,
    every: str,
    site: str | None,
    known_by: str | None,
    json_out: bool,
) -> int:
    """Follow a figure back to the telegrams it came from."""
    params = {"point": point, "at": at, "every": every, "site": site, "known_by": known_by}
    return put(context, f"/trace/{kind}", params, json_out=json_out, show=print_fields)


@click.command()
@site_option
@as_json
@click.pass_context
def latest(context: click.Context, site: str | None, json_out: bool) -> int:
    """The newest reading of every register."""

    def show(document: dict[str, Any]) -> None:
        columns = ("meter", "register", "at", "value", "flags")
        rows = [[each[name] for name in columns] for each in document["latest"]]
        print_table("Latest readings", columns, rows)
        print_behind(document)

    return put(context, "/latest", {"site": site}, json_out=json_out, show=show)


@click.command()
@as_json
@click.pass_context
def status(context: click.Context, json_out: bool) -> int:
    """Lag, silent meters, disk, last jobs."""
    return put(context, "/status", json_out=json_out, show=print_fields)


COMMANDS = [energy, emissions, quota, trace, latest, status]
