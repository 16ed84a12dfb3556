"""What a store gives back is what was put, of either kind."""

import contextlib
import datetime as dt

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from proof.store_rows import land_rows, make_rows

from sluice.base.errors import ConfigError, Conflict, DataError, StoreError
from sluice.base.places import (
    Alert,
    Area,
    Label,
    Layer,
    Look,
    Reason,
    Site,
    SitePeriod,
    Verdict,
    columns_of,
)
from sluice.base.records import Detection
from sluice.base.store import SiteQuery
from stores import (
    AREA_SHAPE,
    NOW,
    a_review,
    a_run,
    detections,
    ids,
    land_three,
    open_with_area,
    plain,
    sites,
)


def test_an_area_is_added_once(store):
    turned = shapely.Polygon(list(AREA_SHAPE.exterior.coords)[::-1])
    store.add_area(Area(name="ashanti", created=NOW), turned)
    with pytest.raises(ConfigError, match="another outline"):
        store.add_area(Area(name="ashanti", created=NOW), shapely.box(0, 0, 1, 1))
    found = store.areas()
    assert found.crs == "EPSG:4326"
    assert found.loc[0, "created"] == NOW
    assert found.geometry[0].equals(AREA_SHAPE)
    with pytest.raises(ConfigError, match="which has ashanti"), store.landing("volta"):
        pass


def test_what_lands_is_read_back(store):
    land_three(store)
    found = store.sites(SiteQuery())
    expected = sites()
    assert list(found.columns) == [*columns_of(Site), "verdict", "reviewers", "geometry"]
    for name in columns_of(Site):
        assert plain(found[name]) == plain(expected[name]), name
    assert found.geometry.geom_equals_exact(expected.geometry, 0).all()
    assert found["area_low_ha"].isna().all()
    assert found["level"].tolist() == [None] * 3
    assert found["verdict"].tolist() == [None] * 3
    assert found["reviewers"].tolist() == [0] * 3

    seen = store.detections(SiteQuery())
    assert list(seen.columns) == [
        *columns_of(Detection),
        "run_id",
        "site_id",
        "context",
        "geometry",
    ]
    assert seen["context"].tolist() == [{}] * 3
    assert ids(seen) == ["s-0", "s-1", "s-2"]


def test_a_landing_sees_what_it_put(store):
    with store.landing("ashanti") as landing:
        assert landing.runs() == []
        assert landing.sites().empty
        landing.put_run(a_run(), b"tif")
        landing.put_sites(sites())
        landing.put_detections(detections("run-1", ["d0", "d1"]))
        assert [run.run_id for run in landing.runs()] == ["run-1"]
        assert landing.evidence_map("run-1") == b"tif"
        assert landing.evidence_map("other") is None
        assert ids(landing.sites()) == ["s-0", "s-1", "s-2"]
        assert ids(landing.detections(), "detection_id") == ["d0", "d1"]
        # Others see the state before.
        assert store.runs() == []
        assert store.count_sites(SiteQuery()) == 0
    assert store.count_sites(SiteQuery()) == 3
    with pytest.raises(StoreError, match="over"):
        landing.runs()


def test_an_exception_undoes_all(store):
    land_three(store)

    def land_and_fail() -> None:
        with store.landing("ashanti") as landing:
            landing.put_run(a_run("run-2"), None)
            landing.put_sites(sites(5, priority=1.0))
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        land_and_fail()
    assert [run.run_id for run in store.runs(with_past=True)] == ["run-1"]
    assert store.sites(SiteQuery())["priority"].tolist() == [50.0, 49.0, 48.0]


def test_a_failed_step_that_is_passed_over_lands_nothing(store):
    def land_on() -> None:
        with store.landing("ashanti") as landing:
            landing.put_run(a_run(), None)
            with contextlib.suppress(DataError):
                landing.put_sites(sites().drop(columns="status"))

    with pytest.raises(StoreError, match="nothing of it is written"):
        land_on()
    assert store.runs() == []


def test_a_run_takes_the_place_of_the_one_of_its_period(store):
    land_three(store)
    land_three(store, "run-2")
    land_three(store, "run-3", sensor="sentinel-1")
    land_three(store, "run-4", start=dt.date(2023, 10, 1), end=dt.date(2023, 12, 31))
    assert [r.run_id for r in store.runs("ashanti")] == ["run-4", "run-3", "run-2"]
    all_runs = {r.run_id: r.current for r in store.runs(with_past=True)}
    assert all_runs == {"run-1": False, "run-2": True, "run-3": True, "run-4": True}
    assert set(store.detections(SiteQuery())["run_id"]) == {"run-2", "run-3", "run-4"}
    assert len(store.detections(SiteQuery(), with_past=True)) == 12
    with store.landing("ashanti") as landing:
        assert landing.evidence_map("run-1") == b"map of run-1"
        assert len(landing.detections()) == 9


def test_a_run_lands_again(store):
    land_three(store)
    store.add_review(a_review("r1"))
    with store.landing("ashanti") as landing:
        landing.put_run(a_run(model="better"), b"new")
        landing.put_sites(sites(2, priority=99.0))
        landing.put_detections(detections("run-1", ["d0"]))
    assert store.run("run-1").model == "better"
    assert ids(store.detections(SiteQuery()), "detection_id") == ["d0"]
    found = store.sites(SiteQuery(site_ids=("s-0",)))
    assert (found.loc[0, "priority"], found.loc[0, "verdict"]) == (99.0, "confirmed")
    assert [r.review_id for r in store.reviews()] == ["r1"]


def test_a_run_tells_its_record_and_its_scenes(store):
    record = {
        "scenes": [
            {"id": "S2B", "href": "b.tif", "acquired": "2024-02-09", "cloud_cover": 12.5},
            {"id": "S2A", "href": "a.tif", "acquired": "2024-01-05", "bands": ["red"]},
            {"href": "no id"},
        ],
        "summary": {"mines": np.int64(3), "share": float("nan")},
    }
    land_three(store, record=record)
    expected = record | {"summary": {"mines": 3, "share": None}}
    assert store.run("run-1").record == expected
    assert store.runs()[0].record == {}
    scenes = store.scenes(["run-1"])
    assert scenes["scene_id"].tolist() == ["S2A", "S2B"]
    assert scenes["acquired"].tolist() == [dt.date(2024, 1, 5), dt.date(2024, 2, 9)]
    assert scenes["cloud_cover"].isna().tolist() == [True, False]
    with pytest.raises(ConfigError, match="run nix"):
        store.run("nix")


def test_looks_periods_and_alerts(store):
    rows = make_rows("ashanti", 0, 40)
    later = make_rows("ashanti", 1, 40)
    land_rows(store, rows, steps=3)
    land_rows(store, later, steps=3)
    chosen = ["s-ashanti-0000003", "s-ashanti-0000008"]
    looks = store.looks(chosen)
    assert list(looks.columns) == columns_of(Look)
    assert looks["run_id"].tolist() == ["ashanti-000"] * 2 + ["ashanti-001"] * 2
    expected = later.looks.set_index("site_id").loc[chosen, "log_lr"].tolist()
    assert looks["log_lr"].tolist()[2:] == expected
    periods = store.periods(chosen)
    assert list(periods.columns) == columns_of(SitePeriod)
    assert periods["start"].tolist() == [dt.date(2020, 1, 1)] * 2 + [dt.date(2020, 4, 1)] * 2
    alerts = store.alerts(SiteQuery())
    assert list(alerts.columns) == [*columns_of(Alert), "verdict"]
    assert len(alerts) == 10
    assert alerts["priority"].is_monotonic_decreasing
    assert alerts.loc[0, "reasons"] == ["two dates agree"]
    with store.landing("ashanti") as landing:
        landing.put_alerts(chosen, alerts[alerts["site_id"] == "nobody"])
        landing.put_periods(chosen, periods.iloc[:1])
        assert len(landing.alerts()) == 9
        assert len(landing.looks()) == 80
    assert len(store.periods(chosen)) == 1
    with pytest.raises(DataError, match="not among the sites"), store.landing("ashanti") as landing:
        landing.put_periods(["s-ashanti-0000001"], periods)


def test_looks_of_runs_that_were_replaced_are_past(store):
    land_rows(store, make_rows("ashanti", 0, 5))
    with store.landing("ashanti") as landing:
        landing.put_run(a_run(start=dt.date(2020, 1, 1), end=dt.date(2020, 3, 31)), None)
        assert landing.looks().empty
    assert store.looks(["s-ashanti-0000001"]).empty


def test_reviews_are_added_and_tell_their_sites(store):
    land_three(store)
    hour = dt.timedelta(hours=1)
    first = a_review("r1", who="Kofi", verdict=Verdict.REJECTED, reason=Reason.SANDBAR)
    store.add_review(first)
    store.add_review(a_review("r2", when=NOW + hour, note="visité — ɛyɛ"))
    store.add_review(a_review("r3", who="Yaw", when=NOW + 2 * hour))
    # Written down later than it was said: the last word is still the last one.
    store.add_review(a_review("r4", who="Esi", when=NOW - hour, verdict=Verdict.UNSURE))
    found = store.sites(SiteQuery(site_ids=("s-0",)))
    assert found.loc[0, ["verdict", "reviewers"]].tolist() == ["confirmed", 2]
    store.add_review(a_review("r5", who="Kofi", when=NOW + 3 * hour))
    found = store.sites(SiteQuery(verdict=(Verdict.CONFIRMED,)))
    assert ids(found) == ["s-0"]
    assert found.loc[0, "reviewers"] == 3
    assert [r.review_id for r in store.reviews(["s-0"])] == ["r4", "r1", "r2", "r3", "r5"]
    assert store.reviews()[1] == first
    assert store.reviews(["s-1"]) == []
    with pytest.raises(ConfigError, match="s-9"):
        store.add_review(a_review("r6", "s-9"))


def test_a_review_that_is_sent_twice_counts_once(store):
    land_three(store)
    zone = dt.timezone(dt.timedelta(hours=2))
    store.add_review(a_review("r1"))
    store.add_review(a_review("r1", when=NOW.astimezone(zone)))
    assert len(store.reviews()) == 1
    with pytest.raises(Conflict, match="never changed"):
        store.add_review(a_review("r1", verdict=Verdict.UNSURE))


def test_sites_of_two_areas_do_not_mix(places):
    with open_with_area(places.made(), "ashanti", "volta") as store:
        land_three(store)
        with (
            pytest.raises(ConfigError, match="s-0 belongs to area 'ashanti'"),
            store.landing("volta") as landing,
        ):
            landing.put_sites(sites(1, area="volta"))
        with pytest.raises(DataError, match="area 'ashanti'"), store.landing("volta") as landing:
            landing.put_sites(sites(1))
        with (
            pytest.raises(ConfigError, match="has landed in area 'ashanti'"),
            store.landing("volta") as landing,
        ):
            landing.put_run(a_run(area="volta"), None)
        with (
            pytest.raises(DataError, match="run-1, which is none of area 'volta'"),
            store.landing("volta") as landing,
        ):
            landing.put_detections(detections("run-1", ["d7"]))
        with store.landing("volta") as landing:
            assert landing.runs() == []
            assert landing.sites().empty
            assert landing.detections().empty
        assert len(store.detections(SiteQuery(area="volta"))) == 0
        assert len(store.detections(SiteQuery(area="ashanti", limit=2))) == 2


def test_context_of_detections_stays_where_none_is_given(store):
    land_three(store)
    told = [{"river_m": np.float64(12.5), "name": "Ofin"}] * 3
    with store.landing("ashanti") as landing:
        landing.put_detections(detections("run-1", ["d0", "d1", "d2"]).assign(context=told))
    with store.landing("ashanti") as landing:
        landing.put_detections(detections("run-1", ["d0"], cells=9))
    found = store.detections(SiteQuery())
    assert found["context"].tolist() == [{"river_m": 12.5, "name": "Ofin"}] * 3
    assert found["cells"].tolist() == [9, 3, 3]


def test_rows_that_name_what_is_not_there_are_refused(store):
    def land_without_sites() -> None:
        with store.landing("ashanti") as landing:
            landing.put_run(a_run(), None)
            landing.put_detections(detections("run-1", ["d0"]))

    with pytest.raises(DataError, match="put it in the same landing"):
        land_without_sites()
    assert store.runs() == []
    # In any order, as long as all is there at the end.
    with store.landing("ashanti") as landing:
        landing.put_run(a_run(), None)
        landing.put_detections(detections("run-1", ["d0"]))
        landing.put_sites(sites())


HALF_A_PAIR = pd.Series(["\ud800"] * 3, dtype=object)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.drop(columns=["status", "level"]), "no column status, level"),
        (lambda s: pd.concat([s, s]), "more than once"),
        (lambda s: s.assign(priority=np.nan), "priority is absent in row 0"),
        (lambda s: s.assign(site_id=["a", None, "c"]), "site_id is absent in row 1"),
        (lambda s: s.assign(first_seen="2024-01-01"), "first_seen does not fit"),
        (lambda s: s.assign(status_rule="a\x00b"), "status_rule does not fit"),
        (
            lambda s: s.assign(legality_why=pd.Series(["\ud800"] * 3, dtype=object)),
            "legality_why does not fit",
        ),
        (lambda s: s.to_crs(32630), "bring them to EPSG:4326"),
        (lambda s: s.to_crs(32630).set_crs(4326, allow_override=True), "not in degrees"),
        (lambda s: s.set_geometry([None, *s.geometry[1:]], crs=4326), "row 0 has no shape"),
        (lambda s: s.set_geometry([shapely.Polygon()] * 3, crs=4326), "row 0 has no shape"),
        (lambda s: s.assign(context=[{"a": object()}] * 3), "context does not fit"),
    ],
)
def test_sites_that_do_not_fit_are_refused(store, change, said):
    with pytest.raises(DataError, match=said), store.landing("ashanti") as landing:
        landing.put_sites(change(sites()))
    assert store.count_sites(SiteQuery()) == 0


def test_labels(store):
    rows = [
        Label(
            label_id=f"l{n}",
            area=area,
            class_name="mine",
            start=None,
            end=dt.date(2024, 1, 1),
            source="review",
            who="Ama",
            when=NOW + dt.timedelta(hours=-n),
        ).model_dump()
        for n, area in enumerate(["ashanti", "volta"])
    ]
    store.add_labels(
        gpd.GeoDataFrame(rows, geometry=[AREA_SHAPE, shapely.Point(1, 2)], crs="EPSG:4326")
    )
    found = store.labels()
    assert found["label_id"].tolist() == ["l1", "l0"]
    assert found["start"].tolist() == [None, None]
    assert found.geometry[0] == shapely.Point(1, 2)
    assert store.labels("ashanti")["label_id"].tolist() == ["l0"]


def a_layer(name: str, features: int) -> Layer:
    return Layer(
        name=name,
        kind="roads",
        buffer_m=30,
        source="roads.gpkg",
        sha256="00",
        features=features,
        registered=NOW,
    )


def test_layers(store):
    crossing = shapely.box(0, 0, 1, 1)
    features = gpd.GeoDataFrame(
        {
            "name": ["N6", None],
            "start": [dt.date(2020, 1, 1), None],
            "end": None,
            "properties": [{"lanes": 2, "naïve": "ño"}, {}],
        },
        geometry=[shapely.LineString([(0, 0), (1, 1)]), shapely.LineString([(5, 5), (6, 6)])],
        crs="EPSG:4326",
    )
    store.put_layer(a_layer("roads", 2), features)
    store.put_layer(a_layer("empty", 0), features.iloc[:0])
    assert [layer.name for layer in store.layers()] == ["empty", "roads"]
    assert store.layers()[1] == a_layer("roads", 2)
    found = store.layer_features("roads")
    assert list(found.columns) == ["name", "start", "end", "properties", "geometry"]
    assert found["name"].tolist() == ["N6", None]
    assert found["properties"].tolist() == [{"lanes": 2, "naïve": "ño"}, {}]
    assert len(store.layer_features("roads", crossing.bounds)) == 1
    assert store.layer_features("empty").crs == "EPSG:4326"
    store.put_layer(a_layer("roads", 1), features.iloc[1:])
    assert store.layer_features("roads", crossing.bounds).empty
    store.remove_layer("roads")
    with pytest.raises(ConfigError, match="which has empty"):
        store.layer_features("roads")
    with pytest.raises(ConfigError, match="which has empty"):
        store.remove_layer("roads")


def test_empty_answers_have_their_columns(store):
    assert store.runs() == []
    for frame, numbers in (
        (store.sites(SiteQuery()), ["priority", "area_ha"]),
        (store.detections(SiteQuery()), ["footprint_ha"]),
        (store.alerts(SiteQuery()), ["posterior"]),
        (store.looks([]), ["log_lr"]),
        (store.periods(["s"]), ["area_ha"]),
    ):
        assert frame.empty
        assert all(frame[name].dtype == float for name in numbers)
        if "geometry" in frame:
            assert frame.crs == "EPSG:4326"
