"""A series of dates as local COGs and STAC items, of any size, for composites."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pystac
import rasterio
import rasterio.shutil
import shapely
from odc.geo.geobox import GeoBox
from pystac.extensions.projection import ProjectionExtension
from scipy import ndimage

from sluice.app.products.coverage import outline_lonlat
from sluice.base.sensors import SENSORS
from sluice.phantom.scene import build_scene

CRS = "EPSG:32721"
LEFT_M, TOP_M = 600_000, 9_300_000
_CLOUD_SHARE = 0.4
_FIRST = dt.date(2023, 1, 5)


@dataclass(frozen=True)
class Series:
    """Where a series is."""

    items: Path
    """ItemCollection, for Sluice and its peer alike."""
    bbox_lonlat: tuple[float, float, float, float]
    """Well within the images."""


def write_series(
    folder: Path, size_px: int, bands: tuple[str, ...], dates: int, *, different: int
) -> Series:
    """Write COGs of 512 px blocks at each band's own pixel size, and items that name them.

    Args:
        folder: Made where it is missing.
        size_px: Side at 10 m, a multiple of 6.
        bands: Names such as `B04`, of the L2A sensor.
        dates: Items to write.
        different: Sets of files to write; items take turns with them, as twenty full tiles are
            too many to write. What is read and decoded stays as much as with as many sets.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pattern = build_scene(31, 480).raster
    items = []
    for k in range(dates):
        files = folder / f"set-{k % different}"
        if not files.exists():
            _write_set(files, pattern.data_bhw, size_px, bands, seed=k)
        items.append(_item(files, size_px, bands, _FIRST + dt.timedelta(days=10 * k), k))
    path = folder / "items.json"
    pystac.ItemCollection(items).save_object(str(path))
    west, south, east, north = _outline(size_px).bounds
    shrink_x, shrink_y = (east - west) * 0.02, (north - south) * 0.02
    return Series(path, (west + shrink_x, south + shrink_y, east - shrink_x, north - shrink_y))


def _write_set(
    folder: Path, pattern_bhw: np.ndarray, size_px: int, bands: tuple[str, ...], seed: int
) -> None:
    folder.mkdir()
    rng = np.random.default_rng(seed)
    sensor = SENSORS["s2-l2a"]
    coarse = size_px // 60 + 2
    sky = ndimage.zoom(
        ndimage.gaussian_filter(rng.standard_normal((coarse, coarse)), 2), 30, order=1
    )
    cloud_20m = sky[: size_px // 2, : size_px // 2] > np.quantile(sky, 1 - _CLOUD_SHARE)
    scl = np.where(cloud_20m, 9, 4).astype(np.uint8)
    _write_cog(folder / "SCL.tif", scl, 20)
    for name in bands:
        band = sensor.band(name)
        step = round(band.gsd_m / 10)
        side = size_px // step
        index = [b.name for b in sensor.bands].index(band.name)
        tile = pattern_bhw[index, ::step, ::step]
        repeats = -(-side // tile.shape[0])
        image = np.tile(tile, (repeats, repeats))[:side, :side] * 10_000
        image += rng.normal(0, 15, image.shape).astype(np.float32)
        cloud = cloud_20m.repeat(2, 0).repeat(2, 1)[::step, ::step][:side, :side]
        image[cloud] = 4000 + 40 * rng.standard_normal(int(cloud.sum()), dtype=np.float32)
        _write_cog(folder / f"{name}.tif", np.clip(image, 1, 65535).astype(np.uint16), band.gsd_m)


def _write_cog(path: Path, image: np.ndarray, gsd_m: float) -> None:
    profile = {
        "driver": "COG",
        "dtype": image.dtype.name,
        "count": 1,
        "height": image.shape[0],
        "width": image.shape[1],
        "crs": CRS,
        "transform": rasterio.Affine(gsd_m, 0, LEFT_M, 0, -gsd_m, TOP_M),
        "nodata": 0,
        "blocksize": 512,
        "compress": "deflate",
        "level": 1,
        "predictor": "yes",
        "num_threads": "all_cpus",
        "bigtiff": "if_safer",
    }
    with rasterio.open(path, "w", **profile) as target:
        target.write(image, 1)


def _outline(size_px: int) -> shapely.Polygon:
    affine = rasterio.Affine(10, 0, LEFT_M, 0, -10, TOP_M)
    return outline_lonlat(GeoBox((size_px, size_px), affine, CRS))


def _item(files: Path, size_px: int, bands: tuple[str, ...], day: dt.date, k: int) -> pystac.Item:
    outline = _outline(size_px)
    item = pystac.Item(
        id=f"S2A_MSIL2A_{day:%Y%m%d}T134000_R001_T21MVN_{k:03d}",
        geometry=shapely.geometry.mapping(outline),
        bbox=list(outline.bounds),
        datetime=dt.datetime.combine(day, dt.time(13, 40), dt.UTC),
        properties={
            "eo:cloud_cover": 100 * _CLOUD_SHARE,
            "s2:processing_baseline": "02.12",
            "platform": "sentinel-2a",
        },
        collection="sentinel-2-l2a",
    )
    ProjectionExtension.add_to(item)
    for name in (*bands, "SCL"):
        gsd_m = 20.0 if name == "SCL" else SENSORS["s2-l2a"].band(name).gsd_m
        side = size_px // round(gsd_m / 10)
        item.add_asset(
            name,
            pystac.Asset(
                str(files / f"{name}.tif"),
                media_type=pystac.MediaType.COG,
                roles=["data"],
                extra_fields={
                    "proj:code": CRS,
                    "proj:shape": [side, side],
                    "proj:transform": [gsd_m, 0, LEFT_M, 0, -gsd_m, TOP_M],
                    "gsd": gsd_m,
                },
            ),
        )
    return item
