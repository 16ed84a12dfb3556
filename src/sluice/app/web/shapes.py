"""Shapes that people draw, as requests carry them."""

from __future__ import annotations

from typing import Annotated, Literal

import shapely
from pydantic import Field
from shapely.geometry.base import BaseGeometry

from sluice.app.web.errors import TooLarge
from sluice.app.web.parameters import ReviewBody, Strict
from sluice.base.errors import DataError
from sluice.base.longitudes import degrees_across

WIDEST_DEGREES = 45
"""That a drawn shape may span. Beyond a hemisphere its area could be that of what it leaves out."""

Number = Annotated[float, Field(allow_inf_nan=False, strict=True)]
Position = Annotated[list[Number], Field(min_length=2, max_length=3)]
Ring = Annotated[list[Position], Field(min_length=4)]


class PolygonShape(Strict):
    """A GeoJSON polygon, in longitude and latitude."""

    type: Literal["Polygon"]
    coordinates: Annotated[list[Ring], Field(min_length=1)]


class MultiPolygonShape(Strict):
    """Several."""

    type: Literal["MultiPolygon"]
    coordinates: Annotated[list[Annotated[list[Ring], Field(min_length=1)]], Field(min_length=1)]


Shape = Annotated[PolygonShape | MultiPolygonShape, Field(discriminator="type")]


class OutlinedReview(ReviewBody):
    """A person's verdict on a site, and what they drew around it."""

    outline: Shape | None = None


def read_shape(shape: PolygonShape | MultiPolygonShape, most_vertices: int) -> BaseGeometry:
    """A shape that was drawn, in longitude and latitude.

    Args:
        shape: As it was sent.
        most_vertices: That it may have.

    Raises:
        TooLarge: It has more, or is wider than `WIDEST_DEGREES`.
        DataError: It crosses itself, is open, holds nothing or is not in degrees.
    """
    polygons = shape.coordinates if isinstance(shape, MultiPolygonShape) else [shape.coordinates]
    vertices = sum(len(ring) for polygon in polygons for ring in polygon)
    if vertices > most_vertices:
        raise TooLarge(
            f"the outline has {vertices:,} vertices, and {most_vertices:,} are allowed; simplify it"
        )
    for polygon in polygons:
        for ring in polygon:
            if ring[0] != ring[-1]:
                raise DataError("a ring of the outline is not closed; repeat its first position")
    geometry: BaseGeometry = shapely.force_2d(shapely.from_geojson(shape.model_dump_json()))
    west, south, east, north = geometry.bounds
    if not (-180 <= west <= east <= 180 and -90 <= south <= north <= 90):
        raise DataError(
            f"the outline reaches from {west:g}, {south:g} to {east:g}, {north:g}; give longitude "
            "and latitude in degrees, cut at 180 degrees"
        )
    wide, high = degrees_across(geometry)
    if max(wide, high) > WIDEST_DEGREES:
        raise TooLarge(
            f"the outline is {wide:,.0f} by {high:,.0f} degrees wide, and "
            f"{WIDEST_DEGREES} are allowed; draw a part of it"
        )
    if not shapely.is_valid(geometry):
        raise DataError(
            f"the outline is no valid polygon ({shapely.is_valid_reason(geometry)}); draw it anew"
        )
    return geometry
