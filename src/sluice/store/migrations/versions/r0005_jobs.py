"""The queue of analyses that people ask a service for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from sluice.store.columns import (
    Moment,
    date_column,
    flag_column,
    json_column,
    moment_column,
    text_column,
    words,
)

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "jobs",
        sa.Column("job_id", words(), primary_key=True),
        text_column("area"),
        json_column("outline", optional=True),
        date_column("first"),
        date_column("last"),
        text_column("every"),
        text_column("by"),
        text_column("state"),
        text_column("stage"),
        moment_column("created"),
        sa.Column("started", Moment(), nullable=True),
        sa.Column("finished", Moment(), nullable=True),
        *(sa.Column(n, sa.Integer(), nullable=False) for n in ("done", "total", "part", "parts")),
        text_column("message"),
        flag_column("cancel_asked"),
        sa.Column("attempts", sa.Integer(), nullable=False),
        text_column("model", optional=True),
        text_column("worker", optional=True),
        sa.Column("beat", Moment(), nullable=True),
        json_column("run_ids"),
        sa.Column("version", sa.Integer(), nullable=False),
    )
    op.create_index("jobs_state", "jobs", ["state", "created"])
    op.create_index("jobs_by", "jobs", ["by", "created"])


def downgrade() -> None:
    """Drop it."""
    op.drop_table("jobs")
