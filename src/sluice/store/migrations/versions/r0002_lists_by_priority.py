"""Indexes of lists by priority, which hold all that is asked for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_ASKED = (
    "current",
    "status",
    "level",
    "verdict",
    "legality",
    "area_ha",
    "last_seen",
    "min_lon",
    "min_lat",
    "max_lon",
    "max_lat",
)
_ASKED_OF_ALERTS = ("alert_id", "site_id", "area", "level", "raised", "lon", "lat")


def upgrade() -> None:
    """Make the indexes."""
    falling = sa.text("priority DESC")
    by_priority: list[str | sa.TextClause] = [falling, "site_id", *_ASKED]
    # An index of SQLite holds the number of the row anyhow.
    op.create_index("sites_by_priority", "sites", by_priority, postgresql_include=["fid"])
    op.create_index("sites_of_area", "sites", ["area", *by_priority], postgresql_include=["fid"])
    op.create_index("alerts_by_priority", "alerts", [falling, *_ASKED_OF_ALERTS])
    reviewed = sa.text("verdict IS NOT NULL")
    op.create_index(
        "sites_reviewed", "sites", ["verdict"], sqlite_where=reviewed, postgresql_where=reviewed
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_index("sites_reviewed", "sites")
    op.drop_index("alerts_by_priority", "alerts")
    op.drop_index("sites_of_area", "sites")
    op.drop_index("sites_by_priority", "sites")
