"""The grid that a scan of local images is made on."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyproj
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.base.errors import GridMismatch
from sluice.imagery.local import open_local
from sluice.imagery.scenes import SceneImages
from sluice.imagery.target_grid import refuse_far_coarser, scan_grid, times_coarser
from sluice.imagery.warp import aligned_shift

WriteTif = Callable[..., Path]

REFLECTANCE = np.full((40, 50), 0.2, dtype=np.float32)


def place(
    write_tif: WriteTif, path: Path, x: float, y: float, *, gsd: float = 10, epsg: int = 32630
) -> Path:
    transform = Affine(gsd, 0, x, 0, -gsd, y)
    return write_tif(
        path, REFLECTANCE, transform=transform, crs=f"EPSG:{epsg}", descriptions=["red"]
    )


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory, write_tif: WriteTif) -> SceneImages:
    """One scene whose lines are no multiples of its pixel."""
    return open_local([place(write_tif, tmp_path_factory.mktemp("one") / "a.tif", 600003, 700007)])


def lonlat(xmin: float, ymin: float, xmax: float, ymax: float) -> shapely.Polygon:
    """A rectangle in UTM zone 30N as a polygon in degrees."""
    to_lonlat = pyproj.Transformer.from_crs(32630, 4326, always_xy=True)
    corners = [(xmin, ymin), (xmin, ymax), (xmax, ymax), (xmax, ymin)]
    return shapely.Polygon([to_lonlat.transform(*corner) for corner in corners])


def test_a_utm_image_keeps_its_own_grid(one: SceneImages) -> None:
    grid = scan_grid(one, 10.0)
    assert grid == one.source_grids(one.scenes[0])[0]
    other = scan_grid(one, 20.0)
    assert other.affine[:6] == (20.0, 0.0, 600000.0, 0.0, -20.0, 700020.0)
    assert other.shape.yx == (21, 26)


@given(
    x=st.floats(-300, 460),
    y=st.floats(-300, 380),
    width=st.floats(1, 600),
    height=st.floats(1, 600),
)
@settings(max_examples=50)
def test_an_area_cuts_whole_pixels_that_cover_it(
    one: SceneImages, x: float, y: float, width: float, height: float
) -> None:
    whole = scan_grid(one, 10.0)
    xmin, ymin = 600003 + x, 699607 + y
    area = lonlat(xmin, ymin, xmin + width, ymin + height)
    met = xmin + width > 600004 and ymin + height > 699608
    if not met:
        return
    grid = scan_grid(one, 10.0, area)
    shift = aligned_shift(whole, grid)
    assert shift is not None
    row, col = shift
    rows, cols = grid.shape.yx
    assert row >= 0
    assert col >= 0
    assert row + rows <= 40
    assert col + cols <= 50
    left, top = grid.affine.c, grid.affine.f
    wanted = (
        max(xmin, 600003),
        max(ymin, 699607),
        min(xmin + width, 600503),
        min(ymin + height, 700007),
    )
    assert left <= wanted[0] + 0.02
    assert left > wanted[0] - 10.02
    assert top >= wanted[3] - 0.02
    assert top < wanted[3] + 10.02
    assert left + 10 * cols >= wanted[2] - 0.02
    assert left + 10 * cols < wanted[2] + 10.02
    assert top - 10 * rows <= wanted[1] + 0.02
    assert top - 10 * rows > wanted[1] - 10.02


def test_scenes_on_common_lines_are_joined_without_resampling(
    tmp_path: Path, write_tif: WriteTif
) -> None:
    images = open_local(
        [
            place(write_tif, tmp_path / "a.tif", 600003, 700007),
            place(write_tif, tmp_path / "b.tif", 600303, 699807),
        ]
    )
    grid = scan_grid(images, 10.0)
    assert grid.affine[:6] == (10.0, 0.0, 600003.0, 0.0, -10.0, 700007.0)
    assert grid.shape.yx == (60, 80)


def test_scenes_of_other_phase_get_a_new_grid_over_both(
    tmp_path: Path, write_tif: WriteTif
) -> None:
    images = open_local(
        [
            place(write_tif, tmp_path / "a.tif", 600003, 700007),
            place(write_tif, tmp_path / "b.tif", 600308, 699807),
        ]
    )
    grid = scan_grid(images, 10.0)
    assert grid.crs.to_epsg() == 32630
    assert grid.affine[:6] == (10.0, 0.0, 600000.0, 0.0, -10.0, 700010.0)
    assert grid.shape.yx == (61, 81)


def test_scenes_of_two_zones_go_into_the_zone_of_the_area_or_the_middle(
    tmp_path: Path, write_tif: WriteTif
) -> None:
    # Zone 30 ends and zone 31 begins at 0 degrees: x of about 832 and 168 km at 6.3 north.
    images = open_local(
        [
            place(write_tif, tmp_path / "west.tif", 829000, 700000, gsd=100),
            place(write_tif, tmp_path / "east.tif", 171000, 700000, gsd=100, epsg=32631),
        ]
    )
    west = scan_grid(images, 100.0, shapely.box(-0.02, 6.30, -0.01, 6.31))
    east = scan_grid(images, 100.0, shapely.box(0.06, 6.30, 0.07, 6.31))
    assert (west.crs.to_epsg(), east.crs.to_epsg()) == (32630, 32631)
    everything = scan_grid(images, 100.0)
    assert everything.crs.to_epsg() == 32631
    assert everything.shape.x > 80


def test_a_point_gets_a_pixel(one: SceneImages, tmp_path: Path, write_tif: WriteTif) -> None:
    point = lonlat(600250, 699800, 600251, 699801).centroid
    assert scan_grid(one, 10.0, point).shape.yx == (1, 1)
    grid = scan_grid(one, 20.0, point)
    assert 1 <= grid.shape.y <= 2
    assert 1 <= grid.shape.x <= 2


def test_no_overlap_names_both_boxes_in_degrees(one: SceneImages) -> None:
    # Latitude and longitude exchanged, as happens.
    with pytest.raises(GridMismatch, match=r"images lie within \(-2\.09.*\(6\.0000, -2\.1000"):
        scan_grid(one, 10.0, shapely.box(6.0, -2.1, 6.4, -2.0))


def test_south_of_the_equator_is_a_southern_zone(tmp_path: Path, write_tif: WriteTif) -> None:
    images = open_local([place(write_tif, tmp_path / "a.tif", 500000, 9500000, gsd=5, epsg=32721)])
    grid = scan_grid(images, 10.0)
    assert grid.crs.to_epsg() == 32721
    assert grid.affine[:6] == (10.0, 0.0, 500000.0, 0.0, -10.0, 9500000.0)
    assert grid.shape.yx == (20, 25)


def test_how_coarse_images_are_is_measured_on_the_ground(
    tmp_path: Path, write_tif: WriteTif, one: SceneImages
) -> None:
    assert times_coarser(one, 10.0) == 1
    assert times_coarser(one, 30.0) == 0.3
    coarse = place(write_tif, tmp_path / "b.tif", 600000, 700000, gsd=60)
    assert times_coarser(open_local([coarse]), 10.0) == 6
    both = open_local([coarse, place(write_tif, tmp_path / "c.tif", 600000, 700000)])
    assert times_coarser(both, 10.0) == 6
    # At 60 degrees a pixel of web maps covers half of its 40 m, a degree of longitude half too.
    web = place(write_tif, tmp_path / "d.tif", 0, 8399738, gsd=40, epsg=3857)
    assert times_coarser(open_local([web]), 10.0) == pytest.approx(2, abs=0.05)
    degrees = write_tif(
        tmp_path / "e.tif",
        REFLECTANCE,
        transform=Affine(0.002, 0, 9, 0, -0.001, 60),
        crs="EPSG:4326",
        descriptions=["red"],
    )
    assert times_coarser(open_local([degrees]), 10.0) == pytest.approx(11.1, abs=0.15)


def test_the_finest_band_of_an_image_tells_how_coarse_it_is(
    tmp_path: Path, write_tif: WriteTif
) -> None:
    for name, gsd in (("B04", 10), ("B09", 60)):
        place(write_tif, tmp_path / f"{name}.tif", 600000, 700000, gsd=gsd)
    assert times_coarser(open_local([tmp_path]), 10.0) == 1


def test_images_far_too_coarse_for_a_grid_are_refused(tmp_path: Path, write_tif: WriteTif) -> None:
    nearly = open_local([place(write_tif, tmp_path / "a.tif", 600000, 700000, gsd=290)])
    refuse_far_coarser(nearly, 10.0, advice="none")
    for gsd in (300, 500):
        path = place(write_tif, tmp_path / f"{gsd}.tif", 600000, 700000, gsd=gsd)
        told = (
            rf"{gsd}.tif: its pixels are {gsd} m wide, {gsd // 10} times .* of 10 m .*; try {gsd}"
        )
        with pytest.raises(GridMismatch, match=told):
            refuse_far_coarser(open_local([path]), 10.0, advice="try {}")
        refuse_far_coarser(open_local([path]), 100.0, advice="none")
