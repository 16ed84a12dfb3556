"""Rasters at addresses: opened over HTTP(S) and S3, with named errors and bounded retries.

GDAL itself fetches (`/vsicurl/`, `/vsis3/`), in merged range requests. Options and credentials
are set around each read and belong to the thread that reads.
"""

from __future__ import annotations

import math
import random
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlencode, urlsplit, urlunsplit

import rasterio
from rasterio.errors import RasterioError
from rasterio.session import Session

from sluice.base.errors import (
    AssetReadError,
    AuthError,
    ConfigError,
    ItemNotFound,
    RateLimited,
    SourceError,
    SourceUnavailable,
    is_retryable,
)
from sluice.imagery.credentials import AZURE_BLOBS, advice_for
from sluice.imagery.http_status import error_of_status
from sluice.imagery.raster_header import RasterHeader, read_header
from sluice.imagery.signing import signer_for

T = TypeVar("T")

# Of most refusals of S3 GDAL hands on the words alone. What is none of these may pass.
_S3_NOT_THERE = re.compile(r"nosuchkey|nosuchbucket|awsobjectnotfound|awsbucketnotfound")
_S3_REFUSED = re.compile(
    r"awsaccessdenied|awsinvalidcredentials|awssignaturedoesnotmatch|access ?key ?id|expired"
)
_S3_TOO_FAST = re.compile(r"slowdown|reduce your request rate|too ?many ?requests")
# Of a request for pixels GDAL tells neither status nor reason, only that bytes are missing. The
# next try opens the file anew, and then the status shows.
_NO_ANSWER = re.compile(r"curl error|timed? ?out|connection|resolve host|got \d+ bytes, expected")

REMOTE_DRIVERS = ("GTiff", "COG", "JP2OpenJPEG")
_OPEN_AT_MOST = 256
_LONGEST_WAIT_S = 60.0
_DAMAGED_TRIES = 3
_STALLED_BYTES_PER_S = 1000
_RAW_BYTES_PER_READ = 64 * 2**20
_DECODED_BYTES = 256 * 2**20
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_QUERY = re.compile(r"(?<=[^\s'\"])(\?[^\s'\"]+|#\d+)")
_LOGIN = re.compile(r"(://)[^/\s'\"]+@")
# A login whose password holds a "/" or "?" that should have been written as %2F or %3F.
_BROKEN_LOGIN = re.compile(r"(://)[^/\s'\"@\[\]]*:(?!\d*(?:[/?#]|$))[^\s'\"]*")
_SHORTEST_SECRET = 4
"""Letters; to blank shorter ones would make texts unreadable, and hide nothing."""
# What signatures and keys are called at Azure, S3, Google and Planet. Other parts of a query may
# tell one file from another, so they stay in what a file is known by.
_SIGNATURE = re.compile(
    r"(x-amz-|x-goog-).*|sig|signature|expires|awsaccesskeyid|googleaccessid|api_?key|"
    r"access_token|subscription-key",
    re.IGNORECASE,
)
_AZURE_SIGNATURE = re.compile(r"s[erpvt]|spr|sip|sdd|saoid|suoid|scid|sk[oetv]id|sk[tesv]|sig")


@dataclass(frozen=True)
class RemoteAccess:
    """How files at addresses are fetched; pickles, and shows no secret."""

    cache_folder: Path | None = None
    """Where blocks of pixels are kept; None to keep none."""
    cache_bytes: int = 10 * 2**30
    """Limit of that folder."""
    timeout_s: float = 30.0
    """Longest wait for a connection, or with hardly a byte arriving."""
    transfer_s: float = 600.0
    """Longest time for one request."""
    attempts: int = 4
    """Tries of a read, the first included."""
    backoff_s: float = 0.5
    """Wait before the second try; doubled before each further one."""
    s3_endpoint: str = "https://s3.amazonaws.com"
    """Where `s3://` addresses lead; `https://eodata.dataspace.copernicus.eu` for Copernicus."""
    s3_region: str = "us-east-1"
    s3_key: str | None = field(default=None, repr=False)
    """Access key; without one requests are not signed."""
    s3_secret: str | None = field(default=None, repr=False)
    s3_session: str | None = field(default=None, repr=False)
    """Session token, where keys are temporary."""
    requester_pays: bool = False
    """Agree to pay the provider for what is read from S3."""
    bearer_token: str | None = field(default=None, repr=False)
    bearer_hosts: tuple[str, ...] = ()
    """The only hosts that are shown the token, as an item may name a file anywhere."""

    def __post_init__(self) -> None:
        if self.attempts < 1 or min(self.timeout_s, self.transfer_s) <= 0 or self.backoff_s < 0:
            raise ConfigError(
                f"{self.attempts} attempts of {self.timeout_s:g} s cannot be made; "
                "use at least 1, and times above 0"
            )
        if bool(self.s3_key) != bool(self.s3_secret):
            raise ConfigError("an S3 access key needs its secret key, and the other way round")
        if self.requester_pays and not self.s3_key:
            raise ConfigError(
                "S3 buckets whose reader pays need an access key; give its two parts "
                "(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)"
            )
        if self.bearer_token is not None and not self.bearer_hosts:
            raise ConfigError("a bearer token needs the hosts that may see it (bearer_hosts)")
        # GDAL takes several headers in one text, parted by commas or line ends.
        if self.bearer_token is not None and re.search(r"[\s,]", self.bearer_token):
            raise ConfigError("the bearer token holds a blank or a comma; copy it again")


def is_address(href: str) -> bool:
    """Whether it names a place on the network, and not a file on disk."""
    return _ADDRESS.match(href) is not None


def without_secrets(text: str) -> str:
    """A text whose addresses have lost queries and logins, where signatures and keys stand."""
    return _LOGIN.sub(r"\1", _QUERY.sub("", text))


def public_address(href: str) -> str:
    """An address without query and login; a path or a preset's name as it is."""
    if not is_address(href):
        return href
    place = _LOGIN.sub(r"\1", re.split(r"[?#]", href, maxsplit=1)[0])
    return _BROKEN_LOGIN.sub(r"\1…", place)


def hide_secrets(text: str, href: str) -> str:
    """A text without the login and query of an address, also where it names them in other words.

    Args:
        text: Of an error about the address; a server may repeat what it was sent.
        href: The address as it was asked for.
    """
    login = href.partition("://")[2].partition("/")[0].rpartition("@")[0]
    query = href.partition("?")[2].partition("#")[0]
    parts = {login, *login.split(":", 1), *(value for _, value in parse_qsl(query))}
    forms = {form for part in parts for form in (part, unquote(part), quote_plus(part))}
    text = without_secrets(text)
    for form in sorted(forms, key=len, reverse=True):
        if len(form) >= _SHORTEST_SECRET:
            text = text.replace(form, "…")
    return text


def identity(href: str, access: RemoteAccess) -> str:
    """What a file is known by in a cache: its address without signature."""
    parts = urlsplit(href)
    if parts.scheme.lower() == "s3":
        return f"{access.s3_endpoint}|{href}"
    query = parse_qsl(parts.query, keep_blank_values=True)
    names = _AZURE_SIGNATURE if any(name == "sig" for name, _ in query) else _SIGNATURE
    query = [pair for pair in query if not names.fullmatch(pair[0])]
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, urlencode(query), ""))


def translate(err: BaseException, href: str, access: RemoteAccess) -> SourceError:
    """The named error for what GDAL or a signing library raised.

    `__cause__` is a copy of it, as the original may hold a signed address.

    Args:
        err: What was raised.
        href: Address that was read; its query is not shown.
        access: How it was fetched; tells which credentials are meant for it.
    """
    said = hide_secrets(" | ".join(" ".join(text.split()) for text in _texts(err)), href)
    place = public_address(href)
    kind, told = _judge(said, _status(err, said), urlsplit(href).hostname or "")
    if kind is AuthError:
        told += f"; {advice_for(href, access.s3_endpoint)}"
    found = kind(f"{place}: {told} ({said.split(' | ')[-1]})", href=place)
    found.__cause__ = RasterioError(said)
    return found


def _judge(said: str, status: int | None, host: str) -> tuple[type[SourceError], str]:
    words = said.lower()
    kind = None if status is None else error_of_status(status)
    if kind is ItemNotFound or _S3_NOT_THERE.search(words):
        return ItemNotFound, "is not there any more; leave it out, or search again"
    # Azure says 409 where a container is not public.
    refused = kind is AuthError or (status == 409 and host.endswith(AZURE_BLOBS))
    if refused or ("aws" in words and _S3_REFUSED.search(words)):
        return AuthError, "the source refuses to hand it out"
    if kind is RateLimited or _S3_TOO_FAST.search(words):
        return RateLimited, "the source asks to slow down; try again later, or with fewer workers"
    if kind is SourceUnavailable or "awserror" in words:
        return SourceUnavailable, "the source cannot answer at present; try again later"
    if status is None and _NO_ANSWER.search(words):
        return SourceUnavailable, "no answer, or it broke off; check the network, or try later"
    return AssetReadError, (
        "cannot be read: it is damaged, was cut off on its way, or is not one of "
        + ", ".join(REMOTE_DRIVERS)
    )


def _status(err: BaseException, said: str) -> int | None:
    response = getattr(err, "response", None)
    if response is not None:
        return int(response.status_code)
    found = re.search(r"(?:response[ _]code|HTTP error code)\D{0,4}(\d{3})", said)
    return int(found.group(1)) if found else None


def _texts(err: BaseException | None) -> Iterator[str]:
    """Messages from the outermost error to its cause, with the names that GDAL gave them."""
    while err is not None:
        kind = type(err).__name__.removeprefix("CPLE_")
        yield f"{kind}: {err}" if kind.startswith("AWS") else str(err) or kind
        err = err.__cause__ or err.__context__


def with_retries(
    call: Callable[[], T],
    *,
    attempts: int,
    backoff_s: float,
    sleep: Callable[[float], None] = time.sleep,
    worth: Callable[[Exception, int], bool] = lambda err, _: is_retryable(err),
) -> T:
    """Call until it succeeds, fails for good, or was tried often enough.

    Waits double from try to try, and vary by half so that workers do not come back all at once.
    How long a source asks to wait (Retry-After) does not pass through GDAL and is not known here.

    Args:
        call: What to try.
        attempts: Tries, the first included.
        backoff_s: Wait before the second try.
        sleep: Waits; for tests.
        worth: Of an error and the number of tries so far: whether to try again.

    Raises:
        SourceError: That of the last try.
    """
    tries = 0
    while True:
        tries += 1
        try:
            return call()
        except SourceError as err:
            if tries >= attempts or not worth(err, tries):
                raise
        wait = backoff_s * 2 ** (tries - 1) * random.uniform(0.5, 1.5)  # noqa: S311
        sleep(min(wait, _LONGEST_WAIT_S))


class OpenRaster:
    """An open remote file and its header, read once."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        self.header: RasterHeader = read_header(dataset)


def with_raster(href: str, access: RemoteAccess, work: Callable[[OpenRaster], T]) -> T:
    """Run work on an open remote file; failures of the network are tried again.

    The file stays open for this thread's next call. After a failure it is opened anew, with a
    new signature where the old one was refused.

    Args:
        href: Address; without signature where its host wants one that is made anew.
        access: How to fetch it.
        work: Gets the open file; may be called several times.

    Raises:
        ItemNotFound, AuthError: At once.
        RateLimited, SourceUnavailable, AssetReadError: After the last try.
    """
    signer = signer_for(href)
    resigned = False

    def attempt() -> T:
        nonlocal resigned
        try:
            return _attempt(href, access, work)
        except AuthError:
            if signer is None or resigned:
                raise
        # Tokens last for minutes and may have run out.
        resigned = True
        signer.forget()
        return _attempt(href, access, work)

    return with_retries(
        attempt, attempts=access.attempts, backoff_s=access.backoff_s, worth=_worth_another_try
    )


def _worth_another_try(err: Exception, tries: int) -> bool:
    # A header that was cut off on its way reads like a damaged file. Three tries tell them apart.
    return is_retryable(err) or (isinstance(err, AssetReadError) and tries < _DAMAGED_TRIES)


def _attempt(href: str, access: RemoteAccess, work: Callable[[OpenRaster], T]) -> T:
    # Inside an environment GDAL's own warnings go to the log, not to the terminal.
    with _environment(href, access):
        try:
            return work(_open_rasters.get(href, access))
        except RasterioError as err:
            failure = translate(err, href, access)
        _open_rasters.drop(href, access)
    _failures.add(href)
    # Outside the handler, so that the original with its signed address is not its context.
    raise failure


class _OpenRasters(threading.local):
    """Remote files kept open, per process and thread, the least recently used closed first."""

    def __init__(self) -> None:
        self._by_key: OrderedDict[tuple[str, RemoteAccess], OpenRaster] = OrderedDict()

    def get(self, href: str, access: RemoteAccess) -> OpenRaster:
        key = href, access
        if key not in self._by_key:
            while len(self._by_key) >= _OPEN_AT_MOST:
                self._by_key.popitem(last=False)[1].dataset.close()
            name = _gdal_name(href, access)
            self._by_key[key] = OpenRaster(
                rasterio.DatasetReader(name, driver=list(REMOTE_DRIVERS), sharing=False)
            )
        self._by_key.move_to_end(key)
        return self._by_key[key]

    def drop(self, href: str, access: RemoteAccess) -> None:
        opened = self._by_key.pop((href, access), None)
        if opened is not None:
            opened.dataset.close()


_open_rasters = _OpenRasters()


class _Failures:
    """How often files failed in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}

    def add(self, href: str) -> None:
        with self._lock:
            self._counts[href] = self._counts.get(href, 0) + 1

    def of(self, href: str) -> int:
        return self._counts.get(href, 0)


_failures = _Failures()


def _gdal_name(href: str, access: RemoteAccess) -> str:
    """GDAL's name for a file, signed."""
    parts = urlsplit(href)
    if parts.scheme.lower() == "s3":
        return f"/vsis3/{parts.netloc}{parts.path}"
    if parts.scheme.lower() not in {"http", "https"}:
        raise ConfigError(
            f"{public_address(href)}: {parts.scheme}:// addresses cannot be read; "
            "use https:// or s3://",
            href=public_address(href),
        )
    name = quote(_signed(href, access).partition("#")[0], safe="%/:=&?~+!$,;'@()*[]")
    # GDAL remembers by name that a file was not there, or a part of it that was cut off. A
    # fragment makes another name of it and is not sent. (CPL_VSIL_CURL_NON_CACHED would also
    # forget, and ask for the size twice.)
    failures = _failures.of(href)
    return f"/vsicurl/{name}" + (f"#{failures}" if failures else "")


def _signed(href: str, access: RemoteAccess) -> str:
    signer = signer_for(href)
    if signer is None:
        return href
    try:
        return signer.sign(href, access.timeout_s)
    except (OSError, ValueError) as err:
        failure = translate(err, href, access)
    raise failure


class _S3Keys(Session):  # type: ignore[misc]
    """Keys for one read. `rasterio.Env` takes none as options, and would look for boto3's."""

    def __init__(self, access: RemoteAccess) -> None:
        self._access = access

    def get_credential_options(self) -> dict[str, str]:
        return {
            "AWS_ACCESS_KEY_ID": self._access.s3_key or "",
            "AWS_SECRET_ACCESS_KEY": self._access.s3_secret or "",
            "AWS_SESSION_TOKEN": self._access.s3_session or "",
        }


def _environment(href: str, access: RemoteAccess) -> Any:
    """GDAL's options for one read.

    Every option is set each time, the empty ones too: what the main thread sets is seen by
    threads that do not, and a token must not reach another's host.
    """
    endpoint = urlsplit(access.s3_endpoint)
    return rasterio.Env(
        session=_S3Keys(access),
        GDAL_CACHEMAX=_DECODED_BYTES,
        # Retries are ours: GDAL's would sleep inside C, and cover neither reset nor cut.
        GDAL_HTTP_MAX_RETRY="0",
        GDAL_HTTP_TIMEOUT=f"{access.transfer_s:g}",
        GDAL_HTTP_CONNECTTIMEOUT=f"{access.timeout_s:g}",
        GDAL_HTTP_LOW_SPEED_TIME=str(math.ceil(access.timeout_s)),
        GDAL_HTTP_LOW_SPEED_LIMIT=str(_STALLED_BYTES_PER_S),
        GDAL_HTTP_HEADERS=_headers(href, access),
        # GDAL decodes JPEG 2000 in threads of its own, whose failures reach nobody: what was cut
        # off on its way would come out as wrong pixels.
        GDAL_NUM_THREADS="1",
        GDAL_HTTP_NETRC="NO",
        GDAL_HTTP_UNSAFESSL="NO",
        # Neither sidecar files nor listings of folders.
        GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR",
        GDAL_INGESTED_BYTES_AT_OPEN="32768",
        # The most that one read fetches in parallel; 10 MB is less than nine blocks of a band.
        GDAL_MAX_RAW_BLOCK_CACHE_SIZE=str(_RAW_BYTES_PER_READ),
        CPL_VSIL_CURL_NON_CACHED="/vsis3/",
        AWS_S3_ENDPOINT=endpoint.netloc or endpoint.path,
        AWS_HTTPS="NO" if endpoint.scheme == "http" else "YES",
        AWS_VIRTUAL_HOSTING="YES" if endpoint.netloc.endswith(".amazonaws.com") else "FALSE",
        AWS_REGION=access.s3_region,
        AWS_NO_SIGN_REQUEST="NO" if access.s3_key else "YES",
        AWS_REQUEST_PAYER="requester" if access.requester_pays else "",
    )


def _headers(href: str, access: RemoteAccess) -> str:
    parts = urlsplit(href)
    host = parts.hostname or ""
    safe = parts.scheme.lower() == "https" or host in {"127.0.0.1", "localhost"}
    if access.bearer_token is None or host not in access.bearer_hosts or not safe:
        return ""
    return f"Authorization: Bearer {access.bearer_token}"
