"""All sites in memory, in the order of tiles: what the tiles of low zooms are made of.

Sites are sorted along a Morton curve, so that those of a tile, and within it those of a cell of
some pixels, stand beside each other. 200 bytes for a site: a million take 200 MB.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from sluice.app.web.site_columns import Positions, numbers_of, words_of
from sluice.app.web.site_list import SiteList
from sluice.app.web.tile_encoding import EXTENT, mercator
from sluice.base.store import Revision
from sluice.store.columns import BOX

LEVEL = 20
"""Of the curve: cells of 38 m at the equator."""
CELLS = 7
"""Zooms below a tile's own: of each cell that is 1/128 of its side wide one site is drawn."""
MOST_POINTS = 4000
"""Of a tile."""
COLUMNS = (
    "site_id", "area", "lon", "lat", "status", "level", "area_ha", "priority", "posterior",
    "legality", "first_seen", "last_seen", *BOX,
)  # fmt: skip
"""What is read of a store."""
_WORDS = ("area", "status", "level", "legality", "first_seen", "verdict")
_NUMBERS = ("area_ha", "priority", "posterior")


class SiteIndex:
    """Sites as arrays, (N,) each, along the curve.

    Args:
        table: Some of `COLUMNS`, at least `site_id`, `lon` and `lat`.
    """

    def __init__(self, table: pd.DataFrame) -> None:
        places = mercator(table[["lon", "lat"]].to_numpy(dtype=float))
        cells = np.clip(np.floor(places * 2**LEVEL), 0, 2**LEVEL - 1).astype(np.uint64)
        curve = morton(cells[:, 0], cells[:, 1])
        order = np.argsort(curve, kind="stable")
        self.curve = curve[order]
        self.places = places[order]
        self.ids = table["site_id"].to_numpy(dtype=object)[order]
        self.numbers = {name: numbers_of(table, name)[order] for name in _NUMBERS}
        self.words = {name: words_of(table, name, order) for name in _WORDS}
        self.made_of: Revision | None = None
        """Of the store that it was read of."""
        self.listed: SiteList | None = None
        """For pages; None where the table has no boxes of outlines."""
        if set(BOX) <= set(table.columns):
            self.listed = SiteList(table)
            rows = np.empty(len(order), dtype=np.intp)
            rows[order] = np.arange(len(order))
            self.rows_listed = rows[self.listed.order]
            """Rows in the order of that list."""

    def __len__(self) -> int:
        return len(self.curve)

    def within(self, z: int, x: int, y: int) -> slice:
        """Rows of the sites of a tile; of one that is smaller than a cell, the cell's."""
        if z > LEVEL:
            x, y, z = x >> (z - LEVEL), y >> (z - LEVEL), LEVEL
        first = int(morton(np.array([x], np.uint64), np.array([y], np.uint64))[0])
        more = 2 * (LEVEL - z)
        low, high = np.searchsorted(
            self.curve, np.array([first << more, (first + 1) << more], dtype=np.uint64)
        )
        return slice(int(low), int(high))

    def thinned(self, rows: Positions, z: int) -> tuple[Positions, npt.NDArray[np.int64]]:
        """The most urgent site of each cell of a tile, and how many the cell has.

        A site that is drawn at one zoom is drawn at those above it too, unless there are more
        than a tile may have.

        Args:
            rows: Of the tile, in order.
            z: Its zoom.
        """
        if not len(rows):
            return rows, np.zeros(0, dtype=np.int64)
        more = np.uint64(2 * max(LEVEL - z - CELLS, 0))
        cells = self.curve[rows] >> more
        urgent = np.nan_to_num(self.numbers["priority"][rows], nan=-1.0)
        order = np.lexsort((-urgent, cells))
        starts = np.flatnonzero(np.diff(cells[order], prepend=np.uint64(2**63)) != 0)
        chosen = rows[order[starts]]
        counts = np.diff(starts, append=len(rows))
        if len(chosen) > MOST_POINTS:
            best = np.argsort(-urgent[order[starts]], kind="stable")[:MOST_POINTS]
            best.sort()
            chosen, counts = chosen[best], counts[best]
        return chosen, counts

    def units(self, rows: Positions, z: int, x: int, y: int) -> npt.NDArray[np.int64]:
        """(N, 2) where sites lie in a tile."""
        shares = self.places[rows] * 2.0**z - np.array([x, y])
        units: npt.NDArray[np.int64] = np.floor(shares * EXTENT).astype(np.int64)
        return units


def morton(x: npt.NDArray[np.uint64], y: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Bits of two numbers by turns: (N,) to (N,)."""
    return _spread(x) | (_spread(y) << np.uint64(1))


def _spread(value: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """A zero before each bit."""
    for shift, mask in (
        (16, 0x0000FFFF0000FFFF),
        (8, 0x00FF00FF00FF00FF),
        (4, 0x0F0F0F0F0F0F0F0F),
        (2, 0x3333333333333333),
        (1, 0x5555555555555555),
    ):
        value = (value | (value << np.uint64(shift))) & np.uint64(mask)
    return value
