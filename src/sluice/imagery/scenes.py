"""Scenes and the files they are made of: read onto any grid, wherever the files lie."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from odc.geo.geobox import GeoBox

from sluice.base.arrays import ArrayBHW, ArrayHW
from sluice.base.errors import BandNotFound, ItemNotFound
from sluice.base.raster import Raster
from sluice.base.records import Scene
from sluice.base.sensors import SENSORS, Sensor
from sluice.imagery.assets import Asset
from sluice.imagery.names import band_in_name
from sluice.imagery.radiometry import BACKSCATTER_BANDS
from sluice.imagery.warp import crs_of, plan_read

_EDGE_POINTS = 9
_MARGIN = 0.05


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

    def read(
        self,
        scene: Scene,
        bands: Sequence[str],
        geobox: GeoBox,
        out: ArrayBHW | None = None,
    ) -> Raster:
        """Read bands onto a grid.

        Pixels are copied where the file shares the grid's lines, else bilinear (averaged first
        where the grid is more than twice as coarse), of backscatter in linear power. A pixel
        has the same value whatever part of a grid is read.

        Args:
            scene: One of `scenes`.
            bands: Common names.
            geobox: Axis-parallel grid.
            out: (B, H, W) float32 to read into, spoilt where this raises; a new one if None.

        Returns:
            Reflectance or dB, NaN where there is none.

        Raises:
            BandNotFound: The scene lacks a band.
            AssetReadError: A file is damaged.
            ItemNotFound: A file is gone, or the scene is not one of these.
            AuthError, RateLimited, SourceUnavailable: Its source refused, or gave no answer.
            GridMismatch: A file is not what its catalogue promises.
        """
        files = self._files_of(scene)
        missing = [band for band in bands if band not in files.bands]
        if missing:
            raise lack_of_bands(scene, missing, wanted_by="this reading")
        data: ArrayBHW = (
            out if out is not None else np.empty((len(bands), *geobox.shape.yx), np.float32)
        )
        alike: dict[tuple[GeoBox, bool], list[int]] = {}
        for k, band in enumerate(bands):
            asset = files.bands[band]
            backscatter = asset.is_power or band in BACKSCATTER_BANDS
            alike.setdefault((asset.geobox, backscatter), []).append(k)
        for (grid, backscatter), members in alike.items():
            assets = [files.bands[bands[k]] for k in members]
            plan_read(grid, geobox).read_bands(
                assets, [data[k] for k in members], backscatter=backscatter
            )
        return Raster(data, tuple(bands), geobox)

    def read_sky(
        self, scene: Scene, geobox: GeoBox, classify: Callable[[ArrayHW], npt.NDArray[np.uint8]]
    ) -> npt.NDArray[np.uint8] | None:
        """Read the scene's cloud layer in classes, nearest neighbour.

        Args:
            scene: One of `scenes`.
            geobox: Axis-parallel grid.
            classify: Of values as stored, NaN = none, pixel by pixel. It gets them on the layer's
                own grid, as that is often coarser.

        Returns:
            (H, W), 0 outside, or None where the scene has none.

        Raises:
            As `read`, but for `BandNotFound`.
        """
        sky = self._files_of(scene).sky
        if sky is None:
            return None
        return plan_read(sky.geobox, geobox, nearest=True).read_classes(sky, classify)

    def source_grids(self, scene: Scene) -> tuple[GeoBox, ...]:
        """The distinct grids of a scene's bands, the finest first."""
        grids = {asset.geobox for asset in self._files_of(scene).bands.values()}
        return tuple(sorted(grids, key=lambda grid: abs(grid.affine.determinant)))

    def meets(self, scene: Scene, geobox: GeoBox) -> bool:
        """Whether a scene may have pixels on a grid, told from its place alone.

        True where in doubt; a scene that does not meet it reads as NaN throughout.

        Raises:
            ItemNotFound: The scene is not one of these.
        """
        return _may_meet(self.source_grids(scene)[0], geobox)

    def is_remote(self, scene: Scene) -> bool:
        """Whether a scene's files lie at addresses.

        Raises:
            ItemNotFound: The scene is not one of these.
        """
        return any(asset.is_remote for asset in self._files_of(scene).bands.values())

    def _files_of(self, scene: Scene) -> SceneFiles:
        for files in self.files:
            if files.scene.id == scene.id:
                return files
        raise ItemNotFound(f"{scene.id}: not among the images opened", item_id=scene.id)


def lack_of_bands(scene: Scene, missing: Sequence[str], *, wanted_by: str) -> BandNotFound:
    """The error that a scene lacks bands, with advice that fits a file, or a folder of files.

    Args:
        scene: That lacks them.
        missing: Common names.
        wanted_by: What needs them.
    """
    sensor = SENSORS.get(scene.sensor or "")
    advice: dict[str, str] = {}
    names = [band_in_name(Path(file).stem, sensor) for file in scene.files]
    is_folder = Path(scene.href).name not in scene.files
    if is_folder and set(names) & set(scene.bands):
        wanted = ", ".join(f"{_file_name(band, sensor)}.tif" for band in missing)
        file, it = ("file", "it") if len(missing) == 1 else ("files", "them")
        advice["advice"] = (
            f"Add the {file} to the folder, named for example {wanted}, "
            f"or use an image that has {it}"
        )
    return BandNotFound.from_missing_and_available(
        missing, scene.bands, wanted_by=wanted_by, href=scene.href, **advice
    )


def _file_name(band: str, sensor: Sensor | None) -> str:
    """As providers name the file of a band."""
    sensor = sensor or SENSORS["s2-l2a"]
    return sensor.band(band).name if sensor.has_band(band) else band


def with_unique_ids(found: Iterable[SceneFiles]) -> list[SceneFiles]:
    """Number scenes of one name: folders of several products may all be called `R10m`."""
    counts: dict[str, int] = {}
    out = []
    for files in found:
        name = files.scene.id
        counts[name] = counts.get(name, 0) + 1
        if counts[name] > 1:
            scene = files.scene.model_copy(update={"id": f"{name}-{counts[name]}"})
            out.append(replace(files, scene=scene))
        else:
            out.append(files)
    return out


def _may_meet(source: GeoBox, target: GeoBox) -> bool:
    """Whether two grids may share ground: False only if they surely do not."""
    box = target.boundingbox
    steps = np.linspace(0, 1, _EDGE_POINTS)
    x, y = np.meshgrid(box.left + steps * box.span_x, box.bottom + steps * box.span_y)
    if source.crs != target.crs:
        x, y = crs_of(target).transformer_to_crs(crs_of(source), always_xy=True)(x, y)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return True
    own = source.boundingbox
    if crs_of(source).geographic:
        # As in `warp`: a longitude counts as the one nearest to the source's middle. Of a target
        # that is cut by that, both ends count, and it spans the source.
        middle = (own.left + own.right) / 2
        x = middle + (x - middle + 180) % 360 - 180
    # Between the points edges bend a little, and a pixel reaches beyond its centre.
    spread_x, spread_y = np.ptp(x), np.ptp(y)
    margin_x = spread_x * _MARGIN + 2 * own.span_x / source.shape.x
    margin_y = spread_y * _MARGIN + 2 * own.span_y / source.shape.y
    return bool(
        x.min() - margin_x < own.right
        and x.max() + margin_x > own.left
        and y.min() - margin_y < own.top
        and y.max() + margin_y > own.bottom
    )
