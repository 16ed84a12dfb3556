"""A mark of what was last put into each area, and alerts that say what people said last."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.engine import Connection

from sluice.base.alert_verdicts import judged_by
from sluice.base.places import AlertState, Verdict
from sluice.store.columns import json_column, link_column, text_column

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
    _follow_verdicts(op.get_bind())


def _follow_verdicts(connection: Connection) -> None:
    """Before, a review reached alerts with the next landing."""
    sites = sa.table("sites", sa.column("site_id"), sa.column("verdict"))
    names = ("alert_id", "site_id", "state")
    alerts = sa.table("alerts", *map(sa.column, names), json_column("reasons"))
    row = alerts.c
    wanted = (
        sa.select(row.alert_id, row.state, row.reasons, sites.c.verdict)
        .join_from(alerts, sites, sites.c.site_id == row.site_id)
        .where(sites.c.verdict.is_not(None))
    )
    for alert_id, state, reasons, verdict in connection.execute(wanted).all():
        now, told = judged_by(AlertState(state), reasons, Verdict(verdict))
        put = sa.update(alerts).where(row.alert_id == alert_id)
        connection.execute(put.values(state=str(now), reasons=told))


def downgrade() -> None:
    """Drop the table; alerts stay as they are."""
    op.drop_table("area_changes")
