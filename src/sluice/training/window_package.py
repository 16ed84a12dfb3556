"""The package of a trained ensemble that judges windows: weights, manifest, card."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import JsonValue
from torch import nn

from sluice.base.calibration import Calibration
from sluice.evaluation.report import IN_FOLDS, ON_KEPT, ChipReport, render_report
from sluice.labels.dataset import DatasetAbout
from sluice.models.manifest import Level, Manifest, ScaledInput, Thresholds, Weights
from sluice.models.package import EXTRAS_KEY, ModelPackage, weights_sha256, write_package
from sluice.models.taught import TAUGHT_FILE, gather_lessons
from sluice.training.families import NETWORK_KEY, TORCH_FILE, save_tensors
from sluice.training.naming import Naming
from sluice.training.onnx_export import export_checked
from sluice.training.options import CnnOptions
from sluice.training.parent_chips import SeenByParent
from sluice.training.patch_cnn import ARCHITECTURES, Architecture, WindowEnsemble
from sluice.training.window_task import MAX_INVALID_SHARE


@dataclass(frozen=True)
class WindowTraining:
    """What was asked for, and from what."""

    options: CnnOptions
    naming: Naming
    about: DatasetAbout
    inputs: tuple[ScaledInput, ...]
    levels: tuple[Level, ...]
    """Kinds of imagery that the model will take."""
    data_digest: str
    taught: tuple[str, ...]
    """`labels.chip_digests` of the chips that taught."""
    kept: tuple[str, ...]
    """Likewise, of those that set only thresholds and calibration."""
    joined_groups: int
    """How many groups of the data set were made one with others, as they share ground."""
    parent: ModelPackage | None
    """Model that training goes on from."""

    @property
    def architecture(self) -> Architecture:
        """The network."""
        return ARCHITECTURES[self.options.architecture]


@dataclass(frozen=True)
class WindowJudgement:
    """What scores of chips that no network saw said."""

    thresholds: Thresholds
    calibration: Calibration
    report: ChipReport
    """Of the out-of-fold scores."""
    on_kept: bool
    """Whether thresholds and calibration are of chips kept for them, not of the folds."""
    seen: SeenByParent | None = None
    """What the model that training went on from saw of them."""


def write_window_package(
    out_dir: Path,
    training: WindowTraining,
    networks: Sequence[nn.Module],
    judgement: WindowJudgement,
) -> ModelPackage:
    """Export fitted networks as one and write the package.

    Args:
        out_dir: Gets `<name>/`.
        training: See there.
        networks: The members, at least one.
        judgement: See there.

    Raises:
        WeightsError: The exported model differs from the networks.
        OSError: The folder cannot be written, or the disk is full.
    """
    architecture, bands = training.architecture, len(training.inputs)
    ensemble = WindowEnsemble(networks)
    side, stride = architecture.sight_px, architecture.dense_stride_px
    shapes = [(1, bands, side, side), (3, bands, side, side)]
    if stride is not None:
        shapes = [(1, bands, side + 5 * stride, side + 3 * stride), *shapes]
    weights = export_checked(ensemble, shapes, free_sides=stride is not None)
    lessons = gather_lessons(training.taught, training.parent, training.kept)
    extras = {TORCH_FILE: save_tensors(ensemble), TAUGHT_FILE: lessons.content}
    record: dict[str, JsonValue] = {
        NETWORK_KEY: architecture.record,
        EXTRAS_KEY: {file: weights_sha256(content) for file, content in extras.items()},
        **_record(training),
        **lessons.record,
    }
    manifest = _manifest(training, judgement, Weights(sha256=weights_sha256(weights)), record)
    card = _card(manifest, training, judgement)
    return write_package(
        out_dir / training.naming.name,
        manifest,
        weights,
        card,
        replace=True,
        bind=True,
        extras=extras,
    )


def _manifest(
    training: WindowTraining,
    judgement: WindowJudgement,
    weights: Weights,
    record: dict[str, JsonValue],
) -> Manifest:
    about, naming, architecture = training.about, training.naming, training.architecture
    sought = ", ".join(about.classes[1:])
    window_m = architecture.window_px * about.gsd_m
    members = training.options.members
    return Manifest(
        name=naming.name,
        title=f"{architecture.name}, {', '.join(i.key for i in training.inputs)}",
        summary=f"Finds {window_m:g} m windows of {about.gsd_m:g} m images that hold {sought}.",
        licence=naming.licence,
        attribution=naming.attribution,
        created=dt.datetime.now(dt.UTC).date(),
        architecture=f"{architecture.name}, {members} member{'s' if members > 1 else ''}",
        framework="pytorch",
        pretrained=training.parent is not None,
        pretrained_source=training.parent.name if training.parent else None,
        inputs=training.inputs,
        levels=training.levels,
        gsd_m=about.gsd_m,
        window_px=architecture.window_px,
        context_px=architecture.context_px,
        dense_stride_px=architecture.dense_stride_px,
        stride_m=training.options.stride_m or window_m / 2,
        max_invalid_share=MAX_INVALID_SHARE,
        output=f"the {window_m:g} m window holds {sought}",
        thresholds=judgement.thresholds,
        calibration=judgement.calibration,
        weights=weights,
        training=record,
    )


def _record(training: WindowTraining) -> dict[str, JsonValue]:
    return {
        "data": training.about.name,
        "data_sha256": training.data_digest,
        "chips": len(training.taught),
        "joined_groups": training.joined_groups,
        "options": training.options.model_dump(mode="json"),
        "torch": torch.__version__.split("+", maxsplit=1)[0],
        "from_model": training.parent.sha256 if training.parent else None,
    }


def _card(manifest: Manifest, training: WindowTraining, judgement: WindowJudgement) -> str:
    about = training.about
    origin = f" Fitting began from {manifest.pretrained_source}." if manifest.pretrained else ""
    seen = f" {judgement.seen.words}" if judgement.seen else ""
    return (
        f"# {manifest.name}\n\n{manifest.summary} {manifest.architecture}.{origin}\n\n"
        f"Licence of the weights: {manifest.licence}. {manifest.attribution}\n\n"
        f"## Data\n\n{about.name}: {about.summary or 'no summary'}\n\n"
        f"Licence of the data: {about.licence or 'not stated'}. {about.attribution}\n\n"
        f"{len(training.taught)} chips taught; each member saw a bootstrap of "
        f"{training.options.bootstrap_share:.0%} of the places.\n\n"
        f"## Figures\n\n{ON_KEPT if judgement.on_kept else IN_FOLDS}{seen}\n\n"
        f"```\n{render_report(judgement.report)}\n```\n"
    )
