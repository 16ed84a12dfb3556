"""Runs land one after another, and what is known of each site follows from all of them."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import geopandas as gpd
import pandas as pd
import pytest

from arrivals import GRID, PIT, QUARTERS, arrival_of
from sluice.app.following.landing import Arrival, Landed, add_named_area, land
from sluice.app.following.reviewing import add_review, standing_alerts
from sluice.app.following.stores import open_store
from sluice.app.products.coverage import outline_lonlat
from sluice.base.errors import ConfigError
from sluice.base.places import Layer, LayerKind, Reason, Verdict
from sluice.base.store import SiteQuery, Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with contextlib.closing(open_store(str(tmp_path / "s.sqlite"), create=True)) as opened:
        bounds = outline_lonlat(GRID)
        add_named_area(opened, "ours", bounds)
        yield opened


def _land(store: Store, *arrivals: Arrival) -> list[Landed]:
    return [land(store, arrival) for arrival in arrivals]


def _sites(store: Store, *, with_past: bool = False) -> pd.DataFrame:
    return store.sites(SiteQuery(with_past=with_past)).set_index("site_id", drop=False)


def _statuses(store: Store, site_id: str) -> list[str]:
    return store.periods([site_id])["status"].tolist()


LAYER = Layer(
    name="concessions",
    kind=LayerKind.CONCESSIONS,
    source="concessions.gpkg",
    sha256="0" * 64,
    features=1,
    registered=dt.datetime(2024, 1, 1, tzinfo=dt.UTC),
)


def test_a_mine_keeps_its_id_through_growth_cloud_and_end(store: Store) -> None:
    bigger = (20, 20, 6)
    hidden = arrival_of(2, [], hidden=[(15, 15, 20)])
    _land(store, arrival_of(0, [PIT]), arrival_of(1, [bigger]), hidden)
    _land(store, arrival_of(3, []), arrival_of(4, []))
    sites = _sites(store)
    (site_id,) = sites.index
    statuses = _statuses(store, site_id)
    assert statuses[:3] == ["new", "growing", "not_observed"]
    assert statuses[-1] == "inactive"
    site = sites.iloc[0]
    assert site["first_seen"] == QUARTERS[0][0]
    assert not site["known_before"], "nobody had looked before"
    assert site["last_seen"] == QUARTERS[1][1]
    assert site["last_observed"] == QUARTERS[4][1]
    assert site["cumulative_ha"] == pytest.approx(36 * 0.64, rel=0.002)


def test_what_is_new_was_looked_at_before(store: Store) -> None:
    other = (60, 60, 3)
    _land(store, arrival_of(0, [PIT]), arrival_of(1, [PIT, other]))
    sites = _sites(store)
    assert len(sites) == 2
    new = sites[sites["first_seen"] == QUARTERS[1][0]].iloc[0]
    assert new["known_before"], "the first run saw the place, and nothing there"
    looks = store.looks([new["site_id"]])
    assert looks["detected"].tolist() == [False, True]
    assert looks["log_lr"].iloc[0] < 0 < looks["log_lr"].iloc[1]


def test_two_mines_that_grow_together_are_one_from_then_on(store: Store) -> None:
    left, right = (20, 20, 3), (20, 28, 3)
    first = _land(store, arrival_of(0, [left]), arrival_of(1, [left, right]))
    assert first[1].new_sites == 1
    oldest = _sites(store).sort_values("first_seen")["site_id"].iloc[0]
    (joined,) = _land(store, arrival_of(2, [(20, 20, 11)]))
    assert joined.merged_sites == 1
    (site_id,) = _sites(store).index
    assert site_id == oldest
    past = _sites(store, with_past=True).drop(site_id).iloc[0]
    assert past["merged_into"] == oldest
    assert not past["current"]
    assert store.looks([site_id])["run_id"].is_unique
    detections = store.detections(SiteQuery(area="ours"))
    assert set(detections["site_id"]) == {oldest}
    # They part again: the place stays one.
    _land(store, arrival_of(3, [left, right]))
    assert list(_sites(store).index) == [oldest]


def test_a_run_that_lands_again_changes_nothing(store: Store) -> None:
    runs = [arrival_of(0, [PIT]), arrival_of(1, [PIT, (60, 60, 3)])]
    _land(store, *runs)
    before = _sites(store), store.looks(list(_sites(store).index)), store.alerts(SiteQuery())
    _land(store, *runs)
    after = _sites(store), store.looks(list(_sites(store).index)), store.alerts(SiteQuery())
    for one, other in zip(before, after, strict=True):
        pd.testing.assert_frame_equal(pd.DataFrame(one), pd.DataFrame(other))


def test_another_run_of_a_period_takes_its_place_and_no_review(store: Store) -> None:
    _land(store, arrival_of(0, [PIT]), arrival_of(1, [PIT, (60, 60, 3)]))
    known = _sites(store)
    new = known[known["first_seen"] == QUARTERS[1][0]]["site_id"].iloc[0]
    add_review(store, new, Verdict.REJECTED, Reason.SANDBAR, who="ama")
    (landed,) = _land(store, arrival_of(1, [PIT], tag="-again"))
    assert landed.replaced == "s2-l2a-2023-04-01"
    assert new not in _sites(store).index
    assert not _sites(store, with_past=True).loc[new, "current"]
    assert [review.site_id for review in store.reviews()] == [new]
    # And the place is known when it comes back.
    _land(store, arrival_of(2, [PIT, (60, 60, 3)]))
    assert new in _sites(store).index
    assert _sites(store).loc[new, "verdict"] == "rejected"


def test_periods_may_land_in_any_order(store: Store, tmp_path: Path) -> None:
    runs = [
        arrival_of(0, [PIT]),
        arrival_of(1, [(20, 20, 6)]),
        arrival_of(2, []),
        arrival_of(3, [PIT]),
    ]
    _land(store, *runs)
    bounds = outline_lonlat(GRID)
    with contextlib.closing(open_store(str(tmp_path / "b.sqlite"), create=True)) as other:
        add_named_area(other, "ours", bounds)
        _land(other, *[runs[k] for k in (2, 0, 3, 1)])
        one, two = _sites(store).iloc[0], _sites(other).iloc[0]
        for name in ("first_seen", "last_seen", "status", "cumulative_ha", "area_ha"):
            assert one[name] == two[name], name
        assert _statuses(store, one["site_id"]) == _statuses(other, two["site_id"])


def test_a_mine_seen_clearly_by_two_sensors_raises_the_highest_alert(store: Store) -> None:
    _land(store, arrival_of(0, []), arrival_of(1, [PIT]), arrival_of(1, [PIT], sensor="planet-4b"))
    alerts = store.alerts(SiteQuery())
    assert alerts["kind"].tolist() == ["new"]
    assert alerts["level"].tolist() == ["highest"]
    _land(store, arrival_of(2, [PIT]))
    assert len(store.alerts(SiteQuery())) == 1, "the same news is told once"


def test_levels_of_the_same_images_are_one_witness(store: Store, tmp_path: Path) -> None:
    """Sentinel-2 before and after its correction, against the same images once."""
    both = arrival_of(1, [PIT], sensor="s2-l1c"), arrival_of(1, [PIT], sensor="s2-l2a")
    _land(store, arrival_of(0, []), *both)
    with contextlib.closing(open_store(str(tmp_path / "other.sqlite"), create=True)) as other:
        add_named_area(other, "ours", outline_lonlat(GRID))
        _land(other, arrival_of(0, []), both[1])
        (one,), (two,) = (each.alerts(SiteQuery()).to_dict("records") for each in (store, other))
    assert one["level"] != "highest"
    for name in ("level", "state", "posterior", "reasons"):
        assert one[name] == two[name]
    site_id = one["site_id"]
    assert store.periods([site_id])["sensors"].tolist() == ["s2"]
    # What a run was made of stays on record.
    assert set(store.looks([site_id])["sensor"]) == {"s2-l1c", "s2-l2a"}


def test_an_alert_of_a_rejected_site_does_not_stand(store: Store) -> None:
    _land(store, arrival_of(0, []), arrival_of(1, [PIT]), arrival_of(1, [PIT], sensor="planet-4b"))
    (site_id,) = _sites(store).index
    assert len(standing_alerts(store.alerts(SiteQuery()))) == 1
    add_review(store, site_id, Verdict.REJECTED, Reason.FISH_POND, who="kofi")
    assert standing_alerts(store.alerts(SiteQuery())).empty
    _land(store, arrival_of(2, [PIT]))
    assert standing_alerts(store.alerts(SiteQuery())).empty


def test_a_level_falls_when_later_looks_speak_against_the_mine(store: Store) -> None:
    _land(store, arrival_of(0, []), arrival_of(1, [PIT]))
    assert _sites(store)["level"].tolist() == ["high"]
    _land(store, arrival_of(2, [PIT], probability=0.0001), arrival_of(3, [PIT], probability=0.0001))
    site = _sites(store).iloc[0]
    assert site["posterior"] < 0.5
    assert site["level"] is None
    assert site["level"] == store.periods([site["site_id"]])["level"].iloc[-1]


def test_an_unknown_area_is_named_with_those_there_are(store: Store) -> None:
    arrival = arrival_of(0, [PIT])
    stray = Arrival(arrival.run.model_copy(update={"area": "oars"}), arrival.detections)
    with pytest.raises(ConfigError, match="ours"):
        land(store, stray)


def test_areas_that_overlap_have_sites_of_their_own(store: Store) -> None:
    bounds = outline_lonlat(GRID)
    add_named_area(store, "theirs", bounds)
    arrival = arrival_of(0, [PIT])
    land(store, arrival)
    run = arrival.run.model_copy(update={"area": "theirs", "run_id": "another"})
    land(store, Arrival(run, arrival.detections, arrival.evidence_map))
    both = _sites(store)
    assert sorted(both["area"]) == ["ours", "theirs"]
    assert both["site_id"].is_unique


def test_a_landing_that_breaks_leaves_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    _land(store, arrival_of(0, [PIT]))

    def broken(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("sluice.app.following.judging_sites.raise_alerts", broken)
    with pytest.raises(MemoryError):
        land(store, arrival_of(1, [PIT, (60, 60, 3)]))
    assert len(_sites(store)) == 1
    assert [run.run_id for run in store.runs()] == ["s2-l2a-2023-01-01"]


def test_nothing_found_is_a_result_too(store: Store) -> None:
    (landed,) = _land(store, arrival_of(0, []))
    assert landed.sites == 0
    assert "0 detections" in landed.text
    assert len(store.runs()) == 1


def test_a_confirmed_site_that_grows_together_with_an_older_one_stays_confirmed(
    store: Store,
) -> None:
    left, right = (20, 20, 3), (20, 28, 3)
    planet = arrival_of(2, [right], sensor="planet-4b")
    _land(store, arrival_of(0, []), arrival_of(1, [left]), arrival_of(2, [left, right]), planet)
    young = _sites(store).sort_values("first_seen")["site_id"].iloc[-1]
    add_review(store, young, Verdict.CONFIRMED, None, who="ama")
    _land(store, arrival_of(3, [(20, 20, 11)]))
    alerts = store.alerts(SiteQuery())
    assert alerts["state"].tolist() == ["confirmed"] * len(alerts)
    assert alerts["verdict"].tolist() == ["confirmed"] * len(alerts)
    assert len(alerts)
    assert _sites(store)["verdict"].tolist() == ["confirmed"]
    assert len(store.sites(SiteQuery(verdict=(Verdict.CONFIRMED,)))) == 1


def test_legality_is_that_of_the_latest_period_whichever_lands_last(store: Store) -> None:
    old = LAYER.model_copy(update={"name": "concessions"})
    ground = outline_lonlat(GRID)
    features = gpd.GeoDataFrame(
        {"name": ["Old"], "start": [dt.date(2000, 1, 1)], "end": [QUARTERS[0][1]]},
        geometry=[ground],
        crs="EPSG:4326",
    ).assign(properties=[{}])
    store.put_layer(old, features)
    _land(store, arrival_of(1, [PIT]), arrival_of(0, [PIT]))
    assert _sites(store)["legality"].tolist() == ["expired_concession"]


def test_detections_follow_a_merge_whichever_run_brings_it_and_however_often(
    store: Store,
) -> None:
    left, right, both = (20, 20, 3), (20, 28, 3), (20, 20, 11)
    _land(store, arrival_of(0, [left, right]), arrival_of(1, [both]), arrival_of(1, [both]))
    (site_id,) = _sites(store).index
    detections = store.detections(SiteQuery())
    assert detections["site_id"].tolist() == [site_id] * 3
    # Another run of the first quarter takes the place of the one that saw two.
    _land(store, arrival_of(0, [left], tag="-b"), arrival_of(2, [right]))
    detections = store.detections(SiteQuery())
    assert sorted(detections["run_id"]) == [
        "s2-l2a-2023-01-01-b",
        "s2-l2a-2023-04-01",
        "s2-l2a-2023-07-01",
    ]
    assert set(detections["site_id"]) == {site_id}
