"""What `sluice sites`, `alerts` and `review` have in common: the store, and which sites."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

import typer

if TYPE_CHECKING:
    from sluice.app.messages import Messages
    from sluice.base.places import Verdict
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
    verdict: str | None = None,
    since: str | None = None,
    min_area_ha: float | None = None,
    min_priority: float | None = None,
    limit: int | None = None,
    with_past: bool = False,
) -> SiteQuery:
    """Which sites the options ask for; of any verdict where neither option says one.

    Raises:
        ConfigError: A word, date or box that is not one.
    """
    from sluice.app.area import read_box
    from sluice.base.periods import parse_day
    from sluice.base.places import Level, Status
    from sluice.base.store import SiteQuery

    first: dt.date | None = None if since is None else parse_day(since, "--since")
    return SiteQuery(
        area=area_name,
        bbox_lonlat=None if bbox is None else read_box(bbox),
        status=_words(status, Status, "--status"),
        level=_words(level, Level, "--level"),
        verdict=_verdicts(verdict, verified_only=verified_only),
        seen_since=first,
        min_area_ha=min_area_ha,
        min_priority=min_priority,
        limit=limit,
        with_past=with_past,
    )


def _verdicts(text: str | None, *, verified_only: bool) -> tuple[Verdict | None, ...] | None:
    from sluice.base.errors import ConfigError
    from sluice.base.places import Verdict

    asked = {part.strip().lower() for part in (text or "").split(",") if part.strip()}
    if verified_only and asked not in (set(), {Verdict.CONFIRMED}):
        raise ConfigError("--verified-only and --verdict ask for two things; give one of them")
    if verified_only:
        return (Verdict.CONFIRMED,)
    if asked <= {"all"}:
        return None
    known = {**{verdict.value: verdict for verdict in Verdict}, "none": None}
    for part in sorted(asked - known.keys()):
        raise ConfigError(
            f"--verdict {part!r}: is not known; use some of {', '.join(known)}, or all"
        )
    return tuple(known[part] for part in sorted(asked))


def without_rejected(
    query: SiteQuery, store: Store, *, verdict: str | None
) -> tuple[SiteQuery, int]:
    """A query without rejected sites unless a verdict is asked for, and how many it leaves out.

    Args:
        query: From `site_query`.
        store: To count in.
        verdict: Of `--verdict`.
    """
    import dataclasses

    from sluice.base.places import Verdict
    from sluice.base.store import NOT_REJECTED

    if verdict is not None or query.verdict is not None:
        return query, 0
    rejected = store.count_sites(dataclasses.replace(query, verdict=(Verdict.REJECTED,)))
    return dataclasses.replace(query, verdict=NOT_REJECTED), rejected


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


def speech(language: str | None) -> Messages:
    """The texts of the language asked for, or of the user's.

    Raises:
        ConfigError: The language is not known.
    """
    from sluice.app.config import language_of
    from sluice.app.messages import messages

    return messages(language_of(language))


def echo_rows(rows: Sequence[Row], say: Messages | None = None) -> None:
    """Print rows as JSON; dates as text, what is absent as null.

    Args:
        rows: To print.
        say: Of what rules decided, the words too, beside codes and values.
    """
    import json
    import math

    from sluice.base.said import SAID_COLUMNS, read_said

    def named(name: str, value: Any) -> Any:
        if say is None or name not in SAID_COLUMNS:
            return plain(value)
        return [{**one.plain(), "text": say.said(one)} for one in read_said(value)]

    def plain(value: Any) -> Any:
        if isinstance(value, float) and math.isnan(value):
            return None
        if isinstance(value, dict):
            return {name: named(name, inner) for name, inner in value.items()}
        if isinstance(value, list | tuple):
            return [plain(inner) for inner in value]
        if hasattr(value, "item"):
            return plain(value.item())
        return str(value) if isinstance(value, dt.date | dt.datetime) else value

    typer.echo(json.dumps([plain(row) for row in rows], indent=2, ensure_ascii=False))
