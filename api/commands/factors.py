"""Commands around emission factors: list, check."""

from __future__ import annotations

import click

from api.answers import to_json
from api.commands.asking import as_json, home_of
from api.output import print_json, print_table
from api.problems import document
from carbon.factor_files import check as check_factors
from carbon.factor_files import load_registry


@click.group()
def factor() -> None:
    """Emission factors, shipped and own."""


@factor.command("list")
@click.option("--key", help="Only this key, such as electricity.grid.location.")
@click.option("--region", help="Only this region, such as CN-BJ.")
@as_json
@click.pass_context
def list_(context: click.Context, key: str | None, region: str | None, json_out: bool) -> int:
    """List every factor with its source and how well it was verified."""
    rows = [
        row
        for row in load_registry(home_of(context).factors).list()
        if key in (None, row["key"]) and region in (None, row["region"])
    ]
    if json_out:
        print_json(to_json({"factors": rows}))
        return 0
    columns = ("id", "value", "unit", "verification", "publisher", "document")
    print_table("Factors", columns, [[row.get(name) for name in columns] for row in rows])
    return 0


@factor.command()
@as_json
@click.pass_context
def check(context: click.Context, json_out: bool) -> int:
    """Check the factor files of the home and those that were shipped."""
    problems = check_factors(home_of(context).factors)
    if json_out and problems:
        text = "\n".join(str(problem) for problem in problems)
        print_json(
            to_json(document(422, "A factor file has errors", text, code="factor-file-error"))
        )
    elif json_out:
        print_json(to_json({"problems": []}))
    for problem in problems:
        click.echo(str(problem), err=True)
    if not problems and not json_out:
        click.echo("no problems")
    return 1 if problems else 0


COMMANDS = [factor]
