"""Where in a window a model of local features sees what it looks for.

The logit of such a model is the mean of those of fields in the window. Without the mean it tells
each field's own score: a class activation map (Zhou et al. 2016, doi:10.1109/CVPR.2016.319), exact
here because nothing but the logistic function follows the mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import numpy_helper

from sluice.base.errors import ManifestMismatch
from sluice.base.windows import central_windows
from sluice.models.package import INPUT_NAME, ModelPackage
from sluice.models.packaged import PackageRunner
from sluice.models.runtime import ArrayNCHW

# What follows the mean: the logistic function, and the mean of members.
_AFTER_MEAN = {"Sigmoid", "ReduceMean", "Unsqueeze", "Concat", "Identity"}


@dataclass(frozen=True)
class LocalScores:
    """Scores of the fields in some chips."""

    scores_nhw: npt.NDArray[np.float32]
    """(N, fields down, fields across) in 0-1."""
    first_px: float
    """Middle of the first field, in pixels from the chip's upper left corner."""
    step_px: float
    """Pixels from a field to the next."""


class LocalScorer(PackageRunner):
    """Scores the fields of chips with a model of local features.

    Args:
        package: The weights of each of its members end in a convolution that is a mean of fields,
            without padding, and the logistic function, as those of `training.network.ChipNetwork`.

    Raises:
        ManifestMismatch: They do not.
    """

    def __init__(self, package: ModelPackage) -> None:
        super().__init__(package)
        model = onnx.load_model_from_string(package.read_weights())
        means = _last_means(model.graph)
        fields = {_field_px(model.graph, node) for node in means}
        if len(fields) != 1:
            raise ManifestMismatch(
                f"model {package.name} does not score by the mean of local scores, so it cannot "
                "tell where in a window it sees something; use one like `default`"
            )
        self._field_px = fields.pop()
        for node in means:
            node.op_type = "Identity"
            del node.input[1:], node.attribute[:]
        options = ort.SessionOptions()
        # The kernels of the means are left over, and not worth a warning.
        options.log_severity_level = 3
        self._session = ort.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def score_fields(self, chips_nbhw: ArrayNCHW, bands: tuple[str, ...]) -> LocalScores:
        """Score the fields of chips.

        Args:
            chips_nbhw: (N, bands, H, W) reflectance, NaN where not observed; H = W, at least a
                window.
            bands: Names of the second axis.

        Raises:
            BandNotFound: An input is not among `bands`.
        """
        manifest = self.package.manifest
        context = manifest.context_px
        surrounded = central_windows(chips_nbhw, chips_nbhw.shape[2], context)
        image = self._select(surrounded.swapaxes(0, 1), bands)
        valid = np.asarray(np.isfinite(image).all(axis=0))
        scaled = np.ascontiguousarray(self._scale(image, valid).swapaxes(0, 1))
        (scores,) = self._session.run(None, {INPUT_NAME: scaled})
        # Windows a dense stride apart begin a field apart.
        step = manifest.dense_stride_px or manifest.window_px
        return LocalScores(scores[:, 0], self._field_px / 2 - context, step)


def _last_means(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The convolutions that everything but `_AFTER_MEAN` ends in; empty where one is no mean."""
    maker = {name: node for node in graph.node for name in node.output}
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            constants[node.output[0]] = node.attribute[0].t
    found: dict[str, onnx.NodeProto] = {}
    ends = [output.name for output in graph.output]
    while ends:
        node = maker.get(ends.pop())
        if node is None or node.op_type == "Constant":
            continue
        if node.op_type in _AFTER_MEAN:
            ends.extend(node.input)
            continue
        kernel = constants.get(node.input[1]) if node.op_type == "Conv" else None
        weights = numpy_helper.to_array(kernel) if kernel is not None else np.zeros(0)
        if weights.ndim != 4 or weights.shape[:2] != (1, 1) or np.ptp(weights) > 0:
            return []
        found[node.output[0]] = node
    return list(found.values())


def _field_px(graph: onnx.GraphProto, mean: onnx.NodeProto) -> int:
    """Side of what one score before the mean sees; layers stand one behind the other."""
    maker = {name: node for node in graph.node for name in node.output}
    side, node = 1, maker.get(mean.input[0])
    while node is not None:
        sizes = {attribute.name: list(attribute.ints) for attribute in node.attribute}
        if "kernel_shape" in sizes:
            side = (side - 1) * sizes.get("strides", [1])[0] + sizes["kernel_shape"][0]
        node = maker.get(node.input[0]) if node.input else None
    return side
