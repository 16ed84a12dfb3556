"""Any network to one self-contained ONNX model, checked equal."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from sluice.base.errors import WeightsError
from sluice.models.package import INPUT_NAME

OPSET = 17
TOLERANCE = 1e-4
_OUTPUT = "score"


def export_checked(
    network: nn.Module, shapes: Sequence[tuple[int, int, int, int]], *, free_sides: bool
) -> bytes:
    """Write a network as ONNX and hold it against the original.

    Args:
        network: From (N, C, H, W) to scores.
        shapes: Inputs to compare on, at least one; the first is also the one traced.
        free_sides: Whether H and W may be others than those; N always may.

    Returns:
        A self-contained model, opset 17, `image` to `score`.

    Raises:
        WeightsError: The exported model's scores differ from the network's by over 1e-4.
    """
    network = network.cpu().float().eval()
    axes = {0: "batch", 2: "height", 3: "width"} if free_sides else {0: "batch"}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        file = Path(folder) / "weights.onnx"
        # The newer exporter takes forty times as long for the same graph. What tracing may miss
        # is what the comparison at several sizes is for.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        torch.onnx.export(
            network,
            (torch.zeros(shapes[0]),),
            file,
            input_names=[INPUT_NAME],
            output_names=[_OUTPUT],
            dynamic_axes={INPUT_NAME: axes, _OUTPUT: axes},
            opset_version=OPSET,
            dynamo=False,
        )
        weights = file.read_bytes()
    return _with_channels(weights, _compare(network, weights, shapes))


def _compare(
    network: nn.Module, weights: bytes, shapes: Sequence[tuple[int, int, int, int]]
) -> int:
    """Channels of the output."""
    session = onnxruntime.InferenceSession(weights, providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(0)
    channels = 0
    for shape in shapes:
        image = torch.randn(shape, generator=generator)
        with torch.inference_mode():
            expected = network(image).numpy()
        (found,) = session.run(None, {INPUT_NAME: image.numpy()})
        # Asked this way round, NaN is not equal.
        if found.shape != expected.shape or not np.abs(found - expected).max() <= TOLERANCE:
            raise WeightsError(
                f"the exported model gives {found.shape} for {shape} and differs from the "
                f"network, {expected.shape}; use the torch version of the constraints"
            )
        channels = expected.shape[1]
    return channels


def _with_channels(weights: bytes, channels: int) -> bytes:
    """Say how many channels the output has: tracing leaves a made-up name in some graphs."""
    model = onnx.load_model_from_string(weights)
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = channels
    exported: bytes = model.SerializeToString()
    return exported
