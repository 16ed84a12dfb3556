"""Networks of pixels, a rule and the radar threshold on landscapes that none of them saw."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from proof.markdown import to_table
from proof.phantom_landscapes import (
    BANDS,
    CHIP_PX,
    DATES,
    SIZE_PX,
    THREE_CLASSES,
    TWO_CLASSES,
    Landscape,
    draw_landscapes,
    write_chips,
)
from proof.phantom_radar import SEEDS as RADAR_SEEDS
from proof.phantom_radar import RadarResult, measure_radar, radar_table
from proof.real_series import paint, save_panels
from proof.setup import Setup
from sluice.app.judging_masks import CountedMasks, choose_classes, count_chip_masks
from sluice.evaluation.bootstrap import Estimate, Statistic, bootstrap_estimates
from sluice.evaluation.compare import estimate_text
from sluice.evaluation.masks import evaluate_masks
from sluice.evaluation.metrics import ratio
from sluice.models.package import ModelPackage, load_package
from sluice.models.pixels import PixelPredictor
from sluice.training.naming import Naming
from sluice.training.options import PixelOptions, SegFormerOptions, UNetOptions
from sluice.training.pixel_model import train_pixel_model

SEEDS = {
    "train": tuple(range(3001, 3011)),
    "val": tuple(range(3101, 3104)),
    "cal": tuple(range(3201, 3203)),
    "test": tuple(range(3301, 3311)),
}
"""Each is a landscape of its own."""
_PICTURED = 3
"""Test landscapes in the picture, the first ones."""
_PICTURE, _RADAR_PICTURE = "phantom-series.png", "phantom-radar.png"
_COLOURS = np.array([(24, 24, 28), (255, 170, 40), (80, 160, 255)], np.uint8)
_BRIGHTEST = (0.25, 0.25, 0.25)

Picture = npt.NDArray[np.uint8]
_RULE = "spectral-rule"
_UNET, _WITH, _SEGFORMER = "U-Net", "U-Net with NDWI and NDVI", "SegFormer-B0"
_TASKS = {"mines": TWO_CLASSES, "active or inactive": THREE_CLASSES}


@dataclass(frozen=True)
class Judged:
    """A model on the test landscapes."""

    task: str
    name: str
    package: ModelPackage
    counted: CountedMasks


def prove_phantom_series(setup: Setup) -> str:
    """Train, judge on other landscapes, and write the tables."""
    torch.set_num_threads(1)
    landscapes = draw_landscapes(SEEDS)
    judged = []
    for task, classes in _TASKS.items():
        folder = setup.work / f"series-{len(classes)}"
        write_chips(landscapes, folder, classes)
        work = setup.work / f"series-fits-{len(classes)}"
        judged += judge_models(task, folder, work, fits(len(classes)))
    optical = next(one.package for one in judged if one.name == _WITH)
    radar = [_measure_radar(seed, optical, setup.work / f"radar-{seed}") for seed in RADAR_SEEDS]
    setup.pictures.mkdir(parents=True, exist_ok=True)
    tested = [each for each in landscapes if each.split == "test"][:_PICTURED]
    panels = [_panels(each, judged) for each in tested]
    save_panels(setup.pictures / _PICTURE, panels, scale=1)
    save_panels(setup.pictures / _RADAR_PICTURE, [_radar_panels(each) for each in radar], scale=1)
    return "\n\n".join(
        [
            f"{len(SEEDS['train'])} landscapes of {SIZE_PX / 100:.1f} km to learn from, "
            f"{len(SEEDS['val'])} to stop and set thresholds, {len(SEEDS['cal'])} to calibrate and "
            f"{len(SEEDS['test'])} others to test; chips of {CHIP_PX} px of the median of the "
            f"clear looks of {DATES} dates, bands {', '.join(BANDS)}.",
            _figure_table(judged),
            "What NDWI and NDVI as channels change, on the same landscapes:",
            _gain_table(judged),
            f"Radar: {len(radar)} more landscapes, of which every optical date is overcast; the "
            "least VV and VH of the first and the second half of 2022, descending passes every "
            "twelve days, as a scan reads them.",
            radar_table(radar),
            f"[ ] 95 % intervals over landscapes. Pictures: `{setup.pictures.name}/{_PICTURE}`, "
            f"`{setup.pictures.name}/{_RADAR_PICTURE}`.",
        ]
    )


def fits(classes: int, **changes: object) -> dict[str, PixelOptions]:
    """How each network is fitted; nothing of it was chosen on test landscapes.

    Args:
        classes: How many there are.
        changes: Other options for all of them.
    """
    given: dict[str, object] = {"batch": 4, "warmup_steps": 50}
    if classes > len(TWO_CLASSES):
        # Few pixels are of inactive mines: without weights the U-Net never said so, and
        # with weights that balance all classes active mines are told much worse.
        given |= {"loss": "weighted_bce", "class_weights": (1, 2, 10)}
    given |= changes
    unet = {"width": 8, "epochs": 12, "learning_rate": 2e-3, **given}
    segformer = {"epochs": 8, "learning_rate": 5e-4, **given}
    return {
        _UNET: UNetOptions.model_validate(unet),
        _WITH: UNetOptions.model_validate({**unet, "indices": ("ndwi", "ndvi")}),
        _SEGFORMER: SegFormerOptions.model_validate(segformer),
    }


def judge_models(
    task: str, folder: Path, work: Path, options: dict[str, PixelOptions]
) -> list[Judged]:
    """Fit networks to a data set and count what they, and the rule, say of its test chips.

    Args:
        task: Its name.
        folder: A data set with masks and splits.
        work: For the models.
        options: Of each network.
    """
    judged = []
    for number, (name, chosen) in enumerate(options.items()):
        naming = Naming(name=f"series-{number}", licence="CC0-1.0", attribution="proof")
        package = train_pixel_model(folder, work / str(number), chosen, naming).package
        counted = count_chip_masks(folder, str(package.folder), "test")
        judged.append(Judged(task, name, package, counted))
    if len(judged[0].counted.classes) == len(TWO_CLASSES):
        counted = count_chip_masks(folder, _RULE, "test")
        judged.insert(0, Judged(task, "spectral rule", load_package(_RULE, None), counted))
    return judged


def _measure_radar(seed: int, optical: ModelPackage, work: Path) -> RadarResult:
    work.mkdir()
    try:
        return measure_radar(seed, optical, work)
    finally:
        shutil.rmtree(work)


def _figure_table(judged: Sequence[Judged]) -> str:
    rows = []
    for one in judged:
        report = evaluate_masks(one.counted.counts, one.counted.groups, one.counted.classes)
        for found in report.classes[1:]:
            figures = found.figures
            cells = (figures.iou, figures.f1, figures.boundary_f1, figures.precision)
            texts = [estimate_text(cell) for cell in (*cells, figures.recall)]
            rows.append([one.task, one.name, found.name, *texts])
    heads = ["task", "by", "class", "IoU", "F1", "boundary F1", "precision", "recall"]
    return to_table(heads, rows)


def _gain_table(judged: Sequence[Judged]) -> str:
    rows = []
    for task, classes in _TASKS.items():
        without, with_both = (
            next(one.counted for one in judged if (one.task, one.name) == (task, name))
            for name in (_UNET, _WITH)
        )
        for number, name in enumerate(classes[1:], 1):
            text = estimate_text(iou_gain(without, with_both, number), signed=True)
            rows.append([task, name, text])
    return to_table(["task", "class", "IoU with less without"], rows)


def iou_gain(without: CountedMasks, other: CountedMasks, class_id: int) -> Estimate:
    """IoU of one class by one model less that by another, on the same resamples."""

    def iou(counted: CountedMasks) -> Statistic:
        rows = counted.counts[counted.counts["class_id"] == class_id].sort_values("chip")
        hits = rows["hits"].to_numpy(np.float64)
        whole = rows[["hits", "alarms", "misses"]].sum(axis=1).to_numpy(np.float64)
        return lambda weights: ratio(weights @ hits, weights @ whole)

    one, two = iou(other), iou(without)
    gain: Statistic = lambda weights: one(weights) - two(weights)  # noqa: E731
    return bootstrap_estimates({"gain": gain}, other.groups)["gain"]


def _panels(landscape: Landscape, judged: Sequence[Judged]) -> dict[str, Picture]:
    """The image, the truth, and what each model makes of it."""
    red_green_blue = landscape.image_bhw[[BANDS.index(name) for name in ("red", "green", "blue")]]
    pictures = {
        f"{landscape.name}: median": paint(red_green_blue, _BRIGHTEST),
        "truth": _COLOURS[landscape.truth_hw],
    }
    for one in judged:
        found = PixelPredictor(one.package).classify_chips(landscape.image_bhw[np.newaxis], BANDS)
        classes = choose_classes(found, one.package.manifest.thresholds.t_main)[0]
        pictures[f"{one.name}, {one.task}"] = _COLOURS[classes]
    return pictures


def _radar_panels(found: RadarResult) -> dict[str, Picture]:
    """New bare ground and new ponds, and what was marked."""
    truth = np.where(found.pond_hw, 2, found.dug_hw.astype(np.uint8))
    return {
        f"{found.seed}: new bare ground, new ponds": _COLOURS[truth],
        "marked": _COLOURS[found.marked_hw.astype(np.uint8)],
    }
