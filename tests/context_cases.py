"""Layers of context for tests."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

import geopandas as gpd
from shapely.geometry.base import BaseGeometry

from sluice.base.periods import Period
from sluice.base.places import Layer, LayerKind
from sluice.sites.context import ContextLayer

YEAR = Period(dt.date(2024, 1, 1), dt.date(2024, 12, 31))


def layer(
    kind: str,
    shapes: Sequence[BaseGeometry],
    *,
    buffer_m: float = 0.0,
    crs: str = "EPSG:4326",
    **columns: list[Any],
) -> ContextLayer:
    """A layer whose features are called a, b, c …"""
    count = len(shapes)
    table: dict[str, Any] = {
        "name": [chr(ord("a") + n % 26) for n in range(count)],
        "start": [None] * count,
        "end": [None] * count,
        "properties": [{"id": f"P{n}"} for n in range(count)],
        **columns,
    }
    about = Layer(
        name=kind,
        kind=LayerKind(kind),
        buffer_m=buffer_m,
        source=f"{kind}.gpkg",
        sha256="0" * 64,
        features=count,
        registered=dt.datetime(2024, 1, 1, tzinfo=dt.UTC),
    )
    return ContextLayer(about, gpd.GeoDataFrame(table, geometry=list(shapes), crs=crs))


def places(*shapes: BaseGeometry | None, crs: str = "EPSG:4326") -> gpd.GeoDataFrame:
    """Places to describe."""
    return gpd.GeoDataFrame(geometry=list(shapes), crs=crs)
