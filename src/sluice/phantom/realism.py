"""How close the phantom comes to real chips, in figures: bands, colours and texture."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd
from rasterio import features
from scipy import ndimage

from sluice.base.atmosphere import to_top_of_atmosphere
from sluice.phantom.scene import PhantomScene
from sluice.phantom.spectra import BANDS

CHIP_PX = 48
FULL_SCALE_REFLECTANCE = 0.3
"""Reflectance at which real chips saturate; the phantom is cut there too before comparing."""

PLACES: dict[str, tuple[str, ...]] = {
    "mine": (),
    "riverbank": ("turbid_river_bend", "sandbar", "oxbow", "reservoir_shore"),
    "farmland": ("farmland",),
    "industry": ("industry",),
    "land": (),
}
"""Kinds of place that have a real counterpart, and the planted kinds that make them up. `mine`
is where mines are; `land` is where no object was planted: forest and farmland, as almost
everywhere. The demo's land is strewn with confusers on purpose, so those are left out."""

QUANTILES = (5, 25, 50, 75, 95)


def phantom_chips(
    scene: PhantomScene, place: str, count: int, *, rng: np.random.Generator, haze: float
) -> np.ndarray:
    """Cut windows around the planted things of one kind of place.

    Args:
        scene: Where from.
        place: A key of `PLACES`.
        count: How many at most; windows may overlap.
        rng: Chooses an object, then a pixel of it: large ones count as small ones do.
        haze: Of the atmosphere, see `to_top_of_atmosphere`.

    Returns:
        (N, 48, 48, 3) float32, top-of-atmosphere reflectance of red, green, blue, cut to 0-0.3
        and free of cloud and shadow.
    """
    index = [BANDS.index(name) for name in ("B04", "B03", "B02")]
    toa = to_top_of_atmosphere(scene.raster.data_bhw[index], [BANDS[i] for i in index], haze=haze)
    image = np.clip(np.moveaxis(toa, 0, -1), 0, FULL_SCALE_REFLECTANCE)
    half = CHIP_PX // 2
    object_hw = _objects(scene, place)
    chips: list[np.ndarray] = []
    labels = np.unique(object_hw[object_hw > 0])
    for _ in range(20 * count if len(labels) else 0):
        rows, cols = np.nonzero(object_hw == rng.choice(labels))
        pick = rng.integers(len(rows))
        top, left = rows[pick] - half, cols[pick] - half
        box = (slice(top, top + CHIP_PX), slice(left, left + CHIP_PX))
        if scene.clear[box].all():
            chips.append(image[box])
        if len(chips) == count:
            break
    return np.stack(chips) if chips else np.empty((0, CHIP_PX, CHIP_PX, 3), dtype=np.float32)


def _objects(scene: PhantomScene, place: str) -> np.ndarray:
    """(H, W) number of the object on which a window may be centred, 0 where none may be."""
    near_mine = ndimage.maximum_filter(_burn(scene, scene.mines), CHIP_PX) > 0
    kind = scene.confusers["kind"]
    if place == "mine":
        objects = _burn(scene, scene.mines)
    elif place == "land":
        placed = scene.confusers[~kind.isin(["farmland", "bare_field"])]
        free = ndimage.maximum_filter(_burn(scene, placed), CHIP_PX) == 0
        objects = np.where(near_mine, 0, free.astype(np.int32))
    else:
        objects = _burn(scene, scene.confusers[kind.isin(PLACES[place])])
        objects = np.where(near_mine, 0, objects)
    border = CHIP_PX // 2 + 1
    inner = np.zeros_like(objects)
    inner[border:-border, border:-border] = objects[border:-border, border:-border]
    return inner


def _burn(scene: PhantomScene, frame: gpd.GeoDataFrame) -> np.ndarray:
    """(H, W) int32, 1-based number of the row that lies there."""
    box = scene.raster.geobox
    shapes = list(zip(frame.geometry, range(1, len(frame) + 1), strict=True))
    if not shapes:
        return np.zeros(box.shape.yx, dtype=np.int32)
    burnt = features.rasterize(shapes, out_shape=box.shape.yx, transform=box.affine, dtype="int32")
    return np.asarray(burnt)


def describe_chips(chips: np.ndarray) -> pd.DataFrame:
    """What to compare: band brightness over all pixels, texture over all chips.

    Args:
        chips: (N, H, W, 3) reflectance of red, green, blue; NaN where not observed.

    Returns:
        A row for each statistic, a column for each of `QUANTILES`, in reflectance x 10,000:

        - `red`, `green`, `blue`: quantiles over pixels;
        - `grain_3px`, `grain_9px`: mean local standard deviation of grey in boxes of 3 and 9
          pixels; `edges`: mean length of grey's gradient per pixel; `contrast`: standard
          deviation of grey in the chip; `colour`: standard deviation of red minus blue in the
          chip; each over chips.
    """
    dn = np.asarray(chips, dtype=np.float64) * 10_000
    dn = dn[np.isfinite(dn).all(axis=(1, 2, 3))]
    rows = {
        name: np.percentile(dn[..., band], QUANTILES)
        for band, name in enumerate(("red", "green", "blue"))
    }
    grey = dn.mean(axis=-1)
    slope_y, slope_x = np.gradient(grey, axis=(1, 2))
    textures = {
        "grain_3px": _local_sd(grey, 3),
        "grain_9px": _local_sd(grey, 9),
        "edges": np.hypot(slope_y, slope_x).mean(axis=(1, 2)),
        "contrast": grey.std(axis=(1, 2)),
        "colour": (dn[..., 0] - dn[..., 2]).std(axis=(1, 2)),
    }
    rows |= {name: np.percentile(values, QUANTILES) for name, values in textures.items()}
    return pd.DataFrame.from_dict(rows, orient="index", columns=[f"q{q:02d}" for q in QUANTILES])


def _local_sd(grey_nhw: np.ndarray, side: int) -> np.ndarray:
    size = (1, side, side)
    mean = ndimage.uniform_filter(grey_nhw, size)
    variance = ndimage.uniform_filter(grey_nhw**2, size) - mean**2
    return np.asarray(np.sqrt(np.maximum(variance, 0)).mean(axis=(1, 2)))


def median_log_ratio(phantom: pd.DataFrame, real: pd.DataFrame) -> pd.Series:
    """How far the phantom's middle quantiles lie from the real ones.

    Args:
        phantom: `describe_chips` of phantom chips.
        real: The same of real chips.

    Returns:
        Mean of log2(phantom / real) over the quantiles 25, 50 and 75, by statistic: 0 is equal,
        1 twice as much, -1 half.
    """
    middle = ["q25", "q50", "q75"]
    ratio = np.log2(np.maximum(phantom[middle], 1) / np.maximum(real[middle], 1))
    return pd.Series(ratio.mean(axis=1))
