"""Readings from a file, through the journal like telegrams.

A CSV or Parquet file with the columns meter, register, at, value and, if wanted, unit and site
becomes native messages of a few hundred readings. A row that is no reading goes along as it is, so
that the quarantine shows it and nothing is lost. Numbers keep every digit. The same file again
changes no answer: the same readings come again.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Protocol

import orjson

from ingest.import_rows import ImportRefused, Row, open_rows
from ingest.journal_records import Message
from ingest.rejections import printable, shown
from ingest.topics import native_topic

WANTED: Final = ("meter", "register", "at", "value")
OPTIONAL: Final = ("unit", "site")
DOOR: Final = "import"
"""The door and the gateway that imported messages name."""

ROWS_PER_MESSAGE: Final = 300
_MESSAGES_AT_ONCE: Final = 100
_ODD_SHOWN: Final = 20
_LONGEST_SITE: Final = 200
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)


class MessageSink(Protocol):
    """What is needed of a journal."""

    def append(self, messages: Sequence[Message]) -> range:
        """Write messages and sync them."""


@dataclass(slots=True)
class ImportReport:
    """What became of a file."""

    rows: int = 0
    messages: int = 0
    first_sequence: int | None = None
    last_sequence: int | None = None
    odd_rows: int = 0
    """Rows that are no reading; they went along and are in quarantine."""
    odd: list[str] = field(default_factory=list)
    """What is wrong with the first of them, by row."""
    ignored_columns: tuple[str, ...] = ()


def import_file(
    path: Path, journal: MessageSink, *, sites: Sequence[str], received_at: datetime
) -> ImportReport:
    """Append a file's rows to the journal as native messages.

    Args:
        path: A CSV file in UTF-8 with a header, or a Parquet file.
        journal: Where the messages go.
        sites: The sites of the home; with one, the file need not name it.
        received_at: When the import began; all its messages arrive then.

    Raises:
        ImportRefused: It is no such file, or its columns are not the wanted ones. Nothing of it
            was imported, unless the message says so.
        JournalError: The journal takes no more; what is in stays, importing again repeats it.
    """
    columns, rows = open_rows(path)
    _check_columns(path, columns, sites)
    report = ImportReport(ignored_columns=tuple(c for c in columns if c not in WANTED + OPTIONAL))
    implied = None if "site" in columns else sites[0]
    received_us = (received_at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    waiting: list[Message] = []
    for site, readings in _telegrams(rows, implied, report):
        payload = orjson.dumps({"readings": readings})
        topic = native_topic(site[:_LONGEST_SITE], DOOR)
        waiting.append(Message(received_us, topic, payload, DOOR, printable(path.name)))
        if len(waiting) >= _MESSAGES_AT_ONCE:
            _append(journal, waiting, report)
    _append(journal, waiting, report)
    return report


def _check_columns(path: Path, columns: Sequence[str], sites: Sequence[str]) -> None:
    missing = [column for column in WANTED if column not in columns]
    if missing:
        split = next((c for c in ";\t|" if len(columns) == 1 and c in columns[0]), None)
        remedy = "Separate the columns by commas." if split else "Name them in the first line."
        raise ImportRefused(
            f"{path.name}: wanted the columns {', '.join(WANTED)} (and optionally unit, site), "
            f"found {shown(', '.join(columns))}; {', '.join(missing)} missing. {remedy}"
        )
    twice = {column for column in columns if columns.count(column) > 1}
    if twice:
        raise ImportRefused(
            f"{path.name}: wanted each column once, found {shown(', '.join(sorted(twice)))} "
            f"again. Remove or rename one."
        )
    if "site" not in columns and len(sites) != 1:
        raise ImportRefused(
            f"{path.name}: wanted a column `site`, because this home has {len(sites)} sites, "
            f"found none. Add it with one of {', '.join(sites) or '(add a site first)'}."
        )


@dataclass(slots=True)
class _Telegram:
    """A message in the making."""

    readings: list[dict[str, Any]] = field(default_factory=list)
    keys: set[tuple[str, str, str]] = field(default_factory=set)
    rows: int = 0

    def add(self, key: tuple[str, str, str], at: object, value: object, unit: str) -> None:
        """Put a register beside the ones before it, or begin the next reading."""
        meter, register, _ = key
        self.rows += 1
        self.keys.add(key)
        last = self.readings[-1] if self.readings else None
        if last is None or last["meter"] != meter or last["at"] != at:
            last = {"meter": meter, "at": at, "registers": {}, "units": {}}
            self.readings.append(last)
        last["registers"][register] = value
        if unit:
            last["units"][register] = unit


def _telegrams(
    rows: Iterable[Row], implied: str | None, report: ImportReport
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Gather rows into messages; a second value for a reading begins the next one."""
    gathered: dict[str, _Telegram] = {}
    for number, cells in rows:
        report.rows += 1
        site = _text(cells.get("site")) if implied is None else implied
        meter, register = _text(cells.get("meter")), _text(cells.get("register"))
        at, value = _time(cells.get("at")), _number(cells.get("value"))
        _note_odd(report, number, meter, register, value)
        key = (meter, register, str(at))
        telegram = gathered.setdefault(site, _Telegram())
        if telegram.rows >= ROWS_PER_MESSAGE or key in telegram.keys:
            yield site, telegram.readings
            telegram = gathered[site] = _Telegram()
        telegram.add(key, at, value, _text(cells.get("unit")))
    for site, telegram in gathered.items():
        yield site, telegram.readings


def _note_odd(report: ImportReport, number: int, meter: str, register: str, value: object) -> None:
    if not meter:
        wrong = "wanted a meter, found nothing"
    elif not register:
        wrong = "wanted a register, found nothing"
    elif isinstance(value, bool) or not isinstance(value, (int, float)):
        wrong = f"wanted a number, found {shown(value)}"
    else:
        return
    report.odd_rows += 1
    if len(report.odd) < _ODD_SHOWN:
        report.odd.append(f"line {number}: {wrong}; it is in quarantine")


def _append(journal: MessageSink, waiting: list[Message], report: ImportReport) -> None:
    if not waiting:
        return
    sequences = journal.append(waiting)
    if report.first_sequence is None:
        report.first_sequence = sequences[0]
    report.last_sequence = sequences[-1]
    report.messages += len(waiting)
    waiting.clear()


def _text(cell: object) -> str:
    return "" if cell is None else str(cell).strip()


def _time(cell: object) -> object:
    """A time as a telegram has it; an empty one must not look like none, which is stamped."""
    if cell is None:
        return ""
    return cell if isinstance(cell, int) else str(cell).strip()


def _number(cell: object) -> object:
    """A number if it is one, without losing a digit; anything else as it is."""
    if isinstance(cell, str) and _NUMBER.fullmatch(cell.strip()):
        number = float(cell)
        return number if math.isfinite(number) else cell
    if isinstance(cell, Decimal):
        return float(cell) if cell.is_finite() else str(cell)
    if isinstance(cell, float) and not math.isfinite(cell):
        return str(cell)
    return cell if cell is None or isinstance(cell, (bool, int, float)) else str(cell)
