"""Whether a request comes from the map itself, or from a program: from no other page.

A page of the web that a user has open can send requests to this computer, and by a name of its own
that it makes point here (DNS rebinding) it could read the answers. A browser tells both: by `Host`
the name that it used, by `Origin`, `Referer` and `Sec-Fetch-Site` the page that asks. Programs send
none of the last three.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_DEFAULT_PORTS = {"http": 80, "https": 443}
_FROM_US = frozenset({"same-origin", "none"})


class Origins:
    """The names under which a service may be asked."""

    def __init__(self, host: str, *, loopback: bool, names: Iterable[str] = ()) -> None:
        """Take them.

        Args:
            host: Where it listens.
            loopback: Whether only programs of this computer reach it.
            names: Public names, such as a proxy passes on.
        """
        self._own = _OWN_NAMES | ({host.strip("[]").lower()} if loopback else frozenset())
        self._names = frozenset(name.lower() for name in names)
        self._any_name = not loopback and not self._names

    def refusal(
        self, method: str, scheme: str, headers: Headers, port: int | None, *, page: bool
    ) -> str | None:
        """Why a request is refused; None where it is not.

        Args:
            method: Of the request.
            scheme: `http` or `https`, as the browser used it.
            headers: Of the request.
            port: Where the service listens.
            page: Whether links of other pages may lead there.
        """
        hosts = headers.getlist("host")
        asked = _split_host(scheme, hosts[0]) if len(hosts) == 1 else None
        if asked is None:
            return "the request does not say which host it asks; send one Host"
        if not self._is_ours(*asked, port):
            return (
                f"{hosts[0]!r} is no name of this service; use http://localhost:{port}, or start "
                "it with `--name` and its public name"
            )
        return self._foreign(method, (scheme, *asked), headers, page=page)

    @staticmethod
    def _foreign(
        method: str, own: tuple[str, str, int], headers: Headers, *, page: bool
    ) -> str | None:
        """Why a request that another page may have made is refused."""
        site = headers.get("sec-fetch-site")
        if site is not None and site not in _FROM_US:
            follows_link = (
                page
                and method in SAFE_METHODS
                and headers.get("sec-fetch-mode") == "navigate"
                and headers.get("sec-fetch-dest") == "document"
            )
            if not follows_link:
                return "another page asked for this; open the map itself"
            # The page that has the link stands in `Referer`, and no other page gets the answer.
            return None
        if (origin := headers.get("origin")) is not None and _split_origin(origin) != own:
            return (
                f"the page {origin!r} may not use this service; behind a proxy with HTTPS, start "
                "it with --proxy"
            )
        referer = headers.get("referer")
        if referer is not None and not page and _split_origin(referer) != own:
            return "a page of another address asked for this; behind a proxy, start with --proxy"
        return None

    def _is_ours(self, name: str, at: int, port: int | None) -> bool:
        if self._any_name or name in self._names:
            return True
        return name in self._own and at == port


def _split_host(scheme: str, host: str) -> tuple[str, int] | None:
    """Name and port of a `Host`."""
    if not host or any(sign in host for sign in "/@?#\\") or host != host.strip():
        return None
    found = _split_origin(f"{scheme}://{host}")
    return None if found is None else found[1:]


def _split_origin(address: str) -> tuple[str, str, int] | None:
    """Scheme, name and port of an address."""
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        return None
    return parts.scheme, parts.hostname, _DEFAULT_PORTS[parts.scheme] if port is None else port
