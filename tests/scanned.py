"""Outlines as scans leave them."""

from typing import Any

import numpy as np
import shapely
from hypothesis import strategies as st


def outline(cells: Any, *, pixel: float, noise: float, seed: int) -> shapely.Geometry:
    """Pixels of a grid that lies askew, in degrees, with holes and parts that touch.

    Args:
        cells: (H, W) of bool.
        pixel: Their size, in degrees.
        noise: By which their edges lie off, as parts that were put together leave them.
        seed: Of the noise.
    """
    rng = np.random.default_rng(seed)
    rows, columns = np.nonzero(cells)
    lon, lat = -56.0431 + columns * pixel, -6.3794 + rows * pixel
    off = rng.uniform(-noise, noise, (4, len(rows)))
    boxes = shapely.box(lon + off[0], lat + off[1], lon + pixel + off[2], lat + pixel + off[3])
    # Turned before they are joined: to turn the whole could make it invalid by a last digit.
    askew = shapely.affinity.rotate(shapely.GeometryCollection([*boxes]), 0.4, (-56.04, -6.38))
    return shapely.union_all(shapely.get_parts(askew))


@st.composite
def outlines(draw: st.DrawFn) -> shapely.Geometry:
    size = draw(st.integers(2, 7))
    cells = np.array(draw(st.lists(st.booleans(), min_size=size**2, max_size=size**2)))
    shape = outline(
        cells.reshape(size, size),
        pixel=draw(st.sampled_from([9e-5, 2e-5, 3e-6])),
        noise=draw(st.sampled_from([0, 1e-9, 2e-7, 7e-7])),
        seed=draw(st.integers(0, 99)),
    )
    return shape if not shape.is_empty else shapely.box(0, 0, 1e-4, 1e-4)
