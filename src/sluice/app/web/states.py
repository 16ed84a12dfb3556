"""What sites were in a period: the last that is known of each within it."""

from __future__ import annotations

import pandas as pd

from sluice.app.web.views import Places, view_of
from sluice.base.periods import Period
from sluice.base.places import Status
from sluice.base.store import Store

WORKED = (Status.NEW, Status.GROWING, Status.STEADY)
"""Sites that are worked, by their status."""
_COLUMNS = ["site_id", "detected", "status", "level", "posterior", "area_ha"]


def states_in(places: Places, period: Period, area: str | None) -> pd.DataFrame:
    """A row for each site that was looked at within a period, by `site_id`: its last one.

    Args:
        places: As the person may see them.
        period: First and last day.
        area: Of which sites are asked for, None for all; others may be among them.

    Returns:
        Columns `status`, `level`, `posterior`, `area_ha`, and `detected`: whether it is worked.
    """
    service = places.service
    name = f"states {period.start}/{period.end}"
    found: pd.DataFrame
    if places.is_open:
        found = service.kept(
            name,
            lambda store: _last_ones(
                pd.DataFrame(store.period_columns(period.start, period.end, _COLUMNS))
            ),
            of=("sites",),
        )
        return found

    def make(_: Store) -> pd.DataFrame:
        table = places.all_periods(area)
        within = (table["start"] >= period.start) & (table["end"] <= period.end)
        return _last_ones(table[within].sort_values(["start", "end"], kind="stable"))

    found = service.kept(f"{name} {view_of(places.person)} {area!r}", make)
    return found


def _last_ones(table: pd.DataFrame) -> pd.DataFrame:
    """The last row of each site of a table whose oldest rows come first."""
    table = table.reindex(columns=_COLUMNS)
    # Where it is not told whether a site was detected, its status tells.
    worked = table["status"].isin([str(status) for status in WORKED])
    table["detected"] = table["detected"].astype("boolean").fillna(worked).astype(bool)
    for name in ("area_ha", "posterior"):
        table[name] = table[name].astype(float)
    for name in ("status", "level"):
        table[name] = table[name].astype(object).astype("category")
    return table.drop_duplicates("site_id", keep="last").set_index("site_id")
