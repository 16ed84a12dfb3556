"""Catalogues without a server: linked files, lists of items, stac-geoparquet."""

import functools
import json
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio
import shapely
from affine import Affine

import stac_items as si
from fault_server import FaultServer
from sluice.base.errors import ConfigError, ItemNotFound
from sluice.base.periods import Period, parse_span
from sluice.base.sensors import find_sensor
from sluice.imagery.catalogue import Found
from sluice.imagery.scenes import SceneFiles
from sluice.imagery.stac import static
from sluice.imagery.stac.catalogues import open_catalogue
from sluice.imagery.stac.items import Reading, scene_of_item
from sluice.imagery.stac.parquet import read_parquet_items
from sluice.imagery.stac.web import Patience

AREA = shapely.box(*si.AREA)
YEAR = parse_span("2024", "2024")
QUICK = Patience(timeout_s=5, retries=1, backoff_s=0.01, longest_wait_s=0.1)


def find(source: Path | str, sensor: str = "s2-l2a", period: Period = YEAR, **how: Any) -> Found:
    catalogue = open_catalogue(str(source), sensor, patience=QUICK, **how)
    return catalogue.find(AREA, period, ("red",) if sensor.startswith("s2") else ("vv",))


def ids(found: Found) -> list[str]:
    return [files.scene.id for files in found.files]


def write(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def catalogue(links: list[tuple[str, str]]) -> Any:
    return {
        "type": "Catalog",
        "stac_version": "1.0.0",
        "id": "root",
        "description": "root",
        "links": [{"rel": rel, "href": href} for rel, href in links],
    }


# Linked files


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """A catalogue of two collections; one is of another year."""
    write(tmp_path / "a" / "one" / "item.json", si.earth_search_c1("2024-08-01"))
    write(tmp_path / "a" / "two.json", si.earth_search_c1("2024-08-05"))
    elsewhere = si.moved(si.earth_search_c1("2024-08-06"), 10, 10)
    write(tmp_path / "a" / "elsewhere.json", elsewhere)
    items = [si.earth_search_c1("2024-08-01"), si.earth_search_c1("2024-08-05"), elsewhere]
    first = si.collection("sentinel-2-c1-l2a", items)
    first["links"] = [
        {"rel": "item", "href": "./one/item.json"},
        {"rel": "item", "href": "two.json"},
        {"rel": "item", "href": str(tmp_path / "a" / "elsewhere.json")},
        {"rel": "parent", "href": "../catalog.json"},
    ]
    write(tmp_path / "a" / "collection.json", first)
    old = si.collection("old", [si.earth_search_c1("2016-08-01")])
    # Not looked at: its time tells.
    old["links"] = [{"rel": "item", "href": "./not-there.json"}]
    write(tmp_path / "b" / "collection.json", old)
    links = [("child", "./a/collection.json"), ("child", "./b/collection.json")]
    return write(tmp_path / "catalog.json", catalogue(links))


def test_a_walk(linked: Path) -> None:
    found = find(linked)
    assert ids(found) == ["S2B_T21MVN_20240801T135009_L2A", "S2B_T21MVN_20240805T135009_L2A"]
    assert found.left_out == ()
    assert ids(find(linked, period=parse_span("2024-08-03", "2024-08-09"))) == ids(found)[1:]


def test_one_collection_of_a_catalogue(linked: Path) -> None:
    assert len(find(linked, collection="sentinel-2-c1-l2a").files) == 2
    assert find(linked, collection="old") == Found((), ())
    assert len(find(linked.parent / "a" / "collection.json").files) == 2
    assert len(find(linked.parent / "a" / "two.json").files) == 1


def test_a_collection_that_is_not_there(linked: Path) -> None:
    there = r"catalog\.json: has no collection nope; it has: old, sentinel-2-c1-l2a$"
    with pytest.raises(ConfigError, match=there):
        find(linked, collection="nope")
    with pytest.raises(ConfigError, match=r"it has: sentinel-2-c1-l2a$"):
        find(linked.parent / "a" / "collection.json", collection="old")
    # One that is there and has nothing of the period.
    empty = find(linked, period=parse_span("2015", "2015"), collection="sentinel-2-c1-l2a")
    assert empty == Found((), ())
    (linked.parent / "b" / "collection.json").unlink()
    with pytest.raises(ConfigError, match=r"it has: sentinel-2-c1-l2a; parts .* 1, the first .*b"):
        find(linked, collection="old")


def test_an_extent_of_no_numbers_hides_nothing(linked: Path) -> None:
    path = linked.parent / "a" / "collection.json"
    content = json.loads(path.read_text())
    content["extent"]["spatial"]["bbox"] = [[float("nan")] * 4]
    write(path, content)
    assert len(find(linked).files) == 2


def test_parts_that_are_not_to_be_had(linked: Path) -> None:
    (linked.parent / "a" / "two.json").unlink()
    (linked.parent / "a" / "one" / "item.json").write_text("{no json")
    write(linked.parent / "a" / "elsewhere.json", {"some": "thing"})
    found = find(linked)
    assert found.files == ()
    reasons = {out.scene_id: out.reason for out in found.left_out}
    assert set(reasons) == {"item.json", "two.json", "elsewhere.json"}
    assert "no such file" in reasons["two.json"]
    assert "not JSON" in reasons["item.json"]
    assert "is no STAC" in reasons["elsewhere.json"]


def test_a_circle(tmp_path: Path) -> None:
    links = [("child", "catalog.json"), ("child", "./catalog.json"), ("item", "item.json")]
    write(tmp_path / "item.json", si.earth_search_c1())
    assert len(find(write(tmp_path / "catalog.json", catalogue(links))).files) == 1


def test_too_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(static, "MOST_FILES", 5)
    for k in range(10):
        write(tmp_path / f"{k}.json", si.earth_search_c1())
    links = [("item", f"{k}.json") for k in range(10)]
    with pytest.raises(ConfigError, match="more than 5 files"):
        find(write(tmp_path / "catalog.json", catalogue(links)))


def test_files_beside_their_item_are_read(tmp_path: Path) -> None:
    item = si.earth_search_c1()
    item["assets"] = {"red": item["assets"]["red"] | {"href": "./pixels/red.tif"}}
    # No grid stated: the header tells.
    del item["assets"]["red"]["proj:transform"]
    (tmp_path / "deep" / "pixels").mkdir(parents=True)
    with rasterio.open(
        tmp_path / "deep" / "pixels" / "red.tif",
        "w",
        driver="GTiff",
        width=60,
        height=50,
        count=1,
        dtype="uint16",
        crs=f"EPSG:{si.EPSG}",
        transform=Affine(10, 0, si.LEFT + 40_000, 0, -10, si.TOP - 50_000),
    ) as dataset:
        dataset.write(np.full((1, 50, 60), 1300, np.uint16))
    item["geometry"] = item["bbox"] = None
    write(tmp_path / "deep" / "item.json", item)
    source = write(tmp_path / "catalog.json", catalogue([("item", "deep/item.json")]))
    found = open_catalogue(str(source), "s2-l2a").find(
        shapely.box(-57.9, -7.3, -56.9, -6.3), YEAR, ("red",)
    )
    (files,) = found.files
    values = files.bands["red"].read(_all_of(files))
    # Claimed to hold the 1000; the pixels are not asked here.
    assert values == pytest.approx(0.03, abs=1e-6)


def _all_of(files: SceneFiles) -> Any:
    from sluice.base.grid import PixelWindow

    height, width = files.bands["red"].geobox.shape.yx
    return PixelWindow(0, 0, height, width)


# Lists of items


def test_a_list_of_items(tmp_path: Path) -> None:
    features = [si.earth_search_c1(f"2024-08-{day:02d}") for day in (9, 3, 20)]
    features += [si.moved(si.earth_search_c1("2024-08-04"), 10, 10)]
    features += [si.planetary_computer_rtc()]
    source = write(tmp_path / "items.geojson", {"type": "FeatureCollection", "features": features})
    found = find(source)
    assert [str(files.scene.acquired)[8:] for files in found.files] == ["03", "09", "20"]
    assert len(find(source, "s1").files) == 1
    with pytest.raises(ConfigError, match="holds no s2-l1c, only s1, s2-l2a"):
        find(source, "s2-l1c")


def test_a_collection_that_no_item_is_of(tmp_path: Path) -> None:
    far = si.moved(si.earth_search_c1(), 10, 10) | {"collection": "far"}
    features = [si.earth_search_c1(), far]
    source = write(tmp_path / "items.json", {"type": "FeatureCollection", "features": features})
    assert len(find(source, collection="sentinel-2-c1-l2a").files) == 1
    assert find(source, collection="far") == Found((), ())
    with pytest.raises(ConfigError, match=r"no collection nope; it has: far, sentinel-2-c1-l2a$"):
        find(source, collection="nope")
    nameless = [si.earth_search_c1() | {"collection": None}]
    source = write(tmp_path / "items.json", {"type": "FeatureCollection", "features": nameless})
    with pytest.raises(ConfigError, match=r"no collection nope; it has: none$"):
        find(source, collection="nope")


def test_clouds_that_are_no_number(tmp_path: Path) -> None:
    # Python's own JSON has NaN, and reads it.
    item = si.earth_search_c1(**{"eo:cloud_cover": float("nan")})
    source = write(tmp_path / "items.json", {"type": "FeatureCollection", "features": [item]})
    assert "NaN" in source.read_text()
    (files,) = find(source, max_cloud=20).files
    assert files.scene.cloud_cover is None


def test_items_that_are_none(tmp_path: Path) -> None:
    features = [None, 7, {}, {"type": "Feature"}, si.earth_search_c1()]
    nameless = si.earth_search_c1("2024-08-02") | {"id": None}
    timeless = si.earth_search_c1("2024-08-03")
    del timeless["properties"]["datetime"]
    empty = si.earth_search_c1("2024-08-04") | {"assets": {}}
    source = write(
        tmp_path / "items.json",
        {"type": "FeatureCollection", "features": [*features, nameless, timeless, empty]},
    )
    found = find(source)
    assert ids(found) == ["S2B_T21MVN_20240801T135009_L2A", "unnamed"]
    assert {out.reason for out in found.left_out} == {
        "does not say when it was taken",
        "has no red; its bands: none with a known name",
    }


def test_a_path_in_a_list_from_elsewhere_means_nothing_here(tmp_path: Path) -> None:
    item = si.earth_search_c1()
    item["links"] = [{"rel": "self", "href": "/somewhere/else/item.json"}]
    item["assets"]["red"]["href"] = "red.tif"
    source = write(tmp_path / "items.json", {"type": "FeatureCollection", "features": [item]})
    (files,) = find(source).files
    assert Path(files.bands["red"].href) == tmp_path / "red.tif"


def test_clouds(tmp_path: Path) -> None:
    features = [
        si.earth_search_c1("2024-08-01", **{"eo:cloud_cover": 80}),
        si.earth_search_c1("2024-08-02", **{"eo:cloud_cover": 20.0}),
        si.earth_search_c1("2024-08-03"),
    ]
    del features[2]["properties"]["eo:cloud_cover"]
    source = write(tmp_path / "items.json", {"type": "FeatureCollection", "features": features})
    found = find(source, max_cloud=20)
    assert [str(files.scene.acquired)[8:] for files in found.files] == ["02", "03"]
    assert [out.reason for out in found.left_out] == ["clouds 80 %, above --max-cloud 20"]


@pytest.mark.parametrize(
    ("name", "content", "kind", "message"),
    [
        ("a.json", "[]", ConfigError, "is no STAC catalogue"),
        ("a.json", "{", ConfigError, "is not JSON"),
        ("a.json", '{"type": "Topology"}', ConfigError, "is no STAC catalogue"),
        ("a.parquet", "no parquet", ConfigError, "is no Parquet file"),
        ("a.tif", "x", ConfigError, "is not known; use earth-search"),
    ],
)
def test_other_files(
    tmp_path: Path, name: str, content: str, kind: type[Exception], message: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(kind, match=message):
        find(tmp_path / name)


@pytest.mark.parametrize("name", ["gone.json", "gone.parquet"])
def test_a_file_that_is_not_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(ItemNotFound, match="no such file"):
        find(tmp_path / name)


def test_the_real_list(shared_data: Path) -> None:
    (path,) = (shared_data / "stac-items-s2-drc").glob("*.geojson")
    found = open_catalogue(str(path), "s2-l2a").find(
        shapely.box(27.3, -7.9, 27.4, -7.8), parse_span("2020-06-10", "2020-07-20"), ("red", "nir")
    )
    assert len(found.files) == 8
    assert found.left_out == ()
    names = [files.scene.id for files in found.files]
    assert names[0].startswith("S2A_MSIL2A_20200611")
    assert names[-1].startswith("S2B_MSIL2A_20200716")


# stac-geoparquet


@pytest.fixture(scope="module")
def parquet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rustac = pytest.importorskip("rustac")
    features = [si.earth_search_c1(f"2024-{m:02d}-05") for m in range(1, 13)]
    features += [si.planetary_computer_l2a(f"2024-{m:02d}-15") for m in range(1, 13)]
    features += [si.moved(si.earth_search_c1("2024-08-07"), 10, 10)]
    path = tmp_path_factory.mktemp("parquet") / "items.parquet"
    rustac.write_sync(str(path), {"type": "FeatureCollection", "features": features})
    return path


def test_a_parquet_file(parquet: Path) -> None:
    found = find(parquet, period=parse_span("2024-05", "2024-07"))
    assert [str(files.scene.acquired) for files in found.files] == [
        f"2024-{month:02d}-{day}" for month in (5, 6, 7) for day in ("05", "15")
    ]
    assert found.left_out == ()
    # As from the item itself: what the columns of other items add is gone.
    wanted = scene_of_item(si.earth_search_c1("2024-05-05"), _reading())
    assert found.files[0] == wanted
    assert found.files[1] == scene_of_item(si.planetary_computer_l2a("2024-05-15"), _reading())


def _reading() -> Reading:
    return Reading(find_sensor("s2-l2a"), bands=("red",))


def test_rows_become_items_as_the_reference_makes_them(parquet: Path) -> None:
    reference = pytest.importorskip("stac_geoparquet.arrow")
    area = shapely.box(-180, -90, 180, 90)
    own = list(read_parquet_items(str(parquet), area, YEAR, QUICK))
    theirs = list(reference.stac_table_to_items(pq.read_table(parquet)))
    assert len(own) == len(theirs) == 25
    for mine, other in zip(own, theirs, strict=True):
        assert mine["id"] == other["id"]
        assert mine["bbox"] == pytest.approx(other["bbox"])
        assert shapely.geometry.shape(mine["geometry"]).equals(
            shapely.geometry.shape(other["geometry"])
        )
        for key, asset in other["assets"].items():
            assert _full(mine["assets"][key]) == _full(asset)
        theirs_props = _full(other["properties"])
        del theirs_props["datetime"]
        assert _full(mine["properties"]).items() >= theirs_props.items()


def _full(value: Any) -> Any:
    """Without what is empty, as writers differ in it."""
    if isinstance(value, dict):
        return {key: _full(part) for key, part in value.items() if part is not None}
    return [_full(part) for part in value] if isinstance(value, list) else value


def test_a_collection_that_no_row_is_of(parquet: Path) -> None:
    assert len(find(parquet, collection="sentinel-2-c1-l2a").files) == 12
    # There, and of another year.
    before = parse_span("2016", "2016")
    assert find(parquet, period=before, collection="sentinel-2-c1-l2a") == Found((), ())
    there = r"items\.parquet: has no collection nope; it has: sentinel-2-c1-l2a, sentinel-2-l2a$"
    for period in (YEAR, before):
        with pytest.raises(ConfigError, match=there):
            find(parquet, period=period, collection="nope")


def test_only_what_may_fit_becomes_an_item(parquet: Path) -> None:
    items = list(read_parquet_items(str(parquet), AREA, parse_span("2024-08", "2024-08"), QUICK))
    assert [item["properties"]["datetime"].day for item in items] == [5, 15]


def test_a_table_of_something_else(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "a.parquet")
    with pytest.raises(ConfigError, match="lacks columns assets, id"):
        find(tmp_path / "a.parquet")


def test_assets_kept_as_text(tmp_path: Path) -> None:
    item = si.earth_search_c1()
    columns = {name: [value] for name, value in item["properties"].items()}
    columns |= {"id": [item["id"]], "collection": [item["collection"]]}
    columns["assets"] = [json.dumps(item["assets"])]
    columns["geometry"] = [shapely.geometry.shape(item["geometry"]).wkb]
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    (files,) = find(tmp_path / "a.parquet").files
    assert files.bands["red"].href == item["assets"]["red"]["href"]
    # Without links the file itself is where it came from.
    assert files.scene.href == str(tmp_path / "a.parquet")


@pytest.fixture
def ranges(parquet: Path) -> Iterator[FaultServer]:
    with FaultServer(parquet.parent) as server:
        yield server


@pytest.mark.enable_socket
@pytest.mark.allow_hosts(["127.0.0.1"])
def test_a_parquet_file_at_an_address(parquet: Path, ranges: FaultServer) -> None:
    period = parse_span("2024-05", "2024-07")
    there = find(f"{ranges.url}/items.parquet", period=period)
    assert there == find(parquet, period=period)


@pytest.mark.enable_socket
@pytest.mark.allow_hosts(["127.0.0.1"])
def test_a_parquet_file_that_is_not_at_the_address(ranges: FaultServer) -> None:
    with pytest.raises(ItemNotFound):
        find(f"{ranges.url}/gone.parquet")


@pytest.mark.enable_socket
@pytest.mark.allow_hosts(["127.0.0.1"])
def test_a_server_that_sends_whole_files_only(parquet: Path) -> None:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None: ...  # noqa: A002

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None: ...

    handler = functools.partial(Quiet, directory=str(parquet.parent))
    with Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        with pytest.raises(ConfigError, match="whole files only; download it"):
            find(f"http://127.0.0.1:{server.server_port}/items.parquet")
        server.shutdown()
        thread.join()
