"""Google's bucket of Sentinel-2 L1C, played by a server on loopback."""

import datetime as dt
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
import shapely
from affine import Affine

import fault_server
from fault_server import Fault, FaultServer
from scenes import as_stored
from sluice.base.errors import AuthError, ConfigError, RateLimited, SourceUnavailable
from sluice.base.periods import Period
from sluice.base.records import Scene
from sluice.imagery.assets import list_assets
from sluice.imagery.catalogue import Found
from sluice.imagery.google import GoogleBucket
from sluice.imagery.pairing import lend_sky
from sluice.imagery.remote import RemoteAccess
from sluice.imagery.scenes import SceneFiles, SceneImages

pytestmark = [pytest.mark.enable_socket, pytest.mark.allow_hosts(["127.0.0.1"])]

WriteTif = Callable[..., Path]

BUCKET = "gcp-public-data-sentinel-2"
QUICK = RemoteAccess(attempts=2, backoff_s=0.0, timeout_s=5)
# The real corner of tile 21MVN, at 57.91 W, 7.24 S; the products here are cut to its first pixels.
LEFT, TOP = 399960, 9200020
HERE = shapely.box(-57.905, -7.245, -57.9, -7.24)
JANUARY = Period(dt.date(2024, 1, 1), dt.date(2024, 1, 31))
SIDE = {10: 120, 20: 60, 60: 20}
COUNTS = np.random.default_rng(7).integers(1001, 4000, (120, 120), dtype=np.uint16)

PRODUCT_XML = """<?xml version="1.0" encoding="UTF-8" standalone="no"?>
<n1:Level-1C_User_Product xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/User_Product_Level-1C.xsd">
  <n1:General_Info>
    <Product_Info>
      <PRODUCT_START_TIME>{start}</PRODUCT_START_TIME>
      <PRODUCT_STOP_TIME>{start}</PRODUCT_STOP_TIME>
      <PROCESSING_LEVEL>Level-1C</PROCESSING_LEVEL>
      <PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE>
    </Product_Info>
    <Product_Image_Characteristics>
      <Special_Values><SPECIAL_VALUE_TEXT>NODATA</SPECIAL_VALUE_TEXT>
        <SPECIAL_VALUE_INDEX>0</SPECIAL_VALUE_INDEX></Special_Values>
      <Special_Values><SPECIAL_VALUE_TEXT>SATURATED</SPECIAL_VALUE_TEXT>
        <SPECIAL_VALUE_INDEX>65535</SPECIAL_VALUE_INDEX></Special_Values>
      <QUANTIFICATION_VALUE unit="none">10000</QUANTIFICATION_VALUE>
      {offsets}
    </Product_Image_Characteristics>
  </n1:General_Info>
  <n1:Geometric_Info><Product_Footprint><Product_Footprint><Global_Footprint>
    <EXT_POS_LIST>{outline}</EXT_POS_LIST>
  </Global_Footprint></Product_Footprint></Product_Footprint></n1:Geometric_Info>
  <n1:Quality_Indicators_Info>
    <Cloud_Coverage_Assessment>37.25</Cloud_Coverage_Assessment>
  </n1:Quality_Indicators_Info>
</n1:Level-1C_User_Product>
"""
TILE_XML = """<?xml version="1.0" encoding="UTF-8" standalone="no"?>
<n1:Level-1C_Tile_ID xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/S2_PDI_Level-1C_Tile_Metadata.xsd">
  <n1:Geometric_Info><Tile_Geocoding metadataLevel="Brief">
    <HORIZONTAL_CS_NAME>WGS84 / UTM zone 21S</HORIZONTAL_CS_NAME>
    <HORIZONTAL_CS_CODE>EPSG:32721</HORIZONTAL_CS_CODE>
    {sizes}
    {places}
  </Tile_Geocoding></n1:Geometric_Info>
</n1:Level-1C_Tile_ID>
"""
WHOLE_TILE = "-7.2 -58.0 -7.2 -56.9 -8.3 -56.9 -8.3 -58.0 -7.2 -58.0"
ALL_OFFSETS = "".join(
    f'<RADIO_ADD_OFFSET band_id="{i}">-1000</RADIO_ADD_OFFSET>' for i in range(13)
)


class BucketServer(FaultServer):
    """A folder that is also listed as Google's JSON interface lists buckets, in short pages."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._server.RequestHandlerClass = _Handler

    page_size = 3


class _Handler(fault_server._Handler):
    def _send_file(self, *, cut: bool) -> None:
        parts = urlsplit(self.path)
        if parts.path != f"/storage/v1/b/{BUCKET}/o":
            super()._send_file(cut=cut)
            return
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        owner = self.server.owner
        body = json.dumps(page(owner.folder / BUCKET, query, BucketServer.page_size)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if cut else body)
        if cut:
            self._hang_up()


def page(root: Path, query: dict[str, str], size: int) -> dict[str, object]:
    """One page of a listing; see cloud.google.com/storage/docs/json_api/v1/objects/list."""
    prefix, delimiter = query["prefix"], query.get("delimiter")
    names = sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file())
    entries: dict[str, dict[str, str] | None] = {}
    for name in names:
        if not name.startswith(prefix):
            continue
        rest = name.removeprefix(prefix)
        if delimiter and delimiter in rest:
            entries[prefix + rest.partition(delimiter)[0] + delimiter] = None
        else:
            entries[name] = {"name": name, "size": str((root / name).stat().st_size)}
    keys = sorted(entries)
    start = int(query.get("pageToken", 0))
    chosen = keys[start : start + size]
    answer: dict[str, object] = {}
    items = [entries[key] for key in chosen if entries[key] is not None]
    prefixes = [key for key in chosen if entries[key] is None]
    # Empty lists are left away.
    if items:
        answer["items"] = items
    if prefixes:
        answer["prefixes"] = prefixes
    if start + size < len(keys):
        answer["nextPageToken"] = str(start + size)
    return answer


def write_product(
    root: Path,
    write_tif: WriteTif,
    *,
    start: str = "20240105T140709",
    baseline: str = "05.10",
    made: str = "20240105T160000",
    offsets: str = ALL_OFFSETS,
    outline: str = WHOLE_TILE,
    granule: str | None = None,
    bands: tuple[str, ...] = ("B02", "B04", "B11", "B10"),
    platform: str = "S2A",
) -> str:
    """A product cut to a corner of its tile; returns its id."""
    number = baseline.replace(".", "")
    name = f"{platform}_MSIL1C_{start}_N{number}_R110_T21MVN_{made}"
    safe = root / BUCKET / "tiles" / "21" / "M" / "VN" / f"{name}.SAFE"
    inner = safe / "GRANULE" / (granule or f"L1C_T21MVN_A044598_{start}")
    sizes = {"B02": 10, "B04": 10, "B11": 20, "B10": 60}
    for band in bands:
        size = sizes[band]
        step = size // 10
        write_tif(
            inner / "IMG_DATA" / f"T21MVN_{start}_{band}.jp2",
            COUNTS[::step, ::step],
            crs="EPSG:32721",
            transform=Affine(size, 0, LEFT, 0, -size, TOP),
            driver="JP2OpenJPEG",
            QUALITY="100",
            REVERSIBLE="YES",
        )
    for folder in ("IMG_DATA", "QI_DATA"):
        (inner / folder).mkdir(parents=True, exist_ok=True)
    (inner / "IMG_DATA" / f"T21MVN_{start}_TCI.jp2").write_bytes(b"colours")
    (inner / "QI_DATA" / "MSK_QUALIT_B02.jp2").write_bytes(b"quality")
    tile = TILE_XML.format(
        sizes="".join(
            f'<Size resolution="{s}"><NROWS>{n}</NROWS><NCOLS>{n}</NCOLS></Size>'
            for s, n in SIDE.items()
        ),
        places="".join(
            f'<Geoposition resolution="{s}"><ULX>{LEFT}</ULX><ULY>{TOP}</ULY>'
            f"<XDIM>{s}</XDIM><YDIM>-{s}</YDIM></Geoposition>"
            for s in SIDE
        ),
    )
    (inner / "MTD_TL.xml").write_text(tile, encoding="utf-8")
    moment = dt.datetime.strptime(start, "%Y%m%dT%H%M%S")
    xml = PRODUCT_XML.format(
        start=f"{moment.isoformat()}.024Z", baseline=baseline, offsets=offsets, outline=outline
    )
    (safe / "MTD_MSIL1C.xml").write_text(xml, encoding="utf-8")
    # As the bucket has them beside folders.
    (safe.parent / f"{name}.SAFE_$folder$").write_bytes(b"")
    return name


@pytest.fixture
def server(tmp_path: Path) -> Iterator[BucketServer]:
    (tmp_path / BUCKET).mkdir()
    with BucketServer(tmp_path) as running:
        yield running


def find(server: FaultServer, *bands: str, period: Period = JANUARY) -> Found:
    return GoogleBucket(QUICK, server.url).find(HERE, period, bands)


def test_a_product_is_found_and_read(server: BucketServer, write_tif: WriteTif) -> None:
    name = write_product(server.folder, write_tif)
    found = find(server, "blue", "swir16")
    assert not found.left_out
    (files,) = found.files
    scene = files.scene
    assert scene.id == name
    assert scene.sensor == "s2-l1c"
    assert scene.tile == "21MVN"
    assert scene.acquired == dt.date(2024, 1, 5)
    assert scene.acquired_at == dt.datetime(2024, 1, 5, 14, 7, 9, 24000, tzinfo=dt.UTC)
    assert scene.cloud_cover == 37.25
    assert scene.processing_baseline == "05.10"
    assert scene.bands == ("blue", "red", "cirrus", "swir16")
    assert scene.sky_layer is None
    assert scene.radiometry_from == "MTD_MSIL1C.xml"
    assert (scene.scale, scene.offset) == pytest.approx((1e-4, -0.1))
    blue = files.bands["blue"]
    assert blue.href == (
        f"{server.url}/{BUCKET}/tiles/21/M/VN/{name}.SAFE/GRANULE/"
        "L1C_T21MVN_A044598_20240105T140709/IMG_DATA/T21MVN_20240105T140709_B02.jp2"
    )
    image = server.folder / urlsplit(blue.href).path.lstrip("/")
    assert blue.size_bytes == image.stat().st_size
    # Nothing but listings and metadata was read so far.
    assert not [path for path in server.paths() if path.endswith(".jp2")]
    images = SceneImages(found.files)
    grid = blue.geobox
    read = images.read(scene, ["blue"], grid).data_bhw[0]
    np.testing.assert_allclose(read, (COUNTS.astype(np.float64) - 1000) / 10000, atol=1e-6)
    coarse = files.bands["swir16"].geobox
    assert coarse.affine == Affine(20, 0, LEFT, 0, -20, TOP)
    swir = images.read(scene, ["swir16"], coarse).data_bhw[0]
    np.testing.assert_allclose(swir, COUNTS[::2, ::2] / 10000 - 0.1, atol=1e-6)


def test_only_dates_of_the_period_are_looked_into(
    server: BucketServer, write_tif: WriteTif
) -> None:
    wanted = write_product(server.folder, write_tif, start="20240131T140709")
    # Eight dates make three pages of the listing.
    for day in ("20231231", "20240201", "20240206", "20240211", "20240216", "20240221", "20240226"):
        write_product(server.folder, write_tif, start=f"{day}T140709")
    found = find(server, "blue")
    assert [files.scene.id for files in found.files] == [wanted]
    assert not found.left_out
    looked_into = {path.split("/")[6] for path in server.paths() if path.endswith(".xml")}
    assert looked_into == {f"{wanted}.SAFE"}


def test_before_the_shift_of_2022_there_is_no_offset(
    server: BucketServer, write_tif: WriteTif
) -> None:
    write_product(server.folder, write_tif, start="20220110T140709", baseline="03.01", offsets="")
    write_product(server.folder, write_tif, start="20220130T140709", baseline="04.00")
    months = Period(dt.date(2022, 1, 1), dt.date(2022, 1, 31))
    before, after = find(server, "blue", period=months).files
    assert before.bands["blue"].offset == 0
    assert after.bands["blue"].offset == pytest.approx(-0.1)


def test_a_shift_that_nobody_states_is_not_guessed(
    server: BucketServer, write_tif: WriteTif
) -> None:
    write_product(server.folder, write_tif, offsets="")
    found = find(server, "blue")
    assert not found.files
    assert "no RADIO_ADD_OFFSET" in found.left_out[0].reason


def test_of_a_look_processed_twice_the_newer_is_used(
    server: BucketServer, write_tif: WriteTif
) -> None:
    old = write_product(
        server.folder, write_tif, baseline="02.08", offsets="", made="20240105T150000"
    )
    new = write_product(server.folder, write_tif, baseline="05.00", made="20240305T150000")
    # Another satellite's look of the same day is another look.
    other = write_product(server.folder, write_tif, platform="S2C", start="20240105T140739")
    found = find(server, "blue")
    assert sorted(files.scene.id for files in found.files) == sorted([new, other])
    (left,) = found.left_out
    assert left.scene_id == old
    assert "processed again since, with baseline 05.00" in left.reason


def test_parts_of_a_look_both_count_and_repeats_once(
    server: BucketServer, write_tif: WriteTif
) -> None:
    first = "L1C_T21MVN_A044598_20240105T140711"
    part = write_product(server.folder, write_tif, granule=first, made="20240105T160000")
    again = write_product(server.folder, write_tif, granule=first, made="20240105T180000")
    second = "L1C_T21MVN_A044598_20240105T141500"
    other = write_product(server.folder, write_tif, granule=second, made="20240105T170000")
    found = find(server, "blue")
    assert sorted(files.scene.id for files in found.files) == sorted([again, other])
    (left,) = found.left_out
    assert (left.scene_id, left.reason) == (part, f"delivered again as {again}")


def test_a_swath_beside_the_area_is_passed_over(server: BucketServer, write_tif: WriteTif) -> None:
    east_half = "-7.2 -57.5 -7.2 -56.9 -8.3 -56.9 -8.3 -57.5 -7.2 -57.5"
    write_product(server.folder, write_tif, outline=east_half)
    assert find(server, "blue") == Found(())


def test_old_and_foreign_names(server: BucketServer, write_tif: WriteTif) -> None:
    old = "S2A_OPER_PRD_MSIL1C_PDMC_20151206T174408_R110_V20151206T140709_20151206T140709"
    for name in (old, "S2A_MSIL2A_20240105T140709_N0510_R110_T21MVN_20240105T160000", "notes"):
        folder = server.folder / BUCKET / "tiles" / "21" / "M" / "VN" / f"{name}.SAFE"
        folder.mkdir(parents=True)
        (folder / "INSPIRE.xml").write_text("<a/>")
    assert find(server, "blue") == Found(())
    december = Period(dt.date(2015, 12, 1), dt.date(2015, 12, 31))
    (left,) = find(server, "blue", period=december).left_out
    assert left.scene_id == old
    assert "until December 2016" in left.reason


def test_products_that_are_not_whole_are_left_out(
    server: BucketServer, write_tif: WriteTif
) -> None:
    good = write_product(server.folder, write_tif)
    tile = server.folder / BUCKET / "tiles" / "21" / "M" / "VN"
    lacking = write_product(server.folder, write_tif, start="20240110T140709", bands=("B02",))
    cut = write_product(server.folder, write_tif, start="20240115T140709")
    (tile / f"{cut}.SAFE" / "MTD_MSIL1C.xml").write_text("<cut")
    bare = write_product(server.folder, write_tif, start="20240120T140709")
    (tile / f"{bare}.SAFE" / "MTD_MSIL1C.xml").unlink()
    empty = write_product(server.folder, write_tif, start="20240125T140709", bands=())
    found = find(server, "blue", "red")
    assert [files.scene.id for files in found.files] == [good]
    reasons = {left.scene_id: left.reason for left in found.left_out}
    assert set(reasons) == {lacking, cut, bare, empty}
    assert "no file for red" in reasons[lacking]
    assert "not well-formed XML" in reasons[cut]
    assert "nothing there (HTTP 404)" in reasons[bare]
    assert "0 granules" in reasons[empty]


def test_the_grid_comes_from_another_product_where_one_cannot_tell(
    server: BucketServer, write_tif: WriteTif
) -> None:
    first = write_product(server.folder, write_tif, made="20240105T150000")
    second = write_product(server.folder, write_tif, start="20240110T140709")
    server.faults[f"{first}.SAFE/GRANULE/L1C_T21MVN_A044598_20240105T140709/MTD_TL"] = Fault(404)
    found = find(server, "blue")
    # All products of a tile lie on one grid.
    assert [files.scene.id for files in found.files] == [first, second]


def test_granules_with_names_of_2016(server: BucketServer, write_tif: WriteTif) -> None:
    granule = "S2A_OPER_MSI_L1C_TL_EPA__20160809T015434_A000162_T21MVN_N02.04"
    name = write_product(
        server.folder, write_tif, start="20160104T140709", baseline="02.04", offsets="",
        granule=granule,
    )  # fmt: skip
    inner = server.folder / BUCKET / "tiles/21/M/VN" / f"{name}.SAFE" / "GRANULE" / granule
    (inner / "MTD_TL.xml").rename(inner / f"{granule.replace('MSI', 'MTD')}.xml")
    for image in (inner / "IMG_DATA").glob("*.jp2"):
        image.rename(inner / "IMG_DATA" / f"{granule.rpartition('_')[0]}_{image.stem[-3:]}.jp2")
    january = Period(dt.date(2016, 1, 1), dt.date(2016, 1, 31))
    (files,) = find(server, "blue", "cirrus", period=january).files
    assert files.bands["blue"].offset == 0
    assert files.bands["blue"].geobox.affine == Affine(10, 0, LEFT, 0, -10, TOP)


# Faults


def test_faults_that_pass_do_no_harm(server: BucketServer, write_tif: WriteTif) -> None:
    write_product(server.folder, write_tif)
    server.faults["/o?"] = Fault(503, times=1)
    server.faults["MTD_MSIL1C"] = Fault("cut", times=1)
    server.faults["MTD_TL"] = Fault("reset", times=1)
    found = find(server, "blue")
    assert len(found.files) == 1
    assert not found.left_out


def test_a_product_that_cannot_be_read_is_named_and_the_others_used(
    server: BucketServer, write_tif: WriteTif
) -> None:
    good = write_product(server.folder, write_tif)
    broken = write_product(server.folder, write_tif, start="20240110T140709")
    server.faults[f"{broken}.SAFE/MTD_MSIL1C"] = Fault(503)
    found = find(server, "blue")
    assert [files.scene.id for files in found.files] == [good]
    (left,) = found.left_out
    assert left.scene_id == broken
    assert "HTTP 503" in left.reason


@pytest.mark.parametrize(
    ("part", "kind", "error"),
    [
        ("/o?", 503, SourceUnavailable),
        ("/o?", 429, RateLimited),
        ("/o?", 403, AuthError),
        ("/o?", "reset", SourceUnavailable),
        ("/o?", "cut", SourceUnavailable),
        ("/o?", 400, ConfigError),
        ("MTD_MSIL1C", 503, SourceUnavailable),
        ("MTD_MSIL1C", 403, AuthError),
    ],
)
def test_a_source_that_is_down_is_no_empty_one(
    server: BucketServer,
    write_tif: WriteTif,
    part: str,
    kind: str | int,
    error: type[Exception],
) -> None:
    write_product(server.folder, write_tif)
    server.faults[part] = Fault(kind)
    with pytest.raises(error):
        find(server, "blue")


def test_a_source_that_stalls_is_given_up(server: BucketServer, write_tif: WriteTif) -> None:
    write_product(server.folder, write_tif)
    server.faults["/o?"] = Fault("slow", delay_s=5)
    access = RemoteAccess(attempts=1, backoff_s=0.0, timeout_s=0.2)
    with pytest.raises(SourceUnavailable, match="no answer"):
        GoogleBucket(access, server.url).find(HERE, JANUARY, ["blue"])


def test_bands_that_the_sensor_has_not(server: BucketServer) -> None:
    with pytest.raises(ConfigError, match="has no vv"):
        find(server, "vv")
    assert server.paths() == []


# The cloud layer of the surface reflectance product


def test_the_twin_lends_its_classes_on_the_same_grid(
    server: BucketServer, write_tif: WriteTif, tmp_path: Path
) -> None:
    write_product(server.folder, write_tif)
    classes = np.arange(3600, dtype=np.uint8).reshape(60, 60) % 12
    path = write_tif(
        tmp_path / "scl.tif", classes, crs="EPSG:32721", transform=Affine(20, 0, LEFT, 0, -20, TOP)
    )
    twin = SceneFiles(
        Scene(
            id="S2A_T21MVN_20240105T141148_L2A",
            href="twin",
            sensor="s2-l2a",
            acquired_at=dt.datetime(2024, 1, 5, 14, 11, 48, tzinfo=dt.UTC),
            tile="21MVN",
            sky_layer="scl",
        ),
        {},
        list_assets(path)[0],
    )
    (lent,) = lend_sky(find(server, "blue").files, [twin])
    images = SceneImages((lent,))
    sky = images.read_sky(lent.scene, lent.bands["blue"].geobox, as_stored)
    assert sky is not None
    np.testing.assert_array_equal(sky, np.kron(classes, np.ones((2, 2))))
