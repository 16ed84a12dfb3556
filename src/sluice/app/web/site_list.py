"""All sites in memory, in the order of lists: what tells which sites are on a page of features."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from sluice.app.web.boxes import boxes_meet
from sluice.app.web.site_columns import Positions, numbers_of, words_of
from sluice.base.store import BBox, SiteQuery
from sluice.store.columns import BOX

_WORDS = ("area", "status", "level", "legality")


class SiteList:
    """Sites as arrays, (N,) each, the most urgent first.

    Args:
        table: `site_id`, `priority`, `area`, `status`, `level`, `legality`, `area_ha`,
            `last_seen`, and the columns of `BOX`.
    """

    def __init__(self, table: pd.DataFrame) -> None:
        ids = table["site_id"].to_numpy(dtype=object)
        priority = np.nan_to_num(numbers_of(table, "priority"))
        order = np.lexsort((ids, -priority))
        self.order = order
        """Rows of the table."""
        self.ids = ids[order]
        self._priority = priority[order]
        self._area_ha = numbers_of(table, "area_ha")[order]
        self._words = {name: words_of(table, name, order) for name in _WORDS}
        self._last_seen = table["last_seen"].to_numpy(dtype="datetime64[D]")[order]
        # Column by column, as it is read.
        self._boxes = np.asfortranarray(table[[*BOX]].to_numpy(dtype=float)[order])

    def page(self, query: SiteQuery) -> tuple[list[str], int] | None:
        """Ids of the sites that a query asks for, and how many there are whatever its limit; None
        where it asks for what is not known here."""
        found = self.find(query)
        return None if found is None else (self.ids[found[0]].tolist(), found[1])

    def find(self, query: SiteQuery) -> tuple[Positions, int] | None:
        """Likewise, where they stand in the list."""
        if not _can_tell(query):
            return None
        fits = self._within(query.bbox_lonlat)
        for name, chosen in (
            ("area", query.areas),
            ("area", None if query.area is None else (query.area,)),
            ("status", query.status),
            ("level", query.level),
            ("legality", query.legality),
        ):
            if chosen is not None:
                fits &= self._words[name].is_one_of([str(word) for word in chosen])
        for values, least in (
            (self._area_ha, query.min_area_ha),
            (self._priority, query.min_priority),
        ):
            if least is not None:
                fits &= values >= least
        if query.seen_since is not None:
            fits &= self._last_seen >= np.datetime64(query.seen_since)
        end = len(self.ids) if query.limit is None else query.offset + query.limit
        return _first(fits, end)[query.offset :], int(np.count_nonzero(fits))

    def _within(self, bbox: BBox | None) -> npt.NDArray[np.bool_]:
        """(N,) whose outline's box meets one."""
        if bbox is None:
            return np.ones(len(self.ids), dtype=bool)
        return boxes_meet(self._boxes, bbox)


def _first(fits: npt.NDArray[np.bool_], count: int) -> Positions:
    """Where the first ones stand that fit: mostly they are soon found."""
    end = 16 * count
    found = np.flatnonzero(fits[:end])
    while len(found) < count and end < len(fits):
        end *= 8
        found = np.flatnonzero(fits[:end])
    return found[:count]


def _can_tell(query: SiteQuery) -> bool:
    asked = (query.verdict, query.site_ids, query.state)
    return all(one is None for one in asked) and not (query.with_past or query.standing)
