"""The index of the sites that a person may see: kept for tiles and for pages of features."""

from __future__ import annotations

import pandas as pd

from sluice.app.web.access import Person
from sluice.app.web.rules import Part
from sluice.app.web.service import Service
from sluice.app.web.site_index import COLUMNS, SiteIndex
from sluice.app.web.views import Places, view_of
from sluice.app.web.withheld import visible
from sluice.base.places import Verdict
from sluice.base.store import Revision, SiteQuery, Store


def site_index(service: Service, who: Person, area: str | None) -> SiteIndex:
    """Sites that a person may see, along the curve; of an area where it matters to how.

    While it is made anew, which goes on beside, it is the one before.
    """
    name = _name(who, area)

    def make(_: Store) -> SiteIndex:
        return _make(service, who, area)

    found: SiteIndex = service.kept(name, make, of=_follows(who), may_be_older=True)
    return found


def is_of(index: SiteIndex, revision: Revision, who: Person) -> bool:
    """Whether an index is of this revision of the store, and not the one before."""
    made = index.made_of
    return made is not None and all(
        getattr(made, part) == getattr(revision, part) for part in _follows(who)
    )


def index_if_made(service: Service, who: Person) -> SiteIndex | None:
    """Likewise of who sees places as they are, but never the one before: None until it is made,
    which goes on beside."""

    def make(_: Store) -> SiteIndex:
        return _make(service, who, None)

    found: SiteIndex | None = service.kept_soon(_name(who, None), make, of=("sites",))
    return found


def _follows(who: Person) -> tuple[Part, ...]:
    """Parts of the store that an index is made of: cells are told with their verdicts."""
    return ("sites", "reviews") if who.redacted else ("sites",)


def _name(who: Person, area: str | None) -> str:
    return f"index {view_of(who)} {area!r}" if who.redacted else f"index {view_of(who)}"


def _make(service: Service, who: Person, area: str | None) -> SiteIndex:
    revision = service.revision()
    if who.redacted:
        index = SiteIndex(pd.DataFrame(Places(service, who).all_shown(area)))
    else:
        read = service.store.site_columns(visible(SiteQuery(), who), COLUMNS)
        index = SiteIndex(pd.DataFrame(read))
    index.made_of = revision
    return index


def said_of(service: Service, who: Person) -> dict[str, tuple[str, int]]:
    """What people said last of the sites that a person may see, and how many did, by id: apart
    from the index, which outlives a review."""

    def read(store: Store) -> dict[str, tuple[str, int]]:
        query = visible(SiteQuery(verdict=tuple(Verdict)), who)
        found = store.site_columns(query, ["site_id", "verdict", "reviewers"])
        told = zip(found["verdict"], found["reviewers"], strict=True)
        return dict(zip(found["site_id"], told, strict=True))

    said: dict[str, tuple[str, int]] = service.kept(f"said {view_of(who)}", read)
    return said
