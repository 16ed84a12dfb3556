"""Points of labels, and the discs around them."""

import json

import geopandas as gpd
import numpy as np
import pyproj
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.base.errors import AssetReadError, ConfigError, DataError, ItemNotFound, NoValidData
from sluice.labels.grid import plan_grid
from sluice.labels.grid_zones import Spacing
from sluice.labels.points import (
    discs_around,
    read_africa_mining_watch,
    read_ipis_visits,
    read_mosaiks,
    read_points,
    read_sampling_locations,
)
from sluice.labels.polygons import rasterise_polygons
from sluice.labels.vector_table import LabelColumns

GEOD = pyproj.Geod(ellps="WGS84")


def csv(tmp_path, text, name="a.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("header", ["lon,lat", "LONGITUDE,Latitude", "x,y", "X_GEO,Y_GEO"])
def test_usual_names_of_coordinates_are_known(tmp_path, header):
    path = csv(tmp_path, f"{header},kind\n-1.5,6.25,gold\n-1.6,,gold\n")
    found = read_points(path, LabelColumns("kind"))
    assert found.table.geometry[0].equals(shapely.Point(-1.5, 6.25))
    assert dict(found.left_out) == {"without coordinates": 1}


def test_metres_are_projected(tmp_path):
    path = csv(tmp_path, "id,east,north\n1,500000,0\n")
    found = read_points(path, lon="east", lat="north", crs="EPSG:32630").table
    assert found.geometry[0].distance(shapely.Point(-3, 0)) < 1e-9


def test_points_that_say_where_there_is_no_mine_are_not_all_made_mines(tmp_path):
    path = csv(tmp_path, "lon,lat,Label\n-1.5,6,1\n-1.6,6,0\n-1.7,6,0\n")
    with pytest.raises(DataError, match=r"Label is 0 in 2 of 3 rows.*labels import mosaiks"):
        read_points(path)
    assert read_points(path, LabelColumns("Label")).table["class"].tolist() == ["1", "0", "0"]
    assert len(read_points(path, all_alike=True).table) == 3
    for said, yes in (("no", "yes"), ("Non", "oui"), ("N ", "Y"), ("FALSE", "maybe")):
        path = csv(tmp_path, f"lon,lat,label\n-1.5,6,{said}\n-1.6,6,{yes}\n")
        with pytest.raises(DataError, match=rf"label is {said.strip()} in 1 of 2 .*--class-column"):
            read_points(path)
    for said in ("1", "Mine", "oui"):
        path = csv(tmp_path, f"lon,lat,label\n-1.5,6,{said}\n-1.6,6,1\n")
        assert read_points(path).notes == ()
    for said in ("north pit", "2"):
        path = csv(tmp_path, f"lon,lat,label\n-1.5,6,{said}\n-1.6,6,1\n-1.7,6,\n")
        found = read_points(path)
        assert len(found.table) == 3
        (note,) = found.notes
        assert f"label says '{said}', which was not read" in note
        assert "--class-column label" in note
        assert read_points(path, all_alike=True).notes == ()


def test_judged_points_keep_what_they_say(tmp_path):
    path = csv(
        tmp_path,
        "lon,lat,mine_type,confidence,label,proportion_inspected\n"
        "-11.1,8.1,artisanal,5,1,\n-11.2,8.2,,4,0,0.5\n-11.3,8.3,,4,0,0.1\n",
    )
    found = read_mosaiks(path, class_name="asm")
    assert found.table["class"].tolist() == ["asm", "other"]
    assert found.table["negative"].tolist() == [False, True]
    assert found.table["mine_type"].tolist() == ["artisanal", ""]
    assert found.table.geometry[1].equals(shapely.Point(-11.2, 8.2))
    assert dict(found.left_out) == {"by filter (too little inspected)": 1}


@pytest.mark.parametrize(
    ("text", "error", "part"),
    [
        ("east,north\n1,2\n", ConfigError, "found: east, north. Name it with --lon"),
        ("lon,lat\n1,b\n", DataError, "lat in line 2 is 'b'"),
        ("lon,lat\n6.2,-101.5\n", DataError, "swapped"),
        ("lon,lat\n1000,2000\n", DataError, "no degrees"),
        ("lon,lat\n", NoValidData, "holds no point"),
        ("lon,lat\n,\n", NoValidData, "1 without coordinates"),
        ("", AssetReadError, "not a CSV table"),
    ],
)
def test_tables_that_do_not_serve(tmp_path, text, error, part):
    with pytest.raises(error, match=part):
        read_points(csv(tmp_path, text))


def test_no_file_a_wrong_crs_and_polygons(tmp_path):
    with pytest.raises(ItemNotFound):
        read_points(tmp_path / "none.csv")
    with pytest.raises(ConfigError, match="--crs nowhere"):
        read_points(csv(tmp_path, "lon,lat\n1,2\n"), crs="nowhere")
    path = tmp_path / "a.gpkg"
    gpd.GeoDataFrame(geometry=[shapely.box(0, 0, 1, 1)], crs="EPSG:4326").to_file(path)
    with pytest.raises(NoValidData, match="1 that are no single points"):
        read_points(path)


@settings(max_examples=40)
@given(
    lon=st.floats(-180, 180),
    lat=st.floats(-70, 70),
    radius=st.floats(5, 20_000),
)
def test_a_disc_is_as_large_as_it_says_and_round(lon, lat, radius):
    point = gpd.GeoDataFrame({"class": ["mine"]}, geometry=[shapely.Point(lon, lat)], crs=4326)
    disc = discs_around(point, radius).geometry[0]
    assert disc.is_valid
    area = abs(GEOD.geometry_area_perimeter(disc)[0])
    assert area == pytest.approx(np.pi * radius**2, rel=1e-3)
    corners = shapely.get_coordinates(disc)
    corners = corners[np.abs(np.abs(corners[:, 0]) - 180) > 1e-9]
    _, _, far = GEOD.inv(np.full(len(corners), lon), np.full(len(corners), lat), *corners.T)
    assert np.allclose(far, radius, rtol=2e-3)


def test_discs_need_a_radius():
    point = gpd.GeoDataFrame({"class": ["mine"]}, geometry=[shapely.Point(0, 0)], crs=4326)
    with pytest.raises(ConfigError, match="--radius"):
        discs_around(point)
    with pytest.raises(ConfigError, match="not above 0"):
        discs_around(point, 0)


def test_the_mask_of_a_disc_has_its_area():
    point = gpd.GeoDataFrame({"class": ["mine"]}, geometry=[shapely.Point(-1.5, 6.2)], crs=4326)
    discs = discs_around(point, 200)
    area = discs.geometry[0].buffer(0.05).envelope
    spacing = Spacing(delta_m=640, chip_px=64, gsd_m=10)
    found = plan_grid(area, list(discs.geometry), spacing, centred=True, negatives=0)
    (grid,) = [cell.geobox for cell in found.cells]
    mask = rasterise_polygons(discs, grid, ("other", "mine"))
    assert mask.sum() * 100 == pytest.approx(np.pi * 200**2, rel=0.02)
    rows, cols = np.nonzero(mask)
    assert abs(rows.mean() - 31.5) < 1
    assert abs(cols.mean() - 31.5) < 1


def sampling(tmp_path, name, *properties):
    features = [
        {
            "type": "Feature",
            "properties": facts,
            "geometry": {"type": "Point", "coordinates": [-60 - k, 5]},
        }
        for k, facts in enumerate(properties)
    ]
    path = tmp_path / name
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("v2.1_bolivar_positives_v2.geojson", "mine"),
        ("MinesPos2018-2020Sentinel_points.geojson", "mine"),
        ("MinesNeg_caleb_selection_subsample_1_negatives.geojson", "other"),
        ("riverbank_negatives_v2025-08.geojson", "other"),
    ],
)
def test_the_name_of_a_sampling_set_is_its_label(tmp_path, name, label):
    found = read_sampling_locations(sampling(tmp_path, name, {"id": None}, {"id": None})).table
    assert found["class"].tolist() == [label, label]
    assert found["source"][0] == name.removesuffix(".geojson")


def test_collected_sampling_points_tell_their_own_label_and_dates(tmp_path):
    facts = {
        "source_file": "oxbow_negatives.geojson",
        "label": 0,
        "start_date": "2019-01-01 00:00:00",
        "end_date": "2020-01-01 00:00:00",
        "split": "val",
        "clear_threshold": 0.75,
    }
    mine = {**facts, "label": 1, "source_file": "a_positives.geojson"}
    path = sampling(tmp_path, "collected_locations.geojson", facts, mine)
    found = read_sampling_locations(path).table
    assert found["class"].tolist() == ["other", "mine"]
    assert found["source"].tolist() == ["oxbow_negatives", "a_positives"]
    assert found["split"].tolist() == ["val", "val"]
    assert str(found["start"][0].date()) == "2019-01-01"
    wrong = sampling(tmp_path, "b.geojson", {**facts, "label": 2})
    with pytest.raises(DataError, match="more than 0 and 1"):
        read_sampling_locations(wrong)


def test_a_sampling_set_that_does_not_say_what_it_is(tmp_path):
    path = sampling(tmp_path, "BD_MineriaAurifera_Peru-curated2026-04.geojson", {"Area_ha": 0.1})
    with pytest.raises(ConfigError, match="positives or negatives"):
        read_sampling_locations(path)


def test_visits_of_ipis(shared_data):
    path = shared_data / "vec-ipis-drc" / "cod_mines_curated_all_opendata_p_ipis.csv"
    found = read_ipis_visits(path).table
    assert len(found) == 5071
    assert found["site"].nunique() == 2988
    assert found["start"].equals(found["end"])
    assert str(found["start"].min().date()) == "2009-01-01"
    assert (found["mineral"] == "Or").sum() == 2676


def test_footprints_of_africa_mining_watch(shared_data):
    path = shared_data / "vec-africa-mining-watch" / "data" / "detection_points.csv"
    discs = discs_around(read_africa_mining_watch(path).table.iloc[:200])
    areas = [abs(GEOD.geometry_area_perimeter(shape)[0]) / 1e4 for shape in discs.geometry]
    assert areas[:2] == pytest.approx([30.516, 30.516], abs=0.01)
