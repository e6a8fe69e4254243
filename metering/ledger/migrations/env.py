"""What Alembic runs for every command: on the connection it is handed, in that transaction.

`metering.ledger.schema` hands it over; the lock that keeps two processes apart is already held.
"""

from __future__ import annotations

from alembic import context

from metering.ledger.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    render_as_batch=True,
    compare_server_default=True,
)
with context.begin_transaction():
    context.run_migrations()
