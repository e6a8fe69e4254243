"""What answering commands have in common: options, asking, printing, exit status."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from api.client import Reply, ask
from api.home import Home
from api.output import print_json, stderr

PREFIX = "/api/v1"

Command = TypeVar("Command", bound=Callable[..., Any])


def home_of(context: click.Context) -> Home:
    """The home that the command works on."""
    settings = context.obj.settings
    return Home(settings.home, settings.config)


def as_json(command: Command) -> Command:
    """Add `--json`."""
    option = click.option("--json", "json_out", is_flag=True, help="One JSON document on stdout.")
    return option(command)


def site_option(command: Command) -> Command:
    """Add `--site`."""
    return click.option("--site", help="Site, if the home has several.")(command)


def known_by_option(command: Command) -> Command:
    """Add `--known-by`."""
    return click.option("--known-by", metavar="DAY", help="As known at the end of this day.")(
        command
    )


def span_options(command: Command) -> Command:
    """Add scope, span and interval."""
    for option in reversed(
        [
            click.option("--from", "first", required=True, metavar="DAY", help="First day."),
            click.option(
                "--to", "until", required=True, metavar="DAY", help="Last day, not included."
            ),
            click.option(
                "--every",
                type=click.Choice(["15min", "hour", "day", "month", "year"]),
                default="day",
                show_default=True,
            ),
            click.option("--point", metavar="ID", help="Only this meter point."),
            click.option("--building", metavar="ID", help="Only this building."),
            click.option("--carrier", help="Only this carrier."),
        ]
    ):
        command = option(command)
    return known_by_option(site_option(command))


def put(
    context: click.Context,
    path: str,
    params: Mapping[str, Any] | None = None,
    *,
    json_out: bool,
    show: Callable[[dict[str, Any]], None],
    method: str = "GET",
    content: Any = None,  # noqa: ANN401 - bytes, or chunks of them
    body: Mapping[str, Any] | None = None,
) -> int:
    """Ask, print, and return the exit status."""
    reply = ask(
        context.obj.settings,
        method,
        f"{PREFIX}{path}",
        params=params,
        content=content,
        body=body,
    )
    if not reply.ok:
        return refused(reply, json_out=json_out)
    if json_out:
        print_json(reply.body)
    else:
        show(reply.document)
    return 0


def refused(reply: Reply, *, json_out: bool) -> int:
    """Print a problem; 1 if we were right to refuse, 3 if it is a fault of ours."""
    problem = reply.document
    if json_out:
        print_json(reply.body)
    stderr().print(f"{problem['title']}. {problem['detail']}", markup=False)
    return 1 if reply.status < 500 else 3
