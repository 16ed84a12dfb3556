"""What a run says about itself, in numbers and in words."""

import datetime as dt
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyproj
import pytest
import rasterio
import shapely
from odc.geo.geobox import GeoBox

from sluice.app.products.coverage import Coverage, measure_coverage
from sluice.app.products.summary import (
    Summary,
    percent,
    prior_in_words,
    summarise,
    summary_text,
)
from sluice.base.records import Run, Scene
from sluice.models.package import load_package

GRID = GeoBox((400, 640), rasterio.Affine(10, 0, 500_000, 0, -10, 100_000), "EPSG:32630")


def write_scores(path: Path, scores: np.ndarray) -> Path:
    with rasterio.open(
        path, "w", driver="GTiff", dtype="float32", count=1, height=50, width=80, tiled=True,
        blockxsize=16, blockysize=16, crs="EPSG:32630", nodata=np.nan,
        transform=rasterio.Affine(80, 0, 500_000, 0, -80, 100_000),
    ) as out:  # fmt: skip
        out.write(scores, 1)
    return path


def to_lonlat(shape: shapely.Geometry) -> shapely.Geometry:
    return gpd.GeoSeries([shape], crs="EPSG:32630").to_crs("EPSG:4326").iloc[0]


def test_coverage_counts_what_has_no_score(tmp_path: Path) -> None:
    scores = np.zeros((50, 80), dtype=np.float32)  # a score of 0 is a score
    scores[:, 60:] = np.nan
    found = measure_coverage(write_scores(tmp_path / "s.tif", scores), GRID)
    # On the central meridian the projection shrinks lengths to 0.9996.
    assert found.area_ha == pytest.approx(400 * 640 / 100 / 0.9996**2, rel=1e-4)
    assert found.not_observed_percent == pytest.approx(25)


def test_coverage_counts_only_the_area_asked_for(tmp_path: Path) -> None:
    scores = np.zeros((50, 80), dtype=np.float32)
    scores[:, 40:] = np.nan
    path = write_scores(tmp_path / "s.tif", scores)
    # 1,600 m wide around the limit of what was observed at x = 503,200.
    inside = measure_coverage(
        path, GRID, area=to_lonlat(shapely.box(502_400, 98_400, 504_000, 99_200))
    )
    assert inside.not_observed_percent == pytest.approx(50, abs=0.1)
    assert inside.area_ha == pytest.approx(160 * 80 / 100 / 0.9996**2, rel=1e-3)
    # Half of it beyond the image, the other half observed.
    across = to_lonlat(shapely.box(499_200, 98_400, 500_800, 99_200))
    assert measure_coverage(path, GRID, area=across).not_observed_percent == pytest.approx(
        50, abs=0.1
    )
    tiny = to_lonlat(shapely.box(500_010, 98_410, 500_012, 98_412))
    assert measure_coverage(path, GRID, area=tiny).not_observed_percent == 0
    unseen = to_lonlat(shapely.box(504_010, 98_410, 504_012, 98_412))
    assert measure_coverage(path, GRID, area=unseen).not_observed_percent == 100


def test_a_hole_counts_as_one_whichever_way_it_runs(tmp_path: Path) -> None:
    path = write_scores(tmp_path / "s.tif", np.zeros((50, 80), dtype=np.float32))
    shell = to_lonlat(shapely.box(501_000, 97_000, 504_000, 99_000)).exterior.coords
    hole = to_lonlat(shapely.box(502_000, 97_500, 503_000, 98_500)).exterior.coords
    for ring in (hole, hole[::-1]):
        coverage = measure_coverage(path, GRID, area=shapely.Polygon(shell, [ring]))
        assert coverage.area_ha == pytest.approx(500 / 0.9996**2, rel=1e-3)
        assert coverage.not_observed_percent < 1


def test_coverage_is_geodesic(tmp_path: Path) -> None:
    path = write_scores(tmp_path / "s.tif", np.zeros((50, 80), dtype=np.float32))
    outline = to_lonlat(shapely.box(*GRID.boundingbox.bbox).segmentize(50))
    truth = abs(pyproj.Geod(ellps="WGS84").geometry_area_perimeter(outline)[0]) / 1e4
    assert measure_coverage(path, GRID) == Coverage(pytest.approx(truth, rel=1e-7), 0.0)


def make_summary(**changes: object) -> Summary:
    site = {
        "detection_id": "a",
        "lat": -3.123456,
        "lon": -60.5,
        "footprint_ha": 1234.5,
        "score_peak": 0.98,
        "probability_peak": 0.0004,
        "isolated": True,
    }
    fields: dict[str, object] = {
        "sites": 6,
        "isolated_sites": 1,
        "footprint_ha": 2000.0,
        "delineated_ha": None,
        "area_ha": 50_000.0,
        "not_observed_ha": 10.0,
        "not_observed_percent": 0.02,
        "tiles": 40,
        "tiles_failed": 2,
        "images": 3,
        "undated_images": 1,
        "images_without_cloud_layer": 1,
        "first_date": dt.date(2025, 1, 5),
        "last_date": dt.date(2025, 3, 1),
        "model": "default",
        "window_m": 480,
        "smallest_site_ha": 1.0,
        "prior": 0.001,
        "largest": [{"rank": rank, **site} for rank in range(1, 6)],
        "disclaimer": "A lead, not proof.",
    }
    return Summary.model_validate(fields | changes)


def test_text_says_what_was_found_and_what_it_is_worth() -> None:
    text = summary_text(make_summary())
    for said in (
        "6 likely mine sites found, with a footprint of 2,000 ha in all.",
        "A footprint is the cells that were marked, not the mine",
        "No cloud layer for 1 of 3 images: cloud there was judged like ground.",
        "1 of them stands apart",
        "50,000 ha in 3 images, 2025-01-05 to 2025-03-01 (1 without a date).",
        "less than 0.1 % of it, 10.0 ha.",
        "2 of 40 parts of the area failed",
        "  1.   -3.12346,  -60.50000   1,234.5 ha   score 0.98   probability below 0.001",
        "if one square of 480 m in 1,000 holds a mine",
        "below 1 ha are left out",
        "A lead, not proof.",
    ):
        assert said in text
    assert max(len(line) for line in text.splitlines()) < 100


def test_outlines_of_some_sites_are_summed_and_counted() -> None:
    some = summary_text(make_summary(delineated_ha=12.5, outlined_sites=5))
    assert "The outlined workings of 5 of 6 sites have 12.5 ha." in some
    every = summary_text(make_summary(delineated_ha=12.5, outlined_sites=6))
    assert "The outlined workings have 12.5 ha." in every
    assert "larger than the footprint" not in every


def test_workings_beyond_the_footprint_are_not_said_to_lie_within() -> None:
    text = summary_text(make_summary(footprint_ha=75.6, delineated_ha=107.8, outlined_sites=6))
    assert "it takes in" not in text
    assert (
        "The outlined workings have 107.8 ha.\n"
        "They are larger than the footprint, as they may reach beyond its cells.\n" in text
    )
    alike = summary_text(make_summary(footprint_ha=75.6, delineated_ha=75.6, outlined_sites=6))
    assert "larger than the footprint" not in alike


def test_what_is_too_small_depends_on_what_is_judged() -> None:
    assert "little of a 480 m square" in summary_text(make_summary(window_m=480.0))
    assert "hardly wider than a pixel of 10 m" in summary_text(make_summary(window_m=10.0))


def test_text_without_a_site_claims_nothing() -> None:
    none = {"sites": 0, "isolated_sites": 0, "footprint_ha": 0.0, "largest": []}
    text = summary_text(make_summary(**none))
    assert text.startswith("No likely mine site found.")
    assert "no proof that there is no mine" in text
    assert "probability" not in text
    blind = make_summary(**none, not_observed_percent=100.0, not_observed_ha=50_000.0)
    assert summary_text(blind).startswith("Nothing could be observed")


def test_text_without_calibration_speaks_of_no_probability() -> None:
    sites = [{**make_summary().largest[0].model_dump(), "probability_peak": None}]
    text = summary_text(make_summary(sites=1, isolated_sites=0, largest=sites, prior=None))
    assert "robability" not in text
    assert "1 likely mine site found" in text


@pytest.mark.parametrize(
    ("prior", "words"),
    [
        (0.001, "if one square of 480 m in 1,000 holds a mine"),
        (0.02, "if one square of 480 m in 50 holds a mine"),
        (0.22, "if 22 in 100 squares of 480 m hold a mine"),
        (0.999, "if 99.9 in 100 squares of 480 m hold a mine"),
    ],
)
def test_prior_in_words(prior: float, words: str) -> None:
    assert prior_in_words(prior, 480) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [(0, "0 %"), (0.04, "less than 0.1 %"), (5.25, "5.2 %"), (99.96, "more than 99.9 %")],
)
def test_percent_rounds_neither_to_nothing_nor_to_all(value: float, words: str) -> None:
    assert percent(value) == words


def test_text_says_what_imagery_of_unknown_level_was_taken_as() -> None:
    assert "level unknown" not in summary_text(make_summary())
    text = summary_text(make_summary(assumed_level="s2-l1c"))
    assert (
        "Imagery level unknown: read as top-of-atmosphere (L1C);\n"
        "for surface reflectance name it with --sensor: s2-l2a, planet-4b" in text
    )
    assert max(len(line) for line in text.splitlines()) < 100


L1C, L2A = {"sensor": "s2-l1c", "adapt": {}}, {"sensor": "s2-l2a", "adapt": {"red": {"gain": 0.9}}}


@pytest.mark.parametrize(
    ("sensors", "levels", "assumed"),
    [
        ((None,), [L1C, L2A], "s2-l1c"),
        (("s2-l2a", None), [L1C, L2A], "s2-l1c"),
        (("s2-l2a",), [L1C, L2A], None),
        ((None,), [L1C], None),  # taken alike, whatever it is
    ],
)
def test_a_level_is_assumed_only_where_it_matters(sensors, levels, assumed) -> None:
    assert summary_of_run(sensors, levels).assumed_level == assumed


def summary_of_run(sensors, levels) -> Summary:
    """Of a run without a site, over a scene of each sensor."""
    now = dt.datetime(2025, 1, 1, tzinfo=dt.UTC)
    run = Run(
        run_id="r", sluice_version="0", started=now, finished=now, status="complete",
        scenes=tuple(Scene(id=f"s{n}", href="s", sensor=s) for n, s in enumerate(sensors)),
        model={"name": "toy", "levels": levels}, engine="e", precision="f32", prior=None,
        parameters={}, grid={}, tiles=(), summary={}, disclaimer="d",
    )  # fmt: skip
    columns = ["footprint_ha", "delineated_ha", "isolated"]
    table = gpd.GeoDataFrame({name: [] for name in columns}, geometry=[], crs="EPSG:4326")
    return summarise(table, run, Coverage(1.0, 0.0), window_m=480, smallest_site_ha=1)


def test_imagery_that_the_model_was_not_measured_on_is_named() -> None:
    levels = [
        {"sensor": sensor, "verified": sensor == "s2-l1c", "adapt": {}}
        for sensor in ("s2-l1c", "s2-l2a", "nicfi", "planet-4b")
    ]
    told = summary_text(summary_of_run(("nicfi", "s2-l1c", "planet-4b"), levels))
    assert (
        "How well toy finds mines in nicfi, planet-4b images was not measured: its figures are of "
        "s2-l1c images." in " ".join(told.split())
    )
    assert "s2-l2a" not in told  # not used
    assert max(len(line) for line in told.splitlines()) < 100
    assert "not measured" not in summary_text(summary_of_run(("s2-l1c", None), levels))
    rule = summary_text(summary_of_run(("nicfi",), levels[2:]))
    assert "toy finds mines in nicfi images was not measured." in rule


def test_the_default_model_says_so_of_planet_images() -> None:
    manifest = load_package("default", None).manifest
    levels = [level.model_dump(mode="json") for level in manifest.levels]
    assert "in nicfi images was not measured" in summary_text(summary_of_run(("nicfi",), levels))
    assert "not measured" not in summary_text(summary_of_run(("s2-l1c",), levels))
