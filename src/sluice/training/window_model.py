"""Training an ensemble that judges windows: folds, threshold and calibration, the package.

Chips that may teach are divided into folds by place. Ensembles fitted without a fold score it;
the figures are of those scores. The package's own ensemble is fitted to all of them with the same
options. Thresholds and calibration are of its scores of a split `cal`, or without one of the
scores of the folds. Other held-out splits are scored by nobody here.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from torch import nn

from sluice.base.arrays import ArrayNBHW, FloatArray, IntArray
from sluice.evaluation.report import ChipReport, evaluate_scores
from sluice.labels.dataset import ChipDataset, read_dataset
from sluice.labels.splits import (
    CALIBRATION,
    count_joined,
    grouped_folds,
    join_alike,
    joined_words,
    trainable,
)
from sluice.models.manifest import Level, ScaledInput, Thresholds
from sluice.models.package import ModelPackage
from sluice.training.chip_reading import ChipReader
from sluice.training.data_choice import choose_bands, choose_sensor
from sluice.training.digests import DataDigest, code_digest
from sluice.training.families import check_same_inputs, check_same_network
from sluice.training.folds import FOLD_SEED, write_out_of_fold
from sluice.training.kept import ScoredWindows, decide_on_kept, kept_chips, refuse_taught
from sluice.training.levels import levels_for
from sluice.training.naming import Naming
from sluice.training.options import CnnOptions
from sluice.training.parent_chips import JudgingChips, ParentChips, SeenByParent
from sluice.training.patch_cnn import ARCHITECTURES, Architecture
from sluice.training.scaling import band_statistics, inputs_for, scaled_inputs
from sluice.training.window_members import Ensemble, WindowMember, fit_window_members
from sluice.training.window_package import (
    WindowJudgement,
    WindowTraining,
    write_window_package,
)
from sluice.training.window_task import central

_AT_ONCE = 64
_OUT_OF_FOLD = ("chip_id", "label", "source", "group", "fold", "score")


@dataclass(frozen=True)
class TrainedWindowModel:
    """What training leaves."""

    package: ModelPackage
    out_of_fold: pd.DataFrame
    """The chips that taught, with the columns `fold` and `score`."""
    report: ChipReport
    """Figures of `out_of_fold`."""


@dataclass(frozen=True)
class _Data:
    dataset: ChipDataset
    chosen: pd.DataFrame
    """Chips that may teach, indexed by row; groups that share ground are one."""
    inputs: tuple[ScaledInput, ...]
    levels: tuple[Level, ...]
    digest: str
    taught: tuple[str, ...]
    """`labels.chip_digests` of `chosen`."""
    kept: pd.DataFrame
    """Chips of a split for calibration, indexed by row; may be empty."""
    kept_digests: tuple[str, ...]
    seen: SeenByParent | None
    """How `chosen` and `kept` meet what the parent has learnt; None without one."""


def train_window_model(
    folder: Path,
    out_dir: Path,
    options: CnnOptions,
    naming: Naming,
    parent: ModelPackage | None = None,
) -> TrainedWindowModel:
    """Train an ensemble of convolutional networks and write its package.

    Args:
        folder: A data set; labels of whole chips suffice. Who teaches: `labels.splits.trainable`;
            a split `cal` is for thresholds and calibration, where it has enough of both labels.
        out_dir: Gets `<name>/` (the package), `out_of_fold.csv` and `work/` (checkpoints and
            curves: a second call goes on where one was cut off).
        options: See there.
        naming: Name, licence, attribution.
        parent: A model of the same architecture to go on from; its inputs and scaling are kept.

    Raises:
        DataError: The chips do not suffice or do not fit; see the message.
        ConfigError: The options contradict the data.
        ManifestMismatch: The parent is of another architecture or has other inputs.
        WeightsError: A checkpoint or the parent's weights are damaged.
        OSError: The folder cannot be written, or the disk is full.
    """
    architecture = ARCHITECTURES[options.architecture]
    if parent is not None:
        check_same_network(parent, architecture.record)
    data = _look_through(read_dataset(folder), options, architecture, parent)
    joined = count_joined(data.dataset.table, data.chosen)
    if joined:
        sys.stderr.write(f"{naming.name}: {joined_words(joined)}\n")
    if data.seen and not data.seen.clear:
        sys.stderr.write(f"{naming.name}: {data.seen.words}\n")
    fold_of = grouped_folds(data.chosen, options.folds, FOLD_SEED).to_numpy()
    rows = data.chosen.index.to_numpy()
    ensemble = Ensemble(
        naming.name,
        folder,
        data.inputs,
        data.chosen["group"],
        options,
        out_dir / "work",
        f"{data.digest}\n{parent.sha256 if parent else ''}\n{code_digest()}",
        parent,
    )
    members = _members(rows, fold_of, data.kept.index.to_numpy(), options)
    fitted = fit_window_members(ensemble, members)
    out_of_fold = data.chosen.assign(
        fold=fold_of, score=_out_of_fold_scores(fitted, fold_of, options)
    )
    kept = data.kept.assign(score=_mean_scores(fitted, "whole", options))
    networks = [fitted[f"whole-{k}"][0] for k in range(options.members)]
    about = data.dataset.about
    judgement = _judge(
        ScoredWindows(out_of_fold, _folds_in_words(about.name, options, data.seen)),
        ScoredWindows(kept, f"{about.name}, split {CALIBRATION}"),
        naming.name,
        options,
        data.seen,
    )
    training = WindowTraining(
        options,
        naming,
        about,
        data.inputs,
        data.levels,
        data.digest,
        data.taught,
        data.kept_digests if judgement.on_kept else (),
        joined,
        parent,
    )
    package = write_window_package(out_dir, training, networks, judgement)
    write_out_of_fold(out_of_fold, out_dir, _OUT_OF_FOLD)
    return TrainedWindowModel(package, out_of_fold, judgement.report)


def _look_through(
    dataset: ChipDataset,
    options: CnnOptions,
    architecture: Architecture,
    parent: ModelPackage | None,
) -> _Data:
    own = parent.manifest if parent else None
    bands = choose_bands(dataset, own.bands if own and not options.bands else options.bands)
    if own:
        check_same_inputs(own, bands, ())
    sensor = choose_sensor(dataset, options.sensor)
    levels = levels_for(sensor, bands)
    cache = int(options.cache_gb * 1e9)
    reader = ChipReader(dataset, bands, cache, with_masks=False, note_digests=True)
    chosen = trainable(dataset.table, dataset.chip_side_m())
    rows = chosen.index.to_numpy()
    digest = DataDigest(chosen)
    digest.add_rows(rows)
    scaling = options.scaling or architecture.scaling
    clip_at = options.clip_at or architecture.clip_at

    def windows() -> Iterator[ArrayNBHW]:
        for images, masks in reader.batches(rows, _AT_ONCE):
            digest.add_chips(images, masks)
            yield central(images, architecture.window_px, 0)

    # Means over all folds: they tell nothing of a chip's label.
    statistics = band_statistics(windows(), clip_at)
    inputs = inputs_for(own, sensor) if own else scaled_inputs(bands, statistics, scaling, clip_at)
    kept = kept_chips(dataset.table)
    kept_rows = kept.index.to_numpy()
    for images, _ in reader.batches(kept_rows, _AT_ONCE):
        central(images, architecture.window_px, 0)
    taught, kept_digests = tuple(reader.digests(rows)), tuple(reader.digests(kept_rows))
    refuse_taught(kept_digests, taught, dataset.about.name)
    return _Data(
        dataset,
        chosen.assign(group=join_alike(chosen, taught)),
        inputs,
        levels,
        digest.text(),
        taught,
        kept,
        kept_digests,
        _held_against(parent, dataset, (rows, taught), (kept_rows, kept_digests)),
    )


def _held_against(
    parent: ModelPackage | None,
    dataset: ChipDataset,
    folds: tuple[IntArray, Sequence[str]],
    kept: tuple[IntArray, Sequence[str]],
) -> SeenByParent | None:
    """How chips, as rows and digests, meet what the parent learnt; kept ones must not."""
    if parent is None:
        return None
    known = ParentChips(parent)
    calibrating = JudgingChips(f"chips of split {CALIBRATION}", *kept)
    known.refuse(dataset, calibrating)
    return known.meet(dataset, [JudgingChips("chips of the folds", *folds), calibrating])


def _members(
    rows: IntArray, fold_of: IntArray, kept_rows: IntArray, options: CnnOptions
) -> list[WindowMember]:
    """Folds first, so that their scores can be looked at while the rest is fitted."""
    members = []
    for fold in range(options.folds):
        for k in range(options.members):
            seed = options.seed + k + options.members * fold
            fit_rows, score_rows = rows[fold_of != fold], rows[fold_of == fold]
            members.append(WindowMember(f"fold-{fold}-{k}", k, seed, fit_rows, score_rows))
    first = options.seed + options.members * options.folds
    whole = [
        WindowMember(f"whole-{k}", k, first + k, rows, kept_rows) for k in range(options.members)
    ]
    return members + whole


_Fitted = Mapping[str, tuple[nn.Module, FloatArray]]


def _out_of_fold_scores(fitted: _Fitted, fold_of: IntArray, options: CnnOptions) -> FloatArray:
    scores = np.full(len(fold_of), np.nan)
    for fold in range(options.folds):
        scores[fold_of == fold] = _mean_scores(fitted, f"fold-{fold}", options)
    return scores


def _mean_scores(fitted: _Fitted, ensemble: str, options: CnnOptions) -> FloatArray:
    mean: FloatArray = np.mean(
        [fitted[f"{ensemble}-{k}"][1] for k in range(options.members)], axis=0
    )
    return mean


def _folds_in_words(data: str, options: CnnOptions, seen: SeenByParent | None) -> str:
    """What was scored by whom: a parent may have seen what the folds kept apart."""
    folds = f"{data}, {options.folds} folds by place"
    if seen is None or seen.clear:
        return f"{folds}, each scored by networks that never saw its places"
    return f"{folds}, each scored by networks fitted without its places"


def _judge(
    folds: ScoredWindows,
    kept: ScoredWindows,
    name: str,
    options: CnnOptions,
    seen: SeenByParent | None,
) -> WindowJudgement:
    """Decide on the chips kept for it where they suffice, and report on the folds.

    Args:
        folds: Scores out of fold.
        kept: Scores of the networks of the package; may be empty.
        name: Of the model.
        options: Of the training.
        seen: What the parent saw of them.
    """
    decided, on_kept = decide_on_kept(kept, folds, aim=options.aim, method=options.calibration)
    report = evaluate_scores(
        folds.table, decided.t_main, decided.calibration, model=name, data=folds.data
    )
    if seen and not seen.clear:
        report = report.model_copy(update={"warning": seen.words})
    thresholds = Thresholds(t_main=decided.t_main, t_iso=decided.t_iso)
    return WindowJudgement(thresholds, decided.calibration, report, on_kept, seen)
