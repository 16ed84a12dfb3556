"""Cloud and shadow by OmniCloudMask, where the user has installed it with its weights.

Nothing is ever downloaded, and weights are taken as safetensors only: its older weights are
pickles, which could run code.
"""

from __future__ import annotations

import hashlib
import importlib
from pathlib import Path
from types import ModuleType

import numpy as np

from sluice.base.arrays import ArrayHW
from sluice.base.errors import ConfigError, ShapeMismatch, WeightsError
from sluice.composite.clear import CLEAR, CLOUD, SHADOW, UNSEEN, ClassesHW

BANDS = ("red", "green", "nir")
_CLASSES = np.array([CLEAR, CLOUD, CLOUD, SHADOW], np.uint8)
"""Of its own: clear, thick cloud, thin cloud, shadow."""
_LEAST_PX, _PATCH_PX, _OVERLAP_PX = 50, 1000, 300
_NO_DOWNLOAD = "none"
"""It knows `hugging_face` and `google_drive`, and raises ValueError for any other source as soon
as a file is missing."""
_INSTEAD = "or use the images' own cloud layer"


def classify_by_omnicloudmask(
    red: ArrayHW, green: ArrayHW, nir: ArrayHW, weights: Path
) -> ClassesHW:
    """Cloud, thin cloud and shadow of one scene.

    It looks at up to 1,000 px around each pixel and scales each patch by its own mean, so give it
    the whole scene, or blocks that do not depend on tiles: parts of a scene differ from the whole.

    Args:
        red: (H, W) reflectance of any level, or digital numbers; NaN = not observed.
        green: Same grid and units as `red`.
        nir: Same grid and units as `red`. Pixels of 10 to 50 m.
        weights: Folder with its weights, `*.safetensors`.

    Returns:
        (H, W) of `composite.clear`'s classes; pixels that lack a band are `UNSEEN`.

    Raises:
        ConfigError: The package is not installed, or the scene is smaller than 50 px.
        WeightsError: The folder lacks its weights.
        ShapeMismatch: The bands differ in shape.

    Source:
        Wright et al. 2025, doi:10.1016/j.rse.2025.114694.
    """
    bands = (red, green, nir)
    if len({band.shape for band in bands}) != 1:
        raise ShapeMismatch(f"bands need one shape, got {[band.shape for band in bands]}")
    if min(red.shape) < _LEAST_PX:
        raise ConfigError(
            f"OmniCloudMask needs at least {_LEAST_PX} x {_LEAST_PX} px, got {red.shape}; "
            f"take a larger area, {_INSTEAD}"
        )
    package = check_omnicloudmask(weights)
    image = np.stack(bands).astype(np.float32)
    observed = np.isfinite(image).all(axis=0)
    # 0 is its mark for no data; reflectance of exactly 0 must not pass for it.
    image = np.where(observed, np.where(image == 0, np.float32(1e-6), image), 0)
    patch = min(_PATCH_PX, *red.shape)
    try:
        classes = package.predict_from_array(
            image,
            patch_size=patch,
            patch_overlap=min(_OVERLAP_PX, patch // 2),
            destination_model_dir=weights,
            model_download_source=_NO_DOWNLOAD,
        )
    except ValueError as err:
        raise WeightsError(
            f"{weights}: OmniCloudMask could not be run with these weights ({err}); put there "
            f"the files of its newest version, {_INSTEAD}",
            href=str(weights),
        ) from err
    return np.where(observed, _CLASSES[np.asarray(classes)[0].astype(np.uint8)], np.uint8(UNSEEN))


def check_omnicloudmask(weights: Path) -> ModuleType:
    """The package, after a look at whether it and its weights are there.

    Raises:
        ConfigError: The package is not installed.
        WeightsError: The folder lacks its weights.
    """
    package = _import_package()
    if not any(weights.glob("*.safetensors")):
        raise WeightsError(
            f"{weights}: holds no *.safetensors; put OmniCloudMask's weights there, {_INSTEAD}",
            href=str(weights),
        )
    return package


def identify_omnicloudmask(weights: Path) -> str:
    """The package's version and the weights' checksum, for the record of a run."""
    version = getattr(_import_package(), "__version__", "of unknown version")
    digest = hashlib.sha256()
    for path in sorted(weights.glob("*.safetensors")):
        with path.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return f"omnicloudmask {version}, weights {digest.hexdigest()[:16]}"


def _import_package() -> ModuleType:
    try:
        return importlib.import_module("omnicloudmask")
    except ImportError as err:
        raise ConfigError(
            f"OmniCloudMask cannot be imported ({err}); install the package omnicloudmask "
            f"(1.7 or newer), {_INSTEAD}"
        ) from err
