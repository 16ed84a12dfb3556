"""What there is over an area in a period, and what it would cost to read it."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyproj
from odc.geo.geobox import GeoBox

from sluice.base.errors import DataError, SourceError
from sluice.base.records import LeftOut, Record
from sluice.imagery.assets import Asset, read_overview
from sluice.imagery.scenes import SceneFiles, SceneImages
from sluice.imagery.stac.offsets import OVERVIEW_PX

# Bytes of a pixel as catalogues store it, where an item does not give the size of its files:
# deflated Sentinel-2 counts, classes, and floating-point backscatter.
_BYTES_PER_PIXEL = {"uint8": 0.15, "uint16": 1.9, "int16": 1.9, "float32": 3.5}
_HEADER_BYTES = 32_768
_CHECKED_BANDS = 2
"""Of each Sentinel-2 scene an overview of as many bands is read, to check its radiometry."""
_BLOCK_PX = 512
_LOOKS_PER_S = 40e6
"""Pixels of one band and date that two cores read, mask and sort in a second, about."""


class Findings(Record):
    """What a search found, and what reading it takes."""

    job: str
    scenes: int
    first: dt.date | None
    last: dt.date | None
    dates: int
    cloud_cover_median: float | None
    """Percent, of the scenes whose catalogue says it."""
    left_out: int
    first_reason: str | None
    """Why the first scene was left out."""
    area_km2: float
    bytes: int
    """To download at most; less where scenes are overcast, or kept from an earlier run."""
    seconds: float | None
    """To download and reduce, about; None where nothing was measured."""


def describe_findings(
    job: str,
    files: Sequence[SceneFiles],
    left_out: Sequence[LeftOut],
    *,
    bands: Sequence[str],
    geobox: GeoBox,
    bytes_per_s: float | None,
) -> Findings:
    """Sum up a search.

    Args:
        job: Name of the result to make.
        files: Scenes found.
        left_out: Scenes found that cannot be used.
        bands: Common names of the bands to read.
        geobox: Grid of the result.
        bytes_per_s: Of the line, measured; None where it was not.
    """
    images = SceneImages(tuple(files))
    near = [found for found in files if images.meets(found.scene, geobox)]
    assets = [
        asset
        for found in near
        for asset in (*(found.bands[band] for band in bands), found.sky)
        if asset is not None
    ]
    sizes = [(asset, _bytes_within(asset, geobox)) for asset in assets]
    download = sum(size + _HEADER_BYTES for asset, size in sizes if asset.is_remote)
    remote = [found for found in near if images.is_remote(found.scene)]
    download += len(remote) * _CHECKED_BANDS * (OVERVIEW_PX**2 * 2.0 + _HEADER_BYTES)
    looks = geobox.shape.x * geobox.shape.y * len(bands) * len(near)
    seconds = looks / _LOOKS_PER_S
    if download:
        seconds = seconds + download / bytes_per_s if bytes_per_s else float("nan")
    dates = {found.scene.acquired for found in near if found.scene.acquired is not None}
    clouds = [s.scene.cloud_cover for s in near if s.scene.cloud_cover is not None]
    return Findings(
        job=job,
        scenes=len(near),
        first=min(dates, default=None),
        last=max(dates, default=None),
        dates=len(dates),
        cloud_cover_median=round(float(np.median(clouds)), 1) if clouds else None,
        left_out=len(left_out),
        first_reason=left_out[0].reason if left_out else None,
        area_km2=round(geobox.shape.x * geobox.shape.y * geobox.affine.a**2 / 1e6, 1),
        bytes=int(download),
        seconds=None if np.isnan(seconds) else round(seconds, 1),
    )


def measure_line(files: Sequence[SceneFiles]) -> float | None:
    """Bytes in a second, from one small read of the first scene at an address.

    It goes past the cache, and is not tried again: what it would promise otherwise is the speed
    of the disk, or a long wait.

    Returns:
        None where nothing lies at an address, or it could not be read; why is told when the
        scene itself is read.
    """
    assets = (asset for found in files for asset in found.bands.values())
    asset = next((asset for asset in assets if asset.is_remote and asset.access), None)
    if asset is None or asset.access is None:
        return None
    once = replace(asset, access=replace(asset.access, cache_folder=None, attempts=1))
    started = time.perf_counter()
    try:
        counts = read_overview(once, 512)
    except (SourceError, DataError):
        return None
    size = counts.size * _BYTES_PER_PIXEL.get(asset.dtype, 2.0)
    return float(size / max(1e-3, time.perf_counter() - started))


def findings_text(findings: Findings) -> str:
    """One line for a person, and one for what was left out."""
    name = f"{findings.job}: " if findings.job else ""
    if not findings.scenes:
        if not findings.left_out:
            return f"{name}no scene; check that the area is given as longitude, latitude"
        return (
            f"{name}no usable scene; {findings.left_out} left out, first: {findings.first_reason}"
        )
    found = f"{_count(findings.scenes, 'scene')} of {_count(findings.dates, 'date')}"
    parts = [f"{found}, {findings.first} to {findings.last}"]
    if findings.cloud_cover_median is not None:
        parts.append(f"clouds {findings.cloud_cover_median:.0f} % (median)")
    small = findings.area_km2 < 10
    parts.append(f"{findings.area_km2:,.{1 if small else 0}f} km2")
    if findings.bytes:
        parts.append(f"at most {bytes_in_words(findings.bytes)} to download")
    if findings.seconds is not None:
        parts.append(f"about {time_in_words(findings.seconds)}")
    if findings.left_out:
        parts.append(f"{_count(findings.left_out, 'scene')} left out")
    return name + ", ".join(parts)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def bytes_in_words(size: float) -> str:
    """`1.2 GB`, `350 MB`."""
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{max(1, size / 1e6):,.0f} MB"


def time_in_words(seconds: float) -> str:
    """`2 h 10 min`, `4 min`, `20 s`."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def _bytes_within(asset: Asset, geobox: GeoBox) -> float:
    """Size of the part of a file that lies under a grid, in whole blocks."""
    height, width = asset.geobox.shape.yx
    box = geobox.boundingbox.bbox
    if asset.geobox.crs != geobox.crs and asset.geobox.crs and geobox.crs:
        to_asset = pyproj.Transformer.from_crs(
            geobox.crs.to_wkt(), asset.geobox.crs.to_wkt(), always_xy=True
        )
        box = to_asset.transform_bounds(*box)
    inverse = ~asset.geobox.affine
    cols = sorted(inverse.a * x + inverse.b * box[1] + inverse.c for x in (box[0], box[2]))
    rows = sorted(inverse.d * box[0] + inverse.e * y + inverse.f for y in (box[1], box[3]))
    across = _in_blocks(cols[0], cols[1], width)
    down = _in_blocks(rows[0], rows[1], height)
    if asset.size_bytes is not None:
        each = asset.size_bytes / (height * width)
    else:
        each = _BYTES_PER_PIXEL.get(asset.dtype, 2.0)
    return across * down * each


def _in_blocks(first: float, last: float, length: int) -> int:
    """Pixels of the blocks that a range touches, within the file."""
    if not (np.isfinite(first) and np.isfinite(last)):
        return length  # not to be projected: at most all of it
    low = max(0, int(np.floor(first)) // _BLOCK_PX * _BLOCK_PX)
    high = min(length, -(-int(np.ceil(last)) // _BLOCK_PX) * _BLOCK_PX)
    return max(0, high - low)
