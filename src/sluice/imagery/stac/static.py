"""STAC without a server: catalogues of linked files, and files of many items."""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import shapely
from pystac_client.stac_api_io import StacApiIO
from shapely.geometry.base import BaseGeometry

from sluice.base.errors import ConfigError, ItemNotFound, SluiceError
from sluice.base.periods import Period
from sluice.base.records import LeftOut
from sluice.imagery.catalogue import Found
from sluice.imagery.stac import facts
from sluice.imagery.stac.hrefs import base_of, is_remote, resolve, shown, suffix_of
from sluice.imagery.stac.items import Reading
from sluice.imagery.stac.parquet import collections_of, read_parquet_items
from sluice.imagery.stac.refusals import Refused
from sluice.imagery.stac.sift import for_bands, no_such_collection, sift
from sluice.imagery.stac.web import Patience, named_errors, open_io

MOST_FILES = 20_000
"""That a walk reads."""
_READERS = 8
_MOST_BYTES = 256 * 2**20


@dataclass(frozen=True)
class StaticCatalogue:
    """A file, or linked files, of items as a `Catalogue`."""

    href: str
    """`catalog.json`, `collection.json`, an item, a file of items, or a stac-geoparquet file."""
    reading: Reading
    collection: str | None = None
    """Only items of this collection."""
    max_cloud: float | None = None
    patience: Patience = field(default=Patience())

    def find(self, area: BaseGeometry, period: Period, bands: Sequence[str]) -> Found:
        """See `Catalogue.find`.

        Raises:
            ItemNotFound, AuthError, RateLimited, SourceUnavailable: The catalogue itself is not
                to be had; of its parts that are not, the names are told.
            ConfigError: It is no STAC, has too many files, or has no such collection.
        """
        reading = for_bands(self.reading, bands)
        if self._is_table:
            with named_errors(self.href):
                items = list(read_parquet_items(self.href, area, period, self.patience))
            walk = _Walk(tuple(_each_with_base(items, self.href)), (), frozenset())
        else:
            walk = _Walker(self.href, area, period, self.patience, self.collection).walk()
        wanted = [pair for pair in walk.items if self._is_wanted(pair[0])]
        if not wanted:
            self._refuse_unknown(walk)
        found = sift(
            wanted,
            reading,
            area,
            period,
            max_cloud=self.max_cloud,
            where=self.href,
        )
        return Found(found.files, (*walk.left_out, *found.left_out))

    def _is_wanted(self, item: facts.Item) -> bool:
        return self.collection is None or item.get("collection") == self.collection

    def _refuse_unknown(self, walk: _Walk) -> None:
        """Nothing found: tell a collection that has nothing here from one that does not exist."""
        if self.collection is None:
            return
        names = {str(item["collection"]) for item, _ in walk.items if item.get("collection")}
        names |= walk.collections
        if self._is_table:
            # Rows of other places and times were not read.
            with named_errors(self.href):
                names |= collections_of(self.href, self.patience)
        if self.collection in names:
            return
        err = no_such_collection(shown(self.href), self.collection, names)
        if walk.left_out:
            first = walk.left_out[0]
            raise ConfigError(
                f"{err}; parts of it that could not be read: {len(walk.left_out)}, the first "
                f"{first.href}: {first.reason}",
                href=shown(self.href),
            )
        raise err

    @property
    def _is_table(self) -> bool:
        return suffix_of(self.href) in {".parquet", ".geoparquet"}


@dataclass(frozen=True)
class _Walk:
    items: tuple[tuple[facts.Item, str], ...]
    """With what each one's relative addresses are meant against."""
    left_out: tuple[LeftOut, ...]
    """Files that could not be read."""
    collections: frozenset[str]
    """Names of those met, whether or not they were looked into."""


@dataclass
class _Walker:
    """Follows links, breadth first, through what may hold items of the area and period."""

    root: str
    area: BaseGeometry
    period: Period
    patience: Patience
    collection: str | None = None
    _items: list[tuple[facts.Item, str]] = field(default_factory=list)
    _left_out: list[LeftOut] = field(default_factory=list)
    _visited: set[str] = field(default_factory=set)
    _collections: set[str] = field(default_factory=set)

    def walk(self) -> _Walk:
        io = open_io(self.patience)
        try:
            queue = deque(self._open(read_json(self.root, io), self.root))
            with ThreadPoolExecutor(max_workers=_READERS) as pool:
                while queue:
                    if len(self._visited) > MOST_FILES:
                        raise ConfigError(
                            f"{shown(self.root)}: has more than {MOST_FILES:,} files; name one "
                            "--collection, or a part of it",
                            href=shown(self.root),
                        )
                    batch = [queue.popleft() for _ in range(min(len(queue), 4 * _READERS))]
                    contents = pool.map(lambda href: _try_json(href, io), batch)
                    for href, content in zip(batch, contents, strict=True):
                        if isinstance(content, SluiceError):
                            self._leave_out(href, str(content))
                        else:
                            queue.extend(self._open_child(content, href))
        finally:
            io.session.close()
        return _Walk(tuple(self._items), tuple(self._left_out), frozenset(self._collections))

    def _open_child(self, content: Any, href: str) -> Iterator[str]:
        try:
            yield from self._open(content, href)
        except ConfigError as err:
            self._leave_out(href, str(err))

    def _open(self, content: Any, href: str) -> Iterator[str]:
        """Take in what a file holds, and give the files that it links to."""
        kind = content.get("type") if isinstance(content, Mapping) else None
        if kind == "Feature":
            self._items.append((content, href))
            return
        if kind == "FeatureCollection":
            features = content.get("features") or ()
            self._items += _each_with_base(features, href)
            return
        if kind not in {"Catalog", "Collection"} and not _looks_like_catalogue(content):
            raise ConfigError(
                f"{shown(href)}: is no STAC catalogue, collection, item or list of items",
                href=shown(href),
            )
        # Those of STAC before 1.0 state no type, and have extents.
        if content.get("id") and (kind == "Collection" or (kind is None and "extent" in content)):
            self._collections.add(str(content["id"]))
        if kind == "Collection" and not self._may_hold(content):
            return
        for link in content.get("links") or ():
            if isinstance(link, Mapping) and link.get("rel") in {"child", "item", "items"}:
                yield from self._follow(str(link.get("href") or ""), href)

    def _follow(self, link: str, base: str) -> Iterator[str]:
        try:
            href = resolve(link, base)
            if href.lower().startswith("s3:"):
                raise Refused(f"{shown(href)}: catalogues are read from disk and by http, not s3")
        except Refused as err:
            self._leave_out(link, str(err))
            return
        key = href if is_remote(href) else os.path.normcase(str(Path(href).absolute()))
        if key not in self._visited:
            self._visited.add(key)
            yield href

    def _may_hold(self, collection: Mapping[str, Any]) -> bool:
        """Whether a collection's name and extents allow for what is looked for."""
        if self.collection is not None and collection.get("id") != self.collection:
            # One collection may lie within another.
            return any(
                isinstance(link, Mapping) and link.get("rel") == "child"
                for link in collection.get("links") or ()
            )
        extent = collection.get("extent")
        if not isinstance(extent, Mapping):
            return True
        return _covers_place(extent.get("spatial"), self.area) and _covers_time(
            extent.get("temporal"), self.period
        )

    def _leave_out(self, href: str, reason: str) -> None:
        name = Path(shown(href).rstrip("/")).name or "unnamed"
        self._left_out.append(LeftOut(scene_id=name, href=shown(href), reason=reason))


def _each_with_base(items: Iterable[Any], holder: str) -> list[tuple[facts.Item, str]]:
    found = [item for item in items if isinstance(item, Mapping)]
    return [(item, base_of(facts.self_href(item), holder)) for item in found]


def read_json(href: str, io: StacApiIO) -> Any:
    """Read a JSON file from disk or by http.

    Raises:
        ItemNotFound, AuthError, RateLimited, SourceUnavailable: Not to be had.
        ConfigError: Not JSON, or larger than any catalogue file.
    """
    if is_remote(href):
        with named_errors(href):
            return json.loads(io.read_text(href))
    path = Path(href)
    if not path.is_file():
        raise ItemNotFound(f"{href}: no such file; check the path", href=href)
    if path.stat().st_size > _MOST_BYTES:
        raise ConfigError(
            f"{href}: larger than {_MOST_BYTES / 2**20:.0f} MB; write it as stac-geoparquet",
            href=href,
        )
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as err:
        raise ConfigError(f"{href}: is not JSON ({err}); check the file", href=href) from err


def _try_json(href: str, io: StacApiIO) -> Any:
    try:
        return read_json(href, io)
    except SluiceError as err:
        return err


def _looks_like_catalogue(content: Any) -> bool:
    """Catalogues of STAC before 1.0 state no type."""
    return isinstance(content, Mapping) and "stac_version" in content and "links" in content


def _covers_place(spatial: Any, area: BaseGeometry) -> bool:
    boxes = spatial.get("bbox") if isinstance(spatial, Mapping) else None
    if not isinstance(boxes, list) or not boxes:
        return True
    # The first is the whole, the others its parts.
    for bbox in boxes[1:] or boxes:
        if not isinstance(bbox, list) or len(bbox) not in {4, 6}:
            return True
        half = len(bbox) // 2
        sides = [facts.finite(bbox[k]) for k in (0, 1, half, half + 1)]
        numbers = [side for side in sides if side is not None]
        if len(numbers) < len(sides):
            return True
        west, south, east, north = numbers
        if west > east or shapely.box(west, south, east, north).intersects(area):
            return True
    return False


def _covers_time(temporal: Any, period: Period) -> bool:
    intervals = temporal.get("interval") if isinstance(temporal, Mapping) else None
    if not isinstance(intervals, list) or not intervals:
        return True
    first, last = period.datetimes
    for interval in intervals[1:] or intervals:
        if not isinstance(interval, list) or len(interval) != 2:
            return True
        start, end = (facts.as_datetime(value) for value in interval)
        if (start is None or start <= last) and (end is None or end >= first):
            return True
    return False
