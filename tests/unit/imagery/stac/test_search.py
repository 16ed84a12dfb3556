"""Searches over HTTP: a real STAC API, and servers that misbehave."""

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

import stac_items as si
from fault_server import FaultServer
from sluice.base.errors import AuthError, ConfigError
from sluice.base.periods import Period, parse_span
from sluice.imagery.assets import read_overview
from sluice.imagery.catalogue import Catalogue
from sluice.imagery.remote import RemoteAccess
from sluice.imagery.scenes import SceneImages
from sluice.imagery.stac import search
from sluice.imagery.stac.catalogues import open_catalogue
from sluice.imagery.stac.offsets import settle_offsets
from sluice.imagery.stac.search import StacApi
from sluice.imagery.stac.sift import boxes_of, simplified
from sluice.imagery.stac.web import Patience
from stac_server import rustac_program, serve_items

pytestmark = [pytest.mark.enable_socket, pytest.mark.allow_hosts(["127.0.0.1"])]
AREA = shapely.box(*si.AREA)
YEAR = parse_span("2024", "2024")
QUICK = Patience(timeout_s=5, retries=2, backoff_s=0.01, longest_wait_s=1.0)
DAYS = [f"2024-{month:02d}-{day:02d}" for month in (7, 8, 9) for day in range(1, 29)]


# A real API


@pytest.fixture(scope="module")
def served() -> list[si.Item]:
    items = [si.earth_search_c1(day) for day in DAYS]
    items += [si.planetary_computer_rtc("2024-08-01"), si.earth_search_l1c("2024-08-02")]
    return items


@pytest.fixture(scope="module")
def api(served: list[si.Item], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if rustac_program() is None:
        pytest.skip("rustac is not installed; it comes with the extra `dev`")
    folder = tmp_path_factory.mktemp("stac")
    empty = si.collection("empty", served[:1])
    with serve_items(served, folder, [empty]) as url:
        yield url


def days_of(catalogue: Catalogue, area: Any = AREA, period: Period = YEAR) -> list[str]:
    found = catalogue.find(area, period, ("red", "nir"))
    assert not found.left_out
    return [str(files.scene.acquired) for files in found.files]


def test_area_and_period(api: str) -> None:
    catalogue = open_catalogue(api, "s2-l2a", patience=QUICK)
    assert isinstance(catalogue, StacApi)
    assert days_of(catalogue, period=parse_span("2024-08-03", "2024-08-10")) == [
        f"2024-08-{day:02d}" for day in range(3, 11)
    ]
    # More than a page, whose length is given in the search.
    assert days_of(catalogue) == DAYS
    assert days_of(catalogue, area=shapely.box(10, 10, 11, 11)) == []
    # Beside the scene's outline and within its grid's box.
    assert days_of(catalogue, area=shapely.box(-56.7, -7, -56.6, -6.9)) == []


def test_paging(api: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "PAGE_ITEMS", 7)
    assert days_of(open_catalogue(api, "s2-l2a", patience=QUICK)) == DAYS


def test_nothing_reaches_the_terminal(
    api: str, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert days_of(open_catalogue(api, "s2-l2a", patience=QUICK))
    assert capfd.readouterr() == ("", "")


def test_collection_by_name_and_by_sensor(api: str) -> None:
    assert days_of(open_catalogue(api, "s2-l1c", patience=QUICK)) == ["2024-08-02"]
    radar = open_catalogue(api, "s1", patience=QUICK).find(AREA, YEAR, ("vv",))
    assert [files.scene.orbit_state for files in radar.files] == ["ascending"]
    named = open_catalogue(api, "s2-l2a", collection="sentinel-2-c1-l2a", patience=QUICK)
    assert days_of(named) == DAYS
    with pytest.raises(ConfigError, match=r"which collection holds nicfi cannot be told.*empty"):
        open_catalogue(api, "nicfi", patience=QUICK).find(AREA, YEAR, ("red",))


def test_a_collection_that_is_empty_and_one_that_is_not_there(api: str) -> None:
    assert days_of(open_catalogue(api, "s2-l2a", collection="empty", patience=QUICK)) == []
    with pytest.raises(ConfigError, match=r"no collection nowhere; it has: empty, sentinel-1-rtc"):
        open_catalogue(api, "s2-l2a", collection="nowhere", patience=QUICK).find(AREA, YEAR, ())


def test_a_collection_of_another_sensor(api: str) -> None:
    catalogue = open_catalogue(api, "s2-l2a", collection="sentinel-2-l1c", patience=QUICK)
    with pytest.raises(ConfigError, match="holds no s2-l2a, only s2-l1c"):
        catalogue.find(AREA, YEAR, ("red",))


def test_items_as_served_are_the_items(api: str, served: list[si.Item]) -> None:
    found = open_catalogue(api, "s2-l2a", patience=QUICK).find(AREA, YEAR, ("red",))
    for files, item in zip(found.files, served, strict=False):
        assert files.scene.id == item["id"]
        assert files.bands["red"].href == item["assets"]["red"]["href"]


def test_real_items_served(shared_data: Path, tmp_path: Path) -> None:
    if rustac_program() is None:
        pytest.skip("rustac is not installed; it comes with the extra `dev`")
    (path,) = (shared_data / "stac-items-s2-drc").glob("*.geojson")
    items = json.loads(path.read_text())["features"]
    area = shapely.box(27.3, -7.9, 27.4, -7.8)
    with serve_items(items, tmp_path) as url:
        catalogue = open_catalogue(url, "s2-l2a", max_cloud=20, patience=QUICK)
        found = catalogue.find(area, parse_span("2020-06", "2020-07"), ("red", "swir16"))
    assert len(found.files) == 11
    assert [out.reason for out in found.left_out] == [
        "clouds 27 %, above --max-cloud 20",
        "clouds 29 %, above --max-cloud 20",
    ]
    assert [f.scene.acquired for f in found.files] == sorted(f.scene.acquired for f in found.files)  # type: ignore[type-var]


# From the search to reflectance


def test_found_read_and_settled(tmp_path: Path) -> None:
    if rustac_program() is None:
        pytest.skip("rustac is not installed; it comes with the extra `dev`")
    side, gsd = 256, 20
    truth = np.random.default_rng(3).normal(0.03, 0.006, (side, side)).clip(0.005)
    grid = {"proj:shape": [side, side], "proj:transform": [gsd, 0, si.LEFT, 0, -gsd, si.TOP]}
    # Flagged rightly, flagged wrongly, and old.
    days = {"2022-02-01": ("04.00", 1000), "2022-10-01": ("04.00", 0), "2020-01-01": ("02.14", 0)}
    items = []
    with FaultServer(tmp_path / "pixels") as pixels:
        for day, (baseline, shift) in days.items():
            item = si.earth_search_l2a(day, baseline, applied=False)
            for band in ("blue", "red"):
                counts = np.round(truth * 10000 + shift).astype(np.uint16)
                write_cog(tmp_path / "pixels" / f"{day}-{band}.tif", counts, gsd)
                href = f"{pixels.url}/{day}-{band}.tif"
                item["assets"][band] = item["assets"][band] | {"href": href} | grid
            item["assets"] = {band: item["assets"][band] for band in ("blue", "red")}
            items.append(item)
        access = RemoteAccess(attempts=1, timeout_s=5)
        with serve_items(items, tmp_path / "stac") as url:
            catalogue = open_catalogue(url, "s2-l2a", access=access, patience=QUICK)
            area = shapely.box(-57.895, -6.36, -57.88, -6.34)
            found = catalogue.find(area, parse_span("2020", "2022"), ("red",))
        settled = settle_offsets(found.files, read_overview)
        assert not settled.left_out
        images = SceneImages(settled.files)
        assert len(images.scenes) == 3
        target = settled.files[0].bands["red"].geobox
        for scene in images.scenes:
            image = images.read(scene, ("red",), target).band("red")
            np.testing.assert_allclose(image, truth, atol=0.6e-4)


def write_cog(path: Path, counts: np.ndarray[Any, Any], gsd: int) -> None:
    path.parent.mkdir(exist_ok=True)
    with rasterio.open(
        path,
        "w",
        driver="COG",
        height=counts.shape[0],
        width=counts.shape[1],
        count=1,
        dtype="uint16",
        nodata=0,
        crs=f"EPSG:{si.EPSG}",
        transform=Affine(gsd, 0, si.LEFT, 0, -gsd, si.TOP),
    ) as dataset:
        dataset.write(counts, 1)


# Presets


@pytest.mark.parametrize(
    ("source", "sensor", "collection", "expected"),
    [
        ("earth-search", "s2-l2a", None, "sentinel-2-c1-l2a"),
        ("earth-search", "s2-l2a", "sentinel-2-l2a", "sentinel-2-l2a"),
        ("earth-search", "s2-l2a", "sentinel-2-pre-c1-l2a", "sentinel-2-pre-c1-l2a"),
        ("earth-search", "s2-l1c", None, "sentinel-2-l1c"),
        ("planetary-computer", "s2-l2a", None, "sentinel-2-l2a"),
        ("planetary-computer", "s1", None, "sentinel-1-rtc"),
        ("cdse", "s2-l1c", None, "sentinel-2-l1c"),
        ("https://stac.dataspace.copernicus.eu/v1/", "s2-l2a", None, "sentinel-2-l2a"),
    ],
)
def test_presets_need_no_network(
    source: str, sensor: str, collection: str | None, expected: str
) -> None:
    catalogue = open_catalogue(source, sensor, collection=collection)
    assert isinstance(catalogue, StacApi)
    assert catalogue.collection == expected
    assert catalogue.url.startswith("https://")


@pytest.mark.parametrize(
    ("source", "sensor", "collection", "message"),
    [
        ("earth-search", "s1", None, "earth-search has no s1; .*--source planetary-computer"),
        ("earth-search", "nicfi", None, "has no nicfi; .*another --source"),
        ("planetary-computer", "s1", "sentinel-1-grd", "not terrain-corrected"),
        ("earth-search", "s9", None, "sensor 's9' is not known"),
        ("eart-search", "s2-l2a", None, "is not known; use earth-search, planetary-computer, cdse"),
    ],
)
def test_what_is_not_there(source: str, sensor: str, collection: str | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        open_catalogue(source, sensor, collection=collection)


@pytest.mark.parametrize(
    ("source", "sensor", "collection", "words"),
    [
        ("cdse", "s2-l2a", None, "CDSE_S3_ACCESS_KEY and CDSE_S3_SECRET_KEY.*free"),
        ("cdse", "s2-l1c", None, "CDSE_S3_ACCESS_KEY and CDSE_S3_SECRET_KEY"),
        ("https://stac.dataspace.copernicus.eu/v1", "s2-l2a", "another", "CDSE_S3_ACCESS_KEY"),
        (
            "earth-search",
            "s2-l1c",
            None,
            "pays Amazon.*costs money.*AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and "
            "AWS_REQUEST_PAYER=requester",
        ),
        ("https://earth-search.aws.element84.com/v1/", "s2-l1c", None, "pays Amazon"),
        ("earth-search", "s2-l1c", "sentinel-2-l1c", "pays Amazon"),
    ],
)
def test_what_cannot_be_read_is_not_searched(
    source: str, sensor: str, collection: str | None, words: str
) -> None:
    """No server is asked: none can be reached here."""
    with pytest.raises(AuthError, match=words):
        open_catalogue(source, sensor, collection=collection, access=RemoteAccess())
    keys = RemoteAccess(s3_key="k", s3_secret="s", requester_pays=True)  # noqa: S106
    assert open_catalogue(source, sensor, collection=collection, access=keys)


def test_free_collections_need_no_keys() -> None:
    for source, sensor in (
        ("earth-search", "s2-l2a"),
        ("planetary-computer", "s2-l2a"),
        ("planetary-computer", "s1"),
    ):
        assert open_catalogue(source, sensor, access=RemoteAccess())


# Areas


@given(
    st.lists(
        st.tuples(st.floats(-179, 178), st.floats(-85, 84), st.floats(0.001, 1)),
        min_size=1,
        max_size=60,
    )
)
@settings(max_examples=40)
def test_what_is_sent_holds_the_area(parts: list[tuple[float, float, float]]) -> None:
    area = shapely.union_all([shapely.Point(x, y).buffer(r, quad_segs=20) for x, y, r in parts])
    area = shapely.clip_by_rect(area, -180, -90, 180, 90)
    sent = simplified(area)
    assert sent.is_valid
    assert shapely.get_num_coordinates(sent) <= 200
    assert sent.buffer(1e-9).covers(area)
    boxes = shapely.union_all([shapely.box(*bounds) for bounds in boxes_of(area)])
    assert boxes.buffer(1e-9).covers(area)


def test_a_small_area_is_sent_as_it_is() -> None:
    assert simplified(AREA) is AREA


def test_on_both_sides_of_180_degrees() -> None:
    area = shapely.union_all([shapely.box(179, -18, 180, -16), shapely.box(-180, -18, -178, -16)])
    assert sorted(boxes_of(area)) == [(-180, -18, -178, -16), (179, -18, 180, -16)]
