"""Starts for the default model's network: distilled, self-supervised, and a longer fit instead."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from proof.markdown import to_table
from proof.setup import Setup
from proof.vicreg import fit_without_labels
from sluice.base.arrays import FloatArray, IntArray
from sluice.base.atmosphere import to_top_of_atmosphere
from sluice.base.files import open_raster
from sluice.evaluation.compare import ComparedModel, ScoredModel, compare_models, estimate_text
from sluice.labels.chips import CHIP_BANDS, FULL_SCALE_REFLECTANCE, load_chips, read_chip_table
from sluice.labels.splits import grouped_folds, trainable
from sluice.models.package import load_package
from sluice.models.predictor import WindowPredictor
from sluice.training.fit import ChipSet, EpochReport, FitSettings, fit_network, score_chips
from sluice.training.folds import FOLD_SEED
from sluice.training.members import chip_set
from sluice.training.network import ChipNetwork, NetworkShape

_FOLDS, _JUDGE = 5, 0
"""Folds of the recipe, and the one that judges: no start has seen its places."""
_SEEDS = (0, 1)
_EPOCHS = 6
"""A quarter of the recipe's: some two minutes of a core."""
_PARA_BANDS = {"B4": "B04", "B3": "B03", "B2": "B02"}
_SIDE = NetworkShape.window_px

_SCRATCH, _LONGER = "from scratch", "from scratch, twice as long"
_TEACHER_ONLY, _DISTILLED = "teacher's scores alone, no labels", "distilled start, then labels"
_SELF = "self-supervised start, then labels"
_PASSES = {
    _SCRATCH: f"{_EPOCHS}",
    _LONGER: f"{2 * _EPOCHS}",
    _TEACHER_ONLY: f"{_EPOCHS}",
    _DISTILLED: f"{_EPOCHS} + {_EPOCHS}",
    _SELF: f"{_EPOCHS}, of two views each, + {_EPOCHS}",
}


@dataclass(frozen=True)
class Task:
    """Chips, and who may see which."""

    chips: ChipSet
    """Of the pool, then unlabelled ones."""
    taught: FloatArray
    """(N,) the teacher's score of each chip, 0-1."""
    learn: IntArray
    """Labelled chips of the other folds."""
    unlabelled: IntArray
    judge: IntArray
    """Chips of the fold that judges; nothing is fitted to them."""


def prove_starts(setup: Setup) -> str:
    """Average precision on a fold that no start has seen, and paired differences from scratch."""
    table = trainable(read_chip_table(setup.chips)).reset_index(drop=True)
    task = _read_task(setup, table)
    jobs = [(way, seed) for seed in _SEEDS for way in (_SCRATCH, _DISTILLED, _LONGER, _SELF)]
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as workers:
        done = [workers.submit(score_start, task, FitSettings(epochs=_EPOCHS), *j) for j in jobs]
        found = {key: scores for job in done for key, scores in job.result().items()}
    return _report(table.loc[task.judge], found, task)


def _report(judged: pd.DataFrame, found: dict[tuple[str, int], FloatArray], task: Task) -> str:
    runs = [_compare(judged, {way: found[way, seed] for way in _PASSES}) for seed in _SEEDS]
    means = {way: np.mean([found[way, seed] for seed in _SEEDS], axis=0) for way in _PASSES}
    together = _compare(judged, means | {"teacher": task.taught[task.judge]})
    rows = []
    for way, passes in _PASSES.items():
        cells = [way, passes]
        for run in runs:
            cells += [estimate_text(run[way].figures.average_precision), _gain(run[way])]
        of_both = together[way]
        cells += [estimate_text(of_both.figures.average_precision), _gain(of_both)]
        rows.append([*cells, _gain(of_both, "roc_auc")])
    heads = ["start", "passes over the chips"]
    for name in (*(f"seed {seed}" for seed in _SEEDS), "both together"):
        heads += [f"AP, {name}", "gain"]
    teacher = estimate_text(together["teacher"].figures.average_precision)
    return to_table([*heads, "gain in ROC AUC"], rows) + (
        f"\n\nAverage precision on the {len(judged):,} chips ({int(judged['label'].sum())} mines) "
        f"of fold {_JUDGE} of the pool, by the default model's network and recipe but for "
        f"{_EPOCHS} epochs of {FitSettings().epochs}, seen from four sides; fitted to the "
        f"{len(task.learn):,} chips of the other folds. Gain: over the first row, seed by seed. "
        "Teacher: the package of two networks that the recipe fitted to those same folds, whose "
        f"average precision here is {teacher}; its scores of those chips and of "
        f"{len(task.unlabelled)} unlabelled ones of Pará take the labels' place. "
        "Self-supervised: VICReg on the same pixels without labels. [ ] 95 % intervals over blocks "
        "of chips that share ground or pixels, of gains on the same resamples."
    )


def _compare(judged: pd.DataFrame, scores: dict[str, FloatArray]) -> dict[str, ComparedModel]:
    models = [
        ScoredModel(name, of_it.astype(np.float32), 0.5, None) for name, of_it in scores.items()
    ]
    return {m.name: m for m in compare_models(judged, models, data="the judging fold").models}


def _gain(model: ComparedModel, figure: str = "average_precision") -> str:
    less = model.less_reference
    return estimate_text(less and getattr(less, figure), signed=True)


def _read_task(setup: Setup, table: pd.DataFrame) -> Task:
    fold_of = grouped_folds(table, _FOLDS, FOLD_SEED).to_numpy()
    learn, judge = np.flatnonzero(fold_of != _JUDGE), np.flatnonzero(fold_of == _JUDGE)
    labelled = chip_set(load_chips(setup.chips, table), table["label"].to_numpy(), learn)
    para = read_para_chips(setup.data / "s2s1-para-multidate" / "sent2")
    chips = replace(
        labelled,
        images_bytes=np.concatenate([labelled.images_bytes, para]),
        labels=np.concatenate([labelled.labels, np.zeros(len(para), np.bool_)]),
    )
    teacher = WindowPredictor(load_package(setup.fold_folder(_JUDGE), None))
    reflectance = chips.images_bytes / np.float32(255) * np.float32(FULL_SCALE_REFLECTANCE)
    taught = teacher.score_chips(reflectance, CHIP_BANDS).astype(np.float64)
    unlabelled = np.arange(len(table), len(taught))
    return Task(chips, taught, learn, unlabelled, judge)


def read_para_chips(folder: Path) -> npt.NDArray[np.uint8]:
    """Unlabelled chips: (N, 3, 48, 48), as `ChipSet`'s, of squares without a pixel unobserved."""
    chips = []
    for red in sorted(folder.glob("Sentinel2_B4_*.tiff")):
        bands = []
        for band in _PARA_BANDS:
            with open_raster(red.with_name(red.name.replace("_B4_", f"_{band}_"))) as file:
                bands.append(file.read(1).astype(np.float32) / 10_000)
        surface = np.stack(bands)
        image = to_top_of_atmosphere(surface, list(_PARA_BANDS.values()))
        as_bytes = (np.clip(image / FULL_SCALE_REFLECTANCE, 0, 1) * 255).round().astype(np.uint8)
        rows, cols = (range(0, size - _SIDE + 1, _SIDE) for size in surface.shape[1:])
        squares = [np.s_[:, r : r + _SIDE, c : c + _SIDE] for r in rows for c in cols]
        chips += [as_bytes[square] for square in squares if surface[square].all()]
    return np.stack(chips)


def score_start(
    task: Task, settings: FitSettings, way: str, seed: int
) -> dict[tuple[str, int], FloatArray]:
    """Fit a network in one way, and score the chips that judge, by way and seed.

    The network distilled for a start is scored before it sees a label, too.
    """
    torch.set_num_threads(1)
    settings = settings.model_copy(update={"seed": seed})
    pixels = np.concatenate([task.learn, task.unlabelled])
    found = {}
    start = None
    if way == _DISTILLED:
        taught = replace(task.chips, labels=task.taught)
        as_taught = settings.model_copy(update={"label_smoothing": 0.0})
        start = fit_network(taught, pixels, as_taught, _tell(f"teacher, seed {seed}"))
        found[_TEACHER_ONLY, seed] = _score(start, task)
    elif way == _SELF:
        start = fit_without_labels(task.chips, pixels, settings, _tell(f"VICReg, seed {seed}"))
    elif way == _LONGER:
        settings = settings.model_copy(update={"epochs": 2 * settings.epochs})
    network = fit_network(task.chips, task.learn, settings, _tell(f"{way}, seed {seed}"), start)
    return found | {(way, seed): _score(network, task)}


def _score(network: ChipNetwork, task: Task) -> FloatArray:
    views = [score_chips(network.turned(turns), task.chips, task.judge) for turns in range(4)]
    return np.asarray(np.mean(views, axis=0))


def _tell(what: str) -> Callable[[EpochReport], None]:
    def tell(report: EpochReport) -> None:
        done = f"epoch {report.epoch}/{report.epochs}, loss {report.loss:.3f}"
        print(f"proof: starts: {what}: {done}", file=sys.stderr, flush=True)

    return tell
