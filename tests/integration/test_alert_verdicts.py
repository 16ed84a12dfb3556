"""Alerts say at once what a person said last of their site, as after the next landing."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pandas as pd
import pytest

from arrivals import GRID, PIT, arrival_of
from sluice.app.following.landing import add_named_area, land
from sluice.app.following.reviewing import add_review
from sluice.app.following.stores import check_store, migrate_store, open_store
from sluice.app.products.coverage import outline_lonlat
from sluice.base.places import AlertState, Reason, Verdict
from sluice.base.store import SiteQuery
from sluice.store.migrating import downgrade
from sluice.store.sql_store import SqlStore
from stores import StorePlaces, a_review, an_alert, open_with_area, sites

LOST = (60, 60, 3)
RUNS = [arrival_of(0, [PIT, LOST]), arrival_of(1, [PIT]), arrival_of(2, [PIT])]
STANDING = SiteQuery(standing=True)


@pytest.fixture
def store(places: StorePlaces) -> Iterator[SqlStore]:
    """One site whose alert the looks confirm, and one whose alert they reject."""
    with open_store(places.made()) as opened:
        add_named_area(opened, "ours", outline_lonlat(GRID))
        for arrival in RUNS:
            land(opened, arrival)
        yield opened


def alerts(store: SqlStore) -> pd.DataFrame:
    return store.alerts(SiteQuery(with_past=True))


def say(store: SqlStore, site_id: str, verdict: Verdict) -> None:
    reason = Reason.SANDBAR if verdict is Verdict.REJECTED else None
    add_review(store, site_id, verdict, reason, who="Ama")


def wrong_of(address: str) -> list[str]:
    return [finding.wrong for finding in check_store(address) if finding.wrong]


@pytest.mark.parametrize(
    ("first", "last", "landing_between"),
    [
        (None, Verdict.CONFIRMED, False),
        (None, Verdict.REJECTED, False),
        (Verdict.REJECTED, Verdict.CONFIRMED, True),
        (Verdict.CONFIRMED, Verdict.UNSURE, True),
        (Verdict.REJECTED, Verdict.UNSURE, False),
    ],
)
def test_the_last_verdict_counts_at_once(
    store: SqlStore, first: Verdict | None, last: Verdict, landing_between: bool
) -> None:
    untouched = alerts(store)
    assert sorted(untouched["state"]) == ["confirmed", "rejected"]
    for site_id in untouched["site_id"]:
        if first is not None:
            say(store, site_id, first)
    if landing_between:
        land(store, RUNS[-1])
    for site_id in untouched["site_id"]:
        say(store, site_id, last)
    found = alerts(store)
    if last is Verdict.UNSURE:
        told = ["state", "reasons"]
        pd.testing.assert_frame_equal(found[told], untouched[told])
    else:
        assert set(found["state"]) == {last}
        assert store.count_alerts(SiteQuery(state=(AlertState(last),))) == 2
    standing = {Verdict.CONFIRMED: 2, Verdict.REJECTED: 0, Verdict.UNSURE: 1}
    assert store.count_alerts(STANDING) == standing[last]
    land(store, RUNS[-1])
    pd.testing.assert_frame_equal(alerts(store), found)


@pytest.mark.parametrize("when", ["before alerts are put", "after"])
def test_a_review_while_a_landing_goes_on_counts(places: StorePlaces, when: str) -> None:
    """Whichever of the two waits for the other."""
    address = places.made()
    with open_with_area(address) as store, open_store(address) as other:
        with store.landing("ashanti") as landing:
            landing.put_sites(sites(3))
            landing.put_alerts(["s-0"], an_alert("s-0"))
        thread = threading.Thread(target=other.add_review, args=(a_review("r1", "s-0"),))
        with store.landing("ashanti") as landing:
            if when == "after":
                landing.put_alerts(["s-0"], an_alert("s-0"))
            thread.start()
            time.sleep(0.3)
            if when != "after":
                landing.put_alerts(["s-0"], an_alert("s-0"))
        thread.join(20)
        assert store.alerts(SiteQuery())["state"].tolist() == ["confirmed"]
    assert wrong_of(address) == []


def test_alerts_of_an_older_store_are_brought_up_to_reviews(places: StorePlaces) -> None:
    address = places.empty()
    with open_with_area(address) as store:
        with store.landing("ashanti") as landing:
            landing.put_sites(sites(3))
            landing.put_alerts(["s-0"], an_alert("s-0"))
        store.add_review(a_review("r1", "s-0"))
        expected = store.alerts(SiteQuery())
        with store.db.writing() as connection:
            connection.exec_driver_sql("UPDATE alerts SET state = 'rejected'")
    assert wrong_of(address) == ["1 alerts do not say what the reviews of their site say: a-s-0"]
    with open_store(address) as store, store.db.writing() as connection:
        downgrade(connection, "0007")
    migrate_store(address)
    with open_store(address) as store:
        pd.testing.assert_frame_equal(store.alerts(SiteQuery()), expected)
    assert wrong_of(address) == []
