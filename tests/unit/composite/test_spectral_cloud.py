"""The spectral cloud test, on spectra of known things."""

import numpy as np
import pytest

from sluice.base.errors import BandNotFound
from sluice.composite.clear import CLEAR, CLOUD, sort_sky
from sluice.composite.spectral_cloud import BANDS, classify_by_spectrum

# Top of atmosphere: blue, green, red, nir, swir16, swir22; typical values of the literature.
SPECTRA = {
    "thick cloud": ((0.55, 0.54, 0.56, 0.65, 0.50, 0.40), True),
    "thin cloud": ((0.24, 0.22, 0.22, 0.40, 0.28, 0.18), True),
    "forest": ((0.10, 0.09, 0.06, 0.35, 0.16, 0.07), False),
    "water": ((0.11, 0.08, 0.05, 0.03, 0.01, 0.01), False),
    "snow": ((0.80, 0.80, 0.78, 0.70, 0.05, 0.04), False),
    "laterite": ((0.11, 0.14, 0.22, 0.30, 0.38, 0.30), False),
    "bright rock": ((0.28, 0.32, 0.36, 0.38, 0.55, 0.50), False),
}


@pytest.mark.parametrize("name", SPECTRA)
def test_spectra(name: str) -> None:
    values, is_cloud = SPECTRA[name]
    bands = {band: np.full((3, 3), v, np.float32) for band, v in zip(BANDS, values, strict=True)}
    assert (classify_by_spectrum(bands) == (CLOUD if is_cloud else CLEAR)).all()


def test_absent_is_neither_and_does_not_grow() -> None:
    values, _ = SPECTRA["thick cloud"]
    bands = {band: np.full((1, 9), v, np.float32) for band, v in zip(BANDS, values, strict=True)}
    for band, value in zip(BANDS, SPECTRA["forest"][0], strict=True):
        bands[band][0, 1:8] = value
    bands["nir"][0, 8] = np.nan
    sky = sort_sky(classify_by_spectrum(bands), grow_px=2)
    assert sky.cloud[0].tolist() == [True] * 3 + [False] * 6
    assert sky.clear[0].tolist() == [False] * 3 + [True] * 5 + [False]


def test_missing_bands_are_named() -> None:
    with pytest.raises(BandNotFound, match="swir22 is missing"):
        classify_by_spectrum({band: np.zeros((1, 1), np.float32) for band in BANDS[:-1]})
