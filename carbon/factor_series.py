"""Reads the CSV file of a factor that changes within its version."""

from __future__ import annotations

import csv
import math
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from carbon.factor_yaml import BadFile
from carbon.factors import FactorSeries
from metering.marked_yaml import ErrorLog, FileProblem, decoded

HEADER = ["start", "value"]


def load_series(path: Path) -> FactorSeries:
    """Load `start,value` rows; each value holds until the next start.

    Raises:
        FileNotFoundError: There is no such file.
        BadFile: A line is not what it should be; the problem names it.
    """
    log = ErrorLog(path.name)
    text = decoded(path.read_bytes(), log)
    if text is None:
        raise BadFile(log.errors[0])
    lines = csv.reader(text.splitlines())
    header = [cell.strip() for cell in next(lines, [])]
    if header != HEADER:
        raise _bad(path, 1, "the header `start,value`", ",".join(header) or "nothing", "Add it.")
    starts: list[datetime] = []
    values: list[float] = []
    for number, cells in enumerate(lines, start=2):
        if not cells:
            continue
        if len(cells) != len(HEADER):
            raise _bad(path, number, "two columns", ",".join(cells), "Write `start,value`.")
        starts.append(_start(path, number, cells[0].strip()))
        values.append(_value(path, number, cells[1].strip()))
        if len(starts) > 1 and starts[-1] <= starts[-2]:
            raise _bad(
                path,
                number,
                "a start later than the one before",
                cells[0],
                "Sort the rows by start and keep each start once.",
            )
    if not starts:
        raise _bad(path, 2, "at least one row", "none", "Add the rows.")
    return FactorSeries(path.name, np.array(starts, "datetime64[us]"), np.array(values))


def _start(path: Path, line: int, text: str) -> datetime:
    try:
        start = datetime.fromisoformat(text)
    except ValueError as error:
        raise _bad(
            path, line, "a time such as 2024-01-01T00:00:00Z", repr(text), "Correct it."
        ) from error
    if start.tzinfo is None:
        raise _bad(
            path, line, "a time with its offset or Z", text, "Append Z if it is UTC, or +08:00."
        )
    return start.astimezone(UTC).replace(tzinfo=None)


def _value(path: Path, line: int, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise _bad(
            path,
            line,
            "a number, 0 or more",
            repr(text),
            "Correct it; where the value is unknown let a version end and another begin.",
        )
    return value


def _bad(path: Path, line: int, wanted: str, found: str, remedy: str) -> BadFile:
    return BadFile(FileProblem(path.name, line, wanted, found, remedy))
