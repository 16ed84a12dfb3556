"""Faults of label polygons are found, and good ones are left in peace."""

from __future__ import annotations

import datetime as dt

import geopandas as gpd
import pandas as pd
import pytest
import shapely
from typer.testing import CliRunner

from sluice.app.cli.main import app
from sluice.base.errors import ConfigError
from sluice.labels.check_polygons import check_polygons
from sluice.labels.findings import Severity


def square(lon: float, lat: float, side: float = 0.01) -> shapely.Polygon:
    return shapely.box(lon, lat, lon + side, lat + side)


GOOD = [square(-1.5, 6), square(-1.4, 6), square(-1.3, 6)]


def write(path, shapes, crs="EPSG:4326", **columns):
    gpd.GeoDataFrame(columns, geometry=shapes, crs=crs).to_parquet(path)
    return path


def told(report) -> dict[str, tuple[Severity, tuple[str, ...]]]:
    return {f.message: (f.severity, f.examples) for f in report.findings}


def test_good_polygons_are_fit(tmp_path) -> None:
    dates = {"start": ["2024-01-01", None, "2024-02-01"], "end": ["2024-12-31", None, None]}
    path = write(tmp_path / "a.parquet", GOOD, **dates, **{"class": ["mine", "mine", "pond"]})
    assert check_polygons(path).findings == ()


def test_each_fault_is_found(tmp_path) -> None:
    bow = shapely.Polygon([(0, 0), (0.01, 0.01), (0.01, 0), (0, 0.01)])
    shapes = [
        *GOOD,
        shapely.Point(-1.2, 6),
        shapely.LineString([(-1, 6), (-1, 7)]),
        shapely.Polygon(),
        None,
        bow,
        square(6, -120),
        square(0, 400),
        square(10, 10, 0.5),
        square(20, 10, 0.00005),
    ]
    found = told(check_polygons(write(tmp_path / "a.parquet", shapes)))
    error, warning, note = Severity.ERROR, Severity.WARNING, Severity.NOTE
    assert found == {
        "2 features without a shape": (error, ("feature 5", "feature 6")),
        "2 features without area": (error, ("feature 3", "feature 4")),
        "1 feature off the globe, as longitude and latitude are swapped": (error, ("feature 8",)),
        "1 feature beyond where WGS 84 has places": (error, ("feature 9",)),
        "1 feature with an outline that crosses itself": (warning, ("feature 7",)),
        "1 feature of more than 100 square kilometres": (warning, ("feature 10",)),
        "1 feature smaller than a pixel of 10 m": (note, ("feature 11",)),
    }


def test_metres_taken_for_other_metres_are_found(tmp_path) -> None:
    far = shapely.box(9e8, 9e8, 9e8 + 100, 9e8 + 100)
    path = write(tmp_path / "a.parquet", [shapely.box(6e5, 7e5, 7e5, 8e5), far], "EPSG:32630")
    assert any(text.startswith("1 feature beyond where") for text in told(check_polygons(path)))


def told_of_places(path, area=None) -> list[tuple[Severity, str, str]]:
    report = check_polygons(path, area)
    return [(f.severity, f.message, f.advice) for f in report.findings if f.check == "places"]


def test_degrees_called_metres_are_found(tmp_path) -> None:
    path = write(tmp_path / "a.parquet", GOOD, "EPSG:32630")
    report = check_polygons(path)
    assert not report.fit_for_training
    # Of shapes that are wrongly placed nothing is said of their size.
    assert [(f.check, f.severity, f.count) for f in report.findings] == [
        ("places", Severity.ERROR, 3)
    ]
    assert "its coordinates look like degrees" in report.findings[0].message
    assert report.findings[0].advice == "state EPSG:4326 (QGIS: Assign projection)"


def test_metres_far_from_where_their_crs_is_used_are_found(tmp_path) -> None:
    accra = gpd.GeoSeries(GOOD, crs=4326).to_crs("EPSG:32630").tolist()
    ((severity, message, _),) = told_of_places(write(tmp_path / "a.parquet", accra, "EPSG:32721"))
    assert severity is Severity.ERROR
    assert "far from where WGS 84 / UTM zone 21S is used" in message


def test_a_wrong_zone_is_told_by_place_and_found_with_an_area(tmp_path) -> None:
    """Numbers of zone 30 are as good in zone 21: only the place tells."""
    accra = gpd.GeoSeries(GOOD, crs=4326).to_crs("EPSG:32630").tolist()
    right, wrong = (
        write(tmp_path / f"{code}.parquet", accra, f"EPSG:{code}") for code in (32630, 32621)
    )
    ghana = shapely.box(-3.3, 4.7, 1.2, 11.2)
    ((severity, message, _),) = told_of_places(wrong)
    assert severity is Severity.NOTE
    assert "(-55.5000, 6.0000, -55.2900, 6.0100)" in message
    ((severity, message, _),) = told_of_places(wrong, ghana)
    assert severity is Severity.ERROR
    assert "none of its 3 labels meets the area" in message
    assert [told[0] for told in told_of_places(right, ghana)] == [Severity.NOTE]


def test_doubles_and_ground_of_two_classes_are_found(tmp_path) -> None:
    shapes = [*GOOD, GOOD[0], square(-1.395, 6), shapely.box(-1.29, 6, -1.28, 6.01)]
    kinds = {"class": ["mine", "mine", "mine", "mine", "pond", "pond"]}
    found = told(check_polygons(write(tmp_path / "a.parquet", shapes, **kinds)))
    assert found == {
        "1 pair of features are the same shape": (Severity.WARNING, ("features 0 and 3",)),
        "1 pair of features put ground into two classes": (
            Severity.WARNING,
            ("features 1 and 4",),
        ),
    }
    # Ground to leave alone lies under what is known of it, and not over it.
    kinds = {"class": ["ignore", "mine"]}
    assert told(check_polygons(write(tmp_path / "b.parquet", [GOOD[0]] * 2, **kinds))) == {}


def test_dates_that_contradict_are_found(tmp_path) -> None:
    dates = {"start": ["2024-02-01", "soon", None], "end": ["2024-01-01", None, None]}
    found = told(check_polygons(write(tmp_path / "a.parquet", GOOD, **dates)))
    assert set(found) == {
        "1 feature with an end before the start",
        "1 feature with a start or end that is no date",
    }


def test_days_that_no_image_can_show_are_told(tmp_path) -> None:
    year = dt.datetime.now(dt.UTC).year
    dates = {
        "start": [f"{year + 1}-01-01", "2012-01-01", None],
        "end": [f"{year + 1}-12-31", "2015-06-22", f"{year + 70}"],
    }
    found = told(check_polygons(write(tmp_path / "a.parquet", GOOD, **dates)))
    assert found == {
        "1 feature of the future": (Severity.ERROR, ("feature 0",)),
        f"1 feature with an end after {year}-12-31": (Severity.WARNING, ("feature 2",)),
        "1 feature with an end before the first image of Sentinel-2 (2015-06-23)": (
            Severity.WARNING,
            ("feature 1",),
        ),
    }


@pytest.mark.parametrize("column", ["start", "end"])
def test_dates_of_all_usual_kinds_are_read(tmp_path, column) -> None:
    """Years as numbers are no nanoseconds since 1970, and texts need not be alike."""
    this_year = dt.datetime.now(dt.UTC).year
    for values in (
        [2019, 2020, this_year],
        ["2019", "2020-05", "2021-05-06"],
        [2019.0, None, 2020],
    ):
        path = write(tmp_path / "a.parquet", GOOD, **{column: values})
        assert told(check_polygons(path)) == {}


def test_features_without_a_class_are_found(tmp_path) -> None:
    kinds = {"class": ["mine", None, " "]}
    report = check_polygons(write(tmp_path / "a.parquet", GOOD, **kinds))
    assert told(report) == {
        "2 features without a class": (Severity.ERROR, ("feature 1", "feature 2"))
    }
    assert not report.fit_for_training


@pytest.mark.parametrize(("shapes", "code"), [(GOOD, 0), ([*GOOD, shapely.Point(0, 0)], 1)])
def test_the_command_tells_files_from_folders(tmp_path, shapes, code) -> None:
    path = write(tmp_path / "a.parquet", shapes)
    ended = CliRunner().invoke(app, ["labels", "check", str(path)])
    assert ended.exit_code == code
    assert f"{len(shapes)} features" in ended.stdout


def test_the_command_takes_an_area_for_files(tmp_path) -> None:
    path = write(tmp_path / "a.parquet", GOOD)
    for area, code in (("-2,5,-1,7", 0), ("5,-2,7,-1", 1)):
        words = ["labels", "check", str(path), "--area", area]
        assert CliRunner().invoke(app, words).exit_code == code
    ended = CliRunner().invoke(app, ["labels", "check", str(tmp_path), "--area", "-2,5,-1,7"])
    assert isinstance(ended.exception, ConfigError)


def test_real_polygons_are_fit(shared_data) -> None:
    files = sorted((shared_data / "amw-vectors").rglob("*.geojson"))
    assert files
    report = check_polygons(files[0])
    assert report.chips > 0
    assert pd.Series([f.severity for f in report.findings]).ne(Severity.ERROR).all()
