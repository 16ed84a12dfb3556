"""Score and probability maps as files that QGIS and web maps open."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.io import MemoryFile
from rasterio.windows import Window

from sluice.base.arrays import ArrayHW
from sluice.base.calibration import Calibration
from sluice.base.errors import RunFailed
from sluice.base.files import write_whole
from sluice.scan.blend import BlendedScores

_STRIP_ROWS = 512


def write_score_map(path: Path, blended: BlendedScores, tags: Mapping[str, str]) -> None:
    """Write the scores as a cloud-optimised GeoTIFF: float32, NaN = not observed, overviews.

    Args:
        path: The file, `.tif`; whole or not there.
        blended: Scores of the cells.
        tags: Written into the file: model, dates, disclaimer.

    Raises:
        RunFailed: The file could not be written.
    """
    _write_cog(path, blended, "score", tags, None)


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
    _write_cog(path, blended, "probability", {**tags, "prior": f"{prior:g}"}, (calibration, prior))


def _write_cog(
    path: Path,
    blended: BlendedScores,
    description: str,
    tags: Mapping[str, str],
    belief: tuple[Calibration, float] | None,
) -> None:
    height, width = blended.scores.shape
    profile = {
        "driver": "GTiff",
        "dtype": "float32",
        "count": 1,
        "height": height,
        "width": width,
        "crs": None if blended.geobox.crs is None else blended.geobox.crs.to_wkt(),
        "transform": blended.geobox.affine,
        "nodata": np.nan,
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
                target.set_band_description(1, description)
                target.update_tags(**tags)
                for row in range(0, height, _STRIP_ROWS):
                    strip: ArrayHW = blended.scores[row : row + _STRIP_ROWS]
                    if belief is not None:
                        strip = belief[0].probability(strip, belief[1])
                    target.write(strip, 1, window=Window(0, row, width, len(strip)))
            rasterio.shutil.copy(
                plain.name,
                cog.name,
                driver="COG",
                COMPRESS="DEFLATE",
                PREDICTOR="YES",
                BLOCKSIZE="256",
                OVERVIEW_RESAMPLING="AVERAGE",
                BIGTIFF="IF_SAFER",
            )
            part.write_bytes(cog.getbuffer())
    except (OSError, rasterio.errors.RasterioError) as err:
        raise RunFailed(
            f"{path}: cannot be written ({err}); free some space or choose another output folder"
        ) from err
