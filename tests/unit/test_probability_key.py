"""The legend tells the colours that tiles of probabilities have."""

import numpy as np

from map_code import asker
from sluice.app.web.image_tiles import colour_probabilities


def test_the_key_has_the_colours_of_the_tiles() -> None:
    ramp, unseen = asker("map/ramp.ts", "RAMP, UNSEEN", "[RAMP, UNSEEN]")([0])[0]
    shares = np.array([[stop["share"] for stop in ramp]], np.float32)
    # Nothing is drawn at the first one itself.
    shares[0, 0] += 1e-5
    drawn = colour_probabilities(shares)[0].astype(int)
    assert np.abs(drawn - [stop["colour"] for stop in ramp]).max() <= 1
    assert colour_probabilities(np.full((1, 1), np.nan, np.float32))[0, 0].tolist() == unseen
    assert colour_probabilities(np.full((1, 1), 0.0099, np.float32))[0, 0, 3] == 0
    full = colour_probabilities(np.array([[0.9, 0.99]], np.float32))[0]
    assert np.array_equal(*full)
