"""Ground cover: the rule on known spectra, hectares in closed form, and what a mine took."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox
from shapely.geometry import Point, Polygon, box

from sluice.base.classes import NOT_OBSERVED
from sluice.base.errors import ShapeMismatch
from sluice.phantom.scene import build_scene
from sluice.phantom.spectra import BANDS, BARE, COVERS, VEGETATION, WATER
from sluice.sites.area import geodesic_areas_ha
from sluice.sites.cover import (
    COLUMNS,
    Cover,
    classify_cover,
    cover_hectares,
    cover_loss,
)

GRID = GeoBox((50, 50), Affine(10, 0, 600_000, 0, -10, 700_000), "EPSG:32630")
LEFT, TOP = 600_000, 700_000
_USED = [BANDS.index(band) for band in ("B03", "B04", "B08", "B11")]
_FARMLAND = {"pasture_green", "pasture_dry", "crop_ripe"}


def spectra(name: str, count: int = 300) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    cover = COVERS[name]
    drawn = np.stack([cover.draw(rng)[_USED] for _ in range(count)], axis=1)
    grain = 1 + rng.normal(0, cover.pixel_sd, (1, count))
    return [band[None].astype(np.float32) for band in drawn * grain]


@pytest.mark.parametrize("name", sorted(COVERS))
def test_each_ground_of_the_phantom_has_its_class(name: str) -> None:
    told = classify_cover(*spectra(name))
    truth = {WATER: Cover.WATER, BARE: Cover.BARE, VEGETATION: Cover.FARMLAND}[COVERS[name].scl]
    truth = Cover.FOREST if name == "forest" else truth
    if name in {"regrowth", "crop_green"}:
        # Nobody can tell these from forest by four bands of one date; see docs/context.md.
        assert np.isin(told, [Cover.FOREST, Cover.FARMLAND]).all()
        return
    least = 0.9 if name in _FARMLAND else 0.95
    assert (told == truth).mean() > least


def test_what_was_not_seen_is_nothing() -> None:
    green, red, nir, swir = spectra("forest", 4)
    for band in (green, red, nir, swir):
        kept = band[0, 0]
        band[0, 0] = np.nan
        told = classify_cover(green, red, nir, swir)
        assert told[0, 0] == NOT_OBSERVED
        assert (told[0, 1:] != NOT_OBSERVED).all()
        band[0, 0] = kept
    zero = np.zeros((1, 1), np.float32)
    assert classify_cover(zero, zero, zero, zero).shape == (1, 1)
    with pytest.raises(ShapeMismatch):
        classify_cover(green, red, nir, swir[:, :2])


def test_scenes_are_told_as_their_truth_says() -> None:
    scene = build_scene(3, 240, cloud_share=0.1)
    bands = [scene.raster.band(name) for name in ("green", "red", "nir", "swir16")]
    told = classify_cover(*[np.where(scene.clear, band, np.float32(np.nan)) for band in bands])
    grid = scene.raster.geobox
    planted = gpd.GeoSeries(
        [*scene.mines.geometry.buffer(30), *scene.confusers.geometry.buffer(30)],
        crs=scene.mines.crs,
    )
    forest = gpd.GeoSeries([box(*grid.boundingbox.bbox).difference(planted.union_all())])
    forest = forest.set_crs(scene.mines.crs)
    found = cover_hectares(told, grid, forest).iloc[0]
    seen = found[list(COLUMNS)].sum()
    assert found["forest_ha"] / seen > 0.9
    assert found["cover_observed_share"] < 0.95


def test_hectares_are_geodesic_and_add_up_to_what_was_seen() -> None:
    classes = np.full(GRID.shape.yx, Cover.FOREST.value, np.uint8)
    classes[:, 10:] = Cover.WATER.value
    classes[:10] = NOT_OBSERVED
    places = gpd.GeoDataFrame(
        geometry=[
            box(LEFT + 50, TOP - 250, LEFT + 150, TOP - 50),
            box(LEFT, TOP - 100, LEFT + 100, TOP),
            box(LEFT - 100, TOP - 500, LEFT + 100, TOP - 300),
            box(0, 0, 10, 10),
            box(LEFT + 203, TOP - 303, LEFT + 204, TOP - 302),
            None,
        ],
        crs="EPSG:32630",
        index=list("abcdef"),
    ).to_crs(4326)
    found = cover_hectares(classes, GRID, places)
    whole = geodesic_areas_ha([places.geometry["a"]], 4326)[0]
    assert found.loc["a", "forest_ha"] == pytest.approx(whole * 0.375, rel=1e-6)
    assert found.loc["a", "water_ha"] == pytest.approx(whole * 0.375, rel=1e-6)
    assert found.loc["a", "cover_observed_share"] == pytest.approx(0.75)
    assert found.loc["b", list(COLUMNS)].isna().all()
    assert found.loc["b", "cover_observed_share"] == 0
    # Half of it lies beyond the image.
    assert found.loc["c", "forest_ha"] == pytest.approx(2.0, rel=0.002)
    assert found.loc["c", "cover_observed_share"] == pytest.approx(0.5, rel=0.001)
    assert found.loc["d", list(COLUMNS)].isna().all()
    # Smaller than a pixel: the pixel that it touches.
    assert found.loc["e", "water_ha"] == pytest.approx(1e-4, rel=0.01)
    assert found.loc["f"].isna()[list(COLUMNS)].all()
    with pytest.raises(ShapeMismatch):
        cover_hectares(classes[:5], GRID, places)


def test_losses_are_counted_pixel_by_pixel_where_both_were_seen() -> None:
    before = np.full(GRID.shape.yx, Cover.FOREST.value, np.uint8)
    before[:, :10] = Cover.FARMLAND.value
    before[:, 10:20] = Cover.WATER.value
    after = before.copy()
    after[:10] = Cover.BARE.value
    after[10:15, 20:] = Cover.WATER.value
    after[15:20, 20:30] = Cover.FARMLAND.value
    after[20:25] = NOT_OBSERVED
    place = gpd.GeoSeries([box(LEFT, TOP - 500, LEFT + 500, TOP)], crs=32630)
    found = cover_loss(before, after, GRID, place).iloc[0]
    pixel = geodesic_areas_ha(list(place), 32630)[0] / 2500
    assert found["forest_lost_ha"] == pytest.approx((300 + 150 + 50) * pixel)
    assert found["farmland_lost_ha"] == pytest.approx(100 * pixel)
    assert found["water_lost_ha"] == pytest.approx(100 * pixel)
    assert found["water_gained_ha"] == pytest.approx(150 * pixel)
    assert found["bare_gained_ha"] == pytest.approx(500 * pixel)
    assert found["compared_share"] == pytest.approx(0.9)
    hidden = np.full(GRID.shape.yx, NOT_OBSERVED, np.uint8)
    found = cover_loss(hidden, after, GRID, place).iloc[0]
    assert np.isnan(found["forest_lost_ha"])
    assert found["compared_share"] == 0


def test_points_and_empty_shapes_have_no_hectares() -> None:
    classes = np.zeros(GRID.shape.yx, np.uint8)
    odd = gpd.GeoSeries([Point(LEFT + 5, TOP - 5), Polygon()], crs=32630)
    assert cover_hectares(classes, GRID, odd)["forest_ha"].isna().all()
    assert cover_loss(classes, classes, GRID, odd)["forest_lost_ha"].isna().all()
    assert cover_hectares(classes, GRID, odd.iloc[:0]).empty


def test_amazon_mines_gain_bare_ground_more_than_natural_change(shared_data: Path) -> None:
    folder = shared_data / "s2-pairs-amazon"
    pairs = pd.read_csv(folder / "pairs.csv")
    bare = {}
    for when in ("t0", "t1"):
        chips = [np.load(folder / name) / np.float32(10_000) for name in pairs[f"{when}_path"]]
        bare[when] = [
            float((classify_cover(*np.moveaxis(chip[..., 1:5], 2, 0)) == Cover.BARE).mean())
            for chip in chips
        ]
    gained = pd.Series(np.subtract(bare["t1"], bare["t0"]))
    mean = gained.groupby(pairs["sample_id"].str.split("_").str[0]).mean()
    assert mean["mining"] > mean["natural"] + 0.02
