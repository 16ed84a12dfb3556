"""What `sluice train` needs to know, from a YAML file and the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field, ValidationError

from sluice.base.errors import AssetReadError, ConfigError
from sluice.training.options import CnnOptions, FitOptions, SegFormerOptions, UNetOptions

_MAX_BYTES = 1_000_000
_Training = TypeVar("_Training", bound="TrainingRequest")


class TrainingRequest(FitOptions):
    """What every training is asked for."""

    data: Path
    """Folder of labelled chips."""
    out: Path
    """Folder for the model package and for unfinished work."""
    name: str
    """What to call the model."""
    licence: str
    """SPDX licence of the weights: CC-BY-4.0"""
    attribution: str
    """Whom to name for the data."""
    start_from: str | None = Field(default=None, alias="from")
    """Model to go on from: its name, or its folder."""


class UNetRequest(UNetOptions, TrainingRequest):
    """`sluice train unet`."""


class SegFormerRequest(SegFormerOptions, TrainingRequest):
    """`sluice train segformer`."""


class CnnRequest(CnnOptions, TrainingRequest):
    """`sluice train cnn`."""


def read_request(kind: type[_Training], config: Path | None, given: dict[str, Any]) -> _Training:
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
        raise ConfigError(f"{option} {first['input'] if key else ''}{where}: {said}") from err


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
