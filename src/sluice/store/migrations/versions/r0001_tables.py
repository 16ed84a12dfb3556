"""Tables, boxes to search by, and reviews to which one can only add."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.engine import Connection

from sluice.store.columns import (
    BOX,
    Shape,
    date_column,
    fid_column,
    flag_column,
    json_column,
    link_column,
    moment_column,
    number_column,
    shape_and_box,
    text_column,
    words,
)

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_metadata = sa.MetaData()
_SPATIAL = ("detections", "sites", "layer_features")

sa.Table(
    "areas",
    _metadata,
    sa.Column("name", words(), primary_key=True),
    moment_column("created"),
    sa.Column("geometry", Shape(), nullable=False),
)

_runs = sa.Table(
    "runs",
    _metadata,
    sa.Column("run_id", words(), primary_key=True),
    link_column("area", "areas.name"),
    text_column("part"),
    date_column("start"),
    date_column("end"),
    text_column("sensor"),
    text_column("model"),
    text_column("model_sha256", optional=True),
    number_column("prior"),
    moment_column("landed"),
    text_column("folder", optional=True),
    flag_column("current"),
    sa.Column("detection_count", sa.Integer(), nullable=False),
    json_column("record"),
)
sa.Index(
    "runs_current",
    _runs.c.area,
    _runs.c.part,
    _runs.c.start,
    _runs.c.end,
    _runs.c.sensor,
    unique=True,
    sqlite_where=_runs.c.current,
    postgresql_where=_runs.c.current,
)

sa.Table(
    "evidence_maps",
    _metadata,
    link_column("run_id", "runs.run_id", cascade=True, key=True),
    sa.Column("content", sa.LargeBinary(), nullable=False),
)

sa.Table(
    "scenes",
    _metadata,
    link_column("run_id", "runs.run_id", cascade=True, key=True),
    sa.Column("position", sa.Integer(), primary_key=True, autoincrement=False),
    text_column("scene_id"),
    text_column("href", optional=True),
    text_column("sensor", optional=True),
    date_column("acquired", optional=True),
    text_column("tile", optional=True),
    text_column("orbit_state", optional=True),
    number_column("cloud_cover"),
    text_column("processing_baseline", optional=True),
    text_column("sha256", optional=True),
    sa.Index("scenes_scene", "scene_id"),
)

sa.Table(
    "detections",
    _metadata,
    fid_column(),
    text_column("detection_id"),
    link_column("run_id", "runs.run_id"),
    link_column("site_id", "sites.site_id", optional=True),
    number_column("lon"),
    number_column("lat"),
    number_column("score_mean"),
    number_column("score_peak"),
    number_column("probability_mean"),
    number_column("probability_peak"),
    number_column("footprint_ha"),
    number_column("delineated_ha"),
    flag_column("isolated"),
    sa.Column("cells", sa.Integer(), nullable=False),
    *shape_and_box(),
    json_column("context", optional=True),
    sa.UniqueConstraint("run_id", "detection_id", name="detections_key"),
    sa.Index("detections_site", "site_id"),
)

sa.Table(
    "sites",
    _metadata,
    fid_column(),
    text_column("site_id"),
    link_column("area", "areas.name"),
    number_column("lon"),
    number_column("lat"),
    date_column("first_seen"),
    flag_column("known_before"),
    date_column("last_seen"),
    date_column("last_observed"),
    text_column("status"),
    text_column("status_rule"),
    number_column("posterior"),
    text_column("level", optional=True),
    number_column("area_ha"),
    number_column("area_low_ha"),
    number_column("area_high_ha"),
    number_column("cumulative_ha"),
    text_column("legality"),
    text_column("legality_why"),
    number_column("priority", optional=False),
    text_column("merged_into", optional=True),
    flag_column("current"),
    # What follows from `reviews`: never written by a landing.
    text_column("verdict", optional=True),
    sa.Column("reviewers", sa.Integer(), nullable=False, server_default=sa.text("0")),
    *shape_and_box(),
    json_column("context"),
    json_column("priority_parts"),
    sa.UniqueConstraint("site_id", name="sites_key"),
)
sa.Table(
    "looks",
    _metadata,
    link_column("site_id", "sites.site_id", key=True),
    link_column("run_id", "runs.run_id", key=True),
    text_column("sensor"),
    date_column("start"),
    date_column("end"),
    number_column("observed_share"),
    flag_column("detected"),
    number_column("log_lr"),
    number_column("footprint_ha"),
    number_column("area_ha"),
    number_column("area_low_ha"),
    number_column("area_high_ha"),
    number_column("forest_ha"),
    number_column("farmland_ha"),
    number_column("water_ha"),
    number_column("bare_ha"),
    sa.Index("looks_run", "run_id"),
)

sa.Table(
    "site_periods",
    _metadata,
    link_column("site_id", "sites.site_id", key=True),
    sa.Column("start", sa.Date(), primary_key=True),
    sa.Column("end", sa.Date(), primary_key=True),
    flag_column("observed"),
    flag_column("detected"),
    text_column("status"),
    text_column("status_rule"),
    number_column("posterior"),
    text_column("level", optional=True),
    text_column("sensors"),
    number_column("area_ha"),
    number_column("area_low_ha"),
    number_column("area_high_ha"),
)

sa.Table(
    "alerts",
    _metadata,
    sa.Column("alert_id", words(), primary_key=True),
    link_column("site_id", "sites.site_id"),
    link_column("area", "areas.name"),
    text_column("kind"),
    date_column("start"),
    date_column("end"),
    date_column("raised"),
    date_column("updated"),
    text_column("level"),
    text_column("state"),
    number_column("posterior"),
    number_column("growth_ha"),
    json_column("reasons"),
    number_column("lon", optional=False),
    number_column("lat", optional=False),
    number_column("priority", optional=False),
    json_column("priority_parts"),
    sa.Index("alerts_site", "site_id"),
)

sa.Table(
    "reviews",
    _metadata,
    sa.Column("seq", sa.Integer(), primary_key=True, autoincrement=False),
    text_column("review_id"),
    link_column("site_id", "sites.site_id"),
    text_column("verdict"),
    text_column("reason", optional=True),
    text_column("who"),
    moment_column("when"),
    text_column("note"),
    # SHA-256 over the review before and this one: see `sluice.store.reviewing`.
    text_column("chain"),
    sa.UniqueConstraint("review_id", name="reviews_key"),
    sa.Index("reviews_site", "site_id"),
)

sa.Table(
    "labels",
    _metadata,
    fid_column(),
    text_column("label_id"),
    text_column("area"),
    text_column("class_name"),
    date_column("start", optional=True),
    date_column("end", optional=True),
    text_column("source"),
    text_column("who"),
    moment_column("when"),
    sa.Column("geometry", Shape(), nullable=False),
    sa.UniqueConstraint("label_id", name="labels_key"),
    sa.Index("labels_area", "area"),
)

sa.Table(
    "layers",
    _metadata,
    sa.Column("name", words(), primary_key=True),
    text_column("kind"),
    number_column("buffer_m", optional=False),
    text_column("source"),
    text_column("sha256"),
    sa.Column("features", sa.Integer(), nullable=False),
    text_column("licence"),
    moment_column("registered"),
)

sa.Table(
    "layer_features",
    _metadata,
    fid_column(),
    link_column("layer", "layers.name", cascade=True),
    text_column("name", optional=True),
    date_column("start", optional=True),
    date_column("end", optional=True),
    *shape_and_box(),
    json_column("properties", optional=True),
    sa.Index("layer_features_layer", "layer"),
)

_BOX_OF_NEW = """NEW.fid,
    CASE WHEN NEW.min_lon > NEW.max_lon THEN -180 ELSE NEW.min_lon END,
    CASE WHEN NEW.min_lon > NEW.max_lon THEN 180 ELSE NEW.max_lon END,
    NEW.min_lat, NEW.max_lat"""

_POSTGRES_REVIEWS = (
    """CREATE FUNCTION reviews_stay() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'reviews are added, never changed'; END $$""",
    """CREATE TRIGGER reviews_stay BEFORE UPDATE OR DELETE ON reviews
    FOR EACH ROW EXECUTE FUNCTION reviews_stay()""",
    """CREATE TRIGGER reviews_stay_all BEFORE TRUNCATE ON reviews
    FOR EACH STATEMENT EXECUTE FUNCTION reviews_stay()""",
)


def upgrade() -> None:
    """Make the tables."""
    connection = op.get_bind()
    _metadata.create_all(connection)
    if connection.dialect.name == "sqlite":
        _add_sqlite_parts(connection)
    else:
        for table in _SPATIAL:
            connection.exec_driver_sql(
                f"CREATE INDEX {table}_geometry ON {table} USING gist (geometry)"
            )
        for statement in _POSTGRES_REVIEWS:
            connection.exec_driver_sql(statement)


def downgrade() -> None:
    """There is nothing before."""
    raise NotImplementedError("the first version of a store cannot be undone")


def _add_sqlite_parts(connection: Connection) -> None:
    old, new = (", ".join(f"{row}.{name}" for name in BOX) for row in ("OLD", "NEW"))
    for table in _SPATIAL:
        tree = f"rtree_{table}"
        add = f"INSERT INTO {tree} VALUES ({_BOX_OF_NEW})"  # noqa: S608 - no input
        remove = f"DELETE FROM {tree} WHERE fid = OLD.fid"  # noqa: S608 - no input
        for statement in (
            f"CREATE VIRTUAL TABLE {tree} USING rtree(fid, west, east, south, north)",
            f"CREATE TRIGGER {tree}_insert AFTER INSERT ON {table} BEGIN {add}; END",
            f"CREATE TRIGGER {tree}_delete AFTER DELETE ON {table} BEGIN {remove}; END",
            f"CREATE TRIGGER {tree}_update AFTER UPDATE ON {table} "
            f"WHEN (OLD.fid, {old}) IS NOT (NEW.fid, {new}) BEGIN {remove}; {add}; END",
        ):
            connection.exec_driver_sql(statement)
    for event in ("UPDATE", "DELETE"):
        connection.exec_driver_sql(
            f"CREATE TRIGGER reviews_stay_{event.lower()} BEFORE {event} ON reviews "
            "BEGIN SELECT RAISE(ABORT, 'reviews are added, never changed'); END"
        )
