"""How sure the model is, in three colours: the same on the quicklook and in QGIS."""

from __future__ import annotations

from dataclasses import dataclass

import geopandas as gpd

RGB = tuple[int, int, int]


@dataclass(frozen=True)
class SureClass:
    """A range of peak probability or score, its colour and its words."""

    upper: float
    """Included; the class begins above the one before."""
    colour: RGB
    label: str


# Light to dark as well as yellow to magenta, so that they differ for colour-blind eyes too, and
# unlike anything on the ground, so that they show on forest, bare soil and water.
_COLOURS: tuple[RGB, RGB, RGB] = ((255, 230, 80), (255, 150, 30), (255, 50, 130))
_PROBABILITY = (
    SureClass(0.1, _COLOURS[0], "probability up to 10 %"),
    SureClass(0.5, _COLOURS[1], "probability 10 to 50 %"),
    SureClass(1.0, _COLOURS[2], "probability above 50 %"),
)
_SCORE = (
    SureClass(0.6, _COLOURS[0], "score up to 0.6"),
    SureClass(0.8, _COLOURS[1], "score 0.6 to 0.8"),
    SureClass(1.0, _COLOURS[2], "score above 0.8"),
)


def sure_column(table: gpd.GeoDataFrame) -> str:
    """The column that says how sure the model is.

    The peak probability where the model is calibrated, else the peak score.
    """
    calibrated = len(table) > 0 and bool(table["probability_peak"].notna().all())
    return "probability_peak" if calibrated else "score_peak"


def classes_of(column: str) -> tuple[SureClass, ...]:
    """The classes of a column that `sure_column` gave, the least sure first."""
    return _PROBABILITY if column == "probability_peak" else _SCORE


def class_of(value: float, classes: tuple[SureClass, ...]) -> SureClass:
    """The first class whose upper bound is not exceeded, else the last."""
    return next((c for c in classes if value <= c.upper), classes[-1])
