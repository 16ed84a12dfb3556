"""All sites in memory, in the order of tiles: what the tiles of low zooms are made of, and what
tells which sites are on a page of features.

Sites are sorted along a Morton curve, so that those of a tile, and within it those of a cell of
some pixels, stand beside each other. 200 bytes for a site: a million take 200 MB.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from sluice.app.web.boxes import boxes_meet
from sluice.app.web.tile_encoding import EXTENT, mercator
from sluice.app.web.tile_layers import Coded
from sluice.base.store import Revision, SiteQuery
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

Positions = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Words:
    """A column of few different texts."""

    known: list[str]
    codes: npt.NDArray[np.int32]
    """-1 where it is absent."""

    def coded(self, at: Positions) -> Coded:
        """The column of some rows."""
        return Coded(self.codes[at].astype(np.int64), self.known)

    def is_one_of(self, words: Sequence[str]) -> npt.NDArray[np.bool_]:
        """(N,) whether a row has one of some texts."""
        # The last one is for those that are absent, whose code is -1.
        chosen = np.array([*(word in words for word in self.known), False])
        found: npt.NDArray[np.bool_] = chosen[self.codes]
        return found


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
        self.numbers = {name: _numbers(table, name)[order] for name in _NUMBERS}
        self.words = {name: _words(table, name, order) for name in _WORDS}
        self.made_of: Revision | None = None
        """Of the store that it was read of."""
        self.boxes: npt.NDArray[np.float64] | None = None
        """(N, 4) of outlines: west, south, east, north; None where the table has none."""
        self.last_seen: npt.NDArray[np.datetime64] | None = None
        self.by_priority = np.lexsort((self.ids, -np.nan_to_num(self.numbers["priority"])))
        """Rows in the order of lists."""
        self.rank = np.empty(len(order), dtype=np.int32)
        self.rank[self.by_priority] = np.arange(len(order))
        if set(BOX) <= set(table.columns):
            # Column by column, as it is read.
            self.boxes = np.asfortranarray(table[[*BOX]].to_numpy(dtype=float)[order])
            self.last_seen = table["last_seen"].to_numpy(dtype="datetime64[D]")[order]

    def __len__(self) -> int:
        return len(self.curve)

    def page(self, query: SiteQuery) -> tuple[Positions, int] | None:
        """Rows that a query asks for, in the order of lists, and how many there are whatever its
        limit; None where the index cannot tell."""
        if self.boxes is None or self.last_seen is None or not _can_tell(query):
            return None
        fits = self._fitting(query, self.boxes, self.last_seen)
        count = len(self) if fits is None else int(np.count_nonzero(fits))
        end = count if query.limit is None else min(count, query.offset + query.limit)
        if fits is None:
            return self.by_priority[query.offset : end], count
        ranks = self.rank[fits]
        first = ranks if end == count else np.partition(ranks, end)[:end]
        return self.by_priority[np.sort(first)[query.offset :]], count

    def _fitting(
        self,
        query: SiteQuery,
        boxes: npt.NDArray[np.float64],
        last_seen: npt.NDArray[np.datetime64],
    ) -> npt.NDArray[np.bool_] | None:
        """(N,), or None where all do."""
        conditions = []
        if query.bbox_lonlat is not None:
            conditions.append(boxes_meet(boxes, query.bbox_lonlat))
        for name, chosen in (
            ("area", query.areas),
            ("area", None if query.area is None else (query.area,)),
            ("status", query.status),
            ("level", query.level),
            ("legality", query.legality),
        ):
            if chosen is not None:
                conditions.append(self.words[name].is_one_of([str(word) for word in chosen]))
        for name, least in (("area_ha", query.min_area_ha), ("priority", query.min_priority)):
            if least is not None:
                conditions.append(self.numbers[name] >= least)
        if query.seen_since is not None:
            conditions.append(last_seen >= np.datetime64(query.seen_since))
        return np.logical_and.reduce(conditions) if conditions else None

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


def _can_tell(query: SiteQuery) -> bool:
    asked = (query.verdict, query.site_ids, query.state)
    return all(one is None for one in asked) and not (query.with_past or query.standing)


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


def _numbers(table: pd.DataFrame, name: str) -> npt.NDArray[np.float64]:
    if name not in table:
        return np.full(len(table), np.nan)
    return table[name].to_numpy(dtype=np.float64, na_value=np.nan)


def _words(table: pd.DataFrame, name: str, order: Positions) -> Words:
    if name not in table:
        return Words([], np.full(len(table), -1, dtype=np.int32))
    codes, known = pd.factorize(table[name].astype(object), use_na_sentinel=True)
    return Words([str(word) for word in known], codes[order].astype(np.int32))
