"""Models that are formulas: against the indices they are made of, and the packages that ship."""

import numpy as np
import onnx
import onnx.parser
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from sluice.base.raster import Raster
from sluice.composite.indices import bsi, mndwi, ndti, ndvi
from sluice.models.package import builtin_folder, load_package
from sluice.models.pixels import PixelPredictor
from sluice.models.predictor import WindowPredictor
from sluice.models.rules import DROP_DB, RULES, write_rule

BANDS = ("blue", "green", "red", "nir", "swir16")


def sigmoid(values):
    return 1 / (1 + np.exp(-values))


def probability(name, image, bands):
    return PixelPredictor(load_package(name, None), threads=1).classify_chips(image[None], bands)[
        0, 1
    ]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_the_packages_that_ship_are_those_that_the_code_writes(rule, tmp_path):
    shipped, written = load_package(rule.name, None), write_rule(rule, tmp_path)
    assert shipped.card_path.read_text() == written.card_path.read_text()
    weights = {"weights"}
    assert shipped.manifest.model_dump(exclude=weights) == written.manifest.model_dump(
        exclude=weights
    )
    # Not the bytes: another version of onnx may write the same graph in another order.
    assert onnx.load_model_from_string(shipped.read_weights()) == onnx.load_model_from_string(
        written.read_weights()
    )
    assert shipped.folder.parent == builtin_folder()


@given(
    st.lists(st.floats(-30, 0, width=32), min_size=4, max_size=4),
)
def test_new_water_is_where_both_polarisations_fell(levels):
    image = np.array(levels, np.float32)[:, None, None]
    fell = min(levels[2] - levels[0], levels[3] - levels[1])
    found = probability("radar-drop", image, ("vv", "vh", "vv@-1", "vh@-1")).item()
    np.testing.assert_allclose(found, sigmoid(2 * (fell - DROP_DB)), atol=1e-5)


def test_the_threshold_is_the_published_one():
    before = np.full((2, 1, 3), -10, np.float32)
    after = before - np.array([1.6, 1.66, 5], np.float32)
    found = probability(
        "radar-drop", np.concatenate([after, before]), ("vv", "vh", "vv@-1", "vh@-1")
    )
    assert (found >= 0.5).tolist() == [[False, True, True]]


def test_the_spectral_rule_is_made_of_its_indices():
    image = np.random.default_rng(0).uniform(0.005, 0.5, (5, 40, 30)).astype(np.float32)
    blue, green, red, nir, swir = image
    soil = np.minimum(sigmoid(20 * (0.3 - ndvi(red, nir))), sigmoid(20 * bsi(blue, red, nir, swir)))
    water = np.minimum(sigmoid(20 * mndwi(green, swir)), sigmoid(20 * ndti(green, red)))
    np.testing.assert_allclose(
        probability("spectral-rule", image, BANDS), np.maximum(soil, water), atol=1e-5
    )


def test_black_pixels_have_a_score():
    assert np.isfinite(probability("spectral-rule", np.zeros((5, 4, 4), np.float32), BANDS)).all()


def test_the_redness_rule_is_the_mean_over_its_window():
    data = np.random.default_rng(1).uniform(0.01, 0.4, (2, 56, 48)).astype(np.float32)
    grid = GeoBox((56, 48), Affine(10, 0, 5e5, 0, -10, 4e6), "EPSG:32630")
    found = WindowPredictor(load_package("redness-rule", None)).score_windows(
        Raster(data, ("green", "red"), grid), [0, 8], [0]
    )
    redness = sigmoid(20 * ndti(*data))
    expected = [redness[:48].mean(), redness[8:].mean()]
    np.testing.assert_allclose(found[:, 0], expected, atol=1e-5)
