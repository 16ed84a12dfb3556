"""Sites with their outlines, read of the store for some tiles together.

A screen asks for a dozen tiles beside and below each other; the store is asked once for the square
that holds them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely

from sluice.app.web.access import Person
from sluice.app.web.boxes import boxes_meet
from sluice.app.web.service import Service
from sluice.app.web.tile_encoding import BUFFER, mercator, tile_box
from sluice.app.web.tile_layers import Coded, coded_numbers, coded_texts
from sluice.app.web.views import Places, view_of
from sluice.app.web.withheld import visible
from sluice.base.store import SiteQuery

MOST_POLYGONS = 3000
"""Of a tile."""
BLOCK_ZOOM = 10
"""Of the squares."""
_ROW_BYTES = 2000
_COORDINATE_BYTES = 16
_DRAWN = (
    "site_id", "area", "status", "level", "verdict", "area_ha", "priority", "posterior",
    "legality", "first_seen", "lon", "lat",
)  # fmt: skip
_TEXTS = ("status", "level", "legality", "first_seen")
_NUMBERS = {"area_ha": 2, "priority": 1, "posterior": 3}
"""With how many decimals."""

Square = tuple[int, int, int]
"""Zoom, column and row of a tile."""
Rows = npt.NDArray[np.intp]


class Block:
    """Sites as columns, (N,) each, the most urgent first."""

    def __init__(self, columns: dict[str, Any], shapes: Any) -> None:
        """Put them in order.

        Args:
            columns: Those of a store, lists of N.
            shapes: (N,) in degrees.
        """
        self.ids: list[str] = columns["site_id"]
        self.areas = np.array(columns["area"], dtype=object)
        self.verdicts: list[str | None] = columns["verdict"]
        self.lonlat = np.column_stack([np.array(columns[n], dtype=float) for n in ("lon", "lat")])
        self.boxes = shapely.bounds(shapes)
        self.shapes = shapely.transform(shapes, mercator)
        """In shares of the width of the world."""
        self._coded = {name: coded_texts(columns[name]) for name in _TEXTS} | {
            name: coded_numbers(columns[name], digits) for name, digits in _NUMBERS.items()
        }

    @property
    def bytes(self) -> int:
        """About what it takes."""
        vertices = int(shapely.get_num_coordinates(self.shapes).sum())
        return 200 + _ROW_BYTES * len(self.ids) + _COORDINATE_BYTES * vertices

    def within(self, box: tuple[float, float, float, float], area: str | None) -> Rows:
        """Rows whose outline's box meets one, in degrees; of an area alone if one is named."""
        fits = boxes_meet(self.boxes, box)
        if area is not None:
            fits &= self.areas == area
        return np.flatnonzero(fits)[:MOST_POLYGONS]

    def columns(self, rows: Rows) -> dict[str, Coded]:
        """What the sites of some rows are drawn with."""
        chosen = rows.tolist()
        own = {name: column.take(rows) for name, column in self._coded.items()}
        return {
            "id": Coded(np.arange(len(rows)), [self.ids[row] for row in chosen]),
            "status": own["status"],
            "level": own["level"],
            "verdict": coded_texts([self.verdicts[row] for row in chosen]),
            "area_ha": own["area_ha"],
            "priority": own["priority"],
            "posterior": own["posterior"],
            "legality": own["legality"],
            "first_seen": own["first_seen"],
        }


def block_of(service: Service, who: Person, area: str | None, at: Square) -> Block:
    """Sites that a person may see around a tile of zoom `BLOCK_ZOOM` or more: a block that is kept
    where it has them all, else the most urgent of the tile."""
    if who.redacted:
        # All of what they see is kept already.
        table = Places(service, who).shown_that_fit(_query(at, area))
        return _of_table(table.iloc[:MOST_POLYGONS])
    z, x, y = at
    up = z - BLOCK_ZOOM
    square = (BLOCK_ZOOM, x >> up, y >> up)
    revision = service.revision()
    key = ("block", revision.sites, revision.reviews, view_of(who), *square)
    found: Block = service.blocks.get_or_make(
        key, lambda: _read(service, who, _query(square)), lambda block: block.bytes
    )
    if len(found.ids) < MOST_POLYGONS:
        return found
    return _read(service, who, _query(at, area))


def _query(at: Square, area: str | None = None) -> SiteQuery:
    return SiteQuery(area=area, bbox_lonlat=tile_box(*at, BUFFER), limit=MOST_POLYGONS)


def _read(service: Service, who: Person, query: SiteQuery) -> Block:
    found = service.store.site_columns(visible(query, who), [*_DRAWN, "geometry"])
    return Block(found, shapely.from_wkb(np.array(found.pop("geometry"), dtype=object)))


def _of_table(table: pd.DataFrame) -> Block:
    absent = [None] * len(table)
    columns = {name: table[name].tolist() if name in table else absent for name in _DRAWN}
    return Block(columns, table.geometry.to_numpy(dtype=object))
