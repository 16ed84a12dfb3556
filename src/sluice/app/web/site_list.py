"""All sites in memory, in the order of lists: what tells which sites are on a page of features."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from sluice.app.web.boxes import boxes_meet
from sluice.app.web.site_columns import numbers_of, words_of
from sluice.base.store import SiteQuery
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
        if not _can_tell(query):
            return None
        fits = self._fitting(query)
        count = len(self.ids) if fits is None else int(np.count_nonzero(fits))
        end = count if query.limit is None else min(count, query.offset + query.limit)
        if fits is None:
            found = self.ids[query.offset : end]
        else:
            found = self.ids[np.flatnonzero(fits)[query.offset : end]]
        return found.tolist(), count

    def _fitting(self, query: SiteQuery) -> npt.NDArray[np.bool_] | None:
        """(N,), or None where all do."""
        conditions = []
        if query.bbox_lonlat is not None:
            conditions.append(boxes_meet(self._boxes, query.bbox_lonlat))
        for name, chosen in (
            ("area", query.areas),
            ("area", None if query.area is None else (query.area,)),
            ("status", query.status),
            ("level", query.level),
            ("legality", query.legality),
        ):
            if chosen is not None:
                conditions.append(self._words[name].is_one_of([str(word) for word in chosen]))
        for values, least in (
            (self._area_ha, query.min_area_ha),
            (self._priority, query.min_priority),
        ):
            if least is not None:
                conditions.append(values >= least)
        if query.seen_since is not None:
            conditions.append(self._last_seen >= np.datetime64(query.seen_since))
        return np.logical_and.reduce(conditions) if conditions else None


def _can_tell(query: SiteQuery) -> bool:
    asked = (query.verdict, query.site_ids, query.state)
    return all(one is None for one in asked) and not (query.with_past or query.standing)
