"""Models that judge pixels: patches, cells, blending, against a slow plain reference."""

import hashlib

import numpy as np
import onnx.parser
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from pydantic import ValidationError

from scenes import PLAIN
from sluice.base.classes import name_classes
from sluice.base.errors import (
    BandNotFound,
    ConfigError,
    ManifestMismatch,
    ShapeMismatch,
    WeightsError,
)
from sluice.base.raster import Raster
from sluice.base.windows import ScoredWindows, WindowLattice
from sluice.models.manifest import Level, Manifest, ScaledInput, Thresholds, Weights
from sluice.models.package import write_package
from sluice.models.pixels import PixelPredictor
from sluice.models.predictor import WindowPredictor, make_predictor
from sluice.scan.blend import blend
from sluice.scan.run import scan_windows

SIDE, OVERLAP, CELL = 12, 4, 2
FILL = (0.25, 0.1)
FIELDS = PLAIN | {
    "name": "pixels",
    "inputs": (ScaledInput(band="red", divide=0.5, fill=0.25), ScaledInput(band="nir", fill=0.1)),
    "levels": (Level(sensor="s2-l2a", verified=False),),
    "judges": "pixels",
    "window_px": CELL,
    "patch_px": SIDE,
    "patch_overlap_px": OVERLAP,
    "classes": ("other", "mine"),
    "max_invalid_share": 0.75,
    "stride_m": 20,
    "thresholds": Thresholds(t_main=0.5, t_iso=0.5),
}


def graph(rise=0.05, channels=2, classes="other, mine"):
    """A 3 x 3 sum with zeros around the patch: what it says of a pixel depends on the patch."""
    kernel = ", ".join([str(rise)] * 9 * channels)
    return f"""<ir_version: 8, opset_import: ["" : 17]>
    g (float[n, {channels}, y, x] image) => (float[n, 2, y, x] p)
    <float[1, {channels}, 3, 3] k = {{{kernel}}}, float[1] one = {{1}}>
    {{
       mine = Conv <pads = [1, 1, 1, 1]> (image, k)
       other = Sub (one, mine)
       p = Concat <axis = 1> ({classes})
    }}"""


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return write(tmp_path_factory.mktemp("models"))


def write(folder, text=None, **fields):
    weights = onnx.parser.parse_model(text or graph()).SerializeToString()
    sha256 = hashlib.sha256(weights).hexdigest()
    manifest = Manifest(**{**FIELDS, **fields}, weights=Weights(sha256=sha256))
    return write_package(folder / manifest.name, manifest, weights, "")


def image(height, width, seed=0):
    rng = np.random.default_rng(seed)
    data = rng.uniform(0, 0.5, (2, height, width)).astype("f4")
    data[0][rng.random((height, width)) < 0.05] = np.nan
    data[:, : height // 3, : width // 2] = np.nan
    return data


def raster(data):
    grid = GeoBox(data.shape[1:], Affine(10, 0, 5e5, 0, -10, 4e6), "EPSG:32630")
    return Raster(data[::-1], ("nir", "red"), grid)


def judge(patch, fill=FILL):
    """A patch's probability of a mine at each pixel, in plain loops; NaN where invalid."""
    gone = ~np.isfinite(patch).all(axis=0)
    if gone.sum() > 0.75 * SIDE**2:
        return np.full(patch.shape[1:], np.nan)
    scaled = np.stack([patch[0] / 0.5, patch[1]])
    scaled[0][gone], scaled[1][gone] = fill
    out = np.zeros(patch.shape[1:])
    padded = np.pad(scaled, ((0, 0), (1, 1), (1, 1)))
    for row in range(SIDE):
        for col in range(SIDE):
            out[row, col] = 0.05 * padded[:, row : row + 3, col : col + 3].sum()
    out[gone] = np.nan
    return out


def reference(data, size=CELL, fill=FILL):
    """Scores of cells: patches by twelves every eight, blended by distance from their rims."""
    height, width = data.shape[1:]
    rows, cols = (starts(n, size) for n in (height, width))
    room = np.full((2, rows[-1] + SIDE, cols[-1] + SIDE), np.nan)
    room[:, :height, :width] = data
    total, weights = np.zeros(room.shape[1:]), np.zeros(room.shape[1:])
    for row in rows:
        for col in cols:
            found = judge(room[:, row : row + SIDE, col : col + SIDE], fill)
            for i in range(0, SIDE, size):
                for j in range(0, SIDE, size):
                    cell = found[i : i + size, j : j + size]
                    if np.isfinite(cell).any():
                        down, across = (
                            min((min(k, SIDE - size - k) / size + 0.5) / (OVERLAP / size), 1)
                            for k in (i, j)
                        )
                        total[row + i, col + j] += down * across * np.nanmean(cell)
                        weights[row + i, col + j] += down * across
    with np.errstate(invalid="ignore"):
        cells = (total / weights)[:height:size, :width:size]
    seen = np.isfinite(data).all(axis=0)
    for i in range(cells.shape[0]):
        for j in range(cells.shape[1]):
            own = seen[size * i : size * i + size, size * j : size * j + size]
            if 2 * own.sum() < own.size:
                cells[i, j] = np.nan
    return cells


def starts(length, size):
    last = max(0, -(-(length - SIDE) // size) * size)
    return sorted({*range(0, last + 1, SIDE - OVERLAP), last})


class Memory:
    def __init__(self, data):
        self.raster = raster(data)

    def __call__(self, geobox):
        col = round((geobox.affine.c - 5e5) / 10)
        row = round((4e6 - geobox.affine.f) / 10)
        out = np.full((2, *geobox.shape.yx), np.nan, "f4")
        part = self.raster.data_bhw[:, row : row + out.shape[1], col : col + out.shape[2]]
        out[:, : part.shape[1], : part.shape[2]] = part
        return Raster(out, self.raster.bands, geobox)


@settings(max_examples=15)
@given(height=st.integers(3, 45), width=st.integers(3, 45), tile=st.sampled_from([12, 20, 37, 60]))
def test_a_scan_equals_the_plain_reference_however_it_is_tiled(package, height, width, tile):
    data = image(height, width)
    predictor = PixelPredictor(package, threads=1)
    result = scan_windows(
        raster(data).geobox, Memory(data), predictor, stride_px=SIDE - OVERLAP, tile_px=tile
    )
    blended = blend(result.windows, result.seen)
    expected = reference(data)
    assert blended.scores.shape == expected.shape
    np.testing.assert_allclose(blended.scores, expected, atol=1e-6)
    assert blended.geobox.affine == Affine(20, 0, 5e5, 0, -20, 4e6)
    again = scan_windows(
        raster(data).geobox, Memory(data), predictor, stride_px=SIDE - OVERLAP, tile_px=1024
    )
    np.testing.assert_array_equal(blend(again.windows, again.seen).scores, blended.scores)


CLASSES = ("other", "active", "inactive")


def class_graph():
    """Two such sums, of one input each, are the probabilities of two classes."""
    kernels = ", ".join(["0.05"] * 9 + ["0"] * 18 + ["0.05"] * 9)
    return f"""<ir_version: 8, opset_import: ["" : 17]>
    g (float[n, 2, y, x] image) => (float[n, 3, y, x] p)
    <float[2, 2, 3, 3] k = {{{kernels}}}, float[1] one = {{1}}, int64[1] axes = {{1}}>
    {{
       sought = Conv <pads = [1, 1, 1, 1]> (image, k)
       both = ReduceSum <keepdims = 1> (sought, axes)
       other = Sub (one, both)
       p = Concat <axis = 1> (other, sought)
    }}"""


def class_image(height, width):
    """Red, as the model scales it, is as often above as below near infrared."""
    data = image(height, width)
    data[1] *= 2
    return data


def only(data, band):
    """As `data`, but the other input is 0 to the model, where it was observed."""
    alone = data.copy()
    alone[1 - band][np.isfinite(data[1 - band])] = 0
    return alone


@pytest.mark.parametrize("cell", [1, CELL])
@pytest.mark.parametrize("shape", [(45, 38), (29, 61), (7, 12)])
def test_classes_equal_the_plain_reference_however_it_is_tiled(tmp_path, cell, shape):
    inputs = tuple(i.model_copy(update={"fill": 0.0}) for i in FIELDS["inputs"])
    package = write(tmp_path, class_graph(), classes=CLASSES, window_px=cell, inputs=inputs)
    data = class_image(*shape)
    # Sums are linear, so the probability of a class is the reference's score of its input alone.
    sought = np.stack([reference(only(data, band), cell, (0, 0)) for band in (0, 1)])
    score = sought.sum(axis=0)
    expected = np.where(score >= 0.4, sought.argmax(axis=0) + 1, 0)
    expected[np.isnan(score)] = 255
    assert shape[0] < 10 or set(np.unique(expected)) == {0, 1, 2, 255}
    for tile in (12, 20, 37, 1024):
        result = scan_windows(
            raster(data).geobox,
            Memory(data),
            PixelPredictor(package, threads=1),
            stride_px=SIDE - OVERLAP,
            tile_px=tile,
        )
        for strip_rows in (1, 7, 256):
            blended = blend(result.windows, result.seen, strip_rows=strip_rows)
            np.testing.assert_allclose(blended.scores, score, atol=1e-6)
            np.testing.assert_array_equal(
                name_classes(blended.scores, blended.likeliest, 0.4), expected
            )
        if tile == 12:
            first = blended.scores
        np.testing.assert_array_equal(blended.scores, first)


def test_two_classes_have_no_more_than_their_score(package):
    data = image(20, 20)
    result = scan_windows(
        raster(data).geobox, Memory(data), PixelPredictor(package), stride_px=8, tile_px=60
    )
    assert result.windows.scores.ndim == 2
    assert blend(result.windows, result.seen).likeliest is None


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_chips_get_the_classes_that_a_scan_gives_at_pixels_of_its_own(tmp_path, engine):
    package = write(tmp_path, window_px=1)
    data = image(40, 29)
    found = PixelPredictor(package, engine=engine, threads=1).classify_chips(
        data[None], ("red", "nir")
    )[0]
    result = scan_windows(
        raster(data).geobox, Memory(data), PixelPredictor(package), stride_px=8, tile_px=60
    )
    scores = blend(result.windows, result.seen).scores
    valid = np.isfinite(data).all(axis=0)
    assert np.array_equal(np.isfinite(found[0]), valid)
    np.testing.assert_allclose(found.sum(axis=0)[valid], 1, atol=1e-6)
    both = valid & np.isfinite(scores)
    np.testing.assert_allclose(found[1][both], scores[both], atol=1e-5)


def test_patches_that_nothing_surrounds_are_judged_alone(package):
    chips = np.random.default_rng(0).uniform(0, 0.5, (3, 2, 5, 7)).astype("f4")
    found = PixelPredictor(package).classify_chips(chips, ("red", "nir"))
    assert found.shape == (3, 2, 5, 7)
    assert np.isfinite(found).all()


def test_a_patch_is_observed_up_to_the_allowed_share(package):
    data = np.full((2, SIDE, SIDE), 0.2, "f4")
    data[:, :9] = np.nan
    predictor = PixelPredictor(package)
    assert np.isfinite(predictor.score_windows(raster(data), [0], [0])).any()
    data[0, 9, 0] = np.nan
    assert np.isnan(predictor.score_windows(raster(data), [0], [0])).all()


@pytest.mark.parametrize(("rows", "cols"), [([0, 8], [0]), ([0], [-1]), ([0], [9])])
def test_patches_outside_are_refused(package, rows, cols):
    with pytest.raises(ShapeMismatch, match="do not lie within"):
        PixelPredictor(package).score_windows(raster(image(SIDE, SIDE)), rows, cols)


def test_what_does_not_fit_names_both_sides(package):
    data = image(SIDE, SIDE)
    with pytest.raises(BandNotFound, match="nir"):
        PixelPredictor(package).classify_chips(data[None, :1], ("red",))
    grid = GeoBox((SIDE, SIDE), Affine(20, 0, 5e5, 0, -20, 4e6), "EPSG:32630")
    with pytest.raises(ManifestMismatch, match="10 m"):
        PixelPredictor(package).score_windows(Raster(data, ("red", "nir"), grid), [0], [0])


def test_the_manifest_chooses_the_predictor(package, toy_model):
    assert isinstance(make_predictor(package), PixelPredictor)
    with pytest.raises(ConfigError, match="judges pixels"):
        WindowPredictor(package)


def test_values_that_are_no_probabilities_are_refused(tmp_path):
    wild = write(tmp_path, graph(rise=3.0))
    with pytest.raises(WeightsError, match="between 0 and 1"):
        PixelPredictor(wild).classify_chips(image(SIDE, SIDE)[None], ("red", "nir"))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"patch_px": None}, "patch_px and two classes"),
        ({"classes": ("mine",)}, "two classes"),
        ({"classes": ("mine", "mine")}, "two classes"),
        ({"classes": tuple(map(str, range(256)))}, "256 classes"),
        ({"patch_px": 13}, "multiples of window_px"),
        ({"patch_overlap_px": 3}, "multiples of window_px"),
        ({"patch_overlap_px": 8}, "overlap by half at most"),
        ({"patch_px": 2, "patch_overlap_px": 0}, "several squares"),
        ({"dense_stride_px": 2}, "dense_stride_px and context_px belong"),
        ({"thresholds": Thresholds(t_main=0.5, t_iso=0.6)}, "never isolated"),
        ({"judges": "windows"}, "belong to a model that judges pixels"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(fields, words):
    with pytest.raises(ValidationError, match=words):
        Manifest(**{**FIELDS, **fields}, weights=Weights(sha256="0" * 64))


def test_weights_with_other_classes_than_the_manifest_are_refused(tmp_path):
    with pytest.raises(ManifestMismatch, match=r"give \(any, 2, any, any\).*\(any, 3, any, any\)"):
        write(tmp_path, classes=("other", "active", "inactive"))


def test_blending_patches_keeps_what_all_agree_on():
    lattice = WindowLattice((50, 41), SIDE, 8, SIDE // CELL)
    scores = np.full(lattice.scores_shape, 0.3, np.float32)
    grid = GeoBox((50, 41), Affine(10, 0, 5e5, 0, -10, 4e6), "EPSG:32630")
    blended = blend(ScoredWindows(lattice, scores, grid)).scores
    assert blended.shape == (25, 21)
    np.testing.assert_allclose(blended, 0.3, atol=1e-6)
    with pytest.raises(ShapeMismatch, match="seen"):
        blend(ScoredWindows(lattice, scores, grid), np.ones((2, 2), bool))
