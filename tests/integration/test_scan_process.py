"""`sluice scan` as a process of its own: what reaches the terminal, and disks that are full."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scenes import Patch, forest_with, utm_geobox, write_image
from sluice.app.products.layout import CATALOGUE, FAILED_RUN, RUN, WORK_FOLDER

SHAPE = (160, 200)
RED_GREEN = ("red", "green")


@pytest.fixture
def image(tmp_path) -> Path:
    bands = forest_with([Patch(30, 40, 96, 96)], SHAPE, colours=RED_GREEN)
    return write_image(tmp_path / "scene.tif", bands, utm_geobox(SHAPE))


def run_alone(
    image: Path, model: Path, out: Path, *words: str, before: str = ""
) -> subprocess.CompletedProcess[str]:
    program = f"{before}\nfrom sluice.app.cli.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", program, *words, "scan", image, "--model", model, "--out", out],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=60,
        check=False,
    )


def test_a_process_of_its_own_says_no_more(image, toy_model, tmp_path) -> None:
    """What libraries log or warn of does not reach the terminal either."""
    whole = image.read_bytes()
    image.write_bytes(whole[: len(whole) // 2])
    ended = run_alone(image, toy_model, tmp_path / "out")
    assert ended.returncode in {1, 2}
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1
    assert "cut off or damaged" in ended.stderr
    image.write_bytes(whole)
    assert run_alone(image, toy_model, tmp_path / "out").stderr == ""


def test_debug_shows_where_it_happened(image, toy_model, tmp_path) -> None:
    image.unlink()
    ended = run_alone(image, toy_model, tmp_path / "out", "--debug")
    assert ended.returncode == 2
    assert "Traceback" in ended.stderr
    assert ended.stderr.splitlines()[-1].startswith("Error: ")


@pytest.mark.skipif(os.name == "nt", reason="limits of POSIX")
@pytest.mark.parametrize(
    ("limit", "advice"),
    [
        (500, "free some space and run the same command again: it goes on where it stopped"),
        (65_000, "make room and run again"),  # more than a tile has, less than the tables
    ],
    ids=["tiles", "tables"],
)
def test_a_disk_that_is_full_midway(limit, advice, toy_model, tmp_path) -> None:
    """Tiles, then tables, find no room."""
    shape = (700, 700)
    bands = forest_with([Patch(100, 100, 90, 90)], shape, colours=RED_GREEN)
    image = write_image(tmp_path / "scene.tif", bands, utm_geobox(shape))
    out = tmp_path / "out"
    ended = run_alone(
        image,
        toy_model,
        out,
        before=f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))",
    )
    assert ended.returncode == 1, ended.stderr
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert ended.stderr.startswith(f"Error: {out}")
    assert advice in ended.stderr
    # The record of the failure is there if there was room for it.
    assert {path.name for path in out.iterdir()} - {FAILED_RUN} == {WORK_FOLDER}
    # With room again, the same command ends well.
    assert run_alone(image, toy_model, out).returncode == 0
    assert {RUN, CATALOGUE} <= {path.name for path in out.iterdir()}
    assert not (out / WORK_FOLDER).exists()
    assert not (out / FAILED_RUN).exists()
