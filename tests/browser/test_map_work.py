"""What people do on the map by drawing, in a real browser over a real service and its worker."""

import contextlib
import json
from functools import partial
from pathlib import Path

import geopandas as gpd
import numpy as np
import orjson
import pytest
import shapely
from typer.testing import CliRunner

from analysis_cases import Place
from scanned import outline
from sluice.app.cli.main import app
from sluice.app.following.stores import open_store
from sluice.app.web.answers import geojson_of
from sluice.base.errors import NoValidData
from sluice.base.store import SiteQuery

pytestmark = pytest.mark.slow
PHONE = {"width": 390, "height": 844, "mobile": True}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def serve_options(place: Place, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    out = tmp_path_factory.mktemp("jobs")
    return [
        *("--source", place.source, "--model", place.model, "--jobs-out", str(out)),
        *("--largest-area", "80"),
    ]


@pytest.fixture
def browse(browse):
    """In the area that was there first, whatever was analysed before."""
    return partial(browse, hash="#area=ours")


def exported(store: str, folder: Path) -> gpd.GeoDataFrame:
    """What `sluice labels export-reviews` writes."""
    out = folder / "labels.gpkg"
    words = ["labels", "export-reviews", "--store", store, "--out", str(out)]
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return gpd.read_file(out, layer="labels")


def test_what_is_drawn_is_analysed_and_its_sites_appear(browse, place) -> None:
    assert browse("analyse", box=list(place.shape.bounds))["sites"] > 0


def test_an_outline_in_a_file_is_an_area_to_analyse(browse, place) -> None:
    geometry = json.loads(shapely.to_geojson(place.shape))
    feature = {"type": "Feature", "properties": {}, "geometry": geometry}
    collection = {"type": "FeatureCollection", "features": [feature]}
    browse("outlineOfFile", outline=json.dumps(collection))


def test_limits_are_told_before_and_failures_in_plain_words(browse, place) -> None:
    why = browse("analyseLimits", box=list(place.shape.bounds))["why"]
    assert why


def test_an_analysis_is_cancelled(browse, place) -> None:
    browse("analyseCancel", box=list(place.shape.bounds))


def test_a_redrawn_outline_is_the_label(browse, store, tmp_path) -> None:
    found = browse("redraw")
    labels = exported(store, tmp_path)
    own = labels[(labels["site_id"] == found["site"]) & (labels["class"] == "mine")]
    (label,) = shapely.get_parts(own.geometry.to_numpy())
    kept = shapely.from_geojson(json.dumps(found["drawn"]))
    assert label.equals_exact(kept, 2e-6, normalize=True)
    # To the decimals that the map sends.
    assert label.equals_exact(shapely.Polygon(found["ring"]), 2e-6, normalize=True)


def test_an_outline_of_pixels_is_saved_untouched(browse, store) -> None:
    with open_store(store) as held:
        site = held.sites(SiteQuery(area="ours")).iloc[-1]
    # A ring of pixels with one in its hole, and one that touches its corner.
    cells = np.zeros((7, 7), bool)
    cells[1:6, 1:6] = True
    cells[2:5, 2:5] = False
    cells[3, 3] = cells[0, 0] = True
    scanned = outline(cells, pixel=9e-5, noise=0, seed=3)
    here = shapely.Point(site["lon"], site["lat"])
    put = shapely.affinity.translate(
        scanned, here.x - scanned.centroid.x, here.y - scanned.centroid.y
    )
    told = json.loads(orjson.dumps(geojson_of([put])[0]))
    found = browse("redrawUntouched", site=site["site_id"], outline=told)
    drawn = shapely.from_geojson(json.dumps(found["drawn"]))
    parts = shapely.get_parts(shapely.from_geojson(json.dumps(told)))
    filled = shapely.union_all([shapely.Polygon(part.exterior) for part in parts])
    assert len(parts) > len(shapely.get_parts(drawn))
    assert drawn.symmetric_difference(filled).area < 1e-15


def test_a_mine_is_reported_by_keyboard_and_exported(browse, store, tmp_path) -> None:
    report = browse("reportByKeyboard")["report"]
    labels = exported(store, tmp_path)
    (label,) = labels[labels["source"] == "report"].itertuples()
    assert (label[labels.columns.get_loc("class") + 1], label.negative) == ("mine", False)
    drawn = shapely.from_geojson(json.dumps(report["geometry"]))
    (ring,) = shapely.get_parts(label.geometry)
    assert ring.equals_exact(drawn, 2e-6, normalize=True)
    browse("takeBack")
    # Where nobody has judged a site yet, nothing is left to export.
    with contextlib.suppress(NoValidData):
        assert not (exported(store, tmp_path)["source"] == "report").any()


def test_all_reports_are_shown_however_many(browse) -> None:
    browse("manyReports")


def test_each_role_is_offered_what_it_may_do(browse) -> None:
    offered = browse("roles")
    told = {role: list(there.values()) for role, there in offered.items()}
    assert told == {
        "viewer": [False, False, False],
        "reviewer": [True, False, True],
        "analyst": [True, True, True],
    }


def test_work_fits_a_phone(browse, place) -> None:
    # At its full scale: at a coarse one Chromium does not leave the map blank beside a panel.
    browse("workOnPhone", box=list(place.shape.bounds), scale=1, **PHONE)
