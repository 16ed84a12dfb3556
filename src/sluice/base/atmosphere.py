"""From the ground to the top of the atmosphere, simply."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sluice.base.arrays import ArrayBHW
from sluice.base.errors import BandNotFound, ShapeMismatch

# Path reflectance and two-way transmission of a clear humid tropical sky, sun 35 degrees from
# the zenith: rounded so that dense forest at the surface becomes dense forest as Sentinel-2 L1C
# shows it there.
CLEAR_SKY: dict[str, tuple[float, float]] = {
    "B01": (0.098, 0.74),
    "B02": (0.067, 0.82),
    "B03": (0.037, 0.87),
    "B04": (0.020, 0.91),
    "B05": (0.015, 0.93),
    "B06": (0.012, 0.94),
    "B07": (0.010, 0.95),
    "B08": (0.009, 0.93),
    "B8A": (0.007, 0.97),
    "B09": (0.003, 0.35),
    "B11": (0.001, 0.96),
    "B12": (0.001, 0.94),
}
"""By Sentinel-2 band: path reflectance, and two-way transmission."""
_HAZE_EXPONENT = 1.2
_HAZE_AT_550_NM = 0.030
_WAVELENGTH_NM = {
    "B01": 443,
    "B02": 493,
    "B03": 560,
    "B04": 665,
    "B05": 704,
    "B06": 741,
    "B07": 783,
    "B08": 833,
    "B8A": 865,
    "B09": 945,
    "B11": 1614,
    "B12": 2202,
}


def to_top_of_atmosphere(
    surface_bhw: ArrayBHW, bands: Sequence[str], *, haze: float = 0.0
) -> ArrayBHW:
    """Turn surface reflectance (L2A) into top-of-atmosphere reflectance (L1C).

    One layer: ``path + transmission * surface``. Haze adds path reflectance that falls with
    wavelength to the power 1.2 (Angstrom's law for smoke and marine aerosol) and dims the
    ground in proportion. No adjacency effect, no terrain, no view angle, no B10.

    Args:
        surface_bhw: (B, H, W) surface reflectance, NaN kept.
        bands: Provider's names, `B02`, for the first axis.
        haze: 0 is a clear sky, 1 a visibly hazy one.

    Returns:
        (B, H, W) float32.

    Raises:
        BandNotFound: A band that this atmosphere does not know.
        ShapeMismatch: `bands` does not fit the first axis.

    Source:
        Form of the equation: Vermote et al. 1997, doi:10.1109/36.581987, without the
        spherical albedo term.
    """
    unknown = [name for name in bands if name not in CLEAR_SKY]
    if unknown:
        raise BandNotFound.from_missing_and_available(
            unknown, tuple(CLEAR_SKY), wanted_by="the simulated atmosphere"
        )
    if len(bands) != surface_bhw.shape[0]:
        raise ShapeMismatch(f"{len(bands)} bands named, array of {surface_bhw.shape[0]} given")
    clear = np.array([CLEAR_SKY[name] for name in bands])
    wavelength = np.array([_WAVELENGTH_NM[name] for name in bands])
    haze_path = haze * _HAZE_AT_550_NM * (wavelength / 550) ** -_HAZE_EXPONENT
    path = clear[:, 0] + haze_path
    transmission = clear[:, 1] * (1 - 2 * haze_path)
    toa = path[:, None, None] + transmission[:, None, None] * surface_bhw
    return np.asarray(toa, dtype=np.float32)
