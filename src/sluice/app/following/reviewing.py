"""What people say of sites."""

from __future__ import annotations

import datetime as dt
import uuid
from pathlib import Path

import geopandas as gpd
import pandas as pd
import shapely
from shapely.geometry.base import BaseGeometry

from sluice.app.accounts import computer_user
from sluice.base.errors import ConfigError, Conflict, DataError
from sluice.base.longitudes import degrees_across
from sluice.base.places import AlertState, Label, Reason, Review, Verdict
from sluice.base.store import Row, SiteQuery, Store
from sluice.labels.polygons import read_polygons
from sluice.sites.area import geodesic_areas_ha

MINE = "mine"
"""The class of labels of what a person has confirmed."""
SOURCE = "review"
"""Where such labels are from."""
LARGEST_KM2, SMALLEST_HA = 500.0, 0.01
"""Of a drawn mine: the largest goldfields have less in one piece; a pixel of Sentinel-2."""
_WIDEST_DEGREES = 5.0
"""Beyond a hemisphere an area could be that of what an outline leaves out."""


def find_site(store: Store, site_id: str) -> Row:
    """A site's row, a past one's too.

    Raises:
        ConfigError: There is none of this id.
    """
    found = store.sites(SiteQuery(site_ids=(site_id,), with_past=True))
    if found.empty:
        raise ConfigError(
            f"no site {site_id}; `sluice sites list` tells the ids of those there are"
        )
    row: Row = found.drop(columns="geometry").to_dict("records")[0]
    return row


def find_alert(store: Store, alert_id: str) -> Row:
    """An alert's row.

    Raises:
        ConfigError: There is none of this id.
    """
    alerts = store.alerts(SiteQuery())
    found = alerts[alerts["alert_id"] == alert_id]
    if found.empty:
        raise ConfigError(
            f"no alert {alert_id}; `sluice alerts list` tells the ids of those there are"
        )
    return found.to_dict("records")[0]


def standing_alerts(alerts: pd.DataFrame) -> pd.DataFrame:
    """Those that neither later looks nor a person rejected."""
    rejected = (alerts["state"] == AlertState.REJECTED) | (alerts["verdict"] == Verdict.REJECTED)
    return alerts[~rejected]


def add_review(
    store: Store,
    site_id: str,
    verdict: Verdict,
    reason: Reason | None,
    *,
    who: str | None = None,
    note: str = "",
    outline: BaseGeometry | None = None,
    review_id: str | None = None,
    age: dt.timedelta = dt.timedelta(0),
) -> Review:
    """Add a verdict on a site; of one that was merged it goes to the site that goes on.

    Args:
        store: Where the site is.
        site_id: Of any site, a past one too.
        verdict: Confirmed, rejected or unsure.
        reason: What it is instead; a rejection needs one.
        who: None takes the name under which the computer is used.
        note: Anything else.
        outline: What the person drew around it, in longitude and latitude: kept as a label of the
            last period in which the site was detected.
        review_id: Given by whoever may send it again where no answer came: it counts once.
        age: How long ago it was given: what others said since then counts in place of it.

    Raises:
        Conflict: Something else was said, or drawn, by this id.
        ConfigError: No such site, a rejection without a reason, or a reason without one; an outline
            of what nobody is sure of, or far from the site.
    """
    if verdict is Verdict.REJECTED and reason is None:
        known = ", ".join(Reason)
        raise ConfigError(f"a rejection needs a --reason, which teaches the model; one of {known}")
    if verdict is Verdict.CONFIRMED and reason is not None:
        raise ConfigError(
            f"--reason {reason} says what a rejected site is instead; leave it out, or reject"
        )
    find_site(store, site_id)
    if outline is not None:
        _check_outline(store, site_id, verdict, outline)
        check_size(outline)
    review = Review(
        review_id=review_id or uuid.uuid4().hex,
        site_id=site_id,
        verdict=verdict,
        reason=reason,
        who=_name(who),
        when=dt.datetime.now(dt.UTC) - age,
        note=note,
    )
    try:
        added = store.add_review(review)
    except Conflict:
        there = _sent_before(store, review)
        if there is None:
            raise
        added = there
        if outline is not None:
            _refuse_other_outline(store, added, outline)
    if outline is not None:
        _keep_outline(store, added, outline)
    return added


def _sent_before(store: Store, review: Review) -> Review | None:
    """The same, as it was added at another moment, to this site or the one that goes on."""
    line = [review.site_id]
    while merged_into := find_site(store, line[-1])["merged_into"]:
        line.append(merged_into)
    for known in store.reviews(line[-1:]):
        if known == review.model_copy(update={"when": known.when, "site_id": known.site_id}):
            return known if known.site_id in line else None
    return None


def _refuse_other_outline(store: Store, review: Review, outline: BaseGeometry) -> None:
    """Refuse to draw something else by an id; where the answer was lost none may be kept yet."""
    labels = store.labels(find_site(store, review.site_id)["area"])
    kept = labels.geometry[labels["label_id"] == review.review_id].to_numpy()
    if len(kept) and not shapely.equals(kept, outline).all():
        raise Conflict(
            f"review {review.review_id}: is there with another outline; send this one as a review "
            "of its own, with an id of its own"
        )


def read_outline(path: Path) -> BaseGeometry:
    """The polygons of a file, as one shape in longitude and latitude.

    Raises:
        SourceError, DataError, ConfigError: See `read_polygons`.
    """
    outline: BaseGeometry = shapely.union_all(read_polygons(path).table.geometry.to_numpy())
    return outline


def _check_outline(store: Store, site_id: str, verdict: Verdict, outline: BaseGeometry) -> None:
    if verdict is Verdict.UNSURE:
        raise ConfigError("an outline of what nobody is sure of teaches nothing; leave it out")
    site = store.sites(SiteQuery(site_ids=(site_id,), with_past=True)).geometry.iloc[0]
    if not shapely.intersects(site, outline):
        raise ConfigError(
            f"the outline does not meet site {site_id}; check which site it is of, and its CRS"
        )


def check_size(outline: BaseGeometry) -> None:
    """Refuse what no mine can be as large, or as small, as; training would learn from it.

    Args:
        outline: In longitude and latitude.

    Raises:
        DataError: It says the size, and what is allowed.
    """
    wide = max(degrees_across(outline))
    if wide > _WIDEST_DEGREES:
        raise DataError(
            f"the outline is {wide:,.1f} degrees wide, and a mine may have {_WIDEST_DEGREES:g}; "
            "draw what is worked"
        )
    hectares = float(geodesic_areas_ha([outline], "EPSG:4326")[0])
    if hectares > 100 * LARGEST_KM2:
        raise DataError(
            f"the outline has {hectares / 100:,.0f} km², and a mine may have {LARGEST_KM2:,.0f}; "
            "draw what is worked, and not what surrounds it"
        )
    if hectares < SMALLEST_HA:
        raise DataError(
            f"the outline has {10_000 * hectares:,.0f} m², and a mine has at least "
            f"{10_000 * SMALLEST_HA:,.0f}; draw all of it"
        )


def _keep_outline(store: Store, review: Review, outline: BaseGeometry) -> None:
    """Keep it as a label that bears the review's id: it is what the reviewer saw."""
    (area,) = store.sites(SiteQuery(site_ids=(review.site_id,), with_past=True))["area"]
    run_ids = set(store.detections(SiteQuery(site_ids=(review.site_id,)))["run_id"])
    periods = [(run.end, run.start) for run in store.runs(area) if run.run_id in run_ids]
    end, start = max(periods, default=(None, None))
    confirmed = review.verdict is Verdict.CONFIRMED
    label = Label(
        label_id=review.review_id,
        area=area,
        class_name=MINE if confirmed else str(review.reason),
        start=start,
        end=end,
        source=SOURCE,
        who=review.who,
        when=review.when,
        site_id=review.site_id,
    )
    row = gpd.GeoDataFrame([label.model_dump()], geometry=[outline], crs="EPSG:4326")
    store.add_labels(row)


def added_text(review: Review, site_id: str) -> str:
    """What was added, and to which site, if it is another one than was named."""
    told = f"{review.site_id}: {_line(review)}"
    if review.site_id == site_id:
        return told
    return f"{site_id} grew together with {review.site_id}, which goes on.\n{told}"


def _line(review: Review) -> str:
    """`rejected (sandbar) by ama, 2024-05-01: dry season`."""
    reason = f" ({review.reason.replace('_', ' ')})" if review.reason else ""
    note = f": {review.note}" if review.note else ""
    return f"{review.verdict}{reason} by {review.who}, {review.when:%Y-%m-%d}{note}"


def _name(who: str | None) -> str:
    if who is not None and who.strip():
        return who.strip()
    known = computer_user()
    if known is None:
        raise ConfigError("who are you? This computer does not tell; give --who")
    return known
