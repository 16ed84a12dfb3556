"""Members of an ensemble: each fitted to a draw of places, several side by side."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from sluice.base.arrays import FloatArray, IntArray
from sluice.base.errors import DataError
from sluice.labels.dataset import read_dataset
from sluice.models.manifest import ScaledInput
from sluice.models.package import ModelPackage
from sluice.training.chip_reading import ChipReader
from sluice.training.families import load_tensors, load_weights
from sluice.training.loop import fit, open_scorer
from sluice.training.losses import choose_window_loss
from sluice.training.options import CnnOptions
from sluice.training.patch_cnn import ARCHITECTURES, WindowEnsemble
from sluice.training.pixel_task import check_batches
from sluice.training.scaling import Scaling
from sluice.training.window_task import WindowTask, score_windows


@dataclass(frozen=True)
class Ensemble:
    """What all members have in common."""

    name: str
    """Of the model; its members' files begin with it."""
    folder: Path
    """Of the data set."""
    inputs: tuple[ScaledInput, ...]
    groups: pd.Series
    """Of the chips that may teach, by row: what is drawn together."""
    options: CnnOptions
    work_dir: Path
    identity: str
    """Digests of data and code."""
    parent: ModelPackage | None
    """Model that fitting goes on from."""


@dataclass(frozen=True)
class WindowMember:
    """One network to fit, and the chips that it is to score afterwards."""

    name: str
    number: int
    """In its ensemble."""
    seed: int
    rows: IntArray
    """To draw places from."""
    score_rows: IntArray
    """Of other places; may be empty."""


def fit_window_members(
    ensemble: Ensemble, members: Sequence[WindowMember]
) -> dict[str, tuple[nn.Module, FloatArray]]:
    """Fit members, `options.workers` at a time with one thread each.

    Args:
        ensemble: What they have in common.
        members: What to fit.

    Returns:
        By name: the network in evaluation mode, and its scores of `score_rows`, NaN where not
        observed.

    Raises:
        DataError: Too few places or chips, or a fit that broke down.
        WeightsError: A checkpoint or the parent's weights are damaged.
        OSError: The folder cannot be written, or the disk is full.
    """
    if ensemble.options.workers > 1:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(ensemble.options.workers, mp_context=context) as pool:
            # Networks come from their checkpoints: tensors do not travel well between processes.
            for done in [pool.submit(_fit_alone, ensemble, member) for member in members]:
                done.result()
    reader = _reader(ensemble)
    return {member.name: _fit_and_score(ensemble, member, reader) for member in members}


def draw_places(
    table: pd.DataFrame, rows: IntArray, share: float, seed: int
) -> tuple[IntArray, IntArray]:
    """Draw groups with repetition: a bootstrap by place, and what it left out.

    Places with something sought and those without are drawn apart, so that both are there.

    Args:
        table: With `group` and `label`.
        rows: To draw from.
        share: Groups drawn, as a share of all.
        seed: Of the draw.

    Returns:
        Rows to learn from, as often as their group was drawn, and rows of groups never drawn.

    Raises:
        DataError: One of the two lacks a label.
    """
    chosen = table.iloc[rows]
    members = {group: rows[at] for group, at in chosen.groupby("group").indices.items()}
    sought = chosen.groupby("group")["label"].max()
    rng = np.random.default_rng(seed)
    drawn: list[object] = []
    for label in (1, 0):
        groups = sought.index[sought == label].to_numpy()
        drawn += rng.choice(groups, round(share * len(groups))).tolist() if len(groups) else []
    left = [group for group in members if group not in set(drawn)]
    parts = tuple(
        np.concatenate([np.zeros(0, np.int64), *(members[group] for group in groups)])
        for groups in (drawn, left)
    )
    for part in parts:
        if table["label"].iloc[part].nunique() < 2:
            raise DataError(
                f"{len(members)} places are too few to draw from: chips of both labels are needed "
                "among the drawn and among the rest; add places, use fewer folds, or let chips "
                "of different places have different groups"
            )
    return parts[0], parts[1]


def _fit_alone(ensemble: Ensemble, member: WindowMember) -> None:
    torch.set_num_threads(1)
    _fit_and_score(ensemble, member, _reader(ensemble))


def _reader(ensemble: Ensemble) -> ChipReader:
    bands = tuple(i.key for i in ensemble.inputs)
    cache = int(ensemble.options.cache_gb * 1e9)
    return ChipReader(read_dataset(ensemble.folder), bands, cache, with_masks=False)


def _fit_and_score(
    ensemble: Ensemble, member: WindowMember, reader: ChipReader
) -> tuple[nn.Module, FloatArray]:
    table, scaling = reader.dataset.table, Scaling(ensemble.inputs)
    options = ensemble.options.model_copy(update={"seed": member.seed})
    architecture = ARCHITECTURES[options.architecture]
    # The table's own groups may share ground.
    grouped = table.assign(group=ensemble.groups)
    train, val = draw_places(grouped, member.rows, options.bootstrap_share, member.seed)
    check_batches(len(train), options.batch)
    labels = table["label"].to_numpy()
    criterion = choose_window_loss(options, np.bincount(labels[train], minlength=2).tolist())
    task = WindowTask(reader, train, val, labels, scaling, architecture, criterion, options)

    def build() -> nn.Module:
        network = architecture.build(len(ensemble.inputs))
        if ensemble.parent is not None:
            start_member(network, ensemble.parent, member.number)
        return network

    rows = member.rows.tobytes().hex()
    network = fit(
        build,
        task,
        options,
        work_dir=ensemble.work_dir,
        name=f"{ensemble.name}-{member.name}",
        identity=f"{ensemble.identity}\n{member.number}\n{rows}",
    ).network

    if not member.score_rows.size:
        return network, np.zeros(0)
    scores, observed = score_windows(
        open_scorer(network, options),
        reader,
        member.score_rows,
        scaling,
        architecture,
    )
    return network.cpu(), np.where(observed, scores, np.nan)


def start_member(network: nn.Module, parent: ModelPackage, number: int) -> None:
    """Take a member of another ensemble up again, in place; they are gone through in turn.

    Args:
        network: Of the same shape.
        parent: Package of the ensemble.
        number: Of the new member.

    Raises:
        WeightsError: The parent's weights are missing, damaged, or of another network.
    """
    tensors = load_tensors(parent)
    prefix = f"{WindowEnsemble.PREFIX}."
    count = 1 + max(
        (int(name.split(".")[1]) for name in tensors if name.startswith(prefix)), default=-1
    )
    own = f"{prefix}{number % max(count, 1)}."
    weights = {n.removeprefix(own): t for n, t in tensors.items() if n.startswith(own)}
    load_weights(network, weights, parent)
