"""What answers over HTTP mean: one table for servers of pixels, of listings and of STAC."""

from __future__ import annotations

import requests

from sluice.base.errors import (
    AuthError,
    ConfigError,
    ItemNotFound,
    RateLimited,
    SluiceError,
    SourceUnavailable,
)

PASSING = (408, 429, 500, 502, 503, 504)
"""Answers that may be another one a little later."""
_NO_ADDRESS = (
    requests.exceptions.MissingSchema,
    requests.exceptions.InvalidSchema,
    requests.exceptions.InvalidURL,
)


def error_of_status(status: int) -> type[SluiceError]:
    """The named error of a status that is no success; `ConfigError` where the request was wrong."""
    if status in {404, 410}:
        return ItemNotFound
    if status in {401, 403, 407}:
        return AuthError
    if status == 429:
        return RateLimited
    if status >= 500 or status in PASSING:
        return SourceUnavailable
    return ConfigError


def is_no_address(err: BaseException) -> bool:
    """Whether a request failed because what was asked for is not written as an address."""
    return isinstance(err, _NO_ADDRESS)
