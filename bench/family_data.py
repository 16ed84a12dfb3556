"""What the families of models learn from and look at: drawn by a program, of any size."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely
from rasterio import features

from bench.images import ALL_BANDS
from sluice.labels.dataset import DatasetAbout, DatasetWriter
from sluice.phantom.catalogue import write_catalogue
from sluice.phantom.radar import spread_passes
from sluice.phantom.scene import PhantomScene, build_scene
from sluice.phantom.series import build_series

_SEED = 33
"""Of another scene than those that are scanned."""
RADAR_YEAR = "2022"
_RADAR_SPAN = (dt.date(2022, 1, 1), dt.date(2022, 12, 31))
_LATTICE_DEG = 0.02


def draw_scene(size_px: int) -> PhantomScene:
    """A cloudless scene to cut chips from."""
    return build_scene(_SEED, size_px, cloud_share=0.0, cirrus_share=0.0)


def cut_chips(
    scene: PhantomScene, count: int, side_px: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """Chips on mines and from anywhere, by turns.

    Args:
        scene: To cut from.
        count: Of chips; where they are many, they overlap.
        side_px: Their side.

    Returns:
        (count, 12, side, side) reflectance of `ALL_BANDS`, and (count, side, side) masks, 1 = mine.
    """
    rng = np.random.default_rng(_SEED)
    box = scene.raster.geobox
    truth_hw = features.rasterize(scene.mines.geometry, box.shape.yx, transform=box.affine)
    mined = np.argwhere(truth_hw > 0)
    most = len(truth_hw) - side_px
    images = np.empty((count, len(ALL_BANDS), side_px, side_px), np.float32)
    masks = np.empty((count, side_px, side_px), np.uint8)
    for k in range(count):
        corner = rng.integers(0, most + 1, 2)
        if k % 2 == 0:
            corner = mined[rng.integers(len(mined))] - rng.integers(0, side_px, 2)
        row, col = np.clip(corner, 0, most)
        window = (slice(row, row + side_px), slice(col, col + side_px))
        images[k], masks[k] = scene.raster.data_bhw[:, *window], truth_hw[window]
    return images, masks


def write_chip_set(folder: Path, scene: PhantomScene, count: int, side_px: int) -> None:
    """A data set of chips with masks, as `sluice train` reads it, each chip a place of its own."""
    about = DatasetAbout(
        name="phantom",
        bands=ALL_BANDS,
        sensor="s2-l2a",
        gsd_m=10,
        licence="CC0-1.0",
        attribution="Sluice",
    )
    writer = DatasetWriter(folder, about)
    for k, (image, mask) in enumerate(zip(*cut_chips(scene, count, side_px), strict=True)):
        writer.add(f"chip-{k}", image, None, mask)
    writer.finish()


def write_chip_arrays(path: Path, scene: PhantomScene, count: int, side_px: int) -> None:
    """Chips labelled as wholes: `images` (count, 3, side, side) red, green, blue and `labels`."""
    images, masks = cut_chips(scene, count, side_px)
    rgb = images[:, [ALL_BANDS.index(name) for name in ("red", "green", "blue")]]
    np.savez(path, images=rgb, labels=masks.any(axis=(1, 2)).astype(np.int64))


def write_radar(folder: Path, size_px: int, every_days: int) -> tuple[Path, Path]:
    """A year of Sentinel-1, descending passes only, as a catalogue.

    Returns:
        The catalogue, and a file with the area that it covers.
    """
    series = build_series(_SEED, size_px, (_RADAR_SPAN[0],), cloud_shares=(1.0,))
    passes = [p for p in spread_passes(*_RADAR_SPAN, every_days) if p.orbit_state == "descending"]
    catalogue = write_catalogue(series, folder, levels=("s1",), radar_passes=passes, workers=2)
    area = folder / "area.gpkg"
    ground = shapely.box(*series.geobox.boundingbox.bbox)
    gpd.GeoSeries([ground], crs=str(series.geobox.crs)).to_file(area)
    return catalogue, area


def write_cells(folder: Path, cells: int, columns: int) -> tuple[Path, Path]:
    """Cells with random features on a lattice of 0.02 degrees, each with a label.

    Returns:
        The labels, and the features.
    """
    rng = np.random.default_rng(_SEED)
    side = int(np.ceil(np.sqrt(cells)))
    row, col = np.divmod(np.arange(cells), side)
    places = pd.DataFrame({"lon": -10 + _LATTICE_DEG * col, "lat": 6 + _LATTICE_DEG * row})
    values = rng.standard_normal((cells, columns), dtype=np.float32)
    told = values[:, : columns // 20].sum(axis=1) / np.sqrt(columns // 20)
    mine = told + rng.standard_normal(cells) > 1
    folder.mkdir()
    labels, features_file = folder / "labels.csv", folder / "features.feather"
    places.assign(
        label=mine.astype(int), mine_type="", confidence=5, proportion_inspected=1
    ).to_csv(labels, index=False)
    table = pd.DataFrame(values, columns=[f"f{k}" for k in range(columns)])
    pd.concat([places, table], axis=1).to_feather(features_file)
    return labels, features_file
