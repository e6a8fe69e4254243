"""Commands that bring readings in, look after what could not be read, and run jobs."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import click

from api.commands.asking import as_json, put, site_option
from api.output import print_behind, print_document, print_fields, print_table, stderr

CHUNK = 1 << 20


@click.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@site_option
@as_json
@click.pass_context
def import_(context: click.Context, file: Path, site: str | None, json_out: bool) -> int:
    """Bring in readings from a CSV or Parquet FILE; they go through the journal."""

    async def chunks() -> AsyncIterator[bytes]:
        with file.open("rb") as opened:
            while block := opened.read(CHUNK):
                yield block

    params = {"name": file.name, "site": site}
    return put(
        context,
        "/import",
        params,
        json_out=json_out,
        show=print_fields,
        method="POST",
        content=chunks(),
    )


@click.group()
def quarantine() -> None:
    """What could not be read: look at it, and decode it again after a fix."""


@quarantine.command("list")
@click.option("--code", help="Only this reason code.")
@click.option(
    "--state", type=click.Choice(["open", "replayed", "all"]), default="open", show_default=True
)
@click.option("--limit", type=click.IntRange(1, 100_000), default=1000, show_default=True)
@as_json
@click.pass_context
def list_(context: click.Context, code: str | None, state: str, limit: int, json_out: bool) -> int:
    """List what is in quarantine: a line for each reason, meter and cause; --json: every entry."""

    def show(document: dict[str, Any]) -> None:
        entries = document["entries"]
        rows = cause_rows(entries)
        begin = 0 if len({row[0] for row in rows}) > 1 else 1
        columns = CAUSE_COLUMNS[begin:]
        print_table(f"{document['open']} open", columns, [row[begin:] for row in rows])
        if len(entries) == limit:
            stderr().print(f"Only {limit} entries are counted here; --limit takes more.")
        if entries:
            stderr().print("tanyuan quarantine show SEQUENCE prints one with its payload.")
        print_behind(document)

    params = {"code": code, "state": state, "limit": limit}
    return put(context, "/quarantine", params, json_out=json_out, show=show)


CAUSE_COLUMNS = ("journal", "count", "first", "last", "from", "to", "code", "meter", "cause")
_SHORT = 160
_KNOWN = re.compile(r" Known: [^.]*\.")
_NUMBER = re.compile(r"(?<![A-Za-z_])\d[\d.,:TZ+-]*")


def cause_rows(entries: Sequence[dict[str, Any]]) -> list[list[object]]:
    """Entries as a line for each code, meter and cause: how many, the first and the last of them.

    Messages that differ in numbers alone, as times and values do, are one cause.
    """
    alike: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for each in entries:
        cause = _NUMBER.sub("0", each["message"])
        alike.setdefault((each["journal"], each["code"], each["meter"], cause), []).append(each)
    rows: list[list[object]] = []
    for (journal, code, meter, _), same in alike.items():
        same.sort(key=lambda each: (each["sequence"], each["part"]))
        first, last = same[0], same[-1]
        times = sorted(each["received_at"] for each in same)
        ends = (first["sequence"], last["sequence"], times[0][:19] + "Z", times[-1][:19] + "Z")
        rows.append([journal, len(same), *ends, code, meter or None, _short(first["message"])])
    return sorted(rows, key=lambda row: str(row[4]))


def _short(message: str) -> str:
    """A message without the list of what is known, and not much longer than a line."""
    text = _KNOWN.sub("", message)
    return text if len(text) <= _SHORT else text[: _SHORT - 1] + "…"


@quarantine.command("show")
@click.argument("sequence", type=int)
@click.option("--journal", metavar="ID", help="Of this journal, if several have such a message.")
@as_json
@click.pass_context
def show(context: click.Context, sequence: int, journal: str | None, json_out: bool) -> int:
    """Show one message, with its payload and every reason in full."""
    params = {"journal": journal}
    return put(context, f"/quarantine/{sequence}", params, json_out=json_out, show=_print_message)


def _print_message(document: dict[str, Any]) -> None:
    """Print a message, and what is the same of many parts once."""
    alike: dict[tuple[str, ...], list[int]] = {}
    for each in document["reasons"]:
        same = tuple(each[name] for name in ("code", "meter", "state", "message"))
        alike.setdefault(same, []).append(each["part"])
    reasons = [
        {"parts": parts, "code": code, "meter": meter or None, "state": state, "message": message}
        for (code, meter, state, message), parts in alike.items()
    ]
    print_fields(document | {"reasons": reasons})


@quarantine.command("replay")
@click.argument("sequence", type=int, required=False)
@click.option("--code", help="Only this reason code.")
@as_json
@click.pass_context
def replay(context: click.Context, sequence: int | None, code: str | None, json_out: bool) -> int:
    """Decode quarantined messages again: one, those of a reason, or all."""
    body = {"sequence": sequence, "code": code}
    return put(
        context,
        "/quarantine/replay",
        json_out=json_out,
        show=print_fields,
        method="POST",
        body=body,
    )


@click.group()
def job() -> None:
    """Scheduled work."""


@job.command("run")
@click.argument("name")
@click.option("--for", "day", required=True, metavar="DAY", help="Site day the run works on.")
@as_json
@click.pass_context
def run(context: click.Context, name: str, day: str, json_out: bool) -> int:
    """Run a job for one day, now."""
    return put(
        context,
        f"/jobs/{name}/run",
        {"for": day},
        json_out=json_out,
        show=print_fields,
        method="POST",
    )


@job.command("list")
@as_json
@click.pass_context
def jobs(context: click.Context, json_out: bool) -> int:
    """Show the timetable and the last runs."""
    return put(context, "/jobs", json_out=json_out, show=print_fields)


@click.command()
@as_json
@click.pass_context
def rebuild(context: click.Context, json_out: bool) -> int:
    """Make the store and all figures again from the journal."""
    from api.rebuilding import rebuild_home

    print_document(rebuild_home(context.obj.settings), as_json=json_out)
    return 0


@click.group()
def store() -> None:
    """Look after the store of readings and hours."""


@store.command("copy")
@click.argument("source", type=click.Choice(["duckdb", "influxdb"]))
@click.argument("target", type=click.Choice(["duckdb", "influxdb"]))
@as_json
@click.pass_context
def copy(context: click.Context, source: str, target: str, json_out: bool) -> int:
    """Copy everything from the SOURCE kind of store into the TARGET kind; nothing may run."""
    from api.moving import copy_between

    def say(text: str) -> None:
        stderr().print(text, markup=False, soft_wrap=True)

    document = copy_between(context.obj.settings, source, target, say=say)
    print_document(document, as_json=json_out)
    return 0


@click.group()
def journal() -> None:
    """See where the journals of an installation are."""


@journal.command("list")
@as_json
@click.pass_context
def journals(context: click.Context, json_out: bool) -> int:
    """Show the journals that processes registered."""
    return put(context, "/journals", json_out=json_out, show=print_fields)


@journal.command("forget")
@click.argument("journal_id")
@as_json
@click.pass_context
def forget(context: click.Context, journal_id: str, json_out: bool) -> int:
    """Take a journal off the list, once its process is gone for good."""
    return put(
        context, f"/journals/{journal_id}", json_out=json_out, show=print_fields, method="DELETE"
    )


COMMANDS = [import_, quarantine, job, rebuild, store, journal]
