"""Points of mines: visits, sampling points and centres, and the discs that stand for them.

A point says that a mine is there, not where it ends. With a radius it becomes a disc, and goes
the way of polygons from there on.
"""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import shapely

from sluice.base.arrays import FloatArray
from sluice.base.errors import ConfigError, DataError
from sluice.base.files import read_vector
from sluice.base.longitudes import cut_at_180
from sluice.base.point_tables import is_table, read_point_table
from sluice.labels.mine_points import PointFilters, read_mine_points
from sluice.labels.vector_table import (
    NEGATIVE,
    LabelColumns,
    LabelTable,
    check_coordinates,
    column,
    normalise,
    refuse_none_left,
)

_RIM = 72
"""Corners of a disc."""
_M2_PER_HA = 10_000
_NONE_WORDS = {
    *("no", "n", "none", "false", "f", "negative", "neg", "absent"),
    *("non", "faux", "négatif", "aucun", "aucune"),
    *("falso", "negativo", "ninguno", "não", "nao"),
}
"""What a column `label` says where there is no mine."""
_MINE_WORDS = {
    *("1", "yes", "y", "true", "t", "mine", "mining", "positive", "pos", "present"),
    *("oui", "vrai", "positif", "sí", "si", "s", "verdadero", "positivo", "mina"),
    *("sim", "verdadeiro", "garimpo"),
}
"""Likewise, where there is one."""
_MOST_TOLD = 3


def read_points(
    path: Path | str,
    columns: LabelColumns | None = None,
    *,
    lon: str | None = None,
    lat: str | None = None,
    crs: str = "EPSG:4326",
    layer: str | None = None,
    area_column: str | None = None,
    all_alike: bool = False,
) -> LabelTable:
    """Read points from a CSV table or a vector file.

    Args:
        path: `.csv`, or a vector file with points.
        columns: Which columns say what; None as for `read_polygons`.
        lon: Column of longitudes, or of eastings in `crs`; recognised by its name where None.
        lat: Column of latitudes, or of northings.
        crs: Of the two, in a CSV.
        layer: Of a vector file with several.
        area_column: Holds the area of each mine in hectares: its disc gets that area.
        all_alike: All are of the class that `columns` says, even where a column `label` of zeros
            and ones seems to say otherwise.

    Returns:
        Points; with `radius_m` (NaN where unknown) if `area_column` is given.

    Raises:
        ItemNotFound, AssetReadError: There is no such file, or it is not what it says.
        ConfigError: A column is missing, or two could be meant.
        DataError: Coordinates that cannot be true, a class that is empty, an unreadable date; or
            a column `label` says that some places are no mines, and nobody reads it.
        NoValidData: No row has a point.
    """
    where = str(path)
    if is_table(path):
        frame = read_point_table(path, lon=lon, lat=lat, crs=crs)
    else:
        frame = read_vector(path, layer=layer).reset_index(drop=True)
    columns = columns or LabelColumns.usual(frame)
    notes: tuple[str, ...] = ()
    if columns.class_column is None and not all_alike:
        notes = _check_unread_label(frame, where)
    given = len(frame)
    shapes = shapely.force_2d(np.asarray(frame.geometry))
    there = ~(shapely.is_missing(shapes) | shapely.is_empty(shapes))
    points = there & (shapely.get_type_id(shapes) == shapely.GeometryType.POINT)
    reasons = {"without coordinates": ~there, "that are no single points": there & ~points}
    left_out = {reason: int(which.sum()) for reason, which in reasons.items() if which.any()}
    refuse_none_left(int(points.sum()), left_out, where, "point")
    frame = frame.set_geometry(gpd.GeoSeries(shapes, crs=frame.crs))
    check_coordinates(frame[points], where)
    table = normalise(frame, columns, where)
    if area_column is not None:
        radius = _radius_of(column(frame, area_column, where), where)
        table.insert(len(table.columns) - 1, "radius_m", radius)
    table = table[points].to_crs("EPSG:4326").reset_index(drop=True)
    if given != len(table) + sum(left_out.values()):
        raise DataError(f"{where}: rows were lost while it was read; report this", href=where)
    return LabelTable(table, 0, left_out, notes)


def read_sampling_locations(
    path: Path | str, *, class_name: str = "mine", other: str = "other"
) -> LabelTable:
    """Read a file of sampling points of Amazon Mining Watch.

    Args:
        path: GeoJSON of `data/sampling_locations`.
        class_name: What positives become.
        other: What negatives become.

    Returns:
        Points with `split` and `clear_threshold` where the file has them; `source` is the file
        that a collected point came from.

    Raises:
        ConfigError: Neither the features nor the file's name tell which label they have.
        DataError: A label is neither 0 nor 1.
        ItemNotFound, AssetReadError, NoValidData: As `read_points`.

    Source:
        github.com/earthrise-media/mining-detector: single sets are points without properties of
        use, `…positives….geojson` and `…negatives….geojson` by their names (older ones
        `MinesPos…`, `MinesNeg…`); `collected_locations….geojson` has `label` (1, 0),
        `source_file`, `start_date`, `end_date`, `split` and `clear_threshold`.
    """
    where = str(path)
    frame = read_vector(path)
    dates = {name: name if name in frame else None for name in ("start_date", "end_date")}
    keep = ("label", "source_file", "split", "clear_threshold")
    columns = LabelColumns(
        start_column=dates["start_date"],
        end_column=dates["end_date"],
        keep=tuple(name for name in keep if name in frame),
    )
    found = read_points(path, columns, all_alike=True)
    table = found.table
    if "label" in table:
        labels = pd.to_numeric(table["label"], errors="coerce")
        if not labels.isin((0, 1)).all():
            raise DataError(f"{where}: label holds more than 0 and 1; correct it", href=where)
        table["class"] = np.where(labels == 1, class_name, other)
    else:
        table["class"] = class_name if _is_positive(Path(path).name, where) else other
    if "source_file" in table:
        names = table["source_file"].astype(str).str.removesuffix(".geojson")
        table["source"] = names.where(table["source_file"].notna(), table["source"])
    table = table.drop(columns=[name for name in ("label", "source_file") if name in table])
    return LabelTable(table, found.mended, found.left_out)


def read_mosaiks(
    path: Path | str,
    filters: PointFilters | None = None,
    *,
    class_name: str = "mine",
    other: str = "other",
) -> LabelTable:
    """Read points that people judged, in the form of MOSAIKS's study of Sierra Leone.

    Args:
        path: CSV; see `read_mine_points`.
        filters: Which judgements to trust; ours if None.
        class_name: What places of label 1 become.
        other: What those of label 0 become.

    Returns:
        Points with `mine_type`; `negative` is true of label 0, since somebody looked there.

    Raises:
        See `read_mine_points`.
    """
    found = read_mine_points(path, filters)
    mine = np.asarray(found.table["label"] == 1)
    table = gpd.GeoDataFrame(
        {
            "class": np.where(mine, class_name, other).astype(object),
            "start": pd.Series(pd.NaT, found.table.index, dtype="datetime64[s]"),
            "end": pd.Series(pd.NaT, found.table.index, dtype="datetime64[s]"),
            "source": Path(path).stem,
            NEGATIVE: ~mine,
            "mine_type": found.table["mine_type"],
        },
        geometry=gpd.points_from_xy(found.table["lon"], found.table["lat"], crs="EPSG:4326"),
    )
    left_out = {f"by filter ({why})": count for why, count in found.dropped.items() if count}
    return LabelTable(table, 0, left_out)


def read_ipis_visits(path: Path | str, *, class_name: str = "mine") -> LabelTable:
    """Read IPIS's visits to artisanal mines in DR Congo.

    Args:
        path: `cod_mines_curated_all_opendata_p_ipis.csv`.
        class_name: What the mines become.

    Returns:
        Points with `site` (IPIS's code: visits of one mine share it), `mineral` (the first named,
        in French as in the file) and `placed_by` (GPS, or how else the place was found). The day
        of the visit is start and end.

    Raises:
        See `read_points`.

    Source:
        IPIS open data, ipisresearch.be.
    """
    names = {"pcode": "site", "mineral1": "mineral", "location_origin": "placed_by"}
    columns = LabelColumns(
        class_name=class_name,
        start_column="visit_date",
        end_column="visit_date",
        source="ipis-drc",
        keep=tuple(names),
    )
    found = read_points(path, columns, lon="longitude", lat="latitude")
    return LabelTable(found.table.rename(columns=names), found.mended, found.left_out)


def read_africa_mining_watch(path: Path | str, *, class_name: str = "mine") -> LabelTable:
    """Read Africa Mining Watch's footprints, points with hectares.

    Args:
        path: `detection_points.csv`.
        class_name: What the mines become.

    Returns:
        Points with `radius_m` of a disc of the footprint's area.

    Raises:
        See `read_points`.

    Source:
        Code for Africa and Earth Genome, Africa Mining Watch (CC BY 4.0).
    """
    columns = LabelColumns(class_name=class_name, source="africa-mining-watch")
    return read_points(path, columns, lon="lon", lat="lat", area_column="area_ha")


def discs_around(table: gpd.GeoDataFrame, radius_m: float | None = None) -> gpd.GeoDataFrame:
    """Discs in place of points, as large as the true ones on the ground wherever they lie.

    Args:
        table: Points in EPSG:4326.
        radius_m: Of all; None takes each point's `radius_m`.

    Returns:
        The same table with polygons in place of points, without `radius_m`.

    Raises:
        ConfigError: No radius is known, or it is not above 0.
    """
    if radius_m is None:
        if "radius_m" not in table:
            raise ConfigError("points have no extent; give --radius in metres")
        radii = table["radius_m"].to_numpy(np.float64)
    else:
        radii = np.full(len(table), float(radius_m))
    if not (radii > 0).all() or not np.isfinite(radii).all():
        raise ConfigError("a radius is missing or not above 0; give --radius in metres")
    # As a polygon of equal area: its corners lie a little outside the circle.
    turn = 2 * np.pi / _RIM
    corner = radii * np.sqrt(turn / np.sin(turn))
    azimuths = np.tile(np.arange(_RIM) * 360 / _RIM, len(table))
    lon, lat, _ = pyproj.Geod(ellps="WGS84").fwd(
        np.repeat(table.geometry.x.to_numpy(), _RIM),
        np.repeat(table.geometry.y.to_numpy(), _RIM),
        azimuths,
        np.repeat(corner, _RIM),
    )
    # Azimuths run clockwise, shells counter-clockwise.
    rims = np.stack([lon, lat], axis=-1).reshape(-1, _RIM, 2)[:, ::-1]
    discs = gpd.GeoSeries(shapely.polygons(rims), index=table.index, crs="EPSG:4326")
    facts = table.drop(columns=[name for name in ("radius_m",) if name in table])
    return facts.set_geometry(discs.map(cut_at_180))


def _check_unread_label(frame: pd.DataFrame, where: str) -> tuple[str, ...]:
    """Refuse a column `label` that says no; tell of one whose words are not known."""
    name = next((str(name) for name in frame if str(name).strip().lower() == "label"), None)
    if name is None:
        return ()
    given = frame[name].dropna()
    labels = pd.to_numeric(given.replace({True: 1, False: 0}), errors="coerce")
    zeros = (labels == 0) & bool(labels.dropna().isin((0, 1)).all())
    words = given.astype(str).str.strip().str.removesuffix(".0")
    none = zeros | words.str.casefold().isin(_NONE_WORDS)
    if none.any():
        said = "0" if zeros.any() else str(given[none].iloc[0]).strip()
        raise DataError(
            f"{where}: {name} is {said} in {int(none.sum())} of {len(frame)} rows, and points "
            "would all become one class; read it as CSV with `sluice labels import mosaiks` (1 and "
            f"0), take the classes from it with --class-column {name}, or say with --class what "
            "all are",
            href=where,
        )
    unknown = words[~words.str.casefold().isin(_MINE_WORDS)].unique()
    if not len(unknown):
        return ()
    told = ", ".join(f"{word[:30]!r}" for word in unknown[:_MOST_TOLD])
    more = f" and {len(unknown) - _MOST_TOLD} others" if len(unknown) > _MOST_TOLD else ""
    return (
        f"{where}: {name} says {told}{more}, which was not read: all points became one class. Take "
        f"the classes from it with --class-column {name}, or say with --class what all are",
    )


def _radius_of(area_ha: pd.Series, where: str) -> FloatArray:
    areas = pd.to_numeric(area_ha, errors="coerce").to_numpy(np.float64)
    if (areas <= 0).any():
        raise DataError(f"{where}: {area_ha.name} is not above 0 somewhere; correct it", href=where)
    radius: FloatArray = np.sqrt(areas * _M2_PER_HA / np.pi).astype(np.float64)
    return radius


def _is_positive(name: str, where: str) -> bool:
    lower = name.lower()
    positive = "positive" in lower or lower.startswith("minespos")
    negative = "negative" in lower or lower.startswith("minesneg")
    if positive == negative:
        raise ConfigError(
            f"{where}: neither its name nor a column `label` says whether its points are positives "
            "or negatives; read it as points, with --class",
            href=where,
        )
    return positive
