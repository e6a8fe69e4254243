"""Commands for whoever keeps it running: backup, restore, doctor."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from api.answers import to_json
from api.commands.asking import as_json
from api.output import print_document, print_json, stderr, stdout
from api.problems import document
from api.settings import SettingsError


@click.command()
@click.argument("target", type=click.Path(path_type=Path))
@click.option(
    "--with-store",
    is_flag=True,
    help="Put in the embedded store too, which else is made again; only while nothing runs.",
)
@as_json
@click.pass_context
def backup(context: click.Context, target: Path, with_store: bool, json_out: bool) -> int:
    """Save the home to the file TARGET, or into the folder TARGET; also beside a running `up`."""
    from api.backup import back_up
    from api.backup_journal import BackupRefused

    try:
        made = back_up(context.obj.settings, target, with_store=with_store, now=datetime.now(UTC))
    except BackupRefused as error:
        return _no(409, "No backup was made", error, json_out=json_out)
    print_document(made, as_json=json_out)
    return 0


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--check", is_flag=True, help="Only hold every file against its hash.")
@as_json
@click.pass_context
def restore(context: click.Context, file: Path, check: bool, json_out: bool) -> int:
    """Make a new home from the backup FILE, after every file of it was checked."""
    from api.archive import ArchiveDamaged
    from api.restoring import RestoreRefused, check_backup
    from api.restoring import restore as restore_home

    def say(text: str) -> None:
        stderr().print(text, markup=False, soft_wrap=True)

    try:
        settings = context.obj.settings
        answer = check_backup(file) if check else restore_home(settings, file, say=say)
    except ArchiveDamaged as error:
        return _no(422, "The backup is damaged", error, json_out=json_out)
    except RestoreRefused as error:
        return _no(409, "Nothing was restored", error, json_out=json_out)
    print_document(answer, as_json=json_out)
    return 0


@click.command()
@click.option("--deep", is_flag=True, help="Read the whole journal and check every hash.")
@as_json
@click.pass_context
def doctor(context: click.Context, deep: bool, json_out: bool) -> int:
    """Look at everything this installation depends on, and say what to do."""
    from api.doctor import examine, is_well, report, settings_failed

    now = datetime.now(UTC)
    try:
        checks = examine(context.obj.settings, now=now, deep=deep)
    except SettingsError as error:
        checks = settings_failed(error)
    answer = report(checks, now=now)
    if not is_well(checks):
        failed = [f"{c.name}: {c.message}" for c in checks if c.status == "fail"]
        return _unwell(answer, failed, json_out=json_out)
    if json_out:
        print_json(to_json(answer))
    else:
        _print_checks(answer)
    return 0


def _unwell(answer: dict[str, Any], failed: list[str], *, json_out: bool) -> int:
    if json_out:
        problem = document(409, "The doctor says no", "\n".join(failed), code="unwell")
        print_json(to_json(problem | {"checks": answer["checks"]}))
    else:
        _print_checks(answer)
    stderr().print(f"{len(failed)} of {len(answer['checks'])} checks say no.")
    return 1


def _print_checks(answer: dict[str, Any]) -> None:
    console = stdout()
    for check in answer["checks"]:
        console.print(f"{check['status']:<5}{check['name']}: {check['message']}", markup=False)
        if check["status"] != "ok" and check["remedy"]:
            console.print(f"     {check['remedy']}", markup=False)


def _no(
    status: int,
    title: str,
    error: Exception,
    *,
    json_out: bool,
    **more: Any,  # noqa: ANN401 - members of the problem document
) -> int:
    code = "".join(f"-{c.lower()}" if c.isupper() else c for c in type(error).__name__)
    if json_out:
        problem = document(status, title, str(error), code=code.lstrip("-"))
        print_json(to_json(problem | more))
    stderr().print(f"{title}. {error}", markup=False, soft_wrap=True)
    return 1


COMMANDS = [backup, restore, doctor]
