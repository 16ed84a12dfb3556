"""Fitting many networks side by side, each in a process of its own."""

from __future__ import annotations

import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from sluice.base.arrays import FloatArray, IntArray
from sluice.labels.chips import ChipBytes
from sluice.training.fit import ChipSet, EpochReport, FitSettings, fit_or_load, score_chips
from sluice.training.network import ChipNetwork


@dataclass(frozen=True)
class Member:
    """One network to fit, and the chips it is to score afterwards."""

    name: str
    settings: FitSettings
    turns: tuple[int, ...]
    """Quarter turns of the copies that are used together; see `ChipNetwork.turned`."""
    fit_index: IntArray
    score_index: IntArray


def chip_set(chips: ChipBytes, labels: IntArray, reference: IntArray) -> ChipSet:
    """Fill what was not observed, and put the bands first.

    Args:
        chips: (N, H, W, 3) uint8, 0 in all bands = not observed.
        labels: (N,), 1 = mine.
        reference: Chips whose median colour stands for the unobserved; training chips only.
    """
    seen = chips[reference].reshape(-1, chips.shape[-1])
    fill_bytes = np.median(seen[seen.any(axis=1)], axis=0).astype(np.uint8)
    filled = np.where(chips.any(axis=-1, keepdims=True), chips, fill_bytes)
    return ChipSet(
        images_bytes=np.ascontiguousarray(filled.transpose(0, 3, 1, 2)),
        labels=labels.astype(bool),
        fill=tuple(float(value) / 255 for value in fill_bytes),
    )


def fit_members(
    chips: ChipSet, members: list[Member], work_dir: Path, workers: int
) -> dict[str, tuple[list[ChipNetwork], FloatArray]]:
    """Fit members, `workers` at a time with one thread each, telling progress on stderr.

    One thread a process is faster than threads within: the network is small.

    Args:
        chips: All chips.
        members: What to fit.
        work_dir: Keeps finished networks, so that a second call goes on where one was cut off.
        workers: Processes.

    Returns:
        By name: the network's turned copies, and their mean scores of the member's
        `score_index`.

    Raises:
        DataError: A fit broke down.
        WeightsError: A network that is there is damaged.
    """
    work_dir.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        done = [pool.submit(_fit_member, chips, member, work_dir) for member in members]
        try:
            scores = [future.result() for future in done]
        except BaseException:
            # What has begun ends; hours of the others would keep the reason back.
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    # Networks come from their files: tensors do not travel well between processes.
    return {
        member.name: (_views(chips, member, work_dir), score)
        for member, score in zip(members, scores, strict=True)
    }


def _fit_member(chips: ChipSet, member: Member, work_dir: Path) -> FloatArray:
    torch.set_num_threads(1)
    scores = [
        score_chips(network, chips, member.score_index)
        for network in _views(chips, member, work_dir)
    ]
    mean: FloatArray = np.mean(scores, axis=0)
    return mean


def _views(chips: ChipSet, member: Member, work_dir: Path) -> list[ChipNetwork]:
    def tell(report: EpochReport) -> None:
        left = report.seconds / report.epoch * (report.epochs - report.epoch) / 60
        sys.stderr.write(
            f"{member.name}: epoch {report.epoch}/{report.epochs}, loss {report.loss:.3f}, "
            f"{left:.0f} min left\n"
        )

    path = work_dir / member.name
    network = fit_or_load(path, chips, member.fit_index, member.settings, tell)
    return [network.turned(turn) for turn in member.turns]
