"""What lies at and around places: flags, shares, distances and names from registered layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd

from sluice.base.arrays import BoolHW, FloatArray, IntArray
from sluice.base.periods import Period
from sluice.base.places import Layer, LayerKind
from sluice.sites.shares import Overlaps, nearest, overlaps, total_share
from sluice.sites.zones import NearPieces, Zone, cut_into_pieces, widened, zones_of

_DECIMALS = 4
REACH_M = 50_000.0
"""Beyond this distance a layer says nothing."""

SlopeOf = Callable[[gpd.GeoSeries], FloatArray]
"""Gives the mean slope of places, in degrees, NaN where it is not known."""

_FLAGS = {
    LayerKind.SETTLEMENTS: ("in_settlement", "settlement"),
    LayerKind.ROADS: ("on_road", "road"),
    LayerKind.CONCESSIONS: ("in_concession", "concession"),
    LayerKind.PROTECTED: ("in_protected", "protected"),
    LayerKind.INDIGENOUS: ("in_indigenous", "indigenous"),
    LayerKind.EXPERT: ("in_expert", "expert"),
}
"""Kinds that a place can lie in: the flag, and how columns of the kind begin."""
_NEAREST = {
    LayerKind.RIVERS: "river",
    LayerKind.ROADS: "road",
    LayerKind.SETTLEMENTS: "settlement",
    LayerKind.AIRSTRIPS: "airstrip",
    LayerKind.CONCESSIONS: "concession",
    LayerKind.PROTECTED: "protected",
    LayerKind.INDIGENOUS: "indigenous",
}
_NAMED_NEAREST = {LayerKind.RIVERS, LayerKind.SETTLEMENTS, LayerKind.AIRSTRIPS}
"""Of the others the name is that of the feature that the place lies in."""
_INVENTORIES = {LayerKind.CONCESSIONS, LayerKind.PROTECTED, LayerKind.INDIGENOUS, LayerKind.EXPERT}
"""Kinds whose layers, within their reach, are taken to be complete."""

COLUMN_KINDS: dict[str, str] = {
    "in_settlement": "flag",
    "settlement_share": "number",
    "settlement_m": "number",
    "settlement_name": "text",
    "on_road": "flag",
    "road_share": "number",
    "road_m": "number",
    "river_m": "number",
    "river_name": "text",
    "airstrip_m": "number",
    "airstrip_name": "text",
    "in_concession": "flag",
    "concession_share": "number",
    "concession_valid_share": "number",
    "concession_m": "number",
    "concession_name": "text",
    "concession_id": "text",
    "concession_start": "date",
    "concession_end": "date",
    "in_protected": "flag",
    "protected_share": "number",
    "protected_m": "number",
    "protected_name": "text",
    "in_indigenous": "flag",
    "indigenous_share": "number",
    "indigenous_m": "number",
    "indigenous_name": "text",
    "in_expert": "flag",
    "expert_share": "number",
    "expert_name": "text",
    "district": "text",
    "slope_deg": "number",
}
"""Columns of `describe_places`. A flag is True, False, or None where no layer says anything; a
number is NaN there, a text or date None."""


@dataclass(frozen=True)
class ContextLayer:
    """A registered layer, and its features."""

    layer: Layer
    features: gpd.GeoDataFrame
    """As `Store.layer_features` gives them: `name`, `start`, `end`, `properties`, `geometry` in
    any CRS. Those around the places are enough, but of concessions, protected and indigenous
    areas and expert masks all: their box tells where the layer is silent."""


def describe_places(
    places: gpd.GeoDataFrame,
    layers: Sequence[ContextLayer],
    period: Period,
    *,
    slope_of: SlopeOf | None = None,
) -> pd.DataFrame:
    """Say what lies at and around each place.

    Shares are of the place's area within features and their buffers; ground in two of them counts
    once. Distances run from the place's edge to the feature's own edge, without its buffer, in UTM
    (off by less than 0.2 %); 0 where they meet, NaN where there is nothing within `REACH_M`.

    A feature counts only in the time between its `start` and `end`, where it has them. Concessions
    count always, as it matters that one has run out: `concession_valid_share` is the part within
    those valid on some day of the period, and the concession that is named is the valid one with
    the largest share, else the one with the largest share, the nearer in time of equals.

    An inventory (concessions, protected and indigenous areas, expert masks) is silent about places
    more than `REACH_M` outside of the box around its features: None there, not False.

    Args:
        places: Polygons or points in any CRS; a place is taken to be less than 100 km wide.
        layers: Registered layers; those of `LayerKind.SLOPE` are left to `slope_of`.
        period: What "valid" refers to.
        slope_of: Gives slopes.

    Returns:
        The columns of `COLUMN_KINDS` on the index of `places`.
    """
    return Surroundings(layers, slope_of=slope_of).describe(places, period)


class Surroundings:
    """Layers made ready to be asked: of several groups of places, each for its own period."""

    def __init__(self, layers: Sequence[ContextLayer], *, slope_of: SlopeOf | None = None) -> None:
        """Sort and cut the features; see `describe_places`."""
        groups: dict[LayerKind, list[ContextLayer]] = {}
        for layer in layers:
            if layer.layer.kind is not LayerKind.SLOPE:
                groups.setdefault(layer.layer.kind, []).append(layer)
        self._features = [_Features(group, kind) for kind, group in groups.items()]
        self._slope_of = slope_of

    def describe(self, places: gpd.GeoDataFrame, period: Period) -> pd.DataFrame:
        """See `describe_places`."""
        found = _Table(len(places))
        zones = list(zones_of(places.geometry))
        for features in self._features:
            kind, pieces = features.kind, features.pieces_in(period)
            for zone in zones:
                near = pieces.around(zone, REACH_M if kind in _NEAREST else 0.0)
                if kind in _NEAREST:
                    metres, which = nearest(zone, near, REACH_M)
                    found.put(f"{_NEAREST[kind]}_m", zone.rows, metres)
                    if kind in _NAMED_NEAREST:
                        found.put(f"{_NEAREST[kind]}_name", zone.rows, features.names_at(which))
                if kind in _FLAGS or kind is LayerKind.DISTRICTS:
                    _put_overlaps(found, zone, overlaps(zone, near), features, period)
        if self._slope_of is not None and len(places):
            found.columns["slope_deg"] = self._slope_of(places.geometry)
        return found.frame(places.index)


def counts_in(features: gpd.GeoDataFrame, period: Period) -> BoolHW:
    """Whether features are there, or valid, on some day of a period; without dates they are."""
    start, end = (_dates(_column([features], name)) for name in ("start", "end"))
    return _overlapping(start, end, period)


def as_records(context: pd.DataFrame) -> list[dict[str, Any]]:
    """A row each as JSON takes it, without what is not known: `Site.context`.

    Args:
        context: From `describe_places`; other columns are left out.
    """
    records: list[dict[str, Any]] = [{} for _ in range(len(context))]
    for name, kind in COLUMN_KINDS.items():
        column = context[name]
        known = np.flatnonzero(column.notna().to_numpy())
        values = column.iloc[known]
        if kind == "number":
            values = values.astype(float).round(_DECIMALS)
        told = values.tolist()
        if kind == "date":
            told = [value.isoformat() for value in told]
        for row, value in zip(known.tolist(), told, strict=True):
            records[row][name] = value
    return records


class _Features:
    """All features of a kind, of all layers."""

    def __init__(self, group: Sequence[ContextLayer], kind: LayerKind) -> None:
        frames = [layer.features.to_crs("EPSG:4326") for layer in group]
        self.kind = kind
        self.name = _column(frames, "name")
        self.start = _dates(_column(frames, "start"))
        self.end = _dates(_column(frames, "end"))
        self.properties = _column(frames, "properties")
        self.bounds = [frame.total_bounds for frame in frames]
        self._pieces = cut_into_pieces(
            [
                (np.asarray(frame.geometry, dtype=object), layer.layer.buffer_m)
                for frame, layer in zip(frames, group, strict=True)
            ]
        )
        self._last: tuple[bytes, NearPieces] | None = None

    def valid_in(self, period: Period) -> BoolHW:
        """Which of them are there, or valid, on some day of a period."""
        return _overlapping(self.start, self.end, period)

    def days_apart(self, period: Period) -> FloatArray:
        """Days between each one's time and a period."""
        first, last = np.datetime64(period.start, "s"), np.datetime64(period.end, "s")
        return np.asarray(np.maximum(_days(self.start - last), _days(first - self.end)))

    def pieces_in(self, period: Period) -> NearPieces:
        """Pieces of those that count in a period; of concessions all do."""
        counts = self.valid_in(period)
        if self.kind is LayerKind.CONCESSIONS:
            counts = np.ones_like(counts)
        key = counts.tobytes()
        # Most layers have no dates, so that those of the last period do for the next as well.
        if self._last is None or self._last[0] != key:
            self._last = key, NearPieces(self._pieces.part(counts[self._pieces.feature]))
        return self._last[1]

    def names_at(self, which: IntArray) -> npt.NDArray[Any]:
        """Their names, None for -1."""
        return _taken(self.name, which)

    def ids_at(self, which: IntArray) -> npt.NDArray[Any]:
        """Their `id` among the properties, None for -1 and where there is none."""
        known = which >= 0
        ids = np.full(len(which), None, object)
        for row in np.flatnonzero(known):
            properties = self.properties[which[row]]
            value = properties.get("id") if isinstance(properties, Mapping) else None
            ids[row] = None if value is None else str(value)
        return ids


class _Table:
    """Columns that fill zone by zone."""

    def __init__(self, length: int) -> None:
        self.columns: dict[str, npt.NDArray[Any]] = {
            name: np.full(length, np.nan) if kind == "number" else np.full(length, None, object)
            for name, kind in COLUMN_KINDS.items()
        }

    def put(self, name: str, rows: IntArray, values: npt.NDArray[Any]) -> None:
        self.columns[name][rows] = values

    def frame(self, index: pd.Index[Any]) -> pd.DataFrame:
        series = {
            name: pd.Series(values, index=index, dtype=float if kind == "number" else object)
            for (name, values), kind in zip(
                self.columns.items(), COLUMN_KINDS.values(), strict=True
            )
        }
        return pd.DataFrame(series, index=index)


def _put_overlaps(
    found: _Table, zone: Zone, pairs: Overlaps, features: _Features, period: Period
) -> None:
    """Flag, shares and names of one kind."""
    kind, count = features.kind, len(zone.places)
    usable = features.valid_in(period)
    main = _main_feature(pairs, usable, features.days_apart(period), count)
    if kind is LayerKind.DISTRICTS:
        found.put("district", zone.rows, features.names_at(main))
        return
    flag, stem = _FLAGS[kind]
    known = _reached(zone, features)
    every = np.ones(len(pairs.place), np.bool_)
    share = np.where(known, total_share(pairs, zone.places, every), np.nan)
    flags = np.full(count, None, object)
    flags[known] = [bool(value) for value in share[known] > 0]
    found.put(flag, zone.rows, flags)
    found.put(f"{stem}_share", zone.rows, share)
    if f"{stem}_name" in COLUMN_KINDS and kind not in _NAMED_NEAREST:
        found.put(f"{stem}_name", zone.rows, features.names_at(main))
    if kind is LayerKind.CONCESSIONS:
        valid = total_share(pairs, zone.places, usable[pairs.feature])
        found.put("concession_valid_share", zone.rows, np.where(known, valid, np.nan))
        found.put("concession_id", zone.rows, features.ids_at(main))
        found.put("concession_start", zone.rows, _taken(_as_dates(features.start), main))
        found.put("concession_end", zone.rows, _taken(_as_dates(features.end), main))


def _main_feature(pairs: Overlaps, valid: BoolHW, apart: FloatArray, count: int) -> IntArray:
    """The feature that names a place, -1 where it meets none."""
    apart = np.where(valid, 0.0, apart)[pairs.feature]
    order = np.lexsort((pairs.feature, apart, -pairs.share, ~valid[pairs.feature], pairs.place))
    place, first = np.unique(pairs.place[order], return_index=True)
    main = np.full(count, -1, np.int64)
    main[place] = pairs.feature[order][first]
    return main


def _reached(zone: Zone, features: _Features) -> BoolHW:
    """Whether some layer of an inventory says anything of a place."""
    known: BoolHW = np.full(len(zone.places), features.kind not in _INVENTORIES)
    if known.all():
        return known
    west, south, east, north = widened(zone.boxes_lonlat, REACH_M).T
    for bounds in features.bounds:
        # Without a feature they are NaN, and nothing is reached.
        known |= (
            (west <= bounds[2]) & (east >= bounds[0]) & (south <= bounds[3]) & (north >= bounds[1])
        )
    return known


def _column(frames: Sequence[gpd.GeoDataFrame], name: str) -> npt.NDArray[Any]:
    """One column of several tables, None where it is absent or empty."""
    values = [
        value
        for frame in frames
        for value in (frame[name].tolist() if name in frame else [None] * len(frame))
    ]
    column = np.full(len(values), None, object)
    for row, value in enumerate(values):
        if isinstance(value, Mapping) or not (value is None or pd.isna(value) or value == ""):
            column[row] = value
    return column


def _dates(values: npt.NDArray[Any]) -> npt.NDArray[np.datetime64]:
    """(n,) datetime64[s], NaT for None."""
    return np.array(
        ["NaT" if value is None else pd.Timestamp(value).date().isoformat() for value in values],
        dtype="datetime64[s]",
    )


def _overlapping(
    start: npt.NDArray[np.datetime64], end: npt.NDArray[np.datetime64], period: Period
) -> BoolHW:
    first, last = np.datetime64(period.start, "s"), np.datetime64(period.end, "s")
    # A comparison with NaT is False.
    return np.asarray(~(start > last) & ~(end < first))


def _as_dates(values: npt.NDArray[np.datetime64]) -> npt.NDArray[Any]:
    """`datetime.date` objects, None for NaT."""
    return np.asarray(values.astype("datetime64[D]").astype(object))


def _days(span: npt.NDArray[np.timedelta64]) -> FloatArray:
    days = span.astype("timedelta64[D]").astype(float)
    days[np.isnat(span)] = 0
    return np.asarray(np.clip(days, 0, None))


def _taken(values: npt.NDArray[Any], which: IntArray) -> npt.NDArray[Any]:
    """Values by number, None for -1."""
    taken = np.full(len(which), None, object)
    taken[which >= 0] = values[which[which >= 0]]
    return taken
