"""Addresses that are valid for a while only: signed when a file is opened, never recorded."""

from __future__ import annotations

import importlib
import sys
import threading
from typing import Any, Protocol
from urllib.parse import urlsplit

from sluice.base.errors import ConfigError, SourceUnavailable
from sluice.imagery.credentials import AZURE_BLOBS, INSTALL_SIGNER

_LIBRARY = "planetary_computer"
_ALWAYS_SIGNED = {"sentinel2l2a01", "sentinel1euwestrtc"}
"""Accounts of the Planetary Computer that hold Sentinel-2 L2A and Sentinel-1 RTC."""
_NEVER_SIGNED = {"ai4edatasetspublicassets"}
_NOT_THEIRS = {400, 404}
"""Answers to a request for a token of an account or container that it does not keep."""


class Signer(Protocol):
    """Signs addresses; keeps its tokens until they expire."""

    def signs(self, href: str) -> bool:
        """Whether an address is of a host that it signs for, and has no signature yet."""
        ...

    def sign(self, href: str, timeout_s: float) -> str:
        """The address with a signature; as it is where the signer finds that it needs none.

        Args:
            href: Unsigned address, one that it `signs`.
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
    """Signs for Microsoft's Planetary Computer, with its own library.

    By the host of an address, whatever catalogue it came from: a saved list of items too. Azure's
    storage is also others': what the Planetary Computer knows nothing of is read as it is.
    """

    def __init__(self) -> None:
        # So that sixteen threads ask for one token once.
        self._lock = threading.Lock()
        self._not_theirs: set[tuple[str, str]] = set()

    def signs(self, href: str) -> bool:
        """See `Signer`."""
        parts = urlsplit(href)
        host = parts.hostname or ""
        return (
            parts.scheme.lower() == "https"
            and not parts.query
            and host.endswith(AZURE_BLOBS)
            and host.removesuffix(AZURE_BLOBS) not in _NEVER_SIGNED
        )

    def sign(self, href: str, timeout_s: float) -> str:
        """See `Signer`."""
        parts = urlsplit(href)
        account = (parts.hostname or "").removesuffix(AZURE_BLOBS)
        container = parts.path.lstrip("/").partition("/")[0]
        sas = self._sas(account)
        if sas is None or (account, container) in self._not_theirs:
            return href
        if not self._lock.acquire(timeout=timeout_s):
            raise _no_token(href, timeout_s)
        try:
            # The library would try ten times by itself, over minutes.
            token = _in_time(
                lambda: sas.get_token(account, container, retry_total=0), timeout_s, where=href
            )
        except OSError as err:
            status = getattr(getattr(err, "response", None), "status_code", None)
            if account in _ALWAYS_SIGNED or status not in _NOT_THEIRS:
                raise
            self._not_theirs.add((account, container))
            return href
        finally:
            self._lock.release()
        return f"{href}?{token.token}"

    def forget(self) -> None:
        """See `Signer`."""
        self._not_theirs.clear()
        library = sys.modules.get(_LIBRARY)
        if library is not None:
            library.sas.TOKEN_CACHE.clear()

    @staticmethod
    def _sas(account: str) -> Any:
        """The library's part that signs; None where it is not there and may not be needed."""
        try:
            return importlib.import_module(_LIBRARY).sas
        except ImportError as err:
            if account not in _ALWAYS_SIGNED:
                return None
            raise ConfigError(
                "images of the Planetary Computer are read with signed addresses, and the library "
                f"that signs them is not installed; {INSTALL_SIGNER}"
            ) from err


SIGNERS: dict[str, Signer] = {"planetary-computer": PlanetaryComputer()}


def signer_for(href: str) -> Signer | None:
    """Who signs an address, by its host; None where nobody does."""
    return next((signer for signer in SIGNERS.values() if signer.signs(href)), None)


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
