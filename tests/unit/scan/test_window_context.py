"""Models that look beyond their window, against a plain reference."""

import hashlib
import math

import numpy as np
import pytest
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from onnx import TensorProto, helper, numpy_helper

from scenes import PLAIN
from sluice.base.errors import ConfigError, ManifestMismatch
from sluice.base.raster import Raster
from sluice.base.windows import WindowLattice, central_windows
from sluice.models.manifest import Level, Manifest, ScaledInput, Thresholds, Weights, parse_manifest
from sluice.models.package import write_package
from sluice.models.predictor import WindowPredictor
from sluice.scan.run import scan_windows

WINDOW, CONTEXT, STRIDE = 6, 3, 2
SIGHT = WINDOW + 2 * CONTEXT
FILL = 0.25
BANDS = ("red",)


def kernel():
    return np.random.default_rng(5).normal(0, 0.4, (1, 1, SIGHT, SIGHT)).astype("f4")


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A weighted sum over all that the window and its context show."""
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["image", "kernel"], ["sum"], strides=[STRIDE, STRIDE]),
            helper.make_node("Sigmoid", ["sum"], ["score"]),
        ],
        "net",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 1, "y", "x"])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["n", 1, "h", "w"])],
        [numpy_helper.from_array(kernel(), "kernel")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    weights = model.SerializeToString()
    manifest = Manifest(
        **PLAIN,
        name="wide",
        inputs=(ScaledInput(band="red", divide=0.5, fill=FILL),),
        levels=(Level(sensor="s2-l1c", verified=False),),
        window_px=WINDOW,
        context_px=CONTEXT,
        dense_stride_px=STRIDE,
        stride_m=20,
        thresholds=Thresholds(t_main=0.5, t_iso=0.5),
        weights=Weights(sha256=hashlib.sha256(weights).hexdigest()),
    )
    return write_package(tmp_path_factory.mktemp("models") / "wide", manifest, weights, "")


def image_with_gaps(shape, seed):
    rng = np.random.default_rng(seed)
    image = rng.uniform(0, 0.5, shape).astype("f4")
    image[rng.random(shape) < 0.04] = np.nan
    image[: shape[0] // 4, : shape[1] // 3] = np.nan
    return image


def reference(image, rows, cols):
    """Only the window decides what is observed; beyond the image lies nothing."""
    wide = np.pad(image.astype(float), CONTEXT, constant_values=np.nan)
    out = np.full((len(rows), len(cols)), np.nan)
    for i, row in enumerate(rows):
        for j, col in enumerate(cols):
            window = image[row : row + WINDOW, col : col + WINDOW]
            if np.isnan(window).sum() > 0.2 * WINDOW**2:
                continue
            seen = wide[row : row + SIGHT, col : col + SIGHT]
            out[i, j] = _score(np.where(np.isnan(seen), FILL, seen / 0.5))
    return out


def _score(seen):
    return 1 / (1 + math.exp(-float((seen * kernel()[0, 0]).sum())))


@pytest.mark.parametrize("cut", [False, True])
def test_windows_are_scored_with_what_surrounds_them(package, cut):
    image = image_with_gaps((31, 26), 1)
    grid = GeoBox(image.shape, Affine(10, 0, 5e5, 0, -10, 4e6), "EPSG:32630")
    rows, cols = [0, 2, 4, 9, 25], [0, 1, 7, 20]
    predictor = WindowPredictor(package, cut_windows=cut, threads=1)
    found = predictor.score_windows(Raster(image[np.newaxis], BANDS, grid), rows, cols)
    expected = reference(image, rows, cols)
    assert 0 < np.isnan(expected).sum() < expected.size
    np.testing.assert_allclose(found, expected, atol=2e-6)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.tuples(st.integers(WINDOW, 40), st.integers(WINDOW, 40)),
    stride=st.integers(1, WINDOW),
    tile_px=st.integers(SIGHT, 50),
)
def test_a_scan_equals_the_reference_whatever_the_tile_size(
    package, scan_fakes, shape, stride, tile_px
):
    image = image_with_gaps(shape, 2)
    grid = scan_fakes.utm_geobox(image.shape)
    result = scan_windows(
        grid,
        scan_fakes.MemoryLoader(image, grid),
        WindowPredictor(package, threads=1),
        stride_px=stride,
        tile_px=tile_px,
    )
    lattice = WindowLattice(shape, WINDOW, stride)
    expected = reference(image, lattice.rows, lattice.cols)
    np.testing.assert_allclose(result.windows.scores, expected, atol=2e-6)


@pytest.mark.parametrize("side", [WINDOW, WINDOW + 1, WINDOW + 4, SIGHT, SIGHT + 3])
def test_a_chip_without_its_surroundings_is_mirrored(package, side):
    chips = np.random.default_rng(3).uniform(0, 0.5, (40, 1, side, side)).astype("f4")
    found = WindowPredictor(package, threads=1).score_chips(chips, BANDS)
    first = (side - WINDOW) // 2
    at = np.arange(first - CONTEXT, first + WINDOW + CONTEXT)
    # Beyond its first and last pixel a chip goes on backwards.
    at = np.abs(at)
    at = np.where(at >= side, 2 * (side - 1) - at, at)
    expected = [_score(chip[0][np.ix_(at, at)] / 0.5) for chip in chips]
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_pixels_of_the_surroundings_never_make_a_chip_unobserved(package):
    chips = np.full((1, 1, SIGHT, SIGHT), np.nan, np.float32)
    chips[:, :, CONTEXT:-CONTEXT, CONTEXT:-CONTEXT] = 0.2
    (score,) = WindowPredictor(package, threads=1).score_chips(chips, BANDS)
    seen = np.full((SIGHT, SIGHT), FILL)
    seen[CONTEXT:-CONTEXT, CONTEXT:-CONTEXT] = 0.4
    assert score == pytest.approx(_score(seen), abs=2e-6)


def test_central_windows_are_views_where_nothing_is_mirrored():
    images = np.zeros((2, 1, SIGHT + 4, SIGHT + 1), np.float32)
    assert central_windows(images, WINDOW, CONTEXT).base is images
    assert central_windows(images, WINDOW, CONTEXT).shape == (2, 1, SIGHT, SIGHT)


def test_a_tile_that_cannot_hold_the_context_is_refused(package, scan_fakes):
    image = image_with_gaps((30, 30), 4)
    grid = scan_fakes.utm_geobox(image.shape)
    with pytest.raises(ConfigError, match=f"tiles of {SIGHT - 1} px cannot hold the {SIGHT} px"):
        scan_windows(
            grid,
            scan_fakes.MemoryLoader(image, grid),
            WindowPredictor(package),
            stride_px=2,
            tile_px=SIGHT - 1,
        )


def test_context_belongs_to_models_of_windows(package):
    text = package.manifest.to_json().replace('"judges": "windows"', '"judges": "pixels"')
    text = text.replace('"classes": []', '"classes": ["other", "mine"]')
    text = text.replace('"patch_px": null', f'"patch_px": {4 * WINDOW}')
    text = text.replace(f'"dense_stride_px": {STRIDE}', '"dense_stride_px": null')
    with pytest.raises(ManifestMismatch, match="context_px belong to a model of windows"):
        parse_manifest(text, href="here")
