"""Training the chip detector: folds, threshold and calibration, the model package.

The pool of a chip folder is divided into folds by group. A network fitted to each choice of
folds but one scores the fold left out; the figures are of those scores, which no network has seen
the places of. The package's own network is fitted to the whole pool with the same settings.
Thresholds and calibration are of its scores of a split `cal`, or without one of the scores of the
folds. Other held-out splits are scored by nobody here.
"""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import JsonValue

from sluice.base.arrays import FloatArray, IntArray
from sluice.base.atmosphere import CLEAR_SKY
from sluice.base.calibration import Calibration
from sluice.base.errors import ConfigError
from sluice.evaluation.aims import CalibrationMethod
from sluice.evaluation.decisions import WindowDecisions
from sluice.evaluation.report import IN_FOLDS, ON_KEPT, ChipReport, evaluate_scores, render_report
from sluice.labels.chip_digests import chip_digests
from sluice.labels.chips import (
    CHIP_BANDS,
    FULL_SCALE_REFLECTANCE,
    ChipBytes,
    chip_reflectance,
    load_chips,
    read_chip_table,
)
from sluice.labels.splits import (
    CALIBRATION,
    POOL,
    count_joined,
    grouped_folds,
    join_alike,
    joined_words,
    trainable,
)
from sluice.models.manifest import Adaptation, Level, Manifest, ScaledInput, Thresholds, Weights
from sluice.models.package import EXTRAS_KEY, ModelPackage, weights_sha256, write_package
from sluice.models.taught import TAUGHT_FILE, gather_lessons
from sluice.training.export import export_onnx
from sluice.training.fit import ChipSet, FitSettings
from sluice.training.folds import FOLD_SEED, write_out_of_fold
from sluice.training.kept import ScoredWindows, decide_on_kept, kept_chips, refuse_taught
from sluice.training.members import Member, chip_set, fit_members
from sluice.training.naming import Naming
from sluice.training.network import ChipNetwork, NetworkShape

_AT_ONCE = 256
_OUT_OF_FOLD = ("grid", "cell", "label", "source", "group", "fold", "score")
_GSD_M = 10
_BAND_OF = {"red": "B04", "green": "B03", "blue": "B02"}
# The chips are top-of-atmosphere reflectance; a clear sky is put over surface reflectance.
_UNDER_CLEAR_SKY = {
    band: Adaptation(gain=CLEAR_SKY[_BAND_OF[band]][1], offset=CLEAR_SKY[_BAND_OF[band]][0])
    for band in CHIP_BANDS
}
_LEVELS = (
    Level(sensor="s2-l1c", verified=True, note="the labels' own level; see the card's figures"),
    Level(
        sensor="s2-l2a",
        verified=False,
        note="brought to L1C with a standard clear sky; looked at, not measured",
        adapt=_UNDER_CLEAR_SKY,
    ),
    *(
        Level(
            sensor=sensor,
            verified=False,
            note="same bands, other sensor, taken as surface reflectance; not tried",
            adapt=_UNDER_CLEAR_SKY,
        )
        for sensor in ("planet-4b", "planet-8b", "nicfi")
    ),
)


@dataclass(frozen=True)
class TrainedDetector:
    """What training leaves."""

    package: ModelPackage
    fold_packages: tuple[ModelPackage, ...]
    """One for each fold: the network that did not see it."""
    out_of_fold: pd.DataFrame
    """The pool, with the columns `fold` and `score`."""
    report: ChipReport
    """Figures of `out_of_fold`."""


@dataclass(frozen=True)
class _Data:
    name: str
    """Of the folder."""
    chips: ChipSet
    chosen: pd.DataFrame
    """Chips that may teach, indexed by row; groups that share ground or a chip are one."""
    fold_of: pd.Series
    """Of `chosen`."""
    joined_groups: int
    """How many groups were made one with others."""
    digests: list[str]
    """`labels.chip_digests` of `chosen`."""
    kept: pd.DataFrame
    """Chips of a split for calibration, indexed by row; may be empty."""
    kept_digests: list[str]


def train_chip_detector(
    folder: Path,
    out_dir: Path,
    *,
    name: str,
    licence: str,
    attribution: str,
    settings: FitSettings,
    folds: int = 5,
    seeds: int = 1,
    views: int = 4,
    workers: int = 1,
    aim: str = "f1",
    calibration: CalibrationMethod = "beta",
) -> TrainedDetector:
    """Train a detector on a folder of chips and write its package.

    Args:
        folder: `chips.csv` and `grids/`; who teaches, see `labels.splits.trainable`.
        out_dir: Gets `<name>/` (the package), `<name>-fold-K/` (networks that did not see fold
            K), `out_of_fold.csv` and `members/` (finished networks: a second call resumes).
        name: Of the model.
        licence: SPDX expression of the weights, following from the data's.
        attribution: Whom to name for the data.
        settings: Of each fit; a member's number is added to the seed.
        folds: At least 2.
        seeds: Networks in each ensemble, in the package and for each fold alike.
        views: Sides from which each network looks at an image; see `ChipNetwork.turned`.
        workers: Fits side by side.
        aim: What the threshold is chosen for, see `choose_threshold_for`.
        calibration: Its form, see `fit_calibration`.

    Raises:
        DataError: The chips cannot be divided into folds with both labels, or share ground with
            those that judge.
        ConfigError: `views` is not 1, 2 or 4, or the name cannot be a folder everywhere.
        SluiceError: The folder is not of that form.
    """
    for each in (name, _fold_name(name, folds - 1)):
        Naming(each, licence, attribution)
    data = _look_through(folder, name, folds)
    index, fold_of = data.chosen.index.to_numpy(), data.fold_of.to_numpy()
    members = _members(
        index, fold_of, data.kept.index.to_numpy(), settings, folds=folds, seeds=seeds, views=views
    )
    fitted = fit_members(data.chips, members, out_dir / "members", workers)
    out_of_fold = data.chosen.assign(
        fold=data.fold_of, score=_out_of_fold_scores(index, fold_of, fitted, folds, seeds)
    )
    own_scores = np.mean([fitted[f"pool-{seed}"][1] for seed in range(seeds)], axis=0)
    decide = partial(decide_on_kept, aim=aim, method=calibration)
    judged = _judge(out_of_fold, data.kept.assign(score=own_scores), data.name, name, decide)
    contract = _Contract(
        out_dir=out_dir,
        licence=licence,
        attribution=attribution,
        inputs=_inputs(data.chips),
        judged=judged,
        taught=data.digests,
        kept=data.kept_digests if judged.on_kept else [],
        record={
            "data": data.name,
            "chips": _part(data.chosen),
            "joined_groups": data.joined_groups,
            "folds": folds,
            "seeds": seeds,
            "views": views,
            "settings": settings.model_dump(mode="json"),
            "aim": aim,
        },
    )
    whole = _package(contract, name, _networks(fitted, "pool", seeds), "all chips that teach")
    fold_packages = _package_folds(contract, name, fitted, folds, seeds)
    write_out_of_fold(out_of_fold, out_dir, _OUT_OF_FOLD)
    return TrainedDetector(whole, fold_packages, out_of_fold, judged.report)


def _look_through(folder: Path, model: str, folds: int) -> _Data:
    """Read a folder of chips, deal it into folds, and tell of groups that were joined."""
    table = read_chip_table(folder)
    chips_bytes = load_chips(folder, table)
    chosen = trainable(table, chips_bytes.shape[1] * _GSD_M)
    index = chosen.index.to_numpy()
    digests = _digests(chips_bytes, index)
    chosen = chosen.assign(group=join_alike(chosen, digests))
    joined = count_joined(table, chosen)
    if joined:
        sys.stderr.write(f"{model}: {joined_words(joined)}\n")
    fold_of = grouped_folds(chosen, folds, FOLD_SEED)
    chips = chip_set(chips_bytes, table["label"].to_numpy(), index)
    kept = kept_chips(table)
    # A folder given as `.` has a name all the same.
    name = folder.resolve().name
    kept_digests = _digests(chips_bytes, kept.index.to_numpy())
    refuse_taught(kept_digests, digests, name)
    return _Data(name, chips, chosen, fold_of, joined, digests, kept, kept_digests)


_Fitted = dict[str, tuple[list[ChipNetwork], FloatArray]]


def _package_folds(
    contract: _Contract, name: str, fitted: _Fitted, folds: int, seeds: int
) -> tuple[ModelPackage, ...]:
    """Write the networks that did not see a fold, a package for each."""
    return tuple(
        _package(
            contract,
            _fold_name(name, fold),
            _networks(fitted, f"fold-{fold}", seeds),
            f"chips that teach, without fold {fold}",
        )
        for fold in range(folds)
    )


@dataclass(frozen=True)
class _Judged:
    """What scores of chips that no network saw said."""

    thresholds: Thresholds
    calibration: Calibration
    report: ChipReport
    on_kept: bool
    """Whether thresholds and calibration are of chips kept for them, not of the folds."""


@dataclass(frozen=True)
class _Contract:
    """What the package and its fold packages have in common."""

    out_dir: Path
    licence: str
    attribution: str
    inputs: tuple[ScaledInput, ...]
    judged: _Judged
    taught: list[str]
    """`labels.chip_digests` of the chips that teach. Thresholds and calibration of fold packages
    are of all of them, too."""
    kept: list[str]
    """Of those that thresholds and calibration alone are of."""
    record: dict[str, JsonValue]


def _package(
    contract: _Contract, name: str, networks: list[ChipNetwork], fitted_to: str
) -> ModelPackage:
    weights = export_onnx(networks, len(CHIP_BANDS))
    extras = {TAUGHT_FILE: gather_lessons(contract.taught, None, contract.kept).content}
    files: dict[str, JsonValue] = {n: weights_sha256(content) for n, content in extras.items()}
    manifest = Manifest(
        name=name,
        title="Chip detector, red-green-blue",
        summary="Finds alluvial and open-pit artisanal mines in 480 m windows of 10 m imagery "
        "from red, green and blue alone.",
        licence=contract.licence,
        attribution=contract.attribution,
        created=dt.datetime.now(dt.UTC).date(),
        architecture=f"ChipNetwork {networks[0].shape.widths}, {len(networks)} views",
        framework="pytorch",
        pretrained=False,
        inputs=contract.inputs,
        levels=_LEVELS,
        gsd_m=_GSD_M,
        window_px=NetworkShape.window_px,
        context_px=NetworkShape.context_px,
        dense_stride_px=NetworkShape.stride_px,
        stride_m=80,
        output="the 480 m window holds an artisanal or small-scale mine",
        thresholds=contract.judged.thresholds,
        calibration=contract.judged.calibration,
        weights=Weights(sha256=weights_sha256(weights)),
        training={EXTRAS_KEY: files, **contract.record, "fitted_to": fitted_to},
    )
    figures = render_report(contract.judged.report)
    how = ON_KEPT if contract.judged.on_kept else IN_FOLDS
    card = f"# {name}\n\n{contract.attribution}\n\n{how}\n\n```\n{figures}\n```\n"
    folder = contract.out_dir / name
    return write_package(folder, manifest, weights, card, replace=True, bind=True, extras=extras)


def _fold_name(name: str, fold: int) -> str:
    return f"{name}-fold-{fold}"


def _digests(chips_bytes: ChipBytes, index: IntArray) -> list[str]:
    digests: list[str] = []
    for start in range(0, len(index), _AT_ONCE):
        part = chip_reflectance(chips_bytes[index[start : start + _AT_ONCE]])
        digests += chip_digests(part.transpose(0, 3, 1, 2))
    return digests


def _networks(fitted: _Fitted, group: str, seeds: int) -> list[ChipNetwork]:
    return [view for seed in range(seeds) for view in fitted[f"{group}-{seed}"][0]]


def _out_of_fold_scores(
    index: IntArray, fold_of: IntArray, fitted: _Fitted, folds: int, seeds: int
) -> FloatArray:
    scores = np.full(len(index), np.nan)
    for fold in range(folds):
        members = [fitted[f"fold-{fold}-{seed}"][1] for seed in range(seeds)]
        scores[fold_of == fold] = np.mean(members, axis=0)
    return scores


def _members(
    index: IntArray,
    fold_of: IntArray,
    kept_index: IntArray,
    settings: FitSettings,
    *,
    folds: int,
    seeds: int,
    views: int,
) -> list[Member]:
    """Folds first, so that their scores can be looked at while the rest is fitted."""
    if views not in {1, 2, 4}:
        raise ConfigError(f"--views {views}: a network looks from 1, 2 or 4 sides")
    members = []
    for seed in range(seeds):
        # Neighbouring seeds look from different sides.
        turns = tuple((seed + 4 // views * view) % 4 for view in range(views))
        for fold in range(folds):
            number = settings.seed + fold + folds * seed
            members.append(
                Member(
                    f"fold-{fold}-{seed}",
                    settings.model_copy(update={"seed": number}),
                    turns,
                    index[fold_of != fold],
                    index[fold_of == fold],
                )
            )
        whole = settings.model_copy(update={"seed": settings.seed + 100 + seed})
        members.append(Member(f"pool-{seed}", whole, turns, index, kept_index))
    return members


def _judge(
    out_of_fold: pd.DataFrame,
    kept: pd.DataFrame,
    data: str,
    name: str,
    decide: Callable[[ScoredWindows, ScoredWindows], tuple[WindowDecisions, bool]],
) -> _Judged:
    taught, folds = f"{data}, {_part(out_of_fold)}", out_of_fold["fold"].nunique()
    decided, on_kept = decide(
        ScoredWindows(kept, f"{data}, split {CALIBRATION}"),
        ScoredWindows(out_of_fold, taught),
    )
    report = evaluate_scores(
        out_of_fold,
        decided.t_main,
        decided.calibration,
        model=name,
        data=f"{taught}, {folds} folds by group, each scored by networks that never saw its places",
    )
    thresholds = Thresholds(t_main=decided.t_main, t_iso=decided.t_iso)
    return _Judged(thresholds, decided.calibration, report, on_kept)


def _inputs(chips: ChipSet) -> tuple[ScaledInput, ...]:
    return tuple(
        ScaledInput(band=band, divide=FULL_SCALE_REFLECTANCE, low=0.0, high=1.0, fill=fill)
        for band, fill in zip(CHIP_BANDS, chips.fill, strict=True)
    )


def _part(chosen: pd.DataFrame) -> str:
    return "split pool" if (chosen["split"] == POOL).all() else "all but held-out chips"
