"""The ledger in an SQL database: SQLite in the home, or PostgreSQL."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import cast

from sqlalchemy import URL, Connection, bindparam, case, delete, func, select, update
from typing_extensions import override

from metering.ledger import dirty_ranges, schema, tables
from metering.ledger.database import Database
from metering.ledger.dirty_ranges import Range
from metering.ledger.port import (
    Dirty,
    JobRun,
    Ledger,
    Noted,
    QuarantineEntry,
    QuarantineState,
    SiteVersion,
)
from metering.ledger.rows import finding_row, job_row, job_run_from, noted_from, row_of
from metering.ledger.tables import instant, microseconds
from metering.periods import Period

_MAX_NAMES = 5_000
"""How many names one statement asks for; SQLite allows 32 766 parameters."""

_range = tables.dirty_range.c
_DELETE_RANGE = delete(tables.dirty_range).where(
    _range.meter == bindparam("of_meter"), _range.start_us == bindparam("at_us")
)
_CLEAR_RANGE = _DELETE_RANGE.where(_range.version == bindparam("of_version"))

_CLOSE_QUARANTINE = (
    update(tables.quarantine)
    .where(
        tables.quarantine.c.journal == bindparam("of_journal"),
        tables.quarantine.c.sequence == bindparam("of_sequence"),
    )
    .values(state="replayed")
)

_LAST_VERSION = tables.counter.c.name == "version"


def open_ledger(url: str | URL, *, migrate: bool = True) -> SqlLedger:
    """Open a ledger, and bring its schema to the newest revision first.

    Args:
        url: An SQLAlchemy URL, such as `sqlite:////srv/park/ledger.sqlite`.
        migrate: Whether an older schema is brought forward; otherwise it is refused.

    Raises:
        LedgerRefused: The URL is none, the driver is missing, or a newer program made the schema.
        LedgerUnavailable: The database does not answer; the message says what to do.
    """
    database = Database(url)
    try:
        if migrate:
            schema.migrate(database)
        else:
            schema.check_revision(database)
    except BaseException:
        database.close()
        raise
    return SqlLedger(database)


class SqlLedger(Ledger):
    """A ledger in the tables of `tables.py`; one transaction per call, for any thread.

    Many rows are written in the order of their keys, so that no two processes wait for each other.
    """

    def __init__(self, database: Database) -> None:
        self._db = database

    @override
    def position(self, *, store_id: str, journal: str) -> int:
        at = tables.position.c
        wanted = select(at.sequence).where(at.store_id == store_id, at.journal == journal)
        with self._db.reading() as connection:
            return connection.execute(wanted).scalar_one_or_none() or 0

    @override
    def save_position(self, sequence: int, *, store_id: str, journal: str) -> None:
        row = {"store_id": store_id, "journal": journal, "sequence": sequence}
        with self._db.writing() as connection:
            connection.execute(self._db.upsert(tables.position), row)

    @override
    def furthest(self, journal: str) -> int:
        at = tables.position.c
        wanted = select(func.max(at.sequence)).where(at.journal == journal)
        with self._db.reading() as connection:
            return connection.execute(wanted).scalar_one_or_none() or 0

    @override
    def set_back(self, sequence: int, *, journal: str) -> None:
        at = tables.position.c
        further = update(tables.position).where(at.journal == journal, at.sequence > sequence)
        with self._db.writing() as connection:
            connection.execute(further.values(sequence=sequence))

    @override
    def forget_positions(self) -> None:
        with self._db.writing() as connection:
            for table in (tables.position, tables.dirty_range, tables.quarantine):
                connection.execute(delete(table))

    @override
    def mark_dirty(self, spans: Sequence[tuple[str, Period]]) -> None:
        marked: dict[str, list[Range]] = defaultdict(list)
        for meter, period in spans:
            marked[meter].append((microseconds(period.start), microseconds(period.end)))
        if not marked:
            return
        with self._db.writing() as connection:
            version = _next_version(connection)
            kept = _ranges_of(connection, list(marked))
            write: list[dict[str, object]] = []
            gone: list[dict[str, object]] = []
            for meter in sorted(marked):
                ranges, starts = dirty_ranges.mark(kept[meter], marked[meter])
                gone += [{"of_meter": meter, "at_us": start} for start in starts]
                write += [
                    {"meter": meter, "start_us": start, "end_us": end, "version": version}
                    for start, end in ranges
                ]
            if gone:
                connection.execute(_DELETE_RANGE, gone)
            self._db.upsert_plain(connection, tables.dirty_range, write)

    @override
    def dirty(self, *, limit: int = 100_000) -> list[Dirty]:
        at = tables.dirty_range.c
        oldest = select(at.meter, at.start_us, at.end_us, at.version)
        oldest = oldest.order_by(at.version, at.meter, at.start_us).limit(limit)
        with self._db.reading() as connection:
            return [
                Dirty(meter, Period(instant(start), instant(end)), version)
                for meter, start, end, version in connection.execute(oldest)
            ]

    @override
    def clear_dirty(self, done: Sequence[Dirty]) -> None:
        rows = [
            {
                "of_meter": dirty.meter,
                "at_us": microseconds(dirty.period.start),
                "of_version": dirty.version,
            }
            for dirty in done
        ]
        if rows:
            with self._db.writing() as connection:
                _wait_for_writers(connection)
                connection.execute(_CLEAR_RANGE, rows)

    @override
    def count_dirty(self) -> int:
        with self._db.reading() as connection:
            return connection.execute(
                select(func.count()).select_from(tables.dirty_range)
            ).scalar_one()

    @override
    def record_site(
        self, site: str, content: bytes, *, recorded_at: datetime
    ) -> tuple[SiteVersion, bool]:
        at = tables.site_version.c
        newest = select(tables.site_version).where(at.site == site)
        newest = newest.order_by(at.version.desc()).limit(1)
        with self._db.writing() as connection:
            _wait_for_writers(connection)
            row = connection.execute(newest).mappings().one_or_none()
            if row is not None and row["content"] == content:
                return SiteVersion(**row), False
            version = 1 if row is None else row["version"] + 1
            digest = hashlib.sha256(content).hexdigest()
            fresh = SiteVersion(site, version, recorded_at, digest, content)
            connection.execute(tables.site_version.insert(), row_of(fresh))
            return fresh, True

    @override
    def site_versions(self, site: str | None = None) -> list[SiteVersion]:
        at = tables.site_version.c
        wanted = select(tables.site_version).order_by(at.site, at.version)
        if site is not None:
            wanted = wanted.where(at.site == site)
        with self._db.reading() as connection:
            return [SiteVersion(**row) for row in connection.execute(wanted).mappings()]

    @override
    def quarantine(self, entries: Sequence[QuarantineEntry]) -> None:
        rows = {(e.journal, e.sequence, e.part): row_of(e) for e in entries}
        if rows:
            with self._db.writing() as connection:
                ordered = [rows[key] for key in sorted(rows)]
                connection.execute(self._db.upsert(tables.quarantine), ordered)

    @override
    def quarantined(
        self,
        *,
        state: QuarantineState | None = "open",
        code: str | None = None,
        sequence: int | None = None,
        limit: int | None = None,
    ) -> list[QuarantineEntry]:
        at = tables.quarantine.c
        wanted = select(tables.quarantine).order_by(at.journal, at.sequence, at.part).limit(limit)
        for column, value in ((at.state, state), (at.code, code), (at.sequence, sequence)):
            if value is not None:
                wanted = wanted.where(column == value)
        with self._db.reading() as connection:
            return [QuarantineEntry(**row) for row in connection.execute(wanted).mappings()]

    @override
    def quarantine_counts(self, *, closed_too: bool = False) -> dict[str, int]:
        at = tables.quarantine.c
        is_open = at.state == "open"
        counts = select(at.code, func.count(case((is_open, 1))))
        if not closed_too:
            counts = counts.where(is_open)
        with self._db.reading() as connection:
            rows = connection.execute(counts.group_by(at.code).order_by(at.code))
            return {code: count for code, count in rows}

    @override
    def close_quarantine(self, journal: str, sequences: Sequence[int]) -> None:
        rows = [{"of_journal": journal, "of_sequence": sequence} for sequence in sequences]
        if rows:
            with self._db.writing() as connection:
                connection.execute(_CLOSE_QUARANTINE, rows)

    @override
    def note(self, noted: Sequence[Noted]) -> None:
        rows: dict[tuple[datetime, str, str], dict[str, object]] = {}
        for one in noted:
            rows.setdefault((one.at, one.subject, one.finding.code), finding_row(one))
        if rows:
            with self._db.writing() as connection:
                ordered = [rows[key] for key in sorted(rows)]
                connection.execute(self._db.insert_once(tables.finding), ordered)

    @override
    def findings(
        self,
        *,
        subject: str | None = None,
        code: str | None = None,
        since: datetime | None = None,
    ) -> list[Noted]:
        at = tables.finding.c
        wanted = select(tables.finding).order_by(at.noted_of, at.subject, at.code)
        for column, value in ((at.subject, subject), (at.code, code)):
            if value is not None:
                wanted = wanted.where(column == value)
        if since is not None:
            wanted = wanted.where(at.noted_at >= since)
        with self._db.reading() as connection:
            return [noted_from(row) for row in connection.execute(wanted).mappings()]

    @override
    def start_job(self, job: str, period: Period, *, at: datetime) -> int:
        with self._db.writing() as connection:
            added = tables.job_run.insert().returning(tables.job_run.c.run)
            return cast(int, connection.execute(added, job_row(job, period, at)).scalar_one())

    @override
    def end_job(self, run: int, *, at: datetime, failed: str | None = None) -> None:
        status = "done" if failed is None else "failed"
        ended = update(tables.job_run).where(tables.job_run.c.run == run)
        with self._db.writing() as connection:
            connection.execute(ended.values(ended_at=at, status=status, message=failed or ""))

    @override
    def job_runs(self, *, limit: int = 20) -> list[JobRun]:
        newest = select(tables.job_run).order_by(tables.job_run.c.run.desc()).limit(limit)
        with self._db.reading() as connection:
            return [job_run_from(row) for row in connection.execute(newest).mappings()]

    @override
    def get(self, key: str) -> str | None:
        wanted = select(tables.note.c.content).where(tables.note.c.name == key)
        with self._db.reading() as connection:
            return connection.execute(wanted).scalar_one_or_none()

    @override
    def put(self, key: str, value: str) -> None:
        with self._db.writing() as connection:
            connection.execute(self._db.upsert(tables.note), {"name": key, "content": value})

    @override
    def swap(self, key: str, *, expected: str | None, value: str | None) -> bool:
        note = tables.note
        with self._db.writing() as connection:
            if expected is None:
                if value is None:
                    found = connection.execute(select(note.c.name).where(note.c.name == key))
                    return found.first() is None
                added = self._db.insert_once(note).values(name=key, content=value)
                return connection.execute(added.returning(note.c.name)).first() is not None
            there = (note.c.name == key) & (note.c.content == expected)
            if value is None:
                changed = connection.execute(delete(note).where(there).returning(note.c.name))
            else:
                written = update(note).where(there).values(content=value)
                changed = connection.execute(written.returning(note.c.name))
            return changed.first() is not None

    @override
    def notes(self, prefix: str) -> dict[str, str]:
        note = tables.note
        wanted = select(note.c.name, note.c.content).order_by(note.c.name)
        begins = note.c.name.startswith(prefix, autoescape=True)
        with self._db.reading() as connection:
            rows = connection.execute(wanted.where(begins)).all()
            return {name: content for name, content in rows if name.startswith(prefix)}

    @override
    def check(self) -> None:
        schema.check_revision(self._db)

    @override
    def close(self) -> None:
        self._db.close()


def _next_version(connection: Connection) -> int:
    """A version larger than any before; until the transaction ends, other writers wait."""
    counter = tables.counter
    grown = update(counter).where(_LAST_VERSION).values(last=counter.c.last + 1)
    return cast(int, connection.execute(grown.returning(counter.c.last)).scalar_one())


def _wait_for_writers(connection: Connection) -> None:
    """Let nobody else mark, clear or record a site until the transaction ends."""
    connection.execute(select(tables.counter.c.last).where(_LAST_VERSION).with_for_update())


def _ranges_of(connection: Connection, meters: Sequence[str]) -> dict[str, list[Range]]:
    """The dirty ranges of some meters, in any order."""
    found: dict[str, list[Range]] = {meter: [] for meter in meters}
    wanted = select(_range.meter, _range.start_us, _range.end_us)
    for first in range(0, len(meters), _MAX_NAMES):
        some = wanted.where(_range.meter.in_(meters[first : first + _MAX_NAMES]))
        for meter, start, end in connection.execute(some).all():
            found[meter].append((start, end))
    return found
