"""One command, several results: areas, parts of areas, periods."""

import pytest
import shapely

from sluice.app.area import read_area, read_areas
from sluice.app.area_parts import map_parts
from sluice.app.config import ScanConfig, make_config
from sluice.app.jobs import plan_jobs
from sluice.base.errors import ConfigError

YEAR = {"source": "earth-search", "first": "2024", "last": "2024"}


def write_box(path, box) -> None:
    import geopandas as gpd

    gpd.GeoDataFrame(geometry=[shapely.box(*box)], crs="EPSG:4326").to_file(path)


def test_one_area_and_period_go_into_the_folder_itself(tmp_path) -> None:
    (job,) = plan_jobs(make_config(ScanConfig, out=tmp_path, area="-2,6,-1.8,6.2", **YEAR))
    assert (job.name, job.out) == ("", tmp_path)
    assert job.period is not None
    assert job.period.name == "2024-01_2024-12"
    assert job.earlier is None


def test_each_period_has_the_one_before_it(tmp_path) -> None:
    config = make_config(ScanConfig, out=tmp_path, area="-2,6,-1.8,6.2", every="half-year", **YEAR)
    first, second = plan_jobs(config)
    assert [first.name, second.name] == ["2024-01_2024-06", "2024-07_2024-12"]
    assert first.earlier is None
    assert second.earlier == first.period


def test_a_folder_of_areas_gives_a_result_each(tmp_path) -> None:
    folder = tmp_path / "areas"
    folder.mkdir()
    write_box(folder / "ashanti.gpkg", (-2, 6, -1.8, 6.2))
    write_box(folder / "para.geojson", (-55, -6, -54.8, -5.8))
    (folder / "notes.txt").write_text("no area")
    jobs = plan_jobs(make_config(ScanConfig, out=tmp_path, area=str(folder), **YEAR))
    assert [job.name for job in jobs] == ["ashanti", "para"]
    assert jobs[1].out == tmp_path / "para"


def test_a_folder_without_areas_is_refused(tmp_path) -> None:
    with pytest.raises(ConfigError, match="holds no area"):
        read_areas(str(tmp_path))


def test_images_named_one_by_one_decide_where_the_map_is(tmp_path) -> None:
    """A country is no reason to cut one image's map into zones."""
    images = (tmp_path / "a.tif",)
    jobs = plan_jobs(make_config(ScanConfig, images=images, out=tmp_path, area="-74,-18,-35,5"))
    assert [job.name for job in jobs] == [""]


def test_an_area_near_its_zone_is_one_part() -> None:
    """The border between zones 30 and 31 runs through Ghana at 0 degrees."""
    assert [part.name for part in map_parts(shapely.box(-1, 5, 1, 7))] == [""]


def test_a_wide_area_is_cut_at_its_zones() -> None:
    area = shapely.box(-70, -8, -50, -2)
    parts = map_parts(area)
    assert [part.name for part in parts] == ["utm19", "utm20", "utm21", "utm22"]
    assert shapely.union_all([part.geometry for part in parts]).equals(area)


@pytest.mark.parametrize(
    "area",
    [
        "178,-18,-179,-16",
        shapely.Polygon([(178, -18), (181, -18), (181, -16), (178, -16)]),
        shapely.Polygon([(178, -18), (-179, -18), (-179, -16), (178, -16)]),
        shapely.MultiPolygon([shapely.box(178, -18, 180, -16), shapely.box(-180, -18, -179, -16)]),
    ],
)
def test_an_area_across_180_degrees_has_a_part_on_each_side(area, tmp_path) -> None:
    if isinstance(area, str):
        geometry = read_area(area)
    else:
        import geopandas as gpd

        path = tmp_path / "a.gpkg"
        gpd.GeoDataFrame(geometry=[area], crs="EPSG:4326").to_file(path)
        geometry = read_area(str(path))
    parts = {part.name: part.geometry.bounds for part in map_parts(geometry)}
    assert set(parts) == {"utm01", "utm60"}
    assert parts["utm60"] == pytest.approx((178, -18, 180, -16))
    assert parts["utm01"] == pytest.approx((-180, -18, -179, -16))


def test_holes_stay_holes() -> None:
    ring = shapely.box(-70, -8, -50, -2).difference(shapely.box(-66, -7, -65, -3))
    total = sum(part.geometry.area for part in map_parts(ring))
    assert total == pytest.approx(ring.area)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({}, "no image given"),
        ({"source": "earth-search"}, "needs --area and --from and --to"),
        ({"images": ("a.tif",), "source": "earth-search", **YEAR}, "choose one"),
        ({"images": ("a.tif",), "first": "2024"}, "--from: belongs to a catalogue"),
        ({"images": ("a.tif",), "max_cloud": 130}, "--max-cloud 130"),
        ({"images": ("a.tif",), "method": "mean"}, "--reduce mean"),
    ],
)
def test_contradictions_are_refused(values, says, tmp_path) -> None:
    with pytest.raises(ConfigError, match=says):
        make_config(ScanConfig, out=tmp_path, **values)
