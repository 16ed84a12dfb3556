"""Small georeferenced files for the tests of images from disk."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine

WriteTif = Callable[..., Path]
TEN_METRES = Affine(10, 0, 600000, 0, -10, 700000)


@pytest.fixture(scope="session")
def write_tif() -> WriteTif:
    """A function that writes an array (band, row, column) or (row, column) as a GeoTIFF."""

    def write(
        path: Path,
        array: np.ndarray[Any, Any],
        *,
        transform: Affine = TEN_METRES,
        crs: str | None = "EPSG:32630",
        nodata: float | None = None,
        descriptions: Sequence[str] = (),
        scale: float | None = None,
        offset: float | None = None,
        alpha: bool = False,
        driver: str = "GTiff",
        **options: Any,
    ) -> Path:
        array = array[None] if array.ndim == 2 else array
        path.parent.mkdir(parents=True, exist_ok=True)
        if alpha:
            options |= {"photometric": "RGB", "alpha": "YES"}
        with rasterio.open(
            path,
            "w",
            driver=driver,
            height=array.shape[1],
            width=array.shape[2],
            count=array.shape[0],
            dtype=array.dtype,
            crs=crs,
            transform=transform,
            nodata=nodata,
            **options,
        ) as dataset:
            dataset.write(array)
            for index, description in enumerate(descriptions, start=1):
                dataset.set_band_description(index, description)
            if scale is not None:
                dataset.scales = [scale] * array.shape[0]
            if offset is not None:
                dataset.offsets = [offset] * array.shape[0]
        return path

    return write
