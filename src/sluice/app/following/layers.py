"""Registered layers of context: told about, and looked up for places."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from sluice.app.following.layer_files import slope_band
from sluice.base.arrays import FloatArray
from sluice.base.errors import ConfigError
from sluice.base.files import open_raster, sha256_file
from sluice.base.periods import Period
from sluice.base.places import Layer, LayerKind
from sluice.base.store import BBox, Store
from sluice.sites.context import REACH_M, ContextLayer, SlopeOf, Surroundings
from sluice.sites.legality import legalities
from sluice.sites.slope import mean_slopes
from sluice.sites.zones import widened

_WHOLE = {LayerKind.CONCESSIONS, LayerKind.PROTECTED, LayerKind.INDIGENOUS, LayerKind.EXPERT}
"""Kinds that `describe_places` wants whole."""


class LayersAround:
    """A store's layers around some places, read once and asked many times."""

    def __init__(self, store: Store, places: gpd.GeoDataFrame) -> None:
        """Read the layers.

        Args:
            store: With its layers.
            places: All that will be asked of lie within the box around these; in any CRS.

        Raises:
            ConfigError: The raster of a layer of slopes is not there any more, or not the same.
        """
        slopes = [layer for layer in store.layers() if layer.kind is LayerKind.SLOPE]
        self._surroundings = Surroundings(
            layers_around(store, places),
            slope_of=slope_reader(slopes) if slopes and len(places) else None,
        )

    def describe(self, places: gpd.GeoDataFrame, period: Period) -> pd.DataFrame:
        """Context and legality of places.

        Args:
            places: In any CRS.
            period: What "valid" refers to.

        Returns:
            Columns of `sluice.sites.context.COLUMN_KINDS`, `legality`, `legality_why`, on the
            index of `places`.
        """
        found = self._surroundings.describe(places, period)
        return found.join(legalities(found, period))


def layers_around(store: Store, places: gpd.GeoDataFrame) -> list[ContextLayer]:
    """A store's layers but those of slopes, with the features that may matter to some places.

    Args:
        store: With its layers.
        places: In any CRS.
    """
    box = _box_around(places)
    if box is None:
        return []
    return [
        ContextLayer(layer, store.layer_features(layer.name, None if layer.kind in _WHOLE else box))
        for layer in store.layers()
        if layer.kind is not LayerKind.SLOPE
    ]


def slope_reader(layers: Sequence[Layer]) -> SlopeOf:
    """Read slopes from registered rasters; where two overlap, the first by name is taken.

    Args:
        layers: Of the kind `slope`.

    Raises:
        ConfigError: A raster is not there any more, or not the one that was registered.
    """
    for layer in layers:
        path = Path(layer.source)
        if not path.is_file():
            raise ConfigError(
                f"layer {layer.name}: its raster {path} is not there any more; put it back, "
                f"register it again, or `sluice context remove {layer.name}`"
            )
        if sha256_file(path) != layer.sha256:
            raise ConfigError(
                f"layer {layer.name}: its raster {path} has changed since it was registered; "
                f"register it again: sluice context add {layer.name} {path} --kind slope"
            )

    def slopes_of(places: gpd.GeoSeries) -> FloatArray:
        slopes = np.full(len(places), np.nan)
        with ExitStack() as opened:
            for layer in layers:
                raster = opened.enter_context(open_raster(layer.source))
                missing = np.flatnonzero(np.isnan(slopes))
                slopes[missing] = mean_slopes(places.iloc[missing], raster, slope_band(raster))
        return slopes

    return slopes_of


def where_it_lies(features: gpd.GeoDataFrame) -> str:
    """The box around features in words, for a person to see whether it is the right country."""
    west, south, east, north = (float(value) for value in features.total_bounds)
    return (
        f"{_degrees(south, 'SN')} to {_degrees(north, 'SN')}, "
        f"{_degrees(west, 'WE')} to {_degrees(east, 'WE')}"
    )


def layer_summary(features: gpd.GeoDataFrame) -> dict[str, Any]:
    """What a layer holds, as figures: box, kinds of shapes, how many are named, dates."""
    kinds = features.geometry.geom_type.str.removeprefix("Multi").value_counts()
    days = {name: [day for day in features[name] if not pd.isna(day)] for name in ("start", "end")}
    names = [str(name) for name in features["name"] if not pd.isna(name)]
    return {
        "bbox_lonlat": [round(float(side), 5) for side in features.total_bounds],
        "shapes": {str(kind): int(count) for kind, count in kinds.items()},
        "named": len(names),
        "names": sorted(set(names))[:10],
        "with_start": len(days["start"]),
        "with_end": len(days["end"]),
        "first_start": min(days["start"]).isoformat() if days["start"] else None,
        "last_end": max(days["end"]).isoformat() if days["end"] else None,
    }


def summary_text(layer: Layer, features: gpd.GeoDataFrame) -> str:
    """The same for a person."""
    found = layer_summary(features)
    shapes = ", ".join(f"{count:,} {kind}" for kind, count in found["shapes"].items())
    lines = [f"Within {where_it_lies(features)}", f"Shapes: {shapes}"]
    if found["names"]:
        more = ", …" if len(set(features["name"].dropna())) > len(found["names"]) else ""
        lines.append(f"{found['named']:,} with a name: {', '.join(found['names'])}{more}")
    if found["with_start"] or found["with_end"]:
        lines.append(
            f"Dates: {found['with_start']:,} begin (first {found['first_start'] or 'unknown'}), "
            f"{found['with_end']:,} end (last {found['last_end'] or 'unknown'})"
        )
    lines.append(f"File: {layer.source}\nSHA-256: {layer.sha256}")
    if layer.licence:
        lines.append(f"Licence: {layer.licence}")
    lines.append(f"Registered: {layer.registered:%Y-%m-%d %H:%M} UTC")
    return "\n".join(lines)


def far_from_areas(features: gpd.GeoDataFrame, areas: gpd.GeoDataFrame) -> str | None:
    """A warning where no feature lies within reach of any area that is followed, else None."""
    if not len(areas) or not len(features):
        return None
    boxes = widened(areas.to_crs("EPSG:4326").geometry.bounds.to_numpy(), REACH_M)
    tree = shapely.STRtree(np.asarray(features.geometry, dtype=object))
    if tree.query(shapely.box(*boxes.T)).size:
        return None
    swapped = shapely.transform(np.asarray(features.geometry, dtype=object), lambda xy: xy[:, ::-1])
    advice = (
        "with longitude and latitude swapped it would: swap them in the file"
        if shapely.STRtree(swapped).query(shapely.box(*boxes.T)).size
        else "is it the right file, and does it state its true CRS?"
    )
    return (
        f"none of its features lies within {REACH_M / 1000:.0f} km of an area of this store; "
        f"{advice}"
    )


def _box_around(places: gpd.GeoDataFrame) -> BBox | None:
    """The box within which features may matter, None without a place."""
    bounds = places.to_crs("EPSG:4326").total_bounds.reshape(1, 4)
    if not np.isfinite(bounds).all():
        return None
    west, south, east, north = (float(side) for side in widened(bounds, REACH_M)[0])
    # Beyond 180 degrees the world goes on on its other side.
    return (west, south, east, north) if west >= -180 and east <= 180 else (-180, south, 180, north)


def _degrees(value: float, sides: str) -> str:
    return f"{abs(value):.2f} {sides[int(value >= 0)]}"
