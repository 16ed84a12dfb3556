"""`quicklook.png`: the image with the sites outlined, as a map that can be printed."""

from __future__ import annotations

import math
from pathlib import Path

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import rasterio
import rasterio.warp
from odc.geo.geobox import GeoBox
from PIL import Image, ImageDraw
from rasterio.enums import Resampling
from shapely.geometry.base import BaseGeometry

from sluice.app.products import map_furniture as furniture
from sluice.app.products.classes import class_of, classes_of, sure_column
from sluice.app.products.coverage import part_near, to_grid
from sluice.app.products.picture_tones import tones_of
from sluice.app.products.sheet import Sheet, compose
from sluice.app.products.summary import Summary
from sluice.base.arrays import ArrayBHW, BoolHW, FloatArray
from sluice.base.errors import SourceError
from sluice.base.files import open_raster
from sluice.base.grid import PixelWindow
from sluice.base.protocols import TileLoader
from sluice.base.raster import Raster
from sluice.base.records import Run

_LONGEST_PX = 1600
_ENLARGED_PX = 1100
_NUMBERED = 10
_SMALLEST_MARK_PX = 14
_STRIP_ROWS = 64
# Lines and letters are drawn twice as large and then reduced, which smooths them.
_FINE = 2

Points = list[tuple[float, float]]
Box = tuple[float, float, float, float]


def preview_grid(geobox: GeoBox) -> GeoBox:
    """A grid over exactly the same ground, at most 1600 px on its longer side.

    Pixels are square but for the rounding of the two sides to whole pixels.
    """
    height, width = geobox.shape.yx
    factor = max(1.0, max(height, width) / _LONGEST_PX)
    rows, cols = max(1, round(height / factor)), max(1, round(width / factor))
    a = geobox.affine
    coarse = rasterio.Affine(a.a * width / cols, 0.0, a.c, 0.0, a.e * height / rows, a.f)
    return GeoBox((rows, cols), coarse, geobox.crs)


def draw_quicklook(
    path: Path,
    *,
    table: gpd.GeoDataFrame,
    run: Run,
    summary: Summary,
    score_path: Path,
    preview: TileLoader,
    geobox: GeoBox,
    area: BaseGeometry | None = None,
) -> None:
    """Draw the map.

    Args:
        path: A `.png` file.
        table: From `sites_table`.
        run: For the lettering.
        summary: Likewise.
        score_path: Where it is NaN, nothing was observed.
        preview: Gives the image on a coarse grid.
        geobox: Processing grid, metric, north up.
        area: In EPSG:4326, outlined in white; None for the whole grid.

    Raises:
        OSError: It cannot be written.
    """
    grid = preview_grid(geobox)
    rgb, colours = pick_bands(_read_preview(preview, grid))
    unobserved = without_score(score_path, grid)
    enlarge = max(1, _ENLARGED_PX // max(grid.shape.yx))
    size = (grid.shape.x * enlarge, grid.shape.y * enlarge)
    fine = (size[0] * _FINE, size[1] * _FINE)

    picture = Image.fromarray(stretch(rgb)).resize(fine, Image.Resampling.BICUBIC)
    flags = Image.fromarray(unobserved).resize(fine, Image.Resampling.NEAREST)
    furniture.hatch(picture, np.asarray(flags), spacing=14 * _FINE)
    draw = ImageDraw.Draw(picture)
    if area is not None:
        near = gpd.GeoSeries([to_grid(part_near(area, grid), grid.crs)], crs=str(grid.crs))
        for ring in _rings(near, grid, enlarge * _FINE)[0]:
            furniture.draw_ring(draw, ring, furniture.PAPER, width=2 * _FINE)
    _draw_sites(draw, table, grid, enlarge * _FINE)

    sheet = Sheet(
        picture=picture.resize(size, Image.Resampling.LANCZOS),
        grid=grid,
        metres_per_px=abs(grid.resolution.x) / enlarge,
        classes=classes_of(sure_column(table)) if len(table) else (),
        has_isolated=bool(table["isolated"].any()),
        has_unobserved=bool(unobserved.any()),
        has_gaps=bool((np.isnan(rgb).any(axis=0) & ~unobserved).any()),
        has_area=area is not None,
        colours=colours,
        numbered=min(_NUMBERED, len(table)),
    )
    compose(sheet, run, summary).save(path, format="PNG", compress_level=4)


def _read_preview(preview: TileLoader, grid: GeoBox) -> Raster:
    """The image, strip by strip, NaN where a strip cannot be read: its tiles failed as well.

    Raises:
        AssetReadError: None can.
    """
    height, width = grid.shape.yx
    starts = range(0, height, _STRIP_ROWS)
    windows = [PixelWindow(row, 0, min(_STRIP_ROWS, height - row), width) for row in starts]
    strips: list[Raster | None] = []
    for window in windows:
        try:
            strips.append(preview(window.of(grid)))
        except SourceError:
            if window is windows[-1] and not any(strips):
                raise
            strips.append(None)
    bands = next(strip.bands for strip in strips if strip is not None)
    image = np.full((len(bands), height, width), np.nan, np.float32)
    for window, strip in zip(windows, strips, strict=True):
        if strip is not None:
            image[:, window.row : window.row + window.height] = strip.data_bhw
    return Raster(image, bands, grid)


def pick_bands(raster: Raster) -> tuple[ArrayBHW, str]:
    """Three bands to show and what the picture then is, in words.

    True colour where the current period has it, else the first three bands, else one in grey.
    """
    true_colour = ("red", "green", "blue")
    if set(true_colour) <= set(raster.bands):
        return np.stack([raster.band(name) for name in true_colour]), "true colour"
    names = raster.bands[:3] if len(raster.bands) >= 3 else raster.bands[:1] * 3
    kind = "false colour" if len(set(names)) == 3 else "one band"
    shown = ", ".join(dict.fromkeys(names))
    return np.stack([raster.band(name) for name in names]), f"{kind} ({shown})"


def stretch(rgb: ArrayBHW) -> npt.NDArray[np.uint8]:
    """Spread the bands over 0-255 without changing their balance; see `tones_of`.

    Args:
        rgb: (3, H, W), NaN = no image.

    Returns:
        (H, W, 3); a pixel that lacks any band is grey.
    """
    return tones_of(rgb).apply(rgb)


def without_score(score_path: Path, grid: GeoBox) -> BoolHW:
    """Where nothing was observed, on a coarse grid, by the nearest pixel."""
    scores = np.full(grid.shape.yx, np.nan, dtype=np.float32)
    with open_raster(score_path) as source:
        rasterio.warp.reproject(
            rasterio.band(source, 1),
            scores,
            src_nodata=np.nan,
            dst_transform=grid.affine,
            dst_crs=str(grid.crs),
            dst_nodata=np.nan,
            resampling=Resampling.nearest,
        )
    return np.isnan(scores)


def _rings(shapes: gpd.GeoSeries, grid: GeoBox, scale: float) -> list[list[Points]]:
    """For each shape its rings, in pixels of the drawing."""
    found = []
    for shape in shapes.to_crs(str(grid.crs)):
        parts = getattr(shape, "geoms", [shape])
        rings = [ring for part in parts for ring in (part.exterior, *part.interiors)]
        pixels: list[Points] = []
        for ring in rings:
            cols, rows = _to_pixels(grid, np.asarray(ring.coords))
            pixels.append(list(zip((cols * scale).tolist(), (rows * scale).tolist(), strict=True)))
        found.append(pixels)
    return found


def _to_pixels(grid: GeoBox, coords: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Columns and rows, fractional, of (n, 2) coordinates on a grid that is north up."""
    a = grid.affine
    return (coords[:, 0] - a.c) / a.a, (coords[:, 1] - a.f) / a.e


def _draw_sites(
    draw: ImageDraw.ImageDraw, table: gpd.GeoDataFrame, grid: GeoBox, scale: float
) -> None:
    column = sure_column(table)
    classes = classes_of(column)
    sites = list(
        zip(_rings(table.geometry, grid, scale), table[column], table["isolated"], strict=True)
    )
    # The largest are drawn last and so lie on top.
    for rings, sure, isolated in reversed(sites):
        colour = class_of(sure, classes).colour
        for ring in _at_least(rings, _SMALLEST_MARK_PX * _FINE):
            dash = 9 * _FINE if isolated else None
            furniture.draw_ring(draw, ring, colour, width=3 * _FINE, dash=dash)
    numbered = [rings for rings, _, _ in sites[:_NUMBERED]]
    avoid = [_bounds(rings) for rings in numbered]
    for number, rings in enumerate(numbered, start=1):
        avoid.append(_draw_number(draw, str(number), rings, avoid))


def _bounds(rings: list[Points]) -> Box:
    xs, ys = zip(*[point for ring in rings for point in ring], strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def _at_least(rings: list[Points], side: float) -> list[Points]:
    """The rings, or a ring around their middle where they would be too small to see."""
    left, top, right, bottom = _bounds(rings)
    if max(right - left, bottom - top) >= side:
        return rings
    x, y, half = (left + right) / 2, (top + bottom) / 2, side / 2
    turns = np.linspace(0, 2 * math.pi, 33)
    return [[(x + half * math.cos(turn), y + half * math.sin(turn)) for turn in turns]]


def _draw_number(draw: ImageDraw.ImageDraw, text: str, site: list[Points], avoid: list[Box]) -> Box:
    """Write a number at one of a site's outermost corners, where it hides the least.

    Returns:
        The box it takes.
    """
    face = furniture.font(20 * _FINE)
    half_w, half_h = draw.textlength(text, font=face) / 2 + 6 * _FINE, 14 * _FINE
    corners = np.asarray([point for ring in site for point in ring])
    width, height = draw.im.size
    boxes = []
    for right, down in ((1, -1), (-1, -1), (1, 1), (-1, 1), (0, -1), (0, 1), (1, 0), (-1, 0)):
        x, y = corners[np.argmax(corners @ (right, down))]
        # Held inside the picture, where a site touches its edge.
        mid_x = min(max(x + right * (half_w + 5 * _FINE), half_w + 2), width - half_w - 3)
        mid_y = min(max(y + down * (half_h + 5 * _FINE), half_h + 2), height - half_h - 3)
        boxes.append((mid_x - half_w, mid_y - half_h, mid_x + half_w, mid_y + half_h))
    box = min(boxes, key=lambda place: sum(_overlap(place, other) for other in avoid))
    draw.rounded_rectangle(box, radius=6 * _FINE, fill=furniture.INK, outline=furniture.PAPER)
    middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    draw.text(middle, text, fill=furniture.PAPER, font=face, anchor="mm")
    return box


def _overlap(one: Box, other: Box) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, width) * max(0.0, height)
