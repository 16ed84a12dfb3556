"""The table of sites: the same rows and columns in every format."""

from __future__ import annotations

import datetime as dt
from urllib.parse import urlencode

import geopandas as gpd
import pandas as pd

from sluice.base.errors import DataError, GridMismatch
from sluice.base.records import Detection, Run
from sluice.sites.classes import CLASS, class_columns
from sluice.sites.vectorise import COLUMN_TYPES

_LAST = ("imagery_link", "note")
COLUMNS = ("rank", *Detection.model_fields, *_LAST)
"""Columns of every `sites.*` file, before the geometry. Where a model tells several sought classes
apart, `class` and `class_columns` come before the link."""

# A millionth of a degree is 0.1 m. A probability keeps six decimals because at a small prior
# it is small, and not nothing. A hectare's fourth decimal is a square metre.
_DECIMALS = {
    "lon": 6,
    "lat": 6,
    "score_mean": 6,
    "score_peak": 6,
    "probability_mean": 6,
    "probability_peak": 6,
    "footprint_ha": 4,
    "delineated_ha": 4,
}

_BROWSER = "https://browser.dataspace.copernicus.eu/"
_RECENT = dt.timedelta(days=90)


def sites_table(detections: gpd.GeoDataFrame, run: Run) -> gpd.GeoDataFrame:
    """Put detections in the form in which they are written.

    Args:
        detections: Polygons in EPSG:4326 with the columns of `Detection`; may be empty.
        run: Gives the disclaimer, and the date up to which imagery is linked.

    Returns:
        The columns of `COLUMNS`, of classes where the run's model has several that are sought,
        and the geometry in EPSG:4326, largest footprint first; `rank` counts from 1.

    Raises:
        GridMismatch: Not in EPSG:4326.
        DataError: Columns are missing.
    """
    if detections.crs is None or not detections.crs.equals("EPSG:4326"):
        raise GridMismatch(
            f"detections must be in EPSG:4326, got {detections.crs}; reproject them first"
        )
    hectares = class_columns(run.model.get("classes", ())).values()
    of_classes = {CLASS: "str", **dict.fromkeys(hectares, "float64")} if hectares else {}
    measured = (*Detection.model_fields, *of_classes)
    missing = [name for name in measured if name not in detections.columns]
    if missing:
        raise DataError(
            f"detections lack the columns {', '.join(missing)}; give those of base.Detection"
        )
    # Rows first, types next: an empty frame, or a column of None, has no useful type.
    table = detections.sort_values(
        ["footprint_ha", "score_peak", "detection_id"],
        ascending=[False, False, True],
        ignore_index=True,
    )
    table = table.astype(COLUMN_TYPES | of_classes)
    table = table.round(_DECIMALS | dict.fromkeys(hectares, _DECIMALS["footprint_ha"]))
    until = (run.finished or run.started).date()
    links = [imagery_link(lon, lat, until) for lon, lat in zip(table.lon, table.lat, strict=True)]
    table["rank"] = pd.RangeIndex(1, len(table) + 1).astype("int64")
    table["imagery_link"] = pd.Series(links, index=table.index, dtype="str")
    table["note"] = pd.Series(run.disclaimer, index=table.index, dtype="str")
    if table.geometry.name != "geometry":
        table = table.rename_geometry("geometry")
    return table[["rank", *measured, *_LAST, "geometry"]]


def imagery_link(lon: float, lat: float, until: dt.date) -> str:
    """Address that shows the least cloudy Sentinel-2 pixels of a place over the last 90 days.

    Args:
        lon: Degrees.
        lat: Degrees.
        until: The last day that may be shown.

    Source:
        The address bar of the Copernicus Browser (browser.dataspace.copernicus.eu), date mode
        "mosaic", which shows at most 180 days.
    """
    parts = {
        "zoom": 15,
        "lat": f"{lat:.5f}",
        "lng": f"{lon:.5f}",
        "themeId": "DEFAULT-THEME",
        "datasetId": "S2_L2A_CDAS",
        "layerId": "1_TRUE_COLOR",
        "dateMode": "MOSAIC",
        "mosaickingOrder": "leastCC",
        "fromTime": f"{until - _RECENT}T00:00:00.000Z",
        "toTime": f"{until}T23:59:59.999Z",
    }
    return f"{_BROWSER}?{urlencode(parts)}"
