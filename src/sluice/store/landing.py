"""A landing: what is put into one area in one transaction."""

from __future__ import annotations

import contextlib
import datetime as dt
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import geopandas as gpd
import pandas as pd
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from sluice.base.errors import ConfigError, DataError, StoreError
from sluice.base.places import Alert, LandedRun, Look, Site, SitePeriod, Verdict, columns_of
from sluice.store import queries, schema
from sluice.store.database import Database
from sluice.store.faults import translating
from sluice.store.frames import Values, along_curve, frame_out, geo_frame_out, rows_in
from sluice.store.reviewing import verdicts
from sluice.store.verdicts import follow_merges, hold_sites, read_reviews

_MANY = 10_000
"""Rows after which the database is made ready to be asked."""


class SqlLanding:
    """See `base.store.Landing`."""

    def __init__(self, db: Database, connection: Connection, area: str) -> None:
        self._db = db
        self._connection = connection
        self._area = area
        self._state = "open"
        self._with_detections: set[str] = set()
        self._joined: set[str] = set()
        """Sites that others were merged into, or are not any more."""
        self._alerted: set[str] = set()
        """Sites whose alerts were put: a review may have come since verdicts were read."""
        self._is_changed = False
        self.many: set[str] = set()
        """Tables into which much was put."""

    def runs(self) -> list[LandedRun]:
        """See `Landing`."""
        with self._step() as connection:
            return read_runs(connection, area=self._area, with_past=False)

    def evidence_map(self, run_id: str) -> bytes | None:
        """See `Landing`."""
        table = schema.evidence_maps
        with self._step() as connection:
            wanted = sa.select(table.c.content).where(table.c.run_id == run_id)
            found = connection.execute(wanted).scalar_one_or_none()
        return None if found is None else bytes(found)

    def put_run(self, run: LandedRun, evidence_map: bytes | None) -> None:
        """See `Landing`."""
        with self._step() as connection:
            self._make_room(connection, run)
            self._is_changed = True
            frame = pd.DataFrame([{**run.model_dump(), "detection_count": 0}], dtype=object)
            names = [*columns_of(LandedRun), "detection_count"]
            values = rows_in(schema.runs, frame, names)
            self._db.put(connection, schema.runs, values, ("run_id",))
            scenes = pd.DataFrame(scene_rows(run), columns=_SCENE_COLUMNS, dtype=object)
            self._db.put(connection, schema.scenes, rows_in(schema.scenes, scenes, _SCENE_COLUMNS))
            if evidence_map is not None:
                put = sa.insert(schema.evidence_maps)
                connection.execute(put.values(run_id=run.run_id, content=evidence_map))

    def _make_room(self, connection: Connection, run: LandedRun) -> None:
        """Take out what a landing of the same run left, and set back the run that it replaces."""
        table = schema.runs
        if run.area != self._area:
            raise ConfigError(
                f"run {run.run_id}: belongs to area {run.area!r}, and {self._area!r} is written to"
            )
        wanted = sa.select(table.c.area).where(table.c.run_id == run.run_id)
        area = connection.execute(wanted).scalar_one_or_none()
        if area is not None and area != self._area:
            raise ConfigError(
                f"run {run.run_id}: has landed in area {area!r} already; a run belongs to one area"
            )
        if area is not None:
            for kept in (schema.detections, schema.looks, schema.scenes, schema.evidence_maps):
                connection.execute(sa.delete(kept).where(kept.c.run_id == run.run_id))
        if run.current:
            connection.execute(
                sa.update(table)
                .where(
                    table.c.area == run.area,
                    table.c.part == run.part,
                    table.c.start == run.start,
                    table.c.end == run.end,
                    table.c.sensor == run.sensor,
                    table.c.run_id != run.run_id,
                )
                .values(current=False)
            )

    def sites(self) -> gpd.GeoDataFrame:
        """See `Landing`."""
        with self._step() as connection:
            return read_shapes(connection, queries.landing_sites(self._area))

    def looks(self) -> pd.DataFrame:
        """See `Landing`."""
        wanted = queries.looks().where(schema.runs.c.area == self._area)
        with self._step() as connection:
            return read_rows(connection, wanted)

    def detections(self) -> gpd.GeoDataFrame:
        """See `Landing`."""
        row, run = schema.detections.c, schema.runs.c
        wanted = (
            sa.select(*queries.columns(schema.detections, queries.DETECTION_COLUMNS))
            .join(schema.runs, run.run_id == row.run_id)
            .where(run.current, run.area == self._area)
            .order_by(row.fid)
        )
        with self._step() as connection:
            return read_shapes(connection, wanted)

    def alerts(self) -> pd.DataFrame:
        """See `Landing`."""
        table = schema.alerts
        wanted = (
            sa.select(*queries.columns(table, columns_of(Alert)))
            .where(table.c.area == self._area)
            .order_by(table.c.start, table.c.alert_id)
        )
        with self._step() as connection:
            return read_rows(connection, wanted)

    def verdicts(self, merged_into: Mapping[str, str]) -> dict[str, Verdict]:
        """See `Landing`."""
        own = sa.select(schema.sites.c.site_id).where(schema.sites.c.area == self._area)
        with self._step() as connection:
            reviews = read_reviews(connection, schema.reviews.c.site_id.in_(own))
        said = verdicts(reviews, merged_into)
        return {site_id: Verdict(word) for site_id, (word, _) in said.items() if word is not None}

    def put_detections(self, detections: gpd.GeoDataFrame) -> None:
        """See `Landing`."""
        names = [name for name in queries.DETECTION_COLUMNS if name != "context"]
        names += ["context"] if "context" in detections.columns else []
        key = ("run_id", "detection_id")
        with self._step() as connection:
            values = rows_in(schema.detections, along_curve(detections), names, key=key)
            self._require_own_runs(connection, set(values["run_id"]))
            self._put(connection, schema.detections, values, key)
            self._with_detections |= set(values["run_id"])

    def _require_own_runs(self, connection: Connection, run_ids: set[str]) -> None:
        own = sa.select(schema.runs.c.run_id).where(schema.runs.c.area == self._area)
        strange = run_ids - set(connection.execute(own).scalars())
        if strange:
            raise DataError(
                f"detections name run {min(strange)}, which is none of area {self._area!r}; put "
                "the run first"
            )

    def put_sites(self, sites: gpd.GeoDataFrame) -> None:
        """See `Landing`."""
        with self._step() as connection:
            values = rows_in(
                schema.sites, along_curve(sites), [*columns_of(Site), "geometry"], key=("site_id",)
            )
            self._require_area(schema.sites, values["area"])
            row = schema.sites.c
            wanted = sa.select(row.site_id, row.area).where(
                self._db.among(row.site_id, values["site_id"]), row.area != self._area
            )
            taken = connection.execute(wanted.limit(1)).one_or_none()
            if taken is not None:
                raise ConfigError(
                    f"site {taken.site_id} belongs to area {taken.area!r}, and {self._area!r} is "
                    "written to; areas that share a site must be followed as one, or in two stores"
                )
            self._note_merges(connection, values)
            self._put(connection, schema.sites, values, ("site_id",))

    def _note_merges(self, connection: Connection, values: Values) -> None:
        """Remember which sites get or lose what was said of others."""
        row = schema.sites.c
        wanted = sa.select(row.site_id, row.merged_into).where(
            row.merged_into.is_not(None), row.area == self._area
        )
        before = {found.site_id: found.merged_into for found in connection.execute(wanted)}
        for site_id, into in zip(values["site_id"], values["merged_into"], strict=True):
            if into != before.get(site_id):
                self._joined |= {into, before.get(site_id)} - {None}

    def put_looks(self, looks: pd.DataFrame) -> None:
        """See `Landing`."""
        key = ("site_id", "run_id")
        with self._step() as connection:
            values = rows_in(schema.looks, looks, columns_of(Look), key=key)
            self._put(connection, schema.looks, values, key)

    def put_periods(self, site_ids: Sequence[str], periods: pd.DataFrame) -> None:
        """See `Landing`."""
        key = ("site_id", "start", "end")
        self._replace(schema.site_periods, site_ids, periods, columns_of(SitePeriod), key)

    def put_alerts(self, site_ids: Sequence[str], alerts: pd.DataFrame) -> None:
        """See `Landing`."""
        with self._step() as connection:
            # Whoever reviews one of them waits here, or is waited for; not later, with a lock held.
            hold_sites(connection, self._db, site_ids)
        self._replace(schema.alerts, site_ids, alerts, columns_of(Alert), ("alert_id",))
        self._alerted |= set(map(str, site_ids))

    def _replace(
        self,
        table: sa.Table,
        site_ids: Sequence[str],
        frame: pd.DataFrame,
        names: list[str],
        key: tuple[str, ...],
    ) -> None:
        with self._step() as connection:
            values = rows_in(table, frame, names, key=key)
            strange = set(values["site_id"]) - set(map(str, site_ids))
            if strange:
                raise DataError(
                    f"{table.name}: site {min(strange)} is in the table, and not among the sites "
                    "whose rows are replaced; name it too"
                )
            if "area" in values:
                self._require_area(table, values["area"])
            own = self._db.among(table.c.site_id, list(site_ids))
            taken = connection.execute(sa.delete(table).where(own))
            self._is_changed |= bool(taken.rowcount)
            self._put(connection, table, values, ())

    def _require_area(self, table: sa.Table, areas: Sequence[str]) -> None:
        strange = set(areas) - {self._area}
        if strange:
            raise DataError(
                f"{table.name}: rows belong to area {min(strange)!r}, and {self._area!r} is "
                "written to"
            )

    def _put(
        self,
        connection: Connection,
        table: sa.Table,
        values: dict[str, list[Any]],
        key: tuple[str, ...],
    ) -> None:
        self._db.put(connection, table, values, key)
        count = len(next(iter(values.values())))
        self._is_changed |= count > 0
        if count >= _MANY:
            self.many.add(table.name)

    def finish(self) -> None:
        """Bring counts and verdicts up to what was put; the last step before all is written.

        Raises:
            StoreError: A step failed, and whoever called it went on: half of a landing must not
                be written.
        """
        if self._state == "broken":
            raise StoreError(
                f"{self._db.name}: a step of the landing in {self._area!r} failed, so that nothing "
                "of it is written; mend what was told, and land it again"
            )
        runs, rows = schema.runs.c, schema.detections.c
        with self._step() as connection:
            count = sa.select(sa.func.count()).where(rows.run_id == runs.run_id).scalar_subquery()
            for run_id in sorted(self._with_detections):
                counted = sa.update(schema.runs).where(runs.run_id == run_id)
                connection.execute(counted.values(detection_count=count))
            if self._joined or self._alerted:
                follow_merges(self._db, connection, self._joined | self._alerted)
            if self._is_changed:
                mark = {"area": [self._area], "mark": [uuid.uuid4().hex]}
                self._db.put(connection, schema.area_changes, mark, ("area",))

    def end(self) -> None:
        """Nothing more can be put or asked."""
        self._state = "ended"

    @contextlib.contextmanager
    def _step(self) -> Iterator[Connection]:
        if self._state == "ended":
            raise StoreError("the landing is over; begin another one")
        try:
            with translating(self._db.name):
                yield self._connection
        except BaseException:
            self._state = "broken"
            raise


_SCENE_COLUMNS = [column.name for column in schema.scenes.c]


def scene_rows(run: LandedRun) -> list[dict[str, Any]]:
    """Rows of `scenes`, of what a run's record tells."""
    named = run.record.get("scenes") or []
    own = [name for name in _SCENE_COLUMNS if name not in {"run_id", "position", "scene_id"}]
    return [
        {
            **{name: scene.get(name) for name in own},
            "run_id": run.run_id,
            "position": position,
            "scene_id": str(scene["id"]),
            "acquired": _as_date(scene.get("acquired")),
        }
        for position, scene in enumerate(named)
        if isinstance(scene, Mapping) and scene.get("id") is not None
    ]


def _as_date(value: Any) -> dt.date | None:
    if value is None or isinstance(value, dt.date):
        return value
    try:
        return dt.date.fromisoformat(str(value)[:10])
    except ValueError:
        return None


def read_runs(connection: Connection, *, area: str | None, with_past: bool) -> list[LandedRun]:
    """Runs without their record, oldest period first, then by sensor."""
    table = schema.runs
    names = [name for name in columns_of(LandedRun) if name != "record"]
    wanted = sa.select(*queries.columns(table, names)).order_by(
        table.c.start, table.c.end, table.c.sensor, table.c.landed, table.c.run_id
    )
    if area is not None:
        wanted = wanted.where(table.c.area == area)
    if not with_past:
        wanted = wanted.where(table.c.current)
    return [LandedRun(**row) for row in connection.execute(wanted).mappings()]


def read_rows(connection: Connection, wanted: sa.Select[Any]) -> pd.DataFrame:
    """What a statement finds, as a table."""
    return frame_out(list(wanted.selected_columns), connection.execute(wanted).all())


def read_shapes(connection: Connection, wanted: sa.Select[Any]) -> gpd.GeoDataFrame:
    """Likewise, with shapes."""
    return geo_frame_out(list(wanted.selected_columns), connection.execute(wanted).all())
