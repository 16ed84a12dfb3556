"""Items as the well-known catalogues write them, composed by hand from their documentation.

Each catalogue states the same things in its own way; the scene below them all is one: tile 21MVN
of 2 x 2 degrees in the Tapajos, taken at 13:50 UTC.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

Item = dict[str, Any]

COG = "image/tiff; application=geotiff; profile=cloud-optimized"
JP2 = "image/jp2"
TILE = "21MVN"
LEFT, TOP, EPSG = 399960, 9300040, 32721
OUTLINE = {
    "type": "Polygon",
    "coordinates": [
        [[-57.9, -6.33], [-56.91, -6.33], [-56.91, -7.32], [-57.9, -7.32], [-57.9, -6.33]]
    ],
}
BBOX = [-57.9, -7.32, -56.91, -6.33]
AREA = (-57.5, -6.9, -57.4, -6.8)
"""Within the tile."""

_BANDS = {
    "B01": ("coastal", "coastal", 60),
    "B02": ("blue", "blue", 10),
    "B03": ("green", "green", 10),
    "B04": ("red", "red", 10),
    "B05": ("rededge1", "rededge", 20),
    "B06": ("rededge2", "rededge", 20),
    "B07": ("rededge3", "rededge", 20),
    "B08": ("nir", "nir", 10),
    "B8A": ("nir08", "nir08", 20),
    "B09": ("nir09", "nir09", 60),
    "B11": ("swir16", "swir16", 20),
    "B12": ("swir22", "swir22", 20),
}
"""Code: Earth Search's key, STAC's common name, pixel side."""


def earth_search_c1(day: str = "2024-08-01", baseline: str = "05.11", **props: Any) -> Item:
    """`sentinel-2-c1-l2a`: offset in `raster:bands`, sizes of files, CRS at the item."""
    item = _earth_search(day, baseline, "sentinel-2-c1-l2a", f"S2B_T{TILE}_{_compact(day)}_L2A")
    root = "https://e84-earth-search-sentinel-data.s3.us-west-2.amazonaws.com/sentinel-2-c1-l2a"
    for code, (key, common, gsd) in _BANDS.items():
        item["assets"][key] = _earth_search_asset(
            f"{root}/{item['id']}/{code}.tif", code, common, gsd
        )
        item["assets"][key]["raster:bands"][0] |= {"scale": 0.0001, "offset": -0.1}
        item["assets"][key]["file:size"] = 230_000_000 // gsd
    item["assets"]["scl"] = _classes(f"{root}/{item['id']}/SCL.tif")
    item["assets"]["cloud"] = _classes(f"{root}/{item['id']}/CLD_20m.tif")
    item["assets"]["aot"] = {"href": f"{root}/{item['id']}/AOT.tif", "type": COG}
    item["assets"]["visual"] = _picture(f"{root}/{item['id']}/TCI.tif")
    item["properties"] |= props
    return item


def earth_search_l2a(
    day: str = "2024-08-01", baseline: str = "05.11", *, applied: bool = True, **props: Any
) -> Item:
    """`sentinel-2-l2a`: says whether the offset was applied, and states -0.1 beside it."""
    item = _earth_search(
        day, baseline, "sentinel-2-l2a", f"S2B_{TILE}_{day.replace('-', '')}_0_L2A"
    )
    root = f"https://sentinel-cogs.s3.us-west-2.amazonaws.com/sentinel-s2-l2a-cogs/{item['id']}"
    is_late = tuple(map(int, baseline.split("."))) >= (4, 0)
    for code, (key, common, gsd) in _BANDS.items():
        asset = _earth_search_asset(f"{root}/{code}.tif", code, common, gsd)
        asset["raster:bands"][0] |= {"scale": 0.0001, "offset": -0.1 if is_late else 0}
        item["assets"][key] = asset
        # The original file lies beside it, in a bucket whose reader pays.
        item["assets"][f"{key}-jp2"] = asset | {
            "href": f"s3://sentinel-s2-l2a/tiles/21/M/VN/{code}.jp2",
            "type": JP2,
        }
    item["assets"]["scl"] = _classes(f"{root}/SCL.tif")
    item["assets"]["scl-jp2"] = _classes("s3://sentinel-s2-l2a/tiles/21/M/VN/SCL.jp2") | {
        "type": JP2
    }
    item["properties"] |= {"earthsearch:boa_offset_applied": applied, "s2:sequence": "0"} | props
    return item


def earth_search_l1c(day: str = "2024-08-01", baseline: str = "05.11", **props: Any) -> Item:
    """`sentinel-2-l1c`: original files in a bucket whose reader pays; an offset of 0 is stated."""
    item = _earth_search(
        day, baseline, "sentinel-2-l1c", f"S2B_{TILE}_{day.replace('-', '')}_0_L1C"
    )
    for code, (key, common, gsd) in (_BANDS | {"B10": ("cirrus", "cirrus", 60)}).items():
        href = f"s3://sentinel-s2-l1c/tiles/21/M/VN/2024/8/1/0/{code}.jp2"
        asset = _earth_search_asset(href, code, common, gsd) | {"type": JP2}
        asset["raster:bands"][0] |= {"scale": 0.0001, "offset": 0}
        item["assets"][key] = asset
    item["properties"] |= {"s2:product_type": "S2MSI1C"} | props
    return item


def planetary_computer_l2a(day: str = "2024-08-01", baseline: str = "05.11", **props: Any) -> Item:
    """`sentinel-2-l2a`: keys are band codes, no scale, offset or nodata anywhere."""
    stamp = f"{day.replace('-', '')}T135009"
    product = f"S2B_MSIL2A_{stamp}_R024_T{TILE}_20240801T170000"
    root = f"https://sentinel2l2a01.blob.core.windows.net/sentinel2-l2/21/M/VN/{product}"
    assets: dict[str, Any] = {}
    for code, (_, common, gsd) in _BANDS.items():
        assets[code] = {
            "href": f"{root}/R{gsd}m/T{TILE}_{stamp}_{code}_{gsd}m.tif",
            "type": COG,
            "roles": ["data"],
            "gsd": gsd,
            "eo:bands": [{"name": code, "common_name": common}],
            **_asset_grid(gsd),
        }
    assets["SCL"] = {
        "href": f"{root}/SCL_20m.tif",
        "type": COG,
        "roles": ["data"],
        **_asset_grid(20),
    }
    assets["WVP"] = {
        "href": f"{root}/WVP_10m.tif",
        "type": COG,
        "roles": ["data"],
        **_asset_grid(10),
    }
    assets["visual"] = _picture(f"{root}/TCI_10m.tif")
    assets["tilejson"] = {"href": "https://example.test/tilejson.json", "type": "application/json"}
    item = _frame(product, "sentinel-2-l2a", day, assets)
    item["properties"] |= {
        "proj:epsg": EPSG,
        "platform": "Sentinel-2B",
        "constellation": "Sentinel 2",
        "s2:mgrs_tile": TILE,
        "s2:product_type": "S2MSI2A",
        "s2:processing_baseline": baseline,
        "s2:datatake_id": f"GS2B_{stamp}_038765_N{baseline}",
        "s2:datastrip_id": _datastrip(stamp, day, baseline),
        "s2:generation_time": f"{day}T17:00:00.000000Z",
        "sat:orbit_state": "descending",
        "eo:cloud_cover": 12.5,
    } | props
    return item


def planetary_computer_rtc(day: str = "2024-08-01", **props: Any) -> Item:
    """`sentinel-1-rtc`: linear power, grid at the item, and still `GRD` as product type."""
    stamp = day.replace("-", "")
    name = f"S1A_IW_GRDH_1SDV_{stamp}T090000_{stamp}T090025_055000_06B3A1_rtc"
    assets = {
        pol: {
            "href": f"https://sentinel1euwestrtc.blob.core.windows.net/grd-rtc/{name}/iw-{pol}.rtc.tiff",
            "type": COG,
            "roles": ["data"],
            "raster:bands": [{"nodata": -32768, "data_type": "float32", "spatial_resolution": 10}],
            "description": "Terrain-corrected gamma naught values",
        }
        for pol in ("vv", "vh")
    }
    item = _frame(name, "sentinel-1-rtc", day, assets)
    del item["properties"]["datetime"]
    item["properties"] |= {
        "datetime": None,
        "start_datetime": f"{day}T09:00:00Z",
        "end_datetime": f"{day}T09:00:25Z",
        "platform": "SENTINEL-1A",
        "constellation": "Sentinel-1",
        "sar:product_type": "GRD",
        "sar:instrument_mode": "IW",
        "sat:orbit_state": "ascending",
        "proj:epsg": EPSG,
        "proj:shape": [20000, 26000],
        "proj:transform": [10.0, 0.0, 350000.0, 0.0, -10.0, 9350000.0, 0.0, 0.0, 1.0],
    } | props
    return item


def cdse_l2a(day: str = "2024-08-01", baseline: str = "05.11", **props: Any) -> Item:
    """`sentinel-2-l2a` of STAC 1.1: `bands`, `proj:code`, each band in several resolutions."""
    stamp = f"{day.replace('-', '')}T135009"
    product = f"S2B_MSIL2A_{stamp}_N{baseline.replace('.', '')}_R024_T{TILE}_20240801T170000"
    root = f"s3://eodata/Sentinel-2/MSI/L2A/2024/08/01/{product}.SAFE/GRANULE/L2A_T{TILE}/IMG_DATA"
    assets: dict[str, Any] = {}
    for code, (_, common, own) in _BANDS.items():
        for gsd in {own, 20, 60} - ({20} if own == 60 and code != "B01" else set()):
            if gsd < own and code != "B01":
                continue
            assets[f"{code}_{gsd}m"] = {
                "href": f"{root}/R{gsd}m/T{TILE}_{stamp}_{code}_{gsd}m.jp2",
                "type": JP2,
                "roles": ["data", "reflectance", f"gsd:{gsd}m"],
                "gsd": gsd,
                "bands": [{"name": code, "eo:common_name": common}],
                "data_type": "uint16",
                "nodata": 0,
                "raster:scale": 0.0001,
                "raster:offset": -0.1,
                "file:size": 90_000_000 // gsd,
                "proj:code": f"EPSG:{EPSG}",
                "auth:refs": ["s3"],
                **_asset_grid(gsd),
            }
    for gsd in (20, 60):
        assets[f"SCL_{gsd}m"] = {
            "href": f"{root}/R{gsd}m/T{TILE}_{stamp}_SCL_{gsd}m.jp2",
            "type": JP2,
            "roles": ["data"],
            "data_type": "uint8",
            "nodata": 0,
            "proj:code": f"EPSG:{EPSG}",
            **_asset_grid(gsd),
        }
    # Stated for every asset alike, also where it means nothing.
    assets["AOT_10m"] = assets["B04_10m"] | {"href": f"{root}/R10m/AOT.jp2", "roles": ["data"]}
    del assets["AOT_10m"]["bands"]
    assets["TCI_10m"] = _picture(f"{root}/R10m/TCI_10m.jp2") | {"type": JP2}
    item = _frame(product, "sentinel-2-l2a", day, assets) | {"stac_version": "1.1.0"}
    item["properties"] |= {
        "platform": "sentinel-2b",
        "constellation": "sentinel-2",
        "grid:code": f"MGRS-{TILE}",
        "product:type": "S2MSI2A",
        "processing:level": "L2",
        "processing:version": baseline,
        "processing:datetime": f"{day}T17:00:00.000000Z",
        "eopf:datatake_id": f"GS2B_{stamp}_038765_N{baseline}",
        "eopf:datastrip_id": _datastrip(stamp, day, baseline),
        "sat:orbit_state": "descending",
        "eo:cloud_cover": 12.5,
    } | props
    return item


def collection(name: str, items: list[Item]) -> Item:
    """A collection with the extents of its items."""
    boxes = [item["bbox"] for item in items]
    days = sorted(_moment(item).isoformat() for item in items)
    whole = [
        *(min(b[k] for b in boxes) for k in (0, 1)),
        *(max(b[k] for b in boxes) for k in (2, 3)),
    ]
    return {
        "type": "Collection",
        "stac_version": "1.0.0",
        "id": name,
        "description": name,
        "license": "other",
        "extent": {
            "spatial": {"bbox": [whole]},
            "temporal": {"interval": [[days[0], days[-1]]]},
        },
        "links": [],
    }


def moved(item: Item, west: float, south: float) -> Item:
    """The item with another outline; its grid stays."""
    return item | {"geometry": _square(west, south), "bbox": [west, south, west + 1, south + 1]}


def _moment(item: Item) -> dt.datetime:
    props = item["properties"]
    return dt.datetime.fromisoformat(props["datetime"] or props["start_datetime"])


def _square(west: float, south: float) -> dict[str, Any]:
    ring = [
        [west, south],
        [west + 1, south],
        [west + 1, south + 1],
        [west, south + 1],
        [west, south],
    ]
    return {"type": "Polygon", "coordinates": [ring]}


def _compact(day: str) -> str:
    return f"{day.replace('-', '')}T135009"


def _datastrip(stamp: str, day: str, baseline: str) -> str:
    start = f"{day.replace('-', '')}T135011"
    return f"S2B_OPER_MSI_L2A_DS_2BPS_{stamp}_S{start}_N{baseline}"


def _frame(name: str, collection_id: str, day: str, assets: dict[str, Any]) -> Item:
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": [],
        "id": name,
        "collection": collection_id,
        "geometry": OUTLINE,
        "bbox": BBOX,
        "properties": {"datetime": f"{day}T13:50:09.024000Z"},
        "links": [
            {
                "rel": "self",
                "href": f"https://catalogue.test/v1/collections/{collection_id}/items/{name}",
                "type": "application/geo+json",
            }
        ],
        "assets": assets,
    }


def _earth_search(day: str, baseline: str, collection_id: str, name: str) -> Item:
    item = _frame(name, collection_id, day, {})
    stamp = _compact(day)
    item["properties"] |= {
        "platform": "sentinel-2b",
        "constellation": "sentinel-2",
        "proj:epsg": EPSG,
        "mgrs:utm_zone": 21,
        "mgrs:latitude_band": "M",
        "mgrs:grid_square": "VN",
        "grid:code": f"MGRS-{TILE}",
        "s2:product_type": "S2MSI2A",
        "s2:processing_baseline": baseline,
        "s2:datatake_id": f"GS2B_{stamp}_038765_N{baseline}",
        "s2:datastrip_id": _datastrip(stamp, day, baseline),
        "s2:generation_time": f"{day}T17:00:00.000000Z",
        "eo:cloud_cover": 12.5,
    }
    return item


def _earth_search_asset(href: str, code: str, common: str, gsd: int) -> dict[str, Any]:
    return {
        "href": href,
        "type": COG,
        "roles": ["data", "reflectance"],
        "gsd": gsd,
        "eo:bands": [{"name": code, "common_name": common}],
        "raster:bands": [{"nodata": 0, "data_type": "uint16", "spatial_resolution": gsd}],
        **_asset_grid(gsd),
    }


def _asset_grid(gsd: int) -> dict[str, Any]:
    side = 109_800 // gsd
    return {"proj:shape": [side, side], "proj:transform": [gsd, 0, LEFT, 0, -gsd, TOP]}


def _classes(href: str) -> dict[str, Any]:
    band = {"nodata": 0, "data_type": "uint8", "spatial_resolution": 20}
    return {"href": href, "type": COG, "roles": ["data"], "raster:bands": [band], **_asset_grid(20)}


def _picture(href: str) -> dict[str, Any]:
    bands = [{"name": code, "common_name": _BANDS[code][1]} for code in ("B04", "B03", "B02")]
    return {"href": href, "type": COG, "roles": ["visual"], "eo:bands": bands, **_asset_grid(10)}
