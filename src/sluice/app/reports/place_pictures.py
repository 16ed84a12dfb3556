"""Pictures of a place from the images that runs left, before and after, in the same tones."""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyproj
import shapely
from odc.geo.geobox import GeoBox
from PIL import Image, ImageDraw
from rasterio import Affine
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from shapely.geometry.base import BaseGeometry

from sluice.app.products import map_furniture as furniture
from sluice.app.products.picture_tones import tones_of
from sluice.app.products.shown_pixels import read_onto
from sluice.base.arrays import ArrayBHW, BoolHW
from sluice.base.errors import AssetReadError
from sluice.base.files import open_raster
from sluice.base.records import Scene

PICTURE_PX = 720
"""Side of a picture: 8 cm at 220 dots an inch."""
_LEAST_SIDE_M = 1200.0
"""So that a pit of one hectare is seen with what lies around it."""
_ROOM = 1.7
"""Side of the picture, in longest sides of the outline."""
_TRUE_COLOUR = ("red", "green", "blue")
_STRIP_PX = 62
_OUTLINE = (255, 221, 51)
_FINE = 2
_JPEG_QUALITY = 90
_MANY_POINTS = 2000
"""Of an outline, more than a picture can show."""


@dataclass(frozen=True)
class PlaceImage:
    """Pixels of a place as an image has them."""

    bands: tuple[str, ...]
    """Three that become red, green and blue, the same one thrice for grey."""
    rgb_bhw: ArrayBHW
    """(3, H, W), NaN where hidden or without image."""
    grid: GeoBox
    sha256: str
    """Of the file."""

    @property
    def hidden_hw(self) -> BoolHW:
        """Where there is nothing to see."""
        return np.asarray(np.isnan(self.rgb_bhw).any(axis=0))


@dataclass(frozen=True)
class PlacePicture:
    """A picture that is ready to be shown, and what it shows."""

    pixels: npt.NDArray[np.uint8]
    """(H, W, 3), with outline, scale bar and north arrow."""
    bands: tuple[str, ...]
    start: dt.date
    end: dt.date
    run_id: str
    scenes: tuple[Scene, ...]
    hidden_share: float
    grid: GeoBox
    file: str
    file_sha256: str
    same_tones: bool
    """Whether its tones can be compared with those of the other picture."""
    detected: bool
    """Whether the site was detected in it."""

    def facts(self) -> dict[str, Any]:
        """What JSON tells of it."""
        return {
            "run_id": self.run_id,
            "start": self.start.isoformat(),
            "end": self.end.isoformat(),
            "bands": list(self.bands),
            "detected": self.detected,
            "hidden_share": round(self.hidden_share, 4),
            "crs": str(self.grid.crs),
            "bbox": [round(value, 1) for value in self.grid.boundingbox.bbox],
            "file": self.file,
            "file_sha256": self.file_sha256,
            "scenes": [scene.id for scene in self.scenes],
            "pixels_sha256": hashlib.sha256(self.pixels.tobytes()).hexdigest(),
        }


def picture_grid(outline: BaseGeometry, *, size_px: int = PICTURE_PX) -> GeoBox:
    """A square grid around a place, in metres, north up.

    Args:
        outline: In EPSG:4326; may lie on both sides of 180 degrees.
        size_px: Pixels on a side.

    Returns:
        In the UTM zone of its middle (polar stereographic beyond 84° N and 80° S), at least
        1.2 km wide.
    """
    crs, metric = _to_metres(outline)
    left, bottom, right, top = metric.bounds
    side = max(_LEAST_SIDE_M, _ROOM * max(right - left, top - bottom))
    step = side / size_px
    x, y = (left + right) / 2 - side / 2, (bottom + top) / 2 + side / 2
    return GeoBox((size_px, size_px), Affine(step, 0, x, 0, -step, y), crs)


def read_picture(path: Path, grid: GeoBox, sha256: str) -> PlaceImage:
    """Read the part of an image that lies on a grid.

    Args:
        path: Such as a run's `composite.tif`; bands by their descriptions.
        grid: From `picture_grid`.
        sha256: Of the file.

    Returns:
        In natural colours where it has red, green and blue; else its first three bands, or one.
        All hidden where it does not reach the grid.

    Raises:
        ItemNotFound: No such file.
        AssetReadError: It cannot be read, or has no CRS.
    """
    with open_raster(path) as source:
        if source.crs is None:
            raise AssetReadError(
                f"{path}: has no CRS, so the place cannot be found in it; run the scan again",
                href=str(path),
            )
        names = [
            name or f"band {number}" for number, name in enumerate(source.descriptions, start=1)
        ]
        chosen = choose_bands(names)
        numbers = [names.index(name) + 1 for name in chosen]
        try:
            rgb = read_onto(source, numbers, grid, Resampling.bilinear)
        except RasterioError as err:
            raise AssetReadError(
                f"{path}: cannot be read ({err}); it is cut off or damaged: run the scan again",
                href=str(path),
            ) from err
    return PlaceImage(tuple(chosen), rgb, grid, sha256)


def draw_pair(
    before: PlaceImage | None, after: PlaceImage | None, outline: BaseGeometry
) -> tuple[npt.NDArray[np.uint8] | None, npt.NDArray[np.uint8] | None, bool]:
    """Draw both pictures in the same tones, with outline, scale bar and north arrow.

    Args:
        before: None where there is none.
        after: On the same grid.
        outline: In EPSG:4326; dashed in the picture before.

    Returns:
        Both pictures, and whether their tones can be compared: not where their bands differ.
    """
    there = [image for image in (before, after) if image is not None]
    same = len({image.bands for image in there}) == 1
    shared = None
    if same:
        shared = tones_of(np.concatenate([image.rgb_bhw for image in there], axis=2))
    drawn: list[npt.NDArray[np.uint8] | None] = []
    for image, dashed in ((before, True), (after, False)):
        if image is None:
            drawn.append(None)
            continue
        tones = shared or tones_of(image.rgb_bhw)
        drawn.append(_furnish(tones.apply(image.rgb_bhw), image, outline, dashed=dashed))
    return drawn[0], drawn[1], same


def as_jpeg(pixels: npt.NDArray[np.uint8], *, quality: int = _JPEG_QUALITY) -> bytes:
    """A picture as a file to put into a document; the same pixels give the same bytes."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()


def choose_bands(names: list[str]) -> tuple[str, ...]:
    """The three bands that are shown: natural colours, else the first ones, or one thrice."""
    if set(_TRUE_COLOUR) <= set(names):
        return _TRUE_COLOUR
    return tuple(names[:3]) if len(names) >= 3 else (names[0],) * 3


def _furnish(
    pixels: npt.NDArray[np.uint8], image: PlaceImage, outline: BaseGeometry, *, dashed: bool
) -> npt.NDArray[np.uint8]:
    height, width = image.grid.shape.yx
    fine = (width * _FINE, height * _FINE)
    picture = Image.fromarray(pixels).resize(fine, Image.Resampling.BICUBIC)
    hidden = Image.fromarray(image.hidden_hw).resize(fine, Image.Resampling.NEAREST)
    furniture.hatch(picture, np.asarray(hidden), spacing=14 * _FINE)
    draw = ImageDraw.Draw(picture)
    _, metric = _to_metres(outline, str(image.grid.crs))
    if shapely.get_num_coordinates(metric) > _MANY_POINTS:
        metric = shapely.simplify(metric, abs(image.grid.resolution.x) / _FINE)
    to_pixels = ~image.grid.affine
    for part in shapely.get_parts(metric):
        for ring in (part.exterior, *part.interiors) if part.geom_type == "Polygon" else ():
            xy = [to_pixels * point for point in np.asarray(ring.coords)[:, :2].tolist()]
            points = [(x * _FINE, y * _FINE) for x, y in xy]
            furniture.draw_ring(
                draw, points, _OUTLINE, width=3 * _FINE, dash=9 * _FINE if dashed else None
            )
    sheet = Image.new("RGB", (width, height + _STRIP_PX), furniture.PAPER)
    sheet.paste(picture.resize((width, height), Image.Resampling.LANCZOS))
    strip = ImageDraw.Draw(sheet)
    metres = abs(image.grid.resolution.x)
    furniture.draw_scale_bar(
        strip, 6, height + 10, metres_per_px=metres, longest_px=round(width * 0.45)
    )
    furniture.draw_north(strip, width - 26, height + 6)
    return np.asarray(sheet)


def _to_metres(outline: BaseGeometry, crs: str | None = None) -> tuple[str, BaseGeometry]:
    """The outline in a metric CRS, its own one if none is named, and in one piece at 180°."""
    left, _, right, _ = outline.bounds
    unwrapped = outline
    if right - left > 180:
        unwrapped = shapely.transform(
            outline,
            lambda xy: np.column_stack(
                [np.where(xy[:, 0] < 0, xy[:, 0] + 360, xy[:, 0]), xy[:, 1]]
            ),
        )
    if crs is None:
        crs = _utm(*_middle(unwrapped))
    to_crs = pyproj.Transformer.from_crs("EPSG:4326", crs, always_xy=True)
    metric = shapely.transform(
        unwrapped, lambda xy: np.column_stack(to_crs.transform(xy[:, 0], xy[:, 1]))
    )
    return crs, metric


def _middle(shape: BaseGeometry) -> tuple[float, float]:
    left, bottom, right, top = shape.bounds
    return (left + right) / 2, (bottom + top) / 2


def _utm(lon: float, lat: float) -> str:
    if lat >= 84 or lat <= -80:
        return "EPSG:32661" if lat > 0 else "EPSG:32761"
    zone = math.floor((lon + 180) / 6) % 60 + 1
    return f"EPSG:{(32600 if lat >= 0 else 32700) + zone}"
