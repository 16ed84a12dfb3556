"""Google's public bucket of Sentinel-2: top-of-atmosphere products, free and without a key.

Products are found by listing the bucket by tile. Google also offers an index, `index.csv.gz`:
a table of all products of the world, over 1 GB in one compressed file without order, of which
each search would have to read the whole; and it has gaps. A tile's listing takes one or two
requests, and holds what is there at this moment.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import quote

import shapely
from odc.geo.geobox import GeoBox
from shapely.affinity import translate
from shapely.geometry.base import BaseGeometry

from sluice.base.errors import (
    AssetReadError,
    ConfigError,
    ItemNotFound,
    RateLimited,
    SourceError,
    SourceUnavailable,
)
from sluice.base.periods import Period
from sluice.base.polygons import mend
from sluice.base.records import LeftOut, Scene
from sluice.base.sensors import find_sensor
from sluice.imagery.assets import Asset
from sluice.imagery.catalogue import Found
from sluice.imagery.http_get import HttpGet
from sluice.imagery.names import Sentinel2Name, read_sentinel2_name
from sluice.imagery.remote import RemoteAccess, public_address
from sluice.imagery.safe import SafeMetadata, parse_safe_metadata, read_tile_grids
from sluice.imagery.scenes import SceneFiles
from sluice.imagery.sentinel2_tiles import tiles_over

T = TypeVar("T")
R = TypeVar("R")

GOOGLE = "https://storage.googleapis.com"
BUCKET = "gcp-public-data-sentinel-2"
_WORKERS = 8
_MAX_PAGES = 100
_METADATA = "MTD_MSIL1C.xml"
_IMAGE = re.compile(r"GRANULE/(?P<granule>[^/]+)/IMG_DATA/[^/]+_(?P<band>B\d[0-9A])\.jp2")
# The second is its name in products of 2016 that were processed again before they were renamed.
_TILE_METADATA = re.compile(r"GRANULE/[^/]+/(MTD_TL|S2[A-D]_OPER_MTD_L1C_TL_[^/]+)\.xml")
_OLD_NAME = re.compile(r"S2[A-D]_OPER_PRD_MSIL1C_.*_V(\d{8})T")
# Outlines are simplified.
_OUTLINE_MARGIN_DEGREES = 0.01


@dataclass(frozen=True)
class _Product:
    """A product in the bucket."""

    folder: str
    """With a slash at its end."""
    name: Sentinel2Name

    @property
    def id(self) -> str:
        return self.folder.rstrip("/").rpartition("/")[2].removesuffix(".SAFE")


@dataclass(frozen=True)
class _Contents:
    """What a product holds."""

    product: _Product
    safe: SafeMetadata
    images: dict[str, tuple[str, int | None]]
    """By provider's band name: object and size."""
    granule: str
    tile_metadata: str


@dataclass
class _Search:
    """One search, and what was left out in it."""

    bucket: GoogleBucket
    http: HttpGet
    left_out: list[LeftOut] = field(default_factory=list)
    last_fault: SourceError | None = None
    """Of a product that may be read another time."""

    def leave_out(self, folder: str, reason: str) -> None:
        folder = folder.rstrip("/")
        scene_id = folder.rpartition("/")[2].removesuffix(".SAFE")
        href = public_address(self.bucket.address(folder))
        self.left_out.append(LeftOut(scene_id=scene_id, href=href, reason=reason))


@dataclass(frozen=True)
class GoogleBucket:
    """Sentinel-2 L1C in Google's bucket, as a catalogue; its images are JP2."""

    access: RemoteAccess = field(default_factory=RemoteAccess)
    base_url: str = GOOGLE
    bucket: str = BUCKET

    def find(self, area: BaseGeometry, period: Period, bands: Sequence[str]) -> Found:
        """See `Catalogue.find`.

        Costs one or two requests for each tile, and two small ones for each product. Scenes have
        no cloud layer (see `pairing.lend_sky`).
        """
        sensor = find_sensor("s2-l1c")
        unknown = [band for band in bands if not sensor.has_band(band)]
        if unknown:
            raise ConfigError(
                f"Google's bucket holds Sentinel-2 L1C, which has no {', '.join(unknown)}; choose "
                "another --source"
            )
        with (
            closing(HttpGet(self.access)) as http,
            ThreadPoolExecutor(_WORKERS, thread_name_prefix="google") as pool,
        ):
            search = _Search(self, http)
            tiles = tiles_over(area)
            listings = pool.map(lambda tile: list(self._folders(http, tile)), tiles)
            folders = [folder for listing in listings for folder in listing]
            products = _newest(_of_period(folders, period, search), search)

            def look(product: _Product) -> _Contents | SourceError | None:
                return _fault_or(lambda: self._look_into(http, product, area))

            looked = zip(products, pool.map(look, products), strict=True)
            contents = _without_repeats(_usable(looked, search), search)
            if search.last_fault is not None and not contents:
                raise search.last_fault
            grids = self._grids_by_tile(contents, search)
        found = []
        for one in contents:
            try:
                found.append(self._scene(one, grids, bands))
            except SourceError as err:
                search.leave_out(one.product.folder, str(err))
        found.sort(key=lambda files: (files.scene.acquired or dt.date.max, files.scene.id))
        return Found(tuple(found), tuple(search.left_out))

    def address(self, name: str) -> str:
        """Where an object lies."""
        return f"{self.base_url}/{self.bucket}/{quote(name)}"

    def _folders(self, http: HttpGet, tile: str) -> Iterator[str]:
        prefix = f"tiles/{tile[:2]}/{tile[2]}/{tile[3:]}/"
        for page in self._pages(http, prefix, delimiter="/", fields="prefixes,nextPageToken"):
            yield from (str(name) for name in page.get("prefixes", ()))

    def _pages(self, http: HttpGet, prefix: str, **params: str) -> Iterator[dict[str, Any]]:
        url = f"{self.base_url}/storage/v1/b/{self.bucket}/o"
        place = public_address(url)
        query = {"prefix": prefix, **params}
        for _ in range(_MAX_PAGES):
            try:
                page = json.loads(http.fetch(url, query))
            except ValueError as err:
                raise SourceUnavailable(
                    f"{place}: answers with something else than a listing ({err}); try again later",
                    href=place,
                ) from err
            if not isinstance(page, dict):
                raise SourceUnavailable(f"{place}: answers with something else than a listing")
            yield page
            token = page.get("nextPageToken")
            if not token:
                return
            query["pageToken"] = str(token)
        raise SourceUnavailable(f"{place}: the listing of {prefix} has no end", href=place)

    def _look_into(self, http: HttpGet, product: _Product, area: BaseGeometry) -> _Contents | None:
        """Read a product's metadata and listing; None where its images do not meet the area."""
        metadata = product.folder + _METADATA
        where = self.address(metadata)
        safe = parse_safe_metadata(http.fetch(where), where)
        if not _imaged(safe, area):
            return None
        images: dict[str, tuple[str, int | None]] = {}
        granules, tile_metadata = set(), ""
        fields = "items(name,size),nextPageToken"
        for page in self._pages(http, f"{product.folder}GRANULE/", fields=fields):
            for item in page.get("items", ()):
                name = str(item.get("name", ""))
                inside = name.removeprefix(product.folder)
                image = _IMAGE.fullmatch(inside)
                if image is not None:
                    size = item.get("size")
                    images[image["band"]] = name, int(size) if size else None
                    granules.add(image["granule"])
                elif _TILE_METADATA.fullmatch(inside):
                    tile_metadata = name
        if len(granules) != 1 or not tile_metadata:
            raise AssetReadError(
                f"{self.address(product.folder)}: holds {len(granules)} granules with images and "
                f"{'a' if tile_metadata else 'no'} MTD_TL.xml, not one of each; it is not whole"
            )
        return _Contents(product, safe, images, granules.pop(), tile_metadata)

    def _grids_by_tile(
        self, contents: Sequence[_Contents], search: _Search
    ) -> dict[str, dict[int, GeoBox] | SourceError]:
        """Grids by tile and pixel size in metres: all products of a tile share them."""
        grids: dict[str, dict[int, GeoBox] | SourceError] = {}
        for one in contents:
            tile = one.product.name.tile
            if isinstance(grids.get(tile), dict):
                continue
            where = self.address(one.tile_metadata)

            def read(where: str = where) -> dict[int, GeoBox]:
                return read_tile_grids(search.http.fetch(where), where)

            grids[tile] = _fault_or(read)
        return grids

    def _scene(
        self,
        contents: _Contents,
        grids: dict[str, dict[int, GeoBox] | SourceError],
        bands: Sequence[str],
    ) -> SceneFiles:
        """Put a scene together.

        Raises:
            SourceError: A band, the grid or the radiometry is lacking.
        """
        product, safe = contents.product, contents.safe
        by_size = grids[product.name.tile]
        if isinstance(by_size, SourceError):
            raise by_size
        assets: dict[str, Asset] = {}
        for band in safe.sensor.bands:
            if band.name in contents.images:
                name, size = contents.images[band.name]
                assets[band.common_name] = Asset(
                    href=self.address(name),
                    index=1,
                    description=band.name,
                    geobox=by_size[int(band.gsd_m)],
                    dtype="uint16",
                    nodata=safe.nodata,
                    has_mask=False,
                    scale=safe.scale,
                    offset=safe.offsets.get(band.common_name, 0.0),
                    access=self.access,
                    size_bytes=size,
                )
        _refuse_lacking(product, safe, assets, bands)
        scene = Scene(
            id=product.id,
            href=public_address(self.address(product.folder.rstrip("/"))),
            sensor=safe.sensor.id,
            acquired=safe.acquired,
            acquired_at=safe.acquired_at,
            tile=product.name.tile,
            cloud_cover=safe.cloud_cover,
            processing_baseline=safe.processing_baseline,
            bands=tuple(assets),
            scale=safe.scale,
            offset=next(iter(assets.values())).offset if assets else 0.0,
            radiometry_from=_METADATA,
        )
        return SceneFiles(scene, assets, sky=None)


def _fault_or(call: Callable[[], R]) -> R | SourceError:
    """The result, or the fault of this one product; what would meet all products is raised.

    Raises:
        AuthError, ConfigError: See there.
    """
    try:
        return call()
    except (ItemNotFound, AssetReadError, RateLimited, SourceUnavailable) as err:
        return err


def _of_period(folders: Iterable[str], period: Period, search: _Search) -> Iterator[_Product]:
    """Products of level 1C in a period; those of the old form are left out."""
    for folder in folders:
        short = folder.rstrip("/").rpartition("/")[2]
        name = read_sentinel2_name(short)
        if name is not None and name.sensor_id == "s2-l1c":
            if name.datatake_start.date() in period:
                yield _Product(folder, name)
            continue
        old = _OLD_NAME.match(short)
        if old is not None and _in_period(old[1], period):
            search.leave_out(
                folder,
                "a product of the form used until December 2016, of many tiles in one, which is "
                "not read",
            )


def _in_period(day: str, period: Period) -> bool:
    try:
        return dt.datetime.strptime(day, "%Y%m%d").replace(tzinfo=dt.UTC).date() in period
    except ValueError:
        return False


def _newest(products: Iterable[_Product], search: _Search) -> list[_Product]:
    """Of each look at a tile the products of the latest processing baseline.

    Of one baseline there may be two that are no repeats: parts of the look, received in parts.
    """
    looks: dict[tuple[str, dt.datetime, str], list[_Product]] = {}
    for product in products:
        name = product.name
        looks.setdefault((name.platform, name.datatake_start, name.tile), []).append(product)
    kept = []
    for same in looks.values():
        latest = max(product.name.processing_baseline for product in same)
        for product in same:
            if product.name.processing_baseline == latest:
                kept.append(product)
            else:
                search.leave_out(
                    product.folder, f"processed again since, with baseline {latest}, which is used"
                )
    return kept


def _usable(
    looked: Iterable[tuple[_Product, _Contents | SourceError | None]], search: _Search
) -> list[_Contents]:
    contents = []
    for product, outcome in looked:
        if isinstance(outcome, SourceError):
            search.leave_out(product.folder, str(outcome))
            if isinstance(outcome, RateLimited | SourceUnavailable):
                search.last_fault = outcome
        elif outcome is not None:
            contents.append(outcome)
    return contents


def _without_repeats(contents: Iterable[_Contents], search: _Search) -> list[_Contents]:
    """One product for each granule, the one made last."""
    kept: dict[str, _Contents] = {}
    for one in sorted(contents, key=lambda one: one.product.name.told_apart_by):
        before = kept.get(one.granule)
        if before is not None:
            search.leave_out(before.product.folder, f"delivered again as {one.product.id}")
        kept[one.granule] = one
    return list(kept.values())


def _imaged(safe: SafeMetadata, area: BaseGeometry) -> bool:
    """Whether a product's images meet an area: half a tile may lie beside the satellite's swath."""
    outline = safe.footprint_lonlat
    if len(outline) < 4:
        return True
    # In one piece, where the product lies across 180 degrees.
    first = outline[0][0]
    unrolled = [(first + (lon - first + 180) % 360 - 180, lat) for lon, lat in outline]
    footprint = mend(shapely.Polygon(unrolled)).buffer(_OUTLINE_MARGIN_DEGREES)
    return any(bool(translate(footprint, xoff=turn).intersects(area)) for turn in (0, -360, 360))


def _refuse_lacking(
    product: _Product, safe: SafeMetadata, assets: dict[str, Asset], bands: Sequence[str]
) -> None:
    missing = [band for band in bands if band not in assets]
    if missing:
        raise AssetReadError(f"{product.id}: has no file for {', '.join(missing)}; it is not whole")
    if safe.sensor.id != product.name.sensor_id:
        raise AssetReadError(f"{product.id}: its metadata say {safe.sensor.title}, not L1C")
    without = [band for band in assets if band not in safe.offsets]
    if safe.processing_baseline >= "04.00" and without:
        raise AssetReadError(
            f"{product.id}: of processing baseline {safe.processing_baseline}, and its metadata "
            f"give no RADIO_ADD_OFFSET for {', '.join(without)}; its reflectance is not known"
        )
