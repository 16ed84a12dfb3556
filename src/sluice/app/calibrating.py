"""New thresholds and a new calibration for a model, from labels that it never saw.

The weights stay as they are: what a score is worth where one looks, and where to draw the line,
can be learnt from far fewer labels than a model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import JsonValue

from sluice.app.chip_inputs import CALIBRATED_KEY, ChipInputs, open_chip_inputs, weights_were_taught
from sluice.app.config import models_folder
from sluice.app.judging import score_chips
from sluice.app.judging_masks import classified_chips
from sluice.base.calibration import Calibration
from sluice.base.errors import ConfigError, DataError
from sluice.evaluation.aims import CalibrationMethod, parse_aim
from sluice.evaluation.calibration import check_method
from sluice.evaluation.decisions import (
    FEWEST,
    choose_pixel_threshold,
    decide_windows,
    fit_pixel_calibration,
)
from sluice.evaluation.metrics import false_alarm_rate, recall
from sluice.evaluation.pixel_report import count_pixels, evaluate_pixels, render_pixel_report
from sluice.evaluation.pixel_sample import ScoredChip
from sluice.evaluation.report import evaluate_scores, render_report
from sluice.labels.splits import CALIBRATION, check_trainable, refuse_leaks
from sluice.models.manifest import Thresholds
from sluice.models.package import (
    EXTRAS_KEY,
    ModelPackage,
    check_new_name,
    load_package,
    weights_sha256,
    write_package,
)
from sluice.models.pixels import PixelPredictor
from sluice.models.taught import TAUGHT_FILE, Taught

_SEED = 0
_LEAST_APART = 0.05
"""Chips with something sought, and others: of fewer nothing follows."""
_MOST_KEPT_BYTES = 500_000_000
"""Of scores of pixels."""


@dataclass(frozen=True)
class Calibrated:
    """What was chosen, and what it is worth on the chips that chose it."""

    package: ModelPackage
    before: Thresholds
    figures: str
    """As text, with intervals."""
    lone_recall: float | None
    """Of the mines, at the threshold of windows with nothing near; None where pixels are judged."""


@dataclass(frozen=True)
class _Choice:
    thresholds: Thresholds
    calibration: Calibration
    figures: str
    chips: int
    """That were observed."""
    lone_recall: float | None = None


@dataclass(frozen=True)
class _Wanted:
    """What is to be chosen, and from what."""

    name: str
    data: str
    aim: str
    method: CalibrationMethod


def calibrate_model(
    name_or_path: str,
    folder: Path,
    new_name: str,
    *,
    split: str | None = None,
    aim: str = "f1",
    method: str = "beta",
) -> Calibrated:
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
        DataError: The model has learnt from these chips, they are held out for tests, share
            ground with another split, do not suffice, or the model tells nothing apart on them.
        BandNotFound, ManifestMismatch: The chips are not what the model takes.
        OSError: The folder cannot be written, or the disk is full.
        SluiceError: Something cannot be read.
    """
    package = load_package(name_or_path, models_folder())
    parse_aim(aim)
    form = check_method(method)
    check_new_name(new_name, models_folder())
    inputs = open_chip_inputs(folder, package, split)
    if split is None:
        split = _own_split(inputs)
        inputs = open_chip_inputs(folder, package, split)
    check_trainable(inputs.table)
    refuse_leaks(inputs.dataset.table, inputs.dataset.chip_side_m())
    if weights_were_taught(inputs):
        raise DataError(
            f"{package.name} has learnt from chips of {inputs.data}, {_part(split)}: its scores "
            "are too good there. Calibrate on chips that it never saw"
        )
    _refuse_few(inputs.table["label"].to_numpy(), inputs.data)
    wanted = _Wanted(new_name, f"{inputs.data}, {_part(split)}", aim, form)
    choose = _choose_for_pixels if package.manifest.judges == "pixels" else _choose_for_windows
    chosen = choose(package, inputs, wanted)
    about = inputs.dataset.about
    lesson: dict[str, JsonValue] = {
        "data": inputs.data,
        "split": split,
        "sensor": about.sensor,
        "licence": about.licence,
        "attribution": about.attribution,
        "chips": chosen.chips,
        "aim": aim,
        "method": method,
        "model": package.sha256,
    }
    taught = inputs.taught and Taught(inputs.taught.weights, inputs.digests())
    written = _write(package, wanted, chosen, lesson, taught)
    return Calibrated(written, package.manifest.thresholds, chosen.figures, chosen.lone_recall)


def calibrated_text(calibrated: Calibrated) -> str:
    """What was chosen, in words."""
    manifest, before = calibrated.package.manifest, calibrated.before
    now = manifest.thresholds
    lines = [f"alarms from a score of   {now.t_main:.4g}   before {before.t_main:.4g}"]
    if calibrated.lone_recall is not None:
        lines.append(
            f"with nothing else near   {now.t_iso:.4g}   before {before.t_iso:.4g}; "
            f"{calibrated.lone_recall:.0%} of these mines reach it"
        )
    return "\n".join(
        [
            calibrated.figures,
            "",
            *lines,
            _FLATTERS,
            *([_UNKNOWN] if manifest.pretrained and "data" not in manifest.training else []),
            "",
            f"Folder: {calibrated.package.folder}",
            f"Try it: sluice scan IMAGE --model {manifest.name} --out results",
        ]
    )


_FLATTERS = "The chips that chose the thresholds flatter these figures: judge the model on others."

_UNKNOWN = (
    "What others trained this model on is not on record: if on these chips, or on their ground, "
    "all this is too good."
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


def _refuse_few(labels: npt.NDArray[np.int64], data: str) -> None:
    mines, others = int((labels == 1).sum()), int((labels == 0).sum())
    if min(mines, others) < FEWEST:
        raise DataError(
            f"{data}: {mines} chips with something sought and {others} others; thresholds and "
            f"calibration need {FEWEST} of each at the least, and hundreds to be worth much"
        )


def _refuse_indifference(
    package: ModelPackage, calibration: Calibration, found: float, false_alarms: float
) -> None:
    """A threshold that marks all ground, or a score that says nothing, would still make a map.

    Args:
        package: The model.
        calibration: That was fitted.
        found: Share detected of what is sought.
        false_alarms: Share detected of the rest.
    """
    ratio = calibration.log_likelihood_ratio
    if found - false_alarms < _LEAST_APART or ratio[-1] - ratio[0] < _LEAST_APART:
        raise DataError(
            f"{package.name} tells nothing apart on these chips: at the threshold it marks "
            f"{found:.0%} of what is sought and {false_alarms:.0%} of the rest. Use another model, "
            "or check bands, units and labels of the chips"
        )


def _choose_for_windows(package: ModelPackage, inputs: ChipInputs, wanted: _Wanted) -> _Choice:
    scored = score_chips(package, inputs)
    seen = scored[scored["score"].notna()]
    labels, scores = seen["label"].to_numpy(), seen["score"].to_numpy(np.float32)
    _refuse_few(labels, f"{wanted.data}, observed")
    decided = decide_windows(
        scores,
        labels,
        f"{len(seen)} chips of {wanted.data}",
        aim=wanted.aim,
        method=wanted.method,
    )
    found, false_alarms = (
        float(share(labels, scores, decided.t_main)) for share in (recall, false_alarm_rate)
    )
    _refuse_indifference(package, decided.calibration, found, false_alarms)
    thresholds = package.manifest.thresholds.model_copy(
        update={"t_main": decided.t_main, "t_iso": decided.t_iso}
    )
    report = evaluate_scores(
        scored, decided.t_main, decided.calibration, model=wanted.name, data=wanted.data
    )
    lone = float(recall(labels, scores, decided.t_iso))
    return _Choice(thresholds, decided.calibration, render_report(report), len(seen), lone)


def _choose_for_pixels(package: ModelPackage, inputs: ChipInputs, wanted: _Wanted) -> _Choice:
    predictor, side = PixelPredictor(package), package.manifest.window_px

    def score() -> Iterator[ScoredChip]:
        for found, truth in classified_chips(inputs, predictor):
            for probabilities, classes in zip(found, truth, strict=True):
                yield ScoredChip(probabilities, classes).in_squares(side)

    chips = _kept_if_few(score)
    rng, count = np.random.default_rng(_SEED), len(inputs.table)
    main = choose_pixel_threshold(chips(), count, rng, aim=wanted.aim)
    data = f"{count} chips of {wanted.data}"
    calibration = fit_pixel_calibration(chips(), data, rng, method=wanted.method)
    counts = [count_pixels(chip.probabilities, chip.classes, main) for chip in chips()]
    report = evaluate_pixels(
        counts,
        inputs.table["group"].to_numpy(),
        package.manifest.classes,
        main,
        model=wanted.name,
        data=wanted.data,
    )
    detected = np.sum([chip.detected for chip in counts], axis=0)
    false_alarms, found = (detected[:, 1] / detected.sum(axis=1)).tolist()
    _refuse_indifference(package, calibration, found, false_alarms)
    thresholds = package.manifest.thresholds.model_copy(update={"t_main": main, "t_iso": main})
    return _Choice(thresholds, calibration, render_pixel_report(report), count)


def _kept_if_few(score: Callable[[], Iterator[ScoredChip]]) -> Callable[[], Iterable[ScoredChip]]:
    """Chips that are gone through several times: scored once where they fit into memory."""
    kept, size = [], 0
    for chip in score():
        kept.append(chip)
        size += chip.probabilities.nbytes + chip.classes.nbytes
        if size > _MOST_KEPT_BYTES:
            return score
    return lambda: kept


def _write(
    package: ModelPackage,
    wanted: _Wanted,
    chosen: _Choice,
    lesson: dict[str, JsonValue],
    taught: Taught | None,
) -> ModelPackage:
    manifest, training = package.manifest, {**package.manifest.training, CALIBRATED_KEY: lesson}
    files: Any = training.get(EXTRAS_KEY) or {}
    extras = {file: package.read_extra(file) for file in files}
    if taught is not None:
        # What the thresholds before were chosen on decides nothing any more.
        extras[TAUGHT_FILE] = taught.content
        training[EXTRAS_KEY] = {file: weights_sha256(extras[file]) for file in extras}
    changed = manifest.model_copy(
        update={
            "name": wanted.name,
            "title": f"{manifest.title}; calibrated on {wanted.data}, {wanted.aim}",
            "thresholds": chosen.thresholds,
            "calibration": chosen.calibration,
            "training": training,
        }
    )
    now, before = chosen.thresholds, manifest.thresholds
    owner = f" {lesson['attribution']}" if lesson["attribution"] else ""
    lone = (
        "" if chosen.lone_recall is None else f", where nothing else is near from {now.t_iso:.4g}"
    )
    card = (
        f"# {wanted.name}\n\nThe weights of {package.name}. Thresholds, for {wanted.aim}, and "
        f"calibration ({wanted.method}) were chosen on {chosen.chips} chips of {wanted.data}."
        f"{owner} Licence of these labels: {lesson['licence'] or 'not stated'}; of their images: "
        f"{lesson['sensor'] or 'sensor not stated'}.\n\nAlarms from {now.t_main:.4g}{lone}; before "
        f"from {before.t_main:.4g} and {before.t_iso:.4g}.\n\n{_FLATTERS}\n\n"
        f"```\n{chosen.figures}\n```\n\n"
        f"What follows was written of {package.name}, with its own thresholds and calibration, if "
        f"it had any.\n\n---\n\n{package.card_path.read_text(encoding='utf-8')}"
    )
    return write_package(
        models_folder() / wanted.name, changed, package.read_weights(), card, extras=extras
    )
