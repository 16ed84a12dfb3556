"""Whether a store is what it must be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from sluice.base.errors import DataError, StoreError
from sluice.base.places import Review, columns_of
from sluice.store import schema
from sluice.store.columns import BOX, Shape
from sluice.store.database import Database
from sluice.store.faults import translating
from sluice.store.frames import boxes_of
from sluice.store.reviewing import FIRST_LINK, link, verdicts
from sluice.store.verdicts import alerts_to_change, read_merges, read_reviews, reviews_end

_BATCH = 20_000
_END_TRIGGERS = ("review_end_stays_update", "review_end_stays_delete")
_STAY_TRIGGERS = {
    "sqlite": {
        *("reviews_stay_update", "reviews_stay_delete"),
        *("audit_stay_update", "audit_stay_delete"),
        *_END_TRIGGERS,
    },
    "postgresql": {
        *("reviews_stay", "reviews_stay_all", "audit_stay", "audit_stay_all"),
        *(*_END_TRIGGERS, "review_end_stays_all"),
    },
}


@dataclass(frozen=True)
class Finding:
    """What one check found."""

    what: str
    wrong: str | None
    """None where all is well."""


def check(db: Database) -> Iterator[Finding]:
    """Check a store, one finding after the other; a check that cannot be ended is one too."""
    for what, find in _checks(db).items():
        try:
            with db.reading() as connection, translating(db.name):
                yield Finding(what, find(connection))
        except (StoreError, DataError) as err:
            yield Finding(what, str(err))


def count_rows(connection: Connection) -> dict[str, int]:
    """Rows of each table."""
    return {
        table.name: int(
            connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
        )
        for table in schema.metadata.sorted_tables
    }


def _checks(db: Database) -> dict[str, Callable[[Connection], str | None]]:
    embedded = db.engine.dialect.name == "sqlite"
    checks: dict[str, Callable[[Connection], str | None]] = {
        "integrity": _sqlite_integrity if embedded else _postgres_integrity,
        "references": _references,
        "shapes": _shapes,
    }
    if embedded:
        checks["boxes"] = _trees
    return checks | {
        "reviews": _chain,
        "reviews and log stay": _triggers,
        "verdicts": _verdicts,
        "runs": _run_counts,
    }


def _sqlite_integrity(connection: Connection) -> str | None:
    said = list(connection.exec_driver_sql("PRAGMA integrity_check(5)").scalars())
    return None if said == ["ok"] else "; ".join(map(str, said))


def _postgres_integrity(connection: Connection) -> str | None:
    wanted = "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid"
    broken = list(connection.exec_driver_sql(wanted).scalars())
    return f"indexes to rebuild with REINDEX: {', '.join(broken)}" if broken else None


def _references(connection: Connection) -> str | None:
    """Rows whose run, site, area or layer is not there."""
    wrong = []
    for table in schema.metadata.sorted_tables:
        for key in table.foreign_keys:
            parent = key.column
            there = sa.select(sa.literal(1)).where(parent == key.parent).correlate(table)
            lost = sa.select(sa.func.count()).where(key.parent.is_not(None), ~there.exists())
            count = connection.execute(lost.select_from(table)).scalar_one()
            if count:
                wrong.append(f"{count} {table.name} without their {parent.table.name}")
    merged, heir = schema.sites, schema.sites.alias()
    known = sa.select(sa.literal(1)).where(heir.c.site_id == merged.c.merged_into).exists()
    stray = sa.select(sa.func.count()).where(merged.c.merged_into.is_not(None), ~known)
    count = connection.execute(stray.select_from(merged)).scalar_one()
    if count:
        wrong.append(f"{count} sites were merged into one that is not there")
    return "; ".join(wrong) or None


def _shapes(connection: Connection) -> str | None:
    """Shapes that cannot be read, or whose box is another than the one that is kept."""
    wrong = []
    for table in schema.metadata.sorted_tables:
        if not isinstance(table.c.get("geometry", sa.null()).type, Shape):
            continue
        names = [*BOX, "geometry"] if BOX[0] in table.c else ["geometry"]
        unreadable = astray = 0
        for rows in _batches(connection, sa.select(*(table.c[name] for name in names))):
            encoded = np.array([row[-1] for row in rows], dtype=object)
            shapes = shapely.from_wkb(encoded, on_invalid="ignore")
            readable = ~(shapely.is_missing(shapes) | shapely.is_empty(shapes))
            unreadable += int((~readable).sum())
            if len(names) > 1:
                kept = np.array([row[:-1] for row in rows], dtype=float)
                astray += int((boxes_of(shapes) != kept)[readable].any(axis=1).sum())
        if unreadable or astray:
            wrong.append(f"{table.name}: {unreadable} unreadable, {astray} with a wrong box")
    return "; ".join(wrong) or None


def _batches(connection: Connection, wanted: sa.Select[Any]) -> Iterator[Any]:
    yield from connection.execution_options(yield_per=_BATCH).execute(wanted).partitions()


def _trees(connection: Connection) -> str | None:
    """R*Trees that are not in step with their tables."""
    wrong = []
    for name in schema.SPATIAL:
        tree = schema.rtree_name(name)
        said = connection.exec_driver_sql(f"SELECT rtreecheck('{tree}')").scalar_one()
        if said != "ok":
            wrong.append(f"{tree}: {said}")
        rows, kept, fitting = connection.exec_driver_sql(
            f"SELECT (SELECT count(*) FROM {name}), (SELECT count(*) FROM {tree}), "  # noqa: S608
            f"(SELECT count(*) FROM {tree} AS t CROSS JOIN {name} AS r ON r.fid = t.fid WHERE "
            "t.west <= r.min_lon AND t.east >= r.max_lon AND t.south <= r.min_lat "
            "AND t.north >= r.max_lat)"
        ).one()
        if not rows == kept == fitting:
            wrong.append(f"{tree}: {rows} rows, {kept} boxes, {fitting} that fit their row")
    return "; ".join(wrong) or None


def _chain(connection: Connection) -> str | None:
    """Whether a review was changed or taken out since it was added."""
    table = schema.reviews
    previous, number = FIRST_LINK, 0
    for row in connection.execute(sa.select(*table.c).order_by(table.c.seq)):
        number += 1
        review = Review(**{name: getattr(row, name) for name in columns_of(Review)})
        previous = link(previous, review)
        if row.seq != number or row.chain != previous:
            return (
                f"review {row.review_id} of {row.who}, or one before it, was changed or taken out; "
                "compare with a backup"
            )
    end = reviews_end(connection)
    added = end["reviews"]
    if (added, end["chain"]) == (number, previous):
        return None
    if number < added:
        return (
            f"{added} reviews were added and {number} are there: the last ones were taken out; "
            "compare with a backup"
        )
    return (
        f"{number} reviews are there and {added} were added by Sluice, or the record of where they "
        "end was changed; compare with a backup"
    )


def _triggers(connection: Connection) -> str | None:
    """Whether the database still refuses to change reviews, and the log of who did what."""
    kind = connection.dialect.name
    wanted = (
        "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        if kind == "sqlite"
        else "SELECT tgname FROM pg_trigger WHERE tgenabled <> 'D' "
        "AND tgrelid IN ('reviews'::regclass, 'review_end'::regclass, 'audit'::regclass)"
    )
    lost = _STAY_TRIGGERS[kind] - set(connection.exec_driver_sql(wanted).scalars())
    return f"triggers were dropped: {', '.join(sorted(lost))}" if lost else None


def _verdicts(connection: Connection) -> str | None:
    """Whether sites and alerts say what reviews say of them and of what was merged into them."""
    site = schema.sites.c
    told = sa.select(site.site_id, site.verdict, site.reviewers).where(
        sa.or_(site.verdict.is_not(None), site.reviewers != 0)
    )
    kept = {found.site_id: (found.verdict, found.reviewers) for found in connection.execute(told)}
    expected = verdicts(read_reviews(connection, sa.true()), read_merges(connection))
    wrong = sorted(s for s in kept.keys() | expected.keys() if kept.get(s) != expected.get(s))
    if wrong:
        return f"{len(wrong)} sites do not say what their reviews say: {wrong[0]}"
    reviewed = schema.alerts.c.site_id.in_(sa.select(site.site_id).where(site.verdict.is_not(None)))
    last = {site_id: verdict for site_id, (verdict, _) in expected.items()}
    alerts = alerts_to_change(connection, reviewed, last)
    if alerts:
        return f"{len(alerts)} alerts do not say what the reviews of their site say: {alerts[0][0]}"
    return None


def _run_counts(connection: Connection) -> str | None:
    """Whether as many detections are there as have landed."""
    run, row = schema.runs.c, schema.detections.c
    counted = sa.select(row.run_id, sa.func.count().label("there")).group_by(row.run_id).subquery()
    there = sa.func.coalesce(counted.c.there, 0)
    wanted = (
        sa.select(run.run_id, run.detection_count, there)
        .join(counted, counted.c.run_id == run.run_id, isouter=True)
        .where(run.detection_count != there)
        .order_by(run.run_id)
    )
    wrong = [
        f"{name}: {landed} landed, {now} there" for name, landed, now in connection.execute(wanted)
    ]
    return "; ".join(wrong) or None
