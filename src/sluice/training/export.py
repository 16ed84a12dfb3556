"""From networks to the ONNX weights of a model package, checked equal."""

from __future__ import annotations

import re
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch
from onnx import helper, numpy_helper
from torch import Tensor

from sluice.base.errors import WeightsError
from sluice.models.package import INPUT_NAME
from sluice.training.network import ChipNetwork, Ensemble, NetworkShape

_TOLERANCE = 1e-5
_STEP = re.compile(r"_\d+(_turned)?$")
"""Of names of kernels that are half turned."""
_MADE: dict[str, Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]] = {
    "Identity": lambda origin: origin,
    "Transpose": lambda kernel: kernel.swapaxes(2, 3),
    "Slice": lambda kernel: kernel[:, :, ::-1],
}
"""What the nodes do that `_share_turned_kernels` and torch put between equal weights."""


def export_onnx(members: list[ChipNetwork], bands: int) -> bytes:
    """Write networks as one ONNX model whose score is the members' mean.

    Args:
        members: Fitted networks, at least one.
        bands: Channels of the input.

    Returns:
        A self-contained model: `image` (N, bands, H, W) in 0-1 to `score` (N, 1, h, w).

    Raises:
        WeightsError: The exported model's scores differ from the networks' by over 1e-5.
    """
    ensemble = Ensemble([member.float() for member in members]).eval()
    sight = NetworkShape.sight_px
    example = torch.rand(1, bands, sight + 40, sight + 24)
    axes = {0: "batch", 2: "height", 3: "width"}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        file = Path(folder) / "weights.onnx"
        # The newer exporter takes forty times as long for the same graph.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            ensemble,
            (example,),
            file,
            input_names=[INPUT_NAME],
            output_names=["score"],
            dynamic_axes={INPUT_NAME: axes, "score": axes},
            opset_version=17,
            dynamo=False,
        )
        weights: bytes = _share_turned_kernels(onnx.load(file)).SerializeToString()
    _check_equal(ensemble, weights, bands)
    return weights


def read_networks(weights: bytes) -> dict[str, Tensor]:
    """The networks that `export_onnx` wrote, as tensors by their names in `Ensemble`.

    Args:
        weights: A model that it returned.

    Returns:
        As of `Ensemble.state_dict`, but for how many batches the normalisation has seen.
    """
    graph = onnx.load_model_from_string(weights).graph
    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    # Kernels that are others turned, and what equals another, are made of those.
    for node in graph.node:
        origin = found.get(node.input[0]) if node.input else None
        if origin is None or node.op_type not in _MADE:
            continue
        found[node.output[0]] = _MADE[node.op_type](origin)
    prefix = f"{Ensemble.PREFIX}."
    tensors = {
        name: torch.from_numpy(array.copy())
        for name, array in found.items()
        if name.startswith(prefix)
    }
    normalised = [name for name in tensors if name.endswith(".running_mean")]
    counters = (name.removesuffix("running_mean") + "num_batches_tracked" for name in normalised)
    wanted = {name: tensor for name, tensor in tensors.items() if not _STEP.search(name)}
    return wanted | {name: torch.tensor(0) for name in counters}


def _share_turned_kernels(model: onnx.ModelProto) -> onnx.ModelProto:
    """Keep kernels once that are others turned; an engine turns them as it loads the file."""
    graph = model.graph
    kept: list[tuple[str, npt.NDArray[np.float32]]] = []
    turning: list[onnx.NodeProto] = []
    for tensor in list(graph.initializer):
        kernel = numpy_helper.to_array(tensor)
        if kernel.ndim != 4:
            continue
        turns, origin = _find_turned(kernel, kept)
        if turns == 0:
            kept.append((tensor.name, kernel))
            continue
        graph.initializer.remove(tensor)
        for turn in range(turns):
            step = f"{tensor.name}_{turn}"
            end = tensor.name if turn == turns - 1 else f"{step}_turned"
            # A quarter turn: rows become columns, and are read from the last to the first.
            turning += [
                helper.make_node("Transpose", [origin], [step], perm=[0, 1, 3, 2]),
                helper.make_node(
                    "Slice", [step, "turn_start", "turn_end", "turn_axis", "turn_step"], [end]
                ),
            ]
            origin = end
    if turning:
        numbers = {"turn_start": -1, "turn_end": -(2**31), "turn_axis": 2, "turn_step": -1}
        graph.initializer.extend(
            numpy_helper.from_array(np.array([value], np.int64), name)
            for name, value in numbers.items()
        )
        nodes = [*turning, *graph.node]
        del graph.node[:]
        graph.node.extend(nodes)
    return model


def _find_turned(
    kernel: npt.NDArray[np.float32], kept: list[tuple[str, npt.NDArray[np.float32]]]
) -> tuple[int, str]:
    """How often which of the kept kernels must be turned to become this one; 0 where none does."""
    for name, origin in kept:
        for turns in (1, 2, 3):
            if np.array_equal(np.rot90(origin, turns, (2, 3)), kernel):
                return turns, name
    return 0, ""


def _check_equal(ensemble: Ensemble, weights: bytes, bands: int) -> None:
    session = onnxruntime.InferenceSession(weights, providers=["CPUExecutionProvider"])
    sight, stride = NetworkShape.sight_px, NetworkShape.stride_px
    generator = torch.Generator().manual_seed(0)
    for batch, height, width in (
        (3, sight, sight),
        (1, sight + 5 * stride, sight + stride + 3),
    ):
        image = torch.rand(batch, bands, height, width, generator=generator)
        with torch.inference_mode():
            expected = ensemble(image).numpy()
        (found,) = session.run(None, {INPUT_NAME: image.numpy()})
        # Asked this way round, NaN is not equal.
        if found.shape != expected.shape or not np.abs(found - expected).max() <= _TOLERANCE:
            raise WeightsError(
                f"the exported model gives {found.shape} for {tuple(image.shape)} and differs "
                f"from the network, {expected.shape}; use the torch version of the constraints"
            )
