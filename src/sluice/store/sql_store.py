"""The store: `base.store.Store` over either database."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

import geopandas as gpd
import pandas as pd
import shapely
import sqlalchemy as sa
from shapely.geometry.base import BaseGeometry
from sqlalchemy.engine import Connection

from sluice.base.errors import ConfigError, TooManyLabels
from sluice.base.places import Area, Label, LandedRun, Layer, Review, columns_of
from sluice.base.store import BBox, Revision, SiteQuery
from sluice.store import queries, schema, verdicts
from sluice.store.columns import BOX
from sluice.store.database import Database, meets
from sluice.store.frames import geo_frame_out, rows_in
from sluice.store.landing import SqlLanding, read_rows, read_runs, read_shapes
from sluice.store.removing import count_area, remove_area, rows_text
from sluice.store.reviewing import families

_FEATURE_COLUMNS = ["name", "start", "end", "properties", "geometry"]
_LABELS = "sluice: labels"
_LISTED = "`sluice areas list` shows them"


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
        with self._db.writing(f"sluice: area {area.name}") as connection:
            self._put_area(connection, area, geometry)

    def _put_area(self, connection: Connection, area: Area, geometry: BaseGeometry) -> None:
        frame = gpd.GeoDataFrame([area.model_dump()], geometry=[geometry], crs="EPSG:4326")
        values = rows_in(schema.areas, frame, [*columns_of(Area), "geometry"])
        table = schema.areas
        wanted = sa.select(table.c.geometry).where(table.c.name == area.name)
        found = connection.execute(wanted).scalar_one_or_none()
        if found is None:
            self._db.put(connection, table, values)
        elif not _same_shape(shapely.from_wkb(found), geometry):
            raise ConfigError(
                f"area {area.name!r}: is in the store with another outline; choose another "
                "name, or leave the outline out to follow the one that is there"
            )

    def area_rows(self, name: str) -> dict[str, int]:
        """See `Store`."""
        with self._db.reading() as connection:
            _require(connection, schema.areas, name, "area", _LISTED)
            return count_area(connection, name)

    def remove_area(self, name: str, *, with_everything: bool = False) -> None:
        """See `Store`."""
        with self._db.writing(name) as connection:
            _require(connection, schema.areas, name, "area", _LISTED)
            held = count_area(connection, name)
            if held and not with_everything:
                raise ConfigError(f"area {name!r}: holds {rows_text(held)}; it stays as it is")
            remove_area(self._db, connection, name)

    def areas(self) -> gpd.GeoDataFrame:
        """See `Store`."""
        table = schema.areas
        names = [*columns_of(Area), "geometry"]
        wanted = sa.select(*queries.columns(table, names)).order_by(table.c.name)
        with self._db.reading() as connection:
            return read_shapes(connection, wanted)

    @contextlib.contextmanager
    def landing(self, area: str, *, outline: BaseGeometry | None = None) -> Iterator[SqlLanding]:
        """See `Store`."""
        if outline is None:
            with self._db.reading() as connection:
                _require(connection, schema.areas, area, "area", "add it, or check its name")
        with self._db.writing(area) as connection:
            if outline is not None:
                added = Area(name=area, created=dt.datetime.now(dt.UTC))
                self._put_area(connection, added, outline)
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

    def site_columns(self, query: SiteQuery, columns: Sequence[str]) -> dict[str, list[Any]]:
        """See `Store`."""
        unknown = [name for name in columns if name not in {*queries.SITE_COLUMNS, *BOX}]
        if unknown:
            raise ConfigError(f"sites have no column {unknown[0]}")
        names = [*dict.fromkeys((*columns, "priority", "site_id"))]
        with self._db.reading() as connection:
            wanted = queries.sites(self._db, connection, query, names)
            rows: Sequence[Any] = connection.execute(wanted).all()
        if query.limit is not None or query.offset:
            rows = sorted(rows, key=lambda row: (-row.priority, row.site_id))
        found = _by_column(names, rows)
        return {name: found[name] for name in columns}

    def detections(self, query: SiteQuery, *, with_past: bool = False) -> gpd.GeoDataFrame:
        """See `Store`."""
        with self._db.reading() as connection:
            return read_shapes(connection, queries.detections(self._db, query, with_past=with_past))

    def detections_after(self, query: SiteQuery, after: int, limit: int) -> gpd.GeoDataFrame:
        """See `Store`."""
        with self._db.reading() as connection:
            wanted = queries.detections_after(self._db, connection, query, after)
            return read_shapes(connection, wanted.limit(limit))

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

    def period_columns(
        self, start: dt.date, end: dt.date, columns: Sequence[str]
    ) -> dict[str, list[Any]]:
        """See `Store`."""
        table = schema.site_periods
        wanted = (
            sa.select(*queries.columns(table, columns))
            .where(table.c.start >= start, table.c.end <= end)
            .order_by(table.c.start, table.c.end)
        )
        with self._db.reading() as connection:
            return _by_column(columns, connection.execute(wanted).all())

    def alerts(self, query: SiteQuery) -> pd.DataFrame:
        """See `Store`."""
        with self._db.reading() as connection:
            return read_rows(connection, queries.alerts(self._db, query))

    def count_alerts(self, query: SiteQuery) -> int:
        """See `Store`."""
        with self._db.reading() as connection:
            counted = queries.count_alerts(self._db, query)
            return int(connection.execute(counted).scalar_one())

    def add_review(self, review: Review) -> Review:
        """See `Store`."""
        added = None
        while added is None:
            with self._db.writing() as connection:
                added = verdicts.add_review(self._db, connection, review)
        return added

    def reviews(self, site_ids: Sequence[str] | None = None) -> list[Review]:
        """See `Store`."""
        with self._db.reading() as connection:
            if site_ids is None:
                return verdicts.read_reviews(connection, sa.true())
            told = sorted(families(site_ids, verdicts.read_merges(connection)))
            own = self._db.among(schema.reviews.c.site_id, told)
            return verdicts.read_reviews(connection, own)

    def add_labels(self, labels: gpd.GeoDataFrame, *, most: int | None = None) -> None:
        """See `Store`."""
        names = [*columns_of(Label), "geometry"]
        values = rows_in(schema.labels, labels, names, key=("label_id",))
        # Only who counts has to wait for others that do.
        with self._db.writing(None if most is None else _LABELS) as connection:
            self._db.put(connection, schema.labels, values, ("label_id",))
            if most is not None:
                _refuse_more(connection, labels, most)

    def labels(self, area: str | None = None) -> gpd.GeoDataFrame:
        """See `Store`."""
        table = schema.labels
        names = [*columns_of(Label), "geometry"]
        wanted = sa.select(*queries.columns(table, names)).order_by(table.c.when, table.c.label_id)
        if area is not None:
            wanted = wanted.where(table.c.area == area)
        with self._db.reading() as connection:
            return read_shapes(connection, wanted)

    def remove_label(self, label_id: str) -> None:
        """See `Store`."""
        table = schema.labels
        with self._db.writing() as connection:
            connection.execute(sa.delete(table).where(table.c.label_id == label_id))

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

    def revision(self) -> Revision:
        """See `Store`."""
        with self._db.reading() as connection:
            row = connection.execute(queries.revision()).one()
            marks = connection.execute(queries.area_changes()).all()
        put = hashlib.sha256(json.dumps([tuple(mark) for mark in marks]).encode()).hexdigest()
        return Revision(
            sites=f"{row.runs} {row.landed} {row.areas} {row.created} {put}",
            reviews=f"{row.reviews}",
            layers=f"{row.layers} {row.registered}",
        )

    def close(self) -> None:
        """See `Store`."""
        self._db.close()


def _refuse_more(connection: Connection, labels: gpd.GeoDataFrame, most: int) -> None:
    """Once they are among the others."""
    table = schema.labels
    for source, who in sorted(set(zip(labels["source"], labels["who"], strict=True))):
        wanted = sa.select(sa.func.count()).where(table.c.source == source, table.c.who == who)
        if connection.execute(wanted).scalar_one() > most:
            raise TooManyLabels(
                f"{who} has {most:,} labels of source {source!r}, and may have no more; remove one"
            )


def _by_column(names: Sequence[str], rows: Sequence[Any]) -> dict[str, list[Any]]:
    columns = zip(*rows, strict=True) if rows else ((),) * len(names)
    return {name: list(values) for name, values in zip(names, columns, strict=True)}


def _require(connection: Connection, table: sa.Table, name: str, kind: str, advice: str) -> None:
    known = list(connection.execute(sa.select(table.c.name).order_by(table.c.name)).scalars())
    if name not in known:
        there = ", ".join(known) or "none"
        raise ConfigError(f"{kind} {name!r}: is not in the store, which has {there}; {advice}")


def _same_shape(known: BaseGeometry, given: BaseGeometry) -> bool:
    given = shapely.force_2d(given)
    if shapely.equals_exact(known, given, normalize=True):
        return True
    try:
        return bool(shapely.equals(known, given))
    except shapely.GEOSException:
        # Of shapes that cross themselves nothing else can be told.
        return False
