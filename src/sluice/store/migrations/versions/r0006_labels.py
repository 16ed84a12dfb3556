"""What people call the place of a label, and what they note on it."""

from __future__ import annotations

from alembic import op

from sluice.store.columns import text_column

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
    for name in ("name", "note"):
        op.add_column("labels", text_column(name, optional=True))


def downgrade() -> None:
    """Drop them."""
    for name in ("note", "name"):
        op.drop_column("labels", name)
