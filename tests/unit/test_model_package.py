"""Manifests and packages: what is written is what is read, and what is wrong is named."""

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from scenes import write_class_model
from sluice.base.calibration import Calibration
from sluice.base.errors import ConfigError, ManifestMismatch, WeightsError
from sluice.models.manifest import (
    Level,
    Manifest,
    ScaledInput,
    Thresholds,
    Weights,
    is_legal_name,
    parse_manifest,
)
from sluice.models.package import (
    DamagedPackage,
    ModelPackage,
    builtin_folder,
    list_packages,
    load_package,
    write_package,
)


def tiny_weights(channels=2, side=8, columns=1, name="image"):
    """The sigmoid of the mean of all inputs."""
    nodes = [
        helper.make_node("ReduceMean", [name], ["mean"], axes=[1, 2, 3], keepdims=1),
        helper.make_node("Reshape", ["mean", "shape"], ["flat"]),
        helper.make_node("Expand", ["flat", "wide"], ["expanded"]),
        helper.make_node("Sigmoid", ["expanded"], ["score"]),
    ]
    constants = [
        numpy_helper.from_array(np.array([-1, 1], np.int64), "shape"),
        numpy_helper.from_array(np.array([1, columns], np.int64), "wide"),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", channels, side, side])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["n", columns])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


def tiny_manifest(weights, **changes):
    fields = {
        "name": "tiny",
        "title": "Tiny",
        "summary": "A test.",
        "licence": "Apache-2.0",
        "attribution": "nobody",
        "architecture": "mean",
        "framework": "none",
        "pretrained": False,
        "inputs": (ScaledInput(band="red"), ScaledInput(band="vv", period=-1)),
        "levels": (Level(sensor="s2-l1c", verified=True),),
        "gsd_m": 10.0,
        "window_px": 8,
        "stride_m": 80.0,
        "output": "bright",
        "thresholds": Thresholds(t_main=0.4, t_iso=0.7),
        "weights": Weights(sha256=hashlib.sha256(weights).hexdigest()),
    }
    return Manifest(**(fields | changes))


@pytest.fixture
def package(tmp_path):
    weights = tiny_weights()
    return write_package(tmp_path / "tiny", tiny_manifest(weights), weights, "# Tiny\n")


def test_a_package_reads_back_as_it_was_written(package, tmp_path):
    manifest = tiny_manifest(
        tiny_weights(),
        name="full",
        created="2026-02-03",
        calibration=Calibration(
            scores=(0, 1), log_likelihood_ratio=(-2, 3), training_prior=0.2, fitted_on="folds"
        ),
        training={"data": "chips", "folds": [1, 2], "figures": {"ap": 0.9}},
    )
    written = write_package(tmp_path / "full", manifest, tiny_weights(), "# Full\n")
    by_name, by_path = load_package("full", tmp_path), load_package(tmp_path / "full", None)
    assert written == by_name == by_path
    assert by_name.manifest == manifest
    assert by_name.manifest.bands == ("red", "vv@-1")
    assert by_name.manifest.stride_px == 8
    assert by_name.card_path.read_text() == "# Full\n"
    names = [found.name for found in list_packages(tmp_path)]
    assert names[-2:] == ["full", "tiny"]
    assert by_name.sha256 != package.sha256


def test_the_hash_knows_the_content_and_not_the_line_ends(package):
    path = package.folder / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert load_package(package.folder, None).sha256 == package.sha256
    raw = json.loads(path.read_text())
    raw["thresholds"]["t_main"] = 0.41
    path.write_text(json.dumps(raw))
    assert load_package(package.folder, None).sha256 != package.sha256


def test_damaged_weights_are_refused(package):
    weights = bytearray(package.weights_path.read_bytes())
    weights[-1] ^= 1
    package.weights_path.write_bytes(weights)
    with pytest.raises(WeightsError, match=r"SHA-256 is \w+…, the manifest says"):
        load_package("tiny", package.folder.parent)
    package.weights_path.unlink()
    with pytest.raises(WeightsError, match="cannot be read"):
        load_package("tiny", package.folder.parent)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 2}, "schema version 2, this Sluice reads 1"),
        ({"surprise": 1}, "surprise: Extra inputs are not permitted"),
        ({"gsd_m": 0}, "gsd_m: Input should be greater than 0"),
        ({"thresholds": {"t_main": 0.5, "t_iso": 0.4}}, "t_iso 0.4 is below t_main 0.5"),
        ({"levels": [{"sensor": "s9", "verified": True}]}, "'s9' is not known; use one of s2-l1c"),
        ({"inputs": [{"band": "red"}, {"band": "red"}]}, "named twice: red, red"),
        ({"inputs": [{"band": "red", "divide": 0}]}, "divide > 0"),
        ({"dense_stride_px": 9}, "dense_stride_px 9 exceeds window_px 8"),
        ({"name": "other"}, "names the model 'other'"),
        ({"weights": {"sha256": "0" * 64, "file": "../x"}}, "Input should be 'weights.onnx'"),
    ],
)
def test_a_wrong_manifest_is_named(package, change, message):
    path = package.folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ManifestMismatch, match=message) as caught:
        load_package("tiny", package.folder.parent)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000])
def test_what_is_no_manifest_is_refused(text):
    with pytest.raises(ManifestMismatch, match=r"here: (not a JSON file|manifest of schema)"):
        parse_manifest(text, href="here")


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (
            tiny_weights(channels=3),
            r"needs an input image \(any, 2, 8, 8\).*image \(any, 3, 8, 8\)",
        ),
        (tiny_weights(side=9), r"image \(any, 2, 9, 9\)"),
        (tiny_weights(name="x"), r"the weights take x"),
        (tiny_weights(columns=2), r"the weights give \(any, 2\), the manifest promises \(any, 1\)"),
    ],
)
def test_weights_that_contradict_the_manifest_are_refused(tmp_path, weights, message):
    with pytest.raises(ManifestMismatch, match=message):
        write_package(tmp_path / "tiny", tiny_manifest(weights), weights, "")
    assert list(tmp_path.iterdir()) == []


def edit(folder, **changes):
    file = folder / "manifest.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_bound_weights_find_out_a_manifest_that_was_changed(tmp_path):
    weights = tiny_weights()
    given = tiny_manifest(weights)
    bound = write_package(tmp_path / "tiny", given, weights, "", bind=True)
    told = bound.manifest.model_dump(mode="json")
    assert bound.read_weights().startswith(weights)
    assert told["weights"]["sha256"] != given.weights.sha256
    # What does not concern the weights may be changed.
    edit(bound.folder, title="Other", stride_m=40, thresholds={"t_main": 0.5, "t_iso": 0.8})
    assert load_package("tiny", tmp_path).manifest.thresholds.t_main == 0.5
    for field, value, words in (
        ("inputs", told["inputs"][::-1], r"inputs\[0\] .*red.*, the manifest says .*vv"),
        (
            "inputs",
            [{**told["inputs"][0], "divide": 0.3}, told["inputs"][1]],
            r"inputs\[0\] .*0\.3",
        ),
        ("gsd_m", 20, r"gsd_m 10.0, the manifest says 20.0"),
    ):
        edit(bound.folder, **{field: value})
        with pytest.raises(ManifestMismatch, match=words):
            load_package("tiny", tmp_path)
        edit(bound.folder, **{field: told[field]})
    # As if another version had said nothing of what stands at its default.
    file = bound.folder / "manifest.json"
    file.write_text(json.dumps({k: v for k, v in told.items() if v not in ([], None)}))
    assert load_package("tiny", tmp_path).manifest == bound.manifest


def test_bound_weights_score_as_before(tmp_path):
    weights = tiny_weights()
    bound = write_package(tmp_path / "tiny", tiny_manifest(weights), weights, "", bind=True)
    image = np.random.default_rng(0).random((2, 2, 8, 8), dtype=np.float32)
    first, second = (
        onnxruntime.InferenceSession(each).run(None, {"image": image})[0]
        for each in (weights, bound.read_weights())
    )
    assert np.array_equal(first, second)


def test_swapped_classes_are_found_out(tmp_path):
    """A model of pixels whose names were put in another order."""
    package = write_class_model(tmp_path, bind=True)
    classes = list(package.manifest.classes)
    edit(package.folder, classes=[classes[0], *classes[:0:-1]])
    with pytest.raises(ManifestMismatch, match="classes"):
        load_package(package.folder, None)


def test_weights_that_point_to_other_files_are_refused(tmp_path):
    model = onnx.load_model_from_string(tiny_weights())
    hidden = helper.make_tensor("hidden", TensorProto.FLOAT, [1], [1.0])
    hidden.ClearField("float_data")
    hidden.data_location = TensorProto.EXTERNAL
    hidden.external_data.add(key="location", value="../../secret")
    inner = helper.make_graph(
        [helper.make_node("Constant", [], ["y"], value=hidden)],
        "inner",
        [],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
    )
    truth = helper.make_tensor("truth", TensorProto.BOOL, [], [1])
    model.graph.initializer.append(truth)
    branch = helper.make_node("If", ["truth"], ["z"], then_branch=inner, else_branch=inner)
    model.graph.node.append(branch)
    weights = model.SerializeToString()
    with pytest.raises(WeightsError, match="point to other files"):
        write_package(tmp_path / "tiny", tiny_manifest(weights), weights, "")


def test_weights_that_are_no_onnx_are_refused(tmp_path):
    weights = b"\x89HDF no onnx"
    with pytest.raises(WeightsError, match="not an ONNX model"):
        write_package(tmp_path / "tiny", tiny_manifest(weights), weights, "")


@pytest.mark.parametrize(
    "name", ["..", "a/../b", "Tiny", "con", "nul.v2", ".hidden", "a..b", "ends.", "", "ü", "x" * 65]
)
def test_illegal_names(name):
    assert not is_legal_name(name)


def test_legal_names():
    assert all(map(is_legal_name, ["a", "amw-2021", "my_model.v2", "x" * 64, "console"]))


def test_an_unknown_model_lists_the_known(package):
    with pytest.raises(ConfigError, match=r"'tinny' is not here; found: .*tiny"):
        load_package("tinny", package.folder.parent)
    with pytest.raises(ConfigError, match="cannot name a model"):
        load_package("..", package.folder.parent)
    with pytest.raises(ConfigError, match="no such model folder"):
        load_package("./tinny", package.folder.parent)


def test_a_package_is_replaced_only_on_request_and_whole(package):
    weights = tiny_weights()
    changed = tiny_manifest(weights, title="Changed")
    with pytest.raises(ConfigError, match="is there already"):
        write_package(package.folder, changed, weights, "")
    after = write_package(package.folder, changed, weights, "# New\n", replace=True)
    assert after.manifest.title == "Changed"
    assert [p.name for p in package.folder.parent.iterdir()] == ["tiny"]


def test_a_failed_replacement_leaves_the_old_package(package, monkeypatch):
    real = Path.write_bytes

    def full_disk(path, data):
        if path.name == "weights.onnx":
            raise OSError(28, "No space left on device")
        return real(path, data)

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    weights = tiny_weights()
    with pytest.raises(OSError, match="No space left"):
        write_package(package.folder, tiny_manifest(weights), weights, "", replace=True)
    assert load_package("tiny", package.folder.parent) == package
    assert [p.name for p in package.folder.parent.iterdir()] == ["tiny"]


def test_a_damaged_package_is_listed_with_its_reason(package, tmp_path):
    weights = tiny_weights()
    write_package(tmp_path / "whole", tiny_manifest(weights, name="whole"), weights, "")
    package.weights_path.write_bytes(b"")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "manifest.json").write_bytes(b"")
    empty, tiny, whole = list_packages(tmp_path)[-3:]
    assert isinstance(empty, DamagedPackage)
    assert isinstance(tiny, DamagedPackage)
    assert (empty.name, tiny.name, whole.name) == ("empty", "tiny", "whole")
    assert "SHA-256" in tiny.reason
    assert "\n" not in empty.reason + tiny.reason
    assert whole == load_package("whole", tmp_path)


def test_builtin_packages_load():
    """However many there are."""
    expected = sorted(p.parent.name for p in builtin_folder().glob("*/manifest.json"))
    found = list_packages(None)
    assert [p.name for p in found] == expected
    assert all(isinstance(p, ModelPackage) for p in found)
