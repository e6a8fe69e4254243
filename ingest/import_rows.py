"""The rows of a CSV or Parquet file, cell by cell, as the file has them."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from ingest.rejections import shown

if TYPE_CHECKING:
    from pyarrow import ChunkedArray, RecordBatch

Row: TypeAlias = tuple[int, Mapping[str, object]]
"""A row's line in the file (the header is line 1) and its cells by column."""

_ROWS_AT_ONCE: Final = 20_000


class ImportRefused(ValueError):
    """The file cannot be imported."""


def open_rows(path: Path) -> tuple[list[str], Iterator[Row]]:
    """Return a file's columns, in small letters, and its rows.

    Raises:
        ImportRefused: It is neither a CSV file in UTF-8 nor a Parquet file, or is damaged.
    """
    openers: dict[str, Callable[[Path], tuple[list[str], Iterator[Row]]]] = {
        ".csv": _open_csv,
        ".parquet": _open_parquet,
    }
    opener = openers.get(path.suffix.lower())
    if opener is None:
        raise ImportRefused(
            f"{path.name}: wanted a file that ends in .csv or .parquet, found "
            f"{shown(path.suffix)}. Save the table as CSV (UTF-8, commas) or Parquet."
        )
    try:
        return opener(path)
    except OSError as error:
        raise ImportRefused(f"{path.name}: cannot be read: {error}. Correct the path.") from error


def _open_csv(path: Path) -> tuple[list[str], Iterator[Row]]:
    """Read the whole file once before the first row is given out: a damaged one is refused."""
    line, columns = 1, []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            columns = [name.strip().lower() for name in next(reader, [])]
            for _ in reader:
                line = reader.line_num
    except UnicodeDecodeError as error:
        raise ImportRefused(
            f"{path.name}: wanted UTF-8 text, found the byte {error.object[error.start]:02X}h "
            f"after line {line}. Save the file as CSV with the encoding UTF-8."
        ) from error
    except csv.Error as error:
        raise ImportRefused(
            f"{path.name}: wanted CSV, found after line {line}: {error}. Look for a quote that "
            f"is never closed."
        ) from error
    return columns, _csv_rows(path, columns)


def _csv_rows(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        next(reader, None)
        for cells in reader:
            if len(cells) > len(columns):
                # such as a decimal comma: no cell of it can be trusted to be the value
                yield reader.line_num, _spoiled(columns, cells)
            elif cells:
                yield reader.line_num, dict(zip(columns, cells, strict=False))


def _spoiled(columns: Sequence[str], cells: Sequence[str]) -> dict[str, object]:
    kept: dict[str, object] = dict(zip(columns, cells, strict=False))
    return {**kept, "value": f"{len(cells)} cells: {','.join(cells)}"}


def _open_parquet(path: Path) -> tuple[list[str], Iterator[Row]]:
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path) as file:
            names = list(file.schema_arrow.names)
    except ArrowException as error:
        raise ImportRefused(
            f"{path.name}: wanted a Parquet file, found {error}. Write it again."
        ) from error
    columns = [name.strip().lower() for name in names]
    return columns, _parquet_rows(path, columns)


def _parquet_rows(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    number = 1
    try:
        with ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE):
                for cells in zip(*_cells(batch), strict=True):
                    number += 1
                    yield number, dict(zip(columns, cells, strict=True))
    except (ArrowException, UnicodeDecodeError) as error:
        raise ImportRefused(
            f"{path.name}: damaged after row {number - 1}: {error}. The rows before are imported; "
            f"write the file again and import it again, nothing is counted twice."
        ) from error


def _cells(batch: RecordBatch) -> list[list[Any]]:
    return [_column(column) for column in batch.columns]


def _column(column: ChunkedArray) -> list[Any]:
    import pyarrow

    if not pyarrow.types.is_timestamp(column.type):
        return list(column.to_pylist())
    zone = column.type.tz
    us = column.cast(pyarrow.timestamp("us", tz=zone), safe=False).cast("int64")
    known = us.is_valid().to_pylist()
    texts = np.datetime_as_string(us.fill_null(0).to_numpy().view("datetime64[us]"))
    suffix = "Z" if zone else ""
    return [f"{text}{suffix}" if ok else None for text, ok in zip(texts, known, strict=True)]
