"""What other people's programs read of a service: GDAL's driver of OGC API Features, and
pystac-client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import geopandas as gpd
import pyogrio
import pytest
import shapely
import urllib3
from pystac_client import Client

from served import served
from service_cases import write_store
from sluice.app.following.stores import open_store
from sluice.base.places import Area
from sluice.base.store import SiteQuery
from stores import NOW

pytestmark = [pytest.mark.enable_socket, pytest.mark.allow_hosts(["127.0.0.1"])]
COUNT = 250
"""Sites: more than a page."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("clients") / "s.sqlite", COUNT)


@pytest.fixture(scope="module")
def address(store: Path) -> Iterator[str]:
    # GDAL waits for answers with the interpreter in its hands, so the service has its own.
    with served(str(store)) as found:
        yield found.rstrip("/")


@pytest.fixture(scope="module")
def gdal(address: str) -> str:
    """The service as GDAL opens it."""
    if "OAPIF" not in pyogrio.list_drivers(read=True):
        pytest.skip("this GDAL has no driver for OGC API Features")
    return f"OAPIF:{address}/ogc"


def test_gdal_reads_all_sites_page_after_page(gdal: str, store: Path) -> None:
    read = gpd.read_file(gdal, layer="sites", engine="pyogrio").set_index("site_id")
    with open_store(str(store)) as opened:
        ours = opened.sites(SiteQuery()).set_index("site_id")
    assert len(ours) == COUNT
    assert sorted(read.index) == sorted(ours.index)
    ours = ours.loc[read.index]
    assert read["status"].tolist() == ours["status"].tolist()
    assert read["area_ha"].round(6).equals(ours["area_ha"].astype(float).round(6))
    assert read.crs.to_epsg() == 4326 or "CRS84" in str(read.crs)
    apart = shapely.symmetric_difference(read.geometry.to_numpy(), ours.geometry.to_numpy())
    assert shapely.area(apart).max() < 1e-8


def test_gdal_asks_for_a_box_and_a_filter(gdal: str) -> None:
    near = gpd.read_file(gdal, layer="sites", bbox=(0.0, 5.0, 0.26, 5.06), engine="pyogrio")
    assert sorted(near["site_id"]) == ["s-0", "s-1", "s-2"]
    large = gpd.read_file(gdal, layer="sites", where="area_ha > 250", engine="pyogrio")
    assert sorted(large["site_id"]) == ["s-248", "s-249"]


def test_gdal_lists_the_collections_and_where_they_lie(gdal: str, store: Path) -> None:
    names = {str(name) for name, _ in pyogrio.list_layers(gdal)}
    assert names == {"sites", "detections", "alerts", "areas"}
    west, south, east, north = pyogrio.read_info(gdal, layer="areas")["total_bounds"]
    assert (west, south, east, north) == pytest.approx((-3, 4, 2, 8))


def test_gdal_reads_an_area_across_180_degrees(tmp_path: Path) -> None:
    if "OAPIF" not in pyogrio.list_drivers(read=True):
        pytest.skip("this GDAL has no driver for OGC API Features")
    path = tmp_path / "s.sqlite"
    sides = [shapely.box(177, -18, 180, -16), shapely.box(-180, -19, -179, -17)]
    with open_store(str(path), create=True) as opened:
        opened.add_area(Area(name="fiji", created=NOW), shapely.MultiPolygon(sides))
    with served(str(path)) as address:
        found = gpd.read_file(f"OAPIF:{address}ogc", layer="areas", engine="pyogrio")
        collection = urllib3.request("GET", f"{address}ogc/collections/areas").json()
        one_side = gpd.read_file(
            f"OAPIF:{address}ogc", layer="areas", bbox=(178, -17, 179, -16.5), engine="pyogrio"
        )
    assert collection["extent"]["spatial"]["bbox"] == [[177, -19, -179, -16]]
    assert found["name"].tolist() == one_side["name"].tolist() == ["fiji"]
    assert shapely.area(found.geometry.iloc[0]) == pytest.approx(8)


def test_pystac_client_reads_the_catalogue(address: str) -> None:
    catalogue = Client.open(f"{address}/stac")
    assert sorted(one.id for one in catalogue.get_collections()) == ["ashanti", "bono east"]
    found = {item.id: item for item in catalogue.search().items()}
    assert sorted(found) == ["run-0", "run-1"]
    west, south, east, north = found["run-0"].bbox
    assert (west, south, east, north) == pytest.approx((-3, 4, 2, 8))
    late = catalogue.search(datetime="2024-05-01/2024-12-31", collections=["ashanti"])
    assert [item.id for item in late.items()] == ["run-1"]
    one_by_one = catalogue.search(limit=1)
    assert len(list(one_by_one.pages())) == 2
    assert not list(catalogue.search(bbox=[20, 20, 21, 21]).items())
