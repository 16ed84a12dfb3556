"""What becomes of errors: one table from the kind of an error to the code of an answer."""

from __future__ import annotations

import logging
import re
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from sluice.app.web.answers import json_response
from sluice.base.errors import (
    ConfigError,
    Conflict,
    DataError,
    ModelError,
    NoValidData,
    RunFailed,
    SchemaVersion,
    SluiceError,
    SourceError,
    StoreBusy,
    StoreError,
)
from sluice.base.jobs import TooManyJobs

_LOG = logging.getLogger("sluice.web")
RETRY_AFTER_S = 5
# Folders of a path: of POSIX, of `file:`, of Windows. Addresses of the service begin with /api/.
_PART = r"[^\s/\\:;,\"'`()<>|]+"
_FOLDERS = re.compile(
    rf"(?:(?<![\w/:.~%\]-])|(?<=file://))/(?!api/)(?:{_PART}/)+(?={_PART})"
    rf"|(?<!\w)[A-Za-z]:[\\/](?:{_PART}[\\/])*(?={_PART})|\\\\(?:{_PART}\\)+(?={_PART})"
)
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


class NotHere(SluiceError):
    """What an address names is not in the store, or not for this person."""


class Forbidden(SluiceError):
    """The person may not do that."""


class Unauthenticated(SluiceError):
    """Nobody is logged in, and the request needs somebody."""


class TooLarge(SluiceError):
    """More was sent, or asked for, than one request may."""


class OtherStore(SluiceError):
    """What was sent is for a store that was served here before."""


class Busy(SluiceError):
    """Others are before this request, or the person asks too often."""


# The first that fits.
STATUS: tuple[tuple[type[Exception], int, str], ...] = (
    (NotHere, 404, "not_found"),
    (Unauthenticated, 401, "unauthenticated"),
    (Forbidden, 403, "forbidden"),
    (TooLarge, 413, "too_large"),
    (OtherStore, 409, "other_store"),
    (Busy, 429, "busy"),
    (TooManyJobs, 429, "busy"),
    (ConfigError, 400, "bad_request"),
    (NoValidData, 404, "nothing_to_write"),
    (DataError, 422, "bad_data"),
    (SchemaVersion, 503, "store_version"),
    (StoreBusy, 503, "store_busy"),
    (Conflict, 409, "conflict"),
    (StoreError, 503, "store_unavailable"),
    (SourceError, 502, "source"),
    (ModelError, 500, "model"),
    (RunFailed, 507, "disk_full"),
    (SluiceError, 500, "error"),
)
_KINDS = {400: "bad_request", 401: "unauthenticated", 403: "forbidden", 404: "not_found"} | {
    405: "method_not_allowed", 413: "too_large", 422: "bad_data", 429: "busy", 503: "unavailable"
}  # fmt: skip


class ErrorDetail(BaseModel):
    """What went wrong."""

    kind: str
    """One of few words, for programs."""
    message: str
    """For people: what was wrong, what was got, what to do."""


class ErrorAnswer(BaseModel):
    """The body of every answer with a code of 400 or more."""

    error: ErrorDetail


DOCUMENTED: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorAnswer, "description": "The request contradicts itself."},
    401: {"model": ErrorAnswer, "description": "Nobody is logged in."},
    403: {"model": ErrorAnswer, "description": "Not for this person, or not from this page."},
    404: {"model": ErrorAnswer, "description": "There is none."},
    422: {"model": ErrorAnswer, "description": "What was sent cannot be used."},
    429: {"model": ErrorAnswer, "description": "Too much at once: come again."},
    503: {"model": ErrorAnswer, "description": "The store cannot be reached: come again."},
}
"""For `responses` of routes."""


def error_response(
    status: int, kind: str, message: str, headers: dict[str, str] | None = None
) -> Response:
    """An answer that tells an error."""
    told = dict(headers or {})
    if status in {429, 503}:
        told.setdefault("Retry-After", str(RETRY_AFTER_S))
    return json_response({"error": {"kind": kind, "message": message}}, status, headers=told)


def refusal(err: SluiceError) -> tuple[int, str, str]:
    """Code, kind and message of an error that leaves the service; the log keeps what is left out.

    Every such error goes through here.
    """
    status, kind = code_of(err)
    message = without_folders(str(err), err.href)
    if status >= 500:
        _LOG.warning("%s: %s", kind, err)
    elif message != str(err):
        _LOG.info("%s: %s", kind, err)
    return status, kind, message


def without_folders(message: str, href: str | None = None) -> str:
    """A message with names of files in place of the paths of this computer.

    Args:
        message: For whoever runs the service.
        href: The file or database that it is about, where that is known: its path may have spaces.
    """
    if href is not None and "://" not in href:
        name = (PureWindowsPath(href) if "\\" in href else PurePosixPath(href)).name
        message = message.replace(href, name) if name else message
    elif href is not None and href.startswith("postgresql://"):
        message = message.replace(href, href.rpartition("/")[2] or "the database")
    return _FOLDERS.sub("", message)


def install_error_handlers(app: FastAPI) -> None:
    """Answer every error as `ErrorAnswer`; no traceback reaches a client."""
    app.add_exception_handler(SluiceError, _on_sluice_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)


def code_of(err: SluiceError) -> tuple[int, str]:
    """Status code and kind of an error."""
    return next((code, kind) for of, code, kind in STATUS if isinstance(err, of))


def _on_sluice_error(_request: Request, err: Exception) -> Response:
    if not isinstance(err, SluiceError):
        raise err
    return error_response(*refusal(err))


def _on_invalid(_request: Request, err: Exception) -> Response:
    if not isinstance(err, RequestValidationError):
        raise err
    faults = err.errors()
    where = [str(part) for part in faults[0]["loc"]]
    in_body = where[0] == "body"
    name = ".".join(where[1:]) or where[0]
    message = str(faults[0]["msg"]).removeprefix("Value error, ")
    if faults[0]["type"] == "extra_forbidden":
        message = "is not known here; leave it out, or check its spelling in /api/openapi.json"
    return error_response(
        422 if in_body else 400, "bad_data" if in_body else "bad_request", f"{name}: {message}"
    )


def _on_http(request: Request, err: Exception) -> Response:
    if not isinstance(err, HTTPException):
        raise err
    kind = _KINDS.get(err.status_code, "error")
    detail = str(err.detail)
    if err.status_code == 404:
        detail = "there is no such address here; /api/openapi.json lists those there are"
    headers = dict(err.headers or {})
    if err.status_code == 405:
        # All routes of the address together, not the first one's alone.
        headers["Allow"] = ", ".join(_methods_of(request))
        detail = f"{request.method} is not possible here; {headers['Allow']} is"
    return error_response(err.status_code, kind, detail, headers)


def _methods_of(request: Request) -> list[str]:
    def fits(method: str) -> bool:
        scope = {**request.scope, "method": method}
        return any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)

    return [method for method in _METHODS if fits(method)]


def unexpected() -> Response:
    """The answer where the service itself is at fault: nothing of the fault is told."""
    return error_response(
        500, "internal", "the service failed; its log says where. Tell whoever runs it"
    )
