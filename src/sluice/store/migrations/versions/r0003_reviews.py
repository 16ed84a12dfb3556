"""Where the reviews end, verdicts that follow merges, and whose outline a label is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.engine import Connection

from sluice.store.columns import text_column

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_SAID = "'reviews are added, never changed'"
_SQLITE_GUARDS = (
    "CREATE TRIGGER review_end_stays_update BEFORE UPDATE ON review_end "
    f"WHEN NEW.reviews <= OLD.reviews BEGIN SELECT RAISE(ABORT, {_SAID}); END",
    "CREATE TRIGGER review_end_stays_delete BEFORE DELETE ON review_end "
    f"BEGIN SELECT RAISE(ABORT, {_SAID}); END",
)
_POSTGRES_GUARDS = (
    f"""CREATE FUNCTION review_end_stays() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION {_SAID}; END $$""",
    """CREATE TRIGGER review_end_stays_update BEFORE UPDATE ON review_end
    FOR EACH ROW WHEN (NEW.reviews <= OLD.reviews) EXECUTE FUNCTION review_end_stays()""",
    """CREATE TRIGGER review_end_stays_delete BEFORE DELETE ON review_end
    FOR EACH ROW EXECUTE FUNCTION review_end_stays()""",
    """CREATE TRIGGER review_end_stays_all BEFORE TRUNCATE ON review_end
    FOR EACH STATEMENT EXECUTE FUNCTION review_end_stays()""",
)
_VERDICTS = """
    WITH RECURSIVE counts_for (told_of, site_id) AS (
        SELECT site_id, site_id FROM reviews
        UNION
        SELECT c.told_of, s.merged_into FROM counts_for AS c JOIN sites AS s
        ON s.site_id = c.site_id WHERE s.merged_into IS NOT NULL
    ), words AS (
        SELECT c.site_id, r.verdict,
            row_number() OVER (
                PARTITION BY c.site_id ORDER BY r."when" DESC, r.seq DESC) AS back,
            row_number() OVER (
                PARTITION BY c.site_id, r.who ORDER BY r."when" DESC, r.seq DESC) AS own_back
        FROM counts_for AS c JOIN reviews AS r ON r.site_id = c.told_of
    )
    SELECT last.site_id, last.verdict, count(*)
    FROM words AS last JOIN words AS w
    ON w.site_id = last.site_id AND w.own_back = 1 AND w.verdict = last.verdict
    WHERE last.back = 1 GROUP BY last.site_id, last.verdict
"""


def upgrade() -> None:
    """Add the table, the column and the index; bring verdicts up to merges."""
    connection = op.get_bind()
    op.create_table(
        "review_end",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("reviews", sa.Integer(), nullable=False),
        text_column("chain"),
    )
    connection.exec_driver_sql(
        "INSERT INTO review_end SELECT 1, seq, chain FROM reviews ORDER BY seq DESC LIMIT 1"
    )
    sqlite = connection.dialect.name == "sqlite"
    for statement in _SQLITE_GUARDS if sqlite else _POSTGRES_GUARDS:
        connection.exec_driver_sql(statement)
    op.add_column("labels", text_column("site_id", optional=True))
    merged = sa.text("merged_into IS NOT NULL")
    columns = ["merged_into", "site_id"]
    op.create_index("sites_merged", "sites", columns, sqlite_where=merged, postgresql_where=merged)
    _follow_merges(connection)


def _follow_merges(connection: Connection) -> None:
    sites = sa.table("sites", *(sa.column(name) for name in ("site_id", "verdict", "reviewers")))
    for site_id, verdict, reviewers in connection.exec_driver_sql(_VERDICTS).all():
        connection.execute(
            sa.update(sites)
            .where(sites.c.site_id == site_id)
            .values(verdict=verdict, reviewers=reviewers)
        )


def downgrade() -> None:
    """Drop them; verdicts stay as they are."""
    op.drop_index("sites_merged", "sites")
    op.drop_column("labels", "site_id")
    op.drop_table("review_end")
    if op.get_bind().dialect.name != "sqlite":
        op.get_bind().exec_driver_sql("DROP FUNCTION review_end_stays()")
