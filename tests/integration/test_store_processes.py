"""Several processes at one store, and processes that are killed."""

import multiprocessing as mp
from pathlib import Path

from proof.store_kills import Kills, kill_landings

from sluice.base.store import SiteQuery
from sluice.store.checking import check
from stores import StorePlaces, a_run, count_landings, make_store, open_with_area, sites


def test_a_landing_that_is_killed_leaves_nothing_half(places: StorePlaces, tmp_path: Path):
    reference = str(tmp_path / "reference.sqlite")
    address = places.made()
    kills = kill_landings(address, reference, rounds=3, sites=120, seed=len(places.kind))
    assert kills.rounds == 3
    assert kills == Kills(before=kills.before, after=kills.after)


def test_two_processes_land_at_once(places: StorePlaces):
    """Each landing adds one to what it reads: one that did not wait would lose another's."""
    address = places.made()
    with open_with_area(address, "ashanti", "volta") as store:
        for area in ("ashanti", "volta"):
            with store.landing(area) as landing:
                landing.put_run(a_run(area, area=area), None)
                own = sites(1, area=area, context={"landings": 0}).assign(site_id=area)
                landing.put_sites(own)
        context = mp.get_context("forkserver")
        context.set_forkserver_preload(["proof.store_kills"])
        areas = ["ashanti", "ashanti", "volta"]
        # As a context manager the pool would end its processes the hard way.
        pool = context.Pool(len(areas))
        try:
            pool.starmap(count_landings, [(address, area, 8) for area in areas])
        finally:
            pool.close()
            pool.join()
        found = store.sites(SiteQuery()).set_index("site_id")["context"]
        assert found["ashanti"] == {"landings": 16}
        assert found["volta"] == {"landings": 8}
        assert [finding for finding in check(store.db) if finding.wrong] == []


def test_two_processes_make_one_store(places: StorePlaces):
    context = mp.get_context("forkserver")
    context.set_forkserver_preload(["proof.store_kills"])
    address = places.empty()
    pool = context.Pool(2)
    try:
        pool.map(make_store, [address] * 3, chunksize=1)
    finally:
        pool.close()
        pool.join()
    with open_with_area(address) as store:
        assert store.areas()["name"].tolist() == ["ashanti"]
