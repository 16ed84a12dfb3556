"""A scan that is stopped goes on where it was, and in between nothing looks whole."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio

from scenes import Patch, forest_with, utm_geobox, write_image, write_toy_model
from sluice.app.config import ScanConfig
from sluice.app.products.layout import WORK_FOLDER
from sluice.app.workflows import scan

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")

SHAPE, TILE_PX = (1150, 1150), 512  # 9 tiles
PROGRAM = f"""
from sluice.app import planning
planning.LARGEST_TILE_PX = {TILE_PX}
from sluice.app.cli.main import main
main()
"""
SLUICE = [sys.executable, "-c", PROGRAM]


@pytest.fixture(scope="module")
def slow_model(tmp_path_factory) -> Path:
    """Takes some tenths of a second for a tile."""
    return write_toy_model(tmp_path_factory.mktemp("models"), ballast=48).folder


@pytest.fixture(scope="module")
def image(tmp_path_factory) -> Path:
    bands = forest_with([Patch(450, 500, 120, 150)], SHAPE, colours=("green", "red"))
    return write_image(tmp_path_factory.mktemp("image") / "scene.tif", bands, utm_geobox(SHAPE))


def start(image: Path, model: Path, out: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*SLUICE, "scan", str(image), "--model", str(model), "--out", str(out), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A terminal sends Ctrl-C to all processes of the group.
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def kept_tiles(out: Path) -> set[str]:
    return {path.stem for path in out.glob(f"{WORK_FOLDER}/tiles/*/r*.npz")}


def stop_midway(process: subprocess.Popen[str], out: Path, number: int, *, above: int) -> str:
    """Send a signal once more than `above` tiles are kept; return stderr."""
    give_up = time.monotonic() + 60
    try:
        while len(kept_tiles(out)) <= above:
            assert process.poll() is None, f"ended too early: {process.communicate()}"
            assert time.monotonic() < give_up, "no tile was finished"
            time.sleep(0.01)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, number)
    return process.communicate(timeout=60)[1]


def test_a_scan_that_was_stopped_twice_gives_the_same_map(image, slow_model, tmp_path) -> None:
    out = tmp_path / "out"
    process = start(image, slow_model, out)
    told = stop_midway(process, out, signal.SIGINT, above=0)
    assert process.returncode == 130
    assert told == "Stopped. Run the same command again to go on where it stopped.\n"
    assert [path.name for path in out.iterdir()] == [WORK_FOLDER]

    first = kept_tiles(out)
    process = start(image, slow_model, out)
    stop_midway(process, out, signal.SIGKILL, above=len(first))
    assert process.returncode == -signal.SIGKILL
    assert [path.name for path in out.iterdir()] == [WORK_FOLDER]
    second = kept_tiles(out)
    assert first < second
    assert len(second) < 9

    resumed: set[str] = set()
    fresh: set[str] = set()

    def note(outcome, *, done, total, resumed: bool, old=resumed) -> None:
        (old if resumed else fresh).add(outcome.tile_id)

    config = ScanConfig(images=(image,), out=out, model=str(slow_model), tile_px=TILE_PX)
    finished = scan(config, note)
    assert resumed == second
    assert len(fresh) == 9 - len(second)
    assert not (out / WORK_FOLDER).exists()

    whole = scan(config.model_copy(update={"out": tmp_path / "whole"}))
    for name in ("score.tif", "probability.tif"):
        with rasterio.open(out / name) as a, rasterio.open(tmp_path / "whole" / name) as b:
            np.testing.assert_array_equal(a.read(1), b.read(1))
    assert finished.summary == whole.summary
    assert finished.summary.sites == 1
    record = json.loads((out / "run.json").read_text())
    assert [tile["status"] for tile in record["tiles"]] == ["done"] * 9


def test_ctrl_c_ends_several_processes_without_a_traceback(image, slow_model, tmp_path) -> None:
    process = start(image, slow_model, tmp_path / "out", "--workers", "2", "--processes")
    told = stop_midway(process, tmp_path / "out", signal.SIGINT, above=0)
    assert process.returncode == 130
    assert told == "Stopped. Run the same command again to go on where it stopped.\n"


def test_other_settings_do_not_take_up_tiles_of_the_stopped_scan(image, toy_model, tmp_path):
    """What was read with another nodata value, or other names, is another image."""
    out = tmp_path / "out"
    config = ScanConfig(images=(image,), out=out, model=str(toy_model), tile_px=TILE_PX)

    def stop(outcome, *, done, total, resumed) -> None:
        assert not resumed
        if done == 2:
            raise KeyboardInterrupt

    for change in ({}, {"nodata": 5}, {"bands": ("red", "green")}, {"cloud_margin_px": 3}):
        with pytest.raises(KeyboardInterrupt):
            scan(config.model_copy(update=change), stop)
