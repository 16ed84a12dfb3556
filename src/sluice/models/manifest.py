"""A model's contract: what it wants to see, how, and what its scores mean.

Training writes a manifest, inference obeys it, and nothing about a model is written down
anywhere else. Where the STAC Machine Learning Model extension (MLM 1.4) has a word, it is used:

    manifest                MLM
    name                    mlm:name
    architecture            mlm:architecture
    framework               mlm:framework
    pretrained              mlm:pretrained
    pretrained_source       mlm:pretrained_source
    inputs                  mlm:input[].bands, in order, with one period each
    inputs[].subtract, …    mlm:input[].value_scaling: type `z-score` (mean, stddev), then `clip`
    sight_px                mlm:input[].input.shape = [-1, len(inputs), side, side]
    classes                 mlm:output[].classification:classes
    output                  mlm:output[].description
    licence                 license of the STAC item
"""

from __future__ import annotations

import datetime as dt
import json
import math
import re
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, JsonValue, ValidationError, field_validator, model_validator

from sluice.base.calibration import Calibration
from sluice.base.classes import MOST_CLASSES
from sluice.base.errors import ManifestMismatch
from sluice.base.methods import Method
from sluice.base.records import ModelInput, Record
from sluice.base.sensors import SENSORS

MANIFEST_FILE = "manifest.json"
SCHEMA_VERSION = 1
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")
# Windows keeps these for devices, with any ending.
_RESERVED = {"con", "prn", "aux", "nul", *(f"{d}{i}" for d in ("com", "lpt") for i in range(1, 10))}


def is_legal_name(name: str) -> bool:
    """Whether a model may bear this name: it becomes a folder on every system."""
    return (
        _NAME.fullmatch(name) is not None
        and ".." not in name
        and name.split(".", maxsplit=1)[0] not in _RESERVED
    )


class ScaledInput(ModelInput):
    """One input and its scaling: ``clip((value - subtract) / divide, low, high)``.

    The value is reflectance, unitless 0-1, or backscatter in dB.
    """

    subtract: float = 0.0
    divide: float = 1.0
    low: float | None = None
    """None: not clipped below."""
    high: float | None = None
    """None: not clipped above."""
    fill: float = 0.0
    """What the model sees where nothing was observed: in its own units, after scaling."""

    @model_validator(mode="after")
    def _sensible(self) -> ScaledInput:
        numbers = (self.subtract, self.divide, self.fill, self.low or 0.0, self.high or 0.0)
        if not all(map(math.isfinite, numbers)) or self.divide <= 0:
            raise ValueError(f"{self.key}: scaling needs finite numbers and divide > 0")
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError(f"{self.key}: low {self.low} is not below high {self.high}")
        return self


class Adaptation(Record):
    """Brings a band of one kind of imagery to what the weights were fitted to.

    ``value = offset + gain * value``, before the input's own scaling.
    """

    gain: float = Field(gt=0)
    offset: float


class Level(Record):
    """A kind of imagery that the model accepts."""

    sensor: str
    """`Sensor.id`."""
    verified: bool
    """True: its figures were measured on this kind of imagery."""
    note: str = ""
    """In words: on what it was verified, or why it should work."""
    adapt: dict[str, Adaptation] = Field(default_factory=dict)
    """By input key; inputs that are not named are taken as they are."""

    @field_validator("sensor")
    @classmethod
    def _known(cls, sensor: str) -> str:
        if sensor not in SENSORS:
            raise ValueError(f"sensor {sensor!r} is not known; use one of {', '.join(SENSORS)}")
        return sensor


class Thresholds(Record):
    """When a score becomes a detection.

    A window at or above `t_main` is kept. Where its `k`-th nearest kept neighbour lies farther
    than `isolation_distance_m`, or does not exist, it must reach `t_iso`.

    Source:
        Amazon Mining Watch, earthrise-media/mining-detector.
    """

    t_main: float = Field(ge=0, le=1)
    t_iso: float = Field(ge=0, le=1)
    k: int = Field(default=5, ge=1)
    isolation_distance_m: float = Field(default=3000.0, gt=0)

    @model_validator(mode="after")
    def _ordered(self) -> Thresholds:
        if self.t_iso < self.t_main:
            raise ValueError(f"t_iso {self.t_iso} is below t_main {self.t_main}")
        return self


class Weights(Record):
    """The weights file beside the manifest."""

    file: Literal["weights.onnx"] = "weights.onnx"
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Manifest(Record):
    """Everything that inference needs to know of a model; `manifest.json` in its package."""

    schema_version: Literal[1] = 1
    name: str
    """Small letters, digits, dot, dash and underscore; also the package's folder."""
    title: str
    summary: str
    """What it finds and in what imagery, in one or two sentences."""
    licence: str
    """SPDX expression of the weights."""
    attribution: str
    created: dt.date | None = None
    """Day the weights were fitted or published, None where unknown."""

    architecture: str
    framework: str
    """What the weights were fitted with, `pytorch` or `tensorflow`."""
    pretrained: bool
    """Whether fitting began from weights of others, or the weights themselves are others'."""
    pretrained_source: str | None = None

    inputs: tuple[ScaledInput, ...] = Field(min_length=1)
    """In the order of the weights' channels."""
    levels: tuple[Level, ...] = Field(min_length=1)
    reduce: Method = "median"
    """How the looks of a period become one, unless its user wants another way."""
    gsd_m: float = Field(gt=0)
    """Pixel side, metres."""
    judges: Literal["windows", "pixels"] = "windows"
    """Windows: one score says whether something lies in the square. Pixels: classes of each."""
    window_px: int = Field(ge=1)
    """Side of the square that one score judges; where pixels are judged, of the square that a
    score of the map is the mean of."""
    context_px: int = Field(default=0, ge=0)
    """Pixels beyond each side of a window that the weights look at too: mirrored where a chip
    ends, filled where nothing was observed."""
    patch_px: int | None = Field(default=None, ge=1)
    """Side of the square that weights which judge pixels are given at once; None for windows."""
    patch_overlap_px: int = Field(default=0, ge=0)
    """Pixels that neighbouring patches share."""
    classes: tuple[str, ...] = ()
    """Names of the channels that weights which judge pixels give; the first is what is not
    sought, and a pixel's score is 1 less its probability. Empty for windows."""
    indices: tuple[str, ...] = ()
    """Spectral indices that the weights compute from the inputs, for the record."""
    dense_stride_px: int | None = Field(default=None, ge=1)
    """Pixels between neighbouring scores of one pass over a larger image; None where the
    weights take single windows only."""
    stride_m: float = Field(gt=0)
    """Distance between windows of a scan, unless its user wants another."""
    max_invalid_share: float = Field(default=0.2, ge=0, lt=1)
    """A window with a larger share of invalid pixels is not observed."""
    output: str
    """What a score of 1 claims, in words."""
    thresholds: Thresholds
    calibration: Calibration | None = None

    weights: Weights
    card: Literal["MODEL_CARD.md"] = "MODEL_CARD.md"
    training: dict[str, JsonValue] = Field(default_factory=dict)
    """For the record: data, split, command, figures."""

    @field_validator("name")
    @classmethod
    def _legal(cls, name: str) -> str:
        if not is_legal_name(name):
            raise ValueError(
                f"{name!r} cannot name a model; use up to 64 small letters, digits, '.', '-', '_'"
            )
        return name

    @model_validator(mode="after")
    def _consistent(self) -> Manifest:
        keys = [i.key for i in self.inputs]
        if len(set(keys)) < len(keys):
            raise ValueError(f"an input is named twice: {', '.join(keys)}")
        sensors = [level.sensor for level in self.levels]
        if len(set(sensors)) < len(sensors):
            raise ValueError(f"a level is named twice: {', '.join(sensors)}")
        for level in self.levels:
            unknown = sorted(set(level.adapt) - set(keys))
            if unknown:
                raise ValueError(f"level {level.sensor} adapts {unknown[0]}, which is no input")
        if self.dense_stride_px is not None and self.dense_stride_px > self.window_px:
            raise ValueError(
                f"dense_stride_px {self.dense_stride_px} exceeds window_px {self.window_px}"
            )
        if self.judges == "pixels":
            self._check_patches()
        elif self.patch_px is not None or self.patch_overlap_px or self.classes:
            raise ValueError("patches and classes belong to a model that judges pixels")
        return self

    def _check_patches(self) -> None:
        if self.patch_px is None or not 2 <= len(set(self.classes)) == len(self.classes):
            raise ValueError("a model that judges pixels has patch_px and two classes or more")
        if len(self.classes) > MOST_CLASSES:
            raise ValueError(f"{len(self.classes)} classes; a map has {MOST_CLASSES} at most")
        if self.patch_px % self.window_px or self.patch_overlap_px % self.window_px:
            raise ValueError(
                f"patch_px {self.patch_px} and patch_overlap_px {self.patch_overlap_px} must be "
                f"multiples of window_px {self.window_px}"
            )
        if self.patch_px // self.window_px < 2 or 2 * self.patch_overlap_px > self.patch_px:
            raise ValueError(
                f"patches of {self.patch_px} px must hold several squares of {self.window_px} px "
                f"and overlap by half at most, not {self.patch_overlap_px} px"
            )
        if self.dense_stride_px is not None or self.context_px:
            raise ValueError("dense_stride_px and context_px belong to a model of windows")
        if self.thresholds.t_iso != self.thresholds.t_main:
            raise ValueError("t_iso is t_main where pixels are judged: they are never isolated")

    @property
    def bands(self) -> tuple[str, ...]:
        """Keys of the inputs, in the weights' order."""
        return tuple(i.key for i in self.inputs)

    @property
    def stride_px(self) -> int:
        """Pixels between the squares that the weights are given: `stride_m`, or by the overlap."""
        if self.patch_px is not None:
            return self.patch_px - self.patch_overlap_px
        return max(1, round(self.stride_m / self.gsd_m))

    @property
    def sight_px(self) -> int:
        """Side of the square that the weights see at once."""
        return self.patch_px or self.window_px + 2 * self.context_px

    @property
    def judged_px(self) -> int:
        """Side of the square that is judged at once: a window, or a patch of pixels."""
        return self.patch_px or self.window_px

    @property
    def cells_per_window(self) -> int:
        """Scores along a side of what is judged at once: of a patch, or 1 for a window."""
        return 1 if self.patch_px is None else self.patch_px // self.window_px

    def find_level(self, sensor: str) -> Level | None:
        """What the manifest says of a sensor, None where it does not name it."""
        return next((level for level in self.levels if level.sensor == sensor), None)

    def adaptation_for(self, sensor: str) -> tuple[tuple[float, float], ...] | None:
        """(gain, offset) for each input in the weights' order; None where values stay as they are.

        Args:
            sensor: `Sensor.id`; one that the manifest does not name is not adapted.
        """
        level = self.find_level(sensor)
        if level is None or not level.adapt:
            return None
        as_it_is = Adaptation(gain=1, offset=0)
        lines = (level.adapt.get(key, as_it_is) for key in self.bands)
        return tuple((line.gain, line.offset) for line in lines)

    def to_json(self) -> str:
        """The text of `manifest.json`."""
        return self.model_dump_json(indent=2) + "\n"


def parse_manifest(text: str, *, href: str) -> Manifest:
    """Read a manifest's text.

    Args:
        text: Content of `manifest.json`.
        href: Where it came from, for messages.

    Raises:
        ManifestMismatch: Not JSON, of another schema version, or fields missing or wrong.
    """
    try:
        raw: Any = json.loads(text)
    except (ValueError, RecursionError) as err:
        raise ManifestMismatch(
            f"{href}: not a JSON file ({err}); fetch or write the model package again", href=href
        ) from err
    found = raw.get("schema_version") if isinstance(raw, dict) else None
    if found != SCHEMA_VERSION:
        raise ManifestMismatch(
            f"{href}: manifest of schema version {found}, this Sluice reads {SCHEMA_VERSION}; "
            "use the Sluice that wrote it, or import the model again",
            href=href,
        )
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as err:
        raise ManifestMismatch(
            f"{href}: {_problems(err)}; correct the manifest", href=href
        ) from err


def read_manifest(path: Path) -> Manifest:
    """Read `manifest.json`.

    Raises:
        ManifestMismatch: Missing, unreadable or wrong.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        raise ManifestMismatch(
            f"{path}: cannot be read ({err}); a model package is a folder with "
            f"{MANIFEST_FILE}, weights.onnx and MODEL_CARD.md",
            href=str(path),
        ) from err
    return parse_manifest(text, href=str(path))


def _problems(err: ValidationError) -> str:
    found = [
        f"{'.'.join(map(str, e['loc'])) or 'manifest'}: {e['msg'].removeprefix('Value error, ')}"
        for e in err.errors(include_url=False, include_input=False)
    ]
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return "; ".join(found[:3]) + more
