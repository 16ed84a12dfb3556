"""From networks to the ONNX weights of a model package, checked equal."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from sluice.base.errors import WeightsError
from sluice.models.package import INPUT_NAME
from sluice.training.network import ChipNetwork, Ensemble, NetworkShape

_TOLERANCE = 1e-5


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
        weights = file.read_bytes()
    _check_equal(ensemble, weights, bands)
    return weights


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
