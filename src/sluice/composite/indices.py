"""Spectral indices by STAC common names.

Each is NaN where an input is NaN or the denominator is 0. Where a band is below 0, as over deep
shadow after atmospheric correction, an index can leave [-1, 1]: it is not clipped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from sluice.base.arrays import ArrayHW
from sluice.base.errors import BandNotFound, ConfigError, ShapeMismatch


def normalized_difference(one: ArrayHW, other: ArrayHW) -> ArrayHW:
    """(one - other) / (one + other).

    Args:
        one: Reflectance, (H, W) float32, NaN = no data.
        other: Same grid and units as `one`.

    Returns:
        (H, W) float32; NaN where an input is NaN or the sum is 0.

    Raises:
        ShapeMismatch: The inputs differ in shape.
    """
    _check_shapes(one, other)
    return _ratio(one - other, one + other)


def ndvi(red: ArrayHW, nir: ArrayHW) -> ArrayHW:
    """Normalized difference vegetation index, high over green plants.

    Args:
        red: Reflectance, (H, W) float32, unitless 0-1, NaN = no data.
        nir: Same grid and units as `red`.

    Returns:
        (H, W) float32; NaN where an input is NaN or the sum is 0.

    Raises:
        ShapeMismatch: The inputs differ in shape.

    Source:
        Tucker 1979, doi:10.1016/0034-4257(79)90013-0.
    """
    return normalized_difference(nir, red)


def ndwi(green: ArrayHW, nir: ArrayHW) -> ArrayHW:
    """Normalized difference water index, high over open water.

    Args:
        green: Reflectance, (H, W) float32, unitless 0-1, NaN = no data.
        nir: Same grid and units as `green`.

    Returns:
        (H, W) float32; NaN where an input is NaN or the sum is 0.

    Raises:
        ShapeMismatch: The inputs differ in shape.

    Source:
        McFeeters 1996, doi:10.1080/01431169608948714.
    """
    return normalized_difference(green, nir)


def mndwi(green: ArrayHW, swir16: ArrayHW) -> ArrayHW:
    """Modified NDWI: open water, with built-up and bare ground kept lower than NDWI does.

    Args:
        green: Reflectance, (H, W) float32, unitless 0-1, NaN = no data.
        swir16: Same grid and units as `green`.

    Returns:
        (H, W) float32; NaN where an input is NaN or the sum is 0.

    Raises:
        ShapeMismatch: The inputs differ in shape.

    Source:
        Xu 2006, doi:10.1080/01431160600589179.
    """
    return normalized_difference(green, swir16)


def bsi(blue: ArrayHW, red: ArrayHW, nir: ArrayHW, swir16: ArrayHW) -> ArrayHW:
    """Bare soil index, high over bare ground: ((SWIR + red) - (NIR + blue)) / (sum of all four).

    Args:
        blue: Reflectance, (H, W) float32, unitless 0-1, NaN = no data.
        red: Same grid and units as `blue`.
        nir: Same grid and units as `blue`.
        swir16: Same grid and units as `blue`.

    Returns:
        (H, W) float32; NaN where an input is NaN or the sum is 0.

    Raises:
        ShapeMismatch: The inputs differ in shape.

    Source:
        Rikimaru, Roy and Miyatake 2002, "Tropical forest cover density mapping", Tropical
        Ecology 43(1), 39-47.
    """
    _check_shapes(blue, red, nir, swir16)
    bare, other = swir16 + red, nir + blue
    return _ratio(bare - other, bare + other)


def ndti(green: ArrayHW, red: ArrayHW) -> ArrayHW:
    """Normalized difference turbidity index, higher the muddier the water; for water only.

    Args:
        green: Reflectance, (H, W) float32, unitless 0-1, NaN = no data.
        red: Same grid and units as `green`.

    Returns:
        (H, W) float32; NaN where an input is NaN or the sum is 0.

    Raises:
        ShapeMismatch: The inputs differ in shape.

    Source:
        Lacaux et al. 2007, doi:10.1016/j.rse.2006.07.012.
    """
    return normalized_difference(red, green)


@dataclass(frozen=True)
class Index:
    """An index that can be asked for by name."""

    name: str
    bands: tuple[str, ...]
    """Common names, in the order of the function's arguments."""
    function: Callable[..., ArrayHW]
    source: str


_ALL = (
    Index("ndvi", ("red", "nir"), ndvi, "Tucker 1979"),
    Index("ndwi", ("green", "nir"), ndwi, "McFeeters 1996"),
    Index("mndwi", ("green", "swir16"), mndwi, "Xu 2006"),
    Index("bsi", ("blue", "red", "nir", "swir16"), bsi, "Rikimaru et al. 2002"),
    Index("ndti", ("green", "red"), ndti, "Lacaux et al. 2007"),
)
INDICES: dict[str, Index] = {index.name: index for index in _ALL}
"""All indices, by name."""


def compute_index(name: str, raster_bands: Mapping[str, ArrayHW]) -> ArrayHW:
    """Compute an index by its name.

    Args:
        name: One of `INDICES`.
        raster_bands: By common name, each (H, W) reflectance, NaN = no data; others may be there.

    Returns:
        (H, W) float32; NaN where an input is NaN or the denominator is 0.

    Raises:
        ConfigError: No such index.
        BandNotFound: A band that it needs is missing; names those that are there.
        ShapeMismatch: The bands differ in shape.
    """
    if name not in INDICES:
        raise ConfigError(f"index {name!r} is not known; use {', '.join(INDICES)}")
    index = INDICES[name]
    missing = [band for band in index.bands if band not in raster_bands]
    if missing:
        raise BandNotFound.from_missing_and_available(
            missing, raster_bands, wanted_by=f"index {name}"
        )
    return index.function(*(raster_bands[band] for band in index.bands))


def _ratio(above: ArrayHW, below: ArrayHW) -> ArrayHW:
    result: ArrayHW = np.full(below.shape, np.nan, np.float32)
    np.divide(above, below, out=result, where=below != 0)
    return result


def _check_shapes(*bands: ArrayHW) -> None:
    if len({band.shape for band in bands}) != 1:
        raise ShapeMismatch(f"bands of an index need one shape, got {[b.shape for b in bands]}")
