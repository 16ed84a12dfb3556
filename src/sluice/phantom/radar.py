"""A series as Sentinel-1 sees it: backscatter with speckle, day or night, through cloud."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from odc.geo.geobox import GeoBox
from rasterio import features
from scipy import ndimage, special

from sluice.base.arrays import ArrayBHW, BoolHW, FloatArray
from sluice.phantom.fields import correlated_noise
from sluice.phantom.series import PhantomSeries
from sluice.phantom.spectra import BARE, WATER

POLARISATIONS = ("vv", "vh")
LOOKS = 4.4
"""Equivalent number of looks of Sentinel-1 IW GRD at full resolution."""

LEVELS_DB: dict[str, tuple[float, float]] = {
    "forest": (-7.5, -12.8),
    "grass": (-10.5, -16.5),
    "bare": (-12.0, -20.0),
    "water": (-20.0, -26.5),
    "built": (-4.5, -11.5),
}
"""Gamma naught of VV and VH in dB, rounded, of flat ground in the humid tropics at about 38
degrees of incidence: forest and its loss after Reiche et al. 2021 (doi:10.1088/1748-9326/abd0a8),
calm water near the instrument's noise, which is about -22 dB in VV at the worst."""
_PASS_SD_DB = {"forest": 0.2, "grass": 0.5, "bare": 0.7, "water": 1.2, "built": 0.2}
# Rough water is brighter, but never like land.
_BRIGHTEST_WATER_DB = (-16.0, -23.5)
_ORBIT_DB = {"ascending": 0.15, "descending": -0.15}
_SPREAD_PX = 0.8
_SPECKLE_PX = 0.5
_NORMAL_MOST = 6.0
_CHANCE = 100  # beside the series' own kinds of chance


@dataclass(frozen=True)
class RadarPass:
    """When and how the satellite comes over."""

    acquired_at: dt.datetime
    """UTC."""
    orbit_state: str
    """`ascending` or `descending`."""
    relative_orbit: int


@dataclass(frozen=True)
class RadarScene:
    """One pass over a series."""

    flown: RadarPass
    gamma0_bhw: ArrayBHW
    """(2, H, W) float32, VV and VH, linear power, terrain-corrected gamma naught; NaN beyond
    the swath."""
    expected_bhw: ArrayBHW
    """The same without speckle: what endless looks would average to."""
    geobox: GeoBox


def spread_passes(first: dt.date, last: dt.date, every_days: int = 12) -> tuple[RadarPass, ...]:
    """Passes of a period, ascending and descending in turn, each orbit every so many days."""
    passes = []
    for number in range(2 * ((last - first).days // every_days) + 2):
        day = first + dt.timedelta(days=number * every_days // 2)
        if day <= last:
            descending = number % 2 == 0
            clock = dt.time(9, 20, 12) if descending else dt.time(21, 32, 40)
            moment = dt.datetime.combine(day, clock, dt.UTC)
            state, orbit = ("descending", 39) if descending else ("ascending", 119)
            passes.append(RadarPass(moment, state, orbit))
    return tuple(passes)


def radar_scene(
    series: PhantomSeries, flown: RadarPass, *, beyond_swath: float = 0.0
) -> RadarScene:
    """What one pass sees.

    Args:
        series: The land and its mines; its clouds do not matter.
        flown: The pass.
        beyond_swath: Part of the scene's side that a corner beyond the swath's edge takes off.
    """
    day = flown.acquired_at.date()
    rng = series.rng(_CHANCE, int(flown.acquired_at.timestamp()))
    shares = _cover_shares(series, day)
    orbit_db = _ORBIT_DB.get(flown.orbit_state, 0.0)
    expected = np.zeros((2, *series.geobox.shape.yx), dtype=np.float32)
    for name, levels_db in LEVELS_DB.items():
        # Rain and wind change both polarisations alike.
        level = np.array(levels_db) + rng.normal(0, _PASS_SD_DB[name])
        if name == "water":
            level = np.minimum(level, _BRIGHTEST_WATER_DB)
        elif name != "bare":
            level = level + orbit_db
        expected += (10 ** (level / 10))[:, None, None].astype(np.float32) * shares[name]
    for image in expected:
        image[:] = ndimage.gaussian_filter(image, _SPREAD_PX)
    gamma0 = np.stack([image * _speckle(image.shape, rng) for image in expected])
    outside = _beyond(series.geobox.shape.yx, beyond_swath)
    gamma0[:, outside] = np.nan
    return RadarScene(flown, gamma0, expected, series.geobox)


def _cover_shares(series: PhantomSeries, day: dt.date) -> dict[str, np.ndarray]:
    """Which part of each pixel is what, (H, W) each; they add up to 1."""
    ground, scl = series.ground_at(day, ["B11"])
    water, bare = (scl == WATER).astype(np.float32), (scl == BARE).astype(np.float32)
    built = _built(series) * (1 - water)
    bare = bare * (1 - built)
    plants = 1 - water - built - bare
    # Canopy water absorbs in the short-wave infrared: forest is dark there, grass is not.
    grass = np.clip((ground[0] - 0.16) / 0.10, 0, 1) * plants
    return {"water": water, "bare": bare, "built": built, "grass": grass, "forest": plants - grass}


def _built(series: PhantomSeries) -> np.ndarray:
    towns = series.confusers[series.confusers["kind"] == "settlement"]
    shape = series.geobox.shape.yx
    if towns.empty:
        return np.zeros(shape, dtype=np.float32)
    burnt = features.rasterize(towns.geometry, shape, transform=series.geobox.affine)
    return np.asarray(0.5 * (burnt > 0), dtype=np.float32)


def _speckle(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Multiplicative noise of mean 1, gamma distributed, alike in neighbouring pixels."""
    height, width = shape
    normal = correlated_noise((height, width), rng, scale_px=_SPECKLE_PX, slope=3)
    values, rises = _gamma_of_normal()
    # As `np.interp` does it, which looks for each pixel's node though they are even.
    place = (normal.astype(np.float64) + _NORMAL_MOST) * (len(rises) / (2 * _NORMAL_MOST))
    node = np.clip(place.astype(np.intp), 0, len(rises) - 1)
    share = np.clip(place - node, 0, 1)
    return (values[node] + rises[node] * share).astype(np.float32)


@lru_cache(maxsize=1)
def _gamma_of_normal() -> tuple[FloatArray, FloatArray]:
    """What the speckle is at even standard normal numbers, and how it rises to the next."""
    nodes = np.linspace(-_NORMAL_MOST, _NORMAL_MOST, 4001)
    values = special.gammaincinv(LOOKS, special.ndtr(nodes)) / LOOKS
    return values[:-1], np.diff(values)


def _beyond(shape: tuple[int, int], share: float) -> BoolHW:
    """True in a triangle at the upper left corner."""
    row, col = np.ogrid[: shape[0], : shape[1]]
    return np.asarray(row / shape[0] + col / shape[1] < share)
