"""STAC metadata as real catalogues write it, around the files of a phantom series.

Fields follow items that the catalogues served: Planetary Computer `sentinel-2-l2a` (items of
2020) and `sentinel-1-rtc`, Earth Search v1 `sentinel-2-l2a` (items of 2023), `sentinel-2-c1-l2a`
and `sentinel-2-l1c`. Fields that no reader of pixels needs are left out.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pystac
import shapely
from odc.geo.geobox import GeoBox
from shapely.geometry.base import BaseGeometry

from sluice.base.errors import ConfigError
from sluice.base.sensors import SENSORS, Band
from sluice.phantom.radar import RadarPass
from sluice.phantom.write import FICTION

RADAR_NODATA = -32768
_EXTENSION = "https://stac-extensions.github.io/"
_BASELINES = (
    (dt.date(2024, 7, 23), "05.11"),
    (dt.date(2023, 12, 13), "05.10"),
    (dt.date(2022, 12, 6), "05.09"),
    (dt.date(2022, 1, 25), "04.00"),
)
_ORBIT = 24
_EARTH_SEARCH_KEYS = {"rededge071": "rededge1", "rededge075": "rededge2", "rededge078": "rededge3"}
# Planetary Computer repeats `rededge` for several bands, and leaves B09 without a name.
_STAC_COMMON_NAMES = {"rededge071": "rededge", "rededge075": "rededge", "rededge078": "rededge"}


@dataclass(frozen=True)
class Flavour:
    """How one catalogue writes its surface reflectance."""

    name: str
    collection: str
    offset_removed: bool
    """The catalogue took the 1,000 counts of newer baselines off before it stored the pixels."""
    reprocessed: bool
    """Everything was processed anew with baseline 05.00 or later."""


FLAVOURS = {
    flavour.name: flavour
    for flavour in (
        Flavour("planetary-computer", "sentinel-2-l2a", offset_removed=False, reprocessed=False),
        Flavour("earth-search", "sentinel-2-l2a", offset_removed=True, reprocessed=False),
        Flavour("earth-search-c1", "sentinel-2-c1-l2a", offset_removed=False, reprocessed=True),
    )
}
L1C_COLLECTION = "sentinel-2-l1c"
RTC_COLLECTION = "sentinel-1-rtc"


def find_flavour(name: str) -> Flavour:
    """Look a flavour up.

    Raises:
        ConfigError: No such flavour; the message lists those there are.
    """
    if name not in FLAVOURS:
        raise ConfigError(f"flavour {name!r} is not known; use one of {', '.join(FLAVOURS)}")
    return FLAVOURS[name]


def processing_baseline(day: dt.date, *, reprocessed: bool = False) -> str:
    """Baseline of products made on the day, `03.01` before 25 January 2022.

    Args:
        day: Of the acquisition.
        reprocessed: As Collection 1, where baseline 05.00 is the oldest.
    """
    baseline = next((name for since, name in _BASELINES if day >= since), "03.01")
    return max(baseline, "05.00") if reprocessed else baseline


def added_counts(baseline: str) -> int:
    """Counts that products of a baseline add to reflectance x 10,000."""
    return 1000 if baseline >= "04.00" else 0


@dataclass(frozen=True)
class Granule:
    """One Sentinel-2 product: a date on a tile."""

    tile: str
    """`21MXN`."""
    acquired_at: dt.datetime
    number: int
    """Of the date in its series."""
    baseline: str
    geobox: GeoBox
    """10 m grid."""
    scl_hw: np.ndarray
    """(H, W) as delivered, 0 where there is no data."""

    @property
    def satellite(self) -> str:
        """`S2A` and `S2B` in turn."""
        return "S2A" if self.number % 2 == 0 else "S2B"

    def product(self, level: str, *, with_baseline: bool) -> str:
        """The product's name: `S2A_MSIL2A_20211105T134211_N0301_R024_T21MXN_20211105T181500`."""
        middle = f"_N{self.baseline.replace('.', '')}" if with_baseline else ""
        made = f"{self.acquired_at:%Y%m%d}T{181500 if level == 'L2A' else 164500}"
        start = f"{self.satellite}_MSI{level}_{self._moment}{middle}"
        return f"{start}_R{_ORBIT:03d}_T{self.tile}_{made}"

    def item_id(self, level: str, flavour: Flavour) -> str:
        """The item's name in a catalogue."""
        if level == "L1C" or flavour.name == "earth-search":
            return f"{self.satellite}_{self.tile}_{self.acquired_at:%Y%m%d}_0_{level}"
        if flavour.name == "earth-search-c1":
            return f"{self.satellite}_T{self.tile}_{self._moment}_{level}"
        return self.product(level, with_baseline=False)

    @property
    def datatake(self) -> str:
        """Names the overpass: the same for each tile and level of it, but for the baseline."""
        orbit = 33_200 + self.acquired_at.toordinal() - 738_000
        return f"G{self.satellite}_{self._moment}_{orbit:06d}_N{self.baseline}"

    @property
    def _moment(self) -> str:
        return f"{self.acquired_at:%Y%m%dT%H%M%S}"


def sentinel_2_item(
    granule: Granule,
    files: Mapping[str, Path],
    flavour: Flavour,
    *,
    level: str = "L2A",
    misstated: bool = False,
) -> pystac.Item:
    """An item for one product.

    Args:
        granule: The product.
        files: By common name, and `scl`.
        flavour: The catalogue; L1C is always written as Earth Search writes it.
        level: `L2A` or `L1C`.
        misstated: The item claims the contrary of what was done to the pixels' offset, as some
            do. Earth Search's surface reflectance only.
    """
    planetary = level == "L2A" and flavour.name == "planetary-computer"
    properties = _planetary_properties(granule) if planetary else _earth_properties(granule, level)
    if level == "L2A" and flavour.offset_removed:
        removed = added_counts(granule.baseline) > 0
        properties["earthsearch:boa_offset_applied"] = removed != misstated
    item = _item(
        granule.item_id(level, flavour),
        granule.geobox,
        granule.acquired_at,
        properties,
        ["eo/v1.0.0", "sat/v1.0.0", "projection/v1.0.0"]
        if planetary
        else ["eo/v1.1.0", "grid/v1.1.0", "mgrs/v1.0.0", "projection/v1.1.0", "raster/v1.1.0"],
    )
    for name, path in files.items():
        band = None if name == "scl" else SENSORS[f"s2-{level.lower()}"].band(name)
        if planetary:
            asset = _planetary_asset(band, granule.geobox, path)
        else:
            offset = -added_counts(granule.baseline) / 10_000
            asset = _earth_asset(band, granule.geobox, path, offset)
            if flavour.name == "earth-search-c1":
                asset.extra_fields["file:size"] = path.stat().st_size
        item.add_asset(asset_key(name, planetary=planetary), asset)
    return item


def asset_key(name: str, *, planetary: bool) -> str:
    """What a catalogue calls a band: `B05` or `rededge1`, `SCL` or `scl`."""
    if name == "scl":
        return "SCL" if planetary else "scl"
    if planetary:
        return SENSORS["s2-l2a"].band(name).name
    return _EARTH_SEARCH_KEYS.get(name, name)


def radar_item(
    flown: RadarPass, geobox: GeoBox, outline: BaseGeometry, files: Mapping[str, Path]
) -> pystac.Item:
    """An item of Planetary Computer's `sentinel-1-rtc`.

    Args:
        flown: The pass.
        geobox: Of the files.
        outline: What was seen, in the geobox's CRS.
        files: By polarisation, `vv` and `vh`.
    """
    begin = flown.acquired_at - dt.timedelta(seconds=12)
    end = begin + dt.timedelta(seconds=25)
    orbit = 40_000 + flown.acquired_at.toordinal() - 738_000
    stem = f"S1A_IW_GRDH_1SDV_{begin:%Y%m%dT%H%M%S}_{end:%Y%m%dT%H%M%S}_{orbit:06d}_04CB6E"
    properties = {
        "platform": "SENTINEL-1A",
        "constellation": "Sentinel-1",
        "start_datetime": _stamp(begin),
        "end_datetime": _stamp(end),
        "proj:epsg": _epsg(geobox),
        "proj:bbox": list(geobox.boundingbox.bbox),
        "proj:shape": list(geobox.shape.yx),
        "proj:transform": list(geobox.affine)[:6],
        "sar:frequency_band": "C",
        "sar:center_frequency": 5.405,
        "sar:instrument_mode": "IW",
        "sar:polarizations": ["VV", "VH"],
        "sar:product_type": "GRD",
        "sar:observation_direction": "right",
        "sat:orbit_state": flown.orbit_state,
        "sat:relative_orbit": flown.relative_orbit,
        "sat:absolute_orbit": orbit,
        "s1:processing_level": "1",
    }
    extensions = ["sar/v1.0.0", "sat/v1.0.0", "projection/v1.0.0", "raster/v1.0.0", "file/v2.1.0"]
    moment = flown.acquired_at
    item = _item(f"{stem}_rtc", geobox, moment, properties, extensions, outline=outline)
    received = {"vv": "vertical", "vh": "horizontal"}
    for name, path in files.items():
        asset = pystac.Asset(
            path.as_posix(),
            title=f"{name.upper()}: vertical transmit, {received[name]} receive",
            description="Terrain-corrected gamma naught values of signal transmitted with "
            f"vertical polarization and received with {received[name]} polarization with "
            "radiometric terrain correction applied.",
            media_type=pystac.MediaType.COG,
            roles=["data"],
            extra_fields={
                "file:size": path.stat().st_size,
                "raster:bands": [
                    {"nodata": RADAR_NODATA, "data_type": "float32", "spatial_resolution": 10.0}
                ],
                "sar:polarizations": [name.upper()],
            },
        )
        item.add_asset(name, asset)
    return item


def _item(
    item_id: str,
    geobox: GeoBox,
    moment: dt.datetime,
    properties: dict[str, Any],
    extensions: list[str],
    *,
    outline: BaseGeometry | None = None,
) -> pystac.Item:
    ground = shapely.box(*geobox.boundingbox.bbox) if outline is None else outline
    lonlat = gpd.GeoSeries([ground], crs=str(geobox.crs)).to_crs("EPSG:4326").iloc[0]
    return pystac.Item(
        id=item_id,
        geometry=shapely.geometry.mapping(lonlat),
        bbox=list(lonlat.bounds),
        datetime=moment,
        properties={"description": FICTION, **properties},
        stac_extensions=[f"{_EXTENSION}{name}/schema.json" for name in extensions],
    )


def _planetary_properties(granule: Granule) -> dict[str, Any]:
    return {
        "platform": f"Sentinel-{granule.satellite[1:]}",
        "constellation": "Sentinel 2",
        "instruments": ["msi"],
        "proj:epsg": _epsg(granule.geobox),
        "s2:mgrs_tile": granule.tile,
        "s2:datatake_id": granule.datatake,
        "s2:product_uri": f"{granule.product('L2A', with_baseline=True)}.SAFE",
        "s2:product_type": "S2MSI2A",
        "s2:processing_baseline": granule.baseline,
        "sat:orbit_state": "descending",
        "sat:relative_orbit": _ORBIT,
        **_percentages(granule.scl_hw),
    }


def _earth_properties(granule: Granule, level: str) -> dict[str, Any]:
    return {
        "platform": f"sentinel-{granule.satellite[1:].lower()}",
        "constellation": "sentinel-2",
        "instruments": ["msi"],
        "proj:epsg": _epsg(granule.geobox),
        "mgrs:utm_zone": int(granule.tile[:2]),
        "mgrs:latitude_band": granule.tile[2],
        "mgrs:grid_square": granule.tile[3:],
        "grid:code": f"MGRS-{granule.tile}",
        "s2:sequence": "0",
        "s2:datatake_id": granule.datatake,
        "s2:product_uri": f"{granule.product(level, with_baseline=True)}.SAFE",
        "s2:product_type": "S2MSI2A" if level == "L2A" else "S2MSI1C",
        "s2:processing_baseline": granule.baseline,
        **(
            _percentages(granule.scl_hw)
            if level == "L2A"
            else {"eo:cloud_cover": _percentages(granule.scl_hw)["eo:cloud_cover"]}
        ),
    }


def _percentages(scl_hw: np.ndarray) -> dict[str, float]:
    """What the classification adds up to, in percent of the pixels with data."""
    counts = np.bincount(scl_hw.ravel(), minlength=12)
    seen = max(1, int(counts[1:].sum()))

    def percent(*classes: int) -> float:
        return round(100 * float(sum(counts[k] for k in classes)) / seen, 6)

    return {
        "eo:cloud_cover": percent(8, 9, 10),
        "s2:nodata_pixel_percentage": round(100 * float(counts[0]) / scl_hw.size, 6),
        "s2:cloud_shadow_percentage": percent(3),
        "s2:vegetation_percentage": percent(4),
        "s2:not_vegetated_percentage": percent(5),
        "s2:water_percentage": percent(6),
        "s2:medium_proba_clouds_percentage": percent(8),
        "s2:high_proba_clouds_percentage": percent(9),
        "s2:thin_cirrus_percentage": percent(10),
    }


def _planetary_asset(band: Band | None, geobox: GeoBox, path: Path) -> pystac.Asset:
    fields: dict[str, Any] = {"gsd": 20.0 if band is None else band.gsd_m}
    if band is not None:
        named: dict[str, Any] = {"name": band.name, "center_wavelength": band.wavelength_um}
        if band.name != "B09":
            named["common_name"] = _STAC_COMMON_NAMES.get(band.common_name, band.common_name)
        if band.name == "B8A":
            named["common_name"] = "rededge"
        fields["eo:bands"] = [named]
    fields["proj:bbox"] = list(geobox.boundingbox.bbox)
    fields |= _projection(geobox, fields["gsd"])
    title = "Scene classfication map (SCL)" if band is None else f"Band {band.name[1:]}"
    return pystac.Asset(
        path.as_posix(),
        title=title,
        media_type=pystac.MediaType.COG,
        roles=["data"],
        extra_fields=fields,
    )


def _earth_asset(band: Band | None, geobox: GeoBox, path: Path, offset: float) -> pystac.Asset:
    gsd = 20.0 if band is None else band.gsd_m
    stored: dict[str, Any] = {
        "nodata": 0,
        "data_type": "uint8" if band is None else "uint16",
        "spatial_resolution": gsd,
    }
    fields: dict[str, Any] = {}
    if band is not None:
        key = _EARTH_SEARCH_KEYS.get(band.common_name, band.common_name)
        common = _STAC_COMMON_NAMES.get(band.common_name, band.common_name)
        named = {"name": key, "common_name": common, "center_wavelength": band.wavelength_um}
        fields = {"eo:bands": [named], "gsd": gsd}
        stored |= {"bits_per_sample": 15, "scale": 0.0001, "offset": offset or 0}
    title = "Scene classification map (SCL)" if band is None else f"{band.common_name} {band.name}"
    return pystac.Asset(
        path.as_posix(),
        title=title,
        media_type=pystac.MediaType.COG,
        roles=["data", "reflectance"],
        extra_fields={**fields, **_projection(geobox, gsd), "raster:bands": [stored]},
    )


def _projection(geobox: GeoBox, gsd_m: float) -> dict[str, Any]:
    size = round(gsd_m / 10)
    height, width = geobox.shape.yx
    a = geobox.affine
    return {
        "proj:shape": [height // size, width // size],
        "proj:transform": [float(gsd_m), 0.0, a.c, 0.0, -float(gsd_m), a.f],
    }


def _epsg(geobox: GeoBox) -> int | None:
    return None if geobox.crs is None else geobox.crs.epsg


def _stamp(moment: dt.datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
