"""Addresses in catalogues: relative ones, and those that a catalogue has no business to name."""

from __future__ import annotations

import posixpath
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

from sluice.imagery.remote import is_address, public_address
from sluice.imagery.stac.refusals import Refused

_REMOTE = ("http", "https", "s3")


def is_remote(href: str) -> bool:
    """Whether an address lies at a server, not on this machine's disk."""
    return urlsplit(href).scheme.lower() in _REMOTE


def resolve(href: str, base: str | None) -> str:
    """The full address of a link.

    Args:
        href: As the catalogue has it.
        base: Address or path of the file that holds the link; None where it is not known.

    Returns:
        An `http`, `https` or `s3` address, or a local path.

    Raises:
        Refused: Of a kind that is not read, relative to nothing, or a file on this machine
            named by a catalogue that came from elsewhere: it could name anything.
    """
    scheme = urlsplit(href).scheme.lower()
    if scheme in _REMOTE:
        return href
    # A single letter is a Windows drive.
    if scheme and scheme != "file" and len(scheme) > 1:
        raise Refused(f"{shown(href)}: addresses of the kind {scheme} are not read")
    if base is not None and is_remote(base):
        if scheme == "file" or len(scheme) == 1:
            raise Refused(
                f"{shown(href)}: a file on this machine, named by {shown(base)}, is not read"
            )
        return _join(base, href)
    if scheme == "file":
        return unquote(urlsplit(href).path)
    if href.startswith("/vsi"):
        raise Refused(f"{shown(href)}: GDAL's virtual file systems are not read from catalogues")
    path = Path(href)
    if path.is_absolute():
        return str(path)
    if base is None:
        raise Refused(f"{shown(href)}: is relative, and its item does not say where it lies itself")
    return str(Path(base).parent / path)


def base_of(item_href: str | None, holder: str) -> str:
    """Against what an item's relative addresses are meant, where it came in a list of items.

    Args:
        item_href: The item's link to itself.
        holder: Address or path of the list.

    Returns:
        The link where it is an address, else the list: a path on the disk of whoever wrote the
        list means nothing here.
    """
    return item_href if item_href and is_remote(item_href) else holder


def shown(href: str) -> str:
    """A link as it may stand in a message or a record: without what may be a signature or a key."""
    return public_address(href) if is_address(href) else href.partition("?")[0]


def suffix_of(href: str) -> str:
    """The file's suffix, small letters, whatever query follows."""
    path = urlsplit(href).path if is_remote(href) else href
    return PurePosixPath(path.replace("\\", "/")).suffix.lower()


def _join(base: str, href: str) -> str:
    parts = urlsplit(base)
    if parts.scheme.lower() in {"http", "https"}:
        return urljoin(base, href)
    # urljoin knows nothing of s3.
    path = href if href.startswith("/") else posixpath.join(posixpath.dirname(parts.path), href)
    return urlunsplit((parts.scheme, parts.netloc, posixpath.normpath(path), "", ""))
