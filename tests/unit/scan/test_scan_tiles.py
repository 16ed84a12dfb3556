import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.base.errors import ConfigError, ShapeMismatch
from sluice.base.windows import ScoredWindows, WindowLattice
from sluice.scan.cells import cell_axes
from sluice.scan.tiles import plan_tiles


@st.composite
def lattices(draw: st.DrawFn) -> WindowLattice:
    window = draw(st.integers(1, 20))
    stride = draw(st.integers(1, window))
    shape = draw(st.tuples(st.integers(1, 60), st.integers(1, 60)))
    return WindowLattice(shape, window, stride)


@st.composite
def patch_lattices(draw: st.DrawFn) -> WindowLattice:
    """Windows that have several cells along a side."""
    cell, cells = draw(st.integers(1, 3)), draw(st.integers(2, 7))
    stride = cell * draw(st.integers(1, cells))
    shape = draw(st.tuples(st.integers(1, 60), st.integers(1, 60)))
    return WindowLattice(shape, cell * cells, stride, cells)


@given(lattices() | patch_lattices())
def test_every_pixel_lies_in_a_window(lattice: WindowLattice) -> None:
    covered = np.zeros(lattice.shape, dtype=bool)
    for row in lattice.rows:
        for col in lattice.cols:
            covered[row : row + lattice.window_px, col : col + lattice.window_px] = True
    assert covered.all()


@given(lattices())
def test_windows_are_regular_but_for_one_that_is_flush_with_the_edge(
    lattice: WindowLattice,
) -> None:
    for starts, length in zip((lattice.rows, lattice.cols), lattice.shape, strict=True):
        assert starts[0] == 0
        assert (starts[:-1] % lattice.stride_px == 0).all()
        steps = np.diff(starts)
        assert (steps[:-1] == lattice.stride_px).all()
        assert ((steps >= 1) & (steps <= lattice.stride_px)).all()
        if length >= lattice.window_px:
            assert starts[-1] + lattice.window_px == length
        else:
            assert starts.tolist() == [0]


def test_a_48_px_window_at_8_px_on_100_px() -> None:
    lattice = WindowLattice((100, 48), 48, 8)
    assert lattice.rows.tolist() == [0, 8, 16, 24, 32, 40, 48, 52]
    assert lattice.cols.tolist() == [0]
    assert lattice.size == (8, 1)


@given(patch_lattices())
def test_cells_of_all_windows_are_the_same_and_the_last_is_flush_but_for_a_cell(
    lattice: WindowLattice,
) -> None:
    for starts, length in zip((lattice.rows, lattice.cols), lattice.shape, strict=True):
        assert (starts % lattice.cell_px == 0).all()
        assert (np.diff(starts) >= 1).all()
        assert (np.diff(starts) <= lattice.stride_px).all()
        beyond = starts[-1] + lattice.window_px - length
        assert beyond < (lattice.cell_px if length > lattice.window_px else lattice.window_px)


@given(lattices() | patch_lattices(), st.integers(0, 30), st.integers(0, 9))
def test_each_window_and_cell_belongs_to_one_tile_that_covers_it(
    lattice: WindowLattice, extra: int, context: int
) -> None:
    tile_px = lattice.window_px + 2 * context + extra
    owners = np.zeros(lattice.scores_shape, dtype=int)
    down, across = cell_axes(lattice)
    cells = np.zeros((down.count, across.count), dtype=int)
    tasks = plan_tiles(lattice, tile_px, context)
    for task in tasks:
        owners[task.score_slices] += 1
        assert task.pixels.height <= tile_px
        assert task.pixels.width <= tile_px
        assert owners[task.score_slices].shape == task.scores_shape
        assert task.windows == np.prod(task.shape)
        cells[task.cell_slices] += 1
        assert cells[task.cell_slices].shape == task.cell_shape
        for edges, size in (
            (task.row_edges, task.pixels.height),
            (task.col_edges, task.pixels.width),
        ):
            assert 0 <= edges[0] <= edges[-1] <= size
            assert (np.diff(edges) >= 0).all()
        # The task's own coordinates lead to the lattice's windows, inside the task's pixels.
        rows, cols = slice(*task.lattice_rows), slice(*task.lattice_cols)
        assert (np.array(task.rows) + task.pixels.row == lattice.rows[rows]).all()
        assert (np.array(task.cols) + task.pixels.col == lattice.cols[cols]).all()
        assert task.rows[0] == task.cols[0] == context
        assert task.rows[-1] + lattice.window_px + context == task.pixels.height
        assert task.cols[-1] + lattice.window_px + context == task.pixels.width
    assert (owners == 1).all()
    assert (cells == 1).all()
    assert len({t.tile_id for t in tasks}) == len(tasks)
    assert plan_tiles(lattice, tile_px, context) == tasks


def test_a_default_tile_wastes_little_on_its_halo() -> None:
    lattice = WindowLattice((20_000, 20_000), 48, 8)
    tasks = plan_tiles(lattice, 1024)
    read = sum(t.pixels.height * t.pixels.width for t in tasks)
    assert read < 1.1 * 20_000**2


@pytest.mark.parametrize(("window", "stride"), [(8, 9), (8, 0), (8, -1)])
def test_a_stride_that_leaves_gaps_is_refused(window: int, stride: int) -> None:
    with pytest.raises(ConfigError, match="use 1 to 8"):
        WindowLattice((20, 20), window, stride)


def test_an_empty_image_and_a_tile_below_the_window_are_refused() -> None:
    with pytest.raises(ConfigError, match="empty"):
        WindowLattice((0, 5), 8, 8)
    with pytest.raises(ConfigError, match="cannot hold"):
        plan_tiles(WindowLattice((20, 20), 8, 8), 7)


@pytest.mark.parametrize(("window", "stride", "cells"), [(10, 5, 3), (12, 4, 2), (12, 5, 4)])
def test_cells_that_do_not_divide_their_window_are_refused(
    window: int, stride: int, cells: int
) -> None:
    with pytest.raises(ConfigError, match="multiples of a cell"):
        WindowLattice((40, 40), window, stride, cells)


def test_scores_of_another_shape_are_refused(scan_fakes) -> None:
    lattice = WindowLattice((20, 20), 8, 8)
    with pytest.raises(ShapeMismatch, match="announced"):
        ScoredWindows(lattice, np.zeros((2, 2), np.float32), scan_fakes.utm_geobox((20, 20)))
