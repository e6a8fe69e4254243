"""The command tree: `tanyuan --home DIR COMMAND …`."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import click
import orjson

from api import logs
from api.commands import answering, dashboards, factors, keeping, operations, running, sites
from api.home import HomeError
from api.output import print_json, stderr
from api.settings import Settings, SettingsError, load_settings
from api.version import version
from ingest.profiles import ProfileErrors
from metering.site_files import SiteErrors

DONE, REFUSED, MISUSED, FAULT = 0, 1, 2, 3
"""Exit status. Source: interfaces, Output."""


class Context:
    """What every command is handed: the settings, read once they are needed."""

    def __init__(self, home: Path | None) -> None:
        self._home = home
        self._settings: Settings | None = None

    @property
    def settings(self) -> Settings:
        """The settings of the home."""
        if self._settings is None:
            self._settings = load_settings(self._home)
            logs.configure("WARNING", self._settings.log_format, secrets=self._settings.secrets)
        return self._settings

    def with_settings(self, **given: object) -> Settings:
        """The settings of the home, with some of the command's own."""
        return load_settings(self._home, given=given)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version(), "--version", message="tanyuan %(version)s")
@click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the installation. Default: $TANYUAN_HOME, else ./tanyuan-home.",
)
@click.pass_context
def cli(context: click.Context, home: Path | None) -> None:
    """Energy and carbon of parks and buildings, from the telegram to the kilogram."""
    context.obj = Context(home)


for family in (running, sites, answering, keeping, factors, dashboards, operations):
    for command in family.COMMANDS:
        cli.add_command(command)


def main() -> None:
    """Run the command line; the exit status says how it ended."""
    logs.configure("WARNING")
    sys.exit(_run(sys.argv[1:]))


def _run(arguments: list[str]) -> int:
    try:
        status = cli.main(args=arguments, prog_name="tanyuan", standalone_mode=False)
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.Abort:
        stderr().print("Stopped.")
        return FAULT
    except click.ClickException as error:
        error.show()
        return MISUSED
    except Exception as error:  # noqa: BLE001 - the outermost loop of the process
        problem = _problem(error)
        _report(problem, as_json="--json" in arguments)
        return REFUSED if problem["status"] < 500 else FAULT
    return status if isinstance(status, int) else DONE


def _problem(error: Exception) -> dict[str, Any]:
    """A failure outside the API as the problem document the API would have given."""
    from api.problems import document, problem_of

    if isinstance(error, SettingsError):
        return document(400, "A setting cannot be used", str(error), code="settings-error")
    problem = problem_of(error)
    if problem["status"] == 500 and not isinstance(error, HomeError | SiteErrors | ProfileErrors):
        logging.getLogger(__name__).error("a fault of ours", exc_info=error)
    return problem


def _report(problem: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(orjson.dumps(problem, option=orjson.OPT_APPEND_NEWLINE))
    stderr().print(f"{problem['title']}. {problem['detail']}", markup=False)


if __name__ == "__main__":
    main()
