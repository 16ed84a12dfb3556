"""Tones of pictures: the same over an image, and no data is told apart."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sluice.app.products.map_furniture import NO_IMAGE
from sluice.app.products.picture_tones import grey_tones_of, tones_of

INDEX = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=9),
    elements=st.one_of(st.just(float("nan")), st.floats(-1, 1, width=32)),
)


@settings(max_examples=60)
@given(index=INDEX)
def test_grey_is_black_only_where_there_is_no_data_and_keeps_the_order(index):
    grey = grey_tones_of(index).apply(index)
    assert grey.dtype == np.uint8
    assert np.array_equal(grey == 0, np.isnan(index))
    seen = ~np.isnan(index)
    by_index = np.argsort(index[seen], kind="stable")
    assert (np.diff(grey[seen][by_index].astype(int)) >= 0).all()


def test_a_part_gets_the_tones_of_the_whole():
    rng = np.random.default_rng(1)
    image = rng.uniform(0.02, 0.4, (3, 40, 40)).astype(np.float32)
    image[:, :5, :5] = np.nan
    tones = tones_of(image, brightest_percent=99.5)
    whole = tones.apply(image)
    assert np.array_equal(tones.apply(image[:, 10:20, 3:9]), whole[10:20, 3:9])
    assert (whole[:5, :5] == NO_IMAGE).all()
    assert whole[5:].min() == 0
    assert whole[5:].max() == 255


def test_an_image_of_nothing_and_one_of_one_colour():
    nothing = np.full((3, 4, 5), np.nan, np.float32)
    assert (tones_of(nothing).apply(nothing) == NO_IMAGE).all()
    flat = np.full((3, 4, 5), 0.1, np.float32)
    assert np.isfinite(tones_of(flat).apply(flat)).all()
    assert (grey_tones_of(nothing[0]).apply(nothing[0]) == 0).all()
