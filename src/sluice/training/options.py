"""What a training depends on, as data: the keys of a YAML file and the options of a command.

Nothing heavy is imported here, since `sluice train --help` tells these fields.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from sluice.base.errors import ConfigError
from sluice.evaluation.aims import CalibrationMethod, parse_aim


def _split_commas(given: Any) -> Any:
    if isinstance(given, str):
        return tuple(part.strip() for part in given.split(",") if part.strip())
    return given


def _check_penalties(given: tuple[float, ...]) -> tuple[float, ...]:
    if not given or min(given) <= 0:
        raise ValueError("penalties are one number or more, all above 0")
    return given


def _check_aim(given: str) -> str:
    try:
        parse_aim(given)
    except ConfigError as err:
        raise ValueError(str(err)) from err
    return given


Words = Annotated[tuple[str, ...], BeforeValidator(_split_commas)]
"""Names; a text is split at its commas."""
Numbers = Annotated[tuple[float, ...], BeforeValidator(_split_commas)]
Penalties = Annotated[Numbers, AfterValidator(_check_penalties)]
"""Of linear models, to choose from."""
WidthList = Annotated[tuple[int, int, int, int], BeforeValidator(_split_commas)]

Aim = Annotated[str, AfterValidator(_check_aim)]
"""What a threshold is chosen for, see `parse_aim`."""

LossName = Literal["bce", "weighted_bce", "dice", "tversky", "focal"]
Regressor = Literal["ridge", "logistic", "svm", "forest"]
"""What is fitted to ready features."""
ALPHAS = (0.01, 0.1, 1.0, 10.0)
"""Penalties, where nobody asks for others."""
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Precision = Literal["auto", "f32", "bf16"]


class FitOptions(BaseModel):
    """How a network is fitted, whatever it is."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )

    epochs: int = Field(default=100, ge=1)
    """Most passes over the training chips."""
    batch: int = Field(default=8, ge=2)
    """Chips in a step."""
    learning_rate: float = Field(default=3e-4, gt=0)
    """Highest rate, reached after the warm-up."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Of AdamW, on weights that are no bias and no normalisation."""
    schedule: Literal["cosine", "plateau"] = "cosine"
    """How the rate falls: along a half cosine, or in steps where validation stops improving."""
    warmup_steps: int = Field(default=100, ge=0)
    """Steps over which the rate rises from near 0."""
    plateau_factor: float = Field(default=0.33, gt=0, lt=1)
    """With `plateau`: what a step leaves of the rate."""
    plateau_patience: int = Field(default=20, ge=0)
    """With `plateau`: epochs without a better validation figure before a step."""
    early_stop: int = Field(default=40, ge=1)
    """Epochs without a better validation figure after which fitting ends."""
    clip_norm: float = Field(default=1.0, gt=0)
    """Longest gradient of a step; longer ones are shortened."""
    precision: Precision = "auto"
    """Of the forward pass: `f32`, `bf16`, or `auto`: bf16 on a GPU that has it."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to fit; `auto` takes a GPU where there is one."""
    seed: Seed = 0
    """Of weights, order, crops, augmentation and dropout."""
    cache_gb: float = Field(default=2.0, ge=0)
    """Chips kept in memory; the rest is read again each epoch."""


class DecisionOptions(BaseModel):
    """What is made of the scores of a model."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )

    aim: Aim = "f1"
    """What the threshold is chosen for: `f1`, `f0.5`, F of another beta, or `recall>=0.9`."""
    calibration: CalibrationMethod = "beta"
    """The form of the curve from scores to probabilities."""


class DataOptions(DecisionOptions, FitOptions):
    """What is learnt from, and how it is shown."""

    bands: Words = ()
    """Bands of the data set to use, by name; none means all, in its order."""
    sensor: str | None = None
    """Sensor of the images, where the data set does not say it."""
    scaling: Literal["standard", "clip"] = "standard"
    """`standard`: less the training chips' mean, by their deviation. `clip`: reflectance from 0 to
    `clip_at` becomes 0 to 1, and other quantities are scaled as `standard`."""
    clip_at: float = Field(default=0.6, gt=0)
    """Reflectance that `clip` takes to 1."""
    light: float = Field(default=0.3, ge=0, le=1)
    """How far gain and haze of optical bands are varied."""
    gaps: float = Field(default=0.1, ge=0, le=1)
    """How often a part of a chip is hidden, as a cloud would."""
    gamma: float = Field(default=2.0, ge=0)
    """Of focal loss: how much less what is easy counts."""
    class_weights: Numbers = ()
    """For `weighted_bce` and `focal`, one for each class; none means balanced by frequency."""

    @model_validator(mode="after")
    def _weights_are_not_negative(self) -> Self:
        if any(weight < 0 for weight in self.class_weights):
            raise ValueError("class_weights must not be negative")
        return self


class PixelOptions(DataOptions):
    """A model that judges pixels."""

    indices: Words = ()
    """Spectral indices computed from the bands as further channels: `ndwi,ndvi`."""
    patch_px: int | None = Field(default=None, ge=1)
    """Side of the patches that are learnt from, and that a scan gives; none means whole chips."""
    patch_overlap_px: int | None = Field(default=None, ge=0)
    """What neighbouring patches of a scan share; none means a quarter of their side."""
    window_px: Literal[1, 2] = 1
    """Side of the square of pixels that one score of a map is the mean of."""
    loss: LossName = "bce"
    """What is made small: cross-entropy (weighted by class or not), Dice, Tversky or focal loss."""
    alpha: float = Field(default=0.3, ge=0)
    """Of Tversky: what a false alarm counts."""
    beta: float = Field(default=0.7, ge=0)
    """Of Tversky: what a miss counts."""
    free_alpha_beta: bool = False
    """Let alpha and beta of Tversky have another sum than 1."""
    positive_share: float | None = Field(default=None, gt=0, lt=1)
    """Share of chips with something sought in an epoch; none takes every chip once."""

    @model_validator(mode="after")
    def _tversky_is_normalised(self) -> Self:
        total = self.alpha + self.beta
        if self.loss == "tversky" and not self.free_alpha_beta and not math.isclose(total, 1):
            raise ValueError(
                f"alpha {self.alpha:g} and beta {self.beta:g} sum to {total:g}; Tversky's loss "
                "wants 1, so that fits can be compared: the ratio decides which map is better, "
                "the sum only how steep the loss is; free_alpha_beta allows it"
            )
        return self


class UNetOptions(PixelOptions):
    """A U-Net."""

    width: int = Field(default=32, ge=2)
    """Channels at full resolution; the deepest of five levels has eight times as many."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of channels left out at random while fitting."""


class SegFormerOptions(PixelOptions):
    """A SegFormer."""

    learning_rate: float = Field(default=1e-4, gt=0)
    """Highest rate, reached after the warm-up."""
    size: Literal["b0", "b1", "b2", "b3", "b4", "b5"] = "b0"
    """Of the Mix Transformer encoder."""
    decoder_width: int | None = Field(default=None, ge=8)
    """Channels of the decoder; none takes the paper's: 256 for b0 and b1, 768 for the others."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Of the classifier; the paths of the encoder are dropped at the paper's 0.1."""
    checkpoint: Path | None = None
    """Folder of a local checkpoint (config.json and safetensors) to start from."""


class CnnOptions(DataOptions):
    """A convolutional network, or several, that judge windows."""

    epochs: int = Field(default=200, ge=1)
    """Most passes over the training chips."""
    learning_rate: float = Field(default=1e-3, gt=0)
    """Highest rate, reached after the warm-up."""
    schedule: Literal["cosine", "plateau"] = "plateau"
    """How the rate falls: along a half cosine, or in steps where validation stops improving."""
    architecture: Literal["amw-2021", "amw-2024", "amw-2026", "amw-2026-100k", "chip-network"] = (
        "amw-2024"
    )
    """The network, by name."""
    scaling: Literal["standard", "clip"] | None = None  # type: ignore[assignment]
    """As for `clip_at`; none takes what the architecture was published with."""
    clip_at: float | None = Field(default=None, gt=0)  # type: ignore[assignment]
    """Reflectance that `clip` takes to 1; none takes what the architecture was published with."""
    bands: Words = ()
    """`rgb`, `rgb+nir`, or bands of the data set by name; none means all, in its order."""
    members: int = Field(default=6, ge=1, le=64)
    """Networks whose scores are averaged."""
    bootstrap_share: float = Field(default=0.7, gt=0, lt=1)
    """Places drawn, with repetition, for each member, as a share of all; the rest validates."""
    folds: int = Field(default=5, ge=2)
    """For the scores that set threshold and calibration."""
    loss: Literal["bce", "weighted_bce", "focal"] = "bce"
    """What is made small: cross-entropy (weighted by class or not), or focal loss."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5)
    """Of cross-entropy: how far labels are drawn in from 0 and 1."""
    stride_m: float | None = Field(default=None, gt=0)
    """Distance between windows of a scan; none takes half a window."""
    workers: int = Field(default=1, ge=1, le=256)
    """Networks fitted at a time."""

    @model_validator(mode="after")
    def _loss_is_of_windows(self) -> Self:
        if len(self.class_weights) not in {0, 2}:
            raise ValueError(
                f"class_weights has {len(self.class_weights)} numbers; windows want two, for "
                "nothing sought and for something"
            )
        if self.loss == "focal" and self.label_smoothing:
            raise ValueError("label_smoothing is of bce and weighted_bce; leave it out for focal")
        return self
