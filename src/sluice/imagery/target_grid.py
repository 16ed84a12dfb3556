"""The grid that a scan of local images is made on."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pyproj
import shapely
from odc.geo import CRS
from odc.geo.geobox import GeoBox
from shapely.geometry.base import BaseGeometry

from sluice.base.arrays import FloatArray
from sluice.base.errors import GridMismatch
from sluice.base.grid import BBox, PixelWindow, is_metric_north_up, shifted, utm_crs, utm_grid
from sluice.imagery.scenes import SceneImages
from sluice.imagery.warp import aligned_shift, crs_of

_EDGE_PARTS = 32
LARGEST_SIDE_M = 1_000_000
"""Of a grid. A zone is 668 km wide at the equator; much farther out its metres are no metres any
more."""
_NEAR_DEGREES = 0.1
_SMALL_GRID_PX = 100_000_000
_LEAST_COVERED = 0.05
"""Of a grid that is not small: the rest would cost its time and hold nothing."""
_FAR_COARSER = 30.0
"""Times: each pixel of such an image would become 900 or more that all say the same."""
_GEOD = pyproj.Geod(ellps="WGS84")


def scan_grid(images: SceneImages, gsd_m: float, area: BaseGeometry | None = None) -> GeoBox:
    """The UTM grid over all scenes, cut to an area.

    Where the scenes have pixels of `gsd_m` on common UTM grid lines, those lines are used, and
    pixels are copied, not resampled. Otherwise the grid lies in the UTM zone of the centre, on
    multiples of `gsd_m`.

    Args:
        images: At least one scene.
        gsd_m: Pixel side in metres.
        area: In lon/lat (EPSG:4326), of any size; of its part near the scenes the bounding box
            in the grid's CRS is kept, widened to whole pixels.

    Raises:
        GridMismatch: No scene meets the area, the scenes are too far apart for one map, or one
            crosses 180 degrees or lies beyond UTM at the poles.
    """
    own = _common_grid(images, gsd_m)
    outlines = [_outline_lonlat(images.source_grids(scene)[0]) for scene in images.scenes]
    everything = shapely.union_all(outlines)
    _refuse_edge_of_the_world(everything.bounds)
    if area is not None:
        _refuse_apart(outlines, area)
        # Far from its zone UTM has no numbers, and a country may reach there.
        area = shapely.clip_by_rect(area, *everything.buffer(_NEAR_DEGREES).bounds)
    if own is not None:
        grid = own if area is None else _crop(own, _bounds(area, crs_of(own)))
        _refuse_far_apart(grid.boundingbox.bbox, crs_of(own), gsd_m, everything)
        return grid
    centre = (area if area is not None else everything).envelope.centroid
    crs = utm_crs(centre.x, centre.y)
    box = _bounds(everything, crs)
    if area is not None:
        box = _intersect(box, _bounds(area, crs), at_least=gsd_m)
    _refuse_far_apart(box, crs, gsd_m, everything)
    return utm_grid(box, crs, gsd_m)


def area_grid(area: BaseGeometry, gsd_m: float, margin_m: float = 0.0) -> GeoBox:
    """The UTM grid over an area, in the zone of its middle, on multiples of the pixel size.

    Sentinel-2's own pixels of 10, 20 and 60 m lie on such lines, and so are copied as they are.

    Args:
        area: In lon/lat (EPSG:4326), on one side of 180 degrees.
        gsd_m: Pixel side in metres.
        margin_m: Widens the box on each side.

    Raises:
        GridMismatch: The area is too large for one grid, or beyond UTM at the poles.
    """
    _, south, _, north = area.bounds
    if not (south > -80 and north < 84):
        raise GridMismatch(
            f"the area lies within {_degrees(area.bounds)} (west, south, east, north in degrees), "
            "beyond 84 N or 80 S, where no map can be made; give another area"
        )
    crs, (xmin, ymin, xmax, ymax) = utm_box(area)
    box = (xmin - margin_m, ymin - margin_m, xmax + margin_m, ymax + margin_m)
    # Written so that what cannot be projected fails too.
    if not max(box[2] - box[0], box[3] - box[1]) <= LARGEST_SIDE_M:
        raise GridMismatch(
            f"the area reaches over {LARGEST_SIDE_M / 1e3:,.0f} km, within "
            f"{_degrees(area.bounds)} (west, south, east, north in degrees); cut it into parts, "
            "in a folder with a file for each"
        )
    return utm_grid(box, crs, gsd_m)


def utm_box(area: BaseGeometry) -> tuple[CRS, BBox]:
    """The UTM zone of an area's middle, and the area's bounding box there in metres.

    Args:
        area: In lon/lat (EPSG:4326), on one side of 180 degrees, between 80 S and 84 N. Far from
            the zone its box is not finite, or has no meaning.
    """
    middle = area.envelope.centroid
    crs = utm_crs(middle.x, middle.y)
    return crs, _bounds(area, crs)


def times_coarser(images: SceneImages, gsd_m: float) -> float:
    """How many times coarser than a grid images are, by the coarsest of them; to a tenth.

    Of an image with bands of several resolutions the finest counts.

    Args:
        images: At least one scene.
        gsd_m: Pixel side of the grid in metres.

    Returns:
        Below 1 where all images are finer; NaN where that cannot be told.
    """
    grids = {images.source_grids(scene)[0] for scene in images.scenes}
    return round(max(_pixel_side_m(grid) for grid in grids) / gsd_m, 1)


def refuse_far_coarser(images: SceneImages, gsd_m: float, *, advice: str) -> None:
    """Refuse to blow images up to a grid that they have nothing to say on.

    Args:
        images: At least one scene.
        gsd_m: Pixel side of the grid in metres.
        advice: What to do instead; `{}` stands for the images' pixel side in metres.

    Raises:
        GridMismatch: An image's pixels are 30 times coarser, or more.
    """
    for scene in images.scenes:
        side_m = _pixel_side_m(images.source_grids(scene)[0])
        times = round(side_m / gsd_m, 1)
        if times >= _FAR_COARSER:
            raise GridMismatch(
                f"{scene.href}: its pixels are {side_m:.3g} m wide, {times:.0f} times those of "
                f"{gsd_m:g} m that are to be made of them; {advice.format(f'{side_m:.3g}')}",
                href=scene.href,
            )


def _pixel_side_m(grid: GeoBox) -> float:
    """The true side of a pixel in the middle of a grid, as if square."""
    height, width = grid.shape.yx
    pixel = PixelWindow(height // 2, width // 2, 1, 1).of(grid)
    area_m2, _ = _GEOD.geometry_area_perimeter(_outline_lonlat(pixel))
    return math.sqrt(abs(area_m2))


def _common_grid(images: SceneImages, gsd_m: float) -> GeoBox | None:
    """The grid over all scenes on the lines they share, None where they share none."""
    grids = []
    for scene in images.scenes:
        fitting = [
            grid
            for grid in images.source_grids(scene)
            if is_metric_north_up(grid) and math.isclose(grid.affine.a, gsd_m, rel_tol=1e-6)
        ]
        if not fitting:
            return None
        grids.append(fitting[0])
    first = grids[0]
    shifts = [aligned_shift(first, grid) for grid in grids]
    known = [shift for shift in shifts if shift is not None]
    if len(known) < len(grids):
        return None
    ends = [
        (row + grid.shape.y, col + grid.shape.x)
        for (row, col), grid in zip(known, grids, strict=True)
    ]
    return _window(
        first,
        min(row for row, _ in known),
        min(col for _, col in known),
        max(row for row, _ in ends),
        max(col for _, col in ends),
    )


def _crop(grid: GeoBox, box: BBox) -> GeoBox:
    """The whole pixels of a grid that a box in its CRS touches, at least one."""
    a = grid.affine
    left, right = (box[0] - a.c) / a.a, (box[2] - a.c) / a.a
    top, bottom = (box[3] - a.f) / a.e, (box[1] - a.f) / a.e
    height, width = grid.shape.yx
    # A thousandth of a pixel of tolerance keeps float noise from adding a row.
    row = min(max(0, math.floor(top + 1e-3)), height - 1)
    col = min(max(0, math.floor(left + 1e-3)), width - 1)
    return _window(
        grid,
        row,
        col,
        max(row + 1, min(height, math.ceil(bottom - 1e-3))),
        max(col + 1, min(width, math.ceil(right - 1e-3))),
    )


def _window(grid: GeoBox, row: int, col: int, row_end: int, col_end: int) -> GeoBox:
    return PixelWindow(row, col, row_end - row, col_end - col).of(grid)


def _outline_lonlat(grid: GeoBox) -> BaseGeometry:
    """The scene's footprint in degrees."""
    height, width = grid.shape.yx
    ends = (
        shifted(grid.affine, *end) for end in ((0, 0), (0, width), (height, width), (height, 0))
    )
    outline = shapely.Polygon([(end.c, end.f) for end in ends])
    return _project(outline, crs_of(grid), CRS("EPSG:4326"))


def _project(geometry: BaseGeometry, source: CRS, target: CRS) -> BaseGeometry:
    """Project a geometry, with vertices added so that its edges may bend."""
    if source == target:
        return geometry
    west, south, east, north = geometry.bounds
    side = max(east - west, north - south)
    if side > 0:
        geometry = shapely.segmentize(geometry, side / _EDGE_PARTS)
    transformer = pyproj.Transformer.from_crs(source.to_wkt(), target.to_wkt(), always_xy=True)

    def to_target(points: FloatArray) -> FloatArray:
        return np.column_stack(transformer.transform(points[:, 0], points[:, 1]))

    return shapely.transform(geometry, to_target)


def _bounds(lonlat: BaseGeometry, crs: CRS) -> BBox:
    """Bounding box in `crs` of a geometry in degrees."""
    xmin, ymin, xmax, ymax = _project(lonlat, CRS("EPSG:4326"), crs).bounds
    return xmin, ymin, xmax, ymax


def _intersect(a: BBox, b: BBox, *, at_least: float) -> BBox:
    """What two boxes share; of a point or a line, a box of sides `at_least` around it."""
    sides = []
    for low, high in ((0, 2), (1, 3)):
        first, last = max(a[low], b[low]), min(a[high], b[high])
        grow = max(0.0, at_least - (last - first)) / 2
        sides.append((first - grow, last + grow))
    (xmin, xmax), (ymin, ymax) = sides
    return xmin, ymin, xmax, ymax


def _refuse_edge_of_the_world(bounds: BBox) -> None:
    west, south, east, north = bounds
    # A pixel across 180 degrees turns up on the other side of the world. Written so that what
    # cannot be projected fails too.
    if west > -180 and east < 180 and east - west < 180 and south > -80 and north < 84:
        return
    raise GridMismatch(
        f"the images lie within {_degrees(bounds)} (west, south, east, north in degrees), across "
        "or at 180 degrees of longitude, or beyond 84 N or 80 S, where no map can be made yet; "
        "cut the image there"
    )


def _refuse_apart(outlines: Sequence[BaseGeometry], area: BaseGeometry) -> None:
    if any(outline.intersects(area) for outline in outlines):
        return
    images = shapely.union_all(outlines).bounds
    raise GridMismatch(
        f"the images do not meet the area: images lie within {_degrees(images)}, the area within "
        f"{_degrees(area.bounds)} (west, south, east, north in degrees); check that the area is "
        "given as longitude, latitude, or use images of it"
    )


def _refuse_far_apart(box: BBox, crs: CRS, gsd_m: float, images: BaseGeometry) -> None:
    """Refuse a grid that is mostly the void between images."""
    sides = box[2] - box[0], box[3] - box[1]
    # Written so that what cannot be projected fails too.
    if max(sides) <= LARGEST_SIDE_M:
        size_m2 = sides[0] * sides[1]
        if size_m2 <= _SMALL_GRID_PX * gsd_m**2:
            return
        seen = shapely.clip_by_rect(_project(images, CRS("EPSG:4326"), crs), *box)
        if seen.area >= _LEAST_COVERED * size_m2:
            return
    raise GridMismatch(
        f"the images lie too far apart for one map: within {_degrees(images.bounds)} (west, south, "
        f"east, north in degrees), and cover less than {_LEAST_COVERED:.0%} of that or reach over "
        f"{LARGEST_SIDE_M / 1e3:,.0f} km; scan them one by one, or name a smaller --area"
    )


def _degrees(bounds: BBox) -> str:
    return "(" + ", ".join(f"{value:.4f}" for value in bounds) + ")"
