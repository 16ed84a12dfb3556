"""What covers the ground, as Sentinel-2 sees it: surface reflectance and how it varies.

Means are rounded values that lie inside the ranges of Sentinel-2 L2A pixels of such places in
the humid tropics (forest, bare ground and ponds of alluvial gold workings in Amazonia) and of
the ECOSTRESS spectral library (doi:10.1016/j.rse.2019.05.015) for roofs and soils. They are
no measurement of any one place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sluice.base.arrays import FloatArray
from sluice.base.sensors import SENSORS

BANDS = tuple(band.name for band in SENSORS["s2-l2a"].bands)
"""Names of the twelve bands, in the order of every spectrum here."""

VEGETATION, BARE, WATER = 4, 5, 6
"""Classes of the scene classification layer (SCL) that clear ground can have."""

# One unit of tilt makes red and infrared brighter and blue darker: iron and humus do that.
_TILT = np.array([-1.3, -1.0, -0.5, 0.4, 0.5, 0.3, 0.2, 0.1, 0.1, 0.1, 0.3, 0.4])


@dataclass(frozen=True)
class Cover:
    """One kind of ground."""

    name: str
    mean_b: tuple[int, ...]
    """Mean reflectance x 10,000 in each of `BANDS`."""
    scl: int
    """Class that the scene classification gives it."""
    object_sd: float
    """Spread of brightness between objects (fields, ponds, roofs), in log units."""
    tilt_sd: float
    """Spread of colour between objects: log units of red against blue."""
    pixel_sd: float
    """Spread of brightness between pixels of an object, relative."""

    def draw(self, rng: np.random.Generator) -> FloatArray:
        """The mean spectrum of one object of this kind.

        Returns:
            (B,) reflectance, unitless.
        """
        mean = np.array(self.mean_b, dtype=np.float64) / 10_000
        brightness = rng.normal(0, self.object_sd)
        tilt = rng.normal(0, self.tilt_sd)
        return np.asarray(mean * np.exp(brightness + tilt * _TILT))


def _cover(
    name: str,
    mean_b: str,
    scl: int,
    *,
    object_sd: float = 0.1,
    tilt_sd: float = 0.05,
    pixel_sd: float = 0.05,
) -> tuple[str, Cover]:
    values = tuple(int(value) for value in mean_b.split())
    return name, Cover(name, values, scl, object_sd, tilt_sd, pixel_sd)


#                     B01  B02  B03  B04  B05  B06  B07  B08  B8A  B09  B11  B12
COVERS: dict[str, Cover] = dict(
    (
        # vegetation
        _cover(
            "forest",
            "200  240  430  240  700 2050 2650 2850 3000 3050 1480  620",
            VEGETATION,
            object_sd=0.06,
            tilt_sd=0.04,
            pixel_sd=0.07,
        ),
        _cover(
            "regrowth",
            "260  320  610  410  980 2450 3050 3300 3450 3450 1850  850",
            VEGETATION,
            pixel_sd=0.07,
        ),
        _cover(
            "pasture_green",
            "290  360  680  510 1080 2300 2750 2950 3150 3200 2350 1150",
            VEGETATION,
            object_sd=0.1,
            pixel_sd=0.06,
        ),
        _cover(
            "pasture_dry",
            "420  520  780 1000 1400 1950 2150 2350 2600 2650 3200 2100",
            VEGETATION,
            object_sd=0.12,
            pixel_sd=0.07,
        ),
        _cover(
            "crop_green",
            "280  330  680  400 1050 3200 4000 4300 4400 4400 1900  850",
            VEGETATION,
            object_sd=0.12,
            tilt_sd=0.1,
        ),
        _cover(
            "crop_ripe",
            "500  620  950 1230 1700 2300 2500 2700 2900 2900 3400 2300",
            VEGETATION,
            object_sd=0.15,
            tilt_sd=0.08,
        ),
        # bare ground
        _cover(
            "bare_field",
            "420  560  860 1450 1700 1900 2050 2200 2400 2450 3100 2600",
            BARE,
            object_sd=0.22,
            tilt_sd=0.12,
            pixel_sd=0.06,
        ),
        _cover(
            "laterite_road",
            "550  720 1150 1900 2200 2450 2600 2750 2900 2900 3500 2800",
            BARE,
            object_sd=0.15,
            pixel_sd=0.1,
        ),
        _cover(
            "sandbar",
            "1300 1500 1950 2250 2400 2550 2650 2750 2850 2900 3300 2800",
            BARE,
            object_sd=0.3,
            tilt_sd=0.12,
            pixel_sd=0.07,
        ),
        _cover(
            "shore",
            "1000 1250 2100 2500 2650 2800 2900 3000 3100 3100 3600 3000",
            BARE,
            object_sd=0.25,
            tilt_sd=0.1,
            pixel_sd=0.07,
        ),
        _cover(
            "mud",
            "600  720 1000 1150 1250 1400 1480 1550 1650 1650 1900 1400",
            BARE,
            object_sd=0.2,
            tilt_sd=0.1,
        ),
        _cover(
            "mine_ochre",
            "550  720 1150 1700 2000 2250 2400 2550 2750 2800 3500 2750",
            BARE,
            object_sd=0.2,
            tilt_sd=0.12,
            pixel_sd=0.14,
        ),
        _cover(
            "mine_sand",
            "1500 1750 2300 2700 2950 3100 3200 3300 3400 3400 4100 3500",
            BARE,
            object_sd=0.2,
            tilt_sd=0.06,
            pixel_sd=0.14,
        ),
        _cover(
            "mine_tailings",
            "800  950 1280 1520 1700 1850 1950 2050 2200 2250 2750 2250",
            BARE,
            object_sd=0.2,
            tilt_sd=0.06,
            pixel_sd=0.12,
        ),
        # roofs and yards
        _cover(
            "roof_metal",
            "1700 1900 2050 2150 2250 2300 2350 2400 2450 2400 2600 2300",
            BARE,
            object_sd=0.4,
            tilt_sd=0.03,
        ),
        _cover(
            "roof_tile",
            "650  800 1150 1850 2100 2300 2400 2500 2600 2600 3100 2700",
            BARE,
            object_sd=0.25,
        ),
        _cover(
            "yard",
            "700  880 1300 1950 2200 2400 2500 2600 2700 2700 3200 2700",
            BARE,
            object_sd=0.3,
            tilt_sd=0.15,
            pixel_sd=0.15,
        ),
        _cover(
            "asphalt",
            "700  800  950 1050 1100 1200 1250 1300 1400 1400 1600 1400",
            BARE,
            object_sd=0.15,
            pixel_sd=0.08,
        ),
        # water
        _cover(
            "river_clear",
            "380  420  480  330  260  170  150  120  100   80   50   30",
            WATER,
            object_sd=0.2,
            tilt_sd=0.08,
            pixel_sd=0.03,
        ),
        _cover(
            "river_turbid",
            "550  660 1100 1260 1210  720  700  580  400  280   60   40",
            WATER,
            object_sd=0.3,
            tilt_sd=0.06,
            pixel_sd=0.02,
        ),
        _cover(
            "reservoir",
            "600  780 1180  530  450  230  220  190  140  100   50   30",
            WATER,
            object_sd=0.25,
            tilt_sd=0.1,
            pixel_sd=0.02,
        ),
        _cover(
            "fish_pond",
            "420  500  760  620  600  350  340  280  200  150   60   40",
            WATER,
            object_sd=0.35,
            tilt_sd=0.2,
            pixel_sd=0.03,
        ),
        _cover(
            "pond_turquoise",
            "1000 1250 1750 1350 1050  600  560  420  300  220   60   40",
            WATER,
            object_sd=0.3,
            tilt_sd=0.1,
            pixel_sd=0.04,
        ),
        _cover(
            "pond_orange",
            "420  560 1080 1750 1850 1250 1230 1000  680  420   70   50",
            WATER,
            object_sd=0.25,
            tilt_sd=0.12,
            pixel_sd=0.04,
        ),
        _cover(
            "pond_milky",
            "800 1000 1550 1850 1850 1350 1330 1080  760  460   80   50",
            WATER,
            object_sd=0.3,
            tilt_sd=0.08,
            pixel_sd=0.04,
        ),
        _cover(
            "pond_green",
            "350  430  850  520  560  380  370  310  230  170   60   40",
            WATER,
            object_sd=0.3,
            tilt_sd=0.1,
            pixel_sd=0.04,
        ),
        _cover(
            "pond_dark",
            "260  300  400  310  270  190  180  150  120  100   50   30",
            WATER,
            object_sd=0.25,
            tilt_sd=0.1,
            pixel_sd=0.04,
        ),
    )
)

CLOUD_B = (
    np.array([7000, 7000, 6900, 6900, 7000, 7000, 7000, 7000, 7000, 6800, 4800, 3900]) / 10_000
)
"""Reflectance of thick cloud, (B,)."""

SHADOW_B = np.array([0.62, 0.58, 0.5, 0.44, 0.42, 0.4, 0.38, 0.36, 0.35, 0.35, 0.3, 0.3])
"""What is left of the ground's reflectance in a cloud's shadow, (B,): blue skylight fills it."""
