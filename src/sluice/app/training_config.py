"""What `sluice train` needs to know, from a YAML file and the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sluice.base.errors import AssetReadError, ConfigError
from sluice.training.options import (
    ALPHAS,
    CnnOptions,
    DecisionOptions,
    FitOptions,
    Penalties,
    Regressor,
    Seed,
    SegFormerOptions,
    UNetOptions,
    Words,
)

_MAX_BYTES = 1_000_000
_Asked = TypeVar("_Asked", bound=BaseModel)


class PackageRequest(BaseModel):
    """What every training of a model package is asked for."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )

    data: Path
    """Folder of labelled chips: dataset.json and index.csv, or chips.csv and grids/."""
    out: Path
    """Folder for the model package and for unfinished work."""
    name: str
    """What to call the model."""
    licence: str
    """SPDX licence of the weights: CC-BY-4.0"""
    attribution: str
    """Whom to name for the data."""


class TrainingRequest(PackageRequest, FitOptions):
    """What the training of a network is asked for."""

    start_from: str | None = Field(default=None, alias="from")
    """Model to go on from: its name, or its folder."""


class UNetRequest(UNetOptions, TrainingRequest):
    """`sluice train unet`."""


class SegFormerRequest(SegFormerOptions, TrainingRequest):
    """`sluice train segformer`."""


class CnnRequest(CnnOptions, TrainingRequest):
    """`sluice train cnn`."""


class ChipDetectorRequest(DecisionOptions, PackageRequest):
    """`sluice train chip-detector`."""

    epochs: int = Field(default=24, ge=1)
    """Passes over the chips."""
    folds: int = Field(default=5, ge=2)
    """Cross-validation folds."""
    seeds: int = Field(default=1, ge=1)
    """Networks in the ensemble."""
    views: Literal[1, 2, 4] = 4
    """Sides each looks from."""
    seed: Seed = 0
    """First random seed."""
    workers: int = Field(default=1, ge=1)
    """Networks fitted at a time."""


class RandomFeaturesRequest(DecisionOptions, PackageRequest):
    """`sluice train random-features`."""

    model: Regressor = "ridge"
    """What is fitted to the features."""
    patches: int = Field(default=512, ge=2)
    """Patches; each gives two features."""
    patch_kind: Literal["empirical", "random"] = "empirical"
    """`empirical`: cut from the chips and whitened."""
    folds: int = Field(default=5, ge=2)
    """Cross-validation folds."""
    alphas: Penalties = ALPHAS
    """Penalties of linear models to choose from; add 100,1000 for few labels."""
    bands: Words = ()
    """`rgb`, `rgb+nir`, or bands of the data set by name; none: all."""
    sensor: str | None = None
    """Sensor of the images, where the data set does not say it."""
    seed: Seed = 0
    """Random seed."""


class FeatureTableRequest(DecisionOptions):
    """`sluice train feature-table`."""

    labels: Path
    """CSV with lon, lat, label and the rest."""
    features: Path
    """Feather, Parquet or CSV, by cell."""
    out: Path
    """Folder for model, report and map."""
    covariates: Path | None = None
    """Table of more about places: distances, geology, income."""
    model: Regressor = "ridge"
    """What is fitted to the features."""
    half_side: float = Field(default=0.005, gt=0)
    """Half of a cell's side, degrees."""
    block_side: float = Field(default=0.25, gt=0)
    """Side of the blocks that splits keep whole, degrees."""
    min_inspected: float = Field(default=0.2, ge=0)
    """Share inspected that a place without a mine needs; 0: any."""
    min_confidence: float = Field(default=3, ge=0)
    """Confidence that a label needs; 0: any."""
    exclude_types: Words = ("commercial",)
    """Mine types to leave out, with commas."""
    prior: float | None = None
    """Share of cells with a mine where you look, for the map: 0.01."""
    alphas: Penalties = ALPHAS
    """Penalties of linear models to choose from; add 100,1000 for few labels."""
    seed: Seed = 0
    """Random seed."""


def read_request(kind: type[_Asked], config: Path | None, given: dict[str, Any]) -> _Asked:
    """Put a YAML file and the command line together; the command line wins.

    Args:
        kind: Of training.
        config: A YAML file whose keys are the options' names, None for none.
        given: Options from the command line, without those left out.

    Raises:
        ConfigError: A key is unknown or missing, or a value out of its range.
        AssetReadError: The file is no YAML.
    """
    values = {**(_read_yaml(config) if config else {}), **given}
    try:
        return kind.model_validate(values)
    except ValidationError as err:
        first = err.errors(include_url=False)[0]
        key = str(first["loc"][0]) if first["loc"] else ""
        option = "--" + key.replace("_", "-") if key else "the options"
        where = "" if key in given or config is None else f" ({config})"
        if first["type"] == "missing":
            raise ConfigError(
                f"{option}{where}: is missing; give it, or put {key} in a YAML file"
            ) from err
        if first["type"] == "extra_forbidden":
            raise ConfigError(
                f"{key}{where}: is no option of this training; `--help` lists them"
            ) from err
        said = first["msg"].removeprefix("Value error, ")
        value = f" {first['input']}" if key else ""
        raise ConfigError(f"{option}{value}{where}: {said}") from err


def _read_yaml(path: Path) -> dict[str, Any]:
    import yaml  # noqa: PLC0415 - comes with the extra `train`

    try:
        if path.stat().st_size > _MAX_BYTES:
            raise AssetReadError(f"{path}: is too large for options; give a small YAML file")
        # The safe loader: it makes plain values only.
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as err:
        reason = " ".join(str(err).split())[:160]
        raise AssetReadError(f"{path}: cannot be read as YAML ({reason})", href=str(path)) from err
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise ConfigError(f"{path}: holds no table of options; write lines such as `epochs: 50`")
    return {key.replace("-", "_"): value for key, value in found.items()}
