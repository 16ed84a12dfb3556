"""What `sluice sites`, `alerts` and `review` have in common: the store, and which sites."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

import typer

if TYPE_CHECKING:
    from sluice.base.store import Row, SiteQuery, Store

_Word = TypeVar("_Word", bound=StrEnum)


@contextlib.contextmanager
def opened(
    address: str | None, *, create: bool = False, area_name: str | None = None
) -> Iterator[Store]:
    """A store that is closed at the end.

    Args:
        address: Of `--store`.
        create: Make a file that is missing.
        area_name: Of an area that must be there.

    Raises:
        ConfigError: It is not; the message names those that are.
    """
    from sluice.app.config import store_address
    from sluice.app.following.stores import open_store
    from sluice.base.errors import ConfigError

    with contextlib.closing(open_store(store_address(address), create=create)) as store:
        known = store.areas()["name"] if area_name is not None else ()
        if area_name is not None and area_name not in set(known):
            raise ConfigError(
                f"--area-name {area_name}: the store knows no such area; it knows "
                f"{', '.join(known) or 'none'}"
            )
        yield store


def site_query(
    *,
    area_name: str | None = None,
    bbox: str | None = None,
    status: str | None = None,
    level: str | None = None,
    verified_only: bool = False,
    since: str | None = None,
    min_area_ha: float | None = None,
    min_priority: float | None = None,
    limit: int | None = None,
    with_past: bool = False,
) -> SiteQuery:
    """Which sites the options ask for.

    Raises:
        ConfigError: A word, date or box that is not one.
    """
    from sluice.app.area import read_box
    from sluice.base.periods import parse_span
    from sluice.base.places import Level, Status, Verdict
    from sluice.base.store import SiteQuery

    first: dt.date | None = None if since is None else parse_span(since, since).start
    return SiteQuery(
        area=area_name,
        bbox_lonlat=None if bbox is None else read_box(bbox),
        status=_words(status, Status, "--status"),
        level=_words(level, Level, "--level"),
        verdict=(Verdict.CONFIRMED,) if verified_only else None,
        seen_since=first,
        min_area_ha=min_area_ha,
        min_priority=min_priority,
        limit=limit,
        with_past=with_past,
    )


def _words(text: str | None, kind: type[_Word], option: str) -> tuple[_Word, ...] | None:
    if text is None:
        return None
    return tuple(word(part, kind, option) for part in text.split(",") if part.strip())


def word(text: str, kind: type[_Word], option: str) -> _Word:
    """One of a few words.

    Raises:
        ConfigError: It is not; the message names them.
    """
    from sluice.base.errors import ConfigError

    try:
        return kind(text.strip().lower().replace("-", "_").replace(" ", "_"))
    except ValueError as err:
        known = ", ".join(kind)
        raise ConfigError(f"{option} {text.strip()!r}: is not known; use one of {known}") from err


def echo_rows(rows: Sequence[Row]) -> None:
    """Print rows as JSON; dates as text, what is absent as null."""
    import json
    import math

    def plain(value: Any) -> Any:
        if isinstance(value, float) and math.isnan(value):
            return None
        if isinstance(value, dict):
            return {name: plain(inner) for name, inner in value.items()}
        if isinstance(value, list | tuple):
            return [plain(inner) for inner in value]
        if hasattr(value, "item"):
            return plain(value.item())
        return str(value) if isinstance(value, dt.date | dt.datetime) else value

    typer.echo(json.dumps([plain(row) for row in rows], indent=2, ensure_ascii=False))
