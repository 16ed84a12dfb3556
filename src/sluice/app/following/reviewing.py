"""What people say of sites."""

from __future__ import annotations

import datetime as dt
import getpass
import uuid

import pandas as pd

from sluice.base.errors import ConfigError
from sluice.base.places import AlertState, Reason, Review, Verdict
from sluice.base.store import Row, SiteQuery, Store


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
) -> Review:
    """Add a verdict on a site.

    Args:
        store: Where the site is.
        site_id: Of any site, a past one too.
        verdict: Confirmed, rejected or unsure.
        reason: What it is instead; a rejection needs one.
        who: None takes the name under which the computer is used.
        note: Anything else.

    Raises:
        ConfigError: No such site, a rejection without a reason, or a reason without one.
    """
    if verdict is Verdict.REJECTED and reason is None:
        known = ", ".join(Reason)
        raise ConfigError(f"a rejection needs a --reason, which teaches the model; one of {known}")
    if verdict is Verdict.CONFIRMED and reason is not None:
        raise ConfigError(
            f"--reason {reason} says what a rejected site is instead; leave it out, or reject"
        )
    find_site(store, site_id)
    review = Review(
        review_id=uuid.uuid4().hex,
        site_id=site_id,
        verdict=verdict,
        reason=reason,
        who=_name(who),
        when=dt.datetime.now(dt.UTC),
        note=note,
    )
    store.add_review(review)
    return review


def review_line(review: Review) -> str:
    """`rejected (sandbar) by ama, 2024-05-01: dry season`."""
    reason = f" ({review.reason.replace('_', ' ')})" if review.reason else ""
    note = f": {review.note}" if review.note else ""
    return f"{review.verdict}{reason} by {review.who}, {review.when:%Y-%m-%d}{note}"


def _name(who: str | None) -> str:
    if who is not None and who.strip():
        return who.strip()
    try:
        return getpass.getuser()
    except (OSError, KeyError) as err:
        raise ConfigError("who are you? This computer does not tell; give --who") from err
