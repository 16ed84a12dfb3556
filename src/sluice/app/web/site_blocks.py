"""Sites with their outlines, read of the store for some tiles together.

A screen asks for a dozen tiles beside and below each other; the store is asked once for the square
that holds them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely

from sluice.app.web.access import Person
from sluice.app.web.boxes import boxes_meet
from sluice.app.web.service import Service
from sluice.app.web.site_index import SiteIndex
from sluice.app.web.site_indexes import index_if_made, said_of
from sluice.app.web.tile_encoding import BUFFER, mercator, tile_box
from sluice.app.web.tile_layers import Coded, coded_numbers, coded_texts
from sluice.app.web.views import Places, view_of
from sluice.app.web.withheld import visible
from sluice.base.store import SiteQuery
from sluice.store.frames import boxes_of

MOST_POLYGONS = 3000
"""Of a tile."""
BLOCK_ZOOM = 11
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
    """Sites as columns, (N,) each, the most urgent first.

    Args:
        ids: Of them.
        areas: Theirs.
        verdicts: What people said last.
        places: (N, 2) in shares of the width of the world.
        shapes: (N,) outlines in degrees.
        coded: What they are drawn with besides, by name.
    """

    def __init__(
        self,
        *,
        ids: list[str],
        areas: npt.NDArray[Any],
        verdicts: list[str | None],
        places: npt.NDArray[np.float64],
        shapes: Any,
        coded: dict[str, Coded],
    ) -> None:
        self.ids, self.areas, self.verdicts, self.places = ids, areas, verdicts, places
        self.boxes = boxes_of(shapes)
        self.shapes = shapely.transform(shapes, mercator)
        """In shares of the width of the world."""
        self._coded = coded

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


def block_of(
    service: Service,
    who: Person,
    area: str | None,
    at: Square,
    among: pd.Index[Any] | None = None,
) -> Block:
    """Sites that a person may see around a tile of zoom `BLOCK_ZOOM` or more: a block that is kept
    where it has them all, else the most urgent of the tile.

    Args:
        service: Whose store they are in.
        who: The person.
        area: Of which sites are wanted; None for all.
        at: The tile.
        among: Ids of those that are wanted, None for all; others may be in the block, but never in
            place of them.
    """
    if who.redacted:
        # All of what they see is kept already.
        table = Places(service, who).shown_that_fit(_query(at, area))
        if among is not None:
            table = table[table["site_id"].isin(among)]
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
    return _read(service, who, _query(at, area), among)


def _query(at: Square, area: str | None = None) -> SiteQuery:
    return SiteQuery(area=area, bbox_lonlat=tile_box(*at, BUFFER), limit=MOST_POLYGONS)


def _read(
    service: Service, who: Person, query: SiteQuery, among: pd.Index[Any] | None = None
) -> Block:
    query = visible(query if among is None else replace(query, limit=None), who)
    index = index_if_made(service, who)
    found = None if index is None or index.listed is None else index.listed.find(query)
    if index is not None and found is not None:
        rows = index.rows_listed[found[0]]
        return _of_index(service, who, index, rows[_first(index.ids[rows], among)])
    columns = service.store.site_columns(query, [*_DRAWN, "geometry"])
    if among is not None:
        chosen = _first(columns["site_id"], among).tolist()
        columns = {name: [values[k] for k in chosen] for name, values in columns.items()}
    return _of_columns(columns, shapely.from_wkb(np.array(columns.pop("geometry"), dtype=object)))


def _first(ids: Sequence[Any] | npt.NDArray[Any], among: pd.Index[Any] | None) -> Rows:
    """Where the first ones stand that are wanted, as many as a tile may have."""
    wanted = np.arange(len(ids))
    if among is not None:
        wanted = np.flatnonzero(among.get_indexer(pd.Index(ids)) >= 0)
    return wanted[:MOST_POLYGONS]


def _of_index(service: Service, who: Person, index: SiteIndex, rows: Rows) -> Block:
    """All but the outlines is in memory."""
    query = SiteQuery(site_ids=tuple(index.ids[rows].tolist()))
    read = service.store.site_columns(query, ["site_id", "geometry"])
    outlines = dict(zip(read["site_id"], read["geometry"], strict=True))
    # What landed this moment may have taken one away.
    rows = np.array([row for row in rows.tolist() if index.ids[row] in outlines], dtype=np.intp)
    ids = index.ids[rows].tolist()
    said = said_of(service, who)
    return Block(
        ids=ids,
        areas=index.words["area"].texts(rows),
        verdicts=[said[one][0] if one in said else None for one in ids],
        places=index.places[rows],
        shapes=shapely.from_wkb(np.array([outlines[one] for one in ids], dtype=object)),
        coded={name: index.words[name].coded(rows) for name in _TEXTS}
        | {name: coded_numbers(index.numbers[name][rows], n) for name, n in _NUMBERS.items()},
    )


def _of_table(table: pd.DataFrame) -> Block:
    absent = [None] * len(table)
    columns = {name: table[name].tolist() if name in table else absent for name in _DRAWN}
    return _of_columns(columns, table.geometry.to_numpy(dtype=object))


def _of_columns(columns: dict[str, Any], shapes: Any) -> Block:
    lonlat = np.column_stack([np.array(columns[name], dtype=float) for name in ("lon", "lat")])
    return Block(
        ids=columns["site_id"],
        areas=np.array(columns["area"], dtype=object),
        verdicts=columns["verdict"],
        places=mercator(lonlat),
        shapes=shapes,
        coded={name: coded_texts(columns[name]) for name in _TEXTS}
        | {name: coded_numbers(columns[name], digits) for name, digits in _NUMBERS.items()},
    )
