"""A synthetic Sentinel-2 scene and the truth that was planted in it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import geopandas as gpd
import numpy as np
import shapely
from affine import Affine
from odc.geo import CRS
from odc.geo.geobox import GeoBox
from rasterio import features
from scipy import ndimage
from shapely import affinity, ops
from shapely.geometry import LineString
from shapely.geometry.base import BaseGeometry

from sluice.base.arrays import ArrayHW, BoolHW
from sluice.base.errors import ConfigError
from sluice.base.raster import Raster
from sluice.base.sensors import SENSORS
from sluice.phantom.builtup import paint_road, plant_fish_ponds, plant_industry, plant_settlement
from sluice.phantom.canvas import Canvas, NoPlace, Planted, share_of
from sluice.phantom.landscape import (
    paint_farmland,
    paint_forest,
    paint_reservoir,
    paint_river,
    paint_stream,
)
from sluice.phantom.mines import plant_mine
from sluice.phantom.sky import (
    CLOUD_HIGH,
    CLOUD_MEDIUM,
    CLOUD_SHADOW,
    THIN_CIRRUS,
    observe,
    paint_clouds,
)

SPECIFIC_CONFUSERS = (
    "sandbar",
    "turbid_river_bend",
    "oxbow",
    "reservoir_shore",
    "fish_pond",
    "settlement",
    "industry",
    "bare_field",
    "road",
)
"""Kinds of confusers that are objects."""
LAND_KINDS = ("river", "reservoir", "farmland")
"""Kinds that are land cover: they count only where no object lies."""

GSD_M = 10.0
NOT_CLEAR = (CLOUD_SHADOW, CLOUD_MEDIUM, CLOUD_HIGH, THIN_CIRRUS)
"""Classes under which the ground was not seen."""
# Somewhere between the Tapajos and the Jamanxim as far as coordinates go; nothing in the scene
# is there.
_CRS = CRS("EPSG:32721")
_UPPER_LEFT_M = (600_000.0, 9_300_000.0)


@dataclass(frozen=True)
class PhantomScene:
    """Pixels and truth of one synthetic scene. The place is fictional."""

    seed: int
    acquired: dt.date
    """Of no meaning but as a date in names."""
    raster: Raster
    """Surface reflectance of the twelve L2A bands, by common name, on a 10 m grid; bands of 20
    and 60 m repeat their value over the pixels they cover."""
    scl_hw: np.ndarray
    """(H, W) uint8, Sentinel-2 scene classification, true by construction."""
    mines: gpd.GeoDataFrame
    """Columns mine_id, style, area_ha, clear_share, geometry (outlines of the workings)."""
    confusers: gpd.GeoDataFrame
    """Columns kind, area_ha, clear_share, geometry."""

    @property
    def clear(self) -> BoolHW:
        """(H, W) bool, True where neither cloud, cirrus nor shadow lies."""
        return np.asarray(~np.isin(self.scl_hw, NOT_CLEAR))


def demo_scene() -> PhantomScene:
    """The scene of the demo: 12 x 12 km, a dozen mines, every confuser, some clouds."""
    return build_scene(23)


def build_scene(
    seed: int,
    size_px: int = 1200,
    *,
    mine_count: int = 12,
    largest_ha: float = 200.0,
    farmland_share: float = 0.28,
    cloud_share: float = 0.03,
    cirrus_share: float = 0.02,
    acquired: dt.date = dt.date(2026, 7, 15),
) -> PhantomScene:
    """Draw a scene. The same arguments give the same scene.

    Args:
        seed: Source of all chance.
        size_px: Side in pixels of 10 m, a multiple of 6, at least 240.
        mine_count: Mines to plant; fewer where they do not fit.
        largest_ha: Upper end of their sizes, which are log-uniform from 1 ha.
        farmland_share: Part of the scene that is farmland, 0-1.
        cloud_share: Part of the scene under cumulus, 0-1.
        cirrus_share: Part of the scene under thin cirrus, 0-1.
        acquired: Date to bear.

    Returns:
        The scene; clouds change neither the land nor the truth under them.

    Raises:
        ConfigError: A size or share that cannot be drawn.
    """
    check_land(size_px, largest_ha, farmland_share)
    for name, share in (
        ("cloud_share", cloud_share),
        ("cirrus_share", cirrus_share),
    ):
        _check_share(name, share)
    canvas = Canvas(size_px, np.random.default_rng(seed))
    mines, others = draw_land(canvas, mine_count, largest_ha, farmland_share)
    paint_clouds(canvas, cloud_share, cirrus_share)
    reflectance = observe(canvas)
    scl = at_20_m(canvas.scl_hw)
    geobox = scene_grid(size_px)
    names = tuple(band.common_name for band in SENSORS["s2-l2a"].bands)
    return PhantomScene(
        seed=seed,
        acquired=acquired,
        raster=Raster(reflectance, names, geobox),
        scl_hw=scl,
        mines=truth_frame(mines, "style", scl, geobox, ids=True),
        confusers=truth_frame(others, "kind", scl, geobox, ids=False),
    )


def check_land(size_px: int, largest_ha: float, farmland_share: float) -> None:
    """Refuse what cannot be drawn.

    Raises:
        ConfigError: A size or share that cannot be drawn.
    """
    if size_px < 240 or size_px % 6:
        raise ConfigError(f"size_px is {size_px}; use a multiple of 6 that is 240 or more")
    if largest_ha < 1:
        raise ConfigError(f"largest_ha is {largest_ha}; mines start at 1 ha, so use 1 or more")
    _check_share("farmland_share", farmland_share)


def _check_share(name: str, share: float) -> None:
    if not 0 <= share < 1:
        raise ConfigError(f"{name} is {share}; use a share of 0 or more and less than 1")


def scene_grid(
    size_px: int, upper_left_m: tuple[float, float] = _UPPER_LEFT_M, crs: CRS = _CRS
) -> GeoBox:
    """The 10 m grid of a scene."""
    transform = Affine(GSD_M, 0, upper_left_m[0], 0, -GSD_M, upper_left_m[1])
    return GeoBox((size_px, size_px), transform, crs)


def at_20_m(scl_hw: np.ndarray) -> np.ndarray:
    """The classification at 20 m, like the real one: a block with any sky in it is sky."""
    blocks = [scl_hw[row::2, col::2] for row in (0, 1) for col in (0, 1)]
    coarse = blocks[0].copy()
    for sky in (CLOUD_SHADOW, THIN_CIRRUS, CLOUD_MEDIUM, CLOUD_HIGH):
        coarse[np.any([block == sky for block in blocks], axis=0)] = sky
    return coarse.repeat(2, axis=0).repeat(2, axis=1)


def draw_land(
    canvas: Canvas,
    mine_count: int,
    largest_ha: float,
    farmland_share: float,
    *,
    plant: Callable[[Canvas, float, list[LineString], ArrayHW], Planted] = plant_mine,
    reservoirs: int = 2,
) -> tuple[list[Planted], list[Planted]]:
    """Paint the land from the ground up.

    Args:
        canvas: Painted in place.
        mine_count: Mines to plant; fewer where they do not fit.
        largest_ha: Upper end of their sizes, which are log-uniform from 1 ha.
        farmland_share: Part of the scene that is farmland, 0-1.
        plant: Plants one mine; takes what `plant_mine` takes.
        reservoirs: How many to flood; they fill a small scene.

    Returns:
        The mines, and everything else of known place.
    """
    rng, size = canvas.rng, canvas.size_px
    # Counts of objects grow with the scene: those of the 12 km demo are the measure.
    fill = (size / 1200) ** 2
    paint_forest(canvas)
    others = paint_farmland(canvas, farmland_share)
    streams = [paint_stream(canvas) for _ in range(max(2, round(5 * fill)))]
    # The tributary first: the main river covers it where they meet.
    tributary = paint_river(canvas, width_px=rng.uniform(2, 5), turbid=False, bar_share=0.8)
    main = paint_river(canvas, width_px=rng.uniform(9, 26), turbid=True, bar_share=0.6)
    drowned = shapely.union_all([planted.outline for planted in main])
    others += main + [Planted(p.kind, p.outline.difference(drowned)) for p in tributary]
    others += _plant(reservoirs, lambda: paint_reservoir(canvas, rng.uniform(45, 80)))
    towns = _plant(max(1, round(6 * fill)), lambda: [plant_settlement(canvas, rng.uniform(10, 30))])
    works = _plant(max(1, round(5 * fill)), lambda: [plant_industry(canvas, rng.uniform(15, 45))])
    far = _distance_to(streams, size)
    roads = _connect(canvas, towns + works)
    # Large mines first, while there is room.
    areas = np.sort(np.exp(rng.uniform(0, np.log(largest_ha), mine_count)))[::-1]
    mines: list[Planted] = []
    for area in areas:
        mines += _plant(1, partial(_mine, plant, canvas, float(area), streams, far))
    tracks = _tracks(canvas, mines, roads)
    ponds = _plant(max(2, round(12 * fill)), lambda: [plant_fish_ponds(canvas)])
    return mines, others + towns + works + roads + tracks + ponds


def _plant(count: int, plant: Callable[[], list[Planted]]) -> list[Planted]:
    """Plant something several times, as often as there is room."""
    planted: list[Planted] = []
    for _ in range(count):
        try:
            planted += plant()
        except NoPlace:
            break
    return planted


def _mine(
    plant: Callable[[Canvas, float, list[LineString], ArrayHW], Planted],
    canvas: Canvas,
    area_ha: float,
    streams: list[LineString],
    far_hw: ArrayHW,
) -> list[Planted]:
    return [plant(canvas, area_ha, streams, far_hw)]


def _distance_to(lines: list[LineString], size_px: int) -> ArrayHW:
    """Distance of each pixel to the nearest line, in pixels."""
    touched = features.rasterize(lines, out_shape=(size_px, size_px), all_touched=True)
    return np.asarray(ndimage.distance_transform_edt(touched == 0), dtype=np.float32)


def _connect(canvas: Canvas, places: list[Planted]) -> list[Planted]:
    """A through road, and one from each place to the nearest that is connected already."""
    size, rng = canvas.size_px, canvas.rng
    built = shapely.union_all([place.outline for place in places])
    left, right = (-5.0, rng.uniform(0, size)), (size + 5.0, rng.uniform(0, size))
    roads = [paint_road(canvas, left, right, width_px=1.1, around=built)]
    for place in places:
        centre = place.outline.centroid
        network = shapely.union_all([road.outline for road in roads])
        meet = ops.nearest_points(network, centre)[0]
        width = rng.uniform(0.7, 1.1)
        roads.append(
            paint_road(canvas, (centre.x, centre.y), (meet.x, meet.y), width_px=width, around=built)
        )
    return roads


def _tracks(canvas: Canvas, mines: list[Planted], roads: list[Planted]) -> list[Planted]:
    """Narrow ways from about half of the mines to the nearest road."""
    worked = shapely.union_all([mine.outline for mine in mines])
    network = shapely.union_all([road.outline for road in roads])
    tracks = []
    for mine in mines:
        if canvas.rng.random() < 0.5:
            continue
        here, there = ops.nearest_points(mine.outline, network)
        if here.distance(there) > 2:
            ends = ((here.x, here.y), (there.x, there.y))
            tracks.append(paint_road(canvas, *ends, width_px=0.5, around=worked))
    return tracks


def truth_frame(
    planted: list[Planted], label: str, scl_hw: np.ndarray, geobox: GeoBox, *, ids: bool
) -> gpd.GeoDataFrame:
    """Outlines on the ground with their area and the share of it that is clear."""
    height, width = geobox.shape.yx
    scene = shapely.box(0, 0, width, height)
    outlines = [shapely.intersection(p.outline, scene) for p in planted]
    kept = [(p.kind, o) for p, o in zip(planted, outlines, strict=True) if o.area >= 1]
    ground = [to_ground(outline, geobox) for _, outline in kept]
    columns: dict[str, object] = {"mine_id": [f"M{n:02d}" for n in range(1, len(kept) + 1)]}
    if not ids:
        columns = {}
    columns[label] = [kind for kind, _ in kept]
    columns["area_ha"] = [shape.area / 10_000 for shape in ground]
    clear = ~np.isin(scl_hw, NOT_CLEAR)
    columns["clear_share"] = [share_inside(clear, outline) for _, outline in kept]
    return gpd.GeoDataFrame(columns, geometry=ground, crs=str(geobox.crs))


def to_ground(outline: BaseGeometry, geobox: GeoBox) -> BaseGeometry:
    """A shape in pixels as one in the grid's CRS."""
    a = geobox.affine
    ground: BaseGeometry = affinity.affine_transform(outline, (a.a, a.b, a.d, a.e, a.c, a.f))
    return ground


def share_inside(clear_hw: np.ndarray, outline: BaseGeometry) -> float:
    """Part of a shape, in pixels, where `clear_hw` is True."""
    share, window = share_of(outline, len(clear_hw))
    if not share.any():
        # Thinner than the raster sees: the margin gives it a pixel at least.
        share, window = share_of(outline.buffer(0.7), len(clear_hw))
    return float((share * clear_hw[window.slices]).sum() / share.sum())
