"""Folders of PlanetScope orders, and of quads of Planet's surface reflectance mosaics (NICFI).

Sources: Planet, "PlanetScope product specification" and docs.planet.com, PSScene (assets, band
order, nodata 0, `cloud_cover` a share of 1) and Usable Data Masks (band 1 `clear`);
support.planet.com, "How is the Surface Reflectance Product provided" (counts are reflectance x
10000) and "How can we interpret image file names"; docs.planet.com, Surface Reflectance Mosaics
(blue, green, red, nir and an alpha band, EPSG:3857).
"""

from __future__ import annotations

import calendar
import datetime as dt
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from shapely.geometry.base import BaseGeometry

from sluice.base.errors import AssetReadError, BandNotFound, ConfigError
from sluice.base.periods import Period
from sluice.base.records import LeftOut, Scene
from sluice.base.sensors import find_sensor
from sluice.imagery.assets import Asset, list_assets
from sluice.imagery.candidates import Candidate, open_each
from sluice.imagery.catalogue import Found
from sluice.imagery.footprints import meets
from sluice.imagery.members import members_of_file
from sluice.imagery.names import band_in_description
from sluice.imagery.scenes import SceneFiles

_SCALE = 1e-4
_SAYS_PLANET = "Planet's specification: counts are reflectance x 10000"
_SUFFIXES = {".tif", ".tiff"}
_MAX_JSON_BYTES = 4 * 2**20
_ID = r"(?P<id>\d{8}_\d{6}(?:_\d{1,2})?_[0-9a-f]{4})"
_SCENE = re.compile(_ID + r"_(?P<level>\d[A-Z])_(?P<product>.+)", re.IGNORECASE)
_METADATA = re.compile(_ID + r"(_.*)?\.json", re.IGNORECASE)
_MONTH = re.compile(r"(?<!\d)((?:19|20)\d{2})[-_](0[1-9]|1[0-2])(?:[-_](\d{2}))?(?!\d)")
_QUARTER = re.compile(r"(?<!\d)((?:19|20)\d{2})q([1-4])(?!\d)", re.IGNORECASE)
_BESIDE_QUADS = frozenset({"ucm", "udm", "udm2", "mask", "provenance"})


@dataclass
class _Order:
    """Files of one scene in one folder."""

    reflectance: list[Path] = field(default_factory=list)
    masks: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)
    metadata: list[Path] = field(default_factory=list)
    """JSON of the scene's properties, or its STAC item."""

    @property
    def first(self) -> Path:
        return (self.reflectance + self.others + self.masks)[0]


@dataclass(frozen=True)
class PlanetScopeFolder:
    """PlanetScope scenes as the Orders API and Explorer deliver them, in folders of any depth.

    A scene is its surface reflectance file (`..._3B_AnalyticMS_SR_8b_clip.tif`) and the usable
    data mask (`..._3B_udm2_clip.tif`) beside it; without a mask it has no cloud layer.
    """

    folder: Path
    sensor: str = "planet"
    """`planet-4b` or `planet-8b`, or `planet` for both."""

    def find(self, area: BaseGeometry, period: Period, bands: Sequence[str]) -> Found:
        """See `Catalogue.find`; of files whose date fits, headers are read."""
        orders, strays = self._sort()
        if not orders:
            raise ConfigError(
                f"{self.folder}: holds no PlanetScope scene; their files are called "
                "20240105_141230_12_24a3_3B_AnalyticMS_SR_8b.tif and the like",
                href=str(self.folder),
            )
        left_out = [
            LeftOut(
                scene_id=path.stem,
                href=str(path),
                reason="its name is not of a PlanetScope scene, so its date and scale are unknown",
            )
            for path in strays
        ]
        candidates: list[Candidate] = []
        for (_, scene_id), order in sorted(orders.items()):
            href = str(order.first)
            acquired_at = _moment_in(scene_id)
            if acquired_at is None:
                reason = f"{scene_id[:15]} in its name is not a date and a time"
                left_out.append(LeftOut(scene_id=scene_id, href=href, reason=reason))
            elif acquired_at.date() in period:
                candidates.append(self._candidate(scene_id, acquired_at, order, area))
        return open_each(candidates, bands, left_out)

    def _sort(self) -> tuple[dict[tuple[str, str], _Order], list[Path]]:
        """Files by folder and scene, and those that belong to none."""
        orders: dict[tuple[str, str], _Order] = {}
        strays = []
        for path in _files(self.folder):
            name = _SCENE.fullmatch(path.stem)
            metadata = _METADATA.fullmatch(path.name)
            if metadata is not None:
                key = str(path.parent), metadata["id"].lower()
                orders.setdefault(key, _Order()).metadata.append(path)
            if path.suffix.lower() not in _SUFFIXES:
                continue
            if name is None:
                strays.append(path)
                continue
            order = orders.setdefault((str(path.parent), name["id"].lower()), _Order())
            tokens = set(name["product"].lower().split("_"))
            # Level 1B is not yet placed on the map, and its mask fits nothing else.
            on_map = not name["level"].startswith("1")
            if "udm" in tokens:
                continue
            if on_map and "udm2" in tokens:
                order.masks.append(path)
            elif on_map and {"analyticms", "sr"} <= tokens and "bandmath" not in tokens:
                order.reflectance.append(path)
            elif "udm2" not in tokens:
                order.others.append(path)
        with_image = {k: order for k, order in orders.items() if order.reflectance or order.others}
        return with_image, strays

    def _candidate(
        self, scene_id: str, acquired_at: dt.datetime, order: _Order, area: BaseGeometry
    ) -> Candidate:
        def open_scene() -> SceneFiles | None:
            image = _choose_reflectance(order, self.sensor)
            return _open_order(scene_id, acquired_at, image, order, area)

        return Candidate(scene_id, str(order.first), open_scene)


@dataclass(frozen=True)
class MosaicFolder:
    """Quads of Planet's mosaics in folders of any depth, one folder or prefix for each mosaic.

    `planet_medres_normalized_analytic_2024-01_mosaic/0567-1023_quad.tif`, and the biannual
    `..._2019-06_2019-11_mosaic`. A mosaic belongs to every period that it overlaps, and counts
    as of its first day. Planet chose its clear pixels; the masks beside quads are not read.
    """

    folder: Path

    def find(self, area: BaseGeometry, period: Period, bands: Sequence[str]) -> Found:
        """See `Catalogue.find`; of files whose date fits, headers are read."""
        quads = self._quads()
        if not quads:
            raise ConfigError(
                f"{self.folder}: holds no quad of a mosaic; they are called 0567-1023_quad.tif "
                "and the like",
                href=str(self.folder),
            )
        left_out: list[LeftOut] = []
        candidates: list[Candidate] = []
        for mosaic, paths in sorted(quads.items()):
            span = span_in_name(mosaic)
            if span is not None and (span.start > period.end or span.end < period.start):
                continue
            reason = _why_no_reflectance(mosaic, span)
            if reason is not None:
                count = f"{len(paths)} files" if len(paths) > 1 else "1 file"
                where = str(paths[0].parent)
                left_out.append(LeftOut(scene_id=mosaic, href=where, reason=f"{reason} ({count})"))
            elif span is not None:
                candidates += (_quad(mosaic, span.start, path, area) for path in paths)
        return open_each(candidates, bands, left_out)

    def _quads(self) -> dict[str, list[Path]]:
        """Files by the name of their mosaic."""
        quads: dict[str, list[Path]] = {}
        for path in _files(self.folder):
            beside = _BESIDE_QUADS & set(re.split(r"[^0-9a-z]+", path.stem.lower()))
            if path.suffix.lower() in _SUFFIXES and not beside:
                quads.setdefault(self._mosaic_of(path), []).append(path)
        return quads

    def _mosaic_of(self, path: Path) -> str:
        """The nearest of the file's and its folders' names that tells a mosaic and its time."""
        inner = path.relative_to(self.folder).parts[:-1]
        names = [path.stem, *reversed(inner), self.folder.absolute().name]
        return next((name for name in names if span_in_name(name)), names[1])


def _files(folder: Path) -> Iterator[Path]:
    """Files in a folder and below, without hidden ones, in order of their names."""
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(root, name) for name in sorted(names) if not name.startswith("."))


def span_in_name(name: str) -> Period | None:
    """The time that a mosaic's name tells: `2024-01`, `2019-06_2019-11`, `2024_01`, `2024q1`.

    Of a name with a day, `ps_weekly_..._2024_01_08`, the week, or two weeks for `biweekly`.
    """
    quarter = _QUARTER.search(name)
    if quarter:
        year, first = int(quarter[1]), 3 * int(quarter[2]) - 2
        return Period(dt.date(year, first, 1), _month_end(year, first + 2))
    spans = []
    for year, month, day in _MONTH.findall(name):
        try:
            start = dt.date(int(year), int(month), int(day or 1))
        except ValueError:
            return None
        spans.append(Period(start, start if day else _month_end(start.year, start.month)))
    if not spans or spans[-1].end < spans[0].start:
        return None
    end = spans[-1].end
    if len(spans) == 1 and spans[0].start == end:
        end += dt.timedelta(days=13 if "biweekly" in name.lower() else 6)
    return Period(spans[0].start, end)


def _month_end(year: int, month: int) -> dt.date:
    return dt.date(year, month, calendar.monthrange(year, month)[1])


def _moment_in(scene_id: str) -> dt.datetime | None:
    try:
        return dt.datetime.strptime(scene_id[:15], "%Y%m%d_%H%M%S").replace(tzinfo=dt.UTC)
    except ValueError:
        return None


def _choose_reflectance(order: _Order, sensor: str) -> Path:
    """The scene's one image: harmonized to Sentinel-2 if there is one, 8 bands before 4."""
    usable = [path for path in order.reflectance if sensor in {"planet", _sensor_of(path)}]
    if usable:
        return min(usable, key=lambda path: ("harmonized" not in path.stem, "8b" not in path.stem))
    if order.reflectance:
        raise ConfigError(
            f"{order.reflectance[0]}: is {_sensor_of(order.reflectance[0])}, and {sensor} was "
            "asked for; give --sensor planet to use both"
        )
    raise ConfigError(
        f"{order.first}: is no surface reflectance on the map (its name lacks 3B_AnalyticMS_SR), "
        "and radiance is not used; order the bundle analytic_sr_udm2 or analytic_8b_sr_udm2"
    )


def _sensor_of(path: Path) -> str:
    return "planet-8b" if "8b" in path.stem.lower().split("_") else "planet-4b"


def _open_order(
    scene_id: str, acquired_at: dt.datetime, image: Path, order: _Order, area: BaseGeometry
) -> SceneFiles | None:
    sensor = find_sensor(_sensor_of(image))
    found = members_of_file(image, sensor=sensor, bands=None)
    if not meets(area, next(iter(found.bands.values())).geobox):
        return None
    sky = _open_mask(image, order.masks)
    told = _read_metadata(order.metadata)
    acquired_at = told.get("acquired_at", acquired_at)
    scene = Scene(
        id=scene_id,
        href=str(image),
        sensor=sensor.id,
        acquired=acquired_at.date(),
        acquired_at=acquired_at,
        cloud_cover=told.get("cloud_cover"),
        bands=tuple(found.bands),
        sky_layer="udm2" if sky else None,
        scale=_SCALE,
        offset=0.0,
        radiometry_from=_SAYS_PLANET,
    )
    bands = {name: _as_planet_says(asset, image) for name, asset in found.bands.items()}
    return SceneFiles(scene, bands, sky)


def _as_planet_says(asset: Asset, image: Path) -> Asset:
    """Give a band Planet's scale.

    Raises:
        AssetReadError: The file is not as Planet delivers it, so that its counts may mean
            something else.
    """
    tagged = asset.has_scale_tags and (asset.scale, asset.offset) != (_SCALE, 0.0)
    if tagged or asset.is_float or np.dtype(asset.dtype).itemsize != 2:
        got = f"scale {asset.scale:g} and offset {asset.offset:g}" if tagged else asset.dtype
        raise AssetReadError(
            f"{image}: was changed after Planet delivered it: has {got}, not plain 16-bit counts "
            "of reflectance x 10000; use the file as delivered, or name it by itself with --scale "
            "and --offset",
            href=str(image),
        )
    says_nodata = asset.nodata is not None or asset.has_mask or asset.alpha_index is not None
    # Black fill is 0, and clipping may drop the tag that says so.
    nodata = asset.nodata if says_nodata else 0.0
    return replace(asset, scale=_SCALE, offset=0.0, nodata=nodata)


def _open_mask(image: Path, masks: Sequence[Path]) -> Asset | None:
    """Band 1 of the usable data mask, `clear`; of several the one cut as the image is."""
    if not masks:
        return None
    tools = image.stem.lower().split("_")
    best = max(masks, key=lambda mask: len(set(mask.stem.lower().split("_")) & set(tools)))
    assets = list_assets(best)
    named = [asset for asset in assets if asset.description.lower() == "clear"]
    # Every count says something: 0 is "not clear", whatever nodata tag the file has.
    return replace((named or assets)[0], nodata=None, scale=1.0, offset=0.0)


def _read_metadata(paths: Sequence[Path]) -> dict[str, Any]:
    """`acquired_at` and `cloud_cover` (percent) from the scene's JSON, where there is any."""
    for path in paths:
        try:
            if path.stat().st_size > _MAX_JSON_BYTES:
                continue
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue  # The name tells the date, and nothing else here is needed.
        properties = content.get("properties") if isinstance(content, dict) else None
        if isinstance(properties, dict):
            told = _from_properties(properties)
            if told:
                return told
    return {}


def _from_properties(properties: dict[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {}
    moment = properties.get("acquired") or properties.get("datetime")
    if isinstance(moment, str):
        try:
            parsed = dt.datetime.fromisoformat(moment)
        except ValueError:
            return {}
        aware = parsed if parsed.tzinfo else parsed.replace(tzinfo=dt.UTC)
        told["acquired_at"] = aware.astimezone(dt.UTC)
    for key, full in (("cloud_cover", 1), ("eo:cloud_cover", 100), ("cloud_percent", 100)):
        share = properties.get(key)
        if isinstance(share, int | float) and 0 <= share <= full:
            told.setdefault("cloud_cover", 100 / full * share)
    return told


def _why_no_reflectance(mosaic: str, span: Period | None) -> str | None:
    """Why a mosaic's counts cannot be used, as far as its name tells; None where they can."""
    name = mosaic.lower()
    if "visual" in name:
        return "a visual mosaic: its colours are for the eye and are no reflectance"
    if span is None:
        return (
            "neither the file's name nor a folder's tells the mosaic and its time; keep the name "
            "as delivered, planet_medres_normalized_analytic_2024-01_mosaic"
        )
    tokens = set(re.split(r"[^0-9a-z]+", name))
    if not (tokens & {"analytic", "analyticms"} and tokens & {"normalized", "sr"}):
        return (
            "its name does not say that it is surface reflectance (normalized_analytic, or "
            "analytic and sr)"
        )
    return None


def _quad(mosaic: str, first_day: dt.date, path: Path, area: BaseGeometry) -> Candidate:
    short = path.stem.removesuffix("_quad")
    scene_id = short if mosaic in short else f"{mosaic}_{short}"

    def open_scene() -> SceneFiles | None:
        found = _bands_of_quad(path)
        if not meets(area, next(iter(found.values())).geobox):
            return None
        scene = Scene(
            id=scene_id,
            href=str(path),
            sensor="nicfi",
            acquired=first_day,
            bands=tuple(found),
            scale=_SCALE,
            offset=0.0,
            radiometry_from=_SAYS_PLANET,
        )
        bands = {name: _as_planet_says(asset, path) for name, asset in found.items()}
        return SceneFiles(scene, bands, sky=None)

    return Candidate(scene_id, str(path), open_scene)


def _bands_of_quad(path: Path) -> dict[str, Asset]:
    """The bands of a quad: blue, green, red, nir, or all 8, and alpha behind them.

    By place where the file does not name them. Of the tag that says which band is alpha the place
    is not believed: with colours tagged as RGB, GDAL takes the fourth of five bands for it.
    """
    assets = list_assets(path)
    tagged = assets[0].alpha_index if assets else None
    total = len(assets) + (tagged is not None)
    counts = {5: "nicfi", 9: "planet-8b"} | ({} if tagged else {4: "nicfi", 8: "planet-8b"})
    if total not in counts:
        raise BandNotFound(
            f"{path}: holds {len(assets)} bands{' and alpha' if tagged else ''}, and a surface "
            "reflectance quad has 4 (blue, green, red, nir) or 8, and mostly alpha",
            href=str(path),
        )
    sensor = find_sensor(counts[total])
    if total in {5, 9}:
        by_index = {asset.index: asset for asset in assets}
        unnamed = replace(assets[0], description="")
        indexes = range(1, total)
        assets = [replace(by_index.get(i, unnamed), index=i, alpha_index=total) for i in indexes]
    own = [band_in_description(asset.description, sensor) for asset in assets]
    by_place = [band.common_name for band in sensor.bands]
    names = [name for name in own if name] if all(own) and len(set(own)) == len(own) else by_place
    return dict(zip(names, assets, strict=True))
