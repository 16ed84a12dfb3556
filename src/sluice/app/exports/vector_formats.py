"""Formats that GDAL writes and a run does not leave: Shapefile and PMTiles."""

from __future__ import annotations

import csv
import io
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyogrio
import shapely

from sluice.app.exports.appearance import column_title
from sluice.app.exports.flat_table import DATE, Kind
from sluice.app.messages import Messages
from sluice.base.errors import NoValidData, RunFailed

SHORT_NAME, LONGEST_TEXT = 10, 254
"""Characters of a Shapefile's column name, and bytes of its text."""
_FURTHEST_ZOOM, _LEAST_ZOOM = 12, 4
_LARGE_TILES = 16
"""Tiles from which on a shape is counted as large."""
_LARGE_DEG, _MOST_POINTS = 0.5, 3000
"""From this size on a shape has at most so many points in tiles."""
_MOST_WORK = 1_000_000
"""Tiles of large shapes times their points: some seconds."""
_TILE_POINTS = 300
"""What a tile takes by itself, in points."""
_MEMBERS = (".shp", ".shx", ".dbf", ".prj", ".cpg")


def write_shapefile(
    frame: gpd.GeoDataFrame, path: Path, kind: Kind, *, disclaimer: str, say: Messages
) -> None:
    """Write a zipped Shapefile with a legend of its shortened column names.

    Args:
        frame: From `flat_table`.
        path: A `.zip` file.
        kind: What it shows.
        disclaimer: Goes into the zip's `README.txt`.
        say: The language of titles.

    Raises:
        RunFailed: The file that was written does not hold every row.
        pyogrio.errors.DataSourceError: It cannot be written.
        OSError: Likewise.
    """
    names = short_names([name for name in frame.columns if name != "geometry"])
    short = frame.rename(columns=names)
    for name in names.values():
        if pd.api.types.is_string_dtype(short[name].dtype):
            short[name] = short[name].map(_cut, na_action="ignore").astype("str")
    with tempfile.TemporaryDirectory(prefix=".part-", dir=path.parent) as folder:
        shape = Path(folder) / f"{kind.name}.shp"
        pyogrio.write_dataframe(
            short,
            shape,
            driver="ESRI Shapefile",
            geometry_type="Point" if kind.name == "alerts" else "Polygon",
            use_arrow=True,
            layer_options={"ENCODING": "UTF-8"},
        )
        found = pyogrio.read_info(shape)["features"]
        if found != len(frame):
            raise RunFailed(
                f"{found} of {len(frame)} rows were written; a Shapefile holds 2 GB "
                "at most: use GeoPackage, or check the free space on the disk"
            )
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for suffix in _MEMBERS:
                archive.write(shape.with_suffix(suffix), f"{kind.name}{suffix}")
            archive.writestr(f"{kind.name}_columns.csv", _legend(names, say))
            archive.writestr("README.txt", f"{say.of('table', kind.name)}\n\n{disclaimer}\n")


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Names of at most ten characters, each another one, by the full name.

    The beginning is kept, and a number where two would be alike.
    """
    short: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        base = name.removeprefix("context_").encode("ascii", "replace").decode().replace("?", "_")
        found, number = base[:SHORT_NAME], 2
        while found.lower() in taken:
            found = f"{base[: SHORT_NAME - len(str(number))]}{number}"
            number += 1
        taken.add(found.lower())
        short[name] = found
    return short


def _cut(text: str) -> str:
    """The text to as many whole characters as fit."""
    return text.encode()[:LONGEST_TEXT].decode("utf-8", "ignore")


def _legend(names: dict[str, str], say: Messages) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["short", "column", "title"])
    writer.writerows([short, name, column_title(name, say)] for name, short in names.items())
    return text.getvalue()


def write_pmtiles(
    frame: gpd.GeoDataFrame, path: Path, kind: Kind, *, disclaimer: str, say: Messages
) -> None:
    """Write vector tiles in one file, which a web page reads without a server.

    From afar small sites are a pixel each, and of many in a pixel one is drawn. Where shapes are as
    large as a country, tiles end at a lower zoom, so that there are not millions of them.

    Args:
        frame: From `flat_table`.
        path: A `.pmtiles` file.
        kind: What it shows.
        disclaimer: Kept in the file's metadata.
        say: The language of its title.

    Raises:
        NoValidData: There is no row with a place: tiles cannot show that.
        pyogrio.errors.DataSourceError: It cannot be written.
    """
    placed = frame[frame.geometry.notna() & ~frame.geometry.is_empty].copy()
    if placed.empty:
        raise NoValidData(
            f"there are no {kind.name} to write, and tiles cannot be empty; "
            "use another format, or a wider filter"
        )
    placed["geometry"] = gpd.GeoSeries(drawable(placed.geometry.to_numpy()), placed.index, 4326)
    # Tiles know text, numbers and truth; days become text as others write it.
    texts = {c: placed[c].astype("str") for c in placed.columns if placed[c].dtype == DATE}
    # GDAL makes another file beside it on the way.
    with tempfile.TemporaryDirectory(prefix=".part-", dir=path.parent) as folder:
        tiles = Path(folder) / "tiles.pmtiles"
        pyogrio.write_dataframe(
            placed.assign(**texts),
            tiles,
            layer=kind.name,
            driver="PMTiles",
            geometry_type="Point" if kind.name == "alerts" else "Unknown",
            dataset_options={
                "MINZOOM": "0",
                "MAXZOOM": str(furthest_zoom(placed.geometry.to_numpy())),
                "NAME": say.of("table", kind.name),
                "DESCRIPTION": disclaimer,
            },
        )
        tiles.replace(path)


def drawable(shapes: npt.NDArray[np.object_]) -> npt.NDArray[np.object_]:
    """Shapes with large ones simplified where tiles would take minutes over their points.

    Args:
        shapes: (N,) in EPSG:4326.
    """
    drawn = shapes.copy()
    west, south, east, north = shapely.bounds(shapes).T
    side = np.maximum(east - west, north - south)
    many = (shapely.get_num_coordinates(shapes) > _MOST_POINTS) & (side > _LARGE_DEG)
    for row in np.flatnonzero(many):
        tolerance = side[row] / 8192
        while shapely.get_num_coordinates(drawn[row]) > _MOST_POINTS and tolerance < side[row]:
            simple = shapely.simplify(shapes[row], tolerance)
            drawn[row], tolerance = simple, 2 * tolerance
    return drawn


def furthest_zoom(shapes: npt.NDArray[np.object_]) -> int:
    """The last zoom to draw: 12, or less where large shapes would fill too many tiles.

    Args:
        shapes: (N,) in EPSG:4326, none of them empty.
    """
    # GDAL goes through all tiles of the box around a shape, gaps and all.
    box = shapely.bounds(shapes)
    # Of the web's map, whose sides are one.
    north, south = (_mercator(box[:, side]) for side in (3, 1))
    width, height = (box[:, 2] - box[:, 0]) / 360, north - south
    points = shapely.get_num_coordinates(shapes)
    for zoom in range(_FURTHEST_ZOOM, _LEAST_ZOOM, -1):
        tiles = (width * 2**zoom + 1) * (height * 2**zoom + 1)
        large = tiles > _LARGE_TILES
        if (tiles * (points + _TILE_POINTS))[large].sum() <= _MOST_WORK:
            return zoom
    return _LEAST_ZOOM


def _mercator(lat: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    phi = np.radians(np.clip(lat, -85, 85))
    return np.asarray(np.arctanh(np.sin(phi)) / (2 * np.pi))
