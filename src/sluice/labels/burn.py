"""Polygons from a file, and polygons to masks."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely
from odc.geo.geobox import GeoBox
from rasterio import features

from sluice.base.errors import DataError, NoValidData
from sluice.base.files import read_vector
from sluice.base.longitudes import cut_at_180
from sluice.labels.dataset import UNLABELLED

IGNORE = "ignore"
"""Class of ground that nobody can judge, as under cloud: 255 in a mask."""


def read_labels(path: Path) -> tuple[gpd.GeoDataFrame, int]:
    """Read the polygons of a vector file.

    Returns:
        In EPSG:4326, with the columns `class` (`mine` where the file has none), `start`, `end`
        (NaT where unknown), `source` and `geometry`; and how many features had no area.

    Raises:
        NoValidData: None of them has an area.
        DataError: A date cannot be read.
        SourceError, ConfigError: As `read_vector`.
    """
    frame = read_vector(path).to_crs("EPSG:4326").reset_index(drop=True)
    shapes = shapely.make_valid(np.asarray(frame.geometry))
    usable = shapely.area(shapes) > 0
    if not usable.any():
        raise NoValidData(f"{path}: none of its {len(frame)} features has an area; give polygons")
    table = {
        "class": frame["class"] if "class" in frame else pd.Series("mine", frame.index),
        "start": _dates(frame, "start", path),
        "end": _dates(frame, "end", path),
        "source": frame["source"] if "source" in frame else pd.Series(path.stem, frame.index),
    }
    polygons = gpd.GeoDataFrame(
        table, geometry=[cut_at_180(shape) for shape in shapes], crs="EPSG:4326"
    )
    return polygons[usable].reset_index(drop=True), int((~usable).sum())


def _dates(frame: gpd.GeoDataFrame, name: str, path: Path) -> pd.Series:
    if name not in frame:
        return pd.Series(pd.NaT, index=frame.index, dtype="datetime64[ns]")
    try:
        dates: pd.Series = pd.to_datetime(frame[name])
    except (ValueError, TypeError) as err:
        raise DataError(f"{path}: column {name} holds no dates ({err}); correct it") from err
    return dates


def rasterise(
    polygons: gpd.GeoDataFrame, geobox: GeoBox, classes: tuple[str, ...]
) -> npt.NDArray[np.uint8]:
    """Burn polygons into a mask: a pixel belongs to the polygon that holds its centre.

    Args:
        polygons: With a CRS and the column `class`; later rows lie on top.
        geobox: Grid of the mask.
        classes: Names of the values 0, 1, …; 0 where no polygon lies. `IGNORE` is always 255.

    Returns:
        (H, W) uint8.

    Raises:
        DataError: A class without a name.
    """
    values = {name: value for value, name in enumerate(classes)} | {IGNORE: UNLABELLED}
    unknown = sorted(set(polygons["class"]) - set(values))
    if unknown:
        raise DataError(
            f"class {unknown[0]!r} of a polygon is none of {', '.join(classes)}; name it"
        )
    mask: npt.NDArray[np.uint8] = np.zeros(geobox.shape.yx, np.uint8)
    if len(polygons):
        ground = polygons.geometry.to_crs(str(geobox.crs))
        features.rasterize(
            zip(ground, polygons["class"].map(values), strict=True),
            out=mask,
            transform=geobox.affine,
        )
    return mask
