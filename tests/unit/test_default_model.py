"""The model that a scan uses unless told otherwise, as it is shipped."""

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox
from scipy import ndimage

from sluice.base.raster import Raster
from sluice.models.package import load_package
from sluice.models.predictor import WindowPredictor

SIDE = 150
TOP, BOTTOM, LEFT, RIGHT = 52, 84, 60, 92  # a hole in which nothing was observed


def blobs(rng: np.random.Generator, size: float) -> np.ndarray:
    field = ndimage.gaussian_filter(rng.normal(size=(SIDE, SIDE)), size)
    return field / field.std()


@pytest.fixture
def ground() -> Raster:
    """Forest with bare ground full of muddy ponds, and a hole."""
    rng = np.random.default_rng(2)
    bare = blobs(rng, 12) > 0.3
    pond = bare & (blobs(rng, 2) > 0.4)
    colours = {"red": (0.075, 0.20, 0.13), "green": (0.095, 0.175, 0.14)}
    colours["blue"] = (0.105, 0.155, 0.125)
    data = np.empty((3, SIDE, SIDE), np.float32)
    for number, (forest, soil, water) in enumerate(colours.values()):
        band = np.where(pond, water, np.where(bare, soil, forest))
        band *= 1 + 0.06 * rng.normal(size=band.shape)
        data[number] = ndimage.gaussian_filter(band, 0.6)
    data[:, TOP:BOTTOM, LEFT:RIGHT] = np.nan
    grid = GeoBox((SIDE, SIDE), Affine(10, 0, 6e5, 0, -10, 7e5), "EPSG:32630")
    return Raster(data, tuple(colours), grid)


def test_dense_and_cut_windows_of_the_default_model_agree(ground: Raster) -> None:
    """A scan takes dense passes; the figures of the model card are of single windows."""
    package = load_package("default", None)
    side = package.manifest.window_px
    # On the lattice of a scan, off it, and flush with the edge.
    starts = sorted({*range(0, SIDE - side + 1, 8), 37, SIDE - side})
    dense, cut = (
        WindowPredictor(
            package, engine="onnxruntime", precision="f32", threads=1, cut_windows=cut_windows
        ).score_windows(ground, starts, starts)
        for cut_windows in (False, True)
    )
    np.testing.assert_allclose(dense, cut, rtol=0, atol=1e-4, equal_nan=True)
    # Scores differ from place to place, and the hole blinds some windows and touches others.
    assert np.nanmax(cut) - np.nanmin(cut) > 0.4
    assert np.isnan(cut).any()
    start = np.asarray(starts)
    over_rows, over_cols = (
        (start < end) & (start + side > begin) for begin, end in ((TOP, BOTTOM), (LEFT, RIGHT))
    )
    assert np.isfinite(cut[np.ix_(over_rows, over_cols)]).any()
