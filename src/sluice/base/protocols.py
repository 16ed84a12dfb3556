"""The seams: what a room may expect of another that it does not know."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from odc.geo.geobox import GeoBox

from sluice.base.arrays import ArrayBHW, ArrayHW
from sluice.base.raster import Raster
from sluice.base.records import ModelInput, Scene


@runtime_checkable
class ImagerySource(Protocol):
    """Where scenes come from."""

    @property
    def scenes(self) -> Sequence[Scene]:
        """What there is, oldest first where dates are known."""
        ...

    def read(
        self,
        scene: Scene,
        bands: Sequence[str],
        geobox: GeoBox,
        out: ArrayBHW | None = None,
    ) -> Raster:
        """Read bands onto a grid, as reflectance or dB, NaN where there is none.

        Into `out`, (B, H, W) float32, where that is given; it is spoilt where this raises.

        Raises:
            BandNotFound: The scene lacks a band.
            AssetReadError: The file is damaged.
        """
        ...

    def read_sky(
        self, scene: Scene, geobox: GeoBox, classify: Callable[[ArrayHW], npt.NDArray[np.uint8]]
    ) -> npt.NDArray[np.uint8] | None:
        """Read the scene's cloud layer (`scene.sky_layer`) in classes, nearest neighbour.

        0 outside; None where the scene has none.
        """
        ...


class TileLoader(Protocol):
    """Gives a model's inputs on any part of the processing grid. Must pickle."""

    def __call__(self, geobox: GeoBox) -> Raster:
        """Bands are the inputs' keys, in the model's order."""
        ...


class Predictor(Protocol):
    """A model that scores square windows, or the cells of square patches."""

    @property
    def inputs(self) -> tuple[ModelInput, ...]:
        """What it needs, in order."""
        ...

    @property
    def gsd_m(self) -> float:
        """Pixel side it was trained at, metres."""
        ...

    @property
    def window_px(self) -> int:
        """Side of its window."""
        ...

    @property
    def context_px(self) -> int:
        """Pixels beyond each side of a window that it looks at too."""
        ...

    @property
    def cells_per_window(self) -> int:
        """Scores along a side of a window, each of an equal square of it."""
        ...

    @property
    def scores_per_cell(self) -> int:
        """1, or the number of its classes where it tells several sought ones apart."""
        ...

    def score_windows(self, raster: Raster, rows: Sequence[int], cols: Sequence[int]) -> ArrayHW:
        """Score the windows whose first pixel is at each of `rows` x `cols`.

        Args:
            raster: The inputs, NaN where not observed.
            rows: First rows, increasing; every window lies inside the raster. What of its context
                does not counts as not observed.
            cols: First columns, likewise.

        Returns:
            (len(rows), len(cols)) times `cells_per_window` float32, those of a window together;
            NaN where a window has more invalid pixels than the model allows. With several scores
            for a cell (`WindowLattice.scores_per_cell`), these are one more axis, the first.
        """
        ...
