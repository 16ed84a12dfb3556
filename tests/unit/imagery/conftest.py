"""Small georeferenced files for the tests of images, on disk and at addresses."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine

from fault_server import FaultServer
from remote_cases import COUNTS, QUICK
from sluice.imagery.remote import RemoteAccess

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


@pytest.fixture(scope="session")
def served_folder(tmp_path_factory: pytest.TempPathFactory, write_tif: WriteTif) -> Path:
    """A folder with `red.tif`, a COG of `remote_cases.COUNTS`."""
    folder = tmp_path_factory.mktemp("served")
    write_tif(folder / "red.tif", COUNTS, driver="COG", blocksize=512, compress="deflate", nodata=0)
    return folder


@pytest.fixture
def server(served_folder: Path) -> Iterator[FaultServer]:
    """That folder on loopback; tests that use it are marked `enable_socket`."""
    with FaultServer(served_folder) as server:
        yield server


@pytest.fixture
def access(tmp_path: Path) -> RemoteAccess:
    """Few tries without waits, and an empty cache."""
    return replace(QUICK, cache_folder=tmp_path / "cache", cache_bytes=2**26)
