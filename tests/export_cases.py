"""Tables as a store gives them, for tests of redaction and exports."""

import datetime as dt
import io

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import shapely
from PIL import Image

from sluice.app.exports.write import EXPORT_FORMATS
from sluice.base.places import Alert, Site, SitePeriod, columns_of
from sluice.sites.vectorise import geohash

GEOMETRIC = ("geojson", "gpkg", "kml", "kmz", "geoparquet", "pmtiles", "shapefile")
_STATUS = ("new", "growing", "steady", "inactive", "recovering")
_LEVELS = ("low", "high", "highest", None)


def sites_table(lon, lat, *, river_m: float = 120.0, radius_deg: float = 0.002):
    """Sites around places, as `Store.sites` gives them."""
    lon, lat = np.asarray(lon, dtype=float), np.asarray(lat, dtype=float)
    numbers = range(len(lon))
    columns = {
        "site_id": [f"s-{geohash(*place)}" for place in zip(lon, lat, strict=True)],
        "area": "ashanti",
        "lon": lon,
        "lat": lat,
        "first_seen": dt.date(2024, 1, 1),
        "known_before": [True for n in numbers],
        "last_seen": dt.date(2025, 3, 31),
        "last_observed": dt.date(2025, 6, 30),
        "status": [_STATUS[n % 5] for n in numbers],
        "status_rule": "12.3 ha, 14 % more than 10.8 ha",
        "posterior": 0.8765432,
        "level": [_LEVELS[n % 4] for n in numbers],
        "area_ha": [12.3456 + n for n in numbers],
        "area_low_ha": 10.1,
        "area_high_ha": np.nan,
        "cumulative_ha": [15.4321 + n for n in numbers],
        "legality": "outside",
        "legality_why": "in no concession of layer 'leases'",
        "context": [
            {"river_m": river_m, "in_protected": False, "district": "Amansie West"} for n in numbers
        ],
        "priority": 61.25,
        "priority_parts": [{"probability": 40.0, "river": 21.25} for n in numbers],
        "merged_into": None,
        "current": [True for n in numbers],
    }
    assert list(columns) == columns_of(Site)
    columns |= {"verdict": None, "reviewers": 0}
    frame = pd.DataFrame({name: _column(values, len(lon)) for name, values in columns.items()})
    frame = frame.astype({name: float for name in frame if name.endswith("_ha")})
    shapes = shapely.buffer(shapely.points(lon, lat), radius_deg, quad_segs=2)
    return gpd.GeoDataFrame(frame, geometry=shapes, crs="EPSG:4326")


def alerts_table(sites):
    """An alert for each site, as `Store.alerts` gives them."""
    columns = {
        "alert_id": [f"a-{site_id}-new-2024" for site_id in sites["site_id"]],
        "site_id": list(sites["site_id"]),
        "area": "ashanti",
        "kind": "new",
        "start": dt.date(2024, 1, 1),
        "end": dt.date(2024, 3, 31),
        "raised": dt.date(2024, 3, 31),
        "updated": dt.date(2024, 6, 30),
        "level": "high",
        "state": "confirmed",
        "posterior": 0.9,
        "growth_ha": np.nan,
        "reasons": [["Two dates.", "0.4 km from a river."] for _ in range(len(sites))],
        "lon": sites["lon"].to_numpy(),
        "lat": sites["lat"].to_numpy(),
        "priority": 61.25,
        "priority_parts": [{"probability": 40.0} for _ in range(len(sites))],
    }
    assert list(columns) == columns_of(Alert)
    columns["verdict"] = None
    frame = pd.DataFrame({name: _column(values, len(sites)) for name, values in columns.items()})
    return frame.astype({"growth_ha": float, "posterior": float})


def periods_table(sites):
    """Two periods for each site, as `Store.periods` gives them."""
    rows = [
        (
            site_id,
            start,
            end,
            True,
            True,
            "new",
            "first seen",
            0.9,
            "high",
            "s2-l2a",
            3.21,
            3.0,
            4.0,
        )
        for site_id in sites["site_id"]
        for start, end in (
            (dt.date(2024, 1, 1), dt.date(2024, 3, 31)),
            (dt.date(2024, 4, 1), dt.date(2024, 6, 30)),
        )
    ]
    return pd.DataFrame(rows, columns=columns_of(SitePeriod))


def _column(values, length):
    if isinstance(values, list | np.ndarray):
        return pd.Series(values, dtype=None if len(values) else object)
    return pd.Series([values] * length, dtype=object if not length else None)


def suffix(fmt: str) -> str:
    return EXPORT_FORMATS[fmt].suffixes[0]


def png(colour: str) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(stream, "PNG")
    return stream.getvalue()


def read_sites(path, fmt):
    """The rows, by GDAL."""
    if fmt == "geoparquet":
        return gpd.read_parquet(path)
    # A KMZ without its name's help: GDAL does not read the columns of one.
    inside = {"shapefile": "sites.shp", "kmz": "doc.kml"}.get(fmt)
    source = f"/vsizip/{path}/{inside}" if inside else path
    layer = "outlines" if fmt in ("kml", "kmz") else "sites"
    return pyogrio.read_dataframe(source, layer=None if fmt == "geojson" else layer)
