"""Translates a Keras architecture with its weights into an ONNX graph.

Keras keeps channels last, ONNX first: inside the graph an image is (N, C, H, W), and only
`Flatten` turns it back, because the weights after it were fitted to that order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from sluice.base.errors import WeightsError
from sluice.models.keras_file import Float32, KerasFile, LayerConfig
from sluice.models.package import INPUT_NAME

OPSET = 17
_IR_VERSION = 8
_IDENTITY = frozenset(
    {
        "ActivityRegularization",
        "AlphaDropout",
        "Dropout",
        "GaussianDropout",
        "GaussianNoise",
        "RandomBrightness",
        "RandomContrast",
        "RandomFlip",
        "RandomRotation",
        "RandomTranslation",
        "RandomZoom",
        "SpatialDropout2D",
    }
)
"""Layers that change something in training only."""


@dataclass(frozen=True)
class Value:
    """An array in the graph."""

    name: str
    shape: tuple[int, ...]
    """(C, H, W), or (features,); the batch axis is left out."""
    ends_in: str = "linear"
    """The last activation: what the numbers can be."""


@dataclass
class KerasGraph:
    """The ONNX graph under construction."""

    file: KerasFile
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)

    def add(self, op: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Append a node; the name of its output."""
        name = f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, array: np.ndarray[Any, Any]) -> str:
        """Add weights; their name."""
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def weight(self, path: str, kind: str, shape: tuple[int, ...]) -> Float32:
        """Weights of a layer, whose shape must be what the architecture says."""
        array = self.file.weights.get(path, {}).get(kind)
        found = "missing" if array is None else array.shape
        if array is None or array.shape != shape:
            raise WeightsError(
                f"layer {path}: {kind} of shape {shape} is expected, found {found}; "
                "the file is damaged"
            )
        return array


def to_onnx(file: KerasFile) -> tuple[onnx.ModelProto, tuple[int, int, int]]:
    """Translate a Keras classifier.

    One sigmoid is the score; of two softmax columns the second is (class 1, mine); several
    sigmoids, from an ensemble, are averaged.

    Returns:
        The ONNX model, (N, C, H, W) to (N, 1), and (height, width, channels) as Keras has them.

    Raises:
        WeightsError: A layer, activation or option that cannot be expressed; its name is given.
    """
    height, width, channels = _input_shape(file.architecture)
    graph = KerasGraph(file)
    image = Value(INPUT_NAME, (channels, height, width))
    try:
        score = _score(graph, _model(graph, file.architecture, "", [image]))
    except (KeyError, TypeError, ValueError) as err:
        raise WeightsError(
            f"the architecture lacks something or has it in another form ({err!r}); "
            "the file is damaged"
        ) from err
    # One fixed name for the output, whatever the last layer was called.
    graph.nodes.append(helper.make_node("Identity", [score.name], ["score"], name="score"))
    proto = helper.make_graph(
        graph.nodes,
        "imported_from_keras",
        [helper.make_tensor_value_info(INPUT_NAME, TensorProto.FLOAT, ["n", *image.shape])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["n", 1])],
        graph.constants,
    )
    model = helper.make_model(
        proto,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=_IR_VERSION,
        producer_name="sluice",
    )
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as err:
        reason = " ".join(str(err).split())[:120]
        raise WeightsError(
            f"the architecture contradicts itself ({reason}); the file is damaged"
        ) from err
    return model, (height, width, channels)


def _input_shape(model: LayerConfig) -> tuple[int, int, int]:
    config = _mapping(model, "config")
    shape = config.get("batch_input_shape")
    for layer in _layers(model):
        inner = _mapping(layer, "config")
        shape = shape or inner.get("batch_input_shape") or inner.get("batch_shape")
    if (
        not isinstance(shape, list)
        or len(shape) != 4
        or not all(isinstance(side, int) and 0 < side <= 4096 for side in shape[1:])
    ):
        raise WeightsError(
            f"the model takes inputs of shape {shape}; "
            "only images of one fixed size (batch, height, width, channels) can be imported"
        )
    return shape[1], shape[2], shape[3]


def _model(graph: KerasGraph, model: LayerConfig, path: str, inputs: list[Value]) -> Value:
    kind = model.get("class_name")
    if kind == "Sequential":
        return _sequential(graph, model, path, inputs)
    if kind in ("Functional", "Model"):
        return _functional(graph, model, path, inputs)
    raise WeightsError(f"a model of class {kind} cannot be imported; Sequential and Functional can")


def _sequential(graph: KerasGraph, model: LayerConfig, path: str, inputs: list[Value]) -> Value:
    value = _only(inputs, path or "the model")
    for layer in _layers(model):
        value = _layer(graph, layer, path, [value])
    return value


def _functional(graph: KerasGraph, model: LayerConfig, path: str, inputs: list[Value]) -> Value:
    values: dict[str, Value] = {}
    config = _mapping(model, "config")
    for layer in _layers(model):
        name = _name(layer)
        if layer.get("class_name") == "InputLayer":
            values[name] = _only(inputs, name)
            continue
        try:
            # One call of a layer, each source as [layer, call, output, arguments].
            (sources,) = layer["inbound_nodes"]
            feeding = [values[source[0]] for source in sources]
        except (KeyError, ValueError, TypeError, IndexError) as err:
            raise WeightsError(
                f"layer {name}: is called more than once, or before what feeds it, or the file "
                "was written by Keras 3; such graphs cannot be imported"
            ) from err
        values[name] = _layer(graph, layer, path, feeding)
    outputs = config.get("output_layers")
    if not (isinstance(outputs, list) and len(outputs) == 1 and outputs[0][0] in values):
        raise WeightsError(f"the model has outputs {outputs}; exactly one can be imported")
    return values[outputs[0][0]]


def _layer(graph: KerasGraph, layer: LayerConfig, path: str, inputs: list[Value]) -> Value:
    kind, name, config = str(layer.get("class_name")), _name(layer), _mapping(layer, "config")
    below = f"{path}/{name}" if path else name
    if kind in ("Sequential", "Functional", "Model"):
        if path:
            raise WeightsError(f"model {below}: nested more than once; flatten it before saving")
        return _model(graph, layer, name, inputs)
    if kind == "Concatenate":
        return _concatenate(graph, below, config, inputs)
    value = _only(inputs, below)
    if kind == "InputLayer" or kind in _IDENTITY:
        return value
    if kind not in _TRANSLATIONS:
        raise WeightsError(
            f"layer {below}: {kind} cannot be imported; "
            f"known are {', '.join(sorted(_TRANSLATIONS))}, Concatenate, and layers that act in "
            "training only"
        )
    return _TRANSLATIONS[kind](graph, below, config, value)


def _conv2d(graph: KerasGraph, path: str, config: LayerConfig, value: Value) -> Value:
    channels, height, width = _image(value, path, config)
    kernel, stride, dilation = (
        _pair(config, key, path) for key in ("kernel_size", "strides", "dilation_rate")
    )
    groups, filters = config.get("groups", 1), config["filters"]
    hwio = graph.weight(path, "kernel", (*kernel, channels // groups, filters))
    inputs = [value.name, graph.constant(hwio.transpose(3, 2, 0, 1))]
    if config.get("use_bias", True):
        inputs.append(graph.constant(graph.weight(path, "bias", (filters,))))
    reach = [dilation[axis] * (kernel[axis] - 1) + 1 for axis in (0, 1)]
    if config.get("padding") == "valid":
        before, after = [0, 0], [0, 0]
        size = [(s - r) // t + 1 for s, r, t in zip((height, width), reach, stride, strict=True)]
    elif config.get("padding") == "same":
        # TensorFlow's rule: the odd pixel goes below and to the right.
        size = [-(-side // step) for side, step in zip((height, width), stride, strict=True)]
        spans = zip(size, stride, reach, (height, width), strict=True)
        total = [max((s - 1) * t + r - side, 0) for s, t, r, side in spans]
        before = [pad // 2 for pad in total]
        after = [pad - half for pad, half in zip(total, before, strict=True)]
    else:
        raise _option(path, "padding", config.get("padding"))
    name = graph.add(
        "Conv",
        inputs,
        kernel_shape=kernel,
        strides=stride,
        dilations=dilation,
        group=groups,
        pads=[*before, *after],
    )
    return _activate(graph, path, config, Value(name, (filters, *size)))


def _max_pooling(graph: KerasGraph, path: str, config: LayerConfig, value: Value) -> Value:
    channels, *size = _image(value, path, config)
    pool, stride = _pair(config, "pool_size", path), _pair(config, "strides", path)
    if config.get("padding") != "valid":
        raise _option(path, "padding", config.get("padding"))
    name = graph.add("MaxPool", [value.name], kernel_shape=pool, strides=stride)
    size = [(s - p) // t + 1 for s, p, t in zip(size, pool, stride, strict=True)]
    return Value(name, (channels, *size), value.ends_in)


def _global_average(graph: KerasGraph, path: str, config: LayerConfig, value: Value) -> Value:
    channels, *_ = _image(value, path, config)
    if config.get("keepdims"):
        raise _option(path, "keepdims", config["keepdims"])
    pooled = graph.add("GlobalAveragePool", [value.name])
    return Value(graph.add("Flatten", [pooled], axis=1), (channels,))


def _flatten(graph: KerasGraph, path: str, config: LayerConfig, value: Value) -> Value:
    if len(value.shape) == 1:
        return value
    _image(value, path, config)
    last = graph.add("Transpose", [value.name], perm=[0, 2, 3, 1])
    features = int(np.prod(value.shape))
    return replace(value, name=graph.add("Flatten", [last], axis=1), shape=(features,))


def _dense(graph: KerasGraph, path: str, config: LayerConfig, value: Value) -> Value:
    if len(value.shape) != 1:
        raise WeightsError(f"layer {path}: Dense on an image cannot be imported, only on features")
    units = config["units"]
    inputs = [value.name, graph.constant(graph.weight(path, "kernel", (value.shape[0], units)))]
    if config.get("use_bias", True):
        inputs.append(graph.constant(graph.weight(path, "bias", (units,))))
    return _activate(graph, path, config, Value(graph.add("Gemm", inputs), (units,)))


def _batch_normalization(graph: KerasGraph, path: str, config: LayerConfig, value: Value) -> Value:
    axis = config.get("axis", -1)
    axis = axis[0] if isinstance(axis, list) and len(axis) == 1 else axis
    if axis not in (-1, len(value.shape)):
        raise _option(path, "axis", axis)
    n = value.shape[0]
    gamma = graph.weight(path, "gamma", (n,)) if config.get("scale", True) else np.ones(n, "f4")
    beta = graph.weight(path, "beta", (n,)) if config.get("center", True) else np.zeros(n, "f4")
    mean, variance = (graph.weight(path, f"moving_{kind}", (n,)) for kind in ("mean", "variance"))
    name = graph.add(
        "BatchNormalization",
        [value.name, *map(graph.constant, (gamma, beta, mean, variance))],
        epsilon=float(config.get("epsilon", 1e-3)),
    )
    return Value(name, value.shape)


def _rescaling(graph: KerasGraph, path: str, config: LayerConfig, value: Value) -> Value:
    factors = []
    for key, default in (("scale", 1.0), ("offset", 0.0)):
        number = np.asarray(config.get(key, default), np.float32)
        if number.ndim == 1:
            # Per channel: the channel is the first axis after the batch here.
            number = number.reshape(-1, *[1] * (len(value.shape) - 1))
        elif number.ndim != 0:
            raise _option(path, key, config.get(key))
        factors.append(graph.constant(number))
    scaled = graph.add("Mul", [value.name, factors[0]])
    return Value(graph.add("Add", [scaled, factors[1]]), value.shape)


def _activation(graph: KerasGraph, path: str, config: LayerConfig, value: Value) -> Value:
    return _activate(graph, path, config, value)


def _relu(graph: KerasGraph, path: str, config: LayerConfig, value: Value) -> Value:
    for key in ("max_value", "negative_slope", "threshold"):
        if config.get(key):
            raise _option(path, key, config[key])
    return _activate(graph, path, {"activation": "relu"}, value)


def _activate(graph: KerasGraph, path: str, config: LayerConfig, value: Value) -> Value:
    kind = config.get("activation", "linear")
    if kind == "linear":
        return value
    operators = {"relu": "Relu", "sigmoid": "Sigmoid", "softmax": "Softmax"}
    if not isinstance(kind, str) or kind not in operators:
        raise _option(path, "activation", kind)
    # Keras takes the softmax over channels: the last axis there, the first here.
    axis = {"axis": 1} if kind == "softmax" else {}
    return Value(graph.add(operators[kind], [value.name], **axis), value.shape, kind)


def _concatenate(
    graph: KerasGraph, path: str, config: LayerConfig, inputs: Sequence[Value]
) -> Value:
    axes, first = {len(v.shape) for v in inputs}, inputs[0]
    if len(axes) != 1 or config.get("axis", -1) not in (-1, len(first.shape)):
        raise _option(path, "axis", config.get("axis"))
    kinds = {v.ends_in for v in inputs}
    shape = (sum(v.shape[0] for v in inputs), *first.shape[1:])
    name = graph.add("Concat", [v.name for v in inputs], axis=1)
    return Value(name, shape, kinds.pop() if len(kinds) == 1 else "linear")


def _score(graph: KerasGraph, value: Value) -> Value:
    if value.ends_in == "sigmoid" and value.shape == (1,):
        return value
    if value.ends_in == "sigmoid" and len(value.shape) == 1:
        return Value(graph.add("ReduceMean", [value.name], axes=[1], keepdims=1), (1,))
    if value.ends_in == "softmax" and value.shape == (2,):
        index = graph.constant(np.array([1], np.int64))
        return Value(graph.add("Gather", [value.name, index], axis=1), (1,))
    raise WeightsError(
        f"the model ends in {value.shape} numbers after {value.ends_in}; "
        "a score needs one or more sigmoids, or a softmax of two classes"
    )


_TRANSLATIONS: Mapping[str, Callable[[KerasGraph, str, LayerConfig, Value], Value]] = {
    "Activation": _activation,
    "BatchNormalization": _batch_normalization,
    "Conv2D": _conv2d,
    "Dense": _dense,
    "Flatten": _flatten,
    "GlobalAveragePooling2D": _global_average,
    "MaxPooling2D": _max_pooling,
    "ReLU": _relu,
    "Rescaling": _rescaling,
}


def _layers(model: LayerConfig) -> list[LayerConfig]:
    layers = _mapping(model, "config").get("layers")
    if not isinstance(layers, list) or not all(isinstance(layer, dict) for layer in layers):
        raise WeightsError("the architecture lists no layers; the file is damaged")
    return layers


def _mapping(layer: LayerConfig, key: str) -> dict[str, Any]:
    found = layer.get(key)
    if not isinstance(found, dict):
        raise WeightsError(f"{layer.get('class_name')}: has no {key}; the file is damaged")
    return found


def _name(layer: LayerConfig) -> str:
    return str(_mapping(layer, "config").get("name", layer.get("class_name")))


def _only(inputs: Sequence[Value], path: str) -> Value:
    if len(inputs) != 1:
        raise WeightsError(f"layer {path}: takes {len(inputs)} inputs; only one can be imported")
    return inputs[0]


def _image(value: Value, path: str, config: LayerConfig) -> tuple[int, ...]:
    if len(value.shape) != 3:
        raise WeightsError(f"layer {path}: needs an image, gets {value.shape}; the file is damaged")
    if config.get("data_format", "channels_last") != "channels_last":
        raise _option(path, "data_format", config["data_format"])
    return value.shape


def _pair(config: LayerConfig, key: str, path: str) -> tuple[int, int]:
    found = config.get(key, (1, 1))
    match found:
        case int():
            return found, found
        case [int(), int()]:
            return found[0], found[1]
    raise _option(path, key, found)


def _option(path: str, key: str, value: object) -> WeightsError:
    return WeightsError(f"layer {path}: {key}={value!r} cannot be imported")
