"""New thresholds and a new calibration for a model, from labels that it never saw.

The weights stay as they are: what a score is worth where one looks, and where to draw the line,
can be learnt from far fewer labels than a model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import JsonValue

from sluice.app.chip_inputs import CALIBRATED_KEY, ChipInputs, open_chip_inputs, weights_were_taught
from sluice.app.config import models_folder
from sluice.app.judging import score_chips
from sluice.app.judging_masks import classified_chips
from sluice.base.calibration import Calibration
from sluice.base.errors import ConfigError, DataError
from sluice.evaluation.aims import parse_aim
from sluice.evaluation.calibration import CalibrationMethod, check_method
from sluice.evaluation.decisions import (
    choose_pixel_threshold,
    decide_windows,
    fit_pixel_calibration,
)
from sluice.evaluation.metrics import precision, recall
from sluice.evaluation.pixel_sample import ScoredChip
from sluice.labels.splits import CALIBRATION, check_trainable
from sluice.models.manifest import Thresholds
from sluice.models.package import (
    EXTRAS_KEY,
    ModelPackage,
    check_new_name,
    load_package,
    write_package,
)
from sluice.models.pixels import PixelPredictor

_SEED = 0


@dataclass(frozen=True)
class Decided:
    """What was chosen, beside what was there."""

    package: ModelPackage
    before: Thresholds
    chips: int
    mines: int
    """Of the chips; those with something sought in them."""
    shares: tuple[float, float] | None
    """Recall and precision of these chips at the threshold; None where pixels are judged."""


@dataclass(frozen=True)
class _Choice:
    thresholds: Thresholds
    calibration: Calibration
    shares: tuple[float, float] | None = None


def calibrate_model(
    name_or_path: str,
    folder: Path,
    new_name: str,
    *,
    split: str | None = None,
    aim: str = "f1",
    method: str = "beta",
) -> Decided:
    """Write a model again, with thresholds and calibration of other labels.

    Args:
        name_or_path: Of any model, imported ones too.
        folder: A data set; with masks where the model judges pixels.
        new_name: What to call it from now on; it is written beside the user's other models.
        split: Of the data set; None for `cal` where there is one, else for all chips, which then
            must have no splits.
        aim: As for `choose_threshold_for`.
        method: As for `fit_calibration`.

    Raises:
        ConfigError: No such model, split, aim or method; a split has to be named; or the new
            name is taken.
        DataError: The model has learnt from these chips, they are held out for tests, or they
            do not suffice.
        BandNotFound, ManifestMismatch: The chips are not what the model takes.
        OSError: The folder cannot be written, or the disk is full.
        SluiceError: Something cannot be read.
    """
    package = load_package(name_or_path, models_folder())
    parse_aim(aim)
    form = check_method(method)
    check_new_name(new_name, models_folder())
    inputs = open_chip_inputs(folder, package.manifest, split)
    if split is None:
        split = _own_split(inputs)
        inputs = open_chip_inputs(folder, package.manifest, split)
    check_trainable(inputs.table)
    if weights_were_taught(inputs):
        raise DataError(
            f"{package.name} has learnt from {inputs.data}, {_part(split)}: its scores are too "
            "good there. Calibrate on labels that it never saw"
        )
    choose = _choose_for_pixels if package.manifest.judges == "pixels" else _choose_for_windows
    chosen = choose(package, inputs, f"{inputs.data}, {_part(split)}", aim, form)
    lesson: dict[str, JsonValue] = {
        "data": inputs.data,
        "split": split,
        "chips": len(inputs.table),
        "aim": aim,
        "method": method,
        "model": package.sha256,
    }
    written = _write(package, new_name, chosen, lesson)
    return Decided(
        written,
        package.manifest.thresholds,
        len(inputs.table),
        int(inputs.table["label"].sum()),
        chosen.shares,
    )


def decided_text(decided: Decided) -> str:
    """What was chosen, in words."""
    manifest, before = decided.package.manifest, decided.before
    now = manifest.thresholds
    lines = [
        f"{manifest.name}: from {decided.chips} chips, {decided.mines} with something sought",
        f"alarms from a score of   {now.t_main:.4g}   before {before.t_main:.4g}",
    ]
    if manifest.judges == "windows":
        lines.append(f"with nothing else near   {now.t_iso:.4g}   before {before.t_iso:.4g}")
    if decided.shares is not None:
        found, right = decided.shares
        lines.append(
            f"It finds {found:.0%} of the mines of these chips, and {right:.0%} of its alarms "
            "there are mines."
        )
    return "\n".join(
        [
            *lines,
            "",
            f"Folder: {decided.package.folder}",
            "The chips that chose the threshold flatter it: judge the model on others.",
        ]
    )


def _own_split(inputs: ChipInputs) -> str | None:
    splits = sorted(set(inputs.table["split"].astype(str)) - {""})
    if not splits:
        return None
    if CALIBRATION in splits:
        return CALIBRATION
    raise ConfigError(
        f"{inputs.data}: has the splits {', '.join(splits)}; say with --split which of them the "
        "model never saw"
    )


def _part(split: str | None) -> str:
    return f"split {split}" if split else "all chips"


def _choose_for_windows(
    package: ModelPackage, inputs: ChipInputs, data: str, aim: str, method: CalibrationMethod
) -> _Choice:
    scored = score_chips(package, inputs)
    seen = scored[scored["score"].notna()]
    decided = decide_windows(
        seen["score"].to_numpy(np.float64),
        seen["label"].to_numpy(),
        f"{len(seen)} chips of {data}",
        aim=aim,
        method=method,
    )
    thresholds = package.manifest.thresholds.model_copy(
        update={"t_main": decided.t_main, "t_iso": decided.t_iso}
    )
    labels, scores = seen["label"].to_numpy(), seen["score"].to_numpy(np.float32)
    found, right = (float(share(labels, scores, decided.t_main)) for share in (recall, precision))
    return _Choice(thresholds, decided.calibration, (found, right))


def _choose_for_pixels(
    package: ModelPackage, inputs: ChipInputs, data: str, aim: str, method: CalibrationMethod
) -> _Choice:
    predictor, side = PixelPredictor(package), package.manifest.window_px

    def chips() -> Iterator[ScoredChip]:
        for found, truth in classified_chips(inputs, predictor):
            for probabilities, classes in zip(found, truth, strict=True):
                yield ScoredChip(probabilities, classes).in_squares(side)

    rng, count = np.random.default_rng(_SEED), len(inputs.table)
    main = choose_pixel_threshold(chips(), count, rng, aim=aim)
    calibration = fit_pixel_calibration(chips(), f"{count} chips of {data}", rng, method=method)
    thresholds = package.manifest.thresholds.model_copy(update={"t_main": main, "t_iso": main})
    return _Choice(thresholds, calibration)


def _write(
    package: ModelPackage, name: str, chosen: _Choice, lesson: dict[str, JsonValue]
) -> ModelPackage:
    manifest = package.manifest
    files: Any = manifest.training.get(EXTRAS_KEY) or {}
    changed = manifest.model_copy(
        update={
            "name": name,
            "thresholds": chosen.thresholds,
            "calibration": chosen.calibration,
            "training": {**manifest.training, CALIBRATED_KEY: lesson},
        }
    )
    before = package.card_path.read_text(encoding="utf-8")
    card = (
        f"# {name}\n\nThe weights of {package.name}, with thresholds and calibration chosen on "
        f"{chosen.calibration.fitted_on}, for {lesson['aim']} ({lesson['method']}): alarms from "
        f"{chosen.thresholds.t_main:.4f}, where nothing else is near from "
        f"{chosen.thresholds.t_iso:.4f}. Figures below are of the thresholds before, "
        f"{manifest.thresholds.t_main:.4f} and {manifest.thresholds.t_iso:.4f}.\n\n{before}"
    )
    extras = {file: package.read_extra(file) for file in files}
    return write_package(
        models_folder() / name, changed, package.read_weights(), card, extras=extras
    )
