"""The looks of one period, of several sensors and runs, taken together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from sluice.base.arrays import FloatArray, IntArray, ObjectArray
from sluice.base.errors import DataError
from sluice.base.places import Look, columns_of
from sluice.sites.growth import FOOTPRINT, WORKINGS

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Seen:
    """What the looks of one period say of each site, (sites,) each."""

    share: FloatArray
    observed: BoolArray
    detected: BoolArray
    area: FloatArray
    low: FloatArray
    high: FloatArray
    kind: IntArray
    """Of the area: workings or footprint."""
    area_share: FloatArray
    """Share of the site that the look saw which tells the area; NaN without one."""
    cover: FloatArray
    """Share of plants on the ground, NaN where it is not known."""


@dataclass(frozen=True)
class LooksByPeriod:
    """Looks by period, with numbers for sites."""

    site_ids: ObjectArray
    periods: pd.DataFrame
    """`start` and `end`, in the order in which they end; a long one is over when its last day is.
    """
    looks: dict[int, pd.DataFrame]
    """By number of the period; `site` is a number."""

    @classmethod
    def of(cls, looks: pd.DataFrame) -> LooksByPeriod:
        """Sort a table of looks.

        Raises:
            DataError: A column is missing, or a period ends before it starts.
        """
        missing = [column for column in columns_of(Look) if column not in looks.columns]
        if missing:
            raise DataError(f"the table of looks has no column {', '.join(missing)}")
        looks = pd.DataFrame(looks[columns_of(Look)])
        periods = looks[["start", "end"]].drop_duplicates()
        wrong = periods[periods["end"] < periods["start"]]
        if len(wrong):
            raise DataError(
                f"a look's period ends on {wrong['end'].iloc[0]}, before it starts on "
                f"{wrong['start'].iloc[0]}; mend its run"
            )
        periods = periods.sort_values(["end", "start"]).reset_index(drop=True)
        number = looks[["start", "end"]].merge(
            periods.assign(number=periods.index), on=["start", "end"], how="left"
        )["number"]
        codes, ids = pd.factorize(looks["site_id"], sort=True)
        looks = looks.assign(site=codes, period=number.to_numpy())
        looks = looks.sort_values(["period", "site", "sensor", "run_id"], kind="stable")
        first = np.searchsorted(looks["period"].to_numpy(), np.arange(len(periods) + 1))
        return cls(
            np.asarray(ids, dtype=object),
            periods,
            {n: looks.iloc[first[n] : first[n + 1]] for n in range(len(periods))},
        )

    def seen_in(self, number: int, least_share: float, silent: Sequence[str]) -> Seen:
        """What the looks of a period say together.

        Args:
            number: Of the period.
            least_share: Of a site that must be seen for it to count as observed.
            silent: Sensors that observe a site only where they detect it.
        """
        looks, size = self.looks[number], len(self.site_ids)
        site = looks["site"].to_numpy()
        share, detected = looks["observed_share"].to_numpy(float), looks["detected"].to_numpy(bool)
        tells = detected | ~looks["sensor"].isin(list(silent)).to_numpy()
        best = np.zeros(size)
        np.maximum.at(best, site[tells], share[tells])
        found = np.zeros(size, bool)
        found[site[detected]] = True
        area, low, high, kind, area_share = _areas(looks[detected], size, least_share)
        return Seen(
            share=best,
            observed=found | ((best >= least_share) & (best > 0)),
            detected=found,
            area=area,
            low=low,
            high=high,
            kind=kind,
            area_share=area_share,
            cover=_cover(looks, size),
        )


def telling_area(looks: pd.DataFrame, group: IntArray, least_share: float) -> IntArray:
    """Which look of each group knows its area best.

    Of those that saw enough, where there are any: a cloud cuts an outline, and the smaller one has
    the narrower interval. Of these workings with the narrowest interval, else the largest
    footprint.

    Args:
        looks: Columns of `Look`, all detected.
        group: (looks,) what belongs together.
        least_share: Of a site that must be seen for its area to be compared.

    Returns:
        (groups,) rows, by number of the group.
    """
    area, low, high, footprint, share = (
        looks[name].to_numpy(float)
        for name in ("area_ha", "area_low_ha", "area_high_ha", "footprint_ha", "observed_share")
    )
    footprints = np.isnan(area)
    unknown = footprints & np.isnan(footprint)
    hidden = ~(share >= least_share)
    width = np.where(np.isnan(high - low), np.inf, high - low)
    size = np.where(footprints, -footprint, width)
    order = np.lexsort((size, footprints, hidden, unknown, group))
    _, first = np.unique(group[order], return_index=True)
    found: IntArray = order[first]
    return found


def _areas(
    looks: pd.DataFrame, size: int, least_share: float
) -> tuple[FloatArray, FloatArray, FloatArray, IntArray, FloatArray]:
    """Of each site the area that is known best, its interval, its kind, and the share seen."""
    chosen = looks.iloc[telling_area(looks, looks["site"].to_numpy(), least_share)]
    site, area = chosen["site"].to_numpy(), chosen["area_ha"].to_numpy(float)
    workings = ~np.isnan(area)
    columns = [np.full(size, np.nan) for _ in range(4)]
    kinds = np.full(size, FOOTPRINT)
    columns[0][site] = np.where(workings, area, chosen["footprint_ha"].to_numpy(float))
    columns[1][site] = np.where(workings, chosen["area_low_ha"].to_numpy(float), np.nan)
    columns[2][site] = np.where(workings, chosen["area_high_ha"].to_numpy(float), np.nan)
    columns[3][site] = chosen["observed_share"].to_numpy(float)
    kinds[site] = np.where(workings, WORKINGS, FOOTPRINT)
    return columns[0], columns[1], columns[2], kinds, columns[3]


def _cover(looks: pd.DataFrame, size: int) -> FloatArray:
    """Share of plants on the ground, water aside, in the look that saw most of a site."""
    plants = looks["forest_ha"].to_numpy(float) + looks["farmland_ha"].to_numpy(float)
    ground = plants + looks["bare_ha"].to_numpy(float)
    # A look without all three is no look at the cover; neither is one at water alone.
    known = ground > 0
    site, share = looks["site"].to_numpy()[known], looks["observed_share"].to_numpy(float)[known]
    order = np.lexsort((-share, site))
    _, first = np.unique(site[order], return_index=True)
    chosen = order[first]
    cover = np.full(size, np.nan)
    cover[site[chosen]] = (plants[known] / ground[known])[chosen]
    return cover
