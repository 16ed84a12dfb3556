"""The names of the files that a run leaves behind."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SCORE = "score.tif"
PROBABILITY = "probability.tif"
CLASSES = "classes.tif"
CLASSES_STYLE = "classes.qml"
"""QGIS takes a style that has the name of what lies beside it."""
COMPOSITE = "composite.tif"
LOOKS = "looks.tif"
PREVIEW = "preview.png"
ELEVATION = "elevation.tif"
SITES_GPKG = "sites.gpkg"
SITES_PARQUET = "sites.parquet"
SITES_GEOJSON = "sites.geojson"
SITES_CSV = "sites.csv"
QUICKLOOK = "quicklook.png"
ITEM = "item.json"
CATALOGUE = "catalog.json"
RUN = "run.json"
FAILED_RUN = "run-failed.json"
"""What became of a run that failed; gone once the same command succeeds."""
OVERVIEW = "overview.csv"
"""Above the folders of a command that makes several results."""

ORDER = (
    SCORE,
    PROBABILITY,
    CLASSES,
    CLASSES_STYLE,
    SITES_GPKG,
    SITES_PARQUET,
    SITES_GEOJSON,
    SITES_CSV,
    QUICKLOOK,
    ITEM,
    CATALOGUE,
    RUN,
)
"""In the order in which they land; `run.json` is last, so that its presence says "whole"."""

EVERYTHING = (COMPOSITE, LOOKS, ELEVATION, PREVIEW, *ORDER)
"""Of all commands alike, in the order in which they land."""

WORK_FOLDER = ".sluice-work"
"""Inside the output folder: what an unfinished run keeps, gone once it is finished."""


@dataclass(frozen=True)
class ProductPaths:
    """Where the files of a finished run are."""

    folder: Path
    score: Path
    """COG, a raw model output per pixel, NaN = not observed."""
    probability: Path | None
    """COG, calibrated at the run's prior; None where the model has no calibration."""
    classes: Path | None
    """COG, the number of a class per cell, 255 = not observed; None where the model does not tell
    several sought classes apart."""
    sites_gpkg: Path
    sites_parquet: Path
    sites_geojson: Path
    sites_csv: Path
    quicklook: Path
    item: Path
    catalogue: Path
    run: Path

    @classmethod
    def in_folder(cls, folder: Path, *, with_probability: bool, with_classes: bool) -> ProductPaths:
        """The paths below a folder, whether the files are there yet or not."""
        return cls(
            folder=folder,
            score=folder / SCORE,
            probability=folder / PROBABILITY if with_probability else None,
            classes=folder / CLASSES if with_classes else None,
            sites_gpkg=folder / SITES_GPKG,
            sites_parquet=folder / SITES_PARQUET,
            sites_geojson=folder / SITES_GEOJSON,
            sites_csv=folder / SITES_CSV,
            quicklook=folder / QUICKLOOK,
            item=folder / ITEM,
            catalogue=folder / CATALOGUE,
            run=folder / RUN,
        )
