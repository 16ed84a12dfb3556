"""Which parts of a grid an area needs: the rest of its box is not read."""

from __future__ import annotations

from dataclasses import dataclass

import shapely
from odc.geo.geobox import GeoBox
from shapely.geometry.base import BaseGeometry

from sluice.app.products.coverage import part_near, to_grid


@dataclass(frozen=True)
class Within:
    """Tells of any part of a grid whether an area needs it."""

    area: BaseGeometry
    """In the grid's CRS."""
    margin_m: float
    """How far the pixels around the area matter to it."""

    def __call__(self, part: GeoBox) -> bool:
        """Whether a part of the grid is nearer to the area than the margin."""
        xmin, ymin, xmax, ymax = part.boundingbox.bbox
        # A pixel more, for where the area's edge was bent a little less than it should be.
        reach = self.margin_m + abs(part.affine.a)
        return bool(
            self.area.intersects(
                shapely.box(xmin - reach, ymin - reach, xmax + reach, ymax + reach)
            )
        )


def needed_by(area: BaseGeometry | None, geobox: GeoBox, margin_m: float = 0.0) -> Within | None:
    """What `scan_windows` and `LayerTiles` are told of an area.

    Args:
        area: In longitude and latitude; None for all of the grid.
        geobox: Grid of the whole, in UTM.
        margin_m: How far the pixels around the area matter to it, in metres.

    Returns:
        None where everything is needed.
    """
    if area is None:
        return None
    projected = to_grid(part_near(area, geobox), geobox.crs)
    shapely.prepare(projected)
    return Within(projected, margin_m)
