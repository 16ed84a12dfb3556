"""Whatever fits into a table comes out of a store as it went in."""

import contextlib
import datetime as dt
import math

import geopandas as gpd
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sluice.base.places import Site, columns_of
from sluice.store.frames import boxes_of
from stores import a_run, a_site, detections, open_with_area

# Halves of surrogate pairs and NUL are refused: see `test_store_contents`.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
NUMBER = st.floats(allow_nan=False)
MAYBE = st.none() | st.just(math.nan) | NUMBER
DATE = st.dates()
JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
    | st.integers(-(2**53), 2**53),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
LON, LAT = st.floats(-179, 179), st.floats(-89, 89)


@st.composite
def shapes(draw):
    """Points, boxes, and boxes cut at 180 degrees."""
    lon, lat = draw(LON), draw(LAT)
    kind = draw(st.sampled_from(["point", "box", "cut", "tall"]))
    if kind == "point":
        return shapely.Point(lon, lat)
    if kind == "box":
        return shapely.box(lon, lat, lon + 0.5, lat + 0.5)
    if kind == "tall":
        return shapely.Polygon([(lon, lat, 5), (lon + 1, lat, 6), (lon, lat + 1, 7)])
    parts = [shapely.box(170, lat, 180, lat + 1), shapely.box(-180, lat, -175, lat + 1)]
    return shapely.MultiPolygon(parts)


@st.composite
def site_rows(draw):
    texts = {name: draw(TEXT) for name in ("status_rule", "legality_why")}
    numbers = {name: draw(MAYBE) for name in ("area_ha", "area_low_ha", "area_high_ha")}
    dates = {name: draw(DATE) for name in ("first_seen", "last_seen", "last_observed")}
    return a_site(
        draw(TEXT.filter(bool)),
        level=draw(st.none() | st.sampled_from(["low", "high", "highest"])),
        merged_into=draw(st.none() | TEXT),
        known_before=draw(st.booleans()),
        current=draw(st.booleans()),
        context=draw(st.dictionaries(TEXT, JSON, max_size=4)),
        priority=draw(NUMBER),
        **texts,
        **numbers,
        **dates,
    )


TABLE = st.lists(st.tuples(site_rows(), shapes()), max_size=5, unique_by=lambda r: r[0]["site_id"])


def plain(value):
    return None if isinstance(value, float) and math.isnan(value) else value


class Undone(Exception):
    """Ends a landing of which nothing is to stay."""


@pytest.fixture(scope="module", params=["sqlite", "postgis"])
def store(request):
    places = request.getfixturevalue(f"{request.param}_places")
    with open_with_area(places.empty()) as opened:
        yield opened


QUICK = settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@QUICK
@given(TABLE)
def test_sites(store, rows):
    table = gpd.GeoDataFrame(
        [row for row, _ in rows],
        columns=columns_of(Site),
        geometry=[shape for _, shape in rows],
        crs="EPSG:4326",
    )
    with contextlib.suppress(Undone), store.landing("ashanti") as landing:
        landing.put_sites(table)
        found = landing.sites().set_index("site_id")
        raise Undone
    assert sorted(found.index) == sorted(row["site_id"] for row, _ in rows)
    for row, shape in rows:
        out = found.loc[row["site_id"]]
        for name in columns_of(Site)[1:]:
            assert plain(out[name]) == plain(row[name]), name
        assert out.geometry.equals_exact(shapely.force_2d(shape), 0)


@QUICK
@given(st.lists(st.tuples(shapes(), MAYBE, st.dictionaries(TEXT, JSON, max_size=2)), max_size=4))
def test_detections(store, rows):
    run = a_run()
    table = detections("run-1", [f"d{9 - n}" for n in range(len(rows))], site_id=None)
    with contextlib.suppress(Undone), store.landing("ashanti") as landing:
        landing.put_run(run, None)
        if rows:
            table["probability_mean"] = [number for _, number, _ in rows]
            table["context"] = [context for *_, context in rows]
            table = table.set_geometry([shape for shape, *_ in rows], crs="EPSG:4326")
            landing.put_detections(table)
            # Again: what is there is replaced.
            landing.put_detections(table.iloc[::-1])
        found = landing.detections()
        raise Undone
    found = found.sort_values("detection_id", ascending=False)
    assert found["detection_id"].tolist() == [f"d{9 - n}" for n in range(len(rows))]
    assert found["context"].tolist() == [context for *_, context in rows]
    for back, (_, number, _) in zip(found["probability_mean"], rows, strict=True):
        absent = number is None or math.isnan(number)
        assert math.isnan(back) if absent else back == number
    assert all(value is None for value in found["site_id"])


@given(LAT, st.floats(1, 170), st.floats(1, 170))
def test_a_shape_cut_at_180_degrees_has_a_narrow_box(lat, east, west):
    cut = shapely.MultiPolygon(
        [shapely.box(180 - east, lat, 180, lat + 1), shapely.box(-180, lat, west - 180, lat + 1)]
    )
    belt = shapely.box(-180, lat, 180, lat + 1)
    plain = shapely.box(-10, lat, 10, lat + 1)
    found = boxes_of([cut, belt, plain])
    assert found[0].tolist() == [180 - east, lat, west - 180, lat + 1]
    assert found[1].tolist() == [-180, lat, 180, lat + 1]
    assert found[2].tolist() == [-10, lat, 10, lat + 1]


def test_a_moment_without_a_zone_is_in_utc(store):
    naive = dt.datetime(2024, 5, 1, 12, 0)
    with contextlib.suppress(Undone), store.landing("ashanti") as landing:
        landing.put_run(a_run(landed=naive), None)
        (found,) = landing.runs()
        raise Undone
    assert found.landed == naive.replace(tzinfo=dt.UTC)
