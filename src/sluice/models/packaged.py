"""Running the weights of a package: inputs by name, scaling, an engine whose output is checked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias, TypedDict, Unpack

import numpy as np
import numpy.typing as npt

from sluice.base.errors import BandNotFound, ConfigError, ManifestMismatch, WeightsError
from sluice.base.raster import Raster
from sluice.base.records import ModelInput
from sluice.models.package import ModelPackage
from sluice.models.runtime import (
    ArrayNCHW,
    Engine,
    Precision,
    choose_engine,
    engine_version,
    open_session,
)

AnyFloat32: TypeAlias = npt.NDArray[np.float32]

PASS_PIXELS = 1 << 18
"""Pixels that are scaled and given to the engine at once: memory stays bounded, and larger
passes are no faster (measured from 2**16 to 2**21)."""


class RunOptions(TypedDict, total=False):
    """How weights are run."""

    engine: Engine
    """`auto` (if left out), `onnxruntime` or `openvino`."""
    precision: Precision
    """`f32` (if left out), or `bf16` where engine and processor have it."""
    threads: int | None
    """Of the engine for each call; None leaves it all cores."""
    calls: int
    """How many threads will score at the same time; 1 if left out."""


class PackageRunner:
    """A model package, ready to run.

    It pickles small: a worker loads the weights when it first scores, and keeps them.

    Args:
        package: From `load_package`.
        options: See `RunOptions`.

    Raises:
        ConfigError: The engine cannot do what is asked.
    """

    def __init__(self, package: ModelPackage, **options: Unpack[RunOptions]) -> None:
        threads, calls = options.get("threads"), options.get("calls", 1)
        precision = options.get("precision", "f32")
        if calls < 1 or (threads is not None and threads < 1):
            raise ConfigError(f"threads and calls must be 1 or more, got {threads} and {calls}")
        self.package = package
        self.engine = choose_engine(options.get("engine", "auto"), precision)
        self.precision = precision
        self.threads = threads
        self.calls = calls

    @property
    def inputs(self) -> tuple[ModelInput, ...]:
        """What the model needs, in its order."""
        return tuple(ModelInput(band=i.band, period=i.period) for i in self.package.manifest.inputs)

    @property
    def gsd_m(self) -> float:
        """Pixel side the model was trained at, metres."""
        return self.package.manifest.gsd_m

    @property
    def window_px(self) -> int:
        """Side of the square that is judged at once: a window, or a patch of pixels."""
        return self.package.manifest.judged_px

    @property
    def context_px(self) -> int:
        """Pixels beyond each side of it that the weights look at too."""
        return self.package.manifest.context_px

    @property
    def cells_per_window(self) -> int:
        """Scores along a side of that square."""
        return self.package.manifest.cells_per_window

    @property
    def scores_per_cell(self) -> int:
        """1, or the number of classes where several are sought."""
        classes = len(self.package.manifest.classes)
        return classes if classes > 2 else 1

    @property
    def engine_version(self) -> str:
        """Version of the engine in use, for the record of a run."""
        return engine_version(self.engine)

    def _check_resolution(self, raster: Raster) -> None:
        resolution = raster.geobox.resolution
        for side in (abs(resolution.x), abs(resolution.y)):
            if not math.isclose(side, self.gsd_m, rel_tol=1e-3):
                raise ManifestMismatch(
                    f"model {self.package.name} takes pixels of {self.gsd_m:g} m, the raster has "
                    f"{side:g}; warp it to {self.gsd_m:g} m"
                )

    def _select(self, data: AnyFloat32, bands: Sequence[str]) -> AnyFloat32:
        """The inputs in the model's order; bands are the first axis."""
        manifest = self.package.manifest
        missing = [band for band in manifest.bands if band not in bands]
        if missing:
            raise BandNotFound.from_missing_and_available(
                missing, bands, wanted_by=f"model {manifest.name}"
            )
        if tuple(bands) == manifest.bands:
            return data
        return data[[list(bands).index(band) for band in manifest.bands]]

    def _scale(self, image: AnyFloat32, valid: npt.NDArray[np.bool_]) -> AnyFloat32:
        """Inputs in the model's units; bands are the first axis, invalid pixels are filled."""
        scaled = np.empty(image.shape, np.float32)
        for band, out, spec in zip(image, scaled, self.package.manifest.inputs, strict=True):
            np.subtract(band, np.float32(spec.subtract), out=out)
            np.divide(out, np.float32(spec.divide), out=out)
            if spec.low is not None or spec.high is not None:
                np.clip(out, spec.low, spec.high, out=out)
            out[~valid] = spec.fill
        return scaled

    def _allowed_invalid(self, pixels: int) -> int:
        # The margin keeps 0.2 x 100 at 20 whatever the rounding of the product.
        return math.floor(self.package.manifest.max_invalid_share * pixels + 1e-6)

    def _run(self, image_nchw: ArrayNCHW, expected: tuple[int, ...]) -> AnyFloat32:
        """Run the weights; what they give in the expected shape, checked, within 0-1."""
        if len(image_nchw) == 0:
            return np.empty(expected, np.float32)
        session = open_session(self.package, self.engine, self.precision, self.threads, self.calls)
        result = session(image_nchw)
        if result.size != math.prod(expected):
            raise WeightsError(
                f"model {self.package.name}: gives an array of {result.shape}, "
                f"{expected} is expected; its weights do not fit its manifest"
            )
        # Written so that NaN fails too: it would pass for "not observed".
        if not np.all((result >= -1e-6) & (result <= 1 + 1e-6)):
            raise WeightsError(
                f"model {self.package.name}: gives values that are not scores between 0 and 1; "
                "its weights do not fit its manifest"
            )
        scores: AnyFloat32 = np.clip(result, 0, 1).reshape(expected)
        return scores
