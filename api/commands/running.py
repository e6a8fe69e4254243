"""Commands that run: up, demo, replay."""

from __future__ import annotations

import dataclasses
import time
from datetime import UTC, datetime
from pathlib import Path

import click

from api.commands.asking import as_json, home_of
from api.home import HomeError
from api.output import print_document, stderr, stdout


@click.command()
@click.option("--mqtt-port", type=click.IntRange(0, 65535), help="0 takes a free port.")
@click.option("--http-port", type=click.IntRange(0, 65535), help="0 takes a free port.")
@click.pass_context
def up(context: click.Context, mqtt_port: int | None, http_port: int | None) -> int:
    """Run everything in one process: both doors, projector, jobs, API and console."""
    from api.running import run

    run(context.obj.with_settings(mqtt_port=mqtt_port, http_port=http_port))
    return 0


@click.command()
@click.option("--once", is_flag=True, help="End after the summary.")
def demo(once: bool) -> int:
    """Show everything on a made-up park: a year through MQTT, held against the known truth."""
    from api.demo import demo as run_demo

    return run_demo(None, once=once, console=stdout())


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=int, help="MQTT port; that of the running `up` if left out.")
@click.option("--user", help="MQTT user name; the password is asked for.")
@click.option("--mqtt", "version", type=click.Choice(["5", "3.1.1"]), default="5")
@click.option("--speed", type=float, help="So many times as fast as recorded; else all at once.")
@as_json
@click.pass_context
def replay(
    context: click.Context,
    file: Path,
    host: str,
    port: int | None,
    user: str | None,
    version: str,
    speed: float | None,
    json_out: bool,
) -> int:
    """Publish a FILE of recorded messages or readings over MQTT, QoS 1."""
    from ingest.publisher import Broker
    from ingest.replay import replay as publish
    from metering.site_files import load_home_sites

    home = home_of(context)
    running = home.running()
    if port is None and running is None:
        raise HomeError(
            f"Nothing runs in {home.path}; start it with `up`, or name a broker with --port."
        )
    broker = Broker(
        host=host,
        port=port or (running.mqtt_port if running else 0),
        username=user,
        password=click.prompt("Password", hide_input=True, err=True) if user else None,
        client_id=f"tanyuan-replay-{file.stem}",
        version=5 if version == "5" else 3,
    )
    sites = [each.site.id for each in load_home_sites(home.given)]
    report = publish(
        broker,
        file,
        sites=sites,
        now=datetime.now(UTC),
        clock=time.monotonic,
        speed=speed,
        on_progress=lambda done: stderr().print(f"{done.acked} acknowledged"),
    )
    print_document(dataclasses.asdict(report), as_json=json_out)
    return 0


@click.command()
@click.option("--mqtt-port", type=click.IntRange(0, 65535), help="0 takes a free port.")
@click.option("--http-port", type=click.IntRange(0, 65535), help="0 takes a free port.")
@click.pass_context
def listen(context: click.Context, mqtt_port: int | None, http_port: int | None) -> int:
    """Take what gateways publish, keep it in a journal and serve that to other processes."""
    from api.collecting import run_collector
    from api.roles import LISTEN

    run_collector(context.obj.with_settings(mqtt_port=mqtt_port, http_port=http_port), LISTEN)
    return 0


@click.command()
@click.option("--http-port", type=click.IntRange(0, 65535), help="0 takes a free port.")
@click.pass_context
def collect(context: click.Context, http_port: int | None) -> int:
    """Read from a broker, keep it in a journal and serve that to other processes."""
    from api.collecting import run_collector
    from api.roles import COLLECT

    run_collector(context.obj.with_settings(http_port=http_port), COLLECT)
    return 0


def _part(context: click.Context, name: str, http_port: int | None) -> int:
    from api import roles
    from api.sharing import run_part

    role = {"project": roles.PROJECT, "serve": roles.SERVE, "schedule": roles.SCHEDULE}[name]
    run_part(context.obj.with_settings(http_port=http_port), role)
    return 0


@click.command()
@click.option("--http-port", type=click.IntRange(0, 65535), help="0 takes a free port.")
@click.pass_context
def project(context: click.Context, http_port: int | None) -> int:
    """Move the journals that other processes keep into the store."""
    return _part(context, "project", http_port)


@click.command()
@click.option("--http-port", type=click.IntRange(0, 65535), help="0 takes a free port.")
@click.pass_context
def serve(context: click.Context, http_port: int | None) -> int:
    """Answer questions and show the page; any number of these may run."""
    return _part(context, "serve", http_port)


@click.command()
@click.option("--http-port", type=click.IntRange(0, 65535), help="0 takes a free port.")
@click.pass_context
def schedule(context: click.Context, http_port: int | None) -> int:
    """Make the hours and run the timetable; of several processes one does so at a time."""
    return _part(context, "schedule", http_port)


COMMANDS: list[click.Command] = [up, listen, collect, project, serve, schedule, demo, replay]
