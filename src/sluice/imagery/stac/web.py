"""Talking to servers of STAC: patience that ends, and errors with names."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pystac
import requests
from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO
from urllib3.exceptions import InvalidHeader
from urllib3.util.retry import Retry

from sluice.base.errors import (
    AuthError,
    ConfigError,
    ItemNotFound,
    RateLimited,
    SluiceError,
    SourceUnavailable,
)
from sluice.imagery.http_status import PASSING, error_of_status, is_no_address
from sluice.imagery.remote import hide_secrets, public_address

_TOLD = {
    ItemNotFound: "nothing there {http}; check the address and --collection",
    AuthError: "refused {http}; the catalogue wants credentials, or refuses yours",
    RateLimited: "asks to slow down {http}, also after waiting; try again later, or a smaller area "
    "or period",
    SourceUnavailable: "cannot answer at present {http}; try again later",
    ConfigError: "refused the request {http}",
}
_SNIPPET = 120


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for."""

    timeout_s: float = 30.0
    """For a connection, and between two parts of an answer."""
    retries: int = 4
    """After answers and faults that may pass."""
    backoff_s: float = 0.5
    """Before the second retry; doubled each time."""
    longest_wait_s: float = 60.0
    """Where a server asks to wait longer (Retry-After), this long."""


def open_io(patience: Patience) -> StacApiIO:
    """Reads addresses, and asks again after faults that may pass."""
    retry = _BoundedRetry(
        total=patience.retries,
        backoff_factor=patience.backoff_s,
        backoff_max=patience.longest_wait_s,
        status_forcelist=PASSING,
        # A search is sent by POST and changes nothing.
        allowed_methods=None,
        # The last answer is given back, with its status.
        raise_on_status=False,
    )
    retry.longest_wait_s = patience.longest_wait_s
    timeout = (patience.timeout_s, patience.timeout_s)
    return StacApiIO(timeout=timeout, max_retries=retry if patience.retries else None)


@contextmanager
def named_errors(where: str) -> Iterator[None]:
    """Translate what libraries raise.

    Args:
        where: Address, for messages.

    Raises:
        AuthError, RateLimited, SourceUnavailable, ItemNotFound: By status, or the lack of one.
        ConfigError: The address is wrong, or what lies there is no STAC.
    """
    place = public_address(where)
    try:
        yield
    except SluiceError:
        raise
    except APIError as err:
        said = _said(err, where)
        failure = _of_status(err, said, place)
    except requests.RequestException as err:
        said = _said(err, where)
        failure = _of_fault(err, said, place)
    except (pystac.STACError, ValueError, KeyError, TypeError, AttributeError) as err:
        said = _said(err, where)
        failure = _no_stac(err, said, place)
    else:
        return
    # The original names the address as it was asked for, with its login and key.
    raise failure from RuntimeError(said)


@contextmanager
def quietly() -> Iterator[None]:
    """Keep pystac's warnings off the terminal: on old versions, missing conformance and the like.

    Not for several threads at once, as the standard library's filters belong to the process.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class _BoundedRetry(Retry):
    """Waits as long as the server asks for, within a limit."""

    longest_wait_s = 60.0

    def parse_retry_after(self, retry_after: str) -> float:
        try:
            return min(super().parse_retry_after(retry_after), self.longest_wait_s)
        except InvalidHeader:
            return 0.0

    def new(self, **kwargs: Any) -> _BoundedRetry:
        following = super().new(**kwargs)
        following.longest_wait_s = self.longest_wait_s
        return following


def status_of(err: BaseException) -> int | None:
    """The HTTP status behind an error, None where there was no answer."""
    return getattr(err, "status_code", None)


def _of_status(err: APIError, said: str, where: str) -> SluiceError:
    status = status_of(err)
    if status is None:
        # pystac-client raises this while it handles what happened.
        return _of_fault(err.__context__ or err, said, where)
    said = f": {_short(said)}" if said and "<" not in said[:20] else ""
    kind = error_of_status(status)
    return kind(f"{where}: {_TOLD[kind].format(http=f'(HTTP {status}){said}')}", href=where)


def _of_fault(err: BaseException, said: str, where: str) -> SluiceError:
    if is_no_address(err):
        return ConfigError(f"{where}: is no address; give http:// or https://", href=where)
    if isinstance(err, ValueError) and not isinstance(err, requests.RequestException):
        return _no_stac(err, said, where)
    if isinstance(err, requests.exceptions.SSLError):
        return SourceUnavailable(
            f"{where}: its certificate is not accepted ({_short(said)}); check the address, and "
            "this machine's clock and certificates",
            href=where,
        )
    if isinstance(err, requests.exceptions.TooManyRedirects):
        return ConfigError(f"{where}: leads in circles; check the address", href=where)
    kind = "no answer in time" if isinstance(err, requests.exceptions.Timeout) else "no answer"
    return SourceUnavailable(
        f"{where}: {kind} ({type(err).__name__}); check the address and the connection, or try "
        "again later",
        href=where,
    )


def _no_stac(err: BaseException, said: str, where: str) -> ConfigError:
    return ConfigError(
        f"{where}: what lies there is no STAC catalogue ({type(err).__name__}: {_short(said)}); "
        "check the address: an API's ends for example in /v1 or /stac",
        href=where,
    )


def _said(err: BaseException, address: str) -> str:
    """An error's own words on one line; servers and libraries repeat the address in them."""
    return hide_secrets(" ".join(str(err).split()), address)


def _short(text: str) -> str:
    return text if len(text) <= _SNIPPET else text[: _SNIPPET - 1] + "…"
