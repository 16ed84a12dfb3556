"""From a plain GeoTIFF to a cloud-optimised one."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path

import rasterio
import rasterio.shutil
from rasterio._err import (
    CPLE_BaseError,  # no public name, and none of `rasterio.errors` is its base
)
from rasterio.enums import Resampling
from rasterio.errors import RasterioError

BLOCK_PX = 512


@contextlib.contextmanager
def _named_errors() -> Iterator[None]:
    """Name what rasterio hands on from GDAL as it comes, as on a full disk."""
    try:
        yield
    except CPLE_BaseError as err:
        raise RasterioError(str(err)) from err


def add_overviews(plain: Path, resampling: Resampling) -> None:
    """Add smaller sizes, uncompressed: the COG driver, left to do it, compresses them twice.

    Raises:
        RasterioError: They cannot be written.
    """
    with (
        _named_errors(),
        rasterio.Env(GDAL_CACHEMAX=256 * 2**20, GDAL_NUM_THREADS="ALL_CPUS"),
        rasterio.open(plain, "r+") as raster,
    ):
        halvings = math.ceil(math.log2(max(raster.shape) / BLOCK_PX))
        if halvings > 0:
            raster.build_overviews([2**k for k in range(1, halvings + 1)], resampling)


def compress(plain: Path, cog: Path) -> None:
    """Make a cloud-optimised GeoTIFF of a plain one.

    Raises:
        RasterioError: It cannot be written.
    """
    with _named_errors(), rasterio.Env(GDAL_CACHEMAX=256 * 2**20):
        rasterio.shutil.copy(
            plain,
            cog,
            driver="COG",
            COMPRESS="DEFLATE",
            LEVEL="1",
            PREDICTOR="YES",
            BLOCKSIZE=str(BLOCK_PX),
            NUM_THREADS="ALL_CPUS",
            BIGTIFF="IF_SAFER",
        )
