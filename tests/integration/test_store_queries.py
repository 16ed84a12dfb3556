"""Sites, alerts and detections by box and filters, against the slow way."""

import datetime as dt
from dataclasses import replace

import geopandas as gpd
import pandas as pd
import pytest
import shapely
from proof.store_rows import land_rows, make_rows

from sluice.base.errors import ConfigError
from sluice.base.places import Level, Status, Verdict
from sluice.base.store import SiteQuery
from stores import StorePlaces, a_review, a_site, ids, open_with_area, plain


def test_shapes_at_180_degrees_are_found_from_both_sides_only_there(store):
    over = shapely.MultiPolygon([shapely.box(179, -1, 180, 1), shapely.box(-180, -1, -179.5, 1)])
    rows = [a_site("s-over"), a_site("s-world"), a_site("s-plain")]
    shapes = [over, shapely.box(-180, -1, 180, 1), shapely.box(10, -1, 11, 1)]
    with store.landing("ashanti") as landing:
        landing.put_sites(gpd.GeoDataFrame(rows, geometry=shapes, crs="EPSG:4326"))

    def found(*bbox: float) -> set[str]:
        assert len(store.sites(SiteQuery(bbox_lonlat=bbox, limit=9))) == store.count_sites(
            SiteQuery(bbox_lonlat=bbox)
        )
        return set(ids(store.sites(SiteQuery(bbox_lonlat=bbox)))) - {"s-world"}

    assert found(178, -2, 179.2, 2) == {"s-over"}
    assert found(-179.6, 0, -170, 2) == {"s-over"}
    assert found(-170, -2, 178, 2) == {"s-plain"}
    assert found(179.9, -2, -179.9, 2) == {"s-over"}
    assert found(10.5, -2, 10.2, 2) == {"s-over", "s-plain"}
    assert found(178, 2, 179.5, 3) == set()


@pytest.mark.parametrize("box", [(0, 5, 1, 4), (0, 0, 181, 1), (float("nan"), 0, 1, 1)])
def test_boxes_that_are_none_are_refused(store, box):
    for ask in (store.sites, store.count_sites, store.detections, store.alerts):
        with pytest.raises(ConfigError, match="the box"):
            ask(SiteQuery(bbox_lonlat=box))


def test_detections_are_not_asked_for_by_what_only_sites_have(store):
    with pytest.raises(ConfigError, match="by status, min_area_ha"):
        store.detections(SiteQuery(status=(Status.NEW,), min_area_ha=1.0, level=None))
    with pytest.raises(ConfigError, match="by offset"):
        store.detections(SiteQuery(limit=5, offset=5))


QUERIES = [
    SiteQuery(),
    SiteQuery(area="ashanti", limit=7),
    SiteQuery(area="nowhere"),
    SiteQuery(bbox_lonlat=(-1, 5, 1, 8)),
    SiteQuery(bbox_lonlat=(-1, 5, 1, 8), limit=5, offset=3),
    SiteQuery(bbox_lonlat=(1, 5, -1, 8), status=(Status.NEW, Status.GROWING), limit=10),
    SiteQuery(level=(Level.HIGH, Level.HIGHEST), min_area_ha=4.0),
    SiteQuery(level=()),
    SiteQuery(legality=("protected",), min_priority=40.0, limit=3),
    SiteQuery(verdict=(Verdict.CONFIRMED, Verdict.UNSURE)),
    SiteQuery(seen_since=dt.date(2020, 3, 31), limit=2, offset=300),
    SiteQuery(seen_since=dt.date(2020, 4, 1)),
    SiteQuery(site_ids=("s-ashanti-0000001", "s-ashanti-0000399", "nix"), limit=5),
    SiteQuery(with_past=True, min_priority=90.0),
    SiteQuery(site_ids=()),
]


@pytest.fixture(scope="module", params=["sqlite", "postgis"])
def many(request):
    """400 sites, some of them past, some reviewed; and the same as one table."""
    places: StorePlaces = request.getfixturevalue(f"{request.param}_places")
    rows = make_rows("ashanti", 0, 400)
    rows.sites.loc[::9, "current"] = False
    # Some priorities are the same, so that ids decide.
    rows.sites.loc[:100, "priority"] = 95.0
    with open_with_area(places.empty()) as store:
        land_rows(store, rows)
        for n, verdict in enumerate([*Verdict] * 5):
            store.add_review(a_review(f"r{n}", f"s-ashanti-{n * 3:07d}", verdict=verdict))
        yield store, rows


def plainly(table: pd.DataFrame, query: SiteQuery, *, seen: str = "last_seen") -> pd.DataFrame:
    """The slow way."""
    keep = table["site_id"].notna()
    if not query.with_past:
        keep &= table["current"]
    for name in ("status", "level", "verdict", "legality"):
        if getattr(query, name) is not None:
            keep &= table[name].isin([str(v) for v in getattr(query, name)])
    if query.site_ids is not None:
        keep &= table["site_id"].isin(query.site_ids)
    if query.area is not None:
        keep &= table["area"] == query.area
    if query.min_area_ha is not None:
        keep &= table["area_ha"] >= query.min_area_ha
    if query.min_priority is not None:
        keep &= table["priority"] >= query.min_priority
    if query.seen_since is not None:
        keep &= table[seen] >= query.seen_since
    if query.bbox_lonlat is not None:
        west, south, east, north = query.bbox_lonlat
        sides = table[["w", "s", "e", "n"]].to_numpy().T
        by_lon = (sides[0] <= east) & (sides[2] >= west)
        if west > east:
            by_lon = (sides[0] <= east) | (sides[2] >= west)
        keep &= by_lon & (sides[1] <= north) & (sides[3] >= south)
    found = table[keep]
    key = "alert_id" if "alert_id" in table else "site_id"
    found = found.sort_values(["priority", key], ascending=[False, True])
    end = None if query.limit is None else query.offset + query.limit
    return found.iloc[query.offset : end]


def known_table(rows) -> pd.DataFrame:
    verdicts = {f"s-ashanti-{n * 3:07d}": str(v) for n, v in enumerate([*Verdict] * 5)}
    table = pd.DataFrame(rows.sites.drop(columns="geometry"))
    sides = rows.sites.geometry.bounds.set_axis(["w", "s", "e", "n"], axis=1)
    return table.assign(verdict=table["site_id"].map(verdicts)).join(sides)


@pytest.mark.parametrize("query", QUERIES, ids=str)
@pytest.mark.parametrize("few", [0, 10_000])
def test_sites_are_those_that_the_slow_way_finds(many, query, few, monkeypatch):
    monkeypatch.setattr("sluice.store.queries._FEW_SITES", few)
    store, rows = many
    expected = plainly(known_table(rows), query)
    found = store.sites(query)
    assert ids(found) == ids(expected)
    assert len(found) or query in {QUERIES[2], QUERIES[7], QUERIES[11], QUERIES[14]}
    everything = SiteQuery(**{**vars(query), "limit": None, "offset": 0})
    assert store.count_sites(query) == len(plainly(known_table(rows), everything))


@pytest.mark.parametrize("query", QUERIES, ids=str)
def test_alerts_are_those_that_the_slow_way_finds(many, query):
    store, rows = many
    of_sites = known_table(rows).set_index("site_id")
    table = rows.alerts.join(
        of_sites[["status", "verdict", "legality", "current", "area_ha"]], on="site_id"
    ).assign(w=rows.alerts["lon"], e=rows.alerts["lon"], s=rows.alerts["lat"], n=rows.alerts["lat"])
    found = store.alerts(query)
    expected = plainly(table, query, seen="raised")
    assert ids(found, "alert_id") == ids(expected, "alert_id")
    assert found["verdict"].tolist() == plain(expected["verdict"])


@pytest.mark.parametrize("limit", [None, 20, 1000])
@pytest.mark.parametrize("box", [None, (-1, 5, 1, 8), (0.5, 5, -1, 11)])
@pytest.mark.parametrize("area", [None, "ashanti", "nowhere"])
def test_detections_are_those_that_the_slow_way_finds(many, limit, box, area):
    store, rows = many
    bounds = rows.detections.geometry.bounds
    table = rows.detections.assign(
        w=bounds.minx, s=bounds.miny, e=bounds.maxx, n=bounds.maxy, area="ashanti", current=True
    ).assign(priority=0)
    query = SiteQuery(area=area, bbox_lonlat=box, limit=limit)
    expected = set(ids(plainly(table, replace(query, limit=None)), "detection_id"))
    found = ids(store.detections(query), "detection_id")
    assert set(found) <= expected
    assert len(found) == len(set(found)) == min(len(expected), limit or len(expected))
