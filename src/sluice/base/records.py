"""The records that travel between rooms, and that a run leaves as evidence."""

from __future__ import annotations

import datetime as dt
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Record(BaseModel):
    """Frozen, and strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelInput(Record):
    """One input of a model: a band in a period.

    Period 0 is the one under judgement, -1 the one before; so radar drops and change models fit
    the same interface as a single date.
    """

    band: str
    """STAC common name."""
    period: int = Field(default=0, le=0)

    @property
    def key(self) -> str:
        """`red` in the current period, `vv@-1` in the one before."""
        return self.band if self.period == 0 else f"{self.band}@{self.period}"


class Scene(Record):
    """One acquisition, as far as a run needs to know it."""

    id: str
    href: str
    """File, folder or address; never with credentials."""
    sensor: str | None = None
    """`Sensor.id`, None where unknown."""
    acquired: dt.date | None = None
    acquired_at: dt.datetime | None = None
    """Moment of the acquisition, UTC, where the source tells it."""
    tile: str | None = None
    """Sentinel-2 tile, `21MVN`."""
    orbit_state: str | None = None
    """`ascending` or `descending`, for radar."""
    cloud_cover: float | None = None
    """Percent of the whole scene, as its catalogue says."""
    processing_baseline: str | None = None
    bands: tuple[str, ...] = ()
    """Common names, in file order."""
    sky_layer: str | None = None
    """The cloud information used: `scl`, `qa60`, `clp`, `cld`, `udm2`, or None; `composed` where
    clouds were taken out before; `omnicloudmask` or `spectral` where they were found in the
    scene's own bands."""
    sky_from: str | None = None
    """Id of the other scene that lent its cloud layer: the L2A product of an L1C one. Or what
    found the clouds in this one's bands."""
    scale: float = 1.0
    offset: float = 0.0
    radiometry_from: str = ""
    """Where scale and offset come from: `file`, `flags`, `sensor folder`, …"""
    sha256: str | None = None
    """Of a local file; of several, of their sorted hashes in hexadecimal, joined by newlines."""
    files: dict[str, str] = {}
    """SHA-256 of each local file used, by its path within the folder, or its name."""


class LeftOut(Record):
    """A scene that was found and not used."""

    scene_id: str
    href: str
    reason: str
    """Why, in words for a person."""
    tiles: int = 0
    """Tiles for which it was wanted and could not be read; 0 where it was refused beforehand."""


class TileStatus(StrEnum):
    """What became of a tile."""

    DONE = "done"
    """Scored, in part at least."""
    NOT_OBSERVED = "not_observed"
    """Read, and nothing in it was clear or covered."""
    FAILED = "failed"
    """Could not be read or scored: not observed either, and counted apart."""


class TileOutcome(Record):
    """One tile of one run."""

    tile_id: str
    status: TileStatus
    windows: int
    """Windows that the tile owns; of a composite, pixels."""
    observed: int
    """Windows that were scored; of a composite, pixels with enough clear looks."""
    reason: str | None = None
    """Why it failed."""
    left_out: dict[str, str] = {}
    """Scenes that could not be read for it, by id, and why; it was made of the others."""


class Detection(Record):
    """A polygon of one run, without its geometry: the columns of `sites.*` files."""

    detection_id: str
    lon: float
    lat: float
    score_mean: float
    score_peak: float
    probability_mean: float | None
    """None where the model has no calibration."""
    probability_peak: float | None
    """Of the best cell; as the highest of many it leans high."""
    footprint_ha: float
    """Geodesic area of the cells that were marked: ground around a mine counts, and parts of a
    mine may be missing."""
    delineated_ha: float | None
    """Geodesic area of the outlined workings; None until an outline exists."""
    isolated: bool
    cells: int
    """Cells in the polygon, each a stride wide."""


class ImageryRun(Record):
    """What a composite was made of: its `run.json`."""

    run_id: str
    sluice_version: str
    started: dt.datetime
    finished: dt.datetime | None
    status: str
    """`complete` or `failed`; a run that was cut off leaves no record."""
    period: str | None = None
    """`2024-01_2024-04`; None where images were named one by one."""
    scenes: tuple[Scene, ...]
    left_out: tuple[LeftOut, ...] = ()
    """Scenes that were found and not used, or not everywhere."""
    parameters: dict[str, Any]
    grid: dict[str, Any]
    """CRS, transform and shape of the processing grid."""
    tiles: tuple[TileOutcome, ...]
    """Of a failed run those that were finished or had failed by then."""
    summary: dict[str, Any]
    """The figures told at the end; of a failed run the error."""
    disclaimer: str


class Run(ImageryRun):
    """What a scan read, used and did: `run.json`, or `run-failed.json`."""

    model: dict[str, Any]
    """Name, hash, thresholds, calibration: copied from the manifest that was used."""
    outlines: dict[str, Any] | None = None
    """Likewise, of the model that outlined the workings; None where none did."""
    engine: str
    precision: str
    prior: float | None


DISCLAIMER = (
    "A detection is a lead to verify, not proof. Do not accuse anyone on the strength of it alone."
)
