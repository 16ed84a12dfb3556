"""What `sluice labels grid` needs to know."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from sluice.app.config import ImageryConfig
from sluice.base.errors import ConfigError
from sluice.base.records import ModelInput
from sluice.imagery.names import find_band

_TYPED = re.compile(r"(?P<kind>[^=]+)=(?P<file>.+?)(?::(?P<count>\d+))?")
_EARLIER = re.compile(r"(?P<name>[^@]+)@-(?P<back>\d)")


@dataclass(frozen=True)
class TypedFile:
    """Places of a kind that is mistaken for a mine."""

    kind: str
    file: Path
    count: int | None
    """Cells to draw; None takes all."""


class LabelGridConfig(ImageryConfig):
    """Chips with masks over an area, from labels and imagery."""

    area: str
    labels: Path
    """Polygons; what of the area they leave out is free of what they show."""
    classes: tuple[str, ...] | None = None
    """Names of the masks' values, the first for what is not sought; None takes `other` and the
    classes of the labels in alphabetical order."""
    layers: tuple[str, ...] = ("blue", "green", "red", "nir")
    """Bands of the chips; `vv@-1` is of the period before."""
    chip_px: int = Field(default=256, ge=16, le=4096)
    gsd_m: float = Field(default=10.0, ge=0.3, le=1000)
    delta_m: float | None = Field(default=None, gt=0)
    """From chip to chip; None takes the side of one, so that they neither overlap nor leave
    gaps."""
    centred: bool = False
    """One chip around the middle of each polygon, in place of all that meet it."""
    negatives: float = Field(default=1.0, ge=0, le=1000)
    """Random chips without labels for each with some."""
    typed: tuple[str, ...] = ()
    """`KIND=FILE:N`."""
    apart_m: float = Field(default=1000.0, ge=0)
    """From a negative chip to the nearest label."""
    max_blank: float = Field(default=0.2, ge=0, le=1)
    """Largest share of a chip that is not observed."""
    other_dates: Literal["unlabelled", "drop"] = "unlabelled"
    """What becomes of ground that was labelled at another time than that of the images: 255 in
    the masks, or taken for free of mines."""
    seed: int = Field(default=0, ge=0)
    name: str | None = None
    licence: str = ""
    attribution: str = ""

    @property
    def command(self) -> str:
        """See `ResultsConfig`."""
        return "labels grid"

    @property
    def inputs(self) -> tuple[ModelInput, ...]:
        """The bands of the chips."""
        return tuple(dict.fromkeys(_input(layer) for layer in self.layers))

    @property
    def typed_files(self) -> tuple[TypedFile, ...]:
        """The typed negatives."""
        return tuple(_typed(text) for text in self.typed)

    @field_validator("layers")
    @classmethod
    def _some(cls, layers: tuple[str, ...]) -> tuple[str, ...]:
        if not layers:
            raise ConfigError("--layers is empty; name bands: red,green,blue")
        return layers

    @model_validator(mode="after")
    def _understood(self) -> Self:
        periods = {one.period for one in self.inputs}
        if 0 not in periods or min(periods) < -1:
            raise ConfigError(
                "--layers: a chip holds bands of its period, and of the one before it at most "
                "(vv,vv@-1)"
            )
        if periods != {0} and self.source is None:
            raise ConfigError(
                "--layers: bands of the period before need --source with --every, and --from one "
                "period earlier"
            )
        kinds = [typed.kind for typed in self.typed_files]
        if len(set(kinds)) < len(kinds):
            raise ConfigError(f"--typed: {max(kinds, key=kinds.count)} is given twice")
        return self


def _input(layer: str) -> ModelInput:
    earlier = _EARLIER.fullmatch(layer)
    name = earlier["name"] if earlier else layer
    band = find_band(name, None)
    if band is None:
        raise ConfigError(f"--layers: {layer!r} is no band; use names such as B04, red, vv, vv@-1")
    return ModelInput(band=band, period=-int(earlier["back"]) if earlier else 0)


def _typed(text: str) -> TypedFile:
    found = _TYPED.fullmatch(text)
    if found is None:
        raise ConfigError(
            f"--typed {text}: is not understood; give KIND=FILE, or KIND=FILE:N for N chips, such "
            "as riverbank=rivers.gpkg:200"
        )
    count = found["count"]
    return TypedFile(found["kind"].strip(), Path(found["file"]), int(count) if count else None)
