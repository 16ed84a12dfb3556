"""`Raster`: named bands on a grid, absent is NaN."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from odc.geo.geobox import GeoBox

from sluice.base.arrays import ArrayBHW, ArrayHW, BoolHW
from sluice.base.errors import BandNotFound, ShapeMismatch


@dataclass(frozen=True)
class Raster:
    """Named bands on one grid.

    Reflectance is unitless 0-1, backscatter is in dB; a pixel that was not observed is NaN.
    """

    data_bhw: ArrayBHW
    """(bands, height, width) float32."""
    bands: tuple[str, ...]
    """Names in the order of the first axis: a `ModelInput`'s key, or a STAC common name."""
    geobox: GeoBox
    """Grid of the last two axes."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Scenes that could not be read for it, by id, and why; it was made of the others."""

    def __post_init__(self) -> None:
        expected = (len(self.bands), *self.geobox.shape.yx)
        if self.data_bhw.shape != expected:
            raise ShapeMismatch(f"a raster of {expected} was announced, got {self.data_bhw.shape}")

    @property
    def valid(self) -> BoolHW:
        """(height, width), True where every band is observed."""
        return np.asarray(np.isfinite(self.data_bhw).all(axis=0))

    def band(self, name: str) -> ArrayHW:
        """One band by name.

        Raises:
            BandNotFound: Not among `bands`.
        """
        if name not in self.bands:
            raise BandNotFound.from_missing_and_available([name], self.bands, wanted_by="this step")
        band: ArrayHW = self.data_bhw[self.bands.index(name)]
        return band
