"""Tiles that an area does not need are not read, and nothing inside it changes."""

from dataclasses import dataclass, field

import geopandas as gpd
import numpy as np
import pytest
import shapely
from geopandas.testing import assert_geodataframe_equal
from odc.geo.geobox import GeoBox

from scenes import lonlat, utm_geobox
from sluice.app.within import needed_by
from sluice.base.raster import Raster
from sluice.base.records import ModelInput
from sluice.base.windows import WindowLattice
from sluice.scan.blend import blend
from sluice.scan.composing import LayerTile, LayerTiles, compose_tiles
from sluice.scan.run import scan_windows
from sluice.scan.tiles import plan_tiles
from sluice.sites.vectorise import cells_inside, vectorise

SHAPE = (900, 800)
GRID = utm_geobox(SHAPE)
WINDOW_PX, STRIDE_PX = 48, 8


@dataclass(frozen=True)
class Rule:
    t_main: float = 0.5
    t_iso: float = 0.95
    k: int = 2
    isolation_distance_m: float = 800.0


class MeanModel:
    """The mean of a window."""

    inputs = (ModelInput(band="red"),)
    gsd_m = 10.0
    window_px = WINDOW_PX
    context_px = 0
    cells_per_window = 1
    scores_per_cell = 1

    def score_windows(self, raster, rows, cols) -> np.ndarray:
        views = np.lib.stride_tricks.sliding_window_view(raster.band("red"), (48, 48))
        return np.array([[views[r, c].mean() for c in cols] for r in rows], np.float32)


@dataclass
class Loader:
    """Counts what it reads."""

    image: np.ndarray
    parts: list[GeoBox] = field(default_factory=list)

    def __call__(self, part: GeoBox) -> Raster:
        self.parts.append(part)
        row = round((GRID.affine.f - part.affine.f) / 10)
        col = round((part.affine.c - GRID.affine.c) / 10)
        data = self.image[row : row + part.shape.y, col : col + part.shape.x]
        return Raster(data[np.newaxis], ("red",), part)


def on_ground(*boxes) -> shapely.Geometry:
    """Rectangles of (row, col, end row, end col) pixels, in degrees."""
    return shapely.union_all(
        [
            shapely.Polygon([lonlat(GRID, *corner) for corner in ((r, c), (r, d), (q, d), (q, c))])
            for r, c, q, d in boxes
        ]
    )


AREAS = {
    "an L": on_ground((20, 20, 880, 130), (740, 20, 880, 780)),
    "two pieces": on_ground((30, 30, 150, 150), (700, 640, 870, 780)),
    "smaller than a tile": on_ground((400, 400, 404, 404)),
}


@pytest.mark.parametrize("name", AREAS)
def test_a_scan_of_an_area_finds_the_same_in_fewer_tiles(name: str) -> None:
    area = AREAS[name]
    rng = np.random.default_rng(5)
    image = rng.uniform(0, 0.3, SHAPE).astype(np.float32)
    for _ in range(60):
        row, col = rng.integers(0, 850), rng.integers(0, 750)
        image[row : row + 60, col : col + 60] = rng.uniform(0.55, 1)
    image[380:440, 380:440] = 0.7
    margin_m = WINDOW_PX * 10 + Rule.isolation_distance_m
    needed = needed_by(area, GRID, margin_m)
    found = []
    loaders = Loader(image), Loader(image)
    for loader, which in zip(loaders, (None, needed), strict=True):
        result = scan_windows(
            GRID, loader, MeanModel(), stride_px=STRIDE_PX, tile_px=144, needed=which
        )
        blended = blend(result.windows, result.seen)
        sites = vectorise(blended.scores, blended.geobox, result.windows, Rule(), area=area)
        found.append((blended, sites, result))
    (whole, all_sites, _), (part, sites, result) = found
    inside = cells_inside(area, whole.geobox)
    np.testing.assert_array_equal(part.scores[inside], whole.scores[inside])
    assert_geodataframe_equal(sites, all_sites)
    assert len(loaders[1].parts) == len(result.outcomes)
    assert len(loaders[1].parts) < 0.7 * len(loaders[0].parts)
    assert np.isnan(part.scores).any()


def test_company_outside_the_area_counts_across_tiles() -> None:
    """Windows of half a window's step count: one in the area, two beside it in the next tile."""
    next_tile = plan_tiles(WindowLattice(SHAPE, WINDOW_PX, STRIDE_PX), 144)[1].pixels.col
    a = next(next_tile - step for step in (32, 40, 48) if (next_tile - step) % 24 == 0)
    image = np.zeros(SHAPE, np.float32)
    image[2:46, a + 4 : a + 44] = image[2:46, a + 68 : a + 130] = 0.95
    area = on_ground((21, a + 17, 27, a + 27))

    def sites(margin_m: float) -> int:
        needed = needed_by(area, GRID, margin_m)
        result = scan_windows(
            GRID, Loader(image), MeanModel(), stride_px=STRIDE_PX, tile_px=144, needed=needed
        )
        blended = blend(result.windows, result.seen)
        return len(vectorise(blended.scores, blended.geobox, result.windows, Rule(), area=area))

    assert sites(WINDOW_PX * 10 + Rule.isolation_distance_m) == sites(1e6) == 1
    assert sites(0) == 0  # or this would prove nothing


@pytest.mark.parametrize("name", AREAS)
def test_a_composite_of_an_area_is_whole_inside(name: str, tmp_path) -> None:
    area = AREAS[name]
    made: list[GeoBox] = []

    def make(part: GeoBox) -> LayerTile:
        made.append(part)
        shape = part.shape.yx
        return LayerTile(
            np.ones((1, *shape), np.int16), np.ones((2, *shape), np.uint16), shape[0] * shape[1], {}
        )

    tiles = LayerTiles(tmp_path, "x", GRID, 100, needed_by(area, GRID))
    outcomes = compose_tiles(tiles, make, workers=1)
    assert len(made) == len(outcomes) == len(tiles.windows)
    image = np.zeros(SHAPE, bool)
    for window, layers, _ in tiles.arrays():
        image[window.slices] = layers[0]
    assert image[cells_inside(area, GRID)].all()
    # A tile that is made meets the area, a pixel more or less.
    ground = gpd.GeoSeries([area], crs=4326).to_crs(str(GRID.crs))[0].buffer(30)
    assert all(shapely.box(*part.boundingbox.bbox).intersects(ground) for part in made)
    assert len(made) < 72 * 0.7


def test_without_an_area_all_is_needed(tmp_path) -> None:
    assert needed_by(None, GRID) is None
    assert len(LayerTiles(tmp_path, "x", GRID, 100).windows) == 72
