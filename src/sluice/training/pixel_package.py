"""The package of a trained model of pixels: weights, manifest, card."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import JsonValue

from sluice.base.calibration import Calibration
from sluice.base.errors import DataError
from sluice.evaluation.pixel_report import PixelReport, render_pixel_report
from sluice.models.manifest import Manifest, Thresholds, Weights
from sluice.models.package import EXTRAS_KEY, ModelPackage, weights_sha256, write_package
from sluice.models.taught import TAUGHT_FILE, gather_lessons
from sluice.training.curves import curves_table
from sluice.training.families import (
    NETWORK_KEY,
    TORCH_FILE,
    PixelFamily,
    network_record,
    save_tensors,
)
from sluice.training.in_graph import PixelNetwork, Probabilities
from sluice.training.loop import Fit
from sluice.training.naming import Naming
from sluice.training.onnx_export import export_checked
from sluice.training.options import PixelOptions
from sluice.training.pixel_data import PixelData
from sluice.training.pixel_task import PixelTask

CURVES_FILE = "curves.csv"
_MAX_INVALID_SHARE = 0.75


@dataclass(frozen=True)
class PixelTraining:
    """What was asked for, and from what."""

    family: PixelFamily
    options: PixelOptions
    naming: Naming
    data: PixelData
    parent: ModelPackage | None
    """Model that training goes on from."""

    @property
    def channels(self) -> list[str]:
        """What the network sees: inputs, then indices."""
        return [i.key for i in self.data.inputs] + list(self.data.indices)


@dataclass(frozen=True)
class Judgement:
    """What the validation, calibration and test chips said."""

    thresholds: Thresholds
    calibration: Calibration
    report: PixelReport | None
    """None where there are no test chips."""


def write_pixel_package(
    out_dir: Path, training: PixelTraining, fitted: Fit, judgement: Judgement
) -> ModelPackage:
    """Export a fitted network and write its package.

    Args:
        out_dir: Gets `<name>/`.
        training: See there.
        fitted: Its network is a `PixelNetwork`.
        judgement: See there.

    Raises:
        WeightsError: The exported model differs from the network.
        OSError: The folder cannot be written, or the disk is full.
    """
    network, name = fitted.network, training.naming.name
    if not isinstance(network, PixelNetwork):
        raise DataError(f"a {type(network).__name__} is no network of pixels")
    bands, patch = len(training.data.inputs), training.data.patch
    shapes = [
        (1, bands, patch, patch),
        (2, bands, patch + training.family.multiple, 2 * patch),
    ]
    weights = export_checked(Probabilities(network), shapes, free_sides=True)
    lessons = gather_lessons(training.data.taught, training.parent, training.data.kept)
    extras = {
        TORCH_FILE: save_tensors(network.core),
        CURVES_FILE: curves_table(fitted.rows, PixelTask.figure).encode(),
        TAUGHT_FILE: lessons.content,
    }
    record: dict[str, JsonValue] = {
        NETWORK_KEY: network_record(training.family, training.options),
        EXTRAS_KEY: {file: weights_sha256(content) for file, content in extras.items()},
        **_record(training, fitted),
        **lessons.record,
    }
    manifest = _manifest(training, judgement, Weights(sha256=weights_sha256(weights)), record)
    card = _card(manifest, training.data, judgement.report)
    return write_package(
        out_dir / name, manifest, weights, card, replace=True, bind=True, extras=extras
    )


def _manifest(
    training: PixelTraining,
    judgement: Judgement,
    weights: Weights,
    record: dict[str, JsonValue],
) -> Manifest:
    data, options, naming = training.data, training.options, training.naming
    about = data.reader.dataset.about
    sought = ", ".join(about.classes[1:])
    started = _started_from(training)
    return Manifest(
        name=naming.name,
        title=f"{training.family.title}, {', '.join(training.channels)}",
        summary=f"Marks pixels that are {sought} in images of {about.gsd_m:g} m.",
        licence=naming.licence,
        attribution=naming.attribution,
        created=dt.datetime.now(dt.UTC).date(),
        architecture=_architecture(training),
        framework="pytorch",
        pretrained=started is not None,
        pretrained_source=started,
        inputs=data.inputs,
        levels=data.levels,
        gsd_m=about.gsd_m,
        judges="pixels",
        window_px=options.window_px,
        patch_px=data.patch,
        patch_overlap_px=data.overlap,
        classes=about.classes,
        indices=data.indices,
        stride_m=about.gsd_m * options.window_px,
        # A patch beside a cloud is judged by what is left of it.
        max_invalid_share=_MAX_INVALID_SHARE,
        output=f"the pixel is {sought}",
        thresholds=judgement.thresholds,
        calibration=judgement.calibration,
        weights=weights,
        training=record,
    )


def _started_from(training: PixelTraining) -> str | None:
    if training.parent is not None:
        return training.parent.name
    checkpoint: Path | None = getattr(training.options, "checkpoint", None)
    return None if checkpoint is None else checkpoint.name


def _architecture(training: PixelTraining) -> str:
    shape = training.options.model_dump(
        mode="json", include=set(training.family.shape), exclude_none=True
    )
    return f"{training.family.title}, " + ", ".join(f"{k} {value}" for k, value in shape.items())


def _record(training: PixelTraining, fitted: Fit) -> dict[str, JsonValue]:
    data = training.data
    division, about = data.division, data.reader.dataset.about
    return {
        "data": about.name,
        "data_sha256": data.digest,
        "division": division.how,
        "joined_groups": data.joined_groups,
        "chips": {part: len(getattr(division, part)) for part in ("train", "val", "cal", "test")},
        "class_pixels": dict(zip(about.classes, data.class_pixels, strict=True)),
        "side_multiple_px": training.family.multiple,
        "options": training.options.model_dump(mode="json", exclude={"checkpoint"}),
        "best_epoch": fitted.best_epoch,
        "best_validation_f1": fitted.best_figure,
        "fitted_on": fitted.device,
        "torch": torch.__version__.split("+", maxsplit=1)[0],
        "from_model": training.parent.sha256 if training.parent else None,
    }


def _card(manifest: Manifest, data: PixelData, report: PixelReport | None) -> str:
    about, division = data.reader.dataset.about, data.division
    figures = (
        f"```\n{render_pixel_report(report)}\n```"
        if report
        else "The data set has no test chips: nothing is known of how well this model does."
    )
    squares = "Of squares of 2 x 2 pixels.\n\n" if manifest.window_px == 2 else ""
    pixels = ", ".join(
        f"{name} {count}" for name, count in zip(about.classes, data.class_pixels, strict=True)
    )
    origin = f" Fitting began from {manifest.pretrained_source}." if manifest.pretrained else ""
    warning = f"\n{data.seen.words}\n" if data.seen else ""
    if manifest.pretrained and not data.seen and report:
        warning = "\nWhether the checkpoint had seen these test chips is not known here.\n"
    return (
        f"# {manifest.name}\n\n{manifest.summary} {manifest.architecture}.{origin}\n\n"
        f"Licence of the weights: {manifest.licence}. {manifest.attribution}\n\n"
        f"## Data\n\n{about.name}: {about.summary or 'no summary'}\n\n"
        f"Licence of the data: {about.licence or 'not stated'}. {about.attribution}\n\n"
        f"Chips: {len(division.train)} to learn from, {len(division.val)} to stop the fit and set "
        f"the thresholds, {len(division.cal)} to calibrate, {len(division.test)} to test "
        f"({division.how}). Training pixels: {pixels}.\n\n"
        f"## Figures\n\n{squares}{figures}\n{warning}"
    )
