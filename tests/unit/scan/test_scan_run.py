import functools
import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import tracemalloc
from concurrent import futures
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.base.errors import (
    BandNotFound,
    ConfigError,
    GridMismatch,
    ManifestMismatch,
    RunFailed,
)
from sluice.base.raster import Raster
from sluice.base.records import TileStatus
from sluice.base.windows import WindowLattice
from sluice.scan import executors
from sluice.scan.checkpoint import Checkpoint
from sluice.scan.executors import run_in_processes, run_in_threads, run_serially
from sluice.scan.run import scan_windows
from sluice.scan.tiles import plan_tiles


def image_with_gaps(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    image = rng.random(shape, dtype=np.float32)
    row, col = rng.integers(0, shape[0]), rng.integers(0, shape[1])
    image[row : row + 9, col : col + 14] = np.nan
    image[rng.random(shape) < 0.02] = np.nan
    return image


def plainly_seen(image: np.ndarray, window: int, stride: int) -> np.ndarray:
    """Cell by cell: whether half of the pixels whose centre lies in it are valid."""
    origin = (window - stride) / 2
    while origin > 0:
        origin -= stride
    axes = []
    for length in image.shape:
        centre = np.arange(length) + 0.5
        starts = [origin + stride * i for i in range(99) if origin + stride * i < length]
        owned = [np.flatnonzero((centre >= s) & (centre < s + stride)) for s in starts]
        # Half a pixel of the image, and no pixel's centre: the pixel it cuts.
        axes.append([pixels if len(pixels) else np.array([0]) for pixels in owned])
    return np.array(
        [[np.isfinite(image[np.ix_(r, c)]).mean() >= 0.5 for c in axes[1]] for r in axes[0]]
    )


def scan(fakes, image, *, loader=None, predictor=None, **options):
    geobox = fakes.utm_geobox(image.shape)
    return scan_windows(
        geobox,
        loader or fakes.MemoryLoader(image, geobox),
        predictor or fakes.MeanPredictor(),
        **{"stride_px": 4, "tile_px": 20, **options},
    )


@settings(max_examples=30)
@given(
    shape=st.tuples(st.integers(3, 45), st.integers(3, 45)),
    stride=st.integers(1, 8),
    tile_px=st.integers(8, 60),
    seed=st.integers(0, 5),
)
def test_scores_equal_the_plain_reference_whatever_the_tile_size(
    scan_fakes, shape, stride, tile_px, seed
) -> None:
    image = image_with_gaps(shape, seed)
    result = scan(scan_fakes, image, stride_px=stride, tile_px=tile_px)
    lattice = WindowLattice(shape, 8, stride)
    padded = np.pad(image, [(0, max(0, 8 - n)) for n in shape], constant_values=np.float32(np.nan))
    expected = scan_fakes.score_means(padded, 8, lattice.rows, lattice.cols)
    np.testing.assert_array_equal(result.windows.scores, expected)
    np.testing.assert_array_equal(result.seen, plainly_seen(image, 8, stride))
    assert sum(o.windows for o in result.outcomes) == expected.size
    assert sum(o.observed for o in result.outcomes) == np.isfinite(expected).sum()


def test_a_tile_of_nodata_is_not_observed_and_never_predicted(scan_fakes) -> None:
    predictor = scan_fakes.MeanPredictor()
    result = scan(scan_fakes, np.full((20, 20), np.nan, np.float32), predictor=predictor)
    assert [o.status for o in result.outcomes] == [TileStatus.NOT_OBSERVED]
    assert predictor.calls == []
    assert np.isnan(result.windows.scores).all()


def test_a_zero_is_observed(scan_fakes) -> None:
    result = scan(scan_fakes, np.zeros((20, 20), np.float32))
    assert (result.windows.scores == 0).all()
    assert result.outcomes[0].status is TileStatus.DONE


def test_a_failed_tile_is_not_observed_and_is_counted_apart(scan_fakes) -> None:
    image = np.ones((44, 44), np.float32)
    geobox = scan_fakes.utm_geobox(image.shape)
    loader = scan_fakes.MemoryLoader(image, geobox, frozenset([(12, 0)]))
    told = []
    result = scan(
        scan_fakes,
        image,
        loader=loader,
        failure_budget=0.2,
        progress=lambda outcome, **counts: told.append((outcome.tile_id, counts)),
    )
    failed = [o for o in result.outcomes if o.status is TileStatus.FAILED]
    assert [(o.tile_id, o.reason, o.observed) for o in failed] == [
        ("r0000012-c0000000", "AssetReadError: block at 12, 0 is damaged", 0)
    ]
    assert np.isnan(result.windows.scores).sum() == failed[0].windows
    (task,) = (
        t for t in plan_tiles(result.windows.lattice, 20) if t.tile_id == "r0000012-c0000000"
    )
    assert (
        (~result.seen).sum() == (~result.seen[task.cell_slices]).sum() == np.prod(task.cell_shape)
    )
    assert [c["done"] for _, c in told] == list(range(1, len(result.outcomes) + 1))
    assert {c["total"] for _, c in told} == {len(result.outcomes)}


def test_any_error_of_one_tile_is_an_outcome(scan_fakes) -> None:
    image = np.ones((44, 44), np.float32)
    geobox = scan_fakes.utm_geobox(image.shape)
    loader = scan_fakes.MemoryLoader(image, geobox, frozenset([(0, 0)]), ZeroDivisionError)
    result = scan(scan_fakes, image, loader=loader, failure_budget=0.2)
    assert result.outcomes[0].reason == "ZeroDivisionError: block at 0, 0 is damaged"


def test_a_run_over_its_failure_budget_stops(scan_fakes) -> None:
    image = np.ones((44, 44), np.float32)
    geobox = scan_fakes.utm_geobox(image.shape)
    predictor = scan_fakes.MeanPredictor()
    loader = scan_fakes.MemoryLoader(image, geobox, frozenset([(0, 0), (0, 12)]))
    with pytest.raises(RunFailed, match=r"2 of 9 tiles failed.*20%.*block at 0, 0 is damaged"):
        scan(scan_fakes, image, loader=loader, predictor=predictor, failure_budget=0.2)
    assert len(predictor.calls) == 0


@pytest.mark.parametrize(
    ("loader", "predictor", "error"),
    [
        ({"bands": ("green",)}, {}, BandNotFound),
        ({}, {"mismatch": True}, ManifestMismatch),
        ({"broken": frozenset([(0, 0)]), "error": ConfigError}, {}, ConfigError),
    ],
)
def test_what_concerns_every_tile_stops_the_run_at_once(
    scan_fakes, loader, predictor, error
) -> None:
    image = np.ones((44, 44), np.float32)
    geobox = scan_fakes.utm_geobox(image.shape)
    told = []
    with pytest.raises(error):
        scan(
            scan_fakes,
            image,
            loader=scan_fakes.MemoryLoader(image, geobox, **loader),
            predictor=scan_fakes.MeanPredictor(**predictor),
            failure_budget=0.9,
            progress=lambda outcome, **_: told.append(outcome),
        )
    assert told == []


def test_out_of_memory_is_a_failed_run_that_says_what_to_do(scan_fakes) -> None:
    image = np.ones((44, 44), np.float32)
    geobox = scan_fakes.utm_geobox(image.shape)
    loader = scan_fakes.MemoryLoader(image, geobox, frozenset([(0, 0)]), MemoryError)
    with pytest.raises(RunFailed, match="use fewer workers"):
        scan(scan_fakes, image, loader=loader, failure_budget=0.9)


def test_pixels_of_another_size_than_the_models_are_refused(scan_fakes) -> None:
    with pytest.raises(GridMismatch, match="pixels of 10, the model takes 3 m"):
        scan(
            scan_fakes,
            np.ones((20, 20), np.float32),
            predictor=scan_fakes.MeanPredictor(gsd_m=3.0),
        )


def test_a_scan_resumes_with_the_missing_tiles_only(scan_fakes, tmp_path) -> None:
    image = image_with_gaps((44, 44))
    whole = scan(scan_fakes, image)
    first = scan_fakes.MeanPredictor(interrupt_after=4)
    with pytest.raises(KeyboardInterrupt):
        scan(scan_fakes, image, predictor=first, checkpoint=Checkpoint(tmp_path, "a"))
    second = scan_fakes.MeanPredictor()
    told = []
    result = scan(
        scan_fakes,
        image,
        predictor=second,
        checkpoint=Checkpoint(tmp_path, "a"),
        progress=lambda outcome, **counts: told.append(counts["resumed"]),
    )
    assert len(first.calls) == 4
    assert len(second.calls) == 5
    assert told == [True] * 4 + [False] * 5
    np.testing.assert_array_equal(result.windows.scores, whole.windows.scores)
    np.testing.assert_array_equal(result.seen, whole.seen)
    assert result.outcomes == whole.outcomes


def test_another_fingerprint_starts_over(scan_fakes, tmp_path) -> None:
    scan(scan_fakes, np.zeros((44, 44), np.float32), checkpoint=Checkpoint(tmp_path, "a"))
    result = scan(scan_fakes, np.ones((44, 44), np.float32), checkpoint=Checkpoint(tmp_path, "b"))
    assert (result.windows.scores == 1).all()


def test_another_tiling_of_the_same_run_is_not_mixed_in(scan_fakes, tmp_path) -> None:
    image = image_with_gaps((44, 44))
    checkpoint = Checkpoint(tmp_path, "a")
    scan(scan_fakes, image, tile_px=20, checkpoint=checkpoint)
    predictor = scan_fakes.MeanPredictor()
    result = scan(scan_fakes, image, tile_px=30, checkpoint=checkpoint, predictor=predictor)
    assert len(predictor.calls) == len(result.outcomes)
    np.testing.assert_array_equal(result.windows.scores, scan(scan_fakes, image).windows.scores)


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "pickle"])
def test_a_damaged_tile_is_computed_again(scan_fakes, tmp_path, damage: str) -> None:
    image = image_with_gaps((44, 44))
    checkpoint = Checkpoint(tmp_path, "a")
    whole = scan(scan_fakes, image, checkpoint=checkpoint)
    victim = sorted(checkpoint.folder.glob("*.npz"))[3]
    content = bytearray(victim.read_bytes())
    if damage == "cut":
        victim.write_bytes(content[: len(content) // 2])
    elif damage == "empty":
        victim.write_bytes(b"")
    elif damage == "flipped":
        # Inside the first array's data, which the archive's checksum covers.
        position = content.index(b"NUMPY") + 140
        content[position] ^= 0xFF
        victim.write_bytes(content)
    else:
        np.savez(victim, scores=np.array([None]), identity=np.array([{}]), outcome=np.array(""))
    predictor = scan_fakes.MeanPredictor()
    again = scan(scan_fakes, image, predictor=predictor, checkpoint=checkpoint)
    assert len(predictor.calls) == 1
    np.testing.assert_array_equal(again.windows.scores, whole.windows.scores)


def test_failed_tiles_are_tried_again(scan_fakes, tmp_path) -> None:
    image = np.ones((44, 44), np.float32)
    geobox = scan_fakes.utm_geobox(image.shape)
    checkpoint = Checkpoint(tmp_path, "a")
    loader = scan_fakes.MemoryLoader(image, geobox, frozenset([(12, 0)]))
    scan(scan_fakes, image, loader=loader, checkpoint=checkpoint, failure_budget=0.5)
    result = scan(scan_fakes, image, checkpoint=checkpoint)
    assert (result.windows.scores == 1).all()
    assert {o.status for o in result.outcomes} == {TileStatus.DONE}


def test_a_full_disk_is_one_clear_line(scan_fakes, tmp_path, monkeypatch) -> None:
    def no_space(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", no_space)
    with pytest.raises(RunFailed, match=r"No space left on device.*goes on where it stopped"):
        scan(scan_fakes, np.ones((44, 44), np.float32), checkpoint=Checkpoint(tmp_path, "a"))
    assert list(tmp_path.rglob("*.npz")) == []


def test_a_work_folder_that_cannot_be_made_is_refused(tmp_path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError, match="choose another output folder"):
        Checkpoint(tmp_path / "file" / "work", "a")


def test_clearing_leaves_other_runs_alone(scan_fakes, tmp_path) -> None:
    root = tmp_path / "work"
    one, other = Checkpoint(root, "a"), Checkpoint(root, "b")
    one.clear()
    assert [p.name for p in root.iterdir()] == [other.folder.name]
    other.clear()
    assert not root.exists()


def test_the_serial_executor_holds_two_tiles_at_most(scan_fakes) -> None:
    image = np.ones((44, 44), np.float32)
    geobox = scan_fakes.utm_geobox(image.shape)
    read: list[float] = []
    inner = scan_fakes.MemoryLoader(image, geobox)

    def loader(part):
        read.append(part)
        return inner(part)

    ahead = []
    scan(
        scan_fakes,
        image,
        loader=loader,
        progress=lambda outcome, done, **_: ahead.append(len(read) - done),
    )
    assert max(ahead) <= 1


def test_memory_is_bounded_by_the_tile(scan_fakes) -> None:
    def peak_of_scan(side: int) -> int:
        geobox = scan_fakes.utm_geobox((side, side))

        def load(part):
            return Raster(np.ones((1, *part.shape.yx), np.float32), ("red",), part)

        tracemalloc.start()
        scan_windows(
            geobox, load, scan_fakes.ConstantPredictor(window_px=48), stride_px=24, tile_px=512
        )
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    tile_bytes = 512 * 512 * 4
    # Two tiles and what is made of them; the images have 9 and 144 MB.
    assert tile_bytes < peak_of_scan(1_500) < 5 * tile_bytes
    assert tile_bytes < peak_of_scan(6_000) < 5 * tile_bytes


def test_closing_the_serial_executor_stops_reading(scan_fakes) -> None:
    image = np.ones((44, 44), np.float32)
    geobox = scan_fakes.utm_geobox(image.shape)
    predictor = scan_fakes.MeanPredictor()
    tasks = plan_tiles(WindowLattice(image.shape, 8, 4), 20)
    results = run_serially(tasks, geobox, scan_fakes.MemoryLoader(image, geobox), predictor)
    list(itertools.islice(results, 2))
    results.close()
    assert len(predictor.calls) == 2
    assert list(run_serially([], geobox, scan_fakes.MemoryLoader(image, geobox), predictor)) == []


def test_processes_give_what_one_process_gives(scan_fakes) -> None:
    image = image_with_gaps((44, 44))
    geobox = scan_fakes.utm_geobox(image.shape)
    loader = scan_fakes.MemoryLoader(image, geobox, frozenset([(12, 0)]))
    options = {"loader": loader, "failure_budget": 0.5}
    serial = scan(scan_fakes, image, **options)
    many = scan(
        scan_fakes, image, execute=functools.partial(run_in_processes, workers=2), **options
    )
    np.testing.assert_array_equal(many.windows.scores, serial.windows.scores)
    np.testing.assert_array_equal(many.seen, serial.seen)
    assert many.outcomes == serial.outcomes
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("workers", [1, 3])
def test_threads_give_what_one_thread_gives(workers, scan_fakes) -> None:
    image = image_with_gaps((44, 44))
    geobox = scan_fakes.utm_geobox(image.shape)
    loader = scan_fakes.MemoryLoader(image, geobox, frozenset([(12, 0)]))
    options = {"loader": loader, "failure_budget": 0.5}
    serial = scan(scan_fakes, image, **options)
    execute = functools.partial(run_in_threads, workers=workers)
    many = scan(scan_fakes, image, execute=execute, **options)
    np.testing.assert_array_equal(many.windows.scores, serial.windows.scores)
    np.testing.assert_array_equal(many.seen, serial.seen)
    assert many.outcomes == serial.outcomes


def test_ctrl_c_in_threads_keeps_the_tiles_under_way(scan_fakes, monkeypatch) -> None:
    image = np.ones((44, 44), np.float32)
    geobox = scan_fakes.utm_geobox(image.shape)
    tasks = plan_tiles(WindowLattice(image.shape, 8, 4), 20)
    interrupts, go_on, read = (
        iter([True]),
        threading.Event(),
        scan_fakes.MemoryLoader(image, geobox),
    )

    def wait(running, **options):
        if next(interrupts, False):
            until = time.monotonic() + 20
            while sum(future.running() for future in running) < 2:
                assert time.monotonic() < until
                time.sleep(0.01)
            raise KeyboardInterrupt
        go_on.set()
        return futures.wait(running, **options)

    def loader(part):
        # Two tiles are under way, and one waits, when the interrupt comes.
        assert go_on.wait(20)
        return read(part)

    monkeypatch.setattr(executors, "wait", wait)
    results = run_in_threads(tasks, geobox, loader, scan_fakes.MeanPredictor(), workers=2)
    kept = []
    with pytest.raises(KeyboardInterrupt):
        kept.extend(iter(lambda: next(results), None))
    assert len(kept) == 2 < len(tasks)
    assert {tile.outcome.status for tile in kept} == {TileStatus.DONE}


def test_errors_of_all_tiles_come_back_from_processes(scan_fakes) -> None:
    with pytest.raises(ManifestMismatch, match="import the model again"):
        scan(
            scan_fakes,
            np.ones((44, 44), np.float32),
            predictor=scan_fakes.MeanPredictor(mismatch=True),
            execute=functools.partial(run_in_processes, workers=1),
        )


def test_a_process_that_dies_fails_the_run(scan_fakes) -> None:
    with pytest.raises(RunFailed, match="use fewer workers"):
        scan(
            scan_fakes,
            np.ones((20, 20), np.float32),
            loader=scan_fakes.DeadlyLoader(),
            execute=functools.partial(run_in_processes, workers=1),
        )


def test_what_cannot_travel_to_a_process_is_refused(scan_fakes) -> None:
    with pytest.raises(ConfigError, match="one process only"):
        scan(
            scan_fakes,
            np.ones((20, 20), np.float32),
            loader=lambda part: part,
            execute=functools.partial(run_in_processes, workers=1),
        )


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT to a process group")
def test_ctrl_c_leaves_whole_tiles_and_no_process(scan_fakes, tmp_path) -> None:
    script = tmp_path / "scan_once.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import functools, sys
            from pathlib import Path
            sys.path.insert(0, {str(Path(scan_fakes.__file__).parent)!r})
            import numpy as np
            import scan_fakes
            from sluice.scan.checkpoint import Checkpoint
            from sluice.scan.executors import run_in_processes
            from sluice.scan.run import scan_windows

            if __name__ == "__main__":
                image = np.ones((200, 200), np.float32)
                geobox = scan_fakes.utm_geobox(image.shape)
                try:
                    scan_windows(
                        geobox, scan_fakes.SlowLoader(image, geobox), scan_fakes.MeanPredictor(),
                        stride_px=4, tile_px=20,
                        checkpoint=Checkpoint(Path({str(tmp_path)!r}), "a"),
                        execute=functools.partial(run_in_processes, workers=2),
                    )
                except KeyboardInterrupt:
                    sys.exit(130)
            """
        )
    )
    process = subprocess.Popen(
        [sys.executable, str(script)], start_new_session=True, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while len(list(tmp_path.rglob("r*.npz"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    # As a terminal does: to the workers too.
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert stderr == ""
    kept = list(tmp_path.rglob("r*.npz"))
    assert 2 <= len(kept) < 100
    for path in kept:
        assert np.load(path, allow_pickle=False)["scores"].dtype == np.float32
    assert list(tmp_path.rglob(".part-*")) == []
