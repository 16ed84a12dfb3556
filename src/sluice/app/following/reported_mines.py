"""Mines that people saw and no scan found: labels that are nobody's site."""

from __future__ import annotations

import datetime as dt
import uuid

import geopandas as gpd
import shapely
from shapely.geometry.base import BaseGeometry

from sluice.app.following.reviewing import MINE, check_size
from sluice.base.errors import ConfigError, Conflict, TooManyLabels
from sluice.base.places import Label
from sluice.base.store import Store

SOURCE = "report"
"""Where such labels are from."""
_SAID = ("area", "class_name", "start", "end", "source", "who", "name", "note")


def report_mine(
    store: Store,
    area: str,
    outline: BaseGeometry,
    *,
    who: str,
    start: dt.date,
    end: dt.date,
    name: str = "",
    note: str = "",
    label_id: str | None = None,
    most: int | None = None,
) -> Label:
    """Keep a mine that somebody saw, as a label `mine` of these days.

    Args:
        store: Where the area is.
        area: In which it lies.
        outline: In longitude and latitude.
        who: Saw it.
        start: First day on which it was seen, in an image or on the ground.
        end: Last one.
        name: Of the place.
        note: Anything else.
        label_id: Given by whoever may send it again where no answer came: it is kept once.
        most: That one person may have reported; None for any number.

    Raises:
        ConfigError: No such area, the outline lies outside it, or the days are in the wrong order
            or to come.
        Conflict: Something else bears this id.
        DataError: The outline is too large or too small for a mine.
        TooManyLabels: The person has reported as many as one may.
    """
    areas = store.areas()
    known = areas.geometry[areas["name"] == area]
    if known.empty:
        raise ConfigError(f"area {area!r}: is not in the store; `sluice areas list` shows them")
    if not shapely.intersects(known.iloc[0], outline):
        raise ConfigError(f"the outline lies outside area {area!r}; draw it within")
    if end < start:
        raise ConfigError(f"seen from {start} to {end}: the last day is before the first")
    if end > dt.datetime.now(dt.UTC).date():
        raise ConfigError(f"seen until {end}: that day is still to come")
    check_size(outline)
    label = Label(
        label_id=label_id or uuid.uuid4().hex,
        area=area,
        class_name=MINE,
        start=start,
        end=end,
        source=SOURCE,
        who=who,
        when=dt.datetime.now(dt.UTC),
        name=name.strip() or None,
        note=note.strip() or None,
    )
    if label_id is not None and _was_sent_before(store, label, outline):
        return label
    row = gpd.GeoDataFrame([label.model_dump()], geometry=[outline], crs="EPSG:4326")
    try:
        store.add_labels(row, most=most)
    except TooManyLabels as err:
        raise TooManyLabels(
            f"{who} has reported {most:,} mines, and one person may have no more; take back those "
            "that are done with, or ask whoever runs the service"
        ) from err
    return label


def _was_sent_before(store: Store, label: Label, outline: BaseGeometry) -> bool:
    labels = store.labels()
    there = labels[labels["label_id"] == label.label_id]
    if there.empty:
        return False
    same = [there[name].iloc[0] == getattr(label, name) for name in _SAID if getattr(label, name)]
    left_out = [there[name].isna().iloc[0] for name in _SAID if not getattr(label, name)]
    if all(same + left_out) and shapely.equals(there.geometry.iloc[0], outline):
        return True
    raise Conflict(
        f"report {label.label_id}: is there and says something else; send this one with an id of "
        "its own"
    )


def reported_mines(store: Store, area: str | None = None) -> gpd.GeoDataFrame:
    """All that people reported, oldest first: columns of `Label`, and `geometry`.

    Args:
        store: Where they are kept.
        area: One area; None for all.
    """
    labels = store.labels(area)
    return labels[labels["source"] == SOURCE].reset_index(drop=True)
