"""Square windows of a phantom scene, labelled by what was planted there."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd
from rasterio import features

from sluice.base.errors import ConfigError
from sluice.phantom.scene import GSD_M, LAND_KINDS, PhantomScene

MIN_CORE_SHARE = 0.05
"""Least share of the central part, half the window's side, that an object must fill."""
MAX_UNCLEAR_SHARE = 0.1
"""Most cloud, cirrus and shadow that a labelled window may have."""


def window_labels(scene: PhantomScene, window_px: int, stride_px: int) -> pd.DataFrame:
    """Label the windows of a regular lattice.

    A window is `mine` where mines fill at least `MIN_CORE_SHARE` of its central part (half its
    side): 29 pixels or 0.29 ha for 48 px. It is a confuser's kind where no mine touches it at
    all and that kind fills at least that share of the central part; of several the one that
    fills most, objects before land cover. It is `background` where nothing planted touches it.
    Everything else is ambiguous and left out, and so are windows with more than a tenth of
    cloud or shadow.

    Args:
        scene: Scene with its truth.
        window_px: Side of a window in pixels of 10 m.
        stride_px: Step of the lattice.

    Returns:
        One row for each labelled window: row, col (its first pixel), kind, mine_ha_in_core,
        unclear_share.

    Raises:
        ConfigError: The window does not fit into the scene, or the stride is not positive.
    """
    height, width = scene.raster.geobox.shape.yx
    if not 4 <= window_px <= min(height, width) or stride_px < 1:
        raise ConfigError(
            f"windows of {window_px} px every {stride_px} px do not fit a scene of "
            f"{width} x {height} px; use 4 px to the scene's side, and a stride of 1 or more"
        )
    rows = np.arange(0, height - window_px + 1, stride_px)
    cols = np.arange(0, width - window_px + 1, stride_px)
    margin, core = window_px // 4, window_px - 2 * (window_px // 4)

    def share(inside_hw: np.ndarray, *, of_core: bool) -> np.ndarray:
        start, side = (margin, core) if of_core else (0, window_px)
        return _box_means(inside_hw, rows + start, cols + start, side)

    mines = _burn(scene, scene.mines)
    mine_core, mine_any = share(mines, of_core=True), share(mines, of_core=False) > 0
    unclear = share(~scene.clear, of_core=False)
    kind = np.full(mine_core.shape, "", dtype=object)
    free = ~mine_any
    present = [str(name) for name in np.unique(scene.confusers["kind"])]
    objects = [name for name in present if name not in LAND_KINDS]
    for group in (objects, [name for name in present if name in LAND_KINDS]):
        open_to_group, best = ~mine_any & (kind == ""), np.full(kind.shape, MIN_CORE_SHARE)
        for name in group:
            inside = _burn(scene, scene.confusers[scene.confusers["kind"] == name])
            filled = share(inside, of_core=True)
            free &= share(inside, of_core=False) == 0
            wins = open_to_group & (filled >= best)
            kind[wins], best[wins] = name, filled[wins]
    kind[free] = "background"
    kind[mine_core >= MIN_CORE_SHARE] = "mine"
    row_at, col_at = np.nonzero((kind != "") & (unclear <= MAX_UNCLEAR_SHARE))
    pixel_ha = GSD_M**2 / 10_000
    return pd.DataFrame(
        {
            "row": rows[row_at],
            "col": cols[col_at],
            "kind": kind[row_at, col_at].astype(str),
            "mine_ha_in_core": mine_core[row_at, col_at] * core**2 * pixel_ha,
            "unclear_share": unclear[row_at, col_at],
        }
    )


def _burn(scene: PhantomScene, frame: gpd.GeoDataFrame) -> np.ndarray:
    box = scene.raster.geobox
    if frame.empty:
        return np.zeros(box.shape.yx, dtype=np.bool_)
    burnt = features.rasterize(frame.geometry, out_shape=box.shape.yx, transform=box.affine)
    return np.asarray(burnt > 0)


def _box_means(inside_hw: np.ndarray, rows: np.ndarray, cols: np.ndarray, side: int) -> np.ndarray:
    """Share of True in the square boxes whose first pixels are rows x cols."""
    total = np.zeros((inside_hw.shape[0] + 1, inside_hw.shape[1] + 1))
    total[1:, 1:] = inside_hw.cumsum(axis=0).cumsum(axis=1)
    low, high = np.ix_(rows, cols), np.ix_(rows + side, cols + side)
    crossed = total[np.ix_(rows, cols + side)] + total[np.ix_(rows + side, cols)]
    return np.asarray((total[high] - crossed + total[low]) / side**2)
