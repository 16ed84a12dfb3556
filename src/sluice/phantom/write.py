"""A phantom scene as files that any reader of Sentinel-2 L2A opens."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox

from sluice.base.files import write_whole
from sluice.base.sensors import SENSORS
from sluice.phantom.canvas import block_mean
from sluice.phantom.scene import GSD_M, PhantomScene

SCALE, OFFSET = 0.0001, -0.1
"""Reflectance = DN x SCALE + OFFSET, as in products of baseline 04.00 and later."""

TRUTH_FILE = "truth.gpkg"
FICTION = "Synthetic scene made by Sluice. The place is fictional: nothing here was observed."
"""What every file says."""


def write_scene(scene: PhantomScene, folder: Path) -> list[Path]:
    """Write bands, scene classification and truth.

    `B01.tif` to `B12.tif` are cloud-optimised GeoTIFFs at the band's own pixel size, uint16 with
    scale and offset tags and nodata 0; `SCL.tif` is uint8 at 20 m; `truth.gpkg` has the layers
    `mines` and `confusers`. All say that the place is fictional.

    Args:
        scene: What to write.
        folder: Made where it is missing; files of the same names are replaced.

    Returns:
        The files, bands first.

    Raises:
        OSError: The folder cannot be written, or the disk is full.
    """
    written = []
    for band, image_hw in zip(SENSORS["s2-l2a"].bands, scene.raster.data_bhw, strict=True):
        size = round(band.gsd_m / GSD_M)
        # Repeated values: the mean of a block is its value.
        number = np.rint((block_mean(image_hw, size) - OFFSET) / SCALE)
        path = folder / f"{band.name}.tif"
        # No reflectance becomes 0, which is nodata.
        _write_band(path, np.clip(number, 1, 65535).astype(np.uint16), scene, size, scaled=True)
        written.append(path)
    path = folder / "SCL.tif"
    _write_band(path, scene.scl_hw[::2, ::2], scene, 2, scaled=False)
    written.append(path)
    path = folder / TRUTH_FILE
    with write_whole(path) as part:
        _write_layer(scene.mines, part, "mines")
        _write_layer(scene.confusers, part, "confusers")
    return [*written, path]


def _write_band(
    path: Path, image_hw: np.ndarray, scene: PhantomScene, size: int, *, scaled: bool
) -> None:
    """Write one band.

    Args:
        path: Where.
        image_hw: (H, W), uint8 or uint16.
        scene: Gives the place.
        size: Pixels of 10 m per pixel and side.
        scaled: Whether the numbers need the scale and offset to be reflectance.
    """
    left, top = scene.raster.geobox.affine.c, scene.raster.geobox.affine.f
    transform = Affine(GSD_M * size, 0, left, 0, -GSD_M * size, top)
    tags = {
        "PHANTOM_SEED": str(scene.seed),
        "TIFFTAG_DATETIME": f"{scene.acquired:%Y:%m:%d} 13:40:00",
    }
    grid = GeoBox(image_hw.shape, transform, scene.raster.geobox.crs)
    write_cog(path, image_hw, grid, nodata=0, tags=tags, scaled=scaled)


def write_cog(
    path: Path,
    image_hw: np.ndarray,
    geobox: GeoBox,
    *,
    nodata: float,
    tags: dict[str, str],
    scaled: bool = False,
) -> None:
    """Write a cloud-optimised GeoTIFF that says that the place is fictional.

    Args:
        path: Where.
        image_hw: (H, W) of any number type.
        geobox: Its grid.
        nodata: Number that means no data.
        tags: To write beside.
        scaled: Whether to write `SCALE` and `OFFSET` as tags.

    Raises:
        OSError: The folder cannot be written, or the disk is full.
    """
    profile = {
        "driver": "COG",
        "height": image_hw.shape[0],
        "width": image_hw.shape[1],
        "count": 1,
        "dtype": image_hw.dtype.name,
        "crs": str(geobox.crs),
        "transform": geobox.affine,
        "nodata": nodata,
        "compress": "deflate",
        "predictor": "yes",
        "resampling": "nearest",
    }
    with write_whole(path) as part, rasterio.open(part, "w", **profile) as out:
        out.write(image_hw, 1)
        out.update_tags(TIFFTAG_IMAGEDESCRIPTION=FICTION, **tags)
        if scaled:
            out.scales, out.offsets = (SCALE,), (OFFSET,)


def _write_layer(frame: gpd.GeoDataFrame, path: Path, layer: str) -> None:
    frame.to_file(path, layer=layer, driver="GPKG", layer_options={"DESCRIPTION": FICTION})
