"""Indices by name, against their formulas written out."""

import numpy as np
import pytest

from sluice.base.errors import BandNotFound, ConfigError, ShapeMismatch
from sluice.composite.indices import INDICES, compute_index, ndvi

BANDS = {
    "blue": 0.05,
    "green": 0.08,
    "red": 0.10,
    "nir": 0.30,
    "swir16": 0.25,
}
EXPECTED = {
    "ndvi": 0.20 / 0.40,
    "ndwi": -0.22 / 0.38,
    "mndwi": -0.17 / 0.33,
    "bsi": (0.25 + 0.10 - 0.30 - 0.05) / (0.25 + 0.10 + 0.30 + 0.05),
    "ndti": 0.02 / 0.18,
}


@pytest.mark.parametrize("name", INDICES)
def test_formula_and_absence(name: str) -> None:
    index = INDICES[name]
    bands = {band: np.full((1, 4), value, np.float32) for band, value in BANDS.items()}
    first, last = index.bands[0], index.bands[-1]
    bands[first][0, 1] = np.nan
    bands[last][0, 2] = np.nan
    for band in index.bands:
        bands[band][0, 3] = 0
    result = compute_index(name, bands)
    assert result.dtype == np.float32
    assert result[0, 0] == pytest.approx(EXPECTED[name], abs=1e-6)
    assert np.isnan(result[0, 1:]).all()


def test_every_index_has_its_expectation() -> None:
    assert set(EXPECTED) == set(INDICES)
    assert all(name == index.name and index.source for name, index in INDICES.items())


def test_a_missing_band_is_named_beside_those_that_are_there() -> None:
    with pytest.raises(BandNotFound, match=r"swir16 is missing, needed by index mndwi.*green, red"):
        compute_index("mndwi", {"green": np.ones((1, 1)), "red": np.ones((1, 1))})


def test_unknown_index_and_shapes_that_differ() -> None:
    with pytest.raises(ConfigError, match=r"'evi'.*ndvi, ndwi"):
        compute_index("evi", {})
    with pytest.raises(ShapeMismatch):
        ndvi(np.ones((2, 2), np.float32), np.ones((2, 3), np.float32))
