"""Elevation read from cells of one degree."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from fault_server import Fault, FaultServer
from sluice.base.errors import AssetReadError, SourceUnavailable
from sluice.imagery.elevation import cell_name, elevation_assets, read_elevation
from sluice.imagery.remote import RemoteAccess

QUICK = RemoteAccess(attempts=2, backoff_s=0.0, timeout_s=5)
NEAR = 0.06
"""Degrees around the corner that hold heights; the rest of a cell is not written."""


def height(lon: np.ndarray, lat: np.ndarray, corner: tuple[float, float]) -> np.ndarray:
    """A slope, which bilinear gives back exactly."""
    return 400 + 900 * (lon - corner[0]) - 700 * (lat - corner[1])


def write_cell(folder: Path, lon: int, lat: int, corner: tuple[float, float]) -> Path:
    """A whole cell, as laid out by Copernicus, with heights around a corner."""
    (asset,) = elevation_assets(shapely.Point(lon + 0.5, lat + 0.5), base=folder)
    grid = asset.geobox
    name = cell_name(lon, lat)
    path = folder / name / f"{name}.tif"
    path.parent.mkdir(parents=True, exist_ok=True)
    a, (rows, cols) = grid.affine, grid.shape.yx
    first = max(0, int((corner[0] - NEAR - a.c) / a.a)), max(0, int((corner[1] + NEAR - a.f) / a.e))
    last = (
        min(cols, int((corner[0] + NEAR - a.c) / a.a)),
        min(rows, int((corner[1] - NEAR - a.f) / a.e)),
    )
    col, row = np.meshgrid(np.arange(first[0], last[0]), np.arange(first[1], last[1]))
    z = height(a.c + (col + 0.5) * a.a, a.f + (row + 0.5) * a.e, corner)
    with rasterio.open(
        path, "w", driver="GTiff", height=rows, width=cols, count=1, dtype="float32",
        crs="EPSG:4326", transform=a, tiled=True, blockxsize=512, blockysize=512,
        compress="deflate", SPARSE_OK=True,
    ) as dataset:  # fmt: skip
        window = Window(first[0], first[1], z.shape[1], z.shape[0])
        dataset.write(z.astype(np.float32), 1, window=window)
    return path


def grid_around(lon: float, lat: float, epsg: int, pixel: float = 10, side: int = 120) -> GeoBox:
    x, y = pyproj.Transformer.from_crs(4326, epsg, always_xy=True).transform(lon, lat)
    left, top = x - side / 2 * pixel, y + side / 2 * pixel
    return GeoBox((side, side), Affine(pixel, 0, left, 0, -pixel, top), f"EPSG:{epsg}")


def centres(grid: GeoBox) -> tuple[np.ndarray, np.ndarray]:
    a, (rows, cols) = grid.affine, grid.shape.yx
    x, y = np.meshgrid(a.c + (np.arange(cols) + 0.5) * a.a, a.f + (np.arange(rows) + 0.5) * a.e)
    return pyproj.Transformer.from_crs(grid.crs.epsg, 4326, always_xy=True).transform(x, y)


# Names and grids


@pytest.mark.parametrize(
    ("lon", "lat", "name"),
    [
        (-3, 6, "Copernicus_DSM_COG_10_N06_00_W003_00_DEM"),
        (0, 0, "Copernicus_DSM_COG_10_N00_00_E000_00_DEM"),
        (-172, -14, "Copernicus_DSM_COG_10_S14_00_W172_00_DEM"),
        (180, -1, "Copernicus_DSM_COG_10_S01_00_W180_00_DEM"),
    ],
)
def test_names_of_cells(lon: int, lat: int, name: str) -> None:
    assert cell_name(lon, lat) == name


def test_the_grid_of_a_cell_is_that_of_its_file() -> None:
    # As gdalinfo prints it of Copernicus_DSM_COG_10_S14_00_W172_00_DEM.tif.
    (asset,) = elevation_assets(shapely.Point(-171.5, -13.5))
    assert asset.href.endswith(
        "Copernicus_DSM_COG_10_S14_00_W172_00_DEM/Copernicus_DSM_COG_10_S14_00_W172_00_DEM.tif"
    )
    assert asset.href.startswith("https://copernicus-dem-30m.s3.amazonaws.com/")
    assert asset.geobox.shape.yx == (3600, 3600)
    a = asset.geobox.affine
    assert (a.c, a.f) == pytest.approx((-172.000138888888898, -12.999861111111111), abs=1e-12)
    assert (a.a, a.e) == pytest.approx((0.000277777777778, -0.000277777777778), abs=1e-14)


@pytest.mark.parametrize(
    ("lat", "columns"),
    [(49, 3600), (50, 2400), (-50, 3600), (-51, 2400), (79, 1200), (84, 720), (85, 360)],
)  # fmt: skip
def test_meridians_are_wider_apart_towards_the_poles(lat: int, columns: int) -> None:
    (asset,) = elevation_assets(shapely.Point(10.5, lat + 0.5))
    assert asset.geobox.shape.yx == (3600, columns)
    assert asset.geobox.affine.c == pytest.approx(10 - 0.5 / columns)


def test_cells_over_an_area_across_180_degrees() -> None:
    area = shapely.MultiPolygon(
        [shapely.box(179.5, -17, 180, -16.5), shapely.box(-180, -17, -179.5, -16.5)]
    )
    names = {asset.name for asset in elevation_assets(area)}
    assert {name[22:39] for name in names} >= {"S17_00_E179_00_DE", "S17_00_W180_00_DE"}


# Reading


CORNER = (-2.0, 7.0)


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    """Three of the cells around a corner; the fourth, to the north-east, is sea."""
    for lon, lat in ((-3, 6), (-2, 6), (-3, 7)):
        write_cell(tmp_path, lon, lat, CORNER)
    return tmp_path


def check_corner(found_hw: np.ndarray, grid: GeoBox) -> None:
    lon, lat = centres(grid)
    # Pixels begin half a pixel before the whole degree.
    half = 0.5 / 3600
    sea = (lon > CORNER[0] - half) & (lat > CORNER[1] + half)
    np.testing.assert_array_equal(np.isnan(found_hw), sea)
    assert 1000 < sea.sum() < 8000
    # Where a neighbour is sea, the nearest heights count: half a pixel of this slope is 0.13 m.
    inner = ~sea & ((lon < CORNER[0] - 3 * half) | (lat < CORNER[1] - half))
    np.testing.assert_allclose(found_hw[inner], height(lon, lat, CORNER)[inner], atol=2e-3)
    np.testing.assert_allclose(found_hw[~sea], height(lon, lat, CORNER)[~sea], atol=0.3)


def test_heights_go_on_across_the_borders_of_cells(cells: Path) -> None:
    grid = grid_around(*CORNER, 32630)
    found = read_elevation(grid, base=cells)
    assert found.metres_hw.dtype == np.float32
    assert found.missing == ("Copernicus_DSM_COG_10_N07_00_W002_00_DEM",)
    check_corner(found.metres_hw, grid)


def test_a_part_has_the_values_of_the_whole(cells: Path) -> None:
    grid = grid_around(*CORNER, 32630)
    whole = read_elevation(grid, base=cells).metres_hw
    part = read_elevation(grid[30:90, 50:110], base=cells).metres_hw
    np.testing.assert_array_equal(part, whole[30:90, 50:110])


def test_coarse_pixels_are_means(cells: Path) -> None:
    grid = grid_around(-2.02, 6.98, 32630, pixel=100, side=12)
    lon, lat = centres(grid)
    found = read_elevation(grid, base=cells).metres_hw
    # The mean of a slope is its middle, but blocks of 30 m do not end at the pixel's rim.
    np.testing.assert_allclose(found, height(lon, lat, CORNER), atol=0.5)


def test_cells_without_folders_of_their_own(cells: Path, tmp_path: Path) -> None:
    for path in cells.glob("*/*.tif"):
        path.rename(cells / path.name)
    grid = grid_around(*CORNER, 32630)
    check_corner(read_elevation(grid, base=cells).metres_hw, grid)


def test_across_180_degrees(tmp_path: Path) -> None:
    corner = (180.0, -17.0)
    west_side = ((179, -17), (179, -18))
    for lon, lat in west_side:
        write_cell(tmp_path, lon, lat, corner)
    for lat in (-17, -18):
        write_cell(tmp_path, -180, lat, (-180.0, -17.0))
    grid = grid_around(180.0, -17.0, 32701)
    lon, lat = centres(grid)
    found = read_elevation(grid, base=tmp_path)
    assert found.missing == ()
    np.testing.assert_allclose(found.metres_hw, height(lon % 360, lat, corner), atol=2e-3)


def test_where_the_spacing_changes_heights_still_meet(tmp_path: Path) -> None:
    corner = (10.0, 50.0)
    for lon, lat in ((9, 49), (10, 49), (9, 50), (10, 50)):
        write_cell(tmp_path, lon, lat, corner)
    grid = grid_around(10.0, 50.0, 32632)
    lon, lat = centres(grid)
    found = read_elevation(grid, base=tmp_path).metres_hw
    away = np.abs(lat - 50 - 0.25 / 3600) > 0.8 / 3600
    np.testing.assert_allclose(found[away], height(lon, lat, corner)[away], atol=2e-3)
    np.testing.assert_allclose(found, height(lon, lat, corner), atol=0.2)


def test_only_sea(tmp_path: Path) -> None:
    found = read_elevation(grid_around(-25.5, 7.5, 32626), base=tmp_path)
    assert np.isnan(found.metres_hw).all()
    assert found.missing == (cell_name(-26, 7),)


def test_a_damaged_cell_is_an_error_and_no_sea(cells: Path) -> None:
    path = next(cells.glob("*N06_00_W003*/*.tif"))
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(AssetReadError):
        read_elevation(grid_around(*CORNER, 32630), base=cells)


# At an address


@pytest.fixture
def server(cells: Path) -> Iterator[FaultServer]:
    with FaultServer(cells) as running:
        yield running


@pytest.mark.enable_socket
@pytest.mark.allow_hosts(["127.0.0.1"])
def test_cells_at_an_address(server: FaultServer) -> None:
    grid = grid_around(*CORNER, 32630)
    found = read_elevation(grid, QUICK, base=server.url)
    assert found.missing == ("Copernicus_DSM_COG_10_N07_00_W002_00_DEM",)
    check_corner(found.metres_hw, grid)
    # A cell that is not there is asked for once.
    assert sum("N07_00_W002" in path for path in server.paths()) <= 2


@pytest.mark.enable_socket
@pytest.mark.allow_hosts(["127.0.0.1"])
def test_a_source_that_is_down_is_no_sea(server: FaultServer) -> None:
    server.faults["N06_00_W003"] = Fault(503)
    with pytest.raises(SourceUnavailable):
        read_elevation(grid_around(*CORNER, 32630), QUICK, base=server.url)
