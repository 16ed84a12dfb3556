"""What each family of models costs to train and to scan with, on phantom scenes."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.family_data import (
    RADAR_YEAR,
    draw_scene,
    write_cells,
    write_chip_arrays,
    write_chip_set,
    write_radar,
)
from bench.images import write_band_files
from bench.machine import core_count
from bench.table import Row
from bench.whole_scan import run_scan, stages_in_words

THREADS = 2
CHIP_PX, WINDOW_PX = 96, 48
PIXEL_BANDS = ("blue", "green", "red", "nir", "swir16", "swir22")
USUAL_CHIPS = 1000
"""Of the job that minutes of training are told for."""
FEATURE_CHIPS = 2000
"""Likewise of random features."""
RECIPE_CHIPS, RECIPE_FITS, RECIPE_EPOCHS = 8362, 12, 24
"""Of the default model: chips of its pool; two networks for the package and for each fold."""
FOLDS = 5
_EPOCHS = 2
_HOW_TO_GET = "install it with `pip install -e .[train]`"

Job = tuple[str, dict[str, Any]]
Took = dict[str, Any]


@dataclass(frozen=True)
class FamilySizes:
    """How much is measured."""

    scene_px: tuple[int, int, int]
    """Sides of the scenes: for fast models, for slow ones, and for those of single windows."""
    chip_scene_px: int
    """Side of the scene that chips are cut from."""
    pixel_chips: int
    """Chips of 96 px in the data set of networks."""
    batch: int | None
    """Of the short trainings of networks; None is their own."""
    members: int
    """Networks of the ensemble."""
    detector_chips: int
    """Chips of 48 px in an epoch of the default model's network."""
    feature_chips: int
    """Chips of 48 px for random features and ridge."""
    forest_chips: int
    patches: int
    cells: tuple[int, int]
    """Cells and features of the table."""
    radar_px: int
    radar_days: int
    """Between passes."""
    at_once: int = 1
    """Scans and groups of trainings side by side; more than one spoils the figures."""


FULL = FamilySizes(
    (3000, 1200, 480), 1200, 96, None, 6, 1280, 400, 200, 512, (10_000, 2000), 1200, 12
)
QUICK = FamilySizes((480, 240, 240), 480, 24, 2, 1, 64, 60, 60, 8, (1600, 40), 240, 90, 2)


def measure_families(
    work: Path, pattern_bhw: np.ndarray, model: str, sizes: FamilySizes
) -> list[Row]:
    """Scans of every family, and short trainings of those that learn."""
    folder = work / "families"
    folder.mkdir()
    scene = draw_scene(sizes.chip_scene_px)
    write_chip_set(folder / "chips", scene, sizes.pixel_chips, CHIP_PX)
    most = max(sizes.feature_chips, sizes.detector_chips)
    write_chip_arrays(folder / "chips.npz", scene, most, WINDOW_PX)
    for side in set(sizes.scene_px):
        write_band_files(folder / f"scene-{side}", pattern_bhw, side)
    trained, train_rows = _train_all(folder, sizes)
    return _scan_all(folder, model, trained, sizes) + train_rows


@dataclass(frozen=True)
class _Scan:
    """One scan to be measured."""

    name: str
    image: Path | None
    """None where the options name a catalogue."""
    model: str | None
    """None where it could not be trained."""
    options: dict[str, str]
    lacking: str = ""
    """Why it could not."""


def _scan_all(folder: Path, model: str, trained: dict[str, Took], sizes: FamilySizes) -> list[Row]:
    fast, slow, single = (folder / f"scene-{side}" for side in sizes.scene_px)
    options = {"sensor": "s2-l2a", "outlines": "none"}
    ready = (
        (f"`{model}`", fast, model),
        (f"`{model}`, small scene", slow, model),
        ("`redness-rule`", fast, "redness-rule"),
        ("`spectral-rule`", fast, "spectral-rule"),
        ("`workings` as scanning model", slow, "workings"),
    )
    learnt = (
        (f"`amw-2024`, {sizes.members} members, 12 bands", slow, "amw-2024"),
        ("random features, ridge", slow, "ridge"),
        ("random features, forest", single, "forest"),
        ("U-Net, width 32, 6 bands", slow, "unet"),
        ("SegFormer b0, 6 bands", slow, "segformer"),
    )
    scans = [_Scan(name, image, which, options) for name, image, which in ready]
    scans.append(_radar(folder, sizes))
    for name, image, key in learnt:
        package = trained[key]["package"] if key in trained else None
        scans.append(_Scan(name, image, package, options, "" if package else _lacking(key)))
    with ThreadPoolExecutor(sizes.at_once) as pool:
        outs = (folder / f"out-{k}" for k in range(len(scans)))
        return [*pool.map(_scan, scans, outs)]


def _radar(folder: Path, sizes: FamilySizes) -> _Scan:
    catalogue, area = write_radar(folder / "radar", sizes.radar_px, sizes.radar_days)
    options = {
        "source": str(catalogue),
        "area": str(area),
        "every": "half-year",
        "first": f"{RADAR_YEAR}-01",
        "last": f"{RADAR_YEAR}-12",
        "outlines": "none",
    }
    name = f"`radar-drop`, two half-years, a pass every {sizes.radar_days} days"
    return _Scan(name, None, "radar-drop", options)


def _scan(asked: _Scan, out: Path) -> Row:
    what = f"scan: {asked.name}"
    if asked.model is None:
        return Row(what, "not available", "", asked.lacking)
    took = run_scan(asked.image, out, asked.model, **asked.options)
    shutil.rmtree(out)
    return Row(
        what,
        f"{took.area_km2 / took.wall_s:,.3g} km²/s, peak {took.peak_in_words}",
        "",
        f"{took.area_km2:,.0f} km² in {took.wall_s:.1f} s on {core_count()} cores "
        f"({took.cpu_s:.1f} s of processor time); seconds: {stages_in_words(vars(took))}",
    )


def _train_all(folder: Path, sizes: FamilySizes) -> tuple[dict[str, Took], list[Row]]:
    """What each family's training took, by family, and the rows of it."""
    jobs = _jobs(folder, sizes)
    here = [key for key in jobs if not _missing(key)]
    trained: dict[str, Took] = {}
    groups = [here[k :: sizes.at_once] for k in range(sizes.at_once)]
    children = [_start([jobs[key] for key in group]) for group in groups]
    for group, child in zip(groups, children, strict=True):
        trained |= zip(group, _end(child), strict=True)
    rows = [_detector_row(folder, sizes)]
    rows += [
        _network_row("`amw-2024`, 6 members", "amw-2024", 200, 6 * (FOLDS + 1), trained),
        _network_row("U-Net, width 32", "unet", 100, 1, trained),
        _network_row("SegFormer b0", "segformer", 100, 1, trained),
    ]
    return trained, [*rows, _features_row(trained, sizes), _table_row(trained, sizes)]


def _jobs(folder: Path, sizes: FamilySizes) -> dict[str, Job]:
    shared = {"data": str(folder / "chips"), "threads": THREADS, "epochs": _EPOCHS}
    shared |= {} if sizes.batch is None else {"batch": sizes.batch}
    features = {"chips": str(folder / "chips.npz"), "patches": sizes.patches}
    labels, table = write_cells(folder / "cells", *sizes.cells)
    jobs: dict[str, Job] = {
        "amw-2024": (
            "windows",
            # Two folds for a package; the usual five are reckoned with in the row.
            {"architecture": "amw-2024", "members": sizes.members, "folds": 2, **shared},
        ),
        "ridge": ("features", {**features, "count": sizes.feature_chips, "model": "ridge"}),
        "forest": ("features", {**features, "count": sizes.forest_chips, "model": "forest"}),
        "table": ("table", {"labels": str(labels), "features": str(table)}),
    }
    for family in ("unet", "segformer"):
        jobs[family] = ("pixels", {"family": family, "bands": PIXEL_BANDS, **shared})
    for key in ("ridge", "forest"):
        jobs[key][1]["name"] = key
    for key, (_, arguments) in jobs.items():
        arguments["out"] = str(folder / "trained" / key)
    return jobs


_NEEDS = {
    "detector": ("torch",),
    "amw-2024": ("torch", "matplotlib"),
    "unet": ("torch", "monai", "matplotlib"),
    "segformer": ("torch", "transformers", "matplotlib"),
    "ridge": ("sklearn", "skl2onnx"),
    "forest": ("sklearn", "skl2onnx"),
    "table": ("sklearn", "skl2onnx"),
}


def _missing(key: str) -> list[str]:
    return [name for name in _NEEDS[key] if importlib.util.find_spec(name) is None]


def _lacking(key: str) -> str:
    return f"{', '.join(_missing(key))} is not here; {_HOW_TO_GET}"


def _detector_row(folder: Path, sizes: FamilySizes) -> Row:
    """Two networks side by side with a thread each, as `--workers 2` fits them."""
    what = "train: the default model's network"
    if _missing("detector"):
        return Row(what, "not available", "", _lacking("detector"))
    arguments = {"chips": str(folder / "chips.npz"), "epochs": _EPOCHS, "threads": 1}
    arguments |= {} if sizes.batch is None else {"batch": sizes.batch}
    children = [_start([("detector", arguments)]) for _ in range(THREADS)]
    took = [_end(child)[0] for child in children]
    chips, epoch_s = took[0]["chips"], float(np.mean([one["epoch_s"] for one in took]))
    # A fold's networks see four fifths of the pool.
    passes = RECIPE_FITS / (FOLDS + 1) * (FOLDS * (1 - 1 / FOLDS) + 1) * RECIPE_EPOCHS
    minutes = passes * RECIPE_CHIPS / chips * epoch_s / THREADS / 60
    return Row(
        what,
        f"{minutes:,.0f} min for the recipe, {THREADS * chips / epoch_s:,.0f} chips/s",
        "",
        f"an epoch of {chips:,} chips of {WINDOW_PX} px, 3 bands, in {epoch_s:.2f} s, "
        f"{THREADS} networks side by side on a thread each; recipe: {RECIPE_CHIPS:,} chips, "
        f"2 networks for the package and for each of {FOLDS} folds, {RECIPE_EPOCHS} epochs, so "
        f"{passes:.0f} passes x {RECIPE_CHIPS:,} / {chips:,} x {epoch_s:.2f} s / {THREADS}",
    )


def _network_row(name: str, key: str, epochs: int, fits: int, trained: dict[str, Took]) -> Row:
    what = f"train: {name}"
    if key not in trained:
        return Row(what, "not available", "", _lacking(key))
    took = trained[key]
    chips, epoch_s, in_set = took["chips"], took["epoch_s"], took["in_set"]
    minutes = minutes_of_job(in_set=in_set, epoch_s=epoch_s, epochs=epochs, fits=fits)
    side, bands = (CHIP_PX, len(PIXEL_BANDS)) if fits == 1 else (WINDOW_PX, 12)
    several = f" x {fits} fits (members x (folds + 1))" if fits > 1 else ""
    return Row(
        what,
        f"{minutes:,.0f} min for {USUAL_CHIPS:,} chips, {chips / epoch_s:,.3g} chips/s",
        "",
        f"an epoch that learns from {chips} chips of {side} px, {bands} bands, of a set of "
        f"{in_set}, validation included, in {epoch_s:.2f} s on {THREADS} threads; minutes: "
        f"{USUAL_CHIPS:,} / {in_set} x {epoch_s:.2f} s x {epochs} epochs{several}, the most that "
        "it takes: fitting may stop early",
    )


def minutes_of_job(*, in_set: int, epoch_s: float, epochs: int, fits: int) -> float:
    """Minutes that a training of `USUAL_CHIPS` takes, by an epoch of a smaller one.

    Args:
        in_set: Chips of the data set that was measured, those that validate and test among them.
        epoch_s: Seconds of an epoch of it.
        epochs: Of each fit.
        fits: Networks to fit.
    """
    return USUAL_CHIPS / in_set * epoch_s * epochs * fits / 60


def _features_row(trained: dict[str, Took], sizes: FamilySizes) -> Row:
    what = "train: random features, ridge"
    if "ridge" not in trained:
        return Row(what, "not available", "", _lacking("ridge"))
    chips, seconds = trained["ridge"]["chips"], trained["ridge"]["seconds"]
    return Row(
        what,
        # Nearly all of it is features of chips, one chip after another.
        f"{FEATURE_CHIPS / chips * seconds / 60:.1f} min for {FEATURE_CHIPS:,} chips",
        "",
        f"{chips:,} chips of {WINDOW_PX} px, 3 bands, in {seconds:.1f} s, {sizes.patches} patches, "
        f"{FOLDS} folds and the package, ONNX included; minutes: {FEATURE_CHIPS:,} / {chips:,} x "
        f"{seconds:.1f} s",
    )


def _table_row(trained: dict[str, Took], sizes: FamilySizes) -> Row:
    cells, columns = sizes.cells
    what = f"train: ready features, ridge, {cells:,} cells x {columns:,} features"
    if "table" not in trained:
        return Row(what, "not available", "", _lacking("table"))
    beside = "reading the tables, fitting, testing and mapping every cell"
    return Row(what, f"{trained['table']['seconds']:.1f} s", "", beside)


def _start(jobs: Sequence[Job]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bench.training_child", json.dumps(jobs)]
    # Our own module, and no shell.
    return subprocess.Popen(  # noqa: S603
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _end(child: subprocess.Popen[str]) -> list[Took]:
    """What the jobs took.

    Raises:
        RuntimeError: One failed; the message holds its last words.
    """
    told, errors = child.communicate()
    if child.returncode:
        raise RuntimeError(f"a short training failed: {errors.strip().splitlines()[-1]}")
    return [json.loads(line) for line in told.splitlines() if line.startswith("{")]
