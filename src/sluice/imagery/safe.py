"""The metadata file of a Sentinel-2 product in SAFE format."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from xml.parsers import expat

from affine import Affine
from odc.geo import CRS
from odc.geo.geobox import GeoBox
from pyproj.exceptions import CRSError

from sluice.base.errors import AssetReadError
from sluice.base.sensors import Sensor, find_sensor

# Element attribute `band_id`, in the order of the instrument's spectral table.
_BAND_IDS = tuple(band.common_name for band in find_sensor("s2-l1c").bands)
_MAX_BYTES = 32 * 2**20
_RESOLUTIONS = (10, 20, 60)
_LEVELS = {"Level-1C": "s2-l1c", "Level-2A": "s2-l2a"}


@dataclass(frozen=True)
class SafeMetadata:
    """What a scan needs of `MTD_MSIL1C.xml` or `MTD_MSIL2A.xml`."""

    path: Path
    sensor: Sensor
    acquired: dt.date
    processing_baseline: str
    scale: float
    """Reflectance of one count: 1 / quantification value."""
    offsets: dict[str, float]
    """Common name -> reflectance to add; empty before processing baseline 04.00."""
    nodata: float | None
    """The count that the product declares as NODATA."""
    acquired_at: dt.datetime | None = None
    """Start of the datatake, UTC."""
    cloud_cover: float | None = None
    """Percent."""
    footprint_lonlat: tuple[tuple[float, float], ...] = ()
    """Outline of what was imaged; empty where the product does not tell."""


def find_safe_metadata(folder: Path) -> Path | None:
    """The product's metadata file, given the product's folder or one of its image folders."""
    candidates = [folder]
    if folder.name in {"IMG_DATA", "R10m", "R20m", "R60m"}:
        # Product / GRANULE / granule / IMG_DATA / R10m
        candidates += list(folder.absolute().parents)[:4]
    for candidate in candidates:
        for name in ("MTD_MSIL2A.xml", "MTD_MSIL1C.xml"):
            if (candidate / name).is_file():
                return candidate / name
    return None


def read_safe_metadata(path: Path) -> SafeMetadata:
    """Read level, date, baseline and radiometry.

    Source:
        Sentinel-2 Products Specification Document, Level-1C and Level-2A user products:
        reflectance = (count + ADD_OFFSET) / QUANTIFICATION_VALUE, the offset from baseline
        04.00 on.

    Raises:
        AssetReadError: Not well-formed, with a DTD, or without a needed field.
    """
    with path.open("rb") as stream:
        return parse_safe_metadata(stream.read(_MAX_BYTES + 1), str(path))


def parse_safe_metadata(content: bytes, where: str) -> SafeMetadata:
    """Read what `read_safe_metadata` does from a file's content.

    Args:
        content: Of `MTD_MSIL1C.xml` or `MTD_MSIL2A.xml`.
        where: File or address, for messages.

    Raises:
        AssetReadError: See `read_safe_metadata`.
    """
    texts, offsets = _parse(content, where)
    try:
        quantification = float(
            texts.get("BOA_QUANTIFICATION_VALUE") or texts["QUANTIFICATION_VALUE"]
        )
        return SafeMetadata(
            path=Path(where),
            sensor=find_sensor(_LEVELS[texts["PROCESSING_LEVEL"].removesuffix("p")]),
            acquired=dt.date.fromisoformat(texts["PRODUCT_START_TIME"][:10]),
            processing_baseline=texts["PROCESSING_BASELINE"],
            scale=1 / quantification,
            offsets={
                _BAND_IDS[int(band_id)]: float(text) / quantification
                for band_id, text in offsets.items()
            },
            nodata=float(texts["special:NODATA"]) if "special:NODATA" in texts else None,
            acquired_at=_moment(texts["PRODUCT_START_TIME"]),
            cloud_cover=_number(texts.get("Cloud_Coverage_Assessment")),
            footprint_lonlat=_outline(texts.get("EXT_POS_LIST", "")),
        )
    except (KeyError, ValueError, IndexError, ZeroDivisionError) as err:
        raise AssetReadError(
            f"{where}: not the metadata of a Sentinel-2 product as known here "
            f"({type(err).__name__}: {err}); download the product again, "
            "or move this file away and give --scale and --offset",
            href=where,
        ) from err


def read_tile_grids(content: bytes, where: str) -> dict[int, GeoBox]:
    """The grids of a tile, by pixel size in metres.

    Args:
        content: Of a granule's `MTD_TL.xml`.
        where: File or address, for messages.

    Source:
        Sentinel-2 Products Specification Document, tile metadata, `Tile_Geocoding`.

    Raises:
        AssetReadError: Not well-formed, with a DTD, or without a needed field.
    """
    texts, _ = _parse(content, where)
    try:
        crs = CRS(texts["HORIZONTAL_CS_CODE"])
        return {size: _grid(texts, size, crs) for size in _RESOLUTIONS}
    except (KeyError, ValueError, CRSError) as err:
        raise AssetReadError(
            f"{where}: not the metadata of a Sentinel-2 tile as known here "
            f"({type(err).__name__}: {err})",
            href=where,
        ) from err


def _grid(texts: dict[str, str], size: int, crs: CRS) -> GeoBox:
    shape = int(texts[f"{size}:NROWS"]), int(texts[f"{size}:NCOLS"])
    across, left, down, top = (
        float(texts[f"{size}:{name}"]) for name in ("XDIM", "ULX", "YDIM", "ULY")
    )
    return GeoBox(shape, Affine(across, 0, left, 0, down, top), crs)


def _number(text: str | None) -> float | None:
    return float(text) if text else None


def _moment(text: str) -> dt.datetime:
    moment = dt.datetime.fromisoformat(text)
    return moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)


def _outline(text: str) -> tuple[tuple[float, float], ...]:
    """The outline of a list of latitudes and longitudes in turn."""
    numbers = [float(part) for part in text.split()]
    paired = len(numbers) % 2 == 0
    return tuple(zip(numbers[1::2], numbers[0::2], strict=True)) if paired else ()


def _parse(content: bytes, where: str) -> tuple[dict[str, str], dict[str, str]]:
    """Text of the first element of each name, and of the add-offsets by band number.

    `special:NODATA` is the count of that meaning, `10:ULX` what holds for pixels of 10 m.
    """
    texts: dict[str, str] = {}
    offsets: dict[str, str] = {}
    stack: list[tuple[str, dict[str, str], list[str]]] = []
    special = ""

    def start(name: str, attributes: dict[str, str]) -> None:
        stack.append((name.rpartition(":")[2], attributes, []))

    def characters(text: str) -> None:
        stack[-1][2].append(text)

    def end(_: str) -> None:
        nonlocal special
        name, attributes, parts = stack.pop()
        text = "".join(parts).strip()
        if name in {"BOA_ADD_OFFSET", "RADIO_ADD_OFFSET"}:
            offsets[attributes.get("band_id", "")] = text
        elif name == "SPECIAL_VALUE_TEXT":
            special = text
        elif name == "SPECIAL_VALUE_INDEX":
            texts.setdefault(f"special:{special}", text)
        else:
            texts.setdefault(name, text)
            if stack and "resolution" in stack[-1][1]:
                texts.setdefault(f"{stack[-1][1]['resolution']}:{name}", text)

    def refuse(*_: object) -> None:
        # A DTD can define entities that grow without bound or read other files.
        raise AssetReadError(
            f"{where}: holds a document type declaration, which no Sentinel-2 product has; "
            "download the product again",
            href=where,
        )

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.CharacterDataHandler = characters
    parser.EndElementHandler = end
    parser.StartDoctypeDeclHandler = refuse
    try:
        if len(content) > _MAX_BYTES:
            raise AssetReadError(f"{where}: larger than any product's metadata", href=where)
        parser.Parse(content, True)  # noqa: FBT003 -- positional only
    except expat.ExpatError as err:
        raise AssetReadError(
            f"{where}: not well-formed XML ({err}); download the product again", href=where
        ) from err
    return texts, offsets
