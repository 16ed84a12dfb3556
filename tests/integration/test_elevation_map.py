"""`sluice elevation`: an area goes in, heights and slopes come out."""

import json

import numpy as np
import pystac
import pytest
import rasterio
import shapely
from affine import Affine
from PIL import Image

from fault_server import Fault, FaultServer
from sluice.app.config import ElevationConfig, make_config
from sluice.app.elevation import elevation_all, find_elevation
from sluice.base.errors import ConfigError, GridMismatch, NoValidData, SourceUnavailable
from sluice.imagery.elevation import cell_name, elevation_assets

pytestmark = [pytest.mark.enable_socket, pytest.mark.allow_hosts(["127.0.0.1"])]
NEAR = 0.05
AREA = "-1.03,6.97,-0.97,7.03"
CORNER = (-1.0, 7.0)


def plane(lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
    """Metres; 0.2 m per metre eastwards."""
    return 500 + 0.2 * 111_320 * np.cos(np.radians(CORNER[1])) * (lon - CORNER[0]) + 0 * lat


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    """Four cells around a corner, written near it only."""
    folder = tmp_path_factory.mktemp("cells")
    for lon, lat in ((-2, 6), (-1, 6), (-2, 7), (-1, 7)):
        (asset,) = elevation_assets(shapely.Point(lon + 0.5, lat + 0.5), base=folder)
        a, (rows, cols) = asset.geobox.affine, asset.geobox.shape.yx
        col = np.arange(cols)[None]
        row = np.arange(rows)[:, None]
        x, y = a.c + (col + 0.5) * a.a, a.f + (row + 0.5) * a.e
        near = (abs(x - CORNER[0]) < NEAR) & (abs(y - CORNER[1]) < NEAR)
        z = np.where(near, plane(x, y), -9999).astype(np.float32)
        path = folder / cell_name(lon, lat) / f"{cell_name(lon, lat)}.tif"
        path.parent.mkdir()
        profile = {"height": rows, "width": cols, "count": 1, "dtype": "float32"}
        with rasterio.open(
            path, "w", driver="GTiff", crs="EPSG:4326", transform=Affine(*a[:6]), tiled=True,
            blockxsize=512, blockysize=512, compress="deflate", nodata=-9999, **profile,
        ) as target:  # fmt: skip
            target.write(z, 1)
    return folder


@pytest.fixture
def bucket(cells, monkeypatch, tmp_path):
    """The cells behind HTTP."""
    monkeypatch.setenv("SLUICE_CACHE", str(tmp_path / "cache"))
    with FaultServer(cells) as server:
        yield server


def config(out, **settings) -> ElevationConfig:
    return make_config(ElevationConfig, **({"area": AREA, "out": out} | settings))


def test_heights_and_slopes_of_a_plane(cells, tmp_path) -> None:
    (done,) = elevation_all(config(tmp_path / "out", source=str(cells)))
    with rasterio.open(tmp_path / "out" / "elevation.tif") as found:
        metres, slope = found.read()
        assert found.descriptions == ("elevation", "slope")
        assert found.units == ("m", "deg")
        assert found.res == (30, 30)
        assert found.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert "Airbus" in found.tags()["TIFFTAG_COPYRIGHT"]
    # Across the borders of cells as within them, to the outermost pixel.
    assert np.isfinite(metres).all()
    assert np.isfinite(slope).all()
    np.testing.assert_allclose(slope, np.degrees(np.arctan(0.2)), atol=0.1)
    assert np.diff(metres[len(metres) // 2]).mean() == pytest.approx(0.2 * 30, rel=0.01)
    assert done.summary["not_observed_percent"] == 0
    assert done.summary["lowest_m"] == pytest.approx(metres.min(), abs=0.1)
    assert done.summary["steep_percent"] == 0
    item = pystac.Item.from_file(tmp_path / "out" / "item.json")
    bands = item.assets["elevation"].extra_fields["bands"]
    assert bands == [{"name": "elevation", "unit": "m"}, {"name": "slope", "unit": "deg"}]
    with Image.open(tmp_path / "out" / "preview.png") as picture:
        assert np.asarray(picture).std() > 3


def test_gaps_in_copies_of_cells_are_no_heights(cells, tmp_path) -> None:
    area = "-1.06,6.97,-0.97,7.03"  # beyond what is written in the cells
    (done,) = elevation_all(config(tmp_path / "out", source=str(cells), area=area))
    assert done.summary["lowest_m"] > -1000
    assert 10 < done.summary["not_observed_percent"] < 30


def test_a_served_bucket_gives_the_same_and_is_asked_once(bucket, cells, tmp_path) -> None:
    elevation_all(config(tmp_path / "disk", source=str(cells)))
    elevation_all(config(tmp_path / "http", source=bucket.url))
    images = []
    for name in ("disk", "http"):
        with rasterio.open(tmp_path / name / "elevation.tif") as found:
            images.append(found.read())
    np.testing.assert_array_equal(*images)
    asked = len(bucket.requests)
    elevation_all(config(tmp_path / "again", source=bucket.url))
    assert len(bucket.requests) == asked


def test_a_dry_run_says_what_there_is_and_reads_nothing(bucket, tmp_path) -> None:
    (found,) = find_elevation(config(tmp_path / "out", source=bucket.url))
    assert (found.cells, found.bytes) == (4, 4 * 1024 * 1024 * 4)
    assert 40 < found.area_km2 < 48
    assert not bucket.requests
    assert not (tmp_path / "out").exists()


def test_a_bucket_that_is_down_fails_and_leaves_a_record(bucket, tmp_path) -> None:
    bucket.faults["Copernicus"] = Fault(503)
    with pytest.raises(SourceUnavailable):
        elevation_all(config(tmp_path / "out", source=bucket.url))
    record = json.loads((tmp_path / "out" / "run-failed.json").read_text())
    assert record["status"] == "failed"
    assert not (tmp_path / "out" / "elevation.tif").exists()


def test_at_sea_there_are_no_heights(cells, tmp_path) -> None:
    with pytest.raises(NoValidData, match=r"not there: .*N01_00_W021.*at sea"):
        elevation_all(config(tmp_path / "out", source=str(cells), area="-20.2,1.1,-20.1,1.2"))


def test_a_cell_that_is_not_what_its_name_says_is_refused(cells, tmp_path) -> None:
    name = cell_name(-2, 6)
    place = tmp_path / "cells" / f"{name}.tif"
    place.parent.mkdir()
    with rasterio.open(cells / name / f"{name}.tif") as cell:
        profile, metres = cell.profile, cell.read(out_shape=(1, 1200, 1200))
    thrice = profile["transform"] @ Affine.scale(3)
    with rasterio.open(
        place, "w", **(profile | {"height": 1200, "width": 1200, "transform": thrice})
    ) as copy:
        copy.write(metres)
    area = "-1.03,6.97,-1.01,6.99"
    with pytest.raises(GridMismatch, match=r"promises float32 \(3600, 3600\).*1200"):
        elevation_all(config(tmp_path / "out", source=str(place.parent), area=area))


def test_places_that_hold_no_cells_are_refused(tmp_path) -> None:
    with pytest.raises(ConfigError, match="no such folder"):
        elevation_all(config(tmp_path / "out", source=str(tmp_path / "none")))


def test_on_the_command_line(cells, tmp_path, sluice) -> None:
    words = ["elevation", "--area", AREA, "--source", str(cells), "--out", str(tmp_path / "out")]
    code, said, _ = sluice(*words)
    assert code == 0
    assert "Elevation from " in said
    assert "Copernicus DEM GLO-30" in said
    assert "elevation.tif" in said
    # A finished map is not made again unless asked for.
    code, _, err = sluice(*words)
    assert code != 0
    assert "--overwrite" in err
    code, said, _ = sluice(*words, "--overwrite", "--json")
    assert code == 0
    assert json.loads(said)["cells_missing"] == []
