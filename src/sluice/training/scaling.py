"""From reflectance and decibels to what a network is shown, by the training chips' statistics."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from sluice.base.arrays import ArrayNBHW, FloatArray
from sluice.base.errors import DataError, NoValidData
from sluice.base.records import ModelInput
from sluice.base.sensors import SENSORS
from sluice.models.manifest import Manifest, ScaledInput

WAVELENGTH_UM: dict[str, float] = {
    band.common_name: band.wavelength_um
    for sensor in SENSORS.values()
    for band in sensor.bands
    if sensor.quantity == "reflectance" and band.wavelength_um is not None
}
"""Of the bands that hold reflectance, by common name."""


@dataclass(frozen=True)
class BandStatistics:
    """Of the pixels at which every band was observed."""

    mean: FloatArray
    deviation: FloatArray
    clipped_mean: FloatArray
    """Mean after clipping to 0 … `clip_at`."""


def band_statistics(batches: Iterable[ArrayNBHW], clip_at: float) -> BandStatistics:
    """Mean and deviation of each band, over batches of chips.

    Args:
        batches: (n, B, H, W) each, NaN = not observed.
        clip_at: For `clipped_mean`.

    Raises:
        NoValidData: No pixel was observed in all bands.
    """
    count = 0
    shift = sums = squares = clipped = np.zeros(0)
    for images in batches:
        pixels = images.transpose(1, 0, 2, 3).reshape(images.shape[1], -1)
        seen = pixels[:, np.isfinite(pixels).all(axis=0)].astype(np.float64)
        if not seen.size:
            continue
        if not count:
            # Sums of differences from a typical value keep their digits.
            shift = seen.mean(axis=1)
            sums, squares, clipped = (np.zeros(len(shift)) for _ in range(3))
        count += seen.shape[1]
        away = seen - shift[:, None]
        sums = sums + away.sum(axis=1)
        squares = squares + (away**2).sum(axis=1)
        clipped = clipped + np.clip(seen, 0, clip_at).sum(axis=1)
    if not count:
        raise NoValidData(
            "no pixel of the training chips was observed in all bands; use fewer bands"
        )
    mean = sums / count
    return BandStatistics(
        shift + mean, np.sqrt(np.maximum(squares / count - mean**2, 0)), clipped / count
    )


def scaled_inputs(
    bands: Sequence[str],
    statistics: BandStatistics,
    scaling: Literal["standard", "clip"],
    clip_at: float,
) -> tuple[ScaledInput, ...]:
    """The manifest's inputs; unobserved pixels are filled with the mean.

    Raises:
        DataError: A band has the same value everywhere and is to be scaled by its deviation.
    """
    inputs = []
    for k, key in enumerate(bands):
        band = model_input(key)
        if scaling == "clip" and band.band in WAVELENGTH_UM:
            fill = float(statistics.clipped_mean[k]) / clip_at
            inputs.append(
                ScaledInput(**band.model_dump(), divide=clip_at, low=0.0, high=1.0, fill=fill)
            )
            continue
        mean, deviation = float(statistics.mean[k]), float(statistics.deviation[k])
        if deviation < 1e-9:
            raise DataError(
                f"band {key} is {mean:g} at every training pixel and tells nothing; leave it out"
            )
        inputs.append(ScaledInput(**band.model_dump(), subtract=mean, divide=deviation))
    return tuple(inputs)


def inputs_for(parent: Manifest, sensor: str) -> tuple[ScaledInput, ...]:
    """A model's inputs, such that its network is shown a sensor's images as it always was.

    Args:
        parent: Of the model.
        sensor: `Sensor.id`. What the manifest does to its images before scaling becomes part of
            the scaling: (offset + gain * v - subtract) / divide.
    """
    lines = parent.adaptation_for(sensor)
    if lines is None:
        return parent.inputs
    return tuple(
        each.model_copy(
            update={"subtract": (each.subtract - offset) / gain, "divide": each.divide / gain}
        )
        for each, (gain, offset) in zip(parent.inputs, lines, strict=True)
    )


def model_input(key: str) -> ModelInput:
    """`vv@-1` to band and period.

    Raises:
        DataError: The part after @ is no period.
    """
    band, _, period = key.partition("@")
    try:
        return ModelInput(band=band, period=int(period or 0))
    except ValueError as err:
        raise DataError(f"band {key!r}: after @ comes 0, -1, -2 …; correct it") from err


@dataclass(frozen=True)
class Scaling:
    """The manifest's scaling, of tensors; the same arithmetic as `WindowPredictor`'s."""

    inputs: tuple[ScaledInput, ...]

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Scale images.

        Args:
            images: (N, B, H, W) float32 reflectance or dB, NaN = not observed.

        Returns:
            The same shape in the model's units, filled where any band is NaN; and (N, H, W) bool,
            True where all were observed.
        """
        subtract = _column([i.subtract for i in self.inputs])
        divide = _column([i.divide for i in self.inputs])
        low = _column([-np.inf if i.low is None else i.low for i in self.inputs])
        high = _column([np.inf if i.high is None else i.high for i in self.inputs])
        fill = _column([i.fill for i in self.inputs])
        valid = torch.isfinite(images).all(dim=1)
        scaled = torch.minimum(torch.maximum((images - subtract) / divide, low), high)
        return torch.where(valid.unsqueeze(1), scaled, fill), valid


def _column(values: Sequence[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).view(1, -1, 1, 1)
