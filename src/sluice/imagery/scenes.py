"""Scenes and the files they are made of: read onto any grid, wherever the files lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from odc.geo.geobox import GeoBox

from sluice.base.arrays import ArrayBHW, ArrayHW
from sluice.base.errors import BandNotFound, ItemNotFound
from sluice.base.raster import Raster
from sluice.base.records import Scene
from sluice.imagery.assets import Asset
from sluice.imagery.warp import plan_read


@dataclass(frozen=True)
class SceneFiles:
    """A scene and the files it is made of."""

    scene: Scene
    bands: dict[str, Asset]
    """By common name."""
    sky: Asset | None
    """The cloud layer named in `scene.sky_layer`."""


@dataclass(frozen=True)
class SceneImages:
    """Scenes on disk or at addresses: an `ImagerySource`. Holds no open file, so it pickles."""

    files: tuple[SceneFiles, ...]
    """Oldest first, those without a date last."""

    @property
    def scenes(self) -> tuple[Scene, ...]:
        """Oldest first, those without a date last."""
        return tuple(files.scene for files in self.files)

    def read(self, scene: Scene, bands: Sequence[str], geobox: GeoBox) -> Raster:
        """Read bands onto a grid.

        Pixels are copied where the file shares the grid's lines, else bilinear (averaged first
        where the grid is more than twice as coarse). A pixel has the same value whatever part
        of a grid is read.

        Args:
            scene: One of `scenes`.
            bands: Common names.
            geobox: Axis-parallel grid.

        Returns:
            Reflectance or dB, NaN where there is none.

        Raises:
            BandNotFound: The scene lacks a band.
            AssetReadError: A file is damaged.
            ItemNotFound: A file is gone, or the scene is not one of these.
        """
        files = self._files_of(scene)
        missing = [band for band in bands if band not in files.bands]
        if missing:
            raise BandNotFound.from_missing_and_available(
                missing, files.bands, wanted_by="the model", href=scene.href
            )
        data: ArrayBHW = np.empty((len(bands), *geobox.shape.yx), dtype=np.float32)
        by_grid: dict[GeoBox, list[int]] = {}
        for k, band in enumerate(bands):
            by_grid.setdefault(files.bands[band].geobox, []).append(k)
        for grid, members in by_grid.items():
            assets = [files.bands[bands[k]] for k in members]
            data[members] = plan_read(grid, geobox).read_bands(assets)
        return Raster(data, tuple(bands), geobox)

    def read_sky(self, scene: Scene, geobox: GeoBox) -> ArrayHW | None:
        """Read the scene's cloud layer as stored, nearest neighbour, NaN outside.

        Returns:
            (H, W) float32, or None where the scene has none.

        Raises:
            AssetReadError: The file is damaged.
            ItemNotFound: The file is gone, or the scene is not one of these.
        """
        sky = self._files_of(scene).sky
        return None if sky is None else plan_read(sky.geobox, geobox, nearest=True).read(sky)

    def source_grids(self, scene: Scene) -> tuple[GeoBox, ...]:
        """The distinct grids of a scene's bands, the finest first."""
        grids = {asset.geobox for asset in self._files_of(scene).bands.values()}
        return tuple(sorted(grids, key=lambda grid: abs(grid.affine.determinant)))

    def _files_of(self, scene: Scene) -> SceneFiles:
        for files in self.files:
            if files.scene.id == scene.id:
                return files
        raise ItemNotFound(f"{scene.id}: not among the images opened", item_id=scene.id)
