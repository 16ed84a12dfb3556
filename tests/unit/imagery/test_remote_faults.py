"""Sources that fail: named errors after bounded tries, and the right pixels once they recover."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox

from fault_server import Fault, FaultServer
from remote_cases import (
    COUNTS,
    EXPECTED,
    HASTY,
    ONE_BLOCK,
    QUICK,
    SHAPE,
    WINDOW,
    asset_at,
    in_new_thread,
)
from sluice.base.errors import (
    AssetReadError,
    AuthError,
    ConfigError,
    ItemNotFound,
    RateLimited,
    SourceError,
    SourceUnavailable,
)
from sluice.base.grid import PixelWindow
from sluice.imagery.assets import Asset, open_remote_assets
from sluice.imagery.remote import (
    RemoteAccess,
    translate,
    with_retries,
)

WriteTif = Callable[..., Path]

pytestmark = [pytest.mark.enable_socket]

FAULTS: list[tuple[str | int, type[SourceError]]] = [
    (404, ItemNotFound),
    (410, ItemNotFound),
    (401, AuthError),
    (403, AuthError),
    (429, RateLimited),
    (500, SourceUnavailable),
    (503, SourceUnavailable),
    ("reset", SourceUnavailable),
    ("slow", SourceUnavailable),
    ("cut", SourceUnavailable),
]


@pytest.mark.parametrize("begins", ["at once", "while reading", "at pixels only"])
@pytest.mark.parametrize(("kind", "error"), FAULTS, ids=str)
def test_a_fault_that_stays_is_named_after_bounded_tries(
    server: FaultServer,
    access: RemoteAccess,
    capfd: pytest.CaptureFixture[str],
    *,
    kind: str | int,
    error: type[SourceError],
    begins: str,
) -> None:
    asset = asset_at(server, replace(access, **HASTY) if kind == "slow" else access)
    if begins == "while reading":
        asset.read(PixelWindow(0, 0, 10, 10))
        server.requests.clear()
    fault = Fault(kind, late=begins == "at pixels only", retry_after="1", delay_s=0.6)
    server.faults["red.tif"] = fault
    with pytest.raises(SourceError) as caught:
        asset.read(ONE_BLOCK)
    # Where only pixels fail, GDAL tells nothing but that bytes are missing.
    assert type(caught.value) is (SourceUnavailable if begins == "at pixels only" else error)
    assert caught.value.href == asset.href
    assert asset.href in str(caught.value)
    opened = 1 if begins == "at once" and error in {ItemNotFound, AuthError} else 3
    assert 1 <= len(server.requests) <= opened * 8
    assert fault.hits >= (1 if error in {ItemNotFound, AuthError} else 3)
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


@pytest.mark.parametrize("late", [False, True], ids=["at once", "later"])
@pytest.mark.parametrize("kind", [429, 503, "reset", "slow", "cut"])
@pytest.mark.parametrize("cached", [True, False])
def test_a_fault_that_passes_leaves_the_right_pixels(
    server: FaultServer, access: RemoteAccess, kind: str | int, *, late: bool, cached: bool
) -> None:
    fault = server.faults["red.tif"] = Fault(kind, times=1, late=late, delay_s=0.5)
    access = replace(access, **HASTY) if kind == "slow" else access
    asset = asset_at(server, access if cached else replace(access, cache_folder=None))
    np.testing.assert_array_equal(in_new_thread(lambda: asset.read(WINDOW)), EXPECTED)
    assert fault.hits == 1


@pytest.mark.parametrize("kind", [503, "reset", "cut"])
def test_faults_in_jpeg_2000_give_no_wrong_pixels(
    server: FaultServer,
    access: RemoteAccess,
    write_tif: WriteTif,
    capfd: pytest.CaptureFixture[str],
    kind: str | int,
) -> None:
    options = {"quality": "100", "reversible": "YES", "blockxsize": 256, "blockysize": 256}
    write_tif(server.folder / "faulty.jp2", COUNTS, driver="JP2OpenJPEG", **options)
    asset = asset_at(server, access, "faulty.jp2")
    fault = server.faults["faulty"] = Fault(kind, late=True)
    for times in (None, 1, 2):
        fault.times, fault.hits = times, 0
        if times is None:
            with pytest.raises(SourceError, match=r"faulty\.jp2: .*[^\n]$"):
                in_new_thread(lambda: asset.read(WINDOW))
        else:
            np.testing.assert_array_equal(in_new_thread(lambda: asset.read(WINDOW)), EXPECTED)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", [404, 403, 503, "cut"])
def test_a_failure_is_not_remembered(
    server: FaultServer, access: RemoteAccess, kind: str | int
) -> None:
    server.faults["red.tif"] = Fault(kind)
    asset = asset_at(server, access)
    with pytest.raises(SourceError):
        asset.read(ONE_BLOCK)
    server.faults.clear()
    np.testing.assert_array_equal(asset.read(WINDOW), EXPECTED)


def test_a_source_that_hardly_sends_is_given_up(server: FaultServer) -> None:
    server.faults["red.tif"] = Fault("slow", delay_s=5)
    patient = RemoteAccess(timeout_s=1, transfer_s=60, attempts=1)
    with pytest.raises(SourceUnavailable, match="too slow"):
        asset_at(server, patient).read(ONE_BLOCK)


def test_a_server_that_is_not_there() -> None:
    grid = GeoBox((10, 10), Affine(10, 0, 0, 0, -10, 0), "EPSG:32630")
    asset = Asset("http://127.0.0.1:9/x.tif", 1, "", grid, "uint16", None, False, access=QUICK)  # noqa: FBT003
    with pytest.raises(SourceUnavailable, match="check the network"):
        asset.read(PixelWindow(0, 0, 5, 5))


def test_a_damaged_file_is_named_after_three_tries(
    server: FaultServer, access: RemoteAccess
) -> None:
    whole = (server.folder / "red.tif").read_bytes()
    half = bytearray(whole)
    half[len(whole) // 2 :] = bytes(len(whole) - len(whole) // 2)
    (server.folder / "damaged.tif").write_bytes(bytes(half))
    (server.folder / "page.tif").write_bytes(b"<html>please log in</html>" * 100)
    asset = asset_at(server, replace(access, attempts=9))
    window = PixelWindow(0, 0, *SHAPE)
    for name in ("damaged", "page"):
        server.requests.clear()
        other = replace(asset, href=f"{server.url}/{name}.tif")
        with pytest.raises(AssetReadError, match=rf"{name}\.tif: cannot be read"):
            other.read(window)
        assert len(server.requests) <= 3 * 8


def test_containers_of_links_are_not_opened(server: FaultServer, access: RemoteAccess) -> None:
    (server.folder / "links.vrt").write_text(
        '<VRTDataset rasterXSize="9" rasterYSize="9"><VRTRasterBand dataType="UInt16" band="1">'
        f"<SimpleSource><SourceFilename>{server.url}/red.tif</SourceFilename></SimpleSource>"
        "</VRTRasterBand></VRTDataset>"
    )
    with pytest.raises(AssetReadError):
        open_remote_assets(f"{server.url}/links.vrt", access)
    assert set(server.paths()) == {"/links.vrt"}
    with pytest.raises(ConfigError, match=r"ftp:// addresses cannot be read"):
        open_remote_assets("ftp://127.0.0.1/red.tif", access)


def test_retries_wait_longer_each_time_and_end() -> None:
    waits: list[float] = []
    tries = 0

    def fail() -> None:
        nonlocal tries
        tries += 1
        raise SourceUnavailable(f"try {tries}")

    with pytest.raises(SourceUnavailable, match="try 5"):
        with_retries(fail, attempts=5, backoff_s=2.0, sleep=waits.append)
    assert len(waits) == 4
    for wait, middle in zip(waits, (2, 4, 8, 16), strict=True):
        assert 0.5 * middle <= wait <= 1.5 * middle
    waits.clear()
    with pytest.raises(SourceUnavailable):
        with_retries(fail, attempts=12, backoff_s=30.0, sleep=waits.append)
    assert max(waits) <= 60


@pytest.mark.parametrize("final", [ItemNotFound, AuthError, AssetReadError])
def test_what_will_not_change_is_not_tried_again(final: type[SourceError]) -> None:
    tries = []

    def fail() -> None:
        tries.append(1)
        raise final("no")

    with pytest.raises(final):
        with_retries(fail, attempts=5, backoff_s=1, sleep=lambda _: pytest.fail("waited"))
    assert len(tries) == 1


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ("HTTP response code: 404", ItemNotFound),
        ("HTTP response code: 410", ItemNotFound),
        ("HTTP error code : 401", AuthError),
        ("HTTP response code: 403", AuthError),
        ("HTTP response code: 429", RateLimited),
        ("HTTP response code: 500", SourceUnavailable),
        ("HTTP response code: 504", SourceUnavailable),
        ("CURL error: Operation timed out after 3002 milliseconds", SourceUnavailable),
        ("CURL error: Could not resolve host: nowhere.example", SourceUnavailable),
        ("CURL error: Recv failure: Connection reset by peer", SourceUnavailable),
        ("HTTP response code: 416", AssetReadError),
        ("TIFFFillTile:Read error at row 4, got 100 bytes, expected 404", SourceUnavailable),
        ("ZIPDecode:Decoding error at scanline 0, incorrect header check", AssetReadError),
        ("not recognized as being in a supported file format.", AssetReadError),
    ],
)
def test_errors_have_names(said: str, error: type[SourceError]) -> None:
    found = translate(OSError(said), "https://user:word@host/a/b.tif?sig=1", RemoteAccess())
    assert type(found) is error
    assert found.href == "https://host/a/b.tif"
    assert str(found).startswith("https://host/a/b.tif: ")
    assert said.rstrip(".") in str(found)
