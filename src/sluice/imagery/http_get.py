"""Small files over HTTP: whole, within limits of size and time, with named errors and retries."""

from __future__ import annotations

import http.cookiejar
import time
from collections.abc import Mapping

import requests

from sluice.base.errors import (
    AuthError,
    ConfigError,
    ItemNotFound,
    RateLimited,
    SluiceError,
    SourceUnavailable,
)
from sluice.imagery.http_status import error_of_status, is_no_address
from sluice.imagery.remote import RemoteAccess, hide_secrets, public_address, with_retries

_CHUNK_BYTES = 2**16
_MAX_BYTES = 32 * 2**20


class HttpGet:
    """Fetches public files; may be shared by threads."""

    def __init__(self, access: RemoteAccess) -> None:
        self._access = access
        self._session = requests.Session()
        # Nothing is carried from one answer to the next request, so that threads may share it.
        self._session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))

    def fetch(self, url: str, params: Mapping[str, str] | None = None) -> bytes:
        """The content of a file.

        Args:
            url: Without query.
            params: The query.

        Raises:
            ItemNotFound, AuthError, ConfigError: At once, by the status of the answer.
            RateLimited, SourceUnavailable: After the last try.
        """
        return with_retries(
            lambda: self._fetch_once(url, params),
            attempts=self._access.attempts,
            backoff_s=self._access.backoff_s,
        )

    def close(self) -> None:
        """Close what connections are open."""
        self._session.close()

    def _fetch_once(self, url: str, params: Mapping[str, str] | None) -> bytes:
        place = public_address(url)
        deadline = time.monotonic() + self._access.transfer_s
        timeout = self._access.timeout_s
        try:
            with self._session.get(url, params=params, timeout=timeout, stream=True) as answer:
                if answer.status_code != requests.codes.ok:
                    raise _of_status(answer.status_code, place)
                content = bytearray()
                for chunk in answer.iter_content(_CHUNK_BYTES):
                    content += chunk
                    _refuse_endless(place, len(content), deadline)
                return bytes(content)
        except requests.RequestException as err:
            said = hide_secrets(" ".join(str(err).split()), url)[:120]
            # Not the error itself: it names the address with its query.
            cause = requests.RequestException(said)
            raise _of_fault(err, said, place) from cause


def _refuse_endless(url: str, size: int, deadline: float) -> None:
    if size > _MAX_BYTES:
        raise ConfigError(f"{url}: larger than {_MAX_BYTES} bytes, which no such file is", href=url)
    if time.monotonic() > deadline:
        raise SourceUnavailable(f"{url}: did not arrive in time; try again later", href=url)


_TOLD = {
    ItemNotFound: "nothing there",
    AuthError: "refused, though it is public; check whether a proxy stands between",
    RateLimited: "asks to slow down, also after waiting; try again later",
    SourceUnavailable: "cannot answer at present; try again later",
    ConfigError: "refused the request; check the address",
}


def _of_status(status: int, url: str) -> SluiceError:
    kind = error_of_status(status)
    return kind(f"{url}: {_TOLD[kind]} (HTTP {status})", href=url)


def _of_fault(err: requests.RequestException, said: str, url: str) -> SluiceError:
    if is_no_address(err):
        return ConfigError(f"{url}: is no address; give http:// or https://", href=url)
    return SourceUnavailable(
        f"{url}: no answer, or it broke off ({type(err).__name__}: {said}); check the connection, "
        "or try again later",
        href=url,
    )
