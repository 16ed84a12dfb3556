"""What a command needs to know, as data; the only module that reads the environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import typer
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sluice.base.errors import ConfigError

DEFAULT_PRIOR = 0.001
"""One window in a thousand holds a mine: about the order found over whole basins."""

# Where the command line calls a field otherwise.
_OPTIONS = {
    "stride_m": "--stride",
    "min_footprint_ha": "--min-area",
    "cloud_margin_px": "--cloud-margin",
}


class ScanConfig(BaseModel):
    """One scan."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    images: tuple[Path, ...] = Field(min_length=1)
    """Multi-band GeoTIFFs, or folders of single-band files; together one period."""
    out: Path
    model: str = "default"
    area: str | None = None
    """`west,south,east,north` or a vector file."""
    sensor: str | None = None
    bands: tuple[str, ...] | None = None
    """Names of a file's bands, in file order."""
    scale: float | None = None
    offset: float | None = None
    nodata: float | None = Field(default=None, allow_inf_nan=True)
    prior: float = Field(default=DEFAULT_PRIOR, gt=0, lt=1)
    """Share of windows expected to hold a mine."""
    stride_m: float | None = Field(default=None, gt=0)
    """Distance between windows; None takes the manifest's."""
    min_footprint_ha: float = Field(default=2.0, ge=0)
    """Smallest mapping unit."""
    cloud_margin_px: int = Field(default=2, ge=0, le=50)
    engine: Literal["auto", "onnxruntime", "openvino"] = "auto"
    precision: Literal["f32", "bf16"] = "f32"
    workers: int | None = Field(default=None, ge=1, le=256)
    """Tiles at a time; None takes one for each core, up to 8."""
    processes: bool = False
    """Work on tiles in processes of their own instead of threads."""
    tile_px: int = Field(default=1024, ge=64, le=16384)
    failure_budget: float = Field(default=0.1, ge=0, lt=1)
    any_level: bool = False
    """Scan imagery that the model's manifest does not name; kept in the record of the run."""
    overwrite: bool = False
    """Replace a finished run in `out`."""


def make_config(**values: Any) -> ScanConfig:
    """Build a scan's configuration.

    Raises:
        ConfigError: A value is out of its range; the message names the first.
    """
    try:
        return ScanConfig(**values)
    except ValidationError as err:
        first = err.errors(include_url=False)[0]
        field = str(first["loc"][0])
        option = _OPTIONS.get(field, "--" + field.replace("_", "-"))
        raise ConfigError(f"{option} {first['input']}: {_as_advice(first['msg'])}") from err


def _as_advice(message: str) -> str:
    """`Input should be less than 1` says what was wrong; the rest is what to do."""
    return message.replace("Input should be", "give a value that is", 1)


def models_folder() -> Path:
    """Where imported and trained models are kept: `SLUICE_MODELS`, or the user's data folder."""
    chosen = os.environ.get("SLUICE_MODELS")
    return Path(chosen) if chosen else Path(typer.get_app_dir("sluice")) / "models"
