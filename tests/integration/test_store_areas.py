"""Areas come with what lands in them, and go with all that hangs on them, in both stores."""

from __future__ import annotations

import pytest
import shapely
import sqlalchemy as sa

from sluice.base.errors import ConfigError, DataError
from sluice.base.store import SiteQuery
from sluice.store import schema
from sluice.store.checking import check
from sluice.store.sql_store import SqlStore
from stores import (
    AREA_SHAPE,
    StorePlaces,
    a_review,
    a_run,
    detections,
    land_three,
    open_with_area,
    sites,
)


@pytest.fixture
def store(places: StorePlaces):
    with open_with_area(places.made()) as opened:
        yield opened


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
