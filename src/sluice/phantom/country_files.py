"""A phantom country as files: catalogue, borders, layers of context, and the truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import pandas as pd

from sluice.base.errors import DataError
from sluice.base.files import write_whole
from sluice.base.places import LayerKind
from sluice.phantom.catalogue import CATALOG_FILE, Level, write_catalogue
from sluice.phantom.country import Country, truth_by_quarter
from sluice.phantom.radar import RadarPass, spread_passes
from sluice.phantom.write import FICTION, TRUTH_FILE

_DAYS = ("start", "end")


@dataclass(frozen=True)
class CountryFiles:
    """Where the files of a country are."""

    folder: Path

    @property
    def catalogue(self) -> Path:
        """`catalog.json` of the images."""
        return self.folder / "catalogue" / CATALOG_FILE

    @property
    def area(self) -> Path:
        """The country's border."""
        return self.folder / "country.gpkg"

    @property
    def truth(self) -> Path:
        """Layers `quarters` (`phantom.country.truth_by_quarter`) and `confusers`."""
        return self.folder / TRUTH_FILE

    def layer(self, kind: LayerKind) -> Path:
        """A layer of context."""
        return self.folder / "layers" / f"{kind.value}.gpkg"


def write_country(
    country: Country,
    folder: Path,
    *,
    bands: Sequence[str] = ("red", "green", "blue"),
    levels: Sequence[Level] = ("l2a", "s1"),
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> CountryFiles:
    """Write a country; everything says that it is fictional.

    The catalogue comes last, so that a folder with one is whole. A layer without a feature has no
    file.

    Args:
        country: What to write.
        folder: Made where it is missing.
        bands: Common names of the Sentinel-2 bands.
        levels: Of `write_catalogue`; radar passes are descending ones, every twelve days.
        workers: Dates written at a time.
        progress: Told how many dates and passes of how many are done.

    Raises:
        OSError: The folder cannot be written, or the disk is full.
    """
    files = CountryFiles(folder)
    _write(files.area, country=gpd.GeoDataFrame({"name": ["Phantomia"]}, geometry=country.outline))
    for kind, features in country.layers.items():
        if len(features):
            _write(files.layer(kind), **{kind.value: features})
    _write(files.truth, quarters=truth_by_quarter(country), confusers=country.series.confusers)
    write_catalogue(
        country.series,
        files.catalogue.parent,
        bands=bands,
        levels=levels,
        radar_passes=descending_passes(country),
        workers=workers,
        progress=progress,
    )
    return files


def descending_passes(country: Country) -> tuple[RadarPass, ...]:
    """Sentinel-1 over the whole time; over much of the tropics only one direction is flown."""
    passes = spread_passes(country.quarters[0].start, country.quarters[-1].end)
    return tuple(flown for flown in passes if flown.orbit_state == "descending")


def read_truth(files: CountryFiles) -> tuple[gpd.GeoDataFrame, gpd.GeoDataFrame]:
    """The truth by quarter and the confusers, as `write_country` wrote them.

    Raises:
        DataError: The file is not one of a country.
    """
    try:
        truth = gpd.read_file(files.truth, layer="quarters")
        confusers = gpd.read_file(files.truth, layer="confusers")
    except (ValueError, OSError, RuntimeError) as err:
        raise DataError(
            f"{files.truth}: holds no truth of a phantom country; write it anew"
        ) from err
    for name in _DAYS:
        # A country without mines has no days, and a column without any was not written.
        days = truth[name] if name in truth else pd.Series(pd.NaT, index=truth.index)
        truth[name] = pd.to_datetime(days).dt.date
    return truth, confusers


def _write(path: Path, **layers: gpd.GeoDataFrame) -> None:
    with write_whole(path) as part:
        for name, frame in layers.items():
            days = {n: pd.to_datetime(frame[n]) for n in _DAYS if n in frame and frame[n].any()}
            empty = [name for name in _DAYS if name in frame and name not in days]
            frame.assign(**days).drop(columns=empty).to_file(
                part, layer=name, driver="GPKG", layer_options={"DESCRIPTION": FICTION}
            )
