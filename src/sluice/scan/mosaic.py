"""Maps of scores, probabilities and classes as files that QGIS and web maps open."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
import rasterio.shutil
from odc.geo.geobox import GeoBox
from rasterio.io import MemoryFile
from rasterio.windows import Window

from sluice.base.calibration import Calibration
from sluice.base.classes import NOT_OBSERVED, ClassesHW
from sluice.base.errors import RunFailed
from sluice.base.files import write_whole
from sluice.scan.blend import BlendedScores

_STRIP_ROWS = 512


@dataclass(frozen=True)
class _Kind:
    """What is special about a map."""

    description: str
    convert: Callable[[npt.NDArray[Any]], npt.NDArray[Any]] | None = None
    """From what is in memory to what is written, some rows at a time."""
    dtype: str = "float32"
    nodata: float = np.nan
    overviews: str = "AVERAGE"
    colours: Mapping[int, tuple[int, int, int]] | None = None
    band_tags: Mapping[str, str] | None = None


def write_score_map(path: Path, blended: BlendedScores, tags: Mapping[str, str]) -> None:
    """Write the scores as a cloud-optimised GeoTIFF: float32, NaN = not observed, overviews.

    Args:
        path: The file, `.tif`; whole or not there.
        blended: Scores of the cells.
        tags: Written into the file: model, dates, disclaimer.

    Raises:
        RunFailed: The file could not be written.
    """
    _write_cog(path, blended.scores, blended.geobox, tags, _Kind("score"))


def write_probability_map(
    path: Path,
    blended: BlendedScores,
    calibration: Calibration,
    prior: float,
    tags: Mapping[str, str],
) -> None:
    """Write the probability of a mine in each cell, in the form of `write_score_map`.

    Args:
        path: The file, `.tif`; whole or not there.
        blended: Scores of the cells.
        calibration: What a score is worth.
        prior: Share of windows that hold a mine where one looks; goes into the tags.
        tags: Written into the file.

    Raises:
        RunFailed: The file could not be written.
    """
    _write_cog(
        path,
        blended.scores,
        blended.geobox,
        {**tags, "prior": f"{prior:g}"},
        _Kind("probability", lambda scores: calibration.probability(scores, prior)),
    )


def write_class_map(
    path: Path,
    classes: ClassesHW,
    geobox: GeoBox,
    legend: Sequence[tuple[str, tuple[int, int, int]]],
    tags: Mapping[str, str],
) -> None:
    """Write classes as a cloud-optimised GeoTIFF with a palette; 255 = not observed.

    The names are tags of the band: `class_0`, `class_1`, … An overview shows the class that is
    commonest in it.

    Args:
        path: The file, `.tif`; whole or not there.
        classes: (rows, columns) of cells.
        geobox: Their grid.
        legend: Name and colour of each class, by number.
        tags: Written into the file.

    Raises:
        RunFailed: The file could not be written.
    """
    kind = _Kind(
        "class",
        dtype="uint8",
        nodata=NOT_OBSERVED,
        overviews="MODE",
        colours={number: colour for number, (_, colour) in enumerate(legend)},
        band_tags={f"class_{number}": name for number, (name, _) in enumerate(legend)},
    )
    _write_cog(path, classes, geobox, tags, kind)


def _write_cog(
    path: Path,
    cells: npt.NDArray[Any],
    geobox: GeoBox,
    tags: Mapping[str, str],
    kind: _Kind,
) -> None:
    height, width = cells.shape
    profile = {
        "driver": "GTiff",
        "dtype": kind.dtype,
        "count": 1,
        "height": height,
        "width": width,
        "crs": None if geobox.crs is None else geobox.crs.to_wkt(),
        "transform": geobox.affine,
        "nodata": kind.nodata,
        "tiled": True,
        "blockxsize": 256,
        "blockysize": 256,
        "bigtiff": "if_safer",
    }
    try:
        # GDAL writes a COG only as the copy of a whole raster. Both are made in memory, where
        # the scores lie already: on a full disk its TIFF library would write to the terminal.
        with (
            rasterio.Env(),
            MemoryFile(ext=".tif") as plain,
            MemoryFile(ext=".tif") as cog,
            write_whole(path) as part,
        ):
            with plain.open(**profile) as target:
                target.set_band_description(1, kind.description)
                target.update_tags(**tags)
                if kind.band_tags is not None:
                    target.update_tags(1, **kind.band_tags)
                if kind.colours is not None:
                    target.write_colormap(1, kind.colours)
                for row in range(0, height, _STRIP_ROWS):
                    strip = cells[row : row + _STRIP_ROWS]
                    if kind.convert is not None:
                        strip = kind.convert(strip)
                    target.write(strip, 1, window=Window(0, row, width, len(strip)))
            rasterio.shutil.copy(
                plain.name,
                cog.name,
                driver="COG",
                COMPRESS="DEFLATE",
                PREDICTOR="YES",
                BLOCKSIZE="256",
                OVERVIEW_RESAMPLING=kind.overviews,
                BIGTIFF="IF_SAFER",
            )
            part.write_bytes(cog.getbuffer())
    except (OSError, rasterio.errors.RasterioError) as err:
        raise RunFailed(
            f"{path}: cannot be written ({err}); free some space or choose another output folder"
        ) from err
