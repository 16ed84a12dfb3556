"""Searching a STAC API."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from pystac_client import Client
from pystac_client.exceptions import APIError
from shapely.geometry import mapping
from shapely.geometry.base import BaseGeometry

from sluice.base.errors import ConfigError, SourceUnavailable
from sluice.base.periods import Period
from sluice.imagery.catalogue import Found
from sluice.imagery.remote import public_address
from sluice.imagery.stac.facts import Item, self_href
from sluice.imagery.stac.hrefs import base_of
from sluice.imagery.stac.items import Reading
from sluice.imagery.stac.presets import choose_collection
from sluice.imagery.stac.sift import boxes_of, for_bands, no_such_collection, sift, simplified
from sluice.imagery.stac.web import Patience, named_errors, open_io, quietly, status_of

PAGE_ITEMS = 100
"""Servers that answer through a gateway cut longer pages off."""
MOST_ITEMS = 20_000
"""Of one search; a year of Sentinel-2 over a country of 200 tiles is about as many."""
_NOT_THAT_WAY = (400, 404, 405, 415, 422, 501)
"""Answers of a server that cannot intersect, or takes no POST."""


@dataclass(frozen=True)
class StacApi:
    """A STAC API as a `Catalogue`."""

    url: str
    reading: Reading
    """What is looked for; each search sets its bands."""
    collection: str | None = None
    """None: told by the names of the API's collections."""
    max_cloud: float | None = None
    """Percent; an item that does not state its clouds stays."""
    patience: Patience = field(default=Patience())

    @property
    def place(self) -> str:
        """The address as it may be shown: without login and key."""
        return public_address(self.url)

    def find(self, area: BaseGeometry, period: Period, bands: Sequence[str]) -> Found:
        """See `Catalogue.find`.

        Raises:
            AuthError, RateLimited, SourceUnavailable: The API refused, or gave no answer.
            ItemNotFound: Nothing lies at the address.
            ConfigError: It is no API, has no such collection, or finds too much.
        """
        io = open_io(self.patience)
        try:
            with named_errors(self.url), quietly():
                # Said again: opening forgets the timeout that the reader has.
                client = Client.open(self.url, stac_io=io, timeout=io.timeout)
                collection = self.collection or self._choose(client)
                items = list(self._items(client, collection, area, period))
                if not items:
                    self._refuse_unknown(client, collection)
        finally:
            io.session.close()
        return sift(
            ((item, base_of(self_href(item), self.url)) for item in items),
            for_bands(self.reading, bands),
            area,
            period,
            max_cloud=self.max_cloud,
            where=self.place,
        )

    def _choose(self, client: Client) -> str:
        names = tuple(one.id for one in client.get_collections())
        return choose_collection(self.reading.sensor.id, names, where=self.place)

    def _items(
        self, client: Client, collection: str, area: BaseGeometry, period: Period
    ) -> Iterator[Item]:
        boxes: list[dict[str, Any]] = [{"bbox": list(bounds)} for bounds in boxes_of(area)]
        ways: list[tuple[str, list[dict[str, Any]]]] = [
            ("POST", [{"intersects": mapping(simplified(area))}]),
            ("POST", boxes),
            ("GET", boxes),
        ]
        what = {"collections": [collection], "datetime": list(period.datetimes)}
        seen: set[tuple[str, str]] = set()
        for method, places in ways:
            try:
                for place in places:
                    yield from self._pages(client, seen, method=method, **what, **place)
            except APIError as err:
                is_last = (method, places) == ways[-1]
                if is_last or status_of(err) not in _NOT_THAT_WAY:
                    raise
            else:
                return

    def _pages(self, client: Client, seen: set[tuple[str, str]], **query: Any) -> Iterator[Item]:
        search = client.search(limit=PAGE_ITEMS, **query)
        given: set[tuple[str, str]] = set()
        for page in search.pages_as_dicts():
            keys = [(str(item.get("collection")), str(item["id"])) for item in page["features"]]
            if given.issuperset(keys):
                raise SourceUnavailable(
                    f"{self.place}: gives the same results again and again; try again later",
                    href=self.place,
                )
            given.update(keys)
            for key, item in zip(keys, page["features"], strict=True):
                if key not in seen:
                    seen.add(key)
                    yield item
            if len(seen) > MOST_ITEMS:
                raise ConfigError(
                    f"{self.place}: more than {MOST_ITEMS:,} scenes; search a smaller --area or a "
                    "shorter period",
                    href=self.place,
                )

    def _refuse_unknown(self, client: Client, collection: str) -> None:
        """Nothing found: tell a collection that is empty there from one that does not exist."""
        if client.get_collection(collection) is not None:
            return
        raise no_such_collection(
            self.place, collection, (one.id for one in client.get_collections())
        )
