"""Alembic's environment: `sluice.store.migrating` hands over a connection within a transaction."""

from __future__ import annotations

from alembic import context

from sluice.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # All of a migration or nothing of it; SQLite's own rules allow it.
    transactional_ddl=True,
)
context.run_migrations()
