"""From scenes to one image of a period: read, take away clouds, reduce."""

from __future__ import annotations

import datetime as dt
import functools
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from odc.geo.geobox import GeoBox

from sluice.app.recipe import Recipe
from sluice.app.skies import SceneSky, read_sky
from sluice.base.arrays import ArrayBHW, ArrayHW, ArrayTBHW, ArrayTHW, BoolTHW
from sluice.base.errors import (
    AuthError,
    ConfigError,
    GridMismatch,
    SourceError,
    SourceUnavailable,
)
from sluice.base.raster import Raster
from sluice.base.records import ModelInput, Scene
from sluice.base.sensors import find_sensor
from sluice.composite.adapt import adapt_bands
from sluice.composite.guard import give_back_stable_ground
from sluice.composite.reduce import last_clear_day, reduce_stack
from sluice.composite.sar import (
    SPECKLE_WINDOW_PX,
    BackscatterMethod,
    combine_directions,
    filter_lee,
    filter_series,
    from_db,
    reduce_backscatter,
)
from sluice.imagery.scenes import SceneImages, lack_of_bands

_PASS = dt.timedelta(minutes=30)
"""Longer than Sentinel-2 records in one go."""
_READERS = 12
_VISIBLE = ("blue", "green", "red")
_UNDATED = dt.date(1970, 1, 1)
"""Before any look, so that a dated one counts as the last."""
_T = TypeVar("_T")


@dataclass(frozen=True)
class Composite:
    """One image of a period."""

    raster: Raster
    """NaN where there were too few clear looks."""
    looks_hw: npt.NDArray[np.int16]
    """(H, W), clear looks at each pixel."""
    last_day_hw: ArrayHW
    """(H, W) float32, days since 1970-01-01 of the last clear look, NaN where there is none."""


@dataclass(frozen=True)
class Compositor:
    """Makes any part of a period's composite; pickles.

    Each call reads the scenes for its part of the grid only, so memory is bounded by the tile.
    A pixel does not depend on the part it is read in.
    """

    source: SceneImages
    bands: tuple[str, ...]
    """Common names, in the order to give."""
    recipe: Recipe = field(default_factory=Recipe)
    adapt: Mapping[str, Sequence[tuple[float, float]] | None] = field(default_factory=dict)
    """By sensor: (gain, offset) for each band, from the model's manifest."""

    def __call__(self, geobox: GeoBox) -> Composite:
        """Compose a part of the grid.

        Raises:
            SourceError: More than half of the scenes could not be read.
        """
        scenes = [scene for scene in self.source.scenes if self.source.meets(scene, geobox)]
        failed: dict[str, SourceError | GridMismatch] = {}
        if all(_is_radar(scene) for scene in scenes) and scenes:
            composite = self._of_radar(scenes, geobox, failed)
        else:
            composite = self._of_optical(scenes, geobox, failed)
        _refuse_too_many(failed, len(scenes))
        reasons = {name: str(err) for name, err in failed.items()}
        return replace(composite, raster=replace(composite.raster, left_out=reasons))

    def _of_optical(
        self, scenes: list[Scene], geobox: GeoBox, failed: dict[str, SourceError | GridMismatch]
    ) -> Composite:
        skies = {
            scene.id: sky
            for scene, sky in self._each(
                scenes, lambda scene: read_sky(self.source, scene, geobox, self.recipe), failed
            )
            if sky is None or sky.worth_reading(guard=self.recipe.guard)
        }
        wanted = [scene for scene in scenes if scene.id in skies]
        if not wanted:
            return self._nothing(geobox)
        # Of all scenes, as which of them are of one pass must not depend on the part.
        numbers = number_looks(self.source.scenes)
        slots = {number: k for k, number in enumerate(dict.fromkeys(numbers[s.id] for s in wanted))}
        looks = _Looks.none(len(slots), len(self.bands), geobox.shape.yx)
        # The first scene of a look is read to where it belongs.
        firsts = {numbers[scene.id]: scene.id for scene in reversed(wanted)}
        places = {id_: looks.stack[slots[number]] for number, id_ in firsts.items()}

        def read(scene: Scene) -> ArrayBHW:
            return self._read(scene, geobox, places.get(scene.id))

        for scene, image in self._each(wanted, read, failed):
            looks.add(slots[numbers[scene.id]], image, skies[scene.id], scene.acquired or _UNDATED)
        looks.blank_missing()
        if self.recipe.guard:
            looks.clear |= self._given_back(looks)
        last = last_clear_day(looks.clear, [day or _UNDATED for day in looks.days])
        last[last == 0] = np.nan
        reduced, looks_hw = reduce_stack(
            self.recipe.method, looks.stack, looks.clear, min_looks=self.recipe.min_looks
        )
        return Composite(Raster(reduced, self.bands, geobox), looks_hw, last)

    def _given_back(self, looks: _Looks) -> BoolTHW:
        """Looks that the cloud layer calls cloud and that are ground all the same."""
        visible = [k for k, band in enumerate(self.bands) if band in _VISIBLE]
        if not visible or not looks.cloud.any():
            return np.zeros_like(looks.clear)
        bands = [looks.stack[:, k] for k in visible]
        return give_back_stable_ground(bands, looks.cloud, observed_thw=looks.told)

    def _of_radar(
        self, scenes: list[Scene], geobox: GeoBox, failed: dict[str, SourceError | GridMismatch]
    ) -> Composite:
        """Each orbit direction on its own, as slopes look brighter from one side, then both."""
        method = radar_method(self.recipe)
        # The filter's window reaches beyond the part.
        margin = SPECKLE_WINDOW_PX // 2 if self.recipe.speckle else 0
        wider, inner = geobox.pad(margin) if margin else geobox, slice(margin, -margin or None)
        by_orbit: dict[str | None, list[tuple[Scene, ArrayBHW]]] = {}
        for scene, image in self._each(scenes, lambda scene: self._read(scene, wider), failed):
            by_orbit.setdefault(scene.orbit_state, []).append((scene, from_db(image)))
        if not by_orbit:
            return self._nothing(geobox)
        directions, seen, days = [], [], []
        for members in by_orbit.values():
            power = np.stack([image for _, image in members])
            if self.recipe.speckle:
                for band in range(power.shape[1]):
                    power[:, band] = _without_speckle(power[:, band])
            power = power[:, :, inner, inner]
            directions.append(reduce_backscatter(power, method))
            seen += [np.isfinite(image).all(axis=0) for image in power]
            days += [scene.acquired or _UNDATED for scene, _ in members]
        decibels, looks_hw = combine_directions(directions, method)
        decibels[:, looks_hw < self.recipe.min_looks] = np.nan
        last = last_clear_day(np.stack(seen), days)
        last[last == 0] = np.nan
        return Composite(Raster(decibels, self.bands, geobox), looks_hw, last)

    def _nothing(self, geobox: GeoBox) -> Composite:
        shape = geobox.shape.yx
        empty: ArrayBHW = np.full((len(self.bands), *shape), np.nan, np.float32)
        never: ArrayHW = np.full(shape, np.nan, np.float32)
        return Composite(Raster(empty, self.bands, geobox), np.zeros(shape, np.int16), never)

    def _read(self, scene: Scene, geobox: GeoBox, out: ArrayBHW | None = None) -> ArrayBHW:
        image = self.source.read(scene, self.bands, geobox, out).data_bhw
        lines = self.adapt.get(scene.sensor or "")
        if lines:
            adapt_bands(image, lines, out=image)
        return image

    def _each(
        self,
        scenes: Sequence[Scene],
        read: Callable[[Scene], _T],
        failed: dict[str, SourceError | GridMismatch],
    ) -> Iterator[tuple[Scene, _T]]:
        """Read scenes in order, those at addresses side by side; notes those that cannot be.

        No more are read ahead than there are readers: what they read waits in memory.
        """
        ahead: deque[tuple[Scene, Callable[[], _T]]] = deque()

        def take() -> Iterator[tuple[Scene, _T]]:
            scene, wait = ahead.popleft()
            try:
                yield scene, wait()
            except (SourceError, GridMismatch) as err:
                failed[scene.id] = err

        for scene in scenes:
            if self.source.is_remote(scene):
                ahead.append((scene, _reader_of(scene.id).submit(read, scene).result))
            else:
                ahead.append((scene, functools.partial(read, scene)))
            if len(ahead) > _READERS:
                yield from take()
        while ahead:
            yield from take()


@dataclass
class _Looks:
    """The looks of a part, while they are put together."""

    stack: ArrayTBHW
    told: BoolTHW
    """Every band has a value, and it is told whether that is ground or cloud. All else is evidence
    of nothing: shadow, overcast blocks, what the cloud layer does not know."""
    clear: BoolTHW
    cloud: BoolTHW
    days: list[dt.date | None]

    @classmethod
    def none(cls, count: int, bands: int, shape: tuple[int, int]) -> _Looks:
        """Nothing observed yet; the stack is to be filled by `add` and `blank_missing`."""
        stack: ArrayTBHW = np.empty((count, bands, *shape), np.float32)
        told, clear, cloud = (np.zeros((count, *shape), np.bool_) for _ in range(3))
        return cls(stack, told, clear, cloud, [None] * count)

    def add(self, number: int, image: ArrayBHW, sky: SceneSky | None, day: dt.date) -> None:
        """Take a scene in, where its look is told nothing yet, or nothing clear.

        Args:
            number: Of the look.
            image: May be the look's own part of the stack.
            sky: Of the scene; None where nothing is known of it, and all of it counts.
            day: Of the look.
        """
        # Of finite reflectance and decibels the sum is finite, and one pass tells of all bands.
        seen = np.isfinite(image.sum(axis=0))
        clear = told = seen
        cloud = np.zeros_like(seen)
        if sky is not None:
            clear, cloud = seen & sky.clear, seen & sky.cloud
            told = clear | cloud
        first = self.days[number] is None
        better = True if first else (clear & ~self.clear[number]) | (told & ~self.told[number])
        self.days[number] = day
        for kept, new in (
            (self.stack, image),
            (self.told, told),
            (self.clear, clear),
            (self.cloud, cloud),
        ):
            if not np.may_share_memory(kept[number], new):
                np.copyto(kept[number], new, where=better)

    def blank_missing(self) -> None:
        """Clear away what was left by scenes that could not be read."""
        for number, day in enumerate(self.days):
            if day is None:
                self.stack[number] = np.nan


@dataclass(frozen=True)
class CompositeLoader:
    """Loads a model's inputs on any part of the grid; a `TileLoader`, and pickles."""

    periods: Mapping[int, SceneImages]
    """0 is the period under judgement, -1 the one before."""
    inputs: tuple[ModelInput, ...]
    recipe: Recipe = field(default_factory=Recipe)
    adapt: Mapping[str, Sequence[tuple[float, float]] | None] = field(default_factory=dict)
    """By sensor: (gain, offset) for each input, from the model's manifest."""

    def check(self, model_name: str) -> None:
        """Fail early where every tile would fail.

        Raises:
            BandNotFound: A scene lacks a band that the model needs.
            ConfigError: The model needs a period for which there are no images.
        """
        earlier = [i.key for i in self.inputs if i.period not in self.periods]
        if earlier:
            raise ConfigError(
                f"model {model_name} compares periods (it needs {', '.join(earlier)}); "
                "give --source with --every, or choose another model"
            )
        for period, images in self.periods.items():
            bands = [i.band for i in self.inputs if i.period == period]
            refuse_missing_bands(images.scenes, bands, wanted_by=f"model {model_name}")

    def __call__(self, geobox: GeoBox) -> Raster:
        """Compose each period, and put its bands in the model's order."""
        data: ArrayBHW = np.empty((len(self.inputs), *geobox.shape.yx), np.float32)
        left_out: dict[str, str] = {}
        for period, images in self.periods.items():
            members = [k for k, i in enumerate(self.inputs) if i.period == period]
            if not members:
                continue
            adapt = {
                sensor: [lines[k] for k in members] if lines else None
                for sensor, lines in self.adapt.items()
            }
            bands = tuple(self.inputs[k].band for k in members)
            raster = Compositor(images, bands, self.recipe, adapt)(geobox).raster
            data[members] = raster.data_bhw
            left_out |= raster.left_out
        return Raster(data, tuple(i.key for i in self.inputs), geobox, left_out)


def number_looks(scenes: Sequence[Scene]) -> dict[str, int]:
    """Which look each scene belongs to, by id, numbered in order.

    Tiles of one pass overlap, and a pass may be stored in two pieces. Their pixels show the same
    ground under the same clouds at the same moment: one look, however often it is stored.
    """
    numbers: dict[str, int] = {}
    count = 0
    latest: dict[tuple[str | None, dt.date], list[tuple[dt.datetime | None, int]]] = {}
    for scene in scenes:
        passes = latest.setdefault((scene.sensor, scene.acquired or dt.date.min), [])
        number = None
        if scene.acquired is not None:
            number = next((n for at, n in passes if _same_pass(at, scene.acquired_at)), None)
        if number is None:
            number, count = count, count + 1
            passes.append((scene.acquired_at, number))
        numbers[scene.id] = number
    return numbers


def _same_pass(one: dt.datetime | None, other: dt.datetime | None) -> bool:
    """Whether two images of a day are of one pass; an orbit takes over an hour and a half."""
    return one is None or other is None or abs(one - other) <= _PASS


def refuse_missing_bands(scenes: Sequence[Scene], bands: Sequence[str], *, wanted_by: str) -> None:
    """Fail early where a scene lacks a band.

    Raises:
        BandNotFound: It does; the message names both sides.
    """
    for scene in scenes:
        missing = [band for band in bands if band not in scene.bands]
        if missing:
            raise lack_of_bands(scene, missing, wanted_by=wanted_by)


def radar_method(recipe: Recipe) -> BackscatterMethod:
    """How radar looks are reduced.

    Raises:
        ConfigError: In a way that is not offered for them.
    """
    if recipe.method == "median":
        return "median"
    if recipe.method == "minimum":
        return "minimum"
    raise ConfigError(f"--reduce {recipe.method}: radar looks are reduced by median or minimum")


def _without_speckle(power_thw: ArrayTHW) -> ArrayTHW:
    """Dates are each other's witnesses of the ground's texture; one alone has only itself."""
    filtered = filter_series(power_thw)
    known = np.isfinite(power_thw)
    alone = known.sum(axis=0) == 1
    if alone.any():
        for date, power in enumerate(power_thw):
            here = alone & known[date]
            if here.any():
                filtered[date][here] = filter_lee(power)[here]
    return filtered


def _refuse_too_many(failed: Mapping[str, SourceError | GridMismatch], scenes: int) -> None:
    """Fail the tile where its composite would be another one than was asked for.

    A failed tile is tried again when the command is given again; one that was made of a few
    scenes because the line was down would stay.
    """
    if not failed or 2 * len(failed) <= scenes:
        return
    errors = list(failed.values())
    first = next((err for err in errors if isinstance(err, AuthError)), errors[0])
    if len(failed) == scenes:
        raise first
    raise SourceUnavailable(
        f"{len(failed)} of {scenes} scenes could not be read; first: {first}", item_id=first.item_id
    ) from first


def _is_radar(scene: Scene) -> bool:
    return scene.sensor is not None and find_sensor(scene.sensor).quantity == "backscatter_db"


@functools.cache
def _readers() -> tuple[ThreadPoolExecutor, ...]:
    return tuple(ThreadPoolExecutor(1, thread_name_prefix=f"read-{k}") for k in range(_READERS))


def _reader_of(scene_id: str) -> ThreadPoolExecutor:
    """A scene's own thread: its files stay open there from tile to tile."""
    return _readers()[zlib.crc32(scene_id.encode()) % _READERS]
