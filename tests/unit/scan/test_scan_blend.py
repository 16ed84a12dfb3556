import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.base.errors import ShapeMismatch
from sluice.base.windows import ScoredWindows, WindowLattice
from sluice.scan.blend import blend


def plain_blend(windows: ScoredWindows) -> tuple[np.ndarray, tuple[float, float]]:
    """The rule of `blend`, cell by cell and window by window."""
    lattice = windows.lattice
    size, stride = lattice.window_px, lattice.stride_px
    origin = (size - stride) / 2
    while origin > 0:
        origin -= stride
    centres = [
        [origin + stride * (i + 0.5) for i in range(99) if origin + stride * i < length]
        for length in lattice.shape
    ]
    out = np.full([len(c) for c in centres], np.nan)
    for i, y in enumerate(centres[0]):
        for j, x in enumerate(centres[1]):
            weighted = total = 0.0
            edge = []
            inside_y = min(max(y, 0), lattice.shape[0])
            inside_x = min(max(x, 0), lattice.shape[1])
            for r, row in enumerate(lattice.rows):
                for c, col in enumerate(lattice.cols):
                    score = float(windows.scores[r, c])
                    if (
                        np.isnan(score)
                        or not row <= inside_y <= row + size
                        or not col <= inside_x <= col + size
                    ):
                        continue
                    dy, dx = abs(y - row - size / 2), abs(x - col - size / 2)
                    edge.append((int(dy >= size / 2) + int(dx >= size / 2), score, dy, dx))
                    if dy < size / 2 and dx < size / 2:
                        weight = (np.cos(np.pi * dy / size) * np.cos(np.pi * dx / size)) ** 2
                        weighted += weight * score
                        total += weight
            if total > 0:
                out[i, j] = weighted / total
            elif edge:
                fewest = min(e[0] for e in edge)
                last = [e for e in edge if e[0] == fewest]
                weights = [
                    np.prod([np.cos(np.pi * d / size) ** 2 for d in e[2:] if d < size / 2])
                    for e in last
                ]
                out[i, j] = np.average([e[1] for e in last], weights=weights)
    return out, (origin, origin)


@st.composite
def scored(draw: st.DrawFn, scan_fakes) -> ScoredWindows:
    window = draw(st.integers(1, 12))
    stride = draw(st.integers((window + 3) // 4, window))
    side = st.integers(1, 6 * stride + window)
    shape = draw(st.tuples(side, side))
    lattice = WindowLattice(shape, window, stride)
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    scores = rng.random(lattice.size, dtype=np.float32)
    scores[rng.random(lattice.size) < draw(st.sampled_from([0.0, 0.3, 0.9]))] = np.nan
    return ScoredWindows(lattice, scores, scan_fakes.utm_geobox(shape))


@settings(max_examples=40)
@given(data=st.data(), strip_rows=st.integers(1, 50))
def test_blending_equals_the_plain_rule(scan_fakes, data, strip_rows) -> None:
    windows = data.draw(scored(scan_fakes))
    blended = blend(windows, strip_rows=strip_rows)
    expected, origin = plain_blend(windows)
    np.testing.assert_allclose(blended.scores, expected, rtol=0, atol=2e-6)
    a, stride = windows.geobox.affine, windows.lattice.stride_px
    assert blended.geobox.affine.c == pytest.approx(a.c + 10 * origin[1])
    assert blended.geobox.affine.f == pytest.approx(a.f - 10 * origin[0])
    assert blended.geobox.affine.a == -blended.geobox.affine.e == 10 * stride


@settings(max_examples=60)
@given(data=st.data())
def test_every_pixel_of_an_observed_image_has_a_score(scan_fakes, data) -> None:
    windows = data.draw(scored(scan_fakes))
    seen = ScoredWindows(windows.lattice, np.ones_like(windows.scores), windows.geobox)
    blended = blend(seen)
    np.testing.assert_array_equal(blended.scores, 1)
    image, cells = windows.geobox.boundingbox, blended.geobox.boundingbox
    assert cells.left <= image.left < cells.left + blended.geobox.affine.a
    assert cells.top >= image.top > cells.top + blended.geobox.affine.e
    assert cells.right >= image.right > cells.right - blended.geobox.affine.a
    assert cells.bottom <= image.bottom < cells.bottom - blended.geobox.affine.e


def test_at_half_a_window_inner_cells_are_the_windows(scan_fakes) -> None:
    lattice = WindowLattice((240, 192), 48, 24)
    scores = np.random.default_rng(1).random(lattice.size, dtype=np.float32)
    blended = blend(ScoredWindows(lattice, scores, scan_fakes.utm_geobox((240, 192))))
    # One more ring of cells reaches the image's edge.
    assert blended.scores.shape == (11, 9)
    np.testing.assert_allclose(blended.scores[1:-1, 1:-1], scores, rtol=1e-6)
    np.testing.assert_allclose(blended.scores[0, 1:-1], scores[0], rtol=1e-6)
    np.testing.assert_allclose(blended.scores[-1, -1], scores[-1, -1], rtol=1e-6)


def test_a_cell_is_centred_on_its_window(scan_fakes) -> None:
    lattice = WindowLattice((400, 400), 48, 8)
    windows = ScoredWindows(
        lattice, np.zeros(lattice.size, np.float32), scan_fakes.utm_geobox((400, 400))
    )
    windows.scores[10, 20] = 1
    blended = blend(windows)
    row, col = np.unravel_index(np.argmax(blended.scores), blended.scores.shape)
    a = blended.geobox.affine
    assert a.c + a.a * (col + 0.5) == windows.x[20]
    assert a.f + a.e * (row + 0.5) == windows.y[10]


def test_a_gap_stays_not_observed_and_its_edge_keeps_the_windows_beside_it(scan_fakes) -> None:
    lattice = WindowLattice((480, 480), 48, 24)
    scores = np.full(lattice.size, 0.5, np.float32)
    scores[6:10, 6:10] = np.nan
    blended = blend(ScoredWindows(lattice, scores, scan_fakes.utm_geobox((480, 480)))).scores
    # Cells are shifted by the outer ring; those centred on the gap's outermost windows are still
    # within the windows beside it.
    assert np.isnan(blended[8:10, 8:10]).all()
    assert np.isnan(blended).sum() == 4
    np.testing.assert_allclose(blended[np.isfinite(blended)], 0.5, rtol=1e-6)


def test_cells_that_were_not_seen_are_not_observed(scan_fakes) -> None:
    lattice = WindowLattice((240, 192), 48, 24)
    windows = ScoredWindows(
        lattice, np.full(lattice.size, 0.5, np.float32), scan_fakes.utm_geobox((240, 192))
    )
    seen = np.random.default_rng(2).random((11, 9)) < 0.7
    scores = blend(windows, seen, strip_rows=4).scores
    np.testing.assert_array_equal(np.isfinite(scores), seen)
    np.testing.assert_allclose(scores[seen], 0.5, rtol=1e-6)
    with pytest.raises(ShapeMismatch, match=r"make \(11, 9\) cells"):
        blend(windows, seen[1:])


def test_a_large_lattice_is_blended_in_little_memory(scan_fakes) -> None:
    lattice = WindowLattice((12_000, 12_000), 48, 8)
    windows = ScoredWindows(
        lattice, np.ones(lattice.size, np.float32), scan_fakes.utm_geobox((12_000, 12_000))
    )
    tracemalloc.start()
    blended = blend(windows)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6 * blended.scores.nbytes
