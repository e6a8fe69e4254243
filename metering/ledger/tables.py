"""The ledger's tables, as the newest migration leaves them.

Instants are whole microseconds since 1970, UTC, so that every database keeps and compares them
alike. Text that came from the field may hold what a database refuses; `FieldText` makes it fit.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Dialect,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TypeDecorator,
)
from sqlalchemy.types import TypeEngine

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def microseconds(instant: datetime) -> int:
    """An aware instant as microseconds since 1970, exactly."""
    return (instant - _EPOCH) // _MICROSECOND


def instant(us: int) -> datetime:
    """The aware instant that lies so many microseconds after 1970 began."""
    return _EPOCH + timedelta(microseconds=us)


NAME = Text().with_variant(Text(collation="C"), "postgresql")
"""Text in whose order answers come: by code point, as SQLite orders it, whatever the locale."""


class Instant(TypeDecorator[datetime]):
    """An aware instant, kept as microseconds."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """Turn an instant into what is kept."""
        return None if value is None else microseconds(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        """Turn what is kept into an instant."""
        return None if value is None else instant(value)


class FieldText(TypeDecorator[str]):
    r"""Text that may come from a device: NUL and lone surrogates are kept as \x00 and \udxxx.

    SQLite cannot store a lone surrogate and PostgreSQL not even NUL; a bad message must not stop
    the line.
    """

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Order it like `NAME`."""
        return dialect.type_descriptor(NAME)

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Turn any text into text that every database keeps."""
        if value is None:
            return None
        return value.encode("utf-8", "backslashreplace").decode().replace("\0", r"\x00")


metadata = MetaData(
    naming_convention={"pk": "pk_%(table_name)s", "ix": "ix_%(table_name)s_%(column_0_N_name)s"}
)

position = Table(
    "position",
    metadata,
    Column("store_id", NAME, primary_key=True),
    Column("journal", NAME, primary_key=True),
    Column("sequence", BigInteger, nullable=False),
)

counter = Table(
    "counter",
    metadata,
    Column("name", NAME, primary_key=True),
    Column("last", BigInteger, nullable=False),
)
"""Numbers that only grow. Its one row is also what writers of dirty ranges and sites queue for."""

dirty_range = Table(
    "dirty_range",
    metadata,
    Column("meter", NAME, primary_key=True),
    Column("start_us", BigInteger, primary_key=True, autoincrement=False),
    Column("end_us", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
)

site_version = Table(
    "site_version",
    metadata,
    Column("site", NAME, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("recorded_at", Instant, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("content", LargeBinary, nullable=False),
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("journal", NAME, primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("part", Integer, primary_key=True, autoincrement=False),
    Column("received_at", Instant, nullable=False),
    Column("topic", FieldText, nullable=False),
    Column("code", NAME, nullable=False),
    Column("message", FieldText, nullable=False),
    Column("meter", FieldText, nullable=False),
    Column("state", Text, nullable=False),
    Index(None, "state", "code"),
)

finding = Table(
    "finding",
    metadata,
    Column("noted_of", Instant, primary_key=True, autoincrement=False),
    Column("subject", FieldText, primary_key=True),
    Column("code", NAME, primary_key=True),
    Column("message", FieldText, nullable=False),
    Column("finding_data", FieldText, nullable=False),
    Column("noted_at", Instant, nullable=False),
    Column("noted_data", FieldText, nullable=False),
)
"""`noted_of` is the instant the finding is about, `noted_at` when it was noted."""

job_run = Table(
    "job_run",
    metadata,
    Column("run", Integer, primary_key=True),
    Column("job", NAME, nullable=False),
    Column("period_start", Instant, nullable=False),
    Column("period_end", Instant, nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("ended_at", Instant),
    Column("status", Text, nullable=False),
    Column("message", FieldText, nullable=False),
)

note = Table(
    "note",
    metadata,
    Column("name", NAME, primary_key=True),
    Column("content", FieldText, nullable=False),
)
"""Small notes under a name."""
