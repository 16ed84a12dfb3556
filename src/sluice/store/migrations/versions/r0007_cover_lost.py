"""What sites lost of forest, farmland and water, pixel by pixel between two looks."""

from __future__ import annotations

from alembic import op

from sluice.store.columns import number_column, text_column

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_LOST = ("forest_lost_ha", "farmland_lost_ha", "water_lost_ha")


def upgrade() -> None:
    """Add the columns; landings fill them."""
    op.add_column("looks", text_column("compared_with", optional=True))
    for name in _LOST:
        op.add_column("looks", number_column(name))


def downgrade() -> None:
    """Drop them."""
    for name in reversed(_LOST):
        op.drop_column("looks", name)
    op.drop_column("looks", "compared_with")
