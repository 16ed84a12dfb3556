"""Addresses that are valid for a while only: signed when a file is opened, never recorded."""

from __future__ import annotations

import importlib
import threading
from typing import Any, Protocol
from urllib.parse import urlsplit

from sluice.base.errors import ConfigError, SourceUnavailable

_AZURE_BLOBS = ".blob.core.windows.net"


class Signer(Protocol):
    """Signs addresses; keeps its tokens until they expire."""

    def sign(self, href: str, timeout_s: float) -> str:
        """The address with a signature; other hosts' addresses unchanged.

        Args:
            href: Unsigned address.
            timeout_s: Longest wait for a token.

        Raises:
            SourceUnavailable: No answer in time.
            OSError, ValueError: What the signing library raises; for `remote.translate`.
            ConfigError: The library is not installed.
        """
        ...

    def forget(self) -> None:
        """Drop all tokens, as they were refused."""
        ...


class PlanetaryComputer:
    """Signs for Microsoft's Planetary Computer, with its own library."""

    def __init__(self) -> None:
        # So that sixteen threads ask for one token once.
        self._lock = threading.Lock()

    def sign(self, href: str, timeout_s: float) -> str:
        """See `Signer`."""
        parts = urlsplit(href)
        if parts.query or not (parts.hostname or "").endswith(_AZURE_BLOBS):
            return href
        sas = self._library().sas
        account = (parts.hostname or "").removesuffix(_AZURE_BLOBS)
        container = parts.path.lstrip("/").partition("/")[0]
        if not self._lock.acquire(timeout=timeout_s):
            raise _no_token(href, timeout_s)
        try:
            # The library would try ten times by itself, over minutes.
            token = _in_time(
                lambda: sas.get_token(account, container, retry_total=0), timeout_s, where=href
            )
        finally:
            self._lock.release()
        return f"{href}?{token.token}"

    def forget(self) -> None:
        """See `Signer`."""
        self._library().sas.TOKEN_CACHE.clear()

    @staticmethod
    def _library() -> Any:
        try:
            return importlib.import_module("planetary_computer")
        except ImportError as err:
            raise ConfigError(
                "images of the Planetary Computer are read with signed addresses, and the library "
                "that signs them is not installed; run: pip install planetary-computer"
            ) from err


SIGNERS: dict[str, Signer] = {"planetary-computer": PlanetaryComputer()}


def _in_time(call: Any, timeout_s: float, *, where: str) -> Any:
    """Run a call that has no limit of its own; past the limit it is left to end by itself."""
    outcome: dict[str, Any] = {}

    def run() -> None:
        try:
            outcome["value"] = call()
        except Exception as err:  # noqa: BLE001  (raised again below, in the caller's thread)
            outcome["error"] = err

    worker = threading.Thread(target=run, daemon=True)
    worker.start()
    worker.join(timeout_s)
    if "error" in outcome:
        raise outcome["error"]
    if "value" not in outcome:
        raise _no_token(where, timeout_s)
    return outcome["value"]


def _no_token(href: str, timeout_s: float) -> SourceUnavailable:
    return SourceUnavailable(
        f"{href}: no answer within {timeout_s:g} s when asking for a token to read it; "
        "try again later",
        href=href,
    )
