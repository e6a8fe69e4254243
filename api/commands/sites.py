"""Commands around the home and its site files: init, check."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from api.answers import to_json
from api.client import ask
from api.commands.asking import as_json, home_of, refused
from api.home import Home, HomeError
from api.output import print_json, stderr
from api.problems import document
from ingest.context import check_profiles
from ingest.profiles import load_profiles
from metering.findings import Finding
from metering.site_checks import check_site
from metering.site_files import LoadedSite, SiteErrors, load_home_sites, load_site
from metering.units import REGISTERS


@click.command()
@click.pass_context
def init(context: click.Context) -> int:
    """Make a home, with a commented site.yaml to start from."""
    home = home_of(context)
    made = home.init()
    for path in made:
        click.echo(f"made {path}", err=True)
    click.echo(f"Next: edit {made[0]}, then: tanyuan --home {home.path} check", err=True)
    return 0


@click.command()
@click.argument("site", required=False)
@click.option("--apply", is_flag=True, help="Record the new version and use it at once.")
@as_json
@click.pass_context
def check(context: click.Context, site: str | None, apply: bool, json_out: bool) -> int:
    """Check SITE: a site file, or the id of one in the home; all of the home if left out."""
    home = home_of(context)
    folders = [home.profiles] if home.profiles.is_dir() else []
    profiles = load_profiles(*folders)
    registers = frozenset(REGISTERS) | frozenset(profiles.registers)
    try:
        loaded = _load(home, site, registers)
    except SiteErrors as errors:
        return _say_errors(errors, json_out=json_out)
    changed = None
    if apply:
        reply = ask(context.obj.settings, "POST", "/api/v1/sites/reload")
        if not reply.ok:
            return refused(reply, json_out=json_out)
        changed = reply.document["changed"]
    findings = [[*check_site(each.site), *check_profiles([each.site], profiles)] for each in loaded]
    _say_findings(loaded, findings, changed, json_out=json_out)
    return 0


def _load(home: Home, site: str | None, registers: frozenset[str]) -> Sequence[LoadedSite]:
    path = Path(site) if site else None
    if path is not None and path.is_file():
        content = path.read_bytes()
        return [
            LoadedSite(load_site(content, file=str(path), registers=registers), site or "", content)
        ]
    home.check()
    loaded = load_home_sites(home.given, registers=registers)
    if site is None:
        return loaded
    found = [each for each in loaded if each.site.id == site]
    if not found:
        known = ", ".join(each.site.id for each in loaded)
        raise HomeError(
            f"{site!r} is no file, and no site of the home {home.path}; it has: {known}."
        )
    return found


def _say_errors(errors: SiteErrors, *, json_out: bool) -> int:
    if json_out:
        problem: dict[str, Any] = document(
            422, "The site file has errors", str(errors), code="site-errors"
        )
        problem["errors"] = [
            {
                "file": e.file,
                "line": e.line,
                "column": e.column,
                "path": e.path,
                "wanted": e.wanted,
                "found": e.found,
                "remedy": e.remedy,
            }
            for e in errors.errors
        ]
        print_json(to_json(problem))
    stderr().print(str(errors), markup=False, soft_wrap=True)
    return 1


def _say_findings(
    loaded: Sequence[LoadedSite],
    findings: Sequence[Sequence[Finding]],
    changed: list[str] | None,
    *,
    json_out: bool,
) -> None:
    sites = []
    for each, found in zip(loaded, findings, strict=True):
        sites.append(
            {
                "site": each.site.id,
                "file": Path(each.file).name,
                "points": len(each.site.all_points()),
                "meters": len(each.site.serials),
                "findings": [
                    {"code": f.code, "message": f.message, "data": dict(f.data)} for f in found
                ],
            }
        )
    answer: dict[str, Any] = {"sites": sites}
    if changed is not None:
        answer["changed"] = changed
    if json_out:
        print_json(to_json(answer))
        return
    for site in sites:
        click.echo(f"{site['site']}: {site['points']} points, {site['meters']} meters, no errors")
        for finding in site["findings"]:  # type: ignore[attr-defined]
            click.echo(f"  {finding['code']}: {finding['message']}")
    if changed is not None:
        click.echo(f"applied; new versions: {', '.join(changed) or 'none'}")


COMMANDS = [init, check]
