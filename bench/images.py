"""Images to scan: phantom scenes repeated over any size, written strip by strip."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
from rasterio.windows import Window

from sluice.base.sensors import SENSORS
from sluice.phantom.scene import build_scene

BANDS = ("red", "green", "blue")
ALL_BANDS = tuple(band.common_name for band in SENSORS["s2-l2a"].bands)
SCALE = 0.0001
BLOCK_PX = 512
SEEDS = (31, 32)


def make_pattern(scene_px: int) -> np.ndarray:
    """Two phantom scenes and their turned copies in a square.

    Returns:
        (12, 2 scene_px, 2 scene_px) uint16, `ALL_BANDS`, reflectance / `SCALE`.
    """
    scenes = []
    for seed in SEEDS:
        raster = build_scene(seed, scene_px).raster
        image_bhw = np.stack([raster.band(name) for name in ALL_BANDS])
        # No reflectance becomes 0, which is nodata.
        scenes.append(np.clip(np.rint(image_bhw / SCALE), 1, 65535).astype(np.uint16))
    one, other = scenes
    return np.block([[one, other], [other[:, ::-1, ::-1], one[:, ::-1, ::-1]]])


def visible(pattern_bhw: np.ndarray) -> np.ndarray:
    """`BANDS` of a pattern of `ALL_BANDS`."""
    return pattern_bhw[[ALL_BANDS.index(name) for name in BANDS]]


def write_image(path: Path, pattern_bhw: np.ndarray, size_px: int) -> None:
    """Repeat a pattern over `size_px` x `size_px` px of 10 m; memory is that of one strip.

    The file is what satellite images mostly are: uint16 with scale and nodata tags, blocks of
    512 x 512 px, deflate with the horizontal predictor, bands interleaved by pixel.

    Args:
        path: To write.
        pattern_bhw: Of `BANDS`.
        size_px: Side.
    """
    profile = {
        "driver": "GTiff",
        "dtype": "uint16",
        "count": len(BANDS),
        "height": size_px,
        "width": size_px,
        "crs": "EPSG:32721",
        "transform": rasterio.Affine(10, 0, 600_000, 0, -10, 9_300_000),
        "nodata": 0,
        "tiled": True,
        "blockxsize": BLOCK_PX,
        "blockysize": BLOCK_PX,
        "interleave": "pixel",
        "compress": "deflate",
        "predictor": 2,
        "zlevel": 1,
        "num_threads": "all_cpus",
        "bigtiff": "if_safer",
    }
    side = pattern_bhw.shape[1]
    cols = np.arange(size_px) % side
    with rasterio.open(path, "w", **profile) as out:
        out.descriptions = BANDS
        out.scales, out.offsets = (SCALE,) * len(BANDS), (0.0,) * len(BANDS)
        for top in range(0, size_px, BLOCK_PX):
            rows = np.arange(top, min(top + BLOCK_PX, size_px)) % side
            strip_bhw = pattern_bhw[:, rows[:, np.newaxis], cols]
            out.write(strip_bhw, window=Window(0, top, size_px, len(rows)))


def write_band_files(folder: Path, pattern_bhw: np.ndarray, size_px: int) -> None:
    """Repeat a pattern of `ALL_BANDS` over a folder of files, each band at its own pixel size.

    Args:
        folder: New.
        pattern_bhw: Its side is a multiple of 6.
        size_px: Side at 10 m, a multiple of 6.
    """
    folder.mkdir()
    for band, pattern_hw in zip(SENSORS["s2-l2a"].bands, pattern_bhw, strict=True):
        step = round(band.gsd_m / 10)
        repeats = -(-size_px // len(pattern_hw))
        image_hw = np.tile(pattern_hw, (repeats, repeats))[:size_px:step, :size_px:step]
        profile = {
            "driver": "GTiff",
            "dtype": "uint16",
            "count": 1,
            "height": size_px // step,
            "width": size_px // step,
            "crs": "EPSG:32721",
            "transform": rasterio.Affine(band.gsd_m, 0, 600_000, 0, -band.gsd_m, 9_300_000),
            "nodata": 0,
            "tiled": True,
            "blockxsize": BLOCK_PX,
            "blockysize": BLOCK_PX,
            "compress": "deflate",
            "predictor": 2,
            "zlevel": 1,
        }
        with rasterio.open(folder / f"{band.name}.tif", "w", **profile) as out:
            out.scales, out.offsets = (SCALE,), (0.0,)
            out.write(image_hw, 1)
