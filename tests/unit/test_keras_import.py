"""Keras files: the import against a plain numpy forward pass, and what is refused."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox

from sluice.base.errors import ConfigError, WeightsError
from sluice.base.raster import Raster
from sluice.base.sensors import SENSORS
from sluice.models.keras_file import read_keras_file
from sluice.models.keras_graph import to_onnx
from sluice.models.keras_import import import_keras
from sluice.models.predictor import WindowPredictor
from sluice.models.presets import PRESETS

# A slow forward pass, layer by layer, channels last as in Keras, in double precision.


def forward(model, weights, image, path=""):
    """Run an architecture on one (H, W, C) image."""
    values, value = {}, image
    for layer in model["config"]["layers"]:
        kind, config = layer["class_name"], layer["config"]
        name = f"{path}/{config['name']}" if path else config["name"]
        sources = [values[s[0]] for node in layer.get("inbound_nodes", []) for s in node]
        value = image if kind == "InputLayer" else sources[0] if sources else value
        if kind in ("Sequential", "Functional"):
            value = forward(layer, weights, value, config["name"])
        elif kind == "Concatenate":
            value = np.concatenate(sources, axis=-1)
        elif kind in STEPS:
            value = STEPS[kind](config, weights.get(name, {}), value)
        values[config["name"]] = value
    return value


def _conv(config, weights, x):
    (kh, kw), (sh, sw), (dh, dw) = config["kernel_size"], config["strides"], config["dilation_rate"]
    reach = (dh * (kh - 1) + 1, dw * (kw - 1) + 1)
    if config["padding"] == "same":
        size = [-(-x.shape[0] // sh), -(-x.shape[1] // sw)]
        pads = [
            max((n - 1) * s + r - side, 0)
            for n, s, r, side in zip(size, (sh, sw), reach, x.shape, strict=False)
        ]
        x = np.pad(x, [*((p // 2, p - p // 2) for p in pads), (0, 0)])
    height = (x.shape[0] - reach[0]) // sh + 1
    width = (x.shape[1] - reach[1]) // sw + 1
    groups = config.get("groups", 1)
    kernels = np.split(weights["kernel"].astype(float), groups, axis=3)
    out = np.empty((height, width, config["filters"]))
    for i in range(height):
        for j in range(width):
            box = x[i * sh : i * sh + reach[0] : dh, j * sw : j * sw + reach[1] : dw]
            parts = zip(np.split(box, groups, axis=2), kernels, strict=True)
            out[i, j] = np.concatenate([np.tensordot(b, k, 3) for b, k in parts])
    return _activate(config, out + weights.get("bias", 0))


def _pool(config, weights, x):
    (ph, pw), (sh, sw) = config["pool_size"], config["strides"]
    height, width = (x.shape[0] - ph) // sh + 1, (x.shape[1] - pw) // sw + 1
    return np.array(
        [
            [x[i * sh : i * sh + ph, j * sw : j * sw + pw].max(axis=(0, 1)) for j in range(width)]
            for i in range(height)
        ]
    )


def _norm(config, w, x):
    scale = w["gamma"] / np.sqrt(w["moving_variance"].astype(float) + config["epsilon"])
    return (x - w["moving_mean"]) * scale + w["beta"]


def _activate(config, x):
    match config.get("activation", "linear"):
        case "relu":
            return np.maximum(x, 0)
        case "sigmoid":
            return 1 / (1 + np.exp(-x))
        case "softmax":
            e = np.exp(x - x.max(axis=-1, keepdims=True))
            return e / e.sum(axis=-1, keepdims=True)
    return x


STEPS = {
    "Conv2D": _conv,
    "MaxPooling2D": _pool,
    "Flatten": lambda c, w, x: x.reshape(-1),
    "Dense": lambda c, w, x: _activate(c, x @ w["kernel"].astype(float) + w.get("bias", 0)),
    "BatchNormalization": _norm,
    "Rescaling": lambda c, w, x: x * c["scale"] + c["offset"],
    "GlobalAveragePooling2D": lambda c, w, x: x.mean(axis=(0, 1)),
    "Activation": lambda c, w, x: _activate(c, x),
    "ReLU": lambda c, w, x: np.maximum(x, 0),
}


# Small Keras files, written the way Keras writes them.


def layer(kind, name, /, inbound=None, **config):
    written = {"class_name": kind, "config": {"name": name, **config}}
    if inbound is not None:
        written["inbound_nodes"] = [[[source, 0, 0, {}] for source in inbound]] if inbound else []
    return written


def image_input(name="in", shape=(13, 11, 3), **kwargs):
    return layer("InputLayer", name, batch_input_shape=[None, *shape], **kwargs)


def conv(name, filters, **config):
    defaults = {
        "kernel_size": [3, 3],
        "strides": [1, 1],
        "padding": "same",
        "dilation_rate": [1, 1],
        "data_format": "channels_last",
        "groups": 1,
        "activation": "relu",
        "use_bias": True,
    }
    return layer("Conv2D", name, filters=filters, **(defaults | config))


def dense(name, units, activation="linear", **config):
    return layer("Dense", name, units=units, activation=activation, **({"use_bias": True} | config))


def pool(name, size=2, stride=2):
    return layer(
        "MaxPooling2D", name, pool_size=[size, size], strides=[stride, stride], padding="valid"
    )


def sequential(*layers, name="model"):
    return {"class_name": "Sequential", "config": {"name": name, "layers": list(layers)}}


def write_h5(path, architecture, weights):
    """`weights`: {top layer: {"layer/kernel": array}}."""
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(architecture)
        file.attrs["keras_version"] = "2.15.0"
        root = file.create_group("model_weights")
        for top, arrays in weights.items():
            group = root.create_group(top)
            for name, array in arrays.items():
                group[f"{name}:0"] = np.asarray(array, "f4")
    return path


def random(*shape, seed=0):
    return np.random.default_rng(seed + sum(shape)).normal(0, 0.4, shape).astype("f4")


def kernels(name, *shape, seed=0):
    return {f"{name}/kernel": random(*shape, seed=seed), f"{name}/bias": random(shape[-1])}


EVERYTHING = sequential(
    image_input(),
    layer("RandomFlip", "flip", mode="horizontal"),
    layer("Rescaling", "rescale", scale=1.7, offset=-0.2),
    conv("c1", 4, strides=[2, 2], activation="linear"),
    layer(
        "BatchNormalization", "bn", axis=[3], epsilon=1e-3, scale=True, center=True, momentum=0.9
    ),
    layer("ReLU", "relu", max_value=None, negative_slope=0.0, threshold=0.0),
    conv("c2", 6, groups=2, use_bias=False, kernel_size=[3, 2]),
    layer("GaussianNoise", "noise", stddev=0.1),
    conv("c3", 5, dilation_rate=[2, 2], activation="sigmoid"),
    pool("p"),
    layer("SpatialDropout2D", "sd", rate=0.3),
    conv("c4", 4, padding="valid", kernel_size=[2, 2], activation="linear"),
    layer("Activation", "act", activation="relu"),
    layer("Flatten", "flat", data_format="channels_last"),
    dense("d1", 7, "relu"),
    layer("Dropout", "drop", rate=0.5),
    dense("d2", 2, "softmax", use_bias=False),
)
EVERYTHING_WEIGHTS = {
    "c1": kernels("c1", 3, 3, 3, 4),
    "bn": {
        "bn/gamma": random(4) + 1,
        "bn/beta": random(4, seed=1),
        "bn/moving_mean": random(4, seed=2),
        "bn/moving_variance": random(4, seed=3) ** 2 + 0.5,
    },
    "c2": {"c2/kernel": random(3, 2, 2, 6)},
    "c3": kernels("c3", 3, 3, 6, 5),
    "c4": kernels("c4", 2, 2, 5, 4),
    # 13 x 11 -> 7 x 6 -> pooled 3 x 3 -> 2 x 2 x 4.
    "d1": kernels("d1", 16, 7),
    "d2": {"d2/kernel": random(7, 2)},
}


def run(model, image_hwc):
    import onnxruntime as ort

    session = ort.InferenceSession(model.SerializeToString())
    batch = np.repeat(image_hwc.transpose(2, 0, 1)[None], 3, axis=0).astype("f4")
    scores = session.run(None, {"image": batch})[0]
    assert scores.shape == (3, 1)
    assert np.ptp(scores) < 1e-6
    return scores[0, 0]


def test_every_known_layer_equals_the_plain_forward_pass(tmp_path):
    file = read_keras_file(write_h5(tmp_path / "m.h5", EVERYTHING, EVERYTHING_WEIGHTS))
    model, shape = to_onnx(file)
    assert shape == (13, 11, 3)
    for seed in range(5):
        image = np.random.default_rng(seed).uniform(-1, 2, (13, 11, 3))
        expected = forward(EVERYTHING, file.weights, image)
        assert run(model, image) == pytest.approx(expected[1], abs=1e-5)


def ensemble():
    def member(name, side):
        return sequential(
            image_input(f"{name}_in", (8, 8, 2)),
            conv(f"{name}_c", 3),
            layer("GlobalAveragePooling2D", f"{name}_g", keepdims=False),
            dense(f"{name}_d", 1, "sigmoid"),
            name=name,
        )

    members = [member(name, 8) | {"inbound_nodes": [[["in", 0, 0, {}]]]} for name in ("a", "b")]
    joined = layer("Concatenate", "all", axis=-1)
    # Keras counts the calls of a nested model: the second call, index 1, is the one here.
    joined["inbound_nodes"] = [[["a", 1, 0, {}], ["b", 1, 0, {}]]]
    layers = [image_input("in", (8, 8, 2)) | {"inbound_nodes": []}, *members, joined]
    config = {"name": "e", "layers": layers, "output_layers": [["all", 0, 0]]}
    weights = {
        name: kernels(f"{name}_c", 3, 3, 2, 3, seed=seed) | kernels(f"{name}_d", 3, 1, seed=seed)
        for seed, name in enumerate("ab")
    }
    return {"class_name": "Functional", "config": config}, weights


def test_an_ensemble_is_the_mean_of_its_members(tmp_path):
    architecture, weights = ensemble()
    file = read_keras_file(write_h5(tmp_path / "m.h5", architecture, weights))
    model, _ = to_onnx(file)
    image = np.random.default_rng(0).random((8, 8, 2))
    columns = forward(architecture, file.weights, image)
    assert columns.shape == (2,)
    assert abs(columns[0] - columns[1]) > 1e-3
    assert run(model, image) == pytest.approx(columns.mean(), abs=1e-6)


def simple(*middle, end=None):
    return sequential(
        image_input(shape=(4, 4, 1)),
        *middle,
        layer("GlobalAveragePooling2D", "g", keepdims=False),
        end or dense("d", 1, "sigmoid"),
    )


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        (simple(layer("Lambda", "evil", function=["code"])), "layer evil: Lambda cannot be"),
        (simple(layer("SeparableConv2D", "s")), "layer s: SeparableConv2D cannot be imported"),
        (simple(layer("Activation", "a", activation="swish")), "layer a: activation='swish'"),
        (simple(conv("c", 1, padding="causal")), "layer c: padding='causal'"),
        (simple(conv("c", 1, data_format="channels_first")), "data_format='channels_first'"),
        (simple(layer("ReLU", "r", max_value=6.0)), "layer r: max_value=6.0"),
        (simple(end=dense("d", 1, "linear")), r"ends in \(1,\) numbers after linear"),
        (simple(end=dense("d", 3, "softmax")), r"ends in \(3,\) numbers after softmax"),
        (
            simple(conv("c", 2)),
            r"layer c: kernel of shape \(3, 3, 1, 2\) is expected, found \(3, 3",
        ),
        (simple(conv("missing", 1)), "layer missing: kernel .* found missing"),
        (simple(layer("Conv2D", "c", padding="same")), "the architecture lacks something"),
        (sequential(dense("d", 1, "sigmoid")), "takes inputs of shape None"),
        (
            {"class_name": "Tower", "config": {"layers": [image_input()]}},
            "a model of class Tower cannot be imported",
        ),
    ],
)
def test_what_cannot_be_expressed_is_refused_by_name(tmp_path, architecture, message):
    weights = {
        "c": kernels("c", 3, 3, 1, 1),
        "d": kernels("d", 1, architecture["config"]["layers"][-1]["config"].get("units", 1)),
    }
    path = write_h5(tmp_path / "m.h5", architecture, weights)
    with pytest.raises(WeightsError, match=message) as caught:
        import_keras(path, "amw-2021-rgb", "mine", tmp_path)
    assert str(path) in str(caught.value)
    assert list(tmp_path.iterdir()) == [path]


def _external_link(file, folder):
    file["model_weights/d/other"] = h5py.ExternalLink(str(folder / "secret.h5"), "/x")


def _soft_link(file, folder):
    file["model_weights/d/other"] = h5py.SoftLink("/model_weights")


def _loop(file, folder):
    file["model_weights/d/loop"] = file["model_weights"]


def _many_loops(file, folder):
    root = file["model_weights"]
    del root["d"]
    for name in "abcdefgh":
        root.create_group(name)
    for name in "abcdefgh":
        for other in "abcdefgh":
            root[f"{name}/{other}"] = root[other]


def _external_data(file, folder):
    file.create_dataset(
        "model_weights/d/raw", (4,), "f4", external=[(str(folder / "secret"), 0, 16)]
    )


def _virtual(file, folder):
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource(str(folder / "secret.h5"), "x", (4,))
    file.create_virtual_dataset("model_weights/d/virtual", layout)


def _huge(file, folder):
    file.create_dataset("model_weights/d/huge", (50_000, 50_000), "f4", chunks=(100, 100))


def _objects(file, folder):
    file.create_dataset("model_weights/d/text", data=["a"], dtype=h5py.string_dtype())


def _nan(file, folder):
    file["model_weights/d/nan"] = np.array([np.nan], "f4")


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (_external_link, "is a link"),
        (_soft_link, "is a link"),
        (_loop, "nested too deeply|two arrays named"),
        (_many_loops, "nested too deeply or without end"),
        (_external_data, "keeps its data in another file"),
        (_virtual, "keeps its data in another file"),
        (_huge, "more than 200,000,000 weights"),
        (_objects, "no floating point"),
        (_nan, "values that are not numbers"),
    ],
)
def test_unsafe_files_are_refused(tmp_path, harm, message):
    path = write_h5(tmp_path / "m.h5", simple(), {"d": kernels("d", 1, 1)})
    assert read_keras_file(path)
    with h5py.File(path, "a") as file:
        harm(file, tmp_path)
    with pytest.raises(WeightsError, match=message):
        read_keras_file(path)


def test_files_that_are_no_models_are_refused(tmp_path):
    path = write_h5(tmp_path / "m.h5", EVERYTHING, EVERYTHING_WEIGHTS)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"GIF89a", b""):
        path.write_bytes(content)
        with pytest.raises(WeightsError, match=r"not a whole Keras \.h5 file") as caught:
            read_keras_file(path)
        assert "\n" not in str(caught.value)
    with h5py.File(path, "w") as file:
        file.create_group("model_weights")
    with pytest.raises(WeightsError, match="holds no Keras model"):
        read_keras_file(path)
    with pytest.raises(ConfigError, match="no such file"):
        read_keras_file(tmp_path / "absent.h5")


def test_names_and_presets_are_checked(tmp_path):
    with pytest.raises(ConfigError, match="'amw-1999' is not known; use one of amw-2021-28px"):
        import_keras(tmp_path / "m.h5", "amw-1999", "mine", tmp_path)
    with pytest.raises(ConfigError, match=r"'\.\./mine' cannot name a model"):
        import_keras(tmp_path / "m.h5", "amw-2021", "../mine", tmp_path)


def test_the_28_px_model_equals_the_plain_forward_pass(shared_data, tmp_path):
    """No scores of it are published."""
    path = shared_data / "amw-models" / "28_px_v9.h5"
    file = read_keras_file(path)
    package = import_keras(path, "amw-2021-28px", "old", tmp_path)
    with rasterio.open(shared_data / "s2s1-spain-water" / "Spain_7370579_S2Hand.tif") as source:
        reflectance = source.read().astype("f4") / 10_000
    grid = GeoBox((512, 512), Affine(10, 0, 5e5, 0, -10, 4e6), "EPSG:32630")
    names = tuple(band.common_name for band in SENSORS["s2-l1c"].bands)
    raster = Raster(reflectance, names, grid)
    at = [0, 100, 250, 484]
    scores = WindowPredictor(package, threads=1).score_windows(raster, at, at)
    bands = [raster.band(spec.band) for spec in package.manifest.inputs]
    for i, row in enumerate(at):
        for j, col in enumerate(at):
            window = np.stack(
                [
                    (band[row : row + 28, col : col + 28].astype(float) - spec.subtract)
                    / spec.divide
                    for band, spec in zip(bands, package.manifest.inputs, strict=True)
                ],
                axis=-1,
            )
            expected = forward(file.architecture, file.weights, window)[1]
            assert scores[i, j] == pytest.approx(expected, abs=1e-5)


def test_presets_name_bands_that_their_sensor_has():
    for preset in PRESETS.values():
        known = {band.common_name for band in SENSORS["s2-l1c"].bands}
        assert {i.band for i in preset.inputs} <= known
        assert Path(preset.id).name == preset.id
