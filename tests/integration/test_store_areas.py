"""Areas come with what lands in them, and go with all that hangs on them, in both stores."""

from __future__ import annotations

import pytest
import shapely
import sqlalchemy as sa

from sluice.app.following.stores import open_store
from sluice.base.errors import ConfigError, DataError
from sluice.base.store import SiteQuery
from sluice.store import schema
from sluice.store.checking import check
from sluice.store.sql_store import SqlStore
from stores import (
    AREA_SHAPE,
    a_review,
    a_run,
    an_alert,
    detections,
    land_three,
    open_with_area,
    sites,
)


def land_volta(store: SqlStore) -> None:
    """Three sites of another area, `v-0` and on."""
    with store.landing("volta", outline=AREA_SHAPE) as landing:
        landing.put_run(a_run("volta-1", area="volta"), b"map")
        own = sites(area="volta")
        landing.put_sites(own.assign(site_id=[f"v-{n}" for n in range(3)]))
        found = detections("volta-1", ["d0", "d1", "d2"])
        landing.put_detections(found.assign(site_id=[f"v-{n}" for n in range(3)]))


def wrong_of(store: SqlStore) -> dict[str, str]:
    return {finding.what: finding.wrong for finding in check(store.db) if finding.wrong}


def test_an_area_comes_with_what_lands_first(store):
    land_volta(store)
    assert store.areas()["name"].tolist() == ["ashanti", "volta"]
    assert [run.run_id for run in store.runs("volta")] == ["volta-1"]
    # Later landings need no outline, and may bring the same one.
    with store.landing("volta"):
        pass
    with store.landing("volta", outline=AREA_SHAPE):
        pass
    with (
        pytest.raises(ConfigError, match="another outline"),
        store.landing("volta", outline=shapely.box(0, 0, 1, 1)),
    ):
        pass


def test_a_landing_that_fails_leaves_no_area(store):
    def fail() -> None:
        with store.landing("volta", outline=AREA_SHAPE) as landing:
            landing.put_run(a_run("volta-1", area="volta"), b"map")
            raise MemoryError

    with pytest.raises(MemoryError):
        fail()
    assert store.areas()["name"].tolist() == ["ashanti"]


def test_an_empty_area_is_removed(store):
    assert store.area_rows("ashanti") == {}
    store.remove_area("ashanti")
    assert store.areas().empty
    with pytest.raises(ConfigError, match="is not in the store, which has none"):
        store.remove_area("ashanti")
    with pytest.raises(ConfigError, match="is not in the store"):
        store.area_rows("ashanti")


def test_an_area_that_holds_something_stays(store):
    land_three(store)
    assert store.area_rows("ashanti") == {"runs": 1, "detections": 3, "sites": 3}
    store.add_review(a_review("r1"))
    with pytest.raises(ConfigError, match="1 run, 3 detections, 3 sites and 1 review"):
        store.remove_area("ashanti")
    assert store.count_sites(SiteQuery()) == 3
    assert len(store.reviews()) == 1


def test_with_everything_nothing_of_the_area_is_left_and_the_others_are_whole(store):
    land_three(store)
    land_volta(store)
    for number, site_id in enumerate(["v-0", "s-0", "v-1", "s-1", "v-0"]):
        store.add_review(a_review(f"r{number}", site_id, who=f"p{number}"))
    store.remove_area("ashanti", with_everything=True)
    assert store.areas()["name"].tolist() == ["volta"]
    assert store.sites(SiteQuery(with_past=True))["site_id"].tolist() == ["v-0", "v-1", "v-2"]
    assert [run.run_id for run in store.runs(with_past=True)] == ["volta-1"]
    assert len(store.detections(SiteQuery())) == 3
    assert [review.review_id for review in store.reviews()] == ["r0", "r2", "r4"]
    assert wrong_of(store) == {}, "the chain of the reviews that stay is whole"
    # And goes on from there.
    store.add_review(a_review("r5", "v-2"))
    assert wrong_of(store) == {}
    with (
        pytest.raises(DataError, match="added, never changed"),
        store.db.writing() as connection,
    ):
        connection.execute(sa.delete(schema.reviews))


def test_the_last_area_takes_the_last_review_with_it(store):
    land_three(store)
    store.add_review(a_review("r1"))
    store.remove_area("ashanti", with_everything=True)
    assert store.reviews() == []
    assert wrong_of(store) == {}
    with store.db.reading() as connection:
        for table in ("runs", "scenes", "evidence_maps", "detections", "sites", "areas"):
            counted = sa.select(sa.func.count()).select_from(schema.metadata.tables[table])
            assert connection.execute(counted).scalar_one() == 0, table


PUTS = {
    "sites": lambda landing: landing.put_sites(landing.sites().assign(legality="inside")),
    "detections": lambda landing: landing.put_detections(landing.detections()),
    "a run": lambda landing: landing.put_run(a_run("run-2", sensor="radar"), None),
    "alerts": lambda landing: landing.put_alerts(["s-1"], an_alert("s-1")),
    "no alerts any more": lambda landing: landing.put_alerts(["s-0"], an_alert("s-0").iloc[:0]),
}


@pytest.mark.parametrize("put", PUTS)
def test_each_landing_that_puts_something_is_another_revision(places, put: str):
    address = places.made()
    with open_with_area(address, "ashanti", "volta") as store, open_store(address) as other:
        land_three(store)
        with store.landing("ashanti") as landing:
            landing.put_alerts(["s-0"], an_alert("s-0"))
        seen = [other.revision()]
        for _ in range(2):
            with store.landing("ashanti") as landing:
                landing.put_alerts(["s-0"], an_alert("s-0"))
                PUTS[put](landing)
            seen.append(other.revision())
        assert len({one.sites for one in seen}) == 3
        assert len({(one.reviews, one.layers) for one in seen}) == 1
    with open_store(address) as store:
        assert store.revision() == seen[-1]
        assert wrong_of(store) == {}


def put_what_is_refused(store: SqlStore) -> None:
    with store.landing("ashanti") as landing:
        landing.put_sites(landing.sites().assign(legality="inside"))
        landing.put_alerts(["s-0"], an_alert("s-0", area="volta"))


def test_a_landing_that_puts_nothing_or_fails_leaves_the_revision(store):
    land_three(store)
    before = store.revision()
    with store.landing("ashanti") as landing:
        landing.put_sites(landing.sites().iloc[:0])
        landing.put_alerts(["s-2"], an_alert("s-2").iloc[:0])
    with pytest.raises(DataError, match="volta"):
        put_what_is_refused(store)
    assert store.revision() == before


def test_an_area_that_is_gone_is_another_revision(store):
    land_three(store)
    land_volta(store)
    seen = [store.revision().sites]
    store.remove_area("volta", with_everything=True)
    seen.append(store.revision().sites)
    land_volta(store)
    seen.append(store.revision().sites)
    assert len(set(seen)) == 3
    assert wrong_of(store) == {}
