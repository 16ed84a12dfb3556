"""What a `SiteQuery` asks for, in SQL.

Lists go by priority, through an index that holds all that a filter needs; where few rows lie in a
box, they are found by the index of boxes. The databases are told which of the two.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from sluice.base.errors import ConfigError
from sluice.base.places import Alert, AlertState, Look, Site, SitePeriod, Verdict, columns_of
from sluice.base.records import Detection
from sluice.base.store import BBox, SiteQuery
from sluice.store import schema
from sluice.store.database import Database, meets, point_within

_FEW_SITES = 3000
"""Up to which finding sites in a box is quicker than going through those of a higher priority, of
which none is dropped by a filter."""
_FEW_COUNTED = 20_000
"""Likewise where none but their number is wanted, so that there is no early end."""
_ONLY_OF_SITES = (
    "status",
    "level",
    "verdict",
    "legality",
    "min_area_ha",
    "min_priority",
    "seen_since",
    "offset",
    "state",
    "standing",
)

DETECTION_COLUMNS = [*columns_of(Detection), "run_id", "site_id", "context", "geometry"]
SITE_COLUMNS = [*columns_of(Site), "verdict", "reviewers", "geometry"]


def columns(table: sa.Table, names: Sequence[str]) -> list[sa.Column[Any]]:
    """Columns of a table by name."""
    return [table.c[name] for name in names]


def landing_sites(area: str) -> sa.Select[Any]:
    """All sites of an area."""
    names = [*columns_of(Site), "geometry"]
    table = schema.sites
    return sa.select(*columns(table, names)).where(table.c.area == area).order_by(table.c.site_id)


def looks() -> sa.Select[Any]:
    """Looks of current runs, oldest first."""
    table = schema.looks
    return (
        sa.select(*columns(table, columns_of(Look)))
        .join(schema.runs, schema.runs.c.run_id == table.c.run_id)
        .where(schema.runs.c.current)
        .order_by(table.c.start, table.c.end, table.c.sensor, table.c.site_id)
    )


def periods() -> sa.Select[Any]:
    """Periods of sites, oldest first."""
    table = schema.site_periods
    return sa.select(*columns(table, columns_of(SitePeriod))).order_by(
        table.c.start, table.c.end, table.c.site_id
    )


def sites(
    db: Database, connection: Connection, query: SiteQuery, names: Sequence[str] = SITE_COLUMNS
) -> sa.Select[Any]:
    """Sites, in no order; a limit takes those of the highest priority."""
    table = schema.sites
    conditions, pointed = _site_conditions(db, connection, query)
    wanted = sa.select(*columns(table, names))
    if query.limit is None and not query.offset:
        return wanted.where(*conditions)
    priority, site_id = table.c.priority, table.c.site_id
    order = [db.unindexed(priority), db.unindexed(site_id)] if pointed else [priority, site_id]
    keys = sa.select(table.c.fid).where(*conditions).order_by(sa.desc(order[0]), order[1])
    # The rows are long, so only those that are wanted are read.
    return wanted.where(table.c.fid.in_(keys.limit(query.limit).offset(query.offset)))


def count_sites(db: Database, connection: Connection, query: SiteQuery) -> sa.Select[Any]:
    """How many sites there are."""
    conditions, _ = _site_conditions(db, connection, query, _FEW_COUNTED)
    return sa.select(sa.func.count()).select_from(schema.sites).where(*conditions)


def _site_conditions(
    db: Database, connection: Connection, query: SiteQuery, few: int | None = None
) -> tuple[list[sa.ColumnElement[bool]], bool]:
    """Conditions, and whether they lead to few rows by another index than that of priority.

    Args:
        db: Where.
        connection: To look with.
        query: What is asked for.
        few: How many rows may be looked at one by one; None for what suits a list with a limit.
    """
    table = schema.sites
    row = table.c
    conditions = _filters(query)
    if query.min_area_ha is not None:
        conditions.append(row.area_ha >= query.min_area_ha)
    if query.seen_since is not None:
        conditions.append(row.last_seen >= query.seen_since)
    if query.level is not None:
        conditions.append(row.level.in_(_texts(query.level)))
    # Filters drop rows, so that more of a higher priority have to be gone through: for each filter
    # about twice as many rows in a box may be looked at instead.
    few = few or _FEW_SITES * 2 ** (len(conditions) - (not query.with_past))
    pointed = query.site_ids is not None
    if query.site_ids is not None:
        conditions.append(db.among(row.site_id, query.site_ids))
    if query.verdict is not None and None in query.verdict:
        conditions.append(_said(row.verdict, query.verdict))
    elif query.verdict is not None:
        has_verdict = row.verdict.in_(_texts(query.verdict))
        if not pointed and db.are_few(connection, sa.select(row.fid).where(has_verdict), few):
            pointed = True
            conditions.append(has_verdict)
        else:
            conditions.append(db.unindexed(row.verdict).in_(_texts(query.verdict)))
    if query.bbox_lonlat is not None:
        by_box, near = _box_conditions(
            db, connection, table, query.bbox_lonlat, 0 if pointed else few
        )
        conditions += by_box
        pointed |= near
    # These two lead to the indexes of lists, which are not to be taken then.
    if query.area is not None:
        area = db.unindexed(row.area) if pointed else row.area
        conditions.append(area == query.area)
    if query.areas is not None:
        conditions.append(db.unindexed(row.area).in_(query.areas))
    if query.min_priority is not None:
        priority = db.unindexed(row.priority) if pointed else row.priority
        conditions.append(priority >= query.min_priority)
    return conditions, pointed


def _filters(query: SiteQuery) -> list[sa.ColumnElement[bool]]:
    """What alerts ask of their sites as well."""
    row = schema.sites.c
    conditions: list[sa.ColumnElement[bool]] = []
    if not query.with_past:
        conditions.append(row.current)
    for column, chosen in (
        (row.status, query.status),
        (row.legality, query.legality),
    ):
        if chosen is not None:
            conditions.append(column.in_(_texts(chosen)))
    return conditions


def _said(
    column: sa.ColumnElement[Any], chosen: Collection[Verdict | None]
) -> sa.ColumnElement[bool]:
    """Whether a verdict is one of these; None among them is no verdict."""
    words = [verdict for verdict in chosen if verdict is not None]
    said = column.in_(_texts(words))
    return said if None not in chosen else sa.or_(column.is_(None), said)


def _texts(values: Iterable[object]) -> list[str]:
    return [str(value) for value in values]


def _box_conditions(
    db: Database, connection: Connection, table: sa.Table, bbox: BBox, few: int
) -> tuple[list[sa.ColumnElement[bool]], bool]:
    check_box(bbox)
    conditions = [meets(table, bbox)]
    near = db.are_few(connection, db.near_rows(table, bbox), few)
    if near:
        conditions.append(db.near(table, bbox))
    return conditions, near


def alerts(db: Database, query: SiteQuery) -> sa.Select[Any]:
    """Alerts by priority."""
    row = schema.alerts.c
    return (
        _with_sites(
            sa.select(*columns(schema.alerts, columns_of(Alert)), schema.sites.c.verdict),
            _alert_conditions(db, query),
        )
        .order_by(row.priority.desc(), row.alert_id)
        .limit(query.limit)
        .offset(query.offset or None)
    )


def count_alerts(db: Database, query: SiteQuery) -> sa.Select[Any]:
    """How many alerts there are."""
    return _with_sites(sa.select(sa.func.count()), _alert_conditions(db, query))


def _with_sites(wanted: sa.Select[Any], conditions: list[sa.ColumnElement[bool]]) -> sa.Select[Any]:
    on = schema.sites.c.site_id == schema.alerts.c.site_id
    return wanted.select_from(schema.alerts.join(schema.sites, on)).where(*conditions)


def _alert_conditions(db: Database, query: SiteQuery) -> list[sa.ColumnElement[bool]]:
    row, site = schema.alerts.c, schema.sites.c
    conditions = _filters(query)
    if query.area is not None:
        conditions.append(row.area == query.area)
    if query.areas is not None:
        conditions.append(row.area.in_(query.areas))
    if query.bbox_lonlat is not None:
        check_box(query.bbox_lonlat)
        conditions.append(point_within(row.lon, row.lat, query.bbox_lonlat))
    if query.level is not None:
        conditions.append(row.level.in_(_texts(query.level)))
    if query.min_area_ha is not None:
        conditions.append(site.area_ha >= query.min_area_ha)
    if query.min_priority is not None:
        conditions.append(row.priority >= query.min_priority)
    if query.seen_since is not None:
        conditions.append(row.raised >= query.seen_since)
    if query.verdict is not None:
        conditions.append(_said(site.verdict, query.verdict))
    if query.site_ids is not None:
        conditions.append(db.among(row.site_id, query.site_ids))
    if query.state is not None:
        conditions.append(row.state.in_(_texts(query.state)))
    if query.standing:
        conditions.append(row.state != AlertState.REJECTED.value)
        conditions.append(site.verdict.is_distinct_from(Verdict.REJECTED.value))
    return conditions


def detections_after(
    db: Database, connection: Connection, query: SiteQuery, after: int
) -> sa.Select[Any]:
    """Detections of current runs by their numbers.

    Raises:
        ConfigError: The query asks for what only sites have.
    """
    _refuse_of_sites(query)
    table = schema.detections
    row = table.c
    number = row.fid.label("number")
    wanted = sa.select(*columns(table, DETECTION_COLUMNS), number).where(row.fid > after)
    if query.site_ids is not None:
        wanted = wanted.where(db.among(row.site_id, query.site_ids))
    if query.bbox_lonlat is not None:
        conditions, _ = _box_conditions(db, connection, table, query.bbox_lonlat, _FEW_COUNTED)
        wanted = wanted.where(*conditions)
    # Not through the index of runs, which knows no order of numbers.
    runs = db.unindexed(row.run_id).in_(_runs_of(query, with_past=False))
    return wanted.where(runs).order_by(row.fid)


def _refuse_of_sites(query: SiteQuery) -> None:
    asked = [name for name in _ONLY_OF_SITES if getattr(query, name) not in {None, 0}]
    if asked:
        raise ConfigError(
            f"detections cannot be asked for by {', '.join(asked)}: only sites can; ask for sites, "
            "then for the detections of their ids"
        )


def detections(db: Database, query: SiteQuery, *, with_past: bool) -> sa.Select[Any]:
    """Detections in the order in which they lie in the store; with a limit those found first.

    Raises:
        ConfigError: The query asks for what only sites have.
    """
    _refuse_of_sites(query)
    table = schema.detections
    row = table.c
    wanted = sa.select(*columns(table, DETECTION_COLUMNS))
    by_run: sa.ColumnElement[Any] = row.run_id
    if query.site_ids is not None:
        wanted = wanted.where(db.among(row.site_id, query.site_ids))
        by_run = db.unindexed(row.run_id)
    if query.bbox_lonlat is not None:
        check_box(query.bbox_lonlat)
        wanted = db.join_near(wanted, table, query.bbox_lonlat)
        wanted = wanted.where(meets(table, query.bbox_lonlat))
        by_run = db.unindexed(row.run_id)
    if query.area is not None or query.areas is not None or not with_past:
        wanted = wanted.where(by_run.in_(_runs_of(query, with_past=with_past)))
    # To put all in order first would take as long as to read all.
    return wanted.order_by(row.fid) if query.limit is None else wanted.limit(query.limit)


def _runs_of(query: SiteQuery, *, with_past: bool) -> sa.Select[Any]:
    chosen = sa.select(schema.runs.c.run_id)
    if query.area is not None:
        chosen = chosen.where(schema.runs.c.area == query.area)
    if query.areas is not None:
        chosen = chosen.where(schema.runs.c.area.in_(query.areas))
    return chosen if with_past else chosen.where(schema.runs.c.current)


def revision() -> sa.Select[Any]:
    """Of each part of a `Revision` what changes with it."""
    runs, layers, areas = schema.runs.c, schema.layers.c, schema.areas.c
    figures = {
        "runs": sa.func.count(runs.run_id),
        "landed": sa.func.max(runs.landed),
        "areas": sa.func.count(areas.name),
        "created": sa.func.max(areas.created),
        # A backup that came back may have as many, and others.
        "reviews": schema.review_end.c.chain,
        "layers": sa.func.count(layers.name),
        "registered": sa.func.max(layers.registered),
    }
    return sa.select(
        *(sa.select(figure).scalar_subquery().label(name) for name, figure in figures.items())
    )


def area_changes() -> sa.Select[Any]:
    """The mark of each area's last landing."""
    table = schema.area_changes
    return sa.select(table.c.area, table.c.mark).order_by(table.c.area)


def check_box(bbox: BBox) -> None:
    """Refuse a box that holds nothing.

    Raises:
        ConfigError: South lies north of north, or a side is not within the world.
    """
    west, south, east, north = bbox
    lons_fit = all(-180 <= lon <= 180 for lon in (west, east))
    if not (lons_fit and -90 <= south <= north <= 90):
        raise ConfigError(
            f"the box {','.join(f'{side:g}' for side in bbox)} is none; give "
            "west,south,east,north in degrees, south below north"
        )
