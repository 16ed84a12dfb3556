"""A mark of what was last put into each area."""

from __future__ import annotations

from alembic import op

from sluice.store.columns import link_column, text_column

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table; areas have no mark until something is put into them."""
    op.create_table(
        "area_changes",
        link_column("area", "areas.name", cascade=True, key=True),
        text_column("mark"),
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("area_changes")
