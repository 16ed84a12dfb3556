"""Where in a window a model of local features sees what it looks for.

Such a model pools scores of small fields over the window. Without the pooling it tells each field's
own score: a class activation map (Zhou et al. 2016, doi:10.1109/CVPR.2016.319), exact here because
nothing but a linear layer and the logistic function follows the pooling.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort

from sluice.base.errors import ManifestMismatch
from sluice.models.package import INPUT_NAME, ModelPackage
from sluice.models.packaged import PackageRunner
from sluice.models.runtime import ArrayNCHW

_AFTER_POOLING = {"Conv", "Sigmoid", "ReduceMean", "Constant", "Unsqueeze", "Concat"}


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
        package: Its weights end in one average pooling without padding, a 1 x 1 convolution and the
            logistic function, as those of `training.network.ChipNetwork`.

    Raises:
        ManifestMismatch: They do not.
    """

    def __init__(self, package: ModelPackage) -> None:
        super().__init__(package)
        model = onnx.load_model_from_string(package.read_weights())
        pools = [k for k, node in enumerate(model.graph.node) if node.op_type == "AveragePool"]
        after = {node.op_type for node in model.graph.node[pools[0] + 1 :]} if pools else set()
        if len(pools) != 1 or not after <= _AFTER_POOLING:
            raise ManifestMismatch(
                f"model {package.name} does not pool scores of local features, so it cannot tell "
                "where in a window it sees something; use one like `default`"
            )
        pool = model.graph.node[pools[0]]
        sizes = {attribute.name: list(attribute.ints) for attribute in pool.attribute}
        self._fields, self._pool_step = sizes["kernel_shape"][0], sizes["strides"][0]
        pool.op_type = "Identity"
        del pool.attribute[:]
        self._session = ort.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        )

    def score_fields(self, chips_nbhw: ArrayNCHW, bands: tuple[str, ...]) -> LocalScores:
        """Score the fields of chips.

        Args:
            chips_nbhw: (N, bands, H, W) reflectance, NaN where not observed; at least a window.
            bands: Names of the second axis.

        Raises:
            BandNotFound: An input is not among `bands`.
        """
        manifest = self.package.manifest
        image = self._select(chips_nbhw.swapaxes(0, 1), bands)
        valid = np.asarray(np.isfinite(image).all(axis=0))
        scaled = np.ascontiguousarray(self._scale(image, valid).swapaxes(0, 1))
        (scores,) = self._session.run(None, {INPUT_NAME: scaled})
        # Windows a dense stride apart begin as many fields apart as the pooling steps.
        step = (manifest.dense_stride_px or manifest.window_px) / self._pool_step
        field_px = manifest.window_px - (self._fields - 1) * step
        return LocalScores(scores[:, 0], field_px / 2, step)
