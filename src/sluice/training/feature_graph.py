"""Random features and what stands on them, as ONNX weights of a model package, checked equal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from scipy.special import expit

from sluice.base.errors import WeightsError
from sluice.models.package import INPUT_NAME
from sluice.training.random_features import ImagesNBHW, RandomFilters, featurise
from sluice.training.regressors import ForestModel, LinearModel

OPSET = 17
ML_OPSET = 3
IR_VERSION = 8
SCORE = "score"
_TOLERANCE = 1e-5
# Thousands of weighted responses of both signs are summed in float32.
_TOLERANCE_OF_SUMS = 1e-4
# Patches in one convolution: what a dense pass keeps in memory at once grows with it.
_PATCHES_AT_ONCE = 32


@dataclass
class _Graph:
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)

    def constant(self, array: npt.NDArray[Any]) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def add(self, operator: str, inputs: list[str], name: str | None = None, **options: Any) -> str:
        name = name or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **options))
        return name

    def rectified(self, kernels: npt.NDArray[np.float32], bias: float) -> tuple[str, str]:
        """relu(p*x + b) and relu(b - p*x), from one convolution."""
        side = kernels.shape[-1]
        response = self.add("Conv", [INPUT_NAME, self.constant(kernels)], kernel_shape=[side, side])
        threshold = self.constant(np.array(bias, np.float32))
        above = self.add("Relu", [self.add("Add", [response, threshold])])
        below = self.add("Relu", [self.add("Sub", [threshold, response])])
        return above, below

    def weighed(self, channels: str, weights: npt.NDArray[Any], offset: float) -> str:
        """One channel: the weighted sum of many, and an offset."""
        row = self.constant(weights.astype(np.float32).reshape(1, -1, 1, 1))
        inputs = [channels, row, self.constant(np.array([offset], np.float32))]
        return self.add("Conv", inputs, kernel_shape=[1, 1])

    def model(self, shape: list[Any], out_shape: list[Any]) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "random_features",
            [helper.make_tensor_value_info(INPUT_NAME, TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(self.nodes[-1].output[0], TensorProto.FLOAT, out_shape)],
            self.constants,
        )
        return helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="sluice",
        )


def linear_weights(
    filters: RandomFilters,
    model: LinearModel,
    window_px: int,
    stride_px: int,
    examples: ImagesNBHW,
) -> bytes:
    """Patches, a linear model and a sigmoid as weights that slide without seams.

    A mean of weighted sums is a weighted sum of means: so each pixel's responses are weighed
    first, and one channel is averaged over the window instead of two for each patch.

    Args:
        filters: The patches.
        model: On their features; the sigmoid of its decision is the score.
        window_px: Side of the window that one score judges.
        stride_px: Pixels between the scores of a pass.
        examples: (n, B, window_px, window_px) scaled images to compare on, n at least 1.

    Returns:
        A self-contained model, `image` (n, B, H, W) to `score` (n, 1, h, w).

    Raises:
        WeightsError: Its scores differ from the model's by over 1e-4.
    """
    graph = _Graph()
    # Taken off each sum before it is averaged and given back at the end: small numbers round less.
    usual = featurise(examples, filters).astype(np.float64).mean(axis=0) * model.weights
    means: list[str] = []
    first = 0
    for kernels in filters.kernels:
        count, side = len(kernels), kernels.shape[-1]
        sums: list[str] = []
        for start in range(0, count, _PATCHES_AT_ONCE):
            part = kernels[start : start + _PATCHES_AT_ONCE]
            for sign, rectified in enumerate(graph.rectified(part, filters.bias)):
                at = first + sign * count + start
                own = slice(at, at + len(part))
                sums.append(graph.weighed(rectified, model.weights[own], -usual[own].sum()))
        first += 2 * count
        means.append(
            graph.add(
                "AveragePool",
                [graph.add("Sum", sums)],
                kernel_shape=[window_px - side + 1] * 2,
                strides=[stride_px] * 2,
            )
        )
    rest = graph.constant(np.array(model.intercept + usual.sum(), np.float32))
    decision = graph.add("Sum", [*means, rest])
    graph.add("Sigmoid", [decision], name=SCORE)
    shape = ["n", filters.n_bands, "height", "width"]
    weights_bytes = _serialised(graph.model(shape, ["n", 1, "rows", "cols"]))
    _check_linear(weights_bytes, partial(_linear_scores, filters, model), examples, stride_px)
    return weights_bytes


def forest_weights(
    filters: RandomFilters, model: ForestModel, window_px: int, examples: ImagesNBHW
) -> bytes:
    """Patches and a forest as weights that take single windows.

    Args:
        filters: The patches.
        model: On their features.
        window_px: Side of the window.
        examples: (n, B, window_px, window_px) scaled images to compare on, n at least 1.

    Returns:
        A self-contained model, `image` (n, B, window_px, window_px) to `score` (n, 1).

    Raises:
        WeightsError: Its features or scores differ from the model's by over 1e-5.
    """
    graph = _Graph()
    parts: list[str] = []
    for kernels in filters.kernels:
        for rectified in graph.rectified(kernels, filters.bias):
            pooled = graph.add("GlobalAveragePool", [rectified])
            parts.append(graph.add("Flatten", [pooled], axis=1))
    graph.add("Concat", parts, name="features", axis=1)
    shape = ["n", filters.n_bands, window_px, window_px]
    features = graph.model(shape, ["n", filters.n_features])
    trees = forest_graph(model, filters.n_features)
    joined = onnx.compose.merge_models(
        _with_opsets(features, trees), trees, io_map=[("features", "table")]
    )
    weights = _serialised(joined)
    _check_forest(weights, filters, model, examples)
    return weights


def forest_graph(model: ForestModel, n_features: int) -> onnx.ModelProto:
    """A forest alone: `table` (n, n_features) float32 to `score` (n, 1)."""
    # Heavy, and needed for forests only.
    from skl2onnx import convert_sklearn  # noqa: PLC0415
    from skl2onnx.common.data_types import FloatTensorType  # noqa: PLC0415

    converted = convert_sklearn(
        model.forest,
        # Otherwise a random one: the same forest would be another file each time.
        name="forest",
        initial_types=[("table", FloatTensorType([None, n_features]))],
        options={id(model.forest): {"zipmap": False}},
        target_opset={"": OPSET, "ai.onnx.ml": ML_OPSET},
    )
    graph = converted.graph
    graph.initializer.append(numpy_helper.from_array(np.array([1], np.int64), "mine_column"))
    graph.node.append(
        helper.make_node("Gather", ["probabilities", "mine_column"], [SCORE], name=SCORE, axis=1)
    )
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(SCORE, TensorProto.FLOAT, ["n", 1]))
    return helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)],
        ir_version=IR_VERSION,
        producer_name="sluice",
    )


def run_onnx(weights: bytes, outputs: list[str], **inputs: Any) -> list[npt.NDArray[np.float32]]:
    """Run a model once, by ONNX Runtime."""
    session = onnxruntime.InferenceSession(weights, providers=["CPUExecutionProvider"])
    results: list[npt.NDArray[np.float32]] = session.run(outputs, inputs)
    return results


def _with_opsets(model: onnx.ModelProto, like: onnx.ModelProto) -> onnx.ModelProto:
    del model.opset_import[:]
    model.opset_import.extend(like.opset_import)
    return model


def _serialised(model: onnx.ModelProto) -> bytes:
    onnx.checker.check_model(model, full_check=True)
    serialised: bytes = model.SerializeToString()
    return serialised


def _linear_scores(
    filters: RandomFilters, model: LinearModel, scaled: ImagesNBHW
) -> npt.NDArray[Any]:
    scores: npt.NDArray[Any] = expit(model.decide(featurise(scaled, filters)))
    return scores


def _check_linear(
    weights: bytes,
    score: Callable[[ImagesNBHW], npt.NDArray[Any]],
    examples: ImagesNBHW,
    stride_px: int,
) -> None:
    (found,) = run_onnx(weights, [SCORE], **{INPUT_NAME: examples})
    expected = score(examples).reshape(-1, 1, 1, 1)
    _compare("scores", found, expected, _TOLERANCE_OF_SUMS)
    # A larger image, whose width is no multiple of the stride.
    side = examples.shape[3]
    wide = np.concatenate([examples[:1], examples[-1:]], axis=3)[..., : 2 * side - 3]
    starts = range(0, wide.shape[3] - side + 1, stride_px)
    alone = score(np.concatenate([wide[..., left : left + side] for left in starts]))
    (dense,) = run_onnx(weights, [SCORE], **{INPUT_NAME: wide})
    _compare("scores of a pass", dense, alone.reshape(1, 1, 1, -1), _TOLERANCE_OF_SUMS)


def _check_forest(
    weights: bytes, filters: RandomFilters, model: ForestModel, examples: ImagesNBHW
) -> None:
    # A feature beside a tree's threshold may fall on its other side for the last bit of a sum;
    # so the features are compared, and the forest is asked about the very same ones.
    inspected = onnx.load_model_from_string(weights)
    inspected.graph.output.append(
        helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", filters.n_features])
    )
    found, features = run_onnx(
        inspected.SerializeToString(), [SCORE, "features"], **{INPUT_NAME: examples}
    )
    expected = featurise(examples, filters)
    _compare("features", features / (1 + expected), expected / (1 + expected))
    _compare("scores", found, model.decide(features)[:, np.newaxis])


def _compare(
    what: str, found: npt.NDArray[Any], expected: npt.NDArray[Any], tolerance: float = _TOLERANCE
) -> None:
    # Asked this way round, NaN is not equal.
    if found.shape != expected.shape or not np.abs(found - expected).max() <= tolerance:
        far = np.abs(found - expected).max() if found.shape == expected.shape else np.nan
        raise WeightsError(
            f"the exported model's {what} {found.shape} differ from the fitted one's "
            f"{expected.shape} by {far:.2g}; use a stronger penalty, or other versions of onnx, "
            "onnxruntime and skl2onnx"
        )
