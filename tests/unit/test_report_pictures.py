"""Pictures in reports: of the image's values, of the whole place, of the same tones."""

from dataclasses import replace

import numpy as np
import pytest
import rasterio
from shapely.geometry import MultiPolygon, Point, box

import report_cases as cases
from sluice.app.following import reporting
from sluice.app.messages import messages
from sluice.app.reports.area_content import area_document
from sluice.app.reports.blocks import Chart
from sluice.app.reports.place_pictures import draw_pair, picture_grid, read_picture
from sluice.app.reports.report_file import write_report
from sluice.base.errors import AssetReadError


def _area_report(evidence):
    return area_document(evidence, messages("en"), manifest="report.json", facts_sha256="ab" * 32)


def _write_image(path, values, crs, transform, **more):
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=values.shape[1],
        width=values.shape[2],
        count=values.shape[0],
        dtype="int16",
        nodata=-32768,
        crs=str(crs) if crs else None,
        transform=transform,
        **more,
    ) as target:
        target.write(np.where(np.isnan(values), -32768, values * 10_000).astype(np.int16))
        if values.shape[0] == 3:
            target.descriptions = ("red", "green", "blue")
        target.scales = (1e-4,) * values.shape[0]


def test_pictures_have_the_image_s_values_and_the_same_tones(tmp_path):
    place = box(-56.01, -6.01, -56.0, -6.0)
    grid = picture_grid(place, size_px=120)
    dark, bright = np.full((3, 120, 120), 0.05, np.float32), np.full((3, 120, 120), 0.3, np.float32)
    bright[0, :20] = np.nan
    bright[1] = 0.2
    images = []
    for name, values in (("dark", dark), ("bright", bright)):
        _write_image(tmp_path / f"{name}.tif", values, grid.crs, grid.affine)
        images.append(read_picture(tmp_path / f"{name}.tif", grid, name))
    assert images[0].rgb_bhw == pytest.approx(0.05, abs=1e-4)
    assert images[1].rgb_bhw[1, 40:] == pytest.approx(0.2, abs=1e-4)
    # One band's gap hides the pixel in all.
    assert images[1].hidden_hw[:19].all()
    assert not images[1].hidden_hw[22:].any()
    before, after, same = draw_pair(*images, place)
    assert same
    assert before[60, 8].max() < 40
    assert after[60, 8].max() > 200
    assert draw_pair(images[0], replace(images[1], bands=("nir",) * 3), place)[2] is False
    far = read_picture(tmp_path / "dark.tif", picture_grid(box(10, 10, 10.01, 10.01)), "x")
    assert far.hidden_hw.all()
    one = tmp_path / "one.tif"
    _write_image(one, dark[:1], grid.crs, grid.affine)
    assert read_picture(one, grid, "x").bands == ("band 1",) * 3
    lost = tmp_path / "lost.tif"
    _write_image(lost, dark, None, grid.affine)
    with pytest.raises(AssetReadError, match="has no CRS"):
        read_picture(lost, grid, "x")


def test_a_site_across_180_degrees_is_one_picture(tmp_path):
    # Two halves of one mine, on both sides of the line, on Taveuni.
    halves = MultiPolygon([box(179.995, -16.81, 180, -16.80), box(-180, -16.81, -179.995, -16.80)])
    grid = picture_grid(halves)
    assert grid.resolution.x * grid.shape.x < 3000
    values = np.full((3, 600, 600), 0.2, np.float32)
    path = tmp_path / "composite.tif"
    _write_image(path, values, grid.crs, grid.affine * rasterio.Affine.scale(1.2))
    image = read_picture(path, grid, "0" * 64)
    assert not image.hidden_hw.any()
    drawn = draw_pair(None, image, halves)[1]
    red, green, blue = np.moveaxis(drawn.astype(int), -1, 0)
    columns = np.flatnonzero(((red > 200) & (green > 170) & (blue < 120)).any(axis=0))
    assert columns.min() < 200
    assert columns.max() > 520
    lon = np.array([179.99, -179.98])
    site = cases.site_record(lon=180.0, lat=-16.805)
    sites = cases.site_table([site], [halves])
    store = cases.FakeStore(sites, periods=cases.period_records(), area=halves)
    write_report(reporting.gather_site(store, cases.SITE), tmp_path / "site.pdf")
    two = cases.site_table(
        [cases.site_record(site_id=f"s-{k}", lon=x, lat=-16.8) for k, x in enumerate(lon)],
        [Point(x, -16.8).buffer(0.001) for x in lon],
    )
    evidence = reporting.gather_area(cases.FakeStore(two, area=halves), cases.AREA)
    chart = next(one for one in _area_report(evidence).blocks if isinstance(one, Chart))
    assert chart.drawing.width == pytest.approx(482)
    write_report(evidence, tmp_path / "area.pdf")
