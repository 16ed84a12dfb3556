"""Files at addresses: the same pixels as from disk, fetched once, and what they are."""

import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox

from fault_server import FaultServer
from remote_cases import COUNTS, EXPECTED, ONE_BLOCK, SHAPE, WINDOW, asset_at, in_new_thread
from sluice.base.errors import (
    GridMismatch,
)
from sluice.base.grid import PixelWindow
from sluice.imagery import remote
from sluice.imagery.assets import list_assets, open_remote_assets, read_overview
from sluice.imagery.remote import (
    RemoteAccess,
    identity,
)

WriteTif = Callable[..., Path]

pytestmark = [pytest.mark.enable_socket]


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize(
    "window",
    [
        WINDOW,
        PixelWindow(0, 0, *SHAPE),
        PixelWindow(511, 511, 2, 2),
        PixelWindow(1299, 0, 1, 1100),
        PixelWindow(1024, 1024, 276, 76),
    ],
)
def test_pixels_are_those_of_the_file(
    server: FaultServer, access: RemoteAccess, window: PixelWindow, *, cached: bool
) -> None:
    asset = asset_at(server, access if cached else replace(access, cache_folder=None))
    (local,) = list_assets(server.folder / "red.tif")
    for _ in range(2):
        np.testing.assert_array_equal(asset.read(window), local.read(window))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("strips.tif", {}),
        ("one_strip.tif", {"blockysize": SHAPE[0]}),
        ("small_tiles.tif", {"tiled": True, "blockxsize": 64, "blockysize": 128}),
        ("tiles.jp2", {"driver": "JP2OpenJPEG", "quality": "100", "reversible": "YES"}),
    ],
)
def test_layouts_of_all_kinds(
    server: FaultServer, access: RemoteAccess, write_tif: WriteTif, name: str, options: Any
) -> None:
    write_tif(server.folder / name, COUNTS, **options)
    asset = asset_at(server, access, name)
    local = replace(asset, href=str(server.folder / name))
    np.testing.assert_array_equal(asset.read(WINDOW), local.read(WINDOW))
    asked = len(server.requests)
    np.testing.assert_array_equal(in_new_thread(lambda: asset.read(WINDOW)), local.read(WINDOW))
    assert len(server.requests) == asked
    assert set(server.paths()) == {f"/{name}"}


def test_scale_offset_and_nodata_are_the_assets_own(
    server: FaultServer, access: RemoteAccess
) -> None:
    asset = replace(asset_at(server, access), scale=0.5, offset=-10.0, nodata=float(COUNTS[50, 70]))
    found = asset.read(PixelWindow(0, 0, 100, 100))
    expected = COUNTS[:100, :100] * np.float32(0.5) - 10
    expected[COUNTS[:100, :100] == COUNTS[50, 70]] = np.nan
    np.testing.assert_array_equal(found, expected)


def test_masks_and_alpha_bands(
    server: FaultServer, access: RemoteAccess, write_tif: WriteTif
) -> None:
    rgba = np.random.default_rng(3).integers(1, 255, (4, 600, 520), dtype=np.uint8)
    rgba[3] = np.where(rgba[3] < 100, 0, 255)
    path = write_tif(server.folder / "alpha.tif", rgba, alpha=True, tiled=True)
    local = list_assets(path)
    far = open_remote_assets(f"{server.url}/alpha.tif", access)
    window = PixelWindow(10, 20, 580, 490)
    assert len(far) == 3
    for one, other in zip(local, far, strict=True):
        assert replace(other, href=one.href, access=None) == one
        np.testing.assert_array_equal(one.read(window), other.read(window))
        np.testing.assert_array_equal(
            in_new_thread(lambda asset=other: asset.read(window)), one.read(window)
        )
    assert np.isnan(far[0].read(window)).any()


def test_overviews_hold_counts(server: FaultServer, access: RemoteAccess) -> None:
    asset = replace(asset_at(server, access), scale=0.0001, offset=-0.1)
    local = replace(asset, href=str(server.folder / "red.tif"), access=None)
    found = read_overview(asset, 325)
    assert found.shape == (325, 275)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, read_overview(local, 325))
    assert np.isnan(found[:5, :5]).all()
    assert 1 <= np.nanmin(found) < np.nanmax(found) < 10_000
    # Of 4 x 4 pixels it shows one or a mean of them, so the whole has the same mean.
    np.testing.assert_allclose(np.nanmean(found), COUNTS[COUNTS > 0].mean(), rtol=0.02)
    asked = len(server.requests)
    np.testing.assert_array_equal(in_new_thread(lambda: read_overview(asset, 325)), found)
    assert len(server.requests) == asked
    np.testing.assert_array_equal(
        read_overview(local, 10_000), np.where(COUNTS == 0, np.nan, COUNTS).astype(np.float32)
    )


def test_a_second_run_asks_for_nothing(server: FaultServer, access: RemoteAccess) -> None:
    asset = asset_at(server, access)
    np.testing.assert_array_equal(asset.read(WINDOW), EXPECTED)
    first = len(server.requests)
    assert first <= 4  # size, header, and a range for each of two rows of blocks
    np.testing.assert_array_equal(in_new_thread(lambda: asset.read(WINDOW)), EXPECTED)
    inner = PixelWindow(520, 350, 20, 20)
    np.testing.assert_array_equal(asset.read(inner), COUNTS[inner.slices])
    assert len(server.requests) == first


def test_only_missing_blocks_are_fetched(server: FaultServer, access: RemoteAccess) -> None:
    asset = asset_at(server, access)
    asset.read(ONE_BLOCK)
    server.requests.clear()
    wide = PixelWindow(600, 600, 100, 480)  # that block, and the one right of it
    np.testing.assert_array_equal(asset.read(wide), COUNTS[wide.slices])
    (request,) = server.requests
    start, end = map(int, str(request.range).removeprefix("bytes=").split("-"))
    assert end - start < 700_000  # one block and what GDAL reads ahead


def test_no_sidecar_is_asked_for(server: FaultServer, access: RemoteAccess) -> None:
    for suffix in (".aux.xml", ".ovr", ".msk"):
        (server.folder / f"red.tif{suffix}").write_bytes(b"<PAMDataset/>")
    try:
        asset_at(server, access).read(ONE_BLOCK)
        open_remote_assets(f"{server.url}/red.tif", access)
    finally:
        for suffix in (".aux.xml", ".ovr", ".msk"):
            (server.folder / f"red.tif{suffix}").unlink()
    assert set(server.paths()) == {"/red.tif"}


def test_threads_fetch_each_block_once(server: FaultServer, access: RemoteAccess) -> None:
    asset = asset_at(server, replace(access, transfer_s=20, timeout_s=20))
    windows = [PixelWindow(row, col, 500, 400) for row in (0, 300, 800) for col in (0, 300, 700)]
    gate = threading.Barrier(len(windows))

    def read(window: PixelWindow) -> np.ndarray:
        gate.wait()
        return asset.read(window)

    with ThreadPoolExecutor(len(windows)) as pool:
        for window, found in zip(windows, pool.map(read, windows), strict=True):
            np.testing.assert_array_equal(
                found, np.where(COUNTS == 0, np.nan, COUNTS)[window.slices]
            )
    fetched = 0
    for request in server.requests:
        if request.range is not None:
            start, end = map(int, request.range.removeprefix("bytes=").split("-"))
            fetched += end - start + 1
    # Rectangles around several missing blocks may cover some of another thread's.
    assert fetched < 2 * (server.folder / "red.tif").stat().st_size


def test_the_cache_keeps_its_limit_and_mends_itself(
    server: FaultServer, access: RemoteAccess
) -> None:
    small = replace(access, cache_bytes=1_200_000)
    asset = asset_at(server, small)
    whole = PixelWindow(0, 0, *SHAPE)
    expected = np.where(COUNTS == 0, np.nan, COUNTS)
    folder = small.cache_folder
    assert folder is not None
    for _ in range(3):
        np.testing.assert_array_equal(asset.read(whole), expected)
        kept = list(folder.glob("*/*.block"))
        assert kept
        assert sum(path.stat().st_size for path in kept) <= 1_200_000
    for path in kept:
        path.write_bytes(path.read_bytes()[:-7] + b"garbage")
    np.testing.assert_array_equal(in_new_thread(lambda: asset.read(whole)), expected)


def test_a_folder_that_cannot_be_written_keeps_nothing(
    server: FaultServer, access: RemoteAccess, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    asset = asset_at(server, replace(access, cache_folder=tmp_path / "file" / "cache"))
    for _ in range(2):
        np.testing.assert_array_equal(asset.read(WINDOW), EXPECTED)


def test_blocks_of_a_replaced_file_are_not_mixed(
    server: FaultServer, access: RemoteAccess, write_tif: WriteTif
) -> None:
    options = {"driver": "COG", "blocksize": 512, "compress": "deflate"}
    path = write_tif(server.folder / "changing.tif", COUNTS, **options)
    asset = asset_at(server, access, "changing.tif")
    in_new_thread(lambda: asset.read(ONE_BLOCK))
    write_tif(path, COUNTS[::-1] // 2, **options)
    remote._failures.add(asset.href)  # another process would not have the old one in memory
    found = in_new_thread(lambda: asset.read(WINDOW))
    np.testing.assert_array_equal(found, (COUNTS[::-1] // 2)[WINDOW.slices])


def test_size_and_path_tell_files_apart_and_signatures_do_not() -> None:
    plain = RemoteAccess()
    signed = "https://a.blob.core.windows.net/c/B04.tif?st=1&se=2&sp=rl&sv=3&sr=c&skoid=4&sig=5%3D"
    assert identity(signed, plain) == "https://a.blob.core.windows.net/c/B04.tif"
    amazon = "https://b.s3.amazonaws.com/x.tif?X-Amz-Credential=1&X-Amz-Signature=2&versionId=3"
    assert identity(amazon, plain) == "https://b.s3.amazonaws.com/x.tif?versionId=3"
    assert identity("https://h/x?st=1&sv=2", plain) != identity("https://h/x?st=1&sv=3", plain)
    # Of a link that is all token nobody knows which file it names.
    one, other = (f"https://api.planet.com/download/?token={name}" for name in "ab")
    assert identity(one, plain) != identity(other, plain)
    s3 = "s3://eodata/x.jp2"
    assert identity(s3, plain) != identity(s3, replace(plain, s3_endpoint="https://eodata.example"))


def test_a_header_is_opened_once_for_all(server: FaultServer, access: RemoteAccess) -> None:
    (local,) = list_assets(server.folder / "red.tif")
    (far,) = open_remote_assets(f"{server.url}/red.tif", access, size_bytes=77)
    assert replace(far, href=local.href, access=None, size_bytes=None) == local
    asked = len(server.requests)
    assert in_new_thread(
        lambda: open_remote_assets(f"{server.url}/red.tif", access, size_bytes=77)
    ) == [far]
    assert len(server.requests) == asked
    # Of another size it is another file.
    in_new_thread(lambda: open_remote_assets(f"{server.url}/red.tif", access, size_bytes=78))


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"dtype": "int16"}, "promises int16 .*the file has uint16"),
        ({"index": 2}, "promises a band 2; the file has 1 bands"),
        ({"shift": 10.0}, "promises .*600010.*the file has .*600000"),
        ({"crs": "EPSG:32631"}, "promises .*EPSG:32631.*the file has .*EPSG:32630"),
        ({"shape": (1301, 1100)}, r"promises .*\(1301, 1100\).*the file has .*\(1300, 1100\)"),
    ],
)
def test_a_catalogue_that_is_wrong_is_named(
    server: FaultServer, access: RemoteAccess, told: dict[str, Any], words: str
) -> None:
    asset = asset_at(server, access)
    a = asset.geobox.affine
    moved = Affine(a.a, a.b, a.c + told.pop("shift", 0), a.d, a.e, a.f)
    grid = GeoBox(told.pop("shape", asset.geobox.shape), moved, told.pop("crs", asset.geobox.crs))
    lying = replace(asset, geobox=grid, **told)
    for reader in (lying.read, lambda _: read_overview(lying, 100)):
        for _ in range(2):
            with pytest.raises(GridMismatch, match=words):
                reader(ONE_BLOCK)
        asset.read(ONE_BLOCK)  # now the cache knows the file
    none_kept = replace(lying, access=replace(access, cache_folder=None))
    with pytest.raises(GridMismatch, match=words):
        none_kept.read(ONE_BLOCK)


def test_rounding_in_a_catalogue_is_no_lie(server: FaultServer, access: RemoteAccess) -> None:
    asset = asset_at(server, access)
    a = asset.geobox.affine
    rounded = GeoBox(
        asset.geobox.shape, Affine(a.a, 0, a.c + 0.01, 0, a.e, a.f - 0.01), asset.geobox.crs
    )
    found = replace(asset, geobox=rounded).read(WINDOW)
    np.testing.assert_array_equal(found, EXPECTED)


def test_files_without_place_are_refused(
    server: FaultServer, access: RemoteAccess, write_tif: WriteTif
) -> None:
    write_tif(server.folder / "nowhere.tif", COUNTS[:50, :50], crs=None)
    with pytest.raises(GridMismatch, match="has no CRS"):
        open_remote_assets(f"{server.url}/nowhere.tif", access)


def test_names_and_kinds(server: FaultServer) -> None:
    asset = asset_at(server, None)
    assert asset.is_remote
    assert asset.name == "red.tif"
    named = replace(asset, href="https://host/a%20b/T21 MVN%20B04.tif?sig=1#x")
    assert named.name == "T21 MVN B04.tif"
    local = replace(asset, href=str(server.folder / "red.tif"))
    assert not local.is_remote
    assert local.name == "red.tif"
    assert not replace(asset, href=r"C:\images\red.tif").is_remote
    np.testing.assert_array_equal(asset.read(ONE_BLOCK), local.read(ONE_BLOCK))
    assert pickle.loads(pickle.dumps(asset)) == asset  # noqa: S301
