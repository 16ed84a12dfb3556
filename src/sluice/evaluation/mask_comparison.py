"""Models of pixels against each other, on the same pixels and the same resamples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd

from sluice.base.arrays import FloatArray
from sluice.base.errors import ConfigError, NoValidData, ShapeMismatch
from sluice.base.records import DISCLAIMER, Record
from sluice.evaluation.bootstrap import RESAMPLES, Statistic, bootstrap_estimates
from sluice.evaluation.masks import (
    ClassFigures,
    MaskFigures,
    class_figures,
    counts_array,
    figures_table,
    gather_figures,
    mask_statistics,
)
from sluice.evaluation.metrics import Numbers


class MaskDifference(Record):
    """Figures of one model less those of the first."""

    name: str
    classes: tuple[ClassFigures, ...]
    """Those that the truth holds."""
    mean: MaskFigures
    """Mean over them."""


class MaskComparison(Record):
    """Several models on the same pixels."""

    reference: str
    """The model that the others are compared with."""
    chips: int
    blocks: int
    less_reference: tuple[MaskDifference, ...]
    """One for each other model."""
    resamples: int
    seed: int
    disclaimer: str = DISCLAIMER


def compare_masks(
    counts: Mapping[str, pd.DataFrame],
    blocks: Numbers,
    names: Sequence[str],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> MaskComparison:
    """Compare models with the first of them, class by class.

    Args:
        counts: By model, from `count_masks` with the same truth: where one model has observed
            nothing, no pixel may be labelled for the others.
        blocks: (N,) block of each chip.
        names: Of the classes, in their order.
        resamples: Of the block bootstrap.
        seed: Of the resamples.

    Raises:
        ConfigError: Fewer than two models.
        DataError: A column is missing.
        ShapeMismatch: Counts, blocks and names do not fit each other, or the truths differ.
        NoValidData: Not one labelled pixel.

    Source:
        Efron & Tibshirani 1993, An Introduction to the Bootstrap, section 8.3 (paired data).
    """
    if len(counts) < 2:
        raise ConfigError(f"{len(counts)} model leaves nothing to compare; name two or more")
    tables = {name: counts_array(one, len(blocks), len(names)) for name, one in counts.items()}
    reference, *others = tables
    present = np.flatnonzero(_shared_truth(tables).sum(axis=0))
    if not present.size:
        raise NoValidData("no pixel of these masks is labelled; choose other chips")
    own = mask_statistics(tables[reference], present)
    statistics: dict[str, Statistic] = {}
    for name in others:
        statistics |= {
            f"{name}/{key}": partial(_less, figure, own[key])
            for key, figure in mask_statistics(tables[name], present).items()
        }
    found = bootstrap_estimates(statistics, blocks, resamples=resamples, seed=seed)
    differences = []
    for name in others:
        start = f"{name}/"
        of_it = {k.removeprefix(start): v for k, v in found.items() if k.startswith(start)}
        differences.append(
            MaskDifference(
                name=name,
                classes=tuple(
                    class_figures(tables[name], names, k, of_it) for k in present.tolist()
                ),
                mean=gather_figures(of_it, "mean"),
            )
        )
    return MaskComparison(
        reference=reference,
        chips=len(blocks),
        blocks=np.unique(blocks).size,
        less_reference=tuple(differences),
        resamples=resamples,
        seed=seed,
    )


def _shared_truth(tables: Mapping[str, FloatArray]) -> FloatArray:
    """(N, classes) pixels of the truth, which all models must have been counted on."""
    # Hits and misses together are the pixels of the truth.
    truths = {name: table[..., 0] + table[..., 2] for name, table in tables.items()}
    reference, *others = truths
    for name in others:
        if not np.array_equal(truths[name], truths[reference]):
            raise ShapeMismatch(
                f"the truths of {reference} and {name} differ; count both on the same pixels"
            )
    return truths[reference]


def render_mask_comparison(comparison: MaskComparison) -> str:
    """The differences as plain text, for a terminal."""
    lines = []
    for one in comparison.less_reference:
        title = f"{one.name} less {comparison.reference}"
        lines += [*figures_table(title, one.classes, one.mean, signed=True), ""]
    return "\n".join(
        (
            *lines,
            f"{comparison.chips} chips of {comparison.blocks} groups, on pixels that all models "
            "observed, and on the same resamples. A difference whose interval holds 0 may be "
            "chance.",
        )
    )


def _less(figure: Statistic, reference: Statistic, weights: FloatArray) -> FloatArray:
    return figure(weights) - reference(weights)
