"""What the sites of a scan are, where a model tells several classes of what is sought apart."""

from __future__ import annotations

import re
from collections.abc import Sequence

import geopandas as gpd
import numpy as np
from odc.geo.geobox import GeoBox

from sluice.base.arrays import FloatArray
from sluice.base.classes import NOT_OBSERVED, ClassesHW
from sluice.base.errors import ShapeMismatch
from sluice.sites.area import geodesic_areas_ha
from sluice.sites.outlines import burn_numbers, outline_numbers

CLASS = "class"
"""Column with the name of the class that covers most of a site."""


def class_columns(names: Sequence[str]) -> dict[str, str]:
    """The column with the hectares of each sought class: `class_polluted_river_ha`.

    Args:
        names: A model's classes, the first of which is not sought.

    Returns:
        Column by name; of a model with fewer than three classes none, as they say no more than
        the footprint does. Numbered, `class_1_ha`, where the names do not make distinct words.
    """
    if len(names) < 3:
        return {}
    # A GeoPackage does not tell upper case from lower.
    words = [re.sub(r"\W+", "_", name.casefold()).strip("_") for name in names[1:]]
    if len(set(words)) < len(words) or not all(words):
        words = [str(number) for number in range(1, len(names))]
    return {name: f"class_{word}_ha" for name, word in zip(names[1:], words, strict=True)}


def add_classes(
    detections: gpd.GeoDataFrame, classes: ClassesHW, geobox: GeoBox, names: Sequence[str]
) -> gpd.GeoDataFrame:
    """Say of each site which class covers most of it, and how much each covers.

    Args:
        detections: From `vectorise`.
        classes: (rows, columns) of the same cells, from `name_classes`.
        geobox: Grid of the cells.
        names: Of the classes, by number; three or more.

    Returns:
        The detections with the column `class` (the first of equals) and those of `class_columns`:
        geodesic hectares, which add up to the footprint.

    Raises:
        ShapeMismatch: Classes and grid differ in shape.
    """
    if classes.shape != geobox.shape.yx:
        raise ShapeMismatch(f"classes of {classes.shape} on a grid of {tuple(geobox.shape.yx)}")
    areas = _class_areas_ha(detections, classes, geobox, len(names))[:, 1:]
    found = detections.assign(**dict(zip(class_columns(names).values(), areas.T, strict=True)))
    main = np.array(names[1:], dtype=object)[areas.argmax(axis=1)]
    found.insert(found.columns.get_loc("cells") + 1, CLASS, main)
    return found


def _class_areas_ha(
    detections: gpd.GeoDataFrame, classes: ClassesHW, geobox: GeoBox, count: int
) -> FloatArray:
    """(sites, classes) geodesic hectares."""
    site = burn_numbers(detections.geometry, geobox)
    # One number for each class of each site.
    number = np.where((site > 0) & (classes != NOT_OBSERVED), (site - 1) * count + classes + 1, 0)
    outlines = outline_numbers(number.astype(np.int32, copy=False), geobox)
    areas = np.zeros(len(detections) * count)
    areas[np.array([*outlines], dtype=int) - 1] = geodesic_areas_ha(
        [*outlines.values()], str(geobox.crs)
    )
    return areas.reshape(len(detections), count)
