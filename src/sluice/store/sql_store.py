"""The store: `base.store.Store` over either database."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import geopandas as gpd
import pandas as pd
import shapely
import sqlalchemy as sa
from shapely.geometry.base import BaseGeometry
from sqlalchemy.engine import Connection

from sluice.base.errors import ConfigError, Conflict
from sluice.base.places import Area, Label, LandedRun, Layer, Review, columns_of
from sluice.base.store import BBox, SiteQuery
from sluice.store import queries, schema
from sluice.store.database import Database, meets
from sluice.store.frames import geo_frame_out, rows_in
from sluice.store.landing import SqlLanding, read_rows, read_runs, read_shapes
from sluice.store.reviewing import FIRST_LINK, agreement, link

_FEATURE_COLUMNS = ["name", "start", "end", "properties", "geometry"]
_REVIEWS = "sluice: reviews"
"""The lock of those who add reviews: each follows the one before."""


class SqlStore:
    """See `base.store.Store`."""

    def __init__(self, db: Database) -> None:
        """Take over an open database."""
        self._db = db

    @property
    def db(self) -> Database:
        """For what keeps a store in order: see `checking` and `copying`."""
        return self._db

    def __enter__(self) -> SqlStore:
        """Close at the end of a block."""
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add_area(self, area: Area, geometry: BaseGeometry) -> None:
        """See `Store`."""
        frame = gpd.GeoDataFrame([area.model_dump()], geometry=[geometry], crs="EPSG:4326")
        values = rows_in(schema.areas, frame, [*columns_of(Area), "geometry"])
        table = schema.areas
        with self._db.writing(f"sluice: area {area.name}") as connection:
            wanted = sa.select(table.c.geometry).where(table.c.name == area.name)
            found = connection.execute(wanted).scalar_one_or_none()
            if found is None:
                self._db.put(connection, table, values)
            elif not _same_shape(shapely.from_wkb(found), geometry):
                raise ConfigError(
                    f"area {area.name!r}: is in the store with another outline; choose another "
                    "name, or leave the outline out to follow the one that is there"
                )

    def areas(self) -> gpd.GeoDataFrame:
        """See `Store`."""
        table = schema.areas
        names = [*columns_of(Area), "geometry"]
        wanted = sa.select(*queries.columns(table, names)).order_by(table.c.name)
        with self._db.reading() as connection:
            return read_shapes(connection, wanted)

    @contextlib.contextmanager
    def landing(self, area: str) -> Iterator[SqlLanding]:
        """See `Store`."""
        with self._db.reading() as connection:
            _require(connection, schema.areas, area, "area", "add it, or check its name")
        with self._db.writing(area) as connection:
            landing = SqlLanding(self._db, connection, area)
            try:
                yield landing
                landing.finish()
            finally:
                landing.end()
        if landing.many:
            self._db.after_many(landing.many)

    def runs(self, area: str | None = None, *, with_past: bool = False) -> list[LandedRun]:
        """See `Store`."""
        with self._db.reading() as connection:
            return read_runs(connection, area=area, with_past=with_past)

    def run(self, run_id: str) -> LandedRun:
        """See `Store`."""
        table = schema.runs
        wanted = sa.select(*queries.columns(table, columns_of(LandedRun)))
        with self._db.reading() as connection:
            found = connection.execute(wanted.where(table.c.run_id == run_id)).mappings().first()
        if found is None:
            raise ConfigError(f"run {run_id}: is not in the store; `sluice store info` lists runs")
        return LandedRun(**found)

    def scenes(self, run_ids: Sequence[str]) -> pd.DataFrame:
        """See `Store`."""
        table = schema.scenes
        wanted = (
            sa.select(*table.c)
            .where(self._db.among(table.c.run_id, run_ids))
            .order_by(table.c.acquired, table.c.run_id, table.c.position)
        )
        with self._db.reading() as connection:
            return read_rows(connection, wanted)

    def sites(self, query: SiteQuery) -> gpd.GeoDataFrame:
        """See `Store`."""
        if query.bbox_lonlat is not None:
            queries.check_box(query.bbox_lonlat)
        with self._db.reading() as connection:
            wanted = queries.sites(self._db, connection, query)
            rows = connection.execute(wanted).all()
        rows = sorted(rows, key=lambda row: (-row.priority, row.site_id))
        return geo_frame_out(list(wanted.selected_columns), rows)

    def count_sites(self, query: SiteQuery) -> int:
        """See `Store`."""
        with self._db.reading() as connection:
            counted = queries.count_sites(self._db, connection, query)
            return int(connection.execute(counted).scalar_one())

    def detections(self, query: SiteQuery, *, with_past: bool = False) -> gpd.GeoDataFrame:
        """See `Store`."""
        with self._db.reading() as connection:
            return read_shapes(connection, queries.detections(self._db, query, with_past=with_past))

    def looks(self, site_ids: Sequence[str]) -> pd.DataFrame:
        """See `Store`."""
        wanted = queries.looks().where(self._db.among(schema.looks.c.site_id, site_ids))
        with self._db.reading() as connection:
            return read_rows(connection, wanted)

    def periods(self, site_ids: Sequence[str]) -> pd.DataFrame:
        """See `Store`."""
        wanted = queries.periods().where(self._db.among(schema.site_periods.c.site_id, site_ids))
        with self._db.reading() as connection:
            return read_rows(connection, wanted)

    def alerts(self, query: SiteQuery) -> pd.DataFrame:
        """See `Store`."""
        with self._db.reading() as connection:
            return read_rows(connection, queries.alerts(self._db, query))

    def add_review(self, review: Review) -> None:
        """See `Store`."""
        sites = schema.sites
        with self._db.writing(_REVIEWS) as connection:
            wanted = sa.select(sites.c.site_id).where(sites.c.site_id == review.site_id)
            if connection.execute(wanted).first() is None:
                raise ConfigError(
                    f"site {review.site_id}: is not in the store; `sluice sites list` shows ids"
                )
            if self._is_known(connection, review):
                return
            self._append(connection, review)
            told = _reviews(connection, schema.reviews.c.site_id == review.site_id)
            verdict, reviewers = agreement(told)
            connection.execute(
                sa.update(sites)
                .where(sites.c.site_id == review.site_id)
                .values(verdict=verdict, reviewers=reviewers)
            )

    def _is_known(self, connection: Connection, review: Review) -> bool:
        """Whether it was added before: what is sent twice counts once."""
        known = _reviews(connection, schema.reviews.c.review_id == review.review_id)
        if known and link(FIRST_LINK, known[0]) != link(FIRST_LINK, review):
            raise Conflict(
                f"review {review.review_id}: another one has this id; a review is never changed, "
                "add a new one"
            )
        return bool(known)

    def _append(self, connection: Connection, review: Review) -> None:
        table = schema.reviews
        wanted = sa.select(table.c.seq, table.c.chain).order_by(table.c.seq.desc()).limit(1)
        last = connection.execute(wanted).first()
        seq, chain = (0, FIRST_LINK) if last is None else (last.seq, last.chain)
        row = {**review.model_dump(), "seq": seq + 1, "chain": link(chain, review)}
        frame = pd.DataFrame([row], dtype=object)
        self._db.put(connection, table, rows_in(table, frame, list(row)))

    def reviews(self, site_ids: Sequence[str] | None = None) -> list[Review]:
        """See `Store`."""
        column = schema.reviews.c.site_id
        with self._db.reading() as connection:
            if site_ids is None:
                return _reviews(connection, sa.true())
            return _reviews(connection, self._db.among(column, site_ids))

    def add_labels(self, labels: gpd.GeoDataFrame) -> None:
        """See `Store`."""
        names = [*columns_of(Label), "geometry"]
        values = rows_in(schema.labels, labels, names, key=("label_id",))
        with self._db.writing() as connection:
            self._db.put(connection, schema.labels, values, ("label_id",))

    def labels(self, area: str | None = None) -> gpd.GeoDataFrame:
        """See `Store`."""
        table = schema.labels
        names = [*columns_of(Label), "geometry"]
        wanted = sa.select(*queries.columns(table, names)).order_by(table.c.when, table.c.label_id)
        if area is not None:
            wanted = wanted.where(table.c.area == area)
        with self._db.reading() as connection:
            return read_shapes(connection, wanted)

    def put_layer(self, layer: Layer, features: gpd.GeoDataFrame) -> None:
        """See `Store`."""
        row = pd.DataFrame([layer.model_dump()], dtype=object)
        own = rows_in(schema.layers, row, columns_of(Layer))
        table = schema.layer_features
        values = rows_in(table, features, _FEATURE_COLUMNS, fixed={"layer": layer.name})
        with self._db.writing(f"sluice: layer {layer.name}") as connection:
            connection.execute(sa.delete(table).where(table.c.layer == layer.name))
            self._db.put(connection, schema.layers, own, ("name",))
            self._db.put(connection, table, values)

    def layers(self) -> list[Layer]:
        """See `Store`."""
        table = schema.layers
        wanted = sa.select(*queries.columns(table, columns_of(Layer))).order_by(table.c.name)
        with self._db.reading() as connection:
            return [Layer(**row) for row in connection.execute(wanted).mappings()]

    def layer_features(self, name: str, bbox_lonlat: BBox | None = None) -> gpd.GeoDataFrame:
        """See `Store`."""
        table = schema.layer_features
        wanted = sa.select(*queries.columns(table, _FEATURE_COLUMNS)).order_by(table.c.fid)
        wanted = wanted.where(table.c.layer == name)
        if bbox_lonlat is not None:
            queries.check_box(bbox_lonlat)
            wanted = wanted.where(meets(table, bbox_lonlat), self._db.near(table, bbox_lonlat))
        with self._db.reading() as connection:
            _require(connection, schema.layers, name, "layer", "add it with `sluice context add`")
            rows = connection.execute(wanted).all()
        return geo_frame_out(list(wanted.selected_columns), rows)

    def remove_layer(self, name: str) -> None:
        """See `Store`."""
        table, own = schema.layers, schema.layer_features
        with self._db.writing(f"sluice: layer {name}") as connection:
            _require(connection, table, name, "layer", "`sluice context list` shows them")
            connection.execute(sa.delete(own).where(own.c.layer == name))
            connection.execute(sa.delete(table).where(table.c.name == name))

    def close(self) -> None:
        """See `Store`."""
        self._db.close()


def _require(connection: Connection, table: sa.Table, name: str, kind: str, advice: str) -> None:
    known = list(connection.execute(sa.select(table.c.name).order_by(table.c.name)).scalars())
    if name not in known:
        there = ", ".join(known) or "none"
        raise ConfigError(f"{kind} {name!r}: is not in the store, which has {there}; {advice}")


def _reviews(connection: Connection, condition: sa.ColumnElement[bool]) -> list[Review]:
    """Oldest first."""
    table = schema.reviews
    names = columns_of(Review)
    wanted = sa.select(*queries.columns(table, names)).where(condition)
    rows: Any = connection.execute(wanted.order_by(table.c.when, table.c.seq)).mappings()
    return [Review(**row) for row in rows]


def _same_shape(known: BaseGeometry, given: BaseGeometry) -> bool:
    given = shapely.force_2d(given)
    if shapely.equals_exact(known, given, normalize=True):
        return True
    try:
        return bool(shapely.equals(known, given))
    except shapely.GEOSException:
        # Of shapes that cross themselves nothing else can be told.
        return False
