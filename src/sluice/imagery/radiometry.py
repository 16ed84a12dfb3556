"""Scale, offset and nodata of a scene's bands: stated by someone, never guessed."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from sluice.base.arrays import ArrayHW
from sluice.base.errors import ConfigError, NoValidData
from sluice.base.grid import PixelWindow
from sluice.base.sensors import SENSORS
from sluice.imagery.assets import Asset
from sluice.imagery.safe import SafeMetadata

BACKSCATTER_BANDS = frozenset(band.common_name for band in SENSORS["s1"].bands)
"""Common names of bands that are radar backscatter, not reflectance."""
_MANY_ZEROS = 0.01
_BRIGHTEST = 2.0
"""Sun glint and cloud tops exceed a reflectance of 1, hardly 2; counts go into the thousands."""


@dataclass(frozen=True)
class Stated:
    """What the user stated on the command line."""

    scale: float | None = None
    offset: float | None = None
    nodata: float | None = None


@dataclass(frozen=True)
class Radiometry:
    """How counts of a scene become values."""

    bands: dict[str, Asset]
    """With scale, offset and nodata set."""
    scale: float
    """Of the first band with reflectance, else of the first."""
    offset: float
    source: str
    """Who stated them."""


def settle_radiometry(
    bands: dict[str, Asset], stated: Stated, safe: SafeMetadata | None, *, where: str
) -> Radiometry:
    """Set scale, offset and nodata of each band.

    The user's flags come first, each for its own number, then the product's metadata, then the
    file's tags; metadata and tags that contradict each other are refused.
    Floating-point values that look like reflectance, and backscatter, are taken as they are.

    Args:
        bands: By common name, at least one.
        stated: The user's flags. Scale and offset are of reflectance, where there is any.
        safe: The product's metadata.
        where: File or folder, for messages.

    Raises:
        ConfigError: Many counts are 0 and nobody says whether that is no data. Or nobody stated
            scale and offset, and the values are not reflectance or dB; or they were stated
            twice and differ.
        NoValidData: The image is empty.
        AssetReadError: A file is damaged.
    """
    if stated.scale == 0:
        raise ConfigError("--scale 0 makes all values equal; for counts to 10000 give 0.0001")
    reflectance = [name for name in bands if name not in BACKSCATTER_BANDS]
    leading = [*reflectance, *bands][0]
    settled: dict[str, Asset] = {}
    sources: dict[str, str] = {}
    for name, asset in bands.items():
        asset = replace(asset, nodata=_nodata(asset, stated, safe))  # noqa: PLW2901
        if name == leading:
            _refuse_empty(asset, name, where)
            _refuse_unexplained_zeros(asset, name, where)
        flags = stated if name in reflectance or not reflectance else Stated()
        scale, offset, sources[name] = _settle_band(name, asset, flags, safe, where)
        settled[name] = replace(asset, scale=scale, offset=offset)
    if leading in reflectance:
        _refuse_darkness(settled[leading], leading, where)
    return Radiometry(settled, settled[leading].scale, settled[leading].offset, sources[leading])


def _nodata(asset: Asset, stated: Stated, safe: SafeMetadata | None) -> float | None:
    if stated.nodata is not None:
        return stated.nodata
    return asset.nodata if asset.nodata is not None or safe is None else safe.nodata


def _settle_band(
    name: str, asset: Asset, stated: Stated, safe: SafeMetadata | None, where: str
) -> tuple[float, float, str]:
    if stated.scale is not None and stated.offset is not None:
        return stated.scale, stated.offset, "flags"
    if safe is not None:
        scale, offset, source = safe.scale, safe.offsets.get(name, 0.0), safe.path.name
        contested = (stated.scale is None and not math.isclose(asset.scale, scale)) or (
            stated.offset is None and not math.isclose(asset.offset, offset, abs_tol=1e-9)
        )
        if asset.has_scale_tags and contested:
            raise ConfigError(
                f"{where}: band {name} is tagged scale {asset.scale:g}, offset {asset.offset:g}, "
                f"and {source} says {scale:g}, {offset:g}; give --scale and --offset",
                href=where,
            )
    elif asset.has_scale_tags:
        scale, offset, source = asset.scale, asset.offset, "file tags"
    elif stated.scale is not None and name not in BACKSCATTER_BANDS:
        raise ConfigError(
            f"{where}: --scale {stated.scale:g} needs --offset, as nothing states it here; give "
            "--offset 0 (Sentinel-2 of processing baseline 04.00 or later, from January 2022 on, "
            "unless harmonised: --offset -0.1)",
            href=where,
        )
    elif stated.scale is not None:
        return stated.scale, 0.0, "flags"
    elif name in BACKSCATTER_BANDS:
        _check_decibel(name, asset, where)
        scale, offset, source = 1.0, 0.0, "backscatter in dB, as stored"
    else:
        _check_reflectance(name, asset, where)
        scale, offset, source = 1.0, 0.0, "reflectance, as stored"
    # One flag mends one number; what is known of the other still holds.
    if stated.scale is not None:
        return stated.scale, offset, f"{source}, scale by flag"
    if stated.offset is not None:
        return scale, stated.offset, f"{source}, offset by flag"
    return scale, offset, source


def _check_reflectance(name: str, asset: Asset, where: str) -> None:
    """Raise unless the stored values look like reflectance already."""
    if asset.is_float:
        values, _ = _sample(asset)
        if values.size and 0 < np.percentile(values, 99) <= _BRIGHTEST:
            return
        got = f"values up to {values.max():g}" if values.size else "no value where sampled"
    else:
        got = f"{asset.dtype} counts"
    raise ConfigError(
        f"{where}: band {name} holds {got}, and neither the file nor its folder says how they "
        "become reflectance; give --scale 0.0001 --offset 0 for counts of reflectance x 10000 "
        "(Sentinel-2 of processing baseline 04.00 or later, from January 2022 on, "
        "unless harmonised: --offset -0.1)",
        href=where,
    )


def _check_decibel(name: str, asset: Asset, where: str) -> None:
    """Raise unless the stored values look like dB: over land and water most lie below 0."""
    values, _ = _sample(asset)
    if values.size and (not asset.is_float or np.median(values) > 0):
        raise ConfigError(
            f"{where}: band {name} holds {asset.dtype} values with a median of "
            f"{np.median(values):g}, which is not backscatter in dB; convert it "
            "(10 log10 of the linear backscatter), or give --scale and --offset",
            href=where,
        )


def _refuse_empty(asset: Asset, name: str, where: str) -> None:
    values, whole = _sample(asset)
    if whole and not values.size:
        raise NoValidData(
            f"{where}: the image is empty: band {name} holds nothing but nodata "
            f"({asset.nodata:g}); check the file, and --nodata if you gave it"
            if asset.nodata is not None
            else f"{where}: the image is empty: band {name} holds no value; check the file",
            href=where,
        )


def _refuse_darkness(asset: Asset, name: str, where: str) -> None:
    """Raise where scale and offset leave no light: a slip, as -1000 for an offset of -0.1."""
    values, _ = _sample(asset)
    brightest = float(np.percentile(values * asset.scale + asset.offset, 99)) if values.size else 1
    if brightest <= 0:
        raise ConfigError(
            f"{where}: with scale {asset.scale:g} and offset {asset.offset:g} band {name} has "
            f"reflectances up to {brightest:.3g} only; correct --scale and --offset "
            "(for counts of reflectance x 10000: 0.0001, and 0 or -0.1)",
            href=where,
        )


def _refuse_unexplained_zeros(asset: Asset, name: str, where: str) -> None:
    """Raise where many counts are 0 and nobody says whether that is ground or no data.

    Exports often pad with 0 and say so nowhere; taken as ground, it would count as looked at.
    """
    if asset.nodata is not None or asset.has_mask or asset.alpha_index:
        return
    values, _ = _sample(asset)
    share = float((values == 0).mean()) if values.size else 0.0
    if share > _MANY_ZEROS:
        raise ConfigError(
            f"{where}: {share:.0%} of band {name}, where sampled, is 0, and the file does not say "
            "what that means; give --nodata 0 if it is no data, --nodata nan if it is ground",
            href=where,
        )


def _sample(asset: Asset) -> tuple[ArrayHW, bool]:
    """Values as stored, from windows spread over the band, and whether they are all there are.

    Nine windows, and a thousand smaller ones only if those hold nothing.
    """
    raw = replace(asset, scale=1.0, offset=0.0)
    for side, size in ((3, 256), (32, 64)):
        height, width = asset.geobox.shape.yx
        values = [
            raw.read(PixelWindow(row, col, min(size, height), min(size, width))).ravel()
            for row in _starts(height, side, size)
            for col in _starts(width, side, size)
        ]
        found: ArrayHW = np.concatenate(values)
        found = found[np.isfinite(found)]
        if found.size:
            return found, False
    return found, max(height, width) <= side * size


def _starts(length: int, count: int, size: int) -> list[int]:
    last = max(0, length - size)
    return sorted({round(k * last / (count - 1)) for k in range(count)})
