"""What people drew on pictures, and where on earth that is.

A labelling tool knows pixels only. Where a picture lies is kept beside it, in `NAME.json`
(`PicturePlace`), when labelling tasks are made; both together give polygons on the map.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from pydantic import Field, ValidationError, field_validator
from shapely.geometry.base import BaseGeometry

from sluice.base.arrays import FloatArray
from sluice.base.errors import AssetReadError, ConfigError, DataError, ItemNotFound
from sluice.base.longitudes import cut_at_180
from sluice.base.polygons import mend
from sluice.base.records import Record
from sluice.labels.points import discs_around
from sluice.labels.polygons import tidy_polygons
from sluice.labels.vector_table import LabelColumns, LabelTable

NOTHING_HERE, CANNOT_TELL = "nothing here", "cannot tell"
"""What may be said of a picture as a whole."""
Verdict = Literal["labelled", "skipped", "rejected", "waiting"]
"""`labelled`: somebody looked, and what is not drawn is not there. `skipped`: whoever looked could
not or would not tell. `rejected`: a reviewer sent the work back. `waiting`: nobody looked yet."""

_OUTSIDE = "outside their picture"


class PicturePlace(Record):
    """Where a picture lies: the `.json` beside it."""

    schema_version: Literal[1] = 1
    picture: str
    """Its id: the names of its files begin with it."""
    crs: str
    """`EPSG:32630`."""
    transform: tuple[float, float, float, float, float, float]
    """a, b, c, d, e, f: x = a * column + b * row + c, y = d * column + e * row + f, of the
    picture's own pixels, from the upper left corner of the first."""
    width: int = Field(gt=0, le=65_536)
    height: int = Field(gt=0, le=65_536)
    start: dt.date | None = None
    """First day that the picture shows."""
    end: dt.date | None = None
    scenes: tuple[str, ...] = ()
    """What it was made from."""
    observed_percent: float | None = None

    @field_validator("crs")
    @classmethod
    def _known(cls, crs: str) -> str:
        try:
            pyproj.CRS(crs)
        except pyproj.exceptions.CRSError as err:
            raise ValueError(f"CRS {crs!r} is not known") from err
        return crs

    @field_validator("transform")
    @classmethod
    def _invertible(cls, transform: tuple[float, ...]) -> tuple[float, ...]:
        a, b, _, d, e, _ = transform
        if not np.isfinite(transform).all() or a * e - b * d == 0:
            raise ValueError("the transform maps no pixel to a place")
        return transform

    @classmethod
    def of(cls, picture: str, geobox: GeoBox, **facts: Any) -> Self:
        """Of a picture whose pixels are those of a grid."""
        height, width = geobox.shape.yx
        return cls(
            picture=picture,
            crs=str(geobox.crs),
            transform=tuple(geobox.affine)[:6],
            width=width,
            height=height,
            **facts,
        )

    @property
    def affine(self) -> Affine:
        """Pixels to the CRS."""
        return Affine(*self.transform)

    def to_crs_units(self, shape: BaseGeometry, size: tuple[int, int]) -> BaseGeometry:
        """From pixels of a picture to the CRS.

        Args:
            shape: x to the right, y downwards, from the upper left corner.
            size: Width and height that its pixels are of, where the tool saw another size.
        """
        a, b, c, d, e, f = self.transform
        across, down = self.width / size[0], self.height / size[1]

        def place(points: FloatArray) -> FloatArray:
            col, row = points[:, 0] * across, points[:, 1] * down
            return np.column_stack([a * col + b * row + c, d * col + e * row + f])

        return shapely.transform(shape, place)


@dataclass(frozen=True)
class Region:
    """Something drawn on a picture."""

    class_name: str
    shape: BaseGeometry
    """In pixels: x to the right, y downwards, from the upper left corner; a point or a polygon."""


@dataclass(frozen=True)
class PictureLabels:
    """What one person made of one picture."""

    picture: str
    """Its id, or the name of its file."""
    size: tuple[int, int] | None
    """Width and height that the pixels of `regions` are of, None where nothing was drawn."""
    verdict: Verdict
    regions: tuple[Region, ...] = ()
    choices: tuple[str, ...] = ()
    """What was said of the picture as a whole."""
    annotator: str | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)
    """What was drawn and has no use here, by reason."""


@dataclass(frozen=True)
class PlacedLabels:
    """Labels of pictures on the map."""

    labels: LabelTable
    """Polygons of pictures with verdict `labelled`, with `picture` and `annotator`."""
    pictures: gpd.GeoDataFrame
    """EPSG:4326, a row for each picture and its footprint: `picture`, `verdict`, `choices` (with
    semicolons), `regions` (how many), `annotator`, `start`, `end`. Ground of labelled ones that no
    polygon covers was looked at and found free."""


def read_places(folder: Path | str) -> dict[str, PicturePlace]:
    """Where the pictures of a folder lie, by their ids.

    Args:
        folder: Made by `sluice labels prepare`; the files may lie in `pictures/` in it.

    Raises:
        ItemNotFound: There is no file that says so.
        AssetReadError, DataError: One cannot be read, or is no such file; or two of one picture.
    """
    folder = Path(folder)
    inner = folder / "pictures"
    paths = sorted((inner if inner.is_dir() else folder).glob("*.json"))
    places: dict[str, PicturePlace] = {}
    for path in paths:
        try:
            place = PicturePlace.model_validate_json(path.read_bytes())
        except OSError as err:
            raise AssetReadError(f"{path}: cannot be read ({err})", href=str(path)) from err
        except ValidationError as err:
            first = err.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"])) or "the file"
            raise DataError(
                f"{path}: does not say where a picture lies ({where}: {first['msg']}); give the "
                "folder that `sluice labels prepare` made",
                href=str(path),
            ) from err
        if place.picture in places:
            raise DataError(f"{path}: picture {place.picture} is there twice", href=str(path))
        places[place.picture] = place
    if not places:
        raise ItemNotFound(
            f"{folder}: holds no file that says where pictures lie; give the folder that "
            "`sluice labels prepare` made",
            href=str(folder),
        )
    return places


def place_labels(
    found: Iterable[PictureLabels],
    places: Mapping[str, PicturePlace],
    *,
    where: str,
    source: str,
    radius_m: float | None = None,
) -> PlacedLabels:
    """Bring what was drawn on pictures onto the map.

    Args:
        found: One for each picture.
        places: Where the pictures lie.
        where: The export's file, for messages.
        source: Name of the set of labels.
        radius_m: Of the discs that points become; None where there are none.

    Raises:
        DataError: A picture whose place is not known, or a size that does not fit it.
        ConfigError: Points without a radius.
    """
    shapes: list[tuple[str, PictureLabels, str, BaseGeometry]] = []
    rows, left_out = [], dict[str, int]()
    for labels in found:
        place = _place_of(labels, places, where)
        rows.append(_picture_row(labels, place))
        for reason, count in labels.left_out.items():
            left_out[reason] = left_out.get(reason, 0) + count
        if labels.verdict == "labelled":
            size = _checked_size(labels, place, where)
            for region in labels.regions:
                inside = _within(region.shape, size)
                if inside.is_empty:
                    left_out[_OUTSIDE] = left_out.get(_OUTSIDE, 0) + 1
                    continue
                shape = place.to_crs_units(inside, size)
                shapes.append((region.class_name, labels, place.crs, shape))
    pictures = gpd.GeoDataFrame(rows, geometry="geometry", crs="EPSG:4326")
    days = {name: pictures.set_index("picture")[name] for name in ("start", "end")}
    frame = _to_lonlat(shapes, radius_m)
    frame["start"], frame["end"] = (frame["picture"].map(days[name]) for name in days)
    if frame.empty:
        return PlacedLabels(LabelTable(frame.assign(source=source), 0, left_out), pictures)
    columns = LabelColumns(
        "class",
        start_column="start",
        end_column="end",
        source=source,
        keep=("picture", "annotator"),
    )
    tidy = tidy_polygons(frame, columns, where)
    return PlacedLabels(
        LabelTable(tidy.table, tidy.mended, {**left_out, **tidy.left_out}), pictures
    )


def _within(shape: BaseGeometry, size: tuple[int, int]) -> BaseGeometry:
    """The part of a shape that is on the picture; who drew it saw no more."""
    xmin, ymin, xmax, ymax = shape.bounds if not shape.is_empty else (0, 0, 0, 0)
    if xmin >= 0 and ymin >= 0 and xmax <= size[0] and ymax <= size[1]:
        return shape
    inside: BaseGeometry = mend(shape).intersection(shapely.box(0, 0, *size))
    return inside


def _to_lonlat(
    shapes: list[tuple[str, PictureLabels, str, BaseGeometry]], radius_m: float | None
) -> gpd.GeoDataFrame:
    """One table of all regions, points as discs."""
    frame = gpd.GeoDataFrame(
        {
            "class": pd.Series([name for name, *_ in shapes], dtype=object),
            "picture": pd.Series([labels.picture for _, labels, *_ in shapes], dtype=object),
            "annotator": pd.Series([labels.annotator for _, labels, *_ in shapes], dtype=object),
        },
        geometry=gpd.GeoSeries([shape for *_, shape in shapes], crs=None),
    )
    crs_of = np.array([crs for _, _, crs, _ in shapes], dtype=object)
    lonlat = frame.geometry.copy()
    for crs in dict.fromkeys(crs_of.tolist()):
        here = crs_of == crs
        moved = frame.geometry[here].set_crs(crs).to_crs("EPSG:4326").map(cut_at_180)
        lonlat[here] = moved.set_crs(None, allow_override=True)
    frame = frame.set_geometry(lonlat.set_crs("EPSG:4326"))
    points = np.asarray(frame.geom_type == "Point", bool)
    if points.any():
        if radius_m is None:
            raise ConfigError(
                f"{int(points.sum())} labels are points, which have no extent; give --radius in "
                "metres"
            )
        frame.loc[points, "geometry"] = discs_around(frame[points], radius_m).geometry
    return frame


def _place_of(
    labels: PictureLabels, places: Mapping[str, PicturePlace], where: str
) -> PicturePlace:
    if labels.picture in places:
        return places[labels.picture]
    raise DataError(
        f"{where}: picture {labels.picture!r} is none of the {len(places)} that were prepared, "
        f"such as {next(iter(places))!r}; give the folder that its task came from",
        href=where,
    )


def _checked_size(labels: PictureLabels, place: PicturePlace, where: str) -> tuple[int, int]:
    """The size that the tool saw; another one of the same shape is a scaled picture."""
    width, height = labels.size or (place.width, place.height)
    if (
        width <= 0
        or height <= 0
        or abs(width * place.height - height * place.width)
        > max(place.width, place.height) * max(width, height) * 0.01
    ):
        raise DataError(
            f"{where}: picture {labels.picture} was labelled at {width} x {height} px and prepared "
            f"at {place.width} x {place.height}; it is another picture, or was cropped",
            href=where,
        )
    return width, height


def _picture_row(labels: PictureLabels, place: PicturePlace) -> dict[str, object]:
    whole = place.to_crs_units(
        shapely.box(0, 0, place.width, place.height), (place.width, place.height)
    )
    outline = gpd.GeoSeries([whole], crs=place.crs).to_crs("EPSG:4326").map(cut_at_180)
    return {
        "picture": labels.picture,
        "verdict": labels.verdict,
        "choices": ";".join(labels.choices),
        "regions": len(labels.regions),
        "annotator": labels.annotator,
        "start": pd.Timestamp(place.start) if place.start else pd.NaT,
        "end": pd.Timestamp(place.end) if place.end else pd.NaT,
        "geometry": outline.iloc[0],
    }
