"""Training a model that judges pixels: from a folder of chips with masks to a model package.

Chips of `train` are learnt from, `val` stops the fit and sets the thresholds, `cal` fits the
calibration, and `test`, which nothing before has seen, gives the figures of the card.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from sluice.base.arrays import IntArray
from sluice.evaluation.decisions import choose_pixel_threshold, fit_pixel_calibration
from sluice.evaluation.pixel_report import PixelReport, count_pixels, evaluate_pixels
from sluice.evaluation.pixel_sample import ScoredChip
from sluice.labels.check_labels import ALL_SOUGHT
from sluice.labels.dataset import read_dataset
from sluice.labels.splits import joined_words
from sluice.models.manifest import Thresholds
from sluice.models.package import ModelPackage
from sluice.training.digests import code_digest
from sluice.training.families import (
    check_same_inputs,
    check_same_network,
    family_of,
    network_record,
    start_from,
)
from sluice.training.in_graph import PixelNetwork
from sluice.training.loop import fit, open_scorer
from sluice.training.losses import choose_loss
from sluice.training.naming import Naming
from sluice.training.options import PixelOptions
from sluice.training.patches import score_chips
from sluice.training.pixel_data import look_through
from sluice.training.pixel_package import Judgement, PixelTraining, write_pixel_package
from sluice.training.pixel_task import PixelTask
from sluice.training.scaling import Scaling

_Chips = Callable[[IntArray], Iterator[ScoredChip]]


@dataclass(frozen=True)
class TrainedPixelModel:
    """What training leaves."""

    package: ModelPackage
    report: PixelReport | None
    """Figures on the test chips; None where there are none."""


def train_pixel_model(
    folder: Path,
    out_dir: Path,
    options: PixelOptions,
    naming: Naming,
    parent: ModelPackage | None = None,
) -> TrainedPixelModel:
    """Train a U-Net or a SegFormer and write its package.

    Args:
        folder: A data set with masks; see `divisions.divide` for its splits.
        out_dir: Gets `<name>/` (the package) and `work/` (checkpoints and curves: a second call
            goes on where one was cut off).
        options: `UNetOptions` or `SegFormerOptions`.
        naming: Name, licence, attribution.
        parent: A model of the same family and shape to go on from; its inputs, scaling and
            indices are kept, and its last layer where the classes are the same.

    Returns:
        The package, which loads, and the figures on the test chips.

    Raises:
        DataError: The chips do not suffice or do not fit; see the message.
        ConfigError: The options contradict the data or each other.
        ManifestMismatch: The parent is of another kind.
        WeightsError: A checkpoint or the parent's weights are damaged.
        OSError: The folder cannot be written, or the disk is full.
    """
    family = family_of(options)
    if parent is not None:
        check_same_network(parent, network_record(family, options))
        check_same_inputs(parent.manifest, options.bands, options.indices)
    dataset = read_dataset(folder)
    data = look_through(dataset, options, family.multiple, parent)
    if data.joined_groups:
        _tell(naming.name, joined_words(data.joined_groups))
    if data.seen and not data.seen.clear:
        _tell(naming.name, data.seen.words)
    training = PixelTraining(family, options, naming, data, parent)
    sought = dataset.table["label"].to_numpy() == 1
    if sought[data.division.train].all():
        _tell(
            naming.name,
            f"every training chip holds what is sought, and {ALL_SOUGHT}; add chips of other "
            "ground (sluice labels grid --negatives 1)",
        )
    task = PixelTask(
        data.reader,
        data.division.train,
        data.division.val,
        sought,
        Scaling(data.inputs),
        data.patch,
        choose_loss(options, data.class_pixels),
        options,
    )
    fitted = fit(
        lambda: _build(training),
        task,
        options,
        work_dir=out_dir / "work",
        name=naming.name,
        identity=_identity(training),
    )
    judgement = _judge(fitted.network, training)
    package = write_pixel_package(out_dir, training, fitted, judgement)
    return TrainedPixelModel(package, judgement.report)


def _build(training: PixelTraining) -> nn.Module:
    data, parent = training.data, training.parent
    classes = data.reader.dataset.about.classes
    core = training.family.build(training.channels, len(classes), training.options)
    if parent is not None:
        same = parent.manifest.classes == classes
        start_from(core, parent, head=training.family.head, same_classes=same)
    return PixelNetwork(core, data.inputs, data.indices)


def _identity(training: PixelTraining) -> str:
    data, parent = training.data, training.parent
    inputs = "".join(i.model_dump_json() for i in data.inputs)
    origin = parent.sha256 if parent else ""
    return "\n".join((training.family.name, data.digest, inputs, origin, code_digest()))


def _judge(network: nn.Module, training: PixelTraining) -> Judgement:
    data, options, name = training.data, training.options, training.naming.name

    score = open_scorer(network, options)

    def chips(rows: IntArray) -> Iterator[ScoredChip]:
        scaling = Scaling(data.inputs)
        scored = score_chips(
            score, data.reader, rows, scaling, patch=data.patch, batch=options.batch
        )
        return (chip.in_squares(options.window_px) for chip in scored)

    rng = np.random.default_rng(options.seed)
    val, cal, about = data.division.val, data.division.cal, data.reader.dataset.about
    _tell(name, f"choosing thresholds on {len(val)} validation chips")
    main = choose_pixel_threshold(chips(val), len(val), rng, aim=options.aim)
    _tell(name, f"calibrating on {len(cal)} chips")
    where = f"{len(cal)} chips of {about.name}, part cal"
    calibration = fit_pixel_calibration(chips(cal), where, rng, method=options.calibration)
    report = _test(training, chips, main) if data.division.test.size else None
    return Judgement(Thresholds(t_main=main, t_iso=main), calibration, report)


def _test(training: PixelTraining, chips: _Chips, threshold: float) -> PixelReport:
    data, name = training.data, training.naming.name
    rows, dataset = data.division.test, data.reader.dataset
    _tell(name, f"taking figures on {len(rows)} test chips")
    counts = [count_pixels(chip.probabilities, chip.classes, threshold) for chip in chips(rows)]
    return evaluate_pixels(
        counts,
        dataset.table["group"].iloc[rows].to_numpy(),
        dataset.about.classes,
        threshold,
        model=name,
        data=f"{dataset.about.name}, {len(rows)} test chips ({data.division.how})",
    )


def _tell(name: str, what: str) -> None:
    sys.stderr.write(f"{name}: {what}\n")
