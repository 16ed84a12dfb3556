"""Verdicts follow merges, in either kind of store, whatever the order of landings and reviews."""

from __future__ import annotations

import datetime as dt
import threading
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sluice.base.errors import ConfigError, Conflict, DataError, StoreError
from sluice.base.places import Reason, Verdict
from sluice.base.store import SiteQuery
from sluice.store.checking import check
from sluice.store.migrating import downgrade, migrate
from sluice.store.sql_store import SqlStore
from stores import NOW, StorePlaces, a_review, open_with_area, sites

COUNT = 6
CONFIRMED = SiteQuery(verdict=(Verdict.CONFIRMED,))


def merge(store: SqlStore, into: dict[int, int | None]) -> None:
    """Put sites as merged into others, or as their own again."""
    with store.landing("ashanti") as landing:
        known = landing.sites().set_index("site_id", drop=False)
        for site, heir in into.items():
            known.loc[f"s-{site}", "merged_into"] = None if heir is None else f"s-{heir}"
        known["current"] = known["merged_into"].isna()
        landing.put_sites(known.loc[[f"s-{site}" for site in into]])


def told(store: SqlStore) -> dict[str, tuple[str | None, int]]:
    found = store.sites(SiteQuery(with_past=True))
    rows = zip(found["site_id"], found["verdict"], found["reviewers"], strict=True)
    return {site: (verdict, reviewers) for site, verdict, reviewers in rows}


def wrong_of(store: SqlStore) -> dict[str, str]:
    return {finding.what: finding.wrong for finding in check(store.db) if finding.wrong}


@pytest.fixture
def store(places: StorePlaces):
    with open_with_area(places.made()) as opened:
        with opened.landing("ashanti") as landing:
            landing.put_sites(sites(COUNT))
        yield opened


def test_a_confirmed_site_stays_confirmed_in_the_one_that_goes_on(store):
    store.add_review(a_review("r1", "s-1"))
    merge(store, {1: 0})
    assert told(store)["s-0"] == told(store)["s-1"] == ("confirmed", 1)
    assert store.sites(CONFIRMED)["site_id"].tolist() == ["s-0"]
    assert store.count_sites(CONFIRMED) == 1
    assert [review.review_id for review in store.reviews(["s-0"])] == ["r1"]
    # And on, to whatever that one is merged into.
    merge(store, {0: 2})
    assert store.sites(CONFIRMED)["site_id"].tolist() == ["s-2"]
    assert wrong_of(store) == {}


def test_the_last_word_is_that_on_any_of_the_sites_that_grew_together(store):
    store.add_review(a_review("r1", "s-1", when=NOW + dt.timedelta(hours=2)))
    later = a_review("r2", "s-0", who="Kofi", verdict=Verdict.REJECTED, reason=Reason.SANDBAR)
    store.add_review(later)
    merge(store, {1: 0})
    assert told(store)["s-0"] == ("confirmed", 1)
    store.add_review(a_review("r3", "s-0", who="Kofi", when=NOW + dt.timedelta(hours=3)))
    assert told(store)["s-0"] == ("confirmed", 2)
    assert told(store)["s-1"] == ("confirmed", 1)


def test_a_review_of_a_merged_site_goes_to_the_one_that_goes_on(store):
    merge(store, {1: 0, 2: 1})
    added = store.add_review(a_review("r1", "s-2"))
    assert added.site_id == "s-0"
    assert store.reviews() == [added]
    assert told(store)["s-0"] == ("confirmed", 1)
    assert told(store)["s-2"] == (None, 0)
    # Sent again, by either name, it is the same one.
    assert store.add_review(a_review("r1", "s-2")) == added
    assert store.add_review(a_review("r1", "s-0")) == added
    merge(store, {0: 3})
    assert store.add_review(a_review("r1", "s-2")) == added
    with pytest.raises(Conflict, match="another one has this id"):
        store.add_review(a_review("r1", "s-4"))
    assert len(store.reviews()) == 1


def test_a_merge_that_is_taken_back_takes_its_verdict_back(store):
    store.add_review(a_review("r1", "s-1"))
    merge(store, {1: 0})
    merge(store, {1: None})
    assert told(store)["s-0"] == (None, 0)
    assert told(store)["s-1"] == ("confirmed", 1)
    assert wrong_of(store) == {}


def test_a_landing_that_is_undone_moves_no_verdict(store):
    store.add_review(a_review("r1", "s-1"))

    def land() -> None:
        with store.landing("ashanti") as landing:
            known = landing.sites()
            known.loc[known["site_id"] == "s-1", "merged_into"] = "s-0"
            landing.put_sites(known)
            landing.put_periods(["s-1"], known)

    with pytest.raises(DataError):
        land()
    assert told(store)["s-0"] == (None, 0)


def test_a_landing_knows_the_verdicts_of_what_it_is_going_to_merge(store):
    store.add_review(a_review("r1", "s-1"))
    store.add_review(a_review("r2", "s-2", verdict=Verdict.UNSURE))
    with store.landing("ashanti") as landing:
        assert landing.verdicts({"s-1": "s-0"}) == {
            "s-0": Verdict.CONFIRMED,
            "s-1": Verdict.CONFIRMED,
            "s-2": Verdict.UNSURE,
        }


MERGE = st.tuples(st.just("merge"), st.integers(0, COUNT - 1), st.integers(0, COUNT - 1))
PART = st.tuples(st.just("part"), st.integers(0, COUNT - 1), st.none())
REVIEW = st.tuples(
    st.just("review"),
    st.integers(0, COUNT - 1),
    st.tuples(st.sampled_from("AB"), st.sampled_from(Verdict), st.integers(0, 3)),
)


@settings(
    max_examples=8,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=st.lists(st.one_of(MERGE, REVIEW, REVIEW, PART), min_size=4, max_size=14))
def test_verdicts_follow_any_merges(places, steps):
    into: dict[int, int] = {}
    said: list[tuple[int, int, str, Verdict]] = []

    def heir(site: int) -> int:
        while site in into:
            site = into[site]
        return site

    with open_with_area(places.made()) as store:
        with store.landing("ashanti") as landing:
            landing.put_sites(sites(COUNT))
        for number, (kind, site, what) in enumerate(steps):
            if kind == "merge" and heir(site) != heir(what):
                into[heir(site)] = heir(what)
                merge(store, into)
            elif kind == "part" and site in into:
                del into[site]
                merge(store, {site: None})
            elif kind == "review":
                who, verdict, hour = what
                review = a_review(
                    f"r{number}",
                    f"s-{site}",
                    who=who,
                    verdict=verdict,
                    when=NOW + dt.timedelta(hours=hour),
                )
                assert store.add_review(review).site_id == f"s-{heir(site)}"
                said.append((hour, heir(site), who, verdict))
        expected = {}
        for site in range(COUNT):
            own = []
            for _, of_site, who, verdict in sorted(said, key=lambda one: one[0]):
                at = of_site
                while at != site and at in into:
                    at = into[at]
                own += [(who, verdict)] if at == site else []
            last = own[-1][1].value if own else None
            words = dict(own)
            expected[f"s-{site}"] = (last, sum(word == last for word in words.values()))
        assert told(store) == expected
        assert wrong_of(store) == {}
    if places.kind == "postgis":
        places.take_back()


def test_a_review_while_its_site_is_merged_is_lost_by_neither(store):
    """It waits for the landing, and goes to whatever its site became."""
    added = []

    def review() -> None:
        added.append(store.add_review(a_review("r1", "s-1")))

    thread = threading.Thread(target=review)
    with store.landing("ashanti") as landing:
        known = landing.sites()
        known.loc[known["site_id"] == "s-1", ["merged_into", "current"]] = ["s-0", False]
        landing.put_sites(known)
        thread.start()
        time.sleep(0.3)
        assert not added
    thread.join(20)
    assert [one.site_id for one in added] == ["s-0"]
    assert told(store)["s-0"] == ("confirmed", 1)
    assert wrong_of(store) == {}


def test_a_merge_into_nowhere_or_in_a_circle_is_told(store):
    merge(store, {1: 9})
    with pytest.raises(StoreError, match="was merged into s-9, which is not there"):
        store.add_review(a_review("r1", "s-1"))
    assert wrong_of(store) == {"references": "1 sites were merged into one that is not there"}
    merge(store, {1: 2, 2: 1})
    with pytest.raises(StoreError, match="in a circle"):
        store.add_review(a_review("r1", "s-1"))
    with pytest.raises(ConfigError, match="s-9"):
        store.add_review(a_review("r1", "s-9"))


def test_asking_for_sites_that_nobody_reviewed(store):
    store.add_review(a_review("r1", "s-1"))
    store.add_review(a_review("r2", "s-2", verdict=Verdict.REJECTED, reason=Reason.RIVER))
    for chosen, expected in (
        ((None,), ["s-0", "s-3", "s-4", "s-5"]),
        ((None, Verdict.CONFIRMED), ["s-0", "s-1", "s-3", "s-4", "s-5"]),
        ((Verdict.REJECTED,), ["s-2"]),
        ((), []),
    ):
        for box in (None, (-1.0, 4.0, 1.0, 6.0)):
            query = SiteQuery(verdict=chosen, bbox_lonlat=box)
            assert store.sites(query)["site_id"].tolist() == expected
            assert store.count_sites(query) == len(expected)


def test_an_older_store_is_brought_up_to_its_merges(places):
    address = places.empty()
    with open_with_area(address) as store:
        with store.landing("ashanti") as landing:
            landing.put_sites(sites(COUNT))
        store.add_review(a_review("r1", "s-1", who="Kofi"))
        store.add_review(a_review("r2", "s-2", when=NOW + dt.timedelta(hours=1)))
        store.add_review(a_review("r3", "s-3", verdict=Verdict.UNSURE))
        merge(store, {1: 0, 2: 1})
        expected = told(store)
        assert expected["s-0"] == ("confirmed", 2)
        with store.db.writing() as connection:
            downgrade(connection, "0002")
            # As older versions left it.
            connection.exec_driver_sql("UPDATE sites SET verdict = NULL, reviewers = 0")
        assert migrate(store.db)[0] == "0002"
    with open_with_area(address) as store:
        assert told(store) == expected
        assert wrong_of(store) == {}
        store.add_review(a_review("r4", "s-2"))
        assert wrong_of(store) == {}


def test_as_many_other_reviews_are_another_revision(places):
    revisions = []
    for verdict in (Verdict.CONFIRMED, Verdict.UNSURE):
        with open_with_area(places.made()) as opened:
            with opened.landing("ashanti") as landing:
                landing.put_sites(sites(COUNT))
            revisions.append(opened.revision().reviews)
            opened.add_review(a_review("r-1", "s-1", verdict=verdict))
            revisions.append(opened.revision().reviews)
    first, confirmed, second, unsure = revisions
    assert first == second
    assert len({first, confirmed, unsure}) == 3
