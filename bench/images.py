"""Images to scan: phantom scenes repeated over any size, written strip by strip."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
from rasterio.windows import Window

from sluice.phantom.scene import build_scene

BANDS = ("red", "green", "blue")
SCALE = 0.0001
BLOCK_PX = 512
SEEDS = (31, 32)


def make_pattern(scene_px: int) -> np.ndarray:
    """Two phantom scenes and their turned copies in a square.

    Returns:
        (3, 2 scene_px, 2 scene_px) uint16, reflectance / `SCALE`.
    """
    scenes = []
    for seed in SEEDS:
        raster = build_scene(seed, scene_px).raster
        image_bhw = np.stack([raster.band(name) for name in BANDS])
        # No reflectance becomes 0, which is nodata.
        scenes.append(np.clip(np.rint(image_bhw / SCALE), 1, 65535).astype(np.uint16))
    one, other = scenes
    return np.block([[one, other], [other[:, ::-1, ::-1], one[:, ::-1, ::-1]]])


def write_image(path: Path, pattern_bhw: np.ndarray, size_px: int) -> None:
    """Repeat the pattern over `size_px` x `size_px` px of 10 m; memory is that of one strip.

    The file is what satellite images mostly are: uint16 with scale and nodata tags, blocks of
    512 x 512 px, deflate with the horizontal predictor, bands interleaved by pixel.
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
