"""What a raster file says of itself: enough to plan a read without opening the file again."""

from __future__ import annotations

import functools
import json
import math
from dataclasses import asdict, dataclass
from typing import Any

import pyproj
import rasterio.crs
from affine import Affine
from odc.geo import CRS
from odc.geo.geobox import GeoBox
from rasterio.enums import ColorInterp, MaskFlags

from sluice.base.errors import AssetReadError, GridMismatch

# Whole files are compared by these blocks' places and sizes, so three far apart will do.
_PROBES = (0.0, 0.5, 1.0)


@dataclass(frozen=True)
class RasterHeader:
    """Grid, bands and layout of a file; plain values only, so it can be kept as JSON."""

    shape: tuple[int, int]
    """(height, width) in pixels."""
    transform: tuple[float, float, float, float, float, float]
    """Of `affine.Affine`: a, b, c, d, e, f."""
    crs_wkt: str
    """Empty where the file has none."""
    dtypes: tuple[str, ...]
    """By band, as all that follow."""
    block_shapes: tuple[tuple[int, int], ...]
    """(height, width) of the pieces that the file is compressed in."""
    nodatas: tuple[float | None, ...]
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    descriptions: tuple[str, ...]
    masked: tuple[bool, ...]
    """The file has a mask of its own for the band."""
    alphas: tuple[int, ...] = ()
    """Numbers of the bands that are alpha, from 1."""
    fingerprint: str = ""
    """Where some compressed blocks lie and how long they are: another file of the same name
    differs. Empty where the format does not tell."""

    @property
    def geobox(self) -> GeoBox:
        """The grid; only where there is a CRS."""
        return GeoBox(self.shape, Affine(*self.transform), parse_crs(self.crs_wkt))

    def to_json(self) -> str:
        """As text."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> RasterHeader:
        """Read what `to_json` wrote.

        Raises:
            ValueError: It is something else.
        """
        try:
            stored = {name: _as_tuple(value) for name, value in json.loads(text).items()}
            return cls(**stored)
        except (TypeError, AttributeError) as err:
            raise ValueError("not the header of a raster file") from err

    def refuse_unusable(self, where: str) -> None:
        """Raise unless it is an image with a place on Earth.

        Raises:
            GridMismatch: It has no CRS or no position.
            AssetReadError: Its numbers are complex.
        """
        if not self.crs_wkt or Affine(*self.transform).is_identity:
            lacking = "CRS" if not self.crs_wkt else "position (geotransform)"
            raise GridMismatch(
                f"{where}: has no {lacking}, so its place on Earth is not known; georeference "
                "it first (QGIS: Raster > Projections > Assign Projection, or Georeferencer)",
                href=where,
            )
        if any(dtype.startswith("complex") for dtype in self.dtypes):
            raise AssetReadError(
                f"{where}: holds complex numbers; convert radar images to backscatter in dB",
                href=where,
            )


def read_header(dataset: Any) -> RasterHeader:
    """Collect what an open `rasterio.DatasetReader` says.

    Raises:
        RasterioError: The file is damaged or out of reach.
    """
    flags = dataset.mask_flag_enums
    interpretations = dataset.colorinterp
    return RasterHeader(
        shape=(dataset.height, dataset.width),
        transform=tuple(dataset.transform)[:6],
        crs_wkt=dataset.crs.to_wkt() if dataset.crs is not None else "",
        dtypes=tuple(dataset.dtypes),
        block_shapes=tuple(dataset.block_shapes),
        nodatas=tuple(dataset.nodatavals),
        scales=tuple(float(scale) for scale in dataset.scales),
        offsets=tuple(float(offset) for offset in dataset.offsets),
        descriptions=tuple((text or "").strip() for text in dataset.descriptions),
        masked=tuple(
            MaskFlags.per_dataset in flag and MaskFlags.alpha not in flag for flag in flags
        ),
        alphas=tuple(
            index
            for index, meaning in enumerate(interpretations, start=1)
            if meaning == ColorInterp.alpha
        ),
        fingerprint=_fingerprint(dataset),
    )


def _fingerprint(dataset: Any) -> str:
    """Places and lengths of some compressed blocks, which GDAL tells of a TIFF."""
    height, width = dataset.block_shapes[0]
    rows, cols = math.ceil(dataset.height / height), math.ceil(dataset.width / width)
    found = []
    for probe in _PROBES:
        block = f"{round((cols - 1) * probe)}_{round((rows - 1) * probe)}"
        found += [
            dataset.get_tag_item(f"BLOCK_{what}_{block}", "TIFF", bidx=1)
            for what in ("OFFSET", "SIZE")
        ]
    return "" if all(value is None for value in found) else ",".join(map(str, found))


@functools.lru_cache(maxsize=256)
def parse_crs(wkt: str) -> CRS:
    """A file's CRS, by its EPSG code where it has one, as texts of one CRS may differ."""
    code = rasterio.crs.CRS.from_wkt(wkt).to_epsg()
    if code is not None and pyproj.CRS(wkt).equals(pyproj.CRS(code), ignore_axis_order=True):
        return CRS(f"EPSG:{code}")
    return CRS(wkt)


@functools.lru_cache(maxsize=256)
def same_crs(one: CRS | None, other: CRS | None) -> bool:
    """Whether two CRS mean the same, in whatever words: `OGC:CRS84` and `EPSG:4326` do."""
    if one is None or other is None:
        return False
    if one == other:
        return True
    texts = one.to_wkt(), other.to_wkt()
    return bool(pyproj.CRS(texts[0]).equals(pyproj.CRS(texts[1]), ignore_axis_order=True))


def _as_tuple(value: Any) -> Any:
    return tuple(map(_as_tuple, value)) if isinstance(value, list) else value
