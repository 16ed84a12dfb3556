"""The parts of a map that get a sample of their own: of a finished scan, or of a classified raster.

Most of an area holds no mine, and points there would mostly tell that. So what the map calls mine
is a part of its own, and so is the ground where it most likely missed one: around its mines, and
where the score is high and yet too low. What was not observed is no part: nothing is said of it.

Source:
    Olofsson et al. 2020, doi:10.1016/j.rse.2019.111492, for the part around the mapped class.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import rasterio
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio import features
from rasterio.windows import Window
from scipy import ndimage
from shapely.geometry.base import BaseGeometry

from sluice.app.area import read_area
from sluice.app.products.coverage import part_near, to_grid
from sluice.app.products.landing import holds_finished
from sluice.app.products.layout import RUN, SCORE, SITES_GPKG, SITES_PARQUET
from sluice.app.products.run_record import read_run
from sluice.app.products.vectors import WORKINGS
from sluice.base.arrays import BoolHW, FloatArray, IntArray
from sluice.base.errors import (
    AssetReadError,
    ConfigError,
    DataError,
    ItemNotFound,
    NoValidData,
    SluiceError,
)
from sluice.base.files import open_raster, read_vector, sha256_file, vector_layers
from sluice.base.grid import PixelWindow, iter_tiles
from sluice.base.records import Run
from sluice.evaluation.area_sample import OUTSIDE, CodesHW, Stratum, count_codes
from sluice.sites.area import geodesic_areas_ha

MINE, NOT_MINE = "mine", "not mine"

_BLOCK_M = 5000.0
"""Within a block of this side pixels of UTM differ in true area by less than one in 10,000."""
_MOST_AREA_SPREAD = 0.01
"""Pixels are drawn with equal chances, so that they must be of nearly equal area."""
_EXPECTED = {"workings": 0.6, "footprint": 0.1, "mapped": 0.6, "near": 0.02, "other": 0.003}
_EXPECTED_FOOTPRINT_ALONE = 0.3


@dataclass(frozen=True)
class MapStrata:
    """A map as numbered strata, read block by block."""

    geobox: GeoBox
    """Grid of the pixels that are drawn."""
    strata: tuple[Stratum, ...]
    """In the order of their numbers; without pixels and areas yet."""
    read: Callable[[PixelWindow], CodesHW]
    """(H, W) number of each pixel's stratum, `OUTSIDE` where it has none."""
    in_area: Callable[[PixelWindow], BoolHW]
    """(H, W) whether a pixel is in the area that was asked for."""
    source: dict[str, Any]
    """Which map it is, for the record."""
    hashes: dict[str, str]
    """SHA-256 of what the strata were made of."""

    def blocks(self) -> Iterator[PixelWindow]:
        """The grid in pieces, always in the same order."""
        pixel_m = _pixel_m(self.geobox)
        side = int(np.clip(_BLOCK_M / pixel_m, 64, 512))
        for core, _ in iter_tiles(self.geobox.shape.yx, side, 0):
            yield core


@dataclass(frozen=True)
class CountedStrata:
    """How large the strata of a map are."""

    strata: tuple[Stratum, ...]
    """Those that have pixels."""
    codes: tuple[int, ...]
    """Their numbers in the map."""
    before: IntArray
    """(blocks + 1, strata) pixels of each in the blocks before."""
    observed_ha: float
    not_observed_ha: float
    """Of the area that was asked for: outside of every estimate."""
    pixel_m: float
    pixel_area_spread: float
    """How much larger the largest pixel is than the smallest, 0-1."""


def count_strata(maps: MapStrata) -> CountedStrata:
    """Measure the strata: pixels, and geodesic hectares.

    Raises:
        NoValidData: Nothing of the area was observed.
        ConfigError: The pixels differ too much in area.
    """
    numbers = len(maps.strata)
    pixels, outside, pixel_ha = [], [], []
    for block in maps.blocks():
        codes = maps.read(block)
        pixels.append(count_codes(codes, numbers))
        outside.append(int(((codes == OUTSIDE) & maps.in_area(block)).sum()))
        box = shapely.box(*block.of(maps.geobox).boundingbox.bbox)
        area = geodesic_areas_ha([box], str(maps.geobox.crs))[0]
        pixel_ha.append(area / (block.height * block.width))
    per_block, per_pixel = np.array(pixels), np.array(pixel_ha)
    spread = float(per_pixel.max() / per_pixel.min() - 1)
    if spread > _MOST_AREA_SPREAD:
        raise ConfigError(
            f"the map's pixels differ by {spread:.1%} in true area, and points are drawn with "
            "equal chances; warp it to UTM or an equal-area projection (QGIS: Warp)"
        )
    totals, areas = per_block.sum(axis=0), per_block.T @ per_pixel
    if not totals.sum():
        raise NoValidData("nothing of the area was observed, so that there is nothing to sample")
    kept = np.flatnonzero(totals)
    return CountedStrata(
        strata=tuple(
            maps.strata[i].model_copy(
                update={"pixels": int(totals[i]), "area_ha": round(float(areas[i]), 4)}
            )
            for i in kept
        ),
        codes=tuple(int(i) for i in kept),
        before=np.vstack([np.zeros(numbers, np.int64), per_block.cumsum(axis=0)]),
        observed_ha=float(areas.sum()),
        not_observed_ha=float(np.array(outside) @ per_pixel),
        pixel_m=_pixel_m(maps.geobox),
        pixel_area_spread=spread,
    )


def _pixel_m(geobox: GeoBox) -> float:
    """Side of a pixel in metres, roughly where the grid is in degrees."""
    side = abs(float(geobox.affine.a))
    return side * 111_320 if geobox.crs is not None and geobox.crs.geographic else side


def read_strata(
    path: Path,
    *,
    mine_values: tuple[int, ...] = (),
    near_m: float | None = None,
    suspect_score: float | None = None,
    area: str | None = None,
) -> MapStrata:
    """Divide a map into strata.

    Args:
        path: The folder of a finished scan, or a raster of classes.
        mine_values: Numbers that mean mine, of a raster.
        near_m: Reach of the stratum around what is mapped; None for half the model's window, or
            five pixels of a raster.
        suspect_score: Score from which on ground belongs to the stratum `near` as well; None for
            half the model's threshold.
        area: As for `read_area`; None for the one that was scanned.

    Raises:
        ConfigError: No finished scan and no raster, or options that do not fit the map.
        SourceError: A file is missing, or cannot be read.
        DataError: The run's record cannot be used.
    """
    if not path.exists():
        raise ItemNotFound(f"{path}: no such file or folder; check the path", href=str(path))
    if near_m is not None and not 0 <= near_m < float("inf"):
        raise ConfigError(f"--near {near_m}: give metres, 0 or more")
    if path.is_dir():
        if mine_values:
            raise ConfigError("--mine-values is for rasters; a scan tells what it calls mine")
        return _strata_of_run(path, near_m, suspect_score, area)
    if suspect_score is not None:
        raise ConfigError("--suspect-score is for scans; a raster of classes has no scores")
    return _strata_of_raster(path, mine_values, near_m, area)


def run_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of what the strata of a run are made of.

    Outlines are hashed by their shapes: QGIS changes a GeoPackage when it opens it.
    """
    hashes = {name: sha256_file(folder / name) for name in (SCORE, SITES_PARQUET)}
    workings = _read_workings(folder)
    if workings is not None:
        digest = hashlib.sha256(b"".join(shapely.to_wkb(np.asarray(workings))))
        hashes[f"{SITES_GPKG} {WORKINGS}"] = digest.hexdigest()
    return hashes


def _read_workings(folder: Path) -> gpd.GeoSeries | None:
    path = folder / SITES_GPKG
    if not path.is_file() or WORKINGS not in vector_layers(path):
        return None
    return read_vector(path, layer=WORKINGS, may_be_empty=True).geometry


def open_run(folder: Path) -> Run:
    """The record of a finished scan.

    Raises:
        ConfigError: The folder holds none.
        DataError: Of another version.
    """
    present = all((folder / name).is_file() for name in (SCORE, SITES_PARQUET))
    if not holds_finished(folder) or not present:
        raise ConfigError(
            f"{folder}: holds no finished scan; give a result folder of `sluice scan`, or a raster "
            "of classes",
            href=str(folder),
        )
    return read_run(folder / RUN)


def _strata_of_run(
    folder: Path, near_m: float | None, suspect_score: float | None, area: str | None
) -> MapStrata:
    run = open_run(folder)
    geobox = _grid_of(run, folder)
    sites = read_vector(folder / SITES_PARQUET, may_be_empty=True).geometry
    workings = _read_workings(folder)
    reach = max(100.0, run.summary.get("window_m", 0) / 2) if near_m is None else near_m
    threshold = float(run.model["thresholds"]["t_main"])
    suspect = threshold / 2 if suspect_score is None else suspect_score
    footprints = _projected(sites, geobox)
    layers = [_Burner(_projected(workings, geobox), geobox)] if workings is not None else []
    layers += [_Burner(footprints, geobox), _Burner(shapely.buffer(footprints, reach), geobox)]
    score = _NearestCell(folder / SCORE, geobox)
    wanted = _area_of(run, folder, geobox, area)
    inside = _Burner(np.array([wanted], dtype=object), geobox) if wanted is not None else None

    def in_area(block: PixelWindow) -> BoolHW:
        return np.ones((block.height, block.width), bool) if inside is None else inside(block)

    def read(block: PixelWindow) -> CodesHW:
        scores = score(block)
        suspected = len(layers) - 1
        codes = np.where(scores >= suspect, suspected, len(layers)).astype(np.uint8)
        for code in reversed(range(len(layers))):
            codes[layers[code](block)] = code
        codes[~np.isfinite(scores) | ~in_area(block)] = OUTSIDE
        return codes

    return MapStrata(
        geobox=geobox,
        strata=_run_strata(reach, suspect, outlined=workings is not None),
        read=read,
        in_area=in_area,
        source={
            "kind": "scan",
            "name": folder.resolve().name,
            "run_id": run.run_id,
            "model": run.model.get("name"),
            "period": run.period,
            "dates": _dates(run),
            "area": area,
        },
        hashes=run_hashes(folder),
    )


def _run_strata(reach: float, suspect: float, *, outlined: bool) -> tuple[Stratum, ...]:
    near = (
        f"within {reach:g} m of a footprint, or with a score of {suspect:.2f} or more: where the "
        "map most likely missed some"
    )
    other = ("other", NOT_MINE, "all other observed ground")
    footprint = "the rest of the footprints" if outlined else "the footprints of the sites"
    rows = [
        ("footprint", NOT_MINE if outlined else MINE, footprint),
        ("near", NOT_MINE, near),
        other,
    ]
    if outlined:
        rows.insert(0, ("workings", MINE, "the outlined workings"))
    return tuple(
        _stratum(name, map_class, meaning, alone=not outlined) for name, map_class, meaning in rows
    )


def _stratum(name: str, map_class: str, meaning: str, *, alone: bool = False) -> Stratum:
    expected = _EXPECTED_FOOTPRINT_ALONE if alone and name == "footprint" else _EXPECTED[name]
    return Stratum(
        name=name,
        map_class=map_class,
        meaning=meaning,
        pixels=0,
        area_ha=0.0,
        expected_share=expected,
    )


def _dates(run: Run) -> tuple[str | None, str | None]:
    days = [scene.acquired for scene in run.scenes if scene.acquired is not None]
    return (min(days).isoformat(), max(days).isoformat()) if days else (None, None)


def _grid_of(run: Run, folder: Path) -> GeoBox:
    try:
        return GeoBox(tuple(run.grid["shape"]), Affine(*run.grid["transform"]), run.grid["crs"])
    except (KeyError, TypeError, ValueError) as err:
        raise AssetReadError(f"{folder / RUN}: tells no grid ({err}); scan again") from err


def _area_of(run: Run, folder: Path, geobox: GeoBox, area: str | None) -> BaseGeometry | None:
    """The area to sample in the grid's CRS; None for all of the grid."""
    asked = area if area is not None else run.parameters.get("area")
    if asked is None:
        return None
    try:
        polygons = read_area(str(asked))
    except SluiceError as err:
        if area is not None:
            raise
        raise ConfigError(
            f"{folder}: was scanned for the area {asked}, which cannot be read again ({err}); give "
            "it with --area"
        ) from err
    near = to_grid(part_near(polygons, geobox), geobox.crs)
    if near.is_empty or not near.intersects(shapely.box(*geobox.boundingbox.bbox)):
        raise ConfigError(f"--area {asked}: does not meet what was scanned; give a part of that")
    return near


def _projected(shapes: gpd.GeoSeries, geobox: GeoBox) -> Any:
    return np.asarray(shapes.to_crs(str(geobox.crs)), dtype=object)


class _Burner:
    """Tells of the pixels of a block whether their centres lie in any of many shapes."""

    def __init__(self, shapes: Any, geobox: GeoBox) -> None:
        self.tree = shapely.STRtree(shapes)
        self.geobox = geobox

    def __call__(self, block: PixelWindow) -> BoolHW:
        part = block.of(self.geobox)
        here = self.tree.query(shapely.box(*part.boundingbox.bbox))
        burnt = np.zeros((block.height, block.width), np.uint8)
        if here.size:
            shapes = self.tree.geometries.take(here)
            features.rasterize([(shape, 1) for shape in shapes], out=burnt, transform=part.affine)
        return burnt.astype(bool)


class _NearestCell:
    """A coarser raster's value at the centre of each pixel of a block; NaN outside."""

    def __init__(self, path: Path, geobox: GeoBox) -> None:
        self.path, self.geobox = path, geobox
        with open_raster(path) as raster:
            self.transform, self.shape = raster.transform, raster.shape
            if raster.crs is None or GeoBox((1, 1), Affine.identity(), raster.crs.to_wkt()).crs != (
                geobox.crs
            ):
                raise DataError(f"{path}: is not in the CRS of the run's grid; scan again")

    def __call__(self, block: PixelWindow) -> FloatArray:
        grid, cells = self.geobox.affine, self.transform
        x = grid.c + grid.a * (block.col + np.arange(block.width) + 0.5)
        y = grid.f + grid.e * (block.row + np.arange(block.height) + 0.5)
        cols = np.floor((x - cells.c) / cells.a).astype(int)
        rows = np.floor((y - cells.f) / cells.e).astype(int)
        window = Window(cols[0], rows[0], cols[-1] - cols[0] + 1, rows[-1] - rows[0] + 1)
        try:
            with open_raster(self.path) as raster:
                values = raster.read(1, window=window, boundless=True, fill_value=np.nan)
        except rasterio.errors.RasterioError as err:
            raise AssetReadError(f"{self.path}: is damaged ({err}); scan again") from err
        found: FloatArray = values[np.ix_(rows - rows[0], cols - cols[0])].astype(np.float64)
        outside = (rows < 0) | (rows >= self.shape[0])
        found[outside] = np.nan
        found[:, (cols < 0) | (cols >= self.shape[1])] = np.nan
        return found


def _classes_grid(path: Path) -> GeoBox:
    """The grid of a raster of whole numbers."""
    with open_raster(path) as raster:
        if raster.crs is None:
            raise ConfigError(f"{path}: has no CRS; add one (QGIS: Assign projection)")
        if not np.issubdtype(np.dtype(raster.dtypes[0]), np.integer):
            raise ConfigError(
                f"{path}: holds {raster.dtypes[0]}, not classes; give a raster of whole numbers"
            )
        return GeoBox(raster.shape, raster.transform, raster.crs.to_wkt())


def _strata_of_raster(
    path: Path, mine_values: tuple[int, ...], near_m: float | None, area: str | None
) -> MapStrata:
    if not mine_values:
        raise ConfigError(
            f"{path}: say with --mine-values which of its numbers mean mine: --mine-values 1"
        )
    geobox = _classes_grid(path)
    pixel_m = _pixel_m(geobox)
    reach = 5 * pixel_m if near_m is None else near_m
    halo = int(np.ceil(reach / pixel_m))
    wanted = None if area is None else to_grid(read_area(area), geobox.crs)
    inside = _Burner(np.array([wanted], dtype=object), geobox) if wanted is not None else None

    def in_area(block: PixelWindow) -> BoolHW:
        return np.ones((block.height, block.width), bool) if inside is None else inside(block)

    def read(block: PixelWindow) -> CodesHW:
        top, left = min(block.row, halo), min(block.col, halo)
        window = Window(
            block.col - left, block.row - top, block.width + left + halo, block.height + top + halo
        ).intersection(Window(0, 0, geobox.shape.x, geobox.shape.y))
        try:
            with open_raster(path) as raster:
                values = raster.read(1, window=window)
                seen = raster.read_masks(1, window=window) > 0
        except rasterio.errors.RasterioError as err:
            raise AssetReadError(f"{path}: is damaged ({err})") from err
        mine = np.isin(values, mine_values) & seen
        far = np.full(values.shape, 2, np.uint8)
        if halo and mine.any():
            far[ndimage.distance_transform_edt(~mine) * pixel_m <= reach] = 1
        far[mine] = 0
        far[~seen] = OUTSIDE
        codes: CodesHW = far[top : top + block.height, left : left + block.width]
        codes[~in_area(block)] = OUTSIDE
        return codes

    near = f"within {reach:g} m of what is mapped as mine: where the map most likely missed some"
    return MapStrata(
        geobox=geobox,
        strata=(
            _stratum("mapped", MINE, "what the map calls mine"),
            _stratum("near", NOT_MINE, near),
            _stratum("other", NOT_MINE, "all other mapped ground"),
        ),
        read=read,
        in_area=in_area,
        source={
            "kind": "raster",
            "name": path.name,
            "mine_values": list(mine_values),
            "area": area,
        },
        hashes={path.name: sha256_file(path)},
    )


def source_hashes(path: Path) -> dict[str, str]:
    """SHA-256 of what the strata of a map are made of: of a run's folder, or of a raster.

    Raises:
        ConfigError: The folder holds no finished scan.
        ItemNotFound: No such file.
    """
    if path.is_dir():
        open_run(path)
        return run_hashes(path)
    with open_raster(path):
        return {path.name: sha256_file(path)}
