"""Signatures, keys and tokens: used where they belong, never shown."""

import pickle
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fault_server import Fault, FaultServer, Request
from remote_cases import COUNTS, EXPECTED, ONE_BLOCK, WINDOW, asset_at, in_new_thread
from sluice.base.errors import (
    AuthError,
    ConfigError,
    ItemNotFound,
    RateLimited,
    SourceError,
    SourceUnavailable,
)
from sluice.base.grid import PixelWindow
from sluice.imagery import remote, signing
from sluice.imagery.remote import (
    RemoteAccess,
    hide_secrets,
    is_address,
    public_address,
    without_secrets,
)

WriteTif = Callable[..., Path]

pytestmark = [pytest.mark.enable_socket]

SECRET = "s3cr3tS1gnature"  # noqa: S105


def chain(err: BaseException) -> str:
    """Everything that an error could show."""
    told = "".join(traceback.format_exception(err)) + repr(vars(err))
    for other in (err.__cause__, err.__context__):
        if other is not None:
            told += repr(other) + chain(other)
    return told


class FakeSigner:
    """Signs with a number that the server wants to see; `now` is the one that holds."""

    def __init__(self) -> None:
        self.now = 1
        self.known = 0
        self.forgotten = 0
        self.is_asked = True

    def signs(self, href: str) -> bool:
        return self.is_asked and "?" not in href

    def sign(self, href: str, timeout_s: float) -> str:
        self.known = self.known or self.now
        return f"{href}?sig={SECRET}{self.known}"

    def forget(self) -> None:
        self.forgotten += 1
        self.known = 0

    def allows(self, request: Request) -> bool:
        return request.path.endswith(f"?sig={SECRET}{self.now}")


@pytest.fixture
def signer(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> FakeSigner:
    signer = FakeSigner()
    monkeypatch.setitem(signing.SIGNERS, "planetary-computer", signer)
    server.allows = signer.allows
    return signer


def test_signed_addresses_are_read_and_not_recorded(
    server: FaultServer, access: RemoteAccess, signer: FakeSigner
) -> None:
    signer.is_asked = False
    with pytest.raises(AuthError):
        asset_at(server, access).read(WINDOW)
    signer.is_asked = True
    asset = asset_at(server, access)
    np.testing.assert_array_equal(asset.read(WINDOW), EXPECTED)
    assert "?" not in asset.href
    # A token that ran out is asked for anew, with the file open or not.
    signer.now = 2
    far_end = PixelWindow(1100, 1040, 50, 50)
    np.testing.assert_array_equal(asset.read(far_end), COUNTS[far_end.slices])
    signer.now = 3
    top = PixelWindow(0, 1040, 50, 50)
    np.testing.assert_array_equal(in_new_thread(lambda: asset.read(top)), COUNTS[top.slices])
    assert signer.forgotten == 2
    # With another signature it is the same file.
    asked = len(server.requests)
    np.testing.assert_array_equal(in_new_thread(lambda: asset.read(WINDOW)), EXPECTED)
    assert len(server.requests) == asked


def test_a_source_that_refuses_signatures_is_asked_twice(
    server: FaultServer, access: RemoteAccess, signer: FakeSigner
) -> None:
    server.allows = lambda _: False
    asset = asset_at(server, access)
    with pytest.raises(AuthError, match="refuses to hand it out"):
        asset.read(ONE_BLOCK)
    assert signer.forgotten == 1
    assert len(server.requests) <= 2 * 4


@pytest.mark.parametrize("kind", [404, 403, 503, "reset", "cut", "page"])
@pytest.mark.parametrize("late", [False, True])
def test_no_error_shows_a_signature(
    server: FaultServer, access: RemoteAccess, signer: FakeSigner, kind: str | int, *, late: bool
) -> None:
    if kind == "page":
        (server.folder / "page.tif").write_bytes(b"<html>please log in</html>" * 100)
    else:
        server.faults["red.tif"] = Fault(kind, late=late)
    asset = replace(
        asset_at(server, access), href=f"{server.url}/{'page' if kind == 'page' else 'red'}.tif"
    )
    with pytest.raises(SourceError) as caught:
        asset.read(ONE_BLOCK)
    assert SECRET not in chain(caught.value)
    # Nor where the catalogue handed out a signed address.
    signed = replace(asset, href=f"{asset.href}?sig={SECRET}1", access=access)
    with pytest.raises(SourceError) as caught:
        signed.read(ONE_BLOCK)
    assert SECRET not in chain(caught.value)


def test_a_signer_that_fails_is_named(
    server: FaultServer, access: RemoteAccess, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Response:
        status_code = 429

    class Refused(OSError):
        response = Response()

    class Failing(FakeSigner):
        def sign(self, href: str, timeout_s: float) -> str:
            raise Refused(f"https://tokens.example/?key={SECRET} said 429")

    monkeypatch.setitem(signing.SIGNERS, "planetary-computer", Failing())
    asset = asset_at(server, access)
    with pytest.raises(RateLimited) as caught:
        asset.read(ONE_BLOCK)
    assert SECRET not in chain(caught.value)
    assert not server.requests


def test_secrets_are_not_in_texts_of_access() -> None:
    access = RemoteAccess(
        s3_key="key" + SECRET,
        s3_secret=SECRET,
        s3_session=SECRET,
        bearer_token=SECRET,
        bearer_hosts=("host",),
        requester_pays=True,
    )
    assert SECRET not in repr(access)
    assert SECRET not in str(access)
    assert pickle.loads(pickle.dumps(access)) == access  # noqa: S301


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"attempts": 0}, "0 attempts"),
        ({"timeout_s": 0.0}, "of 0 s"),
        ({"s3_key": "k"}, "needs its secret key"),
        ({"requester_pays": True}, "need an access key.*AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY"),
        ({"bearer_token": "t"}, "needs the hosts"),
        ({"bearer_token": "a\nb: c", "bearer_hosts": ("h",)}, "a blank or a comma"),
    ],
)
def test_access_that_cannot_work_is_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        RemoteAccess(**wrong)


def test_a_bearer_token_goes_to_its_hosts_only(server: FaultServer, access: RemoteAccess) -> None:
    for hosts, shown in ((("127.0.0.1",), f"Bearer {SECRET}"), (("other.example",), None)):
        server.requests.clear()
        asset = asset_at(
            server,
            replace(access, cache_folder=None, bearer_token=SECRET, bearer_hosts=hosts),
        )
        in_new_thread(lambda asset=asset: asset.read(ONE_BLOCK))
        assert {request.headers.get("Authorization") for request in server.requests} <= {shown}
        assert server.requests or shown is None


def test_a_token_of_the_main_thread_is_not_another_threads(
    server: FaultServer, access: RemoteAccess
) -> None:
    """GDAL's options of the main thread are everybody's who has none of their own."""
    (server.folder / "blue.tif").write_bytes((server.folder / "red.tif").read_bytes())
    private = replace(access, bearer_token=SECRET, bearer_hosts=("127.0.0.1",), cache_folder=None)
    open_access = replace(access, cache_folder=None)
    with remote._environment(f"{server.url}/red.tif", private):
        in_new_thread(lambda: asset_at(server, open_access, "blue.tif").read(ONE_BLOCK))
    assert server.requests
    assert not any("Authorization" in request.headers for request in server.requests)


def test_s3_with_keys_and_without(
    server: FaultServer, access: RemoteAccess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of the environment")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not to be used")
    (server.folder / "bucket" / "a").mkdir(parents=True, exist_ok=True)
    (server.folder / "bucket" / "a" / "B04.tif").write_bytes(
        (server.folder / "red.tif").read_bytes()
    )
    asset = replace(asset_at(server, None), href="s3://bucket/a/B04.tif")
    bare = replace(access, s3_endpoint=server.url, cache_folder=None)
    keys = replace(
        bare, s3_key="AKEXAMPLE", s3_secret=SECRET, s3_session="temporary", requester_pays=True
    )
    for access, signed in ((bare, False), (keys, True), (bare, False)):  # noqa: PLR1704
        server.requests.clear()
        found = in_new_thread(lambda access=access: replace(asset, access=access).read(WINDOW))
        np.testing.assert_array_equal(found, EXPECTED)
        assert set(server.paths()) == {"/bucket/a/B04.tif"}
        for request in server.requests:
            headers = {name.lower(): value for name, value in request.headers.items()}
            if signed:
                assert "Credential=AKEXAMPLE/" in headers["authorization"]
                assert headers["x-amz-request-payer"] == "requester"
                assert headers["x-amz-security-token"] == "temporary"
                assert SECRET not in str(headers)
            else:
                assert not {"authorization", "x-amz-request-payer"} & set(headers)


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (404, ("NoSuchKey", "The specified key does not exist."), ItemNotFound),
        (404, ("NoSuchBucket", "The specified bucket does not exist"), ItemNotFound),
        (403, ("AccessDenied", "Access Denied"), AuthError),
        (403, ("InvalidAccessKeyId", "The AWS Access Key Id does not exist"), AuthError),
        (403, ("SignatureDoesNotMatch", "Check your key and method."), AuthError),
        (400, ("ExpiredToken", "The provided token has expired."), AuthError),
        (503, ("SlowDown", "Please reduce your request rate."), RateLimited),
        (503, ("ServiceUnavailable", "Unable to handle request."), SourceUnavailable),
        (500, ("InternalError", "We encountered an internal error."), SourceUnavailable),
        (502, None, SourceUnavailable),
    ],
)
def test_faults_of_s3(
    server: FaultServer,
    access: RemoteAccess,
    *,
    status: int,
    body: tuple[str, str] | None,
    error: type[SourceError],
) -> None:
    """In the words that Amazon uses."""
    text = "<html>bad gateway</html>"
    if body is not None:
        code, message = body
        text = (
            f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
        )
    server.faults["bucket"] = Fault(status, body=text)
    asset = replace(
        asset_at(server, replace(access, s3_endpoint=server.url)), href="s3://bucket/none.tif"
    )
    with pytest.raises(error, match=r"s3://bucket/none\.tif"):
        asset.read(ONE_BLOCK)
    server.faults.clear()
    (server.folder / "bucket").mkdir(exist_ok=True)
    (server.folder / "bucket" / "none.tif").write_bytes((server.folder / "red.tif").read_bytes())
    np.testing.assert_array_equal(asset.read(WINDOW), EXPECTED)


def test_the_planetary_computers_own_library(monkeypatch: pytest.MonkeyPatch) -> None:
    sas = pytest.importorskip("planetary_computer").sas
    asked = []

    class Token:
        token = "st=1&sig=2"  # noqa: S105

    def get_token(account: str, container: str, retry_total: int) -> Token:
        asked.append((account, container, retry_total))
        return Token()

    monkeypatch.setattr(sas, "get_token", get_token)
    signer = signing.SIGNERS["planetary-computer"]
    href = "https://sentinel2l2a01.blob.core.windows.net/sentinel2-l2/21/M/B04.tif"
    assert signer.sign(href, 1.0) == f"{href}?st=1&sig=2"
    assert asked == [("sentinel2l2a01", "sentinel2-l2", 0)]
    held = threading.Event()
    monkeypatch.setattr(sas, "get_token", lambda *_, **__: held.wait(5))
    with pytest.raises(SourceUnavailable, match=r"no answer within 0\.05 s"):
        signer.sign(href, 0.05)
    held.set()
    signer.forget()


BLOB = "https://{}.blob.core.windows.net/container/a.tif"


@pytest.mark.parametrize(
    ("href", "is_signed"),
    [
        (BLOB.format("sentinel2l2a01"), True),
        (BLOB.format("any0account"), True),
        # Public, and never signed by the library either.
        (BLOB.format("ai4edatasetspublicassets"), False),
        (BLOB.format("sentinel2l2a01") + "?st=1&sig=2", False),
        (BLOB.format("sentinel2l2a01").replace("https", "http"), False),
        ("https://blob.core.windows.net.example/container/a.tif", False),
        ("https://elsewhere.example/sentinel2l2a01.blob.core.windows.net/a.tif", False),
        ("s3://sentinel2l2a01.blob.core.windows.net/a.tif", False),
        ("/disk/sentinel2l2a01.blob.core.windows.net/a.tif", False),
    ],
)
def test_the_host_decides_who_signs(
    monkeypatch: pytest.MonkeyPatch, href: str, *, is_signed: bool
) -> None:
    sas = pytest.importorskip("planetary_computer").sas
    token = SimpleNamespace(token="sig=7")  # noqa: S106
    monkeypatch.setattr(sas, "get_token", lambda *_, **__: token)
    assert (signing.signer_for(href) is not None) == is_signed
    if is_address(href) and not href.startswith("s3:"):
        expected = f"/vsicurl/{href}" + ("?sig=7" if is_signed else "")
        # Of any source: nothing was said of the Planetary Computer.
        assert remote._gdal_name(href, RemoteAccess()) == expected


def test_without_the_library_the_user_is_told(
    access: RemoteAccess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "planetary_computer", None)
    for account in ("sentinel2l2a01", "sentinel1euwestrtc"):
        with pytest.raises(ConfigError, match=r"pip install sluice\[planetary-computer\]"):
            remote.with_raster(BLOB.format(account), access, lambda raster: raster)
    # An account that may be anybody's is tried as it is.
    signer = signing.SIGNERS["planetary-computer"]
    assert signer.sign(BLOB.format("mine"), 1.0) == BLOB.format("mine")
    signer.forget()


@pytest.mark.parametrize(
    ("account", "status", "error"),
    [
        ("mine", 404, None),
        ("mine", 400, None),
        ("mine", 503, SourceUnavailable),
        ("mine", 429, RateLimited),
        ("sentinel2l2a01", 404, ItemNotFound),
    ],
)
def test_storage_that_the_planetary_computer_does_not_know_is_read_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
    account: str,
    status: int,
    error: type[SourceError] | None,
) -> None:
    sas = pytest.importorskip("planetary_computer").sas
    asked = []

    def get_token(account: str, container: str, retry_total: int) -> None:
        asked.append((account, container))
        refusal = OSError(f"{status} at https://tokens.example/?key={SECRET}")
        refusal.response = SimpleNamespace(status_code=status)  # type: ignore[attr-defined]
        raise refusal

    monkeypatch.setattr(sas, "get_token", get_token)
    href = BLOB.format(account)
    if error is None:
        for _ in range(3):
            assert remote._gdal_name(href, RemoteAccess()) == f"/vsicurl/{href}"
        assert asked == [(account, "container")]
    else:
        with pytest.raises(error) as caught:
            remote._gdal_name(href, RemoteAccess())
        assert SECRET not in chain(caught.value)
    signing.SIGNERS["planetary-computer"].forget()


# What to do about a refusal


CDSE = RemoteAccess(s3_endpoint="https://eodata.dataspace.copernicus.eu")
CDSE_WORDS = ("CDSE_S3_ACCESS_KEY", "CDSE_S3_SECRET_KEY", "free", "dashboard")
AMAZON_WORDS = (
    "pays Amazon",
    "costs money",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_REQUEST_PAYER=requester",
)


@pytest.mark.parametrize(
    ("href", "access", "status", "words"),
    [
        ("s3://eodata/Sentinel-2/B04.jp2", CDSE, 403, CDSE_WORDS),
        ("s3://eodata/B04.jp2", RemoteAccess(), 403, (*CDSE_WORDS, "--source cdse")),
        ("s3://sentinel-s2-l1c/tiles/B04.jp2", RemoteAccess(), 403, AMAZON_WORDS),
        (BLOB.format("mine"), RemoteAccess(), 403, ("sluice[planetary-computer]", "again later")),
        (BLOB.format("mine"), RemoteAccess(), 409, ("sluice[planetary-computer]", "again later")),
        (BLOB.format("mine") + f"?sig={SECRET}", RemoteAccess(), 403, ("search again",)),
        (
            "https://me:word@tiles.example/a.tif",
            RemoteAccess(),
            401,
            ("SLUICE_BEARER_TOKEN", "SLUICE_BEARER_HOSTS", "tiles.example"),
        ),
    ],
)
def test_a_refusal_says_what_to_set(
    href: str, access: RemoteAccess, status: int, words: tuple[str, ...]
) -> None:
    found = remote.translate(OSError(f"HTTP response code: {status}"), href, access)
    assert isinstance(found, AuthError)
    assert public_address(href) in str(found)
    assert not [word for word in words if word not in str(found)]
    assert SECRET not in chain(found)
    assert "me:word" not in chain(found)


def test_409_of_others_is_no_refusal() -> None:
    found = remote.translate(
        OSError("HTTP response code: 409"), "https://tiles.example/a.tif", RemoteAccess()
    )
    assert not isinstance(found, AuthError)


def test_texts_lose_queries_and_logins() -> None:
    text = "'/vsicurl/https://u:p@h/a.tif?sig=1&x=2#3' and s3://b/k?v=1, a.tif?sig=1#2, band 1 why?"
    assert without_secrets(text) == "'/vsicurl/https://h/a.tif' and s3://b/k a.tif band 1 why?"
    assert public_address("https://u:p@h/a b.tif?sig=1 2#3") == "https://h/a b.tif"
    for untouched in ("/disk/a?b#c.tif", "planetary-computer", "C:\\disk\\a@b", "a@b/c.json", ""):
        assert public_address(untouched) == untouched
    assert public_address("http://[::1]:8080/a?b") == "http://[::1]:8080/a"
    assert public_address("http://h:8080/@v/a:b") == "http://h:8080/@v/a:b"


@pytest.mark.parametrize(
    "password", ["w0rdw0rd", "w0rd@w0rd", "w0rd/w0rd", "w0rd?w0rd", "w0rd#w0rd"]
)
def test_no_part_of_a_password_is_shown(password: str) -> None:
    """Also where it was not written as an address wants it."""
    assert "w0rd" not in public_address(f"https://me:{password}@host/stac?key=w0rd")


@pytest.mark.parametrize(
    "text",
    [
        "no collection at /stac?api_key=k%2Fy123",
        "api_key k/y123 is not known",
        "api_key k%2Fy123 is not known",
        "Basic login of me:pa55word refused",
    ],
)
def test_a_server_that_repeats_what_it_was_sent(text: str) -> None:
    told = hide_secrets(text, "https://me:pa55word@host/stac?api_key=k%2Fy123&n=1")
    assert not [secret for secret in ("k/y123", "k%2Fy123", "pa55word") if secret in told]
    # Short values are no secrets.
    assert hide_secrets("HTTP 401", "https://host/stac?n=1") == "HTTP 401"
