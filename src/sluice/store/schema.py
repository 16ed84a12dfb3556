"""The tables of a store: the same in SQLite and PostGIS.

`migrations` makes them; a test holds the two together. Foreign keys are checked when a transaction
ends, so that what belongs together can be put in any order.

Tables with shapes have a number, `fid`, for the index of boxes, and the box itself: `min_lon` is
greater than `max_lon` where a shape crosses 180 degrees.
"""

from __future__ import annotations

import sqlalchemy as sa

from sluice.store.columns import (
    BOX,
    Moment,
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

HEAD = "0008"
"""Newest version of the schema: revisions count up."""
APPLICATION_ID = 0x536C7563
"""`Sluc`, in the header of a SQLite file: tells a store from any other file."""
SPATIAL = ("detections", "sites", "layer_features")
"""Tables with an index of boxes; in SQLite an R*Tree of the name that `rtree_name` gives."""

metadata = sa.MetaData()


def rtree_name(table: str) -> str:
    """The R*Tree of a table's boxes."""
    return f"rtree_{table}"


areas = sa.Table(
    "areas",
    metadata,
    sa.Column("name", words(), primary_key=True),
    moment_column("created"),
    sa.Column("geometry", Shape(), nullable=False),
)

area_changes = sa.Table(
    "area_changes",
    metadata,
    # One row for each area into which something was put, and another mark after each landing: one
    # count for all areas would make landings in different areas wait for each other, and a backup
    # that came back would count on to what was there before.
    link_column("area", "areas.name", cascade=True, key=True),
    text_column("mark"),
)

runs = sa.Table(
    "runs",
    metadata,
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
    runs.c.area,
    runs.c.part,
    runs.c.start,
    runs.c.end,
    runs.c.sensor,
    unique=True,
    sqlite_where=runs.c.current,
    postgresql_where=runs.c.current,
)

evidence_maps = sa.Table(
    "evidence_maps",
    metadata,
    link_column("run_id", "runs.run_id", cascade=True, key=True),
    sa.Column("content", sa.LargeBinary(), nullable=False),
)

scenes = sa.Table(
    "scenes",
    metadata,
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

detections = sa.Table(
    "detections",
    metadata,
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

sites = sa.Table(
    "sites",
    metadata,
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
# Lists go by priority. The indexes hold all that is asked for, so that rows which a filter drops
# are never read.
_ASKED = ("current", "status", "level", "verdict", "legality", "area_ha", "last_seen", *BOX)
sa.Index(
    "sites_by_priority",
    sites.c.priority.desc(),
    sites.c.site_id,
    *(sites.c[n] for n in _ASKED),
    postgresql_include=["fid"],
)
sa.Index(
    "sites_of_area",
    sites.c.area,
    sites.c.priority.desc(),
    sites.c.site_id,
    *(sites.c[n] for n in _ASKED),
    postgresql_include=["fid"],
)
sa.Index(
    "sites_merged",
    sites.c.merged_into,
    sites.c.site_id,
    sqlite_where=sites.c.merged_into.is_not(None),
    postgresql_where=sites.c.merged_into.is_not(None),
)
sa.Index(
    "sites_reviewed",
    sites.c.verdict,
    sqlite_where=sites.c.verdict.is_not(None),
    postgresql_where=sites.c.verdict.is_not(None),
)

looks = sa.Table(
    "looks",
    metadata,
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
    text_column("compared_with", optional=True),
    number_column("forest_lost_ha"),
    number_column("farmland_lost_ha"),
    number_column("water_lost_ha"),
    sa.Index("looks_run", "run_id"),
)

site_periods = sa.Table(
    "site_periods",
    metadata,
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

alerts = sa.Table(
    "alerts",
    metadata,
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
sa.Index(
    "alerts_by_priority",
    alerts.c.priority.desc(),
    *(alerts.c[n] for n in ("alert_id", "site_id", "area", "level", "raised", "lon", "lat")),
)

reviews = sa.Table(
    "reviews",
    metadata,
    sa.Column("seq", sa.Integer(), primary_key=True, autoincrement=False),
    text_column("review_id"),
    link_column("site_id", "sites.site_id"),
    text_column("verdict"),
    text_column("reason", optional=True),
    text_column("who"),
    moment_column("when"),
    text_column("note"),
    # SHA-256 over the review before and this one: see `reviewing`.
    text_column("chain"),
    sa.UniqueConstraint("review_id", name="reviews_key"),
    sa.Index("reviews_site", "site_id"),
)

review_end = sa.Table(
    "review_end",
    metadata,
    # One row, from the first review on: how many there are, and the chain at the last. Without it,
    # reviews taken off the end would leave a chain that is whole.
    sa.Column("id", sa.Integer(), primary_key=True, autoincrement=False),
    sa.Column("reviews", sa.Integer(), nullable=False),
    text_column("chain"),
)

labels = sa.Table(
    "labels",
    metadata,
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
    text_column("site_id", optional=True),
    text_column("name", optional=True),
    text_column("note", optional=True),
    sa.UniqueConstraint("label_id", name="labels_key"),
    sa.Index("labels_area", "area"),
)

layers = sa.Table(
    "layers",
    metadata,
    sa.Column("name", words(), primary_key=True),
    text_column("kind"),
    number_column("buffer_m", optional=False),
    text_column("source"),
    text_column("sha256"),
    sa.Column("features", sa.Integer(), nullable=False),
    text_column("licence"),
    moment_column("registered"),
)

layer_features = sa.Table(
    "layer_features",
    metadata,
    fid_column(),
    link_column("layer", "layers.name", cascade=True),
    text_column("name", optional=True),
    date_column("start", optional=True),
    date_column("end", optional=True),
    *shape_and_box(),
    json_column("properties", optional=True),
    sa.Index("layer_features_layer", "layer"),
)

users = sa.Table(
    "users",
    metadata,
    sa.Column("name", words(), primary_key=True),
    # The name in one case: two that look alike would be taken for each other.
    text_column("folded"),
    text_column("password_hash"),
    text_column("role"),
    json_column("areas", optional=True),
    flag_column("disabled"),
    moment_column("created"),
    sa.UniqueConstraint("folded", name="users_folded_key"),
)

tokens = sa.Table(
    "tokens",
    metadata,
    # SHA-256 of the secret: whoever reads the store cannot use it.
    sa.Column("digest", words(), primary_key=True),
    text_column("name"),
    link_column("person", "users.name"),
    moment_column("created"),
    sa.Column("expires", Moment(), nullable=True),
    sa.Column("last_used", Moment(), nullable=True),
    sa.UniqueConstraint("person", "name", name="tokens_key"),
)

sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("digest", words(), primary_key=True),
    link_column("person", "users.name"),
    text_column("csrf"),
    moment_column("created"),
    moment_column("last_seen"),
    moment_column("expires"),
    sa.Index("sessions_person", "person"),
)

audit = sa.Table(
    "audit",
    metadata,
    fid_column(),
    moment_column("when"),
    text_column("who"),
    text_column("address"),
    text_column("what"),
    text_column("on"),
    text_column("outcome"),
    sa.Index("audit_who", "who", "fid"),
)

secrets = sa.Table(
    "secrets",
    metadata,
    sa.Column("name", words(), primary_key=True),
    sa.Column("content", sa.LargeBinary(), nullable=False),
)

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("job_id", words(), primary_key=True),
    # An area that is not there yet has a job already.
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
    sa.Index("jobs_state", "state", "created"),
    sa.Index("jobs_by", "by", "created"),
)
