"""Map tiles cut from the images and probabilities that runs left."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyproj
from odc.geo.geobox import GeoBox
from PIL import Image
from rasterio import Affine
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.warp import calculate_default_transform, transform_bounds

from sluice.app.products.picture_tones import ColourTones, tones_of
from sluice.app.products.shown_pixels import read_onto, to_values
from sluice.app.reports.place_pictures import choose_bands
from sluice.base.arrays import ArrayHW, BoolHW
from sluice.base.errors import AssetReadError
from sluice.base.files import open_raster
from sluice.base.records import Record

TILE_PX = 256
HEIGHTS = "elevation"
"""Band of heights, as `sluice elevation` names it."""
MOST_ZOOM = 18
"""Pixels of 10 m are some 15 wide there."""
_TONES_PX = 512
_LEAST_SHOWN, _MOST_SHOWN = 0.01, 0.9
"""Probabilities at which colour begins, and is full."""
# From pale to dark, as in print and for the colour-blind: yellow, orange, red, violet.
_RAMP = np.array([(255, 237, 160), (254, 178, 76), (240, 59, 32), (122, 1, 119)], np.float32)
_EDGE_M = math.pi * 6_378_137
_MERCATOR_AROUND_180 = "+proj=merc +a=6378137 +b=6378137 +lon_0=180 +units=m"
_NOT_OBSERVED = (110, 110, 110, 90)


@dataclass(frozen=True)
class TileAddress:
    """A square of the Web Mercator quad tree."""

    z: int
    x: int
    y: int


class ImageFacts(Record):
    """What a map needs to know of an image before it asks for tiles."""

    bands: tuple[str, ...]
    """Shown as red, green and blue."""
    bounds: tuple[float, float, float, float]
    """West, south, east, north in degrees; west > east crosses 180 degrees."""
    minzoom: int
    maxzoom: int


def facts_of(path: Path) -> ImageFacts:
    """Read where an image lies, and how fine it is.

    Raises:
        SourceError: It cannot be read, or has no CRS.
    """
    with _opened(path) as source:
        bounds = transform_bounds(source.crs, "EPSG:4326", *source.bounds)
        # In a Mercator that ends at 180 degrees an image across them is as wide as the world.
        crosses = bounds[0] > bounds[2]
        affine, width, height = calculate_default_transform(
            source.crs,
            _MERCATOR_AROUND_180 if crosses else "EPSG:3857",
            source.width,
            source.height,
            *source.bounds,
        )
        finest = _zoom(affine.a)
        return ImageFacts(
            bands=choose_bands(_names(source)),
            bounds=bounds,
            minzoom=max(0, min(finest, _zoom(affine.a * max(width, height) / TILE_PX))),
            maxzoom=min(finest, MOST_ZOOM),
        )


def _zoom(metres_per_px: float) -> int:
    """The zoom whose pixels are about as wide, in metres of Web Mercator."""
    return round(math.log2(2 * _EDGE_M / TILE_PX / metres_per_px))


def read_tones(path: Path) -> ColourTones:
    """Tones that suit an image as a whole, so that all its tiles, and other dates, are alike.

    Raises:
        SourceError: It cannot be read.
    """
    with _opened(path) as source:
        numbers = _shown(source)
        step = max(1.0, max(source.shape) / _TONES_PX)
        shape = (len(numbers), *(max(1, round(side / step)) for side in source.shape))
        counts = source.read(numbers, out_shape=shape, masked=True)
        return tones_of(to_values(source, numbers, counts))


def draw_image(path: Path, tile: TileAddress, tones: ColourTones) -> bytes:
    """A tile in colours, transparent where there is no image, as PNG.

    Raises:
        SourceError: The image cannot be read.
    """
    with _opened(path) as source:
        values = read_onto(source, _shown(source), _grid(tile), Resampling.bilinear)
    rgba = np.zeros((TILE_PX, TILE_PX, 4), np.uint8)
    seen = np.isfinite(values).all(axis=0)
    if seen.any():
        rgba[..., :3] = tones.apply(values)
        rgba[~seen] = 0
        rgba[seen, 3] = 255
    return _png(rgba)


def draw_probability(path: Path, tile: TileAddress) -> bytes:
    """A tile of probabilities from yellow to violet, grey where not observed, as PNG.

    The scale is that of log odds: from 1 %, where colour begins, to 90 %.

    Raises:
        SourceError: The file cannot be read.
    """
    with _opened(path) as source:
        values = read_onto(source, [1], _grid(tile), Resampling.nearest)[0]
        if np.isnan(values).any():
            values[~_inside(source, tile)] = 0.0
    return _png(colour_probabilities(values))


def lowest_of(path: Path) -> float | None:
    """The lowest height of an elevation map in metres, from a coarse look at it.

    Returns:
        None where it holds no band of heights, or none in it.

    Raises:
        SourceError: It cannot be read.
    """
    with _opened(path) as source:
        if HEIGHTS not in source.descriptions:
            return None
        number = source.descriptions.index(HEIGHTS) + 1
        step = max(1.0, max(source.shape) / _TONES_PX)
        shape = (1, *(max(1, round(side / step)) for side in source.shape))
        counts = source.read([number], out_shape=shape, masked=True)
        metres = to_values(source, [number], counts)
    return float(np.nanmin(metres)) if np.isfinite(metres).any() else None


def draw_heights(paths: Sequence[Path], tile: TileAddress, *, lowest_m: float) -> bytes:
    """A tile of heights, as PNG in the encoding of `encode_terrarium`.

    Args:
        paths: Elevation maps; where two overlap, the first counts.
        tile: Which.
        lowest_m: Where none has a height: the same in all tiles, so that no wall stands between.

    Raises:
        SourceError: A map cannot be read.
    """
    metres = np.full((TILE_PX, TILE_PX), np.nan, np.float32)
    for path in paths:
        absent = np.isnan(metres)
        if not absent.any():
            break
        with _opened(path) as source:
            number = source.descriptions.index(HEIGHTS) + 1
            found = read_onto(source, [number], _grid(tile), Resampling.bilinear)[0]
        metres[absent] = found[absent]
    return _png(encode_terrarium(np.where(np.isnan(metres), np.float32(lowest_m), metres)))


def encode_terrarium(metres_hw: ArrayHW) -> npt.NDArray[np.uint8]:
    """Heights as colours: metres = red x 256 + green + blue / 256 - 32768.

    Args:
        metres_hw: (H, W) finite, from -32768 to 32767.

    Returns:
        (H, W, 3), to the nearest 1/256 m.
    """
    steps = np.round((metres_hw.astype(np.float64) + 32768) * 256)
    whole = np.clip(steps, 0, 2**24 - 1).astype(np.uint32)
    channels = [(whole // 256**power % 256).astype(np.uint8) for power in (2, 1, 0)]
    return np.dstack(channels)


def colour_probabilities(probability_hw: ArrayHW) -> npt.NDArray[np.uint8]:
    """Colours of probabilities.

    Args:
        probability_hw: (H, W) in 0-1, NaN where not observed.

    Returns:
        (H, W, 4): red, green, blue, alpha.
    """
    least, most = (_log_odds(np.float32(end)) for end in (_LEAST_SHOWN, _MOST_SHOWN))
    known = np.clip(np.nan_to_num(probability_hw, nan=0.0), 1e-6, 1 - 1e-6)
    level = np.clip((_log_odds(known) - least) / (most - least), 0, 1)
    steps = np.linspace(0, 1, len(_RAMP))
    channels = [np.interp(level, steps, _RAMP[:, band]) for band in range(3)]
    # Faint where it says little, so that the image below is seen.
    alpha = np.where(level > 0, 70 + 150 * level, 0)
    rgba: npt.NDArray[np.uint8] = np.round(np.dstack([*channels, alpha])).astype(np.uint8)
    rgba[np.isnan(probability_hw)] = _NOT_OBSERVED
    return rgba


def _log_odds(probability: npt.NDArray[np.float32] | np.float32) -> npt.NDArray[np.float32]:
    return np.asarray(np.log(probability / (1 - probability)))


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    with open_raster(path) as source:
        if source.crs is None:
            raise AssetReadError(f"{path.name}: has no CRS; run the scan again", href=str(path))
        try:
            yield source
        except RasterioError as err:
            raise AssetReadError(
                f"{path.name}: cannot be read ({err}); it is damaged: run the scan again",
                href=str(path),
            ) from err


def _shown(source: Any) -> list[int]:
    """Numbers of the bands that become red, green and blue."""
    names = _names(source)
    return [names.index(name) + 1 for name in choose_bands(names)]


def _names(source: Any) -> list[str]:
    return [name or f"band {number}" for number, name in enumerate(source.descriptions, start=1)]


def _grid(tile: TileAddress) -> GeoBox:
    side = 2 * _EDGE_M / 2**tile.z
    step = side / TILE_PX
    affine = Affine(step, 0, tile.x * side - _EDGE_M, 0, -step, _EDGE_M - tile.y * side)
    return GeoBox((TILE_PX, TILE_PX), affine, "EPSG:3857")


def _inside(source: Any, tile: TileAddress) -> BoolHW:
    """(256, 256): whether the middle of a pixel of the tile lies within the raster."""
    steps = np.arange(TILE_PX) + 0.5
    east, north = _grid(tile).affine * np.meshgrid(steps, steps)
    to_crs = pyproj.Transformer.from_crs("EPSG:3857", source.crs, always_xy=True)
    x, y = to_crs.transform(east, north)
    col, row = ~source.transform * (x, y)
    height, width = source.shape
    return np.asarray((col >= 0) & (row >= 0) & (col < width) & (row < height))


def _png(rgba: npt.NDArray[np.uint8]) -> bytes:
    content = io.BytesIO()
    # Little effort: a tile is looked at once, and made while somebody waits.
    Image.fromarray(rgba).save(content, format="PNG", compress_level=1)
    return content.getvalue()
