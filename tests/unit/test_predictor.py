"""`WindowPredictor` against a slow plain reference, window by window."""

import hashlib
import math
import pickle
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from onnx import TensorProto, helper, numpy_helper

from scenes import PLAIN
from sluice.base.errors import (
    BandNotFound,
    ConfigError,
    ManifestMismatch,
    ShapeMismatch,
    WeightsError,
)
from sluice.base.raster import Raster
from sluice.models import packaged, runtime
from sluice.models.manifest import Adaptation, Level, Manifest, ScaledInput, Thresholds, Weights
from sluice.models.package import write_package
from sluice.models.predictor import WindowPredictor

SIDE, STRIDE = 12, 4
# One input clipped, one neither clipped nor in the raster's order, each with its own fill.
INPUTS = (
    ScaledInput(band="red", divide=0.3, low=0.0, high=1.0, fill=0.25),
    ScaledInput(band="nir", period=-1, subtract=0.2, divide=0.1, fill=-0.5),
)
ENGINES = ["onnxruntime", "openvino"]


def conv_weights(dense, gain=1.0):
    """Conv 4 stride 2, ReLU, conv 5 stride 2, sigmoid: a window of 12, a stride of 4."""
    rng = np.random.default_rng(3)
    first = rng.normal(0, 0.3, (6, 2, 4, 4)).astype("f4")
    second = rng.normal(0, 0.3 * gain, (1, 6, 5, 5)).astype("f4")
    nodes = [
        helper.make_node("Conv", ["image", "first"], ["a"], kernel_shape=[4, 4], strides=[2, 2]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "second"], ["c"], kernel_shape=[5, 5], strides=[2, 2]),
        helper.make_node("Sigmoid" if gain == 1.0 else "Identity", ["c"], ["d"]),
    ]
    axes = ["n", 1, "h", "w"] if dense else ["n", 1]
    nodes.append(
        helper.make_node("Identity", ["d"], ["score"])
        if dense
        else helper.make_node("Flatten", ["d"], ["score"])
    )
    size = ["y", "x"] if dense else [SIDE, SIDE]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 2, *size])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, axes)],
        [numpy_helper.from_array(first, "first"), numpy_helper.from_array(second, "second")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString(), first, second


def make_package(folder, name, *, dense, gain=1.0):
    weights, *_ = conv_weights(dense, gain)
    manifest = Manifest(
        **PLAIN,
        name=name,
        inputs=INPUTS,
        levels=(Level(sensor="s2-l1c", verified=False),),
        window_px=SIDE,
        dense_stride_px=STRIDE if dense else None,
        stride_m=40,
        thresholds=Thresholds(t_main=0.5, t_iso=0.5),
        weights=Weights(sha256=hashlib.sha256(weights).hexdigest()),
    )
    return write_package(folder / name, manifest, weights, "")


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {
        "dense": make_package(folder, "dense", dense=True),
        "cut": make_package(folder, "cut", dense=False),
        "wild": make_package(folder, "wild", dense=False, gain=30.0),
    }


def make_raster(height, width, seed=0, invalid=0.05, gsd=10.0):
    rng = np.random.default_rng(seed)
    data = rng.uniform(-0.05, 0.5, (3, height, width)).astype("f4")
    data[0][rng.random((height, width)) < invalid / 2] = np.nan
    data[2][rng.random((height, width)) < invalid / 2] = np.nan
    # A gap with straight edges, as between scenes.
    data[:, : height // 3, : width // 4] = np.nan
    grid = GeoBox((height, width), Affine(gsd, 0, 5e5, 0, -gsd, 4e6), "EPSG:32630")
    # Green is all NaN, and nobody asks for it.
    bands = np.stack([data[0], np.full((height, width), np.nan, "f4"), data[2]])
    return Raster(bands, ("nir@-1", "green", "red"), grid)


def reference(raster, rows, cols):
    """One window after the other, in plain double-precision loops over the kernel."""
    _, first, second = conv_weights(dense=True)
    red, nir = raster.band("red").astype(float), raster.band("nir@-1").astype(float)
    scores = np.full((len(rows), len(cols)), np.nan)
    for i, row in enumerate(rows):
        for j, col in enumerate(cols):
            box = np.s_[row : row + SIDE, col : col + SIDE]
            gone = ~(np.isfinite(red[box]) & np.isfinite(nir[box]))
            if gone.sum() > 0.2 * SIDE**2:
                continue
            image = np.stack([np.clip(red[box] / 0.3, 0, 1), (nir[box] - 0.2) / 0.1])
            image[0][gone], image[1][gone] = 0.25, -0.5
            hidden = np.maximum(_conv(image, first), 0)
            scores[i, j] = 1 / (1 + math.exp(-_conv(hidden, second).item()))
    return scores


def _conv(image, kernel):
    size = (image.shape[1] - kernel.shape[2]) // 2 + 1
    out = np.zeros((len(kernel), size, size))
    for y in range(size):
        for x in range(size):
            patch = image[:, 2 * y : 2 * y + kernel.shape[2], 2 * x : 2 * x + kernel.shape[3]]
            out[:, y, x] = (kernel * patch).sum(axis=(1, 2, 3))
    return out


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", ["dense", "cut"])
def test_scores_equal_the_reference(packages, kind, engine):
    raster = make_raster(61, 47)
    rows, cols = [0, 4, 8, 24, 28, 49], [*range(0, 36, 3), 35]
    predictor = WindowPredictor(packages[kind], engine=engine, threads=1)
    expected = reference(raster, rows, cols)
    found = predictor.score_windows(raster, rows, cols)
    assert found.dtype == np.float32
    assert np.isnan(expected).sum() > 3
    assert np.nanstd(expected) > 0.02
    np.testing.assert_allclose(found, expected, atol=2e-6)


positions = st.lists(st.integers(0, 70 - SIDE), min_size=0, max_size=14, unique=True).map(sorted)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=positions, cols=positions, pass_pixels=st.integers(1, 3000))
def test_dense_and_cut_windows_agree_wherever_they_lie(
    packages, monkeypatch, rows, cols, pass_pixels
):
    monkeypatch.setattr(packaged, "PASS_PIXELS", pass_pixels)
    raster = make_raster(70, 70)
    dense = WindowPredictor(packages["dense"], engine="onnxruntime", threads=1)
    cut = WindowPredictor(
        packages["dense"], engine="onnxruntime", threads=1, cut_windows=True
    ).score_windows(raster, rows, cols)
    assert cut.shape == (len(rows), len(cols))
    np.testing.assert_allclose(dense.score_windows(raster, rows, cols), cut, atol=1e-5)


def test_a_regular_lattice_with_a_flush_edge_takes_four_dense_passes(packages, monkeypatch):
    shapes = []
    session = runtime.open_session(packages["dense"], "onnxruntime", "f32", 1)

    def counting(*_):
        def run(image):
            shapes.append(image.shape[2:])
            return session(image)

        return run

    monkeypatch.setattr(packaged, "open_session", counting)
    raster = make_raster(103, 86, invalid=0)
    rows, cols = [*range(0, 88, 8), 103 - SIDE], [*range(0, 72, 8), 86 - SIDE]
    scores = WindowPredictor(packages["dense"], engine="onnxruntime", threads=1).score_windows(
        raster, rows, cols
    )
    np.testing.assert_allclose(scores, reference(raster, rows, cols), atol=2e-6)
    assert sorted(shapes) == [(12, 12), (12, 76), (92, 12), (92, 76)]


@pytest.mark.parametrize("share", [0.19, 0.2, 0.21])
def test_a_window_is_observed_up_to_the_allowed_share(packages, share):
    """144 pixels: 28 may be missing (19.4 %), 29 may not (20.1 %)."""
    raster = make_raster(36, 48, invalid=0)
    data = np.nan_to_num(raster.data_bhw, nan=0.1)
    flat = np.zeros(SIDE * SIDE, bool)
    flat[: math.ceil(share * SIDE * SIDE)] = True
    data[2, :SIDE, :SIDE][flat.reshape(SIDE, SIDE)] = np.nan
    scores = WindowPredictor(packages["cut"], threads=1).score_windows(
        Raster(data, raster.bands, raster.geobox), [0], [0, 20]
    )
    assert np.isnan(scores[0, 0]) == (flat.sum() > 28)
    assert np.isfinite(scores[0, 1])


def test_an_unobserved_raster_never_wakes_the_engine(packages, monkeypatch):
    def no_session(*_):
        raise AssertionError("the engine was called")

    monkeypatch.setattr(packaged, "open_session", no_session)
    raster = make_raster(40, 40)
    empty = Raster(np.full_like(raster.data_bhw, np.nan), raster.bands, raster.geobox)
    for kind in ("dense", "cut"):
        scores = WindowPredictor(packages[kind]).score_windows(empty, [0, 3], [5])
        assert scores.shape == (2, 1)
        assert np.isnan(scores).all()


def test_infinite_pixels_are_invalid(packages):
    raster = make_raster(40, 40, invalid=0)
    data = raster.data_bhw.copy()
    data[2, 20, 20] = np.inf
    holed = data.copy()
    holed[2, 20, 20] = np.nan
    predictor = WindowPredictor(packages["dense"], threads=1)
    a, b = (
        predictor.score_windows(Raster(d, raster.bands, raster.geobox), [14], [14])
        for d in (data, holed)
    )
    assert a == b


@pytest.mark.parametrize("kind", ["dense", "cut"])
def test_chips_are_scored_by_their_central_window(packages, kind):
    rng = np.random.default_rng(1)
    chips = rng.uniform(0, 0.4, (70, 3, 17, 15)).astype("f4")
    chips[7, 0] = np.nan
    predictor = WindowPredictor(packages[kind], threads=1)
    scores = predictor.score_chips(chips, ("nir@-1", "green", "red"))
    grid = GeoBox((17, 15), Affine(10, 0, 5e5, 0, -10, 4e6), "EPSG:32630")
    one_by_one = [
        predictor.score_windows(Raster(chip, ("nir@-1", "green", "red"), grid), [2], [1])
        for chip in chips
    ]
    assert np.flatnonzero(np.isnan(scores)).tolist() == [7]
    np.testing.assert_allclose(scores, np.ravel(one_by_one), atol=1e-6)
    with pytest.raises(ShapeMismatch, match="11 x 15 px are smaller than the window"):
        predictor.score_chips(chips[:, :, :11], ("nir@-1", "green", "red"))


def test_missing_bands_name_both_sides(packages):
    raster = make_raster(30, 30)
    wrong = Raster(raster.data_bhw, ("nir", "green", "red"), raster.geobox)
    with pytest.raises(BandNotFound, match=r"band nir@-1 is missing.*found: nir, green, red"):
        WindowPredictor(packages["cut"]).score_windows(wrong, [0], [0])


def test_another_resolution_names_both_sides(packages):
    with pytest.raises(ManifestMismatch, match="pixels of 10 m, the raster has 20"):
        WindowPredictor(packages["cut"]).score_windows(make_raster(30, 30, gsd=20), [0], [0])


@pytest.mark.parametrize("rows", [[19], [-1], [4, 4], [5, 3]])
def test_windows_outside_or_out_of_order_are_refused(packages, rows):
    with pytest.raises(ShapeMismatch, match="rows of windows must increase"):
        WindowPredictor(packages["cut"]).score_windows(make_raster(30, 30), rows, [0])


def test_values_that_are_no_scores_are_refused(packages):
    with pytest.raises(WeightsError, match="not scores between 0 and 1"):
        WindowPredictor(packages["wild"], threads=1).score_windows(
            make_raster(60, 60), [30, 40], [30, 40]
        )


def test_a_predictor_pickles_small_and_works_on(packages):
    raster, predictor = make_raster(40, 40), WindowPredictor(packages["dense"], threads=1)
    before = predictor.score_windows(raster, [20], [20, 25])
    frozen = pickle.dumps(predictor)
    assert len(frozen) < 5000
    runtime._load_session.cache_clear()
    assert np.array_equal(pickle.loads(frozen).score_windows(raster, [20], [20, 25]), before)  # noqa: S301


def test_an_adaptation_names_every_input_in_the_order_of_the_weights(packages):
    adapted = Level(
        sensor="s2-l2a", verified=False, adapt={"nir@-1": Adaptation(gain=0.9, offset=0.02)}
    )
    plain = Level(sensor="s2-l1c", verified=True)
    manifest = packages["dense"].manifest.model_copy(update={"levels": (plain, adapted)})
    assert manifest.bands == ("red", "nir@-1")
    assert manifest.adaptation_for("s2-l2a") == ((1, 0), (0.9, 0.02))
    assert manifest.adaptation_for("s2-l1c") is None
    assert manifest.adaptation_for("nicfi") is None


def test_threads_that_begin_together_load_weights_once(packages, monkeypatch):
    loads = []

    class SlowSession:
        def __init__(self, *args, **kwargs):
            loads.append(args)
            time.sleep(0.05)

    monkeypatch.setattr(runtime, "_OnnxRuntimeSession", SlowSession)
    runtime._load_session.cache_clear()
    with ThreadPoolExecutor(4) as pool:
        asked = [(packages["dense"], "onnxruntime", "f32", 1)] * 4
        sessions = list(pool.map(lambda given: runtime.open_session(*given), asked))
    runtime._load_session.cache_clear()
    assert len(loads) == 1
    assert all(session is sessions[0] for session in sessions)


def test_a_process_loads_weights_once(packages):
    first = runtime.open_session(packages["dense"], "onnxruntime", "f32", 1)
    assert runtime.open_session(packages["dense"], "onnxruntime", "f32", 1) is first
    assert runtime.open_session(packages["cut"], "onnxruntime", "f32", 1) is not first


def test_a_worker_refuses_weights_that_were_exchanged(tmp_path):
    package = make_package(tmp_path, "dense", dense=True)
    predictor = WindowPredictor(package, threads=1)
    package.weights_path.write_bytes(conv_weights(dense=True, gain=2.0)[0])
    runtime._load_session.cache_clear()
    with pytest.raises(WeightsError, match="SHA-256"):
        predictor.score_windows(make_raster(40, 40), [20], [20])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"engine": "tensorrt"}, "engine 'tensorrt' is not known"),
        ({"precision": "f16"}, "precision 'f16' is not known"),
        ({"engine": "onnxruntime", "precision": "bf16"}, "bf16 needs the engine openvino"),
        ({"threads": 0}, "threads and calls must be 1 or more"),
    ],
)
def test_impossible_requests_say_what_works(packages, arguments, message):
    with pytest.raises(ConfigError, match=message):
        WindowPredictor(packages["dense"], **arguments)


def test_auto_takes_the_engine_that_every_install_has():
    assert runtime.choose_engine("auto", "f32") == "onnxruntime"
    assert runtime.choose_engine("openvino", "f32") == "openvino"


def test_without_openvino_asking_for_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(runtime.importlib.util, "find_spec", lambda name: None)
    assert runtime.choose_engine("auto", "f32") == "onnxruntime"
    with pytest.raises(ConfigError, match=r"pip install sluice\[fast\]"):
        runtime.choose_engine("openvino", "f32")
    with pytest.raises(ConfigError, match=r"pip install sluice\[fast\]"):
        runtime.choose_engine("auto", "bf16")


class _Processor:
    def __init__(self, capabilities):
        self.capabilities = capabilities

    def get_property(self, device, name):
        assert (device, name) == ("CPU", "OPTIMIZATION_CAPABILITIES")
        return self.capabilities


def test_bf16_is_refused_where_the_processor_only_imitates_it(monkeypatch):
    monkeypatch.setattr(runtime, "_openvino_core", lambda: _Processor(["FP32", "INT8"]))
    with pytest.raises(ConfigError, match="this processor has no bf16 arithmetic"):
        runtime.choose_engine("auto", "bf16")
    monkeypatch.setattr(runtime, "_openvino_core", lambda: _Processor(["FP32", "BF16"]))
    assert runtime.choose_engine("auto", "bf16") == "openvino"


def test_openvino_computes_in_the_precision_that_was_asked_for(packages):
    weights = packages["dense"].read_weights()
    for precision, expected in (("f32", {"f32"}), ("bf16", {"bf16", "f32"})):
        session = runtime._OpenVinoSession(weights, precision, 1, 1, href="")
        operations = session._compiled.get_runtime_model().get_ops()
        used = {op.get_rt_info()["runtimePrecision"].value for op in operations}
        assert used <= expected
        hint = session._compiled.get_property("INFERENCE_PRECISION_HINT")
        assert hint.to_string() == precision


@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_that_fails_says_whose_weights(packages, engine):
    session = runtime.open_session(packages["cut"], engine, "f32", 1)
    with pytest.raises(WeightsError, match=r"weights\.onnx: .* cannot run these weights") as caught:
        session(np.zeros((1, 7, SIDE, SIDE), "f4"))
    assert "\n" not in str(caught.value)
