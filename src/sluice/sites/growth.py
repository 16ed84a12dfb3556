"""When a site has grown: one rule, asked by statuses, alerts and priorities.

Areas are compared with areas of their own kind only: workings with workings, footprints with
footprints. Two looks at what did not change differ, so no growth is told below that. Where the
askers differ on purpose, their figures stand here side by side.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import pandas as pd

from sluice.base.arrays import FloatArray
from sluice.base.errors import ConfigError
from sluice.sites.area_interval import FOOTPRINT_NOISE, OUTLINE_NOISE

WORKINGS, FOOTPRINT = 0, 1
"""Kinds of areas, which are not compared with each other."""
_YEAR = dt.timedelta(days=366)


@dataclass(frozen=True)
class GrowthRule:
    """How much larger an area must be than an earlier one to have grown."""

    share: float
    """By more than this share …"""
    least_ha: float
    """… and by more than this, in geodesic hectares …"""
    outline_noise: float = OUTLINE_NOISE
    """… and by more than this factor, within which two looks at the same workings differ …"""
    footprint_noise: float = FOOTPRINT_NOISE
    """… or at the same footprint, where only that is known. The intervals of the areas themselves
    are no yardstick: most of what a model gets wrong at a place it gets wrong at each look."""

    def __post_init__(self) -> None:
        for each in fields(self):
            if not 0 <= getattr(self, each.name) < np.inf:
                raise ConfigError(
                    f"{each.name} of growth is {getattr(self, each.name)}; use 0 or more"
                )

    def noise(self, kind: npt.NDArray[np.integer]) -> FloatArray:
        """The factor within which two areas of each kind may differ."""
        return np.where(kind == FOOTPRINT, self.footprint_noise, self.outline_noise)

    def has_grown(
        self, area_ha: FloatArray, before_ha: FloatArray, kind: npt.NDArray[np.integer]
    ) -> npt.NDArray[np.bool_]:
        """Whether areas have grown since earlier ones of the same kind; not from what is NaN."""
        least = before_ha * np.maximum(1 + self.share, self.noise(kind))
        return np.asarray((area_ha > least) & (area_ha - before_ha > self.least_ha))


GROWTH_OF_STATUS = GrowthRule(share=0.2, least_ha=0.5)
"""Of the word "growing" in a history, and of the points of growth."""
GROWTH_OF_ALERT = GrowthRule(share=0.3, least_ha=1.0)
"""Of news, which calls somebody: more than one cell of 80 m, which is 0.64 ha."""


def growth_within_year(
    periods: pd.DataFrame, until: dt.date, rule: GrowthRule = GROWTH_OF_STATUS
) -> pd.Series:
    """Hectares that sites have added within the year that ends on a day.

    From the first to the last area of one kind in that year: of the workings, or of the footprints
    where workings are not known twice.

    Args:
        periods: Columns of `SitePeriod`, and `well_seen` (see `sluice.sites.history`).
        until: Last day of the newest period that has landed, whether a site was seen then or not:
            growth fades once it is a year past.
        rule: What counts as growth; anything less is 0.

    Returns:
        By `site_id`; of sites that were not measured twice in that year there is no row.
    """
    # Where nothing could be outlined, an area of 0 is no measure; neither is what a cloud left.
    known = periods["detected"].astype(bool) & periods["well_seen"] & (periods["area_ha"] > 0)
    rows = periods[known].sort_values(["site_id", "end", "start"])
    rows = rows[(pd.Timestamp(until) - pd.to_datetime(rows["end"]) <= _YEAR).to_numpy()]
    kind = np.where(rows["area_low_ha"].isna(), FOOTPRINT, WORKINGS)
    by_kind = rows.assign(kind=kind).groupby(["site_id", "kind"], sort=True)["area_ha"]
    table = by_kind.agg(["first", "last", "size"]).reset_index()
    # Workings come first, where both are known.
    table = table[table["size"] > 1].drop_duplicates("site_id")
    before, now = (table[name].to_numpy(float) for name in ("first", "last"))
    added = np.where(rule.has_grown(now, before, table["kind"].to_numpy()), now - before, 0.0)
    index = pd.Index(table["site_id"], name="site_id")
    return pd.Series(added, index=index, name="growth_ha", dtype=float)
