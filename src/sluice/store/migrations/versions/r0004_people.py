"""Accounts, tokens and sessions, and a log of who did what to which one can only add."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from sluice.store.columns import (
    Moment,
    fid_column,
    flag_column,
    json_column,
    link_column,
    moment_column,
    text_column,
    words,
)

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_metadata = sa.MetaData()

_users = sa.Table(
    "users",
    _metadata,
    sa.Column("name", words(), primary_key=True),
    text_column("folded"),
    text_column("password_hash"),
    text_column("role"),
    json_column("areas", optional=True),
    flag_column("disabled"),
    moment_column("created"),
    sa.UniqueConstraint("folded", name="users_folded_key"),
)

_tokens = sa.Table(
    "tokens",
    _metadata,
    sa.Column("digest", words(), primary_key=True),
    text_column("name"),
    link_column("person", "users.name"),
    moment_column("created"),
    sa.Column("expires", Moment(), nullable=True),
    sa.Column("last_used", Moment(), nullable=True),
    sa.UniqueConstraint("person", "name", name="tokens_key"),
)

_sessions = sa.Table(
    "sessions",
    _metadata,
    sa.Column("digest", words(), primary_key=True),
    link_column("person", "users.name"),
    text_column("csrf"),
    moment_column("created"),
    moment_column("last_seen"),
    moment_column("expires"),
    sa.Index("sessions_person", "person"),
)

_audit = sa.Table(
    "audit",
    _metadata,
    fid_column(),
    moment_column("when"),
    text_column("who"),
    text_column("address"),
    text_column("what"),
    text_column("on"),
    text_column("outcome"),
    sa.Index("audit_who", "who", "fid"),
)

_secrets = sa.Table(
    "secrets",
    _metadata,
    sa.Column("name", words(), primary_key=True),
    sa.Column("content", sa.LargeBinary(), nullable=False),
)

_POSTGRES_AUDIT = (
    """CREATE FUNCTION audit_stays() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'the log is added to, never changed'; END $$""",
    """CREATE TRIGGER audit_stay BEFORE UPDATE OR DELETE ON audit
    FOR EACH ROW EXECUTE FUNCTION audit_stays()""",
    """CREATE TRIGGER audit_stay_all BEFORE TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION audit_stays()""",
)


def upgrade() -> None:
    """Make the tables."""
    connection = op.get_bind()
    _metadata.create_all(connection)
    if connection.dialect.name == "sqlite":
        for event in ("UPDATE", "DELETE"):
            connection.exec_driver_sql(
                f"CREATE TRIGGER audit_stay_{event.lower()} BEFORE {event} ON audit "
                "BEGIN SELECT RAISE(ABORT, 'the log is added to, never changed'); END"
            )
        return
    for statement in _POSTGRES_AUDIT:
        connection.exec_driver_sql(statement)


def downgrade() -> None:
    """Drop them."""
    connection = op.get_bind()
    _metadata.drop_all(connection)
    if connection.dialect.name != "sqlite":
        connection.exec_driver_sql("DROP FUNCTION audit_stays()")
