"""What registered layers say of a place, in words."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from sluice.app.messages import Messages
from sluice.app.reports.report_parts import NOTHING, capital, figure
from sluice.sites.looks import cover_change

_INSIDE = ("concession", "protected", "indigenous", "settlement", "road", "expert")
_FLAG = {"settlement": "in_settlement", "road": "on_road"}
_NEAR = ("river", "road", "settlement", "airstrip", "concession", "protected", "indigenous")
_COVER = ("forest", "farmland", "water", "bare")


def context_rows(context: Mapping[str, Any], say: Messages) -> tuple[tuple[str, str], ...]:
    """A row for each fact; what is known under another name stands as it is."""
    rest = {name: value for name, value in context.items() if _there(value)}
    rows: list[tuple[str, str]] = []
    if "district" in rest:
        rows.append((say.text("layer.district"), str(rest.pop("district"))))
    for stem in _INSIDE:
        flag = rest.pop(_FLAG.get(stem, f"in_{stem}"), None)
        share = figure(rest.pop(f"{stem}_share", None))
        if not flag:
            rest.pop(f"{stem}_valid_share", None)
        if flag is None:
            continue
        told = say.text("common.yes" if flag else "common.no")
        if flag and share is not None and share < 0.995:
            told = f"{told} ({say.percent(share)})"
        if flag:
            told = " · ".join([told, *_details(stem, rest, say)])
            rest.pop(f"{stem}_m", None)
        rows.append((say.text("context.inside", what=say.of("layer", stem)), told))
    for stem in _NEAR:
        distance = figure(rest.pop(f"{stem}_m", None))
        if distance is None:
            continue
        name = rest.pop(f"{stem}_name", None)
        told = say.metres(distance) + (f" · {name}" if name else "")
        rows.append((say.text("context.distance", what=say.of("layer", stem)), told))
    slope = figure(rest.pop("slope_deg", None))
    if slope is not None:
        rows.append((say.text("layer.slope"), f"{say.number(slope)}°"))
    rows += [(name, _plain(value, say)) for name, value in sorted(rest.items())]
    return tuple((capital(name), told) for name, told in rows)


def _details(stem: str, rest: dict[str, Any], say: Messages) -> list[str]:
    """Name, id and dates of what a place lies in; taken out of `rest`."""
    told = [str(rest.pop(name)) for name in (f"{stem}_name", f"{stem}_id") if name in rest]
    dates = [_date(rest.pop(f"{stem}_{end}", None), say) for end in ("start", "end")]
    if any(dates):
        told.append(" – ".join(day or "…" for day in dates))
    valid = figure(rest.pop(f"{stem}_valid_share", None))
    if valid is not None:
        told.append(say.text("context.valid_share", share=say.percent(valid)))
    return told


def cover_rows(
    looks: pd.DataFrame, first_seen: dt.date, say: Messages
) -> tuple[tuple[str, ...], ...]:
    """Ground cover before the site began and after, and what was lost; see `cover_changes`.

    Where the two images could not be compared pixel by pixel, the difference of the totals.
    """
    cover = cover_change(looks, first_seen) if len(looks) else None
    if cover is None:
        return ()
    rows = []
    for end in ("before", "after"):
        look = looks[looks["start"] == cover[f"cover_{end}"]].iloc[-1]
        areas = [say.hectares(float(cover[f"{name}_{end}_ha"])) for name in _COVER]
        rows.append((say.period(look["start"], look["end"]), *areas))
    lost = [figure(cover.get(f"{name}_lost_ha")) for name in _COVER]
    if any(area is not None for area in lost):
        told = (NOTHING if area is None else say.hectares(area) for area in lost)
        return (*rows, (say.text("context.loss"), *told))
    change = [
        _signed(float(cover[f"{name}_after_ha"]) - float(cover[f"{name}_before_ha"]), say)
        for name in _COVER
    ]
    return (*rows, (say.text("context.change"), *change))


def _signed(change: float, say: Messages) -> str:
    if abs(change) < 0.05:
        return say.hectares(0.0)
    sign = "+" if change > 0 else "\N{MINUS SIGN}"
    return f"{sign}{say.hectares(abs(change))}"


def _date(value: Any, say: Messages) -> str:
    """A date of a record, which JSON has made a text."""
    if isinstance(value, dt.date):
        return say.date(value)
    if not value:
        return ""
    try:
        return say.date(dt.date.fromisoformat(str(value)[:10]))
    except ValueError:
        return str(value)


def _there(value: Any) -> bool:
    return not (value is None or (isinstance(value, float) and math.isnan(value)))


def _plain(value: Any, say: Messages) -> str:
    if isinstance(value, bool):
        return say.text("common.yes" if value else "common.no")
    if isinstance(value, float):
        return say.number(value, 2)
    return str(value)
