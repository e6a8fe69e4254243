"""First tables: positions, dirty ranges, sites, quarantine, findings, job runs, notes.

A revision is never edited once it was released. It names plain column types, not those of
`tables.py`, so that it stays what it was when those change.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0001"
down_revision = None

NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Go forward to this revision."""
    _create_work_tables()
    _create_fact_tables()
    op.create_table(
        "note",
        sa.Column("name", NAME, nullable=False),
        sa.Column("content", NAME, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_note"),
    )


def _create_work_tables() -> None:
    """Where work stands and what must be computed again."""
    op.create_table(
        "position",
        sa.Column("store_id", NAME, nullable=False),
        sa.Column("journal", NAME, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("store_id", "journal", name="pk_position"),
    )
    counter = op.create_table(
        "counter",
        sa.Column("name", NAME, nullable=False),
        sa.Column("last", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_counter"),
    )
    op.bulk_insert(counter, [{"name": "version", "last": 0}])
    op.create_table(
        "dirty_range",
        sa.Column("meter", NAME, nullable=False),
        sa.Column("start_us", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("end_us", sa.BigInteger, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("meter", "start_us", name="pk_dirty_range"),
    )
    op.create_table(
        "job_run",
        sa.Column("run", sa.Integer, nullable=False),
        sa.Column("job", NAME, nullable=False),
        sa.Column("period_start", sa.BigInteger, nullable=False),
        sa.Column("period_end", sa.BigInteger, nullable=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("message", NAME, nullable=False),
        sa.PrimaryKeyConstraint("run", name="pk_job_run"),
    )


def _create_fact_tables() -> None:
    """Dated facts."""
    op.create_table(
        "site_version",
        sa.Column("site", NAME, nullable=False),
        sa.Column("version", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("recorded_at", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("site", "version", name="pk_site_version"),
    )
    op.create_table(
        "quarantine",
        sa.Column("journal", NAME, nullable=False),
        sa.Column("sequence", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("part", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("received_at", sa.BigInteger, nullable=False),
        sa.Column("topic", NAME, nullable=False),
        sa.Column("code", NAME, nullable=False),
        sa.Column("message", NAME, nullable=False),
        sa.Column("meter", NAME, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("journal", "sequence", "part", name="pk_quarantine"),
    )
    op.create_index("ix_quarantine_state_code", "quarantine", ["state", "code"])
    op.create_table(
        "finding",
        sa.Column("noted_of", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("subject", NAME, nullable=False),
        sa.Column("code", NAME, nullable=False),
        sa.Column("message", NAME, nullable=False),
        sa.Column("finding_data", NAME, nullable=False),
        sa.Column("noted_at", sa.BigInteger, nullable=False),
        sa.Column("noted_data", NAME, nullable=False),
        sa.PrimaryKeyConstraint("noted_of", "subject", "code", name="pk_finding"),
    )


def downgrade() -> None:
    """Go back to an empty database."""
    for table in (
        "note", "finding", "quarantine", "site_version",
        "job_run", "dirty_range", "counter", "position",
    ):  # fmt: skip
        op.drop_table(table)
