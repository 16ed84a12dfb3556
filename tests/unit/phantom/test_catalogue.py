"""The catalogue on disk: what it says is true of its files, and the files hold the series."""

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyproj
import pystac
import pytest
from scipy import ndimage
from shapely.geometry import shape

from sluice.base.errors import ConfigError
from sluice.base.files import open_raster, read_vector
from sluice.phantom.catalogue import NEAR_ZONE_22_M, write_catalogue
from sluice.phantom.radar import radar_scene, spread_passes
from sluice.phantom.series import PhantomSeries, build_series
from sluice.phantom.stac_items import FLAVOURS, added_counts, processing_baseline

BANDS = ("blue", "red", "nir", "swir16", "coastal", "rededge071")
CODES = {"blue": "B02", "red": "B04", "nir": "B08", "swir16": "B11", "coastal": "B01"}
LEVELS = {
    "planetary-computer": ("l2a", "s1"),
    "earth-search": ("l2a", "l1c"),
    "earth-search-c1": ("l2a",),
}
PASSES = spread_passes(dt.date(2022, 2, 1), dt.date(2022, 2, 13))
FIRST_OF_04_00 = dt.date(2022, 1, 25)

Items = dict[str, list[dict]]
Written = Callable[..., tuple[Path, Items]]


@pytest.fixture(scope="session")
def written(series: PhantomSeries, tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Catalogues by flavour and options, each written once."""
    done: dict[str, tuple[Path, Items]] = {}

    def write(flavour: str, **options) -> tuple[Path, Items]:
        key = f"{flavour} {options}"
        if key not in done:
            folder = tmp_path_factory.mktemp("catalogue")
            levels = LEVELS[flavour]
            options = {"levels": levels, "radar_passes": PASSES, **options}
            write_catalogue(series, folder, flavour=flavour, bands=BANDS, **options)
            done[key] = folder, read_items(folder)
        return done[key]

    return write


def read_items(folder: Path) -> Items:
    items: Items = {}
    for feature in json.loads((folder / "items.json").read_text())["features"]:
        items.setdefault(feature["collection"], []).append(feature)
    return {name: sorted(found, key=when) for name, found in items.items()}


def when(item: dict) -> str:
    return item["properties"]["datetime"]


def read(item: dict, key: str) -> np.ndarray:
    with open_raster(item["assets"][key]["href"]) as source:
        return source.read(1)


def projection(item: dict, asset: dict) -> tuple[list, list, int]:
    """Shape, transform and code as STAC has them: on the asset, or on the item."""
    fields = item["properties"] | asset
    return fields["proj:shape"], fields["proj:transform"], fields["proj:epsg"]


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_every_asset_exists_and_lies_where_its_item_says(written, flavour):
    _, items = written(flavour)
    assert len(items) == len(LEVELS[flavour])
    for item in (item for found in items.values() for item in found):
        for asset in item["assets"].values():
            size, transform, epsg = projection(item, asset)
            with open_raster(asset["href"]) as source:
                assert list(source.shape) == size
                assert list(source.transform)[:6] == transform
                assert source.crs.to_epsg() == epsg
                assert source.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
                assert source.tags(ns="IMAGE_STRUCTURE")["COMPRESSION"] == "DEFLATE"
                assert "fictional" in source.tags()["TIFFTAG_IMAGEDESCRIPTION"]
                stored = asset.get("raster:bands", [{}])[0]
                assert stored.get("nodata", 0) == source.nodata
                assert stored.get("data_type", source.dtypes[0]) == source.dtypes[0]
                assert (source.scales, source.offsets) == ((1.0,), (0.0,))
            assert Path(asset["href"]).stat().st_size == asset.get(
                "file:size", Path(asset["href"]).stat().st_size
            )
        assert "fictional" in item["properties"]["description"]
        assert item["bbox"] == pytest.approx(shape(item["geometry"]).bounds)


def test_the_static_catalogue_is_relative_and_holds_the_same_items(written):
    folder, items = written("planetary-computer")
    catalog = pystac.Catalog.from_file(str(folder / "catalog.json"))
    assert "fictional" in catalog.description
    found = list(catalog.get_items(recursive=True))
    assert {item.id for item in found} == {i["id"] for group in items.values() for i in group}
    for document in folder.rglob("*.json"):
        if document.name == "items.json":
            continue
        content = json.loads(document.read_text())
        for link in content["links"]:
            assert link["href"].startswith(".")
            assert (document.parent / link["href"]).resolve().is_file()
        for asset in content.get("assets", {}).values():
            assert (document.parent / asset["href"]).resolve().is_file()
            assert asset["href"].startswith(".")


def test_items_can_point_to_a_server(series, tmp_path):
    write_catalogue(series, tmp_path, bands=("red",), base_href="http://127.0.0.1:9/data/")
    for item in read_items(tmp_path)["sentinel-2-l2a"]:
        for asset in item["assets"].values():
            start = "http://127.0.0.1:9/data/"
            assert asset["href"].startswith(start)
            assert (tmp_path / asset["href"].removeprefix(start)).is_file()


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_counts_decode_to_the_series_as_the_catalogue_says(series, written, flavour):
    _, items = written(flavour)
    planetary = flavour == "planetary-computer"
    for index, item in enumerate(items[FLAVOURS[flavour].collection]):
        baseline = item["properties"]["s2:processing_baseline"]
        truth = series.scene_at(index, tuple(CODES)).raster
        for name, code in CODES.items():
            asset = item["assets"][code if planetary else name]
            counts = read(item, code if planetary else name)
            if planetary:
                offset = -0.1 if baseline >= "04.00" else 0
                assert "raster:bands" not in asset
            else:
                offset = asset["raster:bands"][0]["offset"]
                assert asset["raster:bands"][0]["scale"] == 0.0001
                # Collection 1 was processed anew: its oldest scenes are shifted too.
                shifted = baseline >= "04.00"
                assert shifted == (flavour == "earth-search-c1" or index >= 2)
                assert offset == (-0.1 if shifted else 0)
            if item["properties"].get("earthsearch:boa_offset_applied", False):
                offset = 0
            size = series.geobox.shape.x // counts.shape[1]
            expected = truth.band(name)[::size, ::size]
            np.testing.assert_allclose(counts * 0.0001 + offset, expected, atol=0.000051)
        scl = read(item, "SCL" if planetary else "scl")
        np.testing.assert_array_equal(scl, series.scene_at(index, ("red",)).scl_hw[::2, ::2])


def test_newer_baselines_are_shifted_by_exactly_a_thousand_counts(series, written):
    _, shifted = written("planetary-computer")
    _, removed = written("earth-search")
    pairs = zip(shifted["sentinel-2-l2a"], removed["sentinel-2-l2a"], strict=True)
    for index, (here, there) in enumerate(pairs):
        difference = read(here, "B04").astype(int) - read(there, "red").astype(int)
        expected = 0 if series.dates[index] < FIRST_OF_04_00 else 1000
        assert (difference == expected).all()
        flag = there["properties"]["earthsearch:boa_offset_applied"]
        assert flag == (expected == 1000)


def test_baselines_are_those_of_their_day():
    assert processing_baseline(dt.date(2022, 1, 24)) == "03.01"
    assert processing_baseline(FIRST_OF_04_00) == "04.00"
    assert processing_baseline(dt.date(2025, 1, 1)) == "05.11"
    assert processing_baseline(dt.date(2018, 1, 1), reprocessed=True) == "05.00"
    assert [added_counts(name) for name in ("03.01", "04.00", "05.11")] == [0, 1000, 1000]


def test_items_can_misstate_what_was_done_about_the_offset(written):
    _, honest = written("earth-search")
    _, wrong = written("earth-search", misstated=(3,), levels=("l2a",))
    for index, (true, claimed) in enumerate(
        zip(honest["sentinel-2-l2a"], wrong["sentinel-2-l2a"], strict=True)
    ):
        flags = [i["properties"]["earthsearch:boa_offset_applied"] for i in (true, claimed)]
        assert (flags[0] != flags[1]) == (index == 3)
        np.testing.assert_array_equal(read(true, "red"), read(claimed, "red"))


def test_asset_names_are_those_of_the_catalogue(written):
    _, items = written("planetary-computer")
    planetary = items["sentinel-2-l2a"][0]
    assert set(planetary["assets"]) == {"B01", "B02", "B04", "B05", "B08", "B11", "SCL"}
    assert planetary["properties"]["s2:mgrs_tile"] == "21MXN"
    assert planetary["id"] == "S2A_MSIL2A_20211226T134211_R024_T21MXN_20211226T181500"
    radar = items["sentinel-1-rtc"][0]
    assert set(radar["assets"]) == {"vv", "vh"}
    assert radar["id"].endswith("_rtc")
    earth = {"coastal", "blue", "red", "rededge1", "nir", "swir16"}
    _, items = written("earth-search")
    assert set(items["sentinel-2-l1c"][0]["assets"]) == {*earth, "cirrus"}
    assert set(items["sentinel-2-l2a"][0]["assets"]) == {*earth, "scl"}
    assert items["sentinel-2-l2a"][0]["id"] == "S2A_21MXN_20211226_0_L2A"
    assert items["sentinel-2-l2a"][0]["properties"]["grid:code"] == "MGRS-21MXN"
    _, items = written("earth-search-c1")
    assert items["sentinel-2-c1-l2a"][0]["id"] == "S2A_T21MXN_20211226T134211_L2A"


def test_top_of_atmosphere_has_its_clouds_in_the_twin_of_the_same_overpass(series, written):
    _, items = written("earth-search")
    for toa, surface in zip(items["sentinel-2-l1c"], items["sentinel-2-l2a"], strict=True):
        assert "scl" not in toa["assets"]
        ours, theirs = toa["properties"], surface["properties"]
        for field in ("datetime", "grid:code", "s2:datatake_id", "eo:cloud_cover"):
            assert ours[field] == theirs[field]
    toa = items["sentinel-2-l1c"][2]
    counts = read(toa, "cirrus")
    offset = toa["assets"]["cirrus"]["raster:bands"][0]["offset"]
    expected = series.toa_at(2, ("cirrus",)).band("cirrus")[::6, ::6]
    np.testing.assert_allclose(counts * 0.0001 + offset, expected, atol=0.000051)


def test_radar_files_hold_the_passes_in_linear_power(series, written):
    _, items = written("planetary-computer")
    assert len(items["sentinel-1-rtc"]) == len(PASSES) == 3
    for number in (0, 1, 2):
        item = items["sentinel-1-rtc"][number]
        assert item["properties"]["sat:orbit_state"] == PASSES[number].orbit_state
        beyond = 0.3 if number == 2 else 0.0
        expected = radar_scene(series, PASSES[number], beyond_swath=beyond).gamma0_bhw[1]
        with open_raster(item["assets"]["vh"]["href"]) as source:
            assert source.nodata == -32768
            stored = source.read(1)
        np.testing.assert_array_equal(np.where(stored == -32768, np.nan, stored), expected)
    seen = [shape(item["geometry"]).area for item in items["sentinel-1-rtc"][:3]]
    assert seen[2] == pytest.approx(seen[0] * (1 - 0.3**2 / 2), rel=0.001)


def test_cloud_cover_is_that_of_the_classification(series, written):
    _, items = written("planetary-computer")
    for index, item in enumerate(items["sentinel-2-l2a"]):
        expected = series.scene_at(index, ("red",)).cloud_cover
        assert item["properties"]["eo:cloud_cover"] == pytest.approx(expected, abs=1e-4)


def test_two_tiles_overlap_with_equal_pixels(series, tmp_path):
    write_catalogue(series, tmp_path, bands=("red", "coastal"), tiles="two")
    items = read_items(tmp_path)["sentinel-2-l2a"]
    assert len(items) == 2 * len(series)
    west, east = sorted(items[:2], key=lambda item: item["bbox"][0])
    assert west["properties"]["s2:mgrs_tile"] == "21MWN"
    assert east["properties"]["s2:mgrs_tile"] == "21MXN"
    assert west["properties"]["datetime"] == east["properties"]["datetime"]
    for key, gsd in (("B04", 10), ("B01", 60), ("SCL", 20)):
        left, right = (item["assets"][key]["proj:transform"][2] for item in (west, east))
        shift = int((right - left) / gsd)
        assert (right - left) % 60 == 0
        a, b = read(west, key), read(east, key)
        assert 0 < shift < a.shape[1]
        np.testing.assert_array_equal(a[:, shift:], b[:, : a.shape[1] - shift])


def test_a_tile_of_the_neighbouring_zone_shows_the_same_ground(tmp_path):
    series = build_series(
        2, 240, [dt.date(2021, 6, 1)], mine_count=1, cloud_shares=[0.0],
        upper_left_m=NEAR_ZONE_22_M,
    )  # fmt: skip
    write_catalogue(series, tmp_path, bands=("red",), tiles="two-zones")
    items = read_items(tmp_path)["sentinel-2-l2a"]
    codes = {item["properties"]["s2:mgrs_tile"]: item for item in items}
    assert set(codes) == {"21MZN", "22MAT"}
    other = codes["22MAT"]
    assert other["properties"]["proj:epsg"] == 32722
    assert shape(other["geometry"]).intersects(shape(codes["21MZN"]["geometry"]))
    counts = read(other, "B04")
    # A turned square in its box: beyond it there is no data.
    assert 0 < (counts == 0).mean() < 0.2
    assert (counts[[0, 0, -1, -1], [0, -1, 0, -1]] == 0).any()
    row, col = np.nonzero(counts)
    with open_raster(other["assets"]["B04"]["href"]) as source:
        x, y = source.xy(row, col)
    to_21 = pyproj.Transformer.from_crs(32722, 32721, always_xy=True)
    x, y = to_21.transform(x, y)
    col_21 = (np.asarray(x) - NEAR_ZONE_22_M[0]) / 10 - 0.5
    row_21 = (NEAR_ZONE_22_M[1] - np.asarray(y)) / 10 - 0.5
    scene = series.scene_at(0, ("red",)).raster.band("red")
    expected = ndimage.map_coordinates(scene, (row_21, col_21), order=1, mode="nearest")
    difference = np.abs(counts[row, col] / 10_000 - expected)
    assert np.median(difference) < 0.0002
    assert np.quantile(difference, 0.99) < 0.003


def test_truth_of_each_date_lies_beside(series, written):
    folder, _ = written("planetary-computer")
    mines = read_vector(folder / "truth.gpkg", layer="mines")
    for day in series.dates:
        expected = series.mines_at(day)
        found = mines[mines["date"].astype(str).str.startswith(day.isoformat())]
        assert list(found["mine_id"]) == list(expected["mine_id"])
        np.testing.assert_allclose(found.area, expected.area)
    confusers = read_vector(folder / "truth.gpkg", layer="confusers")
    assert list(confusers["kind"]) == list(series.confusers["kind"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"flavour": "usgs"}, "planetary-computer"),
        ({"levels": ()}, "l2a, l1c, s1"),
        ({"levels": ("l3",)}, "l2a, l1c, s1"),
        ({"tiles": "three"}, "two-zones"),
        ({"misstated": (1,)}, "claim nothing"),
    ],
)
def test_what_does_not_exist_is_refused(series, tmp_path, options, words):
    with pytest.raises(ConfigError, match=words):
        write_catalogue(series, tmp_path, **options)
