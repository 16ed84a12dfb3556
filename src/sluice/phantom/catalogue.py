"""A phantom series as a STAC catalogue on disk, in the manner of a real one."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import geopandas as gpd
import numpy as np
import pandas as pd
import pystac
import shapely
from affine import Affine
from odc.geo import CRS
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning
from rasterio.warp import reproject
from shapely.geometry.base import BaseGeometry

from sluice.base.arrays import ArrayHW
from sluice.base.errors import ConfigError
from sluice.base.files import write_whole
from sluice.base.grid import PixelWindow, utm_grid
from sluice.base.raster import Raster
from sluice.base.sensors import SENSORS
from sluice.phantom.canvas import block_mean
from sluice.phantom.radar import POLARISATIONS, RadarPass, radar_scene, spread_passes
from sluice.phantom.series import PhantomSeries, SeriesScene
from sluice.phantom.stac_items import (
    L1C_COLLECTION,
    RADAR_NODATA,
    RTC_COLLECTION,
    Flavour,
    Granule,
    added_counts,
    find_flavour,
    processing_baseline,
    radar_item,
    sentinel_2_item,
)
from sluice.phantom.write import FICTION, write_cog

Level = Literal["l2a", "l1c", "s1"]
TileLayout = Literal["one", "two", "two-zones"]
ITEMS_FILE, CATALOG_FILE, TRUTH_FILE = "items.json", "catalog.json", "truth.gpkg"

_TILE, _WEST_TILE = "21MXN", "21MWN"
_BORDER_TILES = ("21MZN", "22MAT")
NEAR_ZONE_22_M = (828_000.0, 9_300_000.0)
"""Upper left corner, in EPSG:32721, of a place on the border of UTM zones 21 and 22: for
`build_series`, and then `tiles="two-zones"`."""
_SHARE_OF_TWO = 0.6  # of the landscape's width that each of two tiles covers
_EDGE_EVERY, _BEYOND_SWATH = 3, 0.3

_Listed = tuple[str, pystac.Item]
"""An item and the collection that it belongs to."""


def write_catalogue(
    series: PhantomSeries,
    folder: Path,
    *,
    flavour: str = "planetary-computer",
    base_href: str | None = None,
    bands: Sequence[str] = ("blue", "green", "red", "nir"),
    levels: Sequence[Level] = ("l2a",),
    tiles: TileLayout = "one",
    misstated: Collection[int] = (),
    radar_passes: Sequence[RadarPass] | None = None,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a series' files and the catalogue that lists them.

    Collections are `sentinel-2-l2a` (`sentinel-2-c1-l2a` in the flavour `earth-search-c1`),
    `sentinel-2-l1c` and `sentinel-1-rtc`. Bands are cloud-optimised GeoTIFFs at their own pixel
    size; their counts are those of the products' baseline: newer ones add 1,000, but not where
    the catalogue takes it off (`earth-search`). `truth.gpkg` holds the mines of each date (a
    column `date`) and the confusers. Everything says that the place is fictional.

    Args:
        series: What to write.
        folder: Made where it is missing.
        flavour: `planetary-computer`, `earth-search` or `earth-search-c1`: asset names and
            metadata are as that catalogue writes them.
        base_href: Where the folder will be served; addresses in `items.json` begin with it.
            Without, they are paths on this disk. `catalog.json` is relative throughout.
        bands: Common names; a level that lacks one goes without. L1C gets `cirrus` too.
        levels: `l2a`, `l1c`, `s1`.
        tiles: `one`; `two`, each 60 % of the landscape, with the same pixels where they overlap;
            or `two-zones`, the eastern one resampled to UTM zone 22, see `NEAR_ZONE_22_M`.
        misstated: Dates by number whose items claim the contrary of what was done about the
            offset; flavour `earth-search` only.
        radar_passes: Of `s1`; without, both orbits every twelve days from the first date to the
            last. Every third misses a corner.
        workers: Dates written at a time; the files do not depend on it.
        progress: Told how many dates and passes of how many are done.

    Returns:
        The path of `catalog.json`; `items.json`, an ItemCollection, lies beside it.

    Raises:
        ConfigError: A flavour, level or tile layout that does not exist.
        BandNotFound: A band that Sentinel-2 does not have.
        OSError: The folder cannot be written, or the disk is full.
    """
    # Items name their files by whole paths, or relative to themselves.
    folder = folder.resolve()
    style = find_flavour(flavour)
    if not levels or set(levels) - {"l2a", "l1c", "s1"}:
        raise ConfigError(f"levels are {sorted(levels)}; use some of l2a, l1c, s1")
    if misstated and not style.offset_removed:
        raise ConfigError(f"items of {flavour} claim nothing that could be misstated")
    places = _lay_tiles(series.geobox, tiles)
    optical = range(len(series)) if {"l2a", "l1c"} & set(levels) else range(0)
    passes: Sequence[RadarPass] = ()
    if "s1" in levels:
        passes = radar_passes or spread_passes(series.dates[0], series.dates[-1])

    def write_date(number: int) -> list[_Listed]:
        return _write_sentinel_2(
            series, number, places, folder, style, bands=bands, levels=levels, misstated=misstated
        )

    def write_pass(number: int) -> list[_Listed]:
        beyond = _BEYOND_SWATH * (number % _EDGE_EVERY == 2)
        return [(RTC_COLLECTION, _write_radar(series, passes[number], folder, beyond))]

    jobs: list[Callable[[], list[_Listed]]] = [partial(write_date, n) for n in optical]
    jobs += [partial(write_pass, number) for number in range(len(passes))]
    items: dict[str, list[pystac.Item]] = {}
    for number, written in enumerate(_each(jobs, workers), 1):
        for collection, item in written:
            items.setdefault(collection, []).append(item)
        if progress is not None:
            progress(number, len(jobs))
    _write_truth(series, folder)
    _write_items(items, folder, base_href)
    return _write_catalog(items, folder, style)


def _each(jobs: Sequence[Callable[[], list[_Listed]]], workers: int) -> Iterator[list[_Listed]]:
    """Results of jobs in their order, several of them at work at a time."""
    with warnings.catch_warnings(), ThreadPoolExecutor(max_workers=workers) as pool:
        # rasterio silences it for itself while it works, which threads undo for one another.
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        futures = [pool.submit(job) for job in jobs]
        try:
            yield from (future.result() for future in futures)
        finally:
            for future in futures:
                future.cancel()


def _write_sentinel_2(
    series: PhantomSeries,
    number: int,
    places: Sequence[_Place],
    folder: Path,
    style: Flavour,
    *,
    bands: Sequence[str],
    levels: Collection[Level],
    misstated: Collection[int],
) -> list[_Listed]:
    """Write the scenes of one date; return the items of all tiles and levels."""
    scene = series.scene_at(number, [name for name in bands if name != "cirrus"])
    toa = series.toa_at(number, _with_cirrus(bands)) if "l1c" in levels else None
    items: list[_Listed] = []
    for place in places:
        if "l2a" in levels:
            granule = _granule(scene, place, reprocessed=style.reprocessed)
            home = folder / style.collection / granule.item_id("L2A", style)
            item = _write_l2a(scene, place, granule, home, style, misstated=number in misstated)
            items.append((style.collection, item))
        if toa is not None:
            granule = _granule(scene, place, reprocessed=False)
            home = folder / L1C_COLLECTION / granule.item_id("L1C", style)
            items.append((L1C_COLLECTION, _write_l1c(toa, place, granule, home, style)))
    return items


def _with_cirrus(bands: Sequence[str]) -> list[str]:
    return list(dict.fromkeys([*bands, "cirrus"]))


@dataclass(frozen=True)
class _Place:
    """A tile's part of the landscape."""

    tile: str
    geobox: GeoBox
    window: PixelWindow | None
    """Where it lies in the landscape's grid; None where it has another CRS."""

    def cut(self, image_hw: np.ndarray, whole: GeoBox, *, nearest: bool) -> ArrayHW:
        """The tile's pixels, float32, NaN where there are none."""
        if self.window is not None:
            return image_hw[self.window.slices].astype(np.float32)
        out = np.full(self.geobox.shape.yx, np.nan, dtype=np.float32)
        reproject(
            image_hw.astype(np.float32),
            out,
            src_transform=whole.affine,
            src_crs=str(whole.crs),
            dst_transform=self.geobox.affine,
            dst_crs=str(self.geobox.crs),
            src_nodata=np.nan,
            dst_nodata=np.nan,
            resampling=Resampling.nearest if nearest else Resampling.bilinear,
        )
        return out


def _lay_tiles(geobox: GeoBox, layout: str) -> list[_Place]:
    height, width = geobox.shape.yx
    if layout == "one":
        return [_Place(_TILE, geobox, PixelWindow(0, 0, height, width))]
    # Tiles begin and end between pixels of 60 m.
    part = 6 * round(_SHARE_OF_TWO * width / 6)
    west = PixelWindow(0, 0, height, part)
    east = PixelWindow(0, width - part, height, part)
    if layout == "two":
        names = (_WEST_TILE, _TILE)
        return [_Place(n, w.of(geobox), w) for n, w in zip(names, (west, east), strict=True)]
    if layout == "two-zones":
        zone_22 = CRS("EPSG:32722")
        ground = shapely.box(*east.of(geobox).boundingbox.bbox)
        box = gpd.GeoSeries([ground], crs=str(geobox.crs)).to_crs(str(zone_22)).total_bounds
        other = utm_grid(tuple(box), zone_22, 60.0)
        fine = GeoBox(
            (other.shape.y * 6, other.shape.x * 6),
            Affine(10, 0, other.affine.c, 0, -10, other.affine.f),
            zone_22,
        )
        return [
            _Place(_BORDER_TILES[0], west.of(geobox), west),
            _Place(_BORDER_TILES[1], fine, None),
        ]
    raise ConfigError(f"tiles is {layout!r}; use one, two or two-zones")


def _granule(scene: SeriesScene, place: _Place, *, reprocessed: bool) -> Granule:
    scl = place.cut(scene.scl_hw, scene.raster.geobox, nearest=True)
    return Granule(
        tile=place.tile,
        acquired_at=scene.acquired_at,
        number=scene.index,
        baseline=processing_baseline(scene.acquired_at.date(), reprocessed=reprocessed),
        geobox=place.geobox,
        scl_hw=np.nan_to_num(scl).astype(np.uint8),
    )


def _write_l2a(
    scene: SeriesScene,
    place: _Place,
    granule: Granule,
    home: Path,
    style: Flavour,
    *,
    misstated: bool,
) -> pystac.Item:
    added = 0 if style.offset_removed else added_counts(granule.baseline)
    files = _write_bands(scene.raster, place, granule, home, added)
    files["scl"] = home / "SCL.tif"
    _write(files["scl"], granule.scl_hw[::2, ::2], granule, 2, 0)
    return sentinel_2_item(granule, files, style, misstated=misstated)


def _write_l1c(
    raster: Raster, place: _Place, granule: Granule, home: Path, style: Flavour
) -> pystac.Item:
    files = _write_bands(raster, place, granule, home, added_counts(granule.baseline))
    return sentinel_2_item(granule, files, style, level="L1C")


def _write_bands(
    raster: Raster, place: _Place, granule: Granule, home: Path, added: int
) -> dict[str, Path]:
    files = {}
    for name in raster.bands:
        band = SENSORS["s2-l1c"].band(name)
        size = round(band.gsd_m / 10)
        image = block_mean(place.cut(raster.band(name), raster.geobox, nearest=False), size)
        counts = np.clip(np.rint(image * 10_000) + added, 1, 65535)
        files[name] = home / f"{band.name}.tif"
        _write(files[name], np.nan_to_num(counts).astype(np.uint16), granule, size, 0)
    return files


def _write(path: Path, image_hw: np.ndarray, granule: Granule, size: int, nodata: float) -> None:
    a = granule.geobox.affine
    transform = Affine(10 * size, 0, a.c, 0, -10 * size, a.f)
    grid = GeoBox(image_hw.shape, transform, granule.geobox.crs)
    tags = {"TIFFTAG_DATETIME": f"{granule.acquired_at:%Y:%m:%d %H:%M:%S}"}
    write_cog(path, image_hw, grid, nodata=nodata, tags=tags)


def _write_radar(
    series: PhantomSeries, flown: RadarPass, folder: Path, beyond: float
) -> pystac.Item:
    scene = radar_scene(series, flown, beyond_swath=beyond)
    stem = f"{flown.acquired_at:%Y%m%dT%H%M%S}"
    files = {}
    for name, image in zip(POLARISATIONS, scene.gamma0_bhw, strict=True):
        files[name] = folder / RTC_COLLECTION / stem / "measurement" / f"iw-{name}.rtc.tiff"
        stored = np.where(np.isfinite(image), image, np.float32(RADAR_NODATA))
        tags = {"TIFFTAG_DATETIME": f"{flown.acquired_at:%Y:%m:%d %H:%M:%S}"}
        write_cog(files[name], stored, scene.geobox, nodata=RADAR_NODATA, tags=tags)
    outline = _without_corner(scene.geobox, beyond)
    return radar_item(flown, scene.geobox, outline, files)


def _without_corner(geobox: GeoBox, beyond: float) -> BaseGeometry:
    """Outline of a grid without a share of its upper and left side."""
    left, bottom, right, top = geobox.boundingbox.bbox
    corner = shapely.Polygon(
        [
            (left, top),
            (left + beyond * (right - left), top),
            (left, top - beyond * (top - bottom)),
        ]
    )
    return shapely.box(left, bottom, right, top).difference(corner)


def _write_truth(series: PhantomSeries, folder: Path) -> None:
    frames = [series.mines_at(day).assign(date=day.isoformat()) for day in series.dates]
    mines = gpd.GeoDataFrame(pd.concat(frames, ignore_index=True), crs=str(series.geobox.crs))
    with write_whole(folder / TRUTH_FILE) as part:
        for layer, frame in (("mines", mines), ("confusers", series.confusers)):
            options = {"DESCRIPTION": FICTION}
            frame.to_file(part, layer=layer, driver="GPKG", layer_options=options)


def _write_items(items: dict[str, list[pystac.Item]], folder: Path, base_href: str | None) -> None:
    """All items in one file, without links, as a search answers."""
    features = []
    for collection, members in items.items():
        for item in members:
            feature = item.to_dict(include_self_link=False)
            feature |= {"collection": collection, "links": []}
            for asset in feature["assets"].values():
                path = Path(asset["href"])
                if base_href is not None:
                    inside = path.relative_to(folder).as_posix()
                    asset["href"] = f"{base_href.rstrip('/')}/{inside}"
                else:
                    asset["href"] = path.resolve().as_posix()
            features.append(feature)
    document = {"type": "FeatureCollection", "features": features}
    with write_whole(folder / ITEMS_FILE) as part:
        part.write_text(json.dumps(document), encoding="utf-8")


def _write_catalog(items: dict[str, list[pystac.Item]], folder: Path, style: Flavour) -> Path:
    catalog = pystac.Catalog(
        id=f"phantom-{style.name}", title="Phantom series", description=FICTION
    )
    for name, members in items.items():
        collection = pystac.Collection(
            id=name,
            title=f"Phantom {name}",
            description=FICTION,
            extent=pystac.Extent.from_items(members),
            license="other",
        )
        catalog.add_child(collection)
        collection.add_items(members)
    path = folder / CATALOG_FILE
    catalog.normalize_hrefs(folder.resolve().as_posix())
    catalog.make_all_asset_hrefs_relative()
    catalog.save(catalog_type=pystac.CatalogType.SELF_CONTAINED)
    return path
