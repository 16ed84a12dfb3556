"""Items of a stac-geoparquet file, filtered while they are read.

By pyarrow alone, which is there for GeoParquet: a row becomes an item in a few lines, so neither
`stac-geoparquet` (which needs as much again) nor `rustac` is asked of a user.

Source:
    stac-geoparquet specification 1.1: item properties are columns, `assets` a struct, `bbox` a
    struct of xmin, ymin, xmax, ymax, `geometry` WKB.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import shapely
from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO
from shapely.geometry import mapping
from shapely.geometry.base import BaseGeometry

from sluice.base.errors import ConfigError, ItemNotFound
from sluice.base.periods import Period
from sluice.imagery.remote import public_address
from sluice.imagery.stac.facts import Item
from sluice.imagery.stac.hrefs import is_remote
from sluice.imagery.stac.sift import boxes_of
from sluice.imagery.stac.web import Patience, open_io

_TOP_LEVEL = {
    "type",
    "stac_version",
    "stac_extensions",
    "id",
    "geometry",
    "bbox",
    "links",
    "assets",
    "collection",
}
_NEEDED = {"id", "assets"}
_ROWS = 1024
_PART_BYTES = 2**20


def read_parquet_items(
    href: str, area: BaseGeometry, period: Period, patience: Patience
) -> Iterator[Item]:
    """Items whose box meets the area's and whose time lies in the period.

    Args:
        href: Path, or an address whose server sends parts of files.
        area: In longitude and latitude.
        period: When they were taken.
        patience: With the server.

    Raises:
        ItemNotFound: No such file.
        ConfigError: Not a stac-geoparquet file, or the server sends no parts.
        APIError, RequestException: The server's refusal, to be translated.
    """
    with _opened(href, patience) as table:
        for batch in table.iter_batches(batch_size=_ROWS):
            near = batch.filter(_mask(batch, area, period))
            yield from (_item(row) for row in near.to_pylist())


def collections_of(href: str, patience: Patience) -> set[str]:
    """Names of all collections that a file's items are of, wherever and whenever.

    Raises:
        As `read_parquet_items`.
    """
    with _opened(href, patience) as table:
        if "collection" not in table.schema_arrow.names:
            return set()
        batches = table.iter_batches(columns=["collection"])
        return {
            str(name)
            for batch in batches
            for name in pc.unique(batch.column(0)).to_pylist()
            if name is not None
        }


@contextlib.contextmanager
def _opened(href: str, patience: Patience) -> Iterator[Any]:
    place = public_address(href)
    session = open_io(patience) if is_remote(href) else None
    try:
        source = _RangeFile(href, session) if session else _local(href)
        try:
            table = pq.ParquetFile(source)
        except pa.ArrowInvalid as err:
            raise ConfigError(
                f"{place}: is no Parquet file ({err}); check the file", href=place
            ) from err
        names = set(table.schema_arrow.names)
        if not names >= _NEEDED:
            raise ConfigError(
                f"{place}: is no stac-geoparquet file: it lacks columns "
                f"{', '.join(sorted(_NEEDED - names))}",
                href=place,
            )
        yield table
    finally:
        if session:
            session.session.close()


def _local(href: str) -> str:
    if not Path(href).is_file():
        raise ItemNotFound(f"{href}: no such file; check the path", href=href)
    return href


def _mask(batch: Any, area: BaseGeometry, period: Period) -> Any:
    """True where a row may show the area in the period; sifted again as an item."""
    keep = pa.array([True] * batch.num_rows)
    names = batch.schema.names
    if "bbox" in names and pa.types.is_struct(batch.schema.field("bbox").type):
        box = batch.column("bbox")
        west, south, east, north = (
            pc.struct_field(box, name) for name in ("xmin", "ymin", "xmax", "ymax")
        )
        near = pa.array([False] * batch.num_rows)
        for xmin, ymin, xmax, ymax in boxes_of(area):
            meets = pc.and_(
                pc.and_(pc.less_equal(west, xmax), pc.greater_equal(east, xmin)),
                pc.and_(pc.less_equal(south, ymax), pc.greater_equal(north, ymin)),
            )
            # A box across 180 degrees has its west east of its east.
            meets = pc.or_(meets, pc.greater(west, east))
            near = pc.or_(near, pc.fill_null(meets, fill_value=True))
        keep = pc.and_(keep, near)
    if "datetime" in names and pa.types.is_timestamp(batch.schema.field("datetime").type):
        taken = batch.column("datetime")
        first, last = (pa.scalar(moment, taken.type) for moment in period.datetimes)
        within = pc.and_(pc.greater_equal(taken, first), pc.less_equal(taken, last))
        keep = pc.and_(keep, pc.fill_null(within, fill_value=True))
    return keep


def _item(row: Mapping[str, Any]) -> Item:
    """The item of a row: columns that hold no part of an item's frame are its properties."""
    item = {name: row[name] for name in _TOP_LEVEL if row.get(name) is not None}
    item["type"] = "Feature"
    item["properties"] = {
        name: value for name, value in row.items() if name not in _TOP_LEVEL and value is not None
    }
    box = item.get("bbox")
    if isinstance(box, Mapping):
        item["bbox"] = [box[name] for name in ("xmin", "ymin", "xmax", "ymax")]
    if isinstance(item.get("geometry"), bytes):
        item["geometry"] = mapping(shapely.from_wkb(item["geometry"]))
    assets = item["assets"]
    # Writers that cannot unify assets keep them as text.
    assets = json.loads(assets) if isinstance(assets, str) else assets
    # A struct has every field that any row has, empty where this one has none.
    item["assets"] = {key: _without_empty(asset) for key, asset in assets.items() if asset}
    return item


def _without_empty(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_empty(part) for key, part in value.items() if part is not None}
    if isinstance(value, list):
        return [_without_empty(part) for part in value]
    return value


class _RangeFile(io.RawIOBase):
    """A file at an address, read in parts."""

    def __init__(self, href: str, session: StacApiIO) -> None:
        place = public_address(href)
        self._href = href
        self._io = session
        self._at = 0
        self._part = (0, b"")
        answer = session.session.get(
            href, headers={"Range": "bytes=0-0"}, timeout=session.timeout, stream=True
        )
        with answer:
            if answer.status_code == 200:
                raise ConfigError(
                    f"{place}: its server sends whole files only; download it and give its path",
                    href=place,
                )
            if answer.status_code != 206:
                raise APIError.from_response(answer)
            self._size = int(answer.headers["Content-Range"].rpartition("/")[2])

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = start + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        data = self._read_at(self._at, min(len(buffer), self._size - self._at))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def _read_at(self, start: int, count: int) -> bytes:
        if count <= 0:
            return b""
        begin, held = self._part
        if not begin <= start or start + count > begin + len(held):
            # Parquet reads many small pieces that lie close together.
            end = min(self._size, start + max(count, _PART_BYTES)) - 1
            answer = self._io.session.get(
                self._href, headers={"Range": f"bytes={start}-{end}"}, timeout=self._io.timeout
            )
            if answer.status_code != 206:
                raise APIError.from_response(answer)
            begin, held = start, answer.content
            self._part = begin, held
        return held[start - begin : start - begin + count]
