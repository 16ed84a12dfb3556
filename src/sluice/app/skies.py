"""Where the ground of a scene was seen: from its cloud layer, or found in its own bands."""

from __future__ import annotations

import functools
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from odc.geo.geobox import GeoBox

from sluice.app.recipe import Recipe
from sluice.base.arrays import ArrayHW, BoolHW
from sluice.base.grid import PixelWindow
from sluice.base.methods import CloudMask
from sluice.base.raster import Raster
from sluice.base.records import Scene
from sluice.composite import omnicloud, spectral_cloud
from sluice.composite.clear import (
    CLEAR,
    UNSEEN,
    ClassesHW,
    classify_sky,
    sort_sky,
)
from sluice.imagery.names import COMPOSED
from sluice.imagery.scenes import SceneFiles, SceneImages

_OVERCAST = 0.98
"""Of a block: the little that is left shines through thin cloud mostly."""
_ON_LINE = 1e-3
_BLOCK_PX, _CONTEXT_PX = 700, 150
"""What a network judges at a time, and what it sees around that: in all the 1,000 pixels that it
was made for."""
_Bits = npt.NDArray[np.uint8]
_BLOCKS_KEPT = 2048
"""Of 122 kB: some dozens of dates over a row of tiles."""


@dataclass(frozen=True)
class SceneSky:
    """What is known of the sky over a part, (H, W) each.

    What is neither is evidence of nothing: shadow, overcast blocks, what was not observed.
    """

    clear: BoolHW
    """The ground was seen."""
    cloud: BoolHW
    """Cloud and its rim, for the guard to doubt."""

    def worth_reading(self, *, guard: bool) -> bool:
        """Whether anything of the scene can count."""
        return bool(self.clear.any() or (guard and self.cloud.any()))


@dataclass(frozen=True)
class Detector:
    """A way to find clouds in a scene's own bands."""

    bands: tuple[str, ...]
    """Common names."""
    classify: Callable[[Mapping[str, ArrayHW], Path], ClassesHW]
    """Of bands by name, (H, W) each, and the folder of weights."""
    check: Callable[[Path], object]
    """Raises where it cannot be used, given the folder of weights."""
    identity: Callable[[Path], str | None]
    """What exactly it is, given the folder of weights."""
    by_blocks: bool
    """It looks at what is around a pixel, so it is given the same blocks whatever part is read."""


DETECTORS: dict[str, Detector] = {
    "omnicloudmask": Detector(
        omnicloud.BANDS,
        lambda bands, weights: omnicloud.classify_by_omnicloudmask(
            bands["red"], bands["green"], bands["nir"], weights
        ),
        omnicloud.check_omnicloudmask,
        omnicloud.identify_omnicloudmask,
        by_blocks=True,
    ),
    "spectral": Detector(
        spectral_cloud.BANDS,
        lambda bands, _: spectral_cloud.classify_by_spectrum(bands),
        lambda _: None,
        lambda _: None,
        by_blocks=False,
    ),
}
"""By the name that scenes bear as their `sky_layer`."""


def bands_to_find_clouds(mask: CloudMask) -> tuple[str, ...]:
    """Common names of the bands that a way to find clouds needs besides those wanted."""
    return DETECTORS[mask].bands if mask in DETECTORS else ()


def with_found_clouds(
    files: Sequence[SceneFiles], mask: CloudMask, weights: Path
) -> tuple[SceneFiles, ...]:
    """Optical scenes whose clouds are to be found in their bands, whatever layer they have.

    What was composed of clear looks already has no clouds to find.

    Args:
        files: As they were found.
        mask: How to find clouds.
        weights: Folder of weights; what is in it goes on record as `Scene.sky_from`.
    """
    if mask not in DETECTORS:
        return tuple(files)
    sky_from = DETECTORS[mask].identity(weights)
    found = []
    for one in files:
        if one.scene.sensor == "s1" or one.scene.sky_layer == COMPOSED:
            found.append(one)
        else:
            scene = one.scene.model_copy(update={"sky_layer": mask, "sky_from": sky_from})
            found.append(replace(one, scene=scene, sky=None))
    return tuple(found)


def without_networks(images: SceneImages) -> SceneImages:
    """The same scenes, their clouds unknown where a network would have to find them.

    For pictures, whose pixels are too coarse for it.
    """
    files = []
    for one in images.files:
        detector = DETECTORS.get(one.scene.sky_layer or "")
        if detector is not None and detector.by_blocks:
            scene = one.scene.model_copy(update={"sky_layer": None, "sky_from": None})
            files.append(replace(one, scene=scene))
        else:
            files.append(one)
    return SceneImages(tuple(files))


def read_sky(source: SceneImages, scene: Scene, geobox: GeoBox, recipe: Recipe) -> SceneSky | None:
    """Tell where a part of a scene shows the ground; None where nothing is known of its clouds.

    Args:
        source: Holds the scene.
        scene: One of its scenes.
        geobox: The part, on the processing grid.
        recipe: Margin around clouds, and size of the blocks judged as a whole.

    Raises:
        SourceError, GridMismatch: As `SceneImages.read`.
    """
    if scene.sky_layer is None:
        return None
    margin, block_px = recipe.cloud_margin_px, recipe.overcast_px
    # Cloud just beyond the part spoils pixels inside it, and a block is judged as a whole.
    wider, inner = _to_blocks(geobox, margin, block_px or 1)
    classes = _classes(source, scene, wider, Path(recipe.sky_weights))
    if classes is None:
        return None
    core = PixelWindow(margin, margin, inner.height, inner.width)
    near = PixelWindow(
        inner.row - margin, inner.col - margin, inner.height + 2 * margin, inner.width + 2 * margin
    )
    sky = sort_sky(classes[near.slices], grow_px=margin)
    clear, cloud = sky.clear[core.slices], (sky.cloud & ~sky.shadow)[core.slices]
    if block_px:
        # Before clouds are grown: what lies beyond the blocks would grow into some parts only.
        overcast = _overcast(classes, block_px)
        if overcast.any():
            hidden = overcast.repeat(block_px, axis=0).repeat(block_px, axis=1)[inner.slices]
            return SceneSky(clear & ~hidden, cloud & ~hidden)
    return SceneSky(clear, cloud)


def _classes(source: SceneImages, scene: Scene, geobox: GeoBox, weights: Path) -> ClassesHW | None:
    layer = scene.sky_layer or ""
    detector = DETECTORS.get(layer)
    if detector is None:
        return source.read_sky(scene, geobox, functools.partial(classify_sky, layer))
    if not detector.by_blocks:
        return _judge(source.read(scene, detector.bands, geobox), detector, weights)
    classes = np.full(geobox.shape.yx, UNSEEN, np.uint8)
    aligned, inner = _to_blocks(geobox, 0, _BLOCK_PX)
    core = PixelWindow(_CONTEXT_PX, _CONTEXT_PX, _BLOCK_PX, _BLOCK_PX)
    for window in _blocks(aligned.shape.yx, _BLOCK_PX):
        block = _found_blocks.get(
            (scene.href, scene.id, scene.sky_from, window.of(aligned)),
            functools.partial(
                source.read, scene, detector.bands, window.of(aligned).pad(_CONTEXT_PX)
            ),
            lambda image: _judge(image, detector, weights)[core.slices],
        )
        # Where the block begins in the part, and which of it lies within.
        row, col = window.row - inner.row, window.col - inner.col
        top, left = max(0, row), max(0, col)
        part = classes[top : row + _BLOCK_PX, left : col + _BLOCK_PX]
        part[:] = block[top - row :, left - col :][: part.shape[0], : part.shape[1]]
    return classes


def _judge(image: Raster, detector: Detector, weights: Path) -> ClassesHW:
    if not image.valid.any():
        return np.full(image.geobox.shape.yx, UNSEEN, np.uint8)
    return detector.classify(dict(zip(image.bands, image.data_bhw, strict=True)), weights)


class _FoundBlocks:
    """Blocks judged of late: tiles share them, and a network takes seconds for one."""

    def __init__(self) -> None:
        self._kept, self._judging = threading.Lock(), threading.Lock()
        self._by_key: OrderedDict[object, tuple[_Bits, _Bits]] = OrderedDict()

    def get(
        self, key: object, read: Callable[[], Raster], judge: Callable[[Raster], ClassesHW]
    ) -> ClassesHW:
        """The block kept, or judged now: one at a time, as a network uses all cores by itself."""
        found = self._look_up(key)
        if found is None:
            image = read()
            with self._judging:
                found = self._look_up(key)
                if found is None:
                    found = judge(image)
                    self._keep(key, found)
        return found

    def _look_up(self, key: object) -> ClassesHW | None:
        with self._kept:
            if key not in self._by_key:
                return None
            self._by_key.move_to_end(key)
            low, high = self._by_key[key]
        planes = [np.unpackbits(bits, axis=1, count=_BLOCK_PX) for bits in (low, high)]
        return planes[0] | planes[1] << np.uint8(1)

    def _keep(self, key: object, classes: ClassesHW) -> None:
        # Four classes are two bits.
        bits = np.packbits(classes & 1, axis=1), np.packbits(classes >> 1, axis=1)
        with self._kept:
            self._by_key[key] = bits
            if len(self._by_key) > _BLOCKS_KEPT:
                self._by_key.popitem(last=False)


_found_blocks = _FoundBlocks()


def _blocks(shape: tuple[int, int], block_px: int) -> Iterator[PixelWindow]:
    for row in range(0, shape[0], block_px):
        for col in range(0, shape[1], block_px):
            yield PixelWindow(row, col, block_px, block_px)


def _to_blocks(geobox: GeoBox, margin: int, block_px: int) -> tuple[GeoBox, PixelWindow]:
    """The whole blocks around a part and its margin, and the part within them.

    Blocks are counted from the CRS's origin, so that every part sees the same ones.
    """

    def floor(pixel: int) -> int:
        return pixel // block_px * block_px

    a, (height, width) = geobox.affine, geobox.shape.yx
    # Not rounded: half a pixel off the CRS's lines, neighbours would round to the same line.
    row, col = math.floor(a.f / a.e + _ON_LINE), math.floor(a.c / a.a + _ON_LINE)
    top, left = floor(row - margin), floor(col - margin)
    bottom, right = -floor(-(row + height + margin)), -floor(-(col + width + margin))
    wider = PixelWindow(top - row, left - col, bottom - top, right - left).of(geobox)
    return wider, PixelWindow(row - top, col - left, height, width)


def _overcast(classes: ClassesHW, block_px: int) -> BoolHW:
    """Blocks of which hardly anything was seen, one value for each."""
    clear, seen = classes == CLEAR, classes != UNSEEN

    def is_overcast(block: PixelWindow) -> bool:
        least = (1 - _OVERCAST) * int(np.count_nonzero(seen[block.slices]))
        return int(np.count_nonzero(clear[block.slices])) < least

    blocks = [is_overcast(block) for block in _blocks(classes.shape, block_px)]
    return np.array(blocks, np.bool_).reshape(-1, classes.shape[1] // block_px)
