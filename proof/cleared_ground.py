"""Ground cleared of forest, on real pixels with real masks: learnt at one place, judged at another.

The masks say what had been cleared by a day, and each lies where there is one clear image. So they
judge a model of one date; what it finds between two dates is drawn and not measured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from proof.markdown import to_table
from proof.real_masks import Task, fit_task, judge_rule, write_task
from proof.setup import Setup
from sluice.base.arrays import BoolHW
from sluice.base.files import open_raster, write_whole
from sluice.base.sensors import SENSORS
from sluice.evaluation.calibration import choose_threshold
from sluice.evaluation.compare import estimate_text
from sluice.evaluation.pixel_report import PixelReport
from sluice.models.package import ModelPackage
from sluice.models.pixels import PixelPredictor

_SENSOR = "s2-l2a"
_BANDS = ("coastal", "blue", "green", "red")
_PLACES = ("-54.68_-4.17", "-55.06_-4.09")
"""Centres of the two places that have a mask of both kinds and a clear image beside it."""
_DAY, _MASK_DAY = "2021_05_06", "2021_05_01"
_FOREST, _FOREST_DAYS = "-54.92_-3.61", ("2021_05_06", "2021_05_11")
"""Nothing is cleared there, and clouds drift over it."""
_SERIES, _SERIES_DAYS = "-55.20_-4.39", ("2019_07_01", "2020_07_20")
"""The clearest days of two years; no mask."""

Image4 = npt.NDArray[np.float32]
Judge = Callable[[Image4], BoolHW]
"""From an image to what is called cleared."""


def prove_cleared_ground(setup: Setup) -> str:
    """IoU at the other place, and what is called cleared where nothing is."""
    torch.set_num_threads(1)
    folder = setup.data / "s2s1-para-multidate"
    rows, shares, drawn = [], [], []
    for learn, judge in (_PLACES, _PLACES[::-1]):
        task, least = _task(folder, learn, judge)
        chips = setup.work / f"cleared{learn}"
        report = judge_rule(task, write_task(task, chips))
        shares.append(f"{report.sought_share:.3f} at {judge.replace('_', ', ')}")
        places = [place.replace("_", ", ") for place in (learn, judge)]
        rule = partial(_is_red, least)
        rows.append([*places, task.rule_name, *_figures(report), *_elsewhere(folder, rule)])
        for name, trained in fit_task(task, chips):
            if trained.report is None:
                continue
            found = as_judge(trained.package)
            rows.append([*places, name, *_figures(trained.report), *_elsewhere(folder, found)])
            drawn.append(found)
    _draw(setup.pictures / "cleared-ground.png", folder, drawn)
    heads = ["learnt at", "judged at", "by", "IoU of cleared ground", "F1", "IoU by class"]
    heads += [f"forest under cloud called cleared, {day.replace('_', '-')}" for day in _FOREST_DAYS]
    heads += ["newly called cleared between two dates"]
    return to_table(heads, rows) + (
        f"\n\nSentinel-2 bands 1 to 4 of {_DAY.replace('_', '-')}, masks of "
        f"{_MASK_DAY.replace('_', '-')}, 256 x 256 px at each of two places 43 km apart, in chips "
        "of 64 px; longitude and latitude name a place. Calling everything cleared has an IoU of "
        f"{' and '.join(shares)}. [ ] 95 % intervals over 16 chips, which are neighbours, so they "
        "are too narrow. Forest under cloud: a third place where nothing had been cleared. Newly "
        "called cleared: at a fourth, 655 ha, from 2019-07-01 to 2020-07-20; no mask says what is "
        "right there."
    )


def _is_red(least: float, image: Image4) -> BoolHW:
    return np.asarray(image[_BANDS.index("red")] >= least)


def _task(folder: Path, learn: str, judge: str) -> tuple[Task, float]:
    """Both places side by side, and the threshold of the plain rule."""
    images = [_read_image(folder, place, _DAY) for place in (learn, judge)]
    masks = [_read_mask(folder, place) for place in (learn, judge)]
    red = [image[_BANDS.index("red")] for image in images]
    least = choose_threshold(red[0].ravel(), masks[0].ravel())
    both = np.concatenate(red, axis=1)
    task = Task(
        "cleared ground",
        _SENSOR,
        _BANDS,
        ("other", "cleared"),
        np.concatenate(images, axis=2),
        np.concatenate(masks, axis=1),
        np.asarray(both >= least),
        f"red at or above {least:.3f}",
        gap=0,
        epochs=80,
        batch=4,
    )
    return task, least


def _read_image(folder: Path, place: str, day: str) -> Image4:
    bands = []
    for common in _BANDS:
        code = SENSORS[_SENSOR].band(common).name.replace("B0", "B")
        with open_raster(folder / "sent2" / f"Sentinel2_{code}_{place}_{day}.tiff") as file:
            bands.append(file.read(1).astype(np.float32) / 10_000)
    return np.stack(bands)


def _read_mask(folder: Path, place: str) -> npt.NDArray[np.uint8]:
    name = f"Deforestation_{place}_{_MASK_DAY}.tiff"
    with open_raster(folder / "deforestation" / name) as file:
        mask: npt.NDArray[np.uint8] = file.read(1)
    return mask


def as_judge(package: ModelPackage) -> Judge:
    """A model at its own threshold."""
    predictor = PixelPredictor(package)
    threshold = package.manifest.thresholds.t_main

    def judge(image: Image4) -> BoolHW:
        found = predictor.classify_chips(image[np.newaxis], _BANDS)[0]
        return np.asarray(1 - found[0] >= threshold)

    return judge


def _figures(report: PixelReport) -> list[str]:
    by_class = ", ".join(f"{key} {estimate_text(iou)}" for key, iou in report.class_iou.items())
    return [estimate_text(report.iou), estimate_text(report.f1), by_class]


def _elsewhere(folder: Path, judge: Judge) -> list[str]:
    alarms = [judge(_read_image(folder, _FOREST, day)).mean() for day in _FOREST_DAYS]
    pixels = int(new_ground(judge, _series(folder)).sum())
    return [*(f"{share:.1%}" for share in alarms), f"{pixels / 100:.0f} ha"]


def _series(folder: Path) -> list[Image4]:
    return [_read_image(folder, _SERIES, day) for day in _SERIES_DAYS]


def new_ground(judge: Judge, dates: Sequence[Image4]) -> BoolHW:
    """What is called cleared at the second of two dates and not at the first."""
    before, after = (judge(image) for image in dates)
    return np.asarray(after & ~before)


def _draw(path: Path, folder: Path, judges: Sequence[Judge]) -> None:
    """Two dates, and on the second, red, what each network calls newly cleared."""
    dates = _series(folder)
    pictures = [np.clip(image[[3, 2, 1]] / 0.15, 0, 1).transpose(1, 2, 0) for image in dates]
    for judge in judges:
        marked = pictures[1].copy()
        marked[new_ground(judge, dates)] = (1, 0, 0)
        pictures.append(marked)
    sheet = (np.concatenate(pictures, axis=1) * 255).astype(np.uint8)
    with write_whole(path) as part:
        Image.fromarray(sheet).save(part)
