"""Reviews in a database: read, added at the end of the chain, and brought up to merges.

The only place that writes `verdict` and `reviewers` of sites, and what they make of alerts.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import pandas as pd
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from sluice.base.alert_verdicts import judged_by
from sluice.base.errors import ConfigError, Conflict, StoreError
from sluice.base.places import AlertState, Review, Verdict, columns_of
from sluice.base.said import read_said
from sluice.store import schema
from sluice.store.database import Database
from sluice.store.frames import rows_in
from sluice.store.reviewing import FIRST_LINK, families, lineage, link, verdicts

REVIEWS_LOCK = "sluice: reviews"
"""The lock of those who add reviews: each follows the one before."""


def read_reviews(connection: Connection, condition: sa.ColumnElement[bool]) -> list[Review]:
    """Oldest first."""
    row = schema.reviews.c
    wanted = sa.select(*(row[name] for name in columns_of(Review))).where(condition)
    rows: Any = connection.execute(wanted.order_by(row.when, row.seq)).mappings()
    return [Review(**found) for found in rows]


def read_merges(connection: Connection) -> dict[str, str]:
    """By site that was merged: the one that it was merged into."""
    row = schema.sites.c
    wanted = sa.select(row.site_id, row.merged_into).where(row.merged_into.is_not(None))
    return {found.site_id: found.merged_into for found in connection.execute(wanted)}


def reviews_end(connection: Connection) -> dict[str, Any]:
    """How many reviews were added, `reviews`, and the `chain` at the last one."""
    end = schema.review_end.c
    told = connection.execute(sa.select(end.reviews, end.chain)).mappings().first()
    return {"reviews": 0, "chain": FIRST_LINK} if told is None else dict(told)


def add_review(db: Database, connection: Connection, review: Review) -> Review | None:
    """Add a review in a transaction, to the site that goes on.

    Returns:
        As it was added, or is there already; None where the site was merged while this waited for
        it: begin another transaction.

    Raises:
        ConfigError: There is no such site.
        Conflict: Another review has this id.
        StoreError: The site that goes on is not there.
    """
    if not _exists(connection, review.site_id):
        raise ConfigError(
            f"site {review.site_id}: is not in the store; `sluice sites list` shows ids"
        )
    merged_into = read_merges(connection)
    line = lineage(review.site_id, merged_into)
    if line[-1] in merged_into or not _exists(connection, line[-1]):
        raise StoreError(
            f"site {review.site_id}: was merged into {line[-1]}, which is not there, or in a "
            "circle; see `sluice store check`"
        )
    # Rows before the lock of reviews: whoever lands has rows already when it comes to reviews.
    if not hold_sites(connection, db, line[-1:], merged=False):
        return None
    db.hold(connection, REVIEWS_LOCK)
    added = _known(connection, review, line)
    if added is None:
        added = review.model_copy(update={"site_id": line[-1]})
        _append(db, connection, added)
        _write_verdicts(db, connection, line[-1:])
    return added


def follow_merges(db: Database, connection: Connection, site_ids: Collection[str]) -> None:
    """Bring sites and their alerts up to what was said of them and of what was merged into them.

    Args:
        db: Where.
        connection: In the transaction that put merges or alerts; it keeps others from adding
            reviews to its end.
        site_ids: Those that sites were merged into, or were before, and those of the alerts;
            whatever these were merged into themselves is brought up as well.
    """
    merged_into = read_merges(connection)
    changed = sorted({heir for one in site_ids for heir in lineage(one, merged_into)})
    hold_sites(connection, db, changed)
    db.hold(connection, REVIEWS_LOCK)
    _write_verdicts(db, connection, changed)


def _exists(connection: Connection, site_id: str) -> bool:
    wanted = sa.select(schema.sites.c.fid).where(schema.sites.c.site_id == site_id)
    return connection.execute(wanted).first() is not None


def hold_sites(
    connection: Connection, db: Database, site_ids: Collection[str], *, merged: bool = True
) -> bool:
    """Keep others from writing rows until the end; gives whether there are any such.

    Args:
        connection: In a transaction.
        db: Where.
        site_ids: Of the rows.
        merged: Those that were merged, too.
    """
    row = schema.sites.c
    wanted = sa.select(row.fid).where(db.among(row.site_id, list(site_ids))).order_by(row.fid)
    if not merged:
        wanted = wanted.where(row.merged_into.is_(None))
    return bool(connection.execute(wanted.with_for_update(key_share=True)).all())


def _write_verdicts(db: Database, connection: Connection, site_ids: Collection[str]) -> None:
    merged_into, sites = read_merges(connection), schema.sites
    told = sorted(families(site_ids, merged_into))
    reviews = read_reviews(connection, db.among(schema.reviews.c.site_id, told))
    said = verdicts(reviews, merged_into)
    row = sites.c
    wanted = sa.select(row.site_id, row.verdict, row.reviewers)
    last: dict[str, str | None] = {}
    for known in connection.execute(wanted.where(db.among(row.site_id, list(site_ids)))).all():
        verdict, reviewers = said.get(known.site_id, (None, 0))
        if verdict is not None or known.verdict is not None:
            last[known.site_id] = verdict
        if (known.verdict, known.reviewers) != (verdict, reviewers):
            connection.execute(
                sa.update(sites)
                .where(row.site_id == known.site_id)
                .values(verdict=verdict, reviewers=reviewers)
            )
    _write_states(db, connection, last)


def _write_states(
    db: Database, connection: Connection, verdicts_of: Mapping[str, str | None]
) -> None:
    """Bring the alerts of sites up to the last verdict on each."""
    row = schema.alerts.c
    for alert_id, state, reasons in alerts_to_change(
        connection, db.among(row.site_id, list(verdicts_of)), verdicts_of
    ):
        connection.execute(
            sa.update(schema.alerts)
            .where(row.alert_id == alert_id)
            .values(state=state, reasons=reasons)
        )


def alerts_to_change(
    connection: Connection,
    condition: sa.ColumnElement[bool],
    verdicts_of: Mapping[str, str | None],
) -> list[tuple[str, str, list[dict[str, Any]]]]:
    """Alerts that do not say what people do: id, and the state and reasons that they must have.

    Args:
        connection: To read with.
        condition: Which alerts.
        verdicts_of: The last verdict by site.
    """
    row = schema.alerts.c
    wanted = sa.select(row.alert_id, row.site_id, row.state, row.reasons).where(condition)
    found = []
    for alert in connection.execute(wanted.order_by(row.alert_id)).all():
        word = verdicts_of.get(alert.site_id)
        verdict = None if word is None else Verdict(word)
        state, reasons = judged_by(AlertState(alert.state), alert.reasons, verdict)
        if (state, read_said(reasons)) != (alert.state, read_said(alert.reasons)):
            found.append((alert.alert_id, str(state), reasons))
    return found


def _known(connection: Connection, review: Review, line: Collection[str]) -> Review | None:
    """The review of this id, if it was added before: what is sent twice counts once."""
    for known in read_reviews(connection, schema.reviews.c.review_id == review.review_id):
        # It may have been sent before its site was merged, or after.
        same = review.model_copy(update={"site_id": known.site_id})
        if known.site_id in line and link(FIRST_LINK, known) == link(FIRST_LINK, same):
            return known
        raise Conflict(
            f"review {review.review_id}: another one has this id; a review is never changed, "
            "add a new one"
        )
    return None


def _append(db: Database, connection: Connection, review: Review) -> None:
    table, last = schema.reviews, reviews_end(connection)
    row = {
        **review.model_dump(),
        "seq": last["reviews"] + 1,
        "chain": link(last["chain"], review),
    }
    db.put(connection, table, rows_in(table, pd.DataFrame([row], dtype=object), list(row)))
    ending = {"id": [1], "reviews": [row["seq"]], "chain": [row["chain"]]}
    db.put(connection, schema.review_end, ending, ("id",))
