"""Commands that run: up, demo, replay."""

from __future__ import annotations

import click


@click.command()
@click.option("--mqtt-port", type=click.IntRange(0, 65535), help="0 takes a free port.")
@click.option("--http-port", type=click.IntRange(0, 65535), help="0 takes a free port.")
@click.pass_context
def up(context: click.Context, mqtt_port: int | None, http_port: int | None) -> int:
    """Run everything in one process: both doors, projector, jobs, API and console."""
    from api.running import run

    run(context.obj.with_settings(mqtt_port=mqtt_port, http_port=http_port))
    return 0


COMMANDS: list[click.Command] = [up]
