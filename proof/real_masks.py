"""Networks that judge pixels, on real pixels with real masks, divided by place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from proof.markdown import to_table
from proof.setup import Setup, naming
from sluice.base.files import open_raster
from sluice.base.sensors import SENSORS
from sluice.composite.clear import CLOUD
from sluice.composite.indices import mndwi
from sluice.composite.spectral_cloud import BANDS as CLOUD_BANDS
from sluice.composite.spectral_cloud import classify_by_spectrum
from sluice.evaluation.compare import estimate_text
from sluice.evaluation.pixel_report import PixelReport, count_pixels, evaluate_pixels
from sluice.labels.dataset import UNLABELLED, DatasetAbout, DatasetWriter
from sluice.training.options import PixelOptions, SegFormerOptions, UNetOptions
from sluice.training.pixel_model import TrainedPixelModel, train_pixel_model

_SIDE = 64
_LEARN = 4
"""Columns of chips to learn from."""


@dataclass(frozen=True)
class Task:
    """One scene with a mask, or two side by side."""

    name: str
    sensor: str
    bands: tuple[str, ...]
    classes: tuple[str, ...]
    image: npt.NDArray[np.float32]
    """(bands, H, W)"""
    mask: npt.NDArray[np.uint8]
    rule: npt.NDArray[np.bool_]
    """What a plain rule marks as sought."""
    rule_name: str
    gap: int = 1
    """Columns of chips that are left out beside those to learn from."""
    epochs: int = 40
    batch: int = 8


def prove_real_masks(setup: Setup) -> str:
    """IoU of what is sought on the part of a scene that no network saw."""
    torch.set_num_threads(1)
    rows = []
    for task in (_water(setup), _cloud(setup)):
        folder = setup.work / f"masks-{task.sensor}"
        groups = write_task(task, folder)
        rows.append(_row(task, task.rule_name, judge_rule(task, groups)))
        for name, trained in fit_task(task, folder):
            if trained.report is not None:
                rows.append(_row(task, name, trained.report))
    heads = ["task", "by", "IoU of what is sought", "F1", "IoU by class"]
    return to_table(heads, rows) + (
        f"\n\nOne scene each, in chips of {_SIDE} px: the four western columns to learn from, stop "
        "and calibrate, the next one left out, three to test. A scene says how the method works "
        "and not how it travels. [ ] 95 % intervals over test chips."
    )


def _water(setup: Setup) -> Task:
    folder = setup.data / "s2s1-spain-water"
    sensor = SENSORS["s2-l1c"]
    with open_raster(folder / "Spain_7370579_S2Hand.tif") as file:
        names = [sensor.band(name).common_name for name in file.descriptions]
        image = file.read().astype(np.float32) / 10_000
    with open_raster(folder / "Spain_7370579_LabelHand.tif") as file:
        label = file.read(1)
    bands = ("blue", "green", "red", "nir", "swir16", "swir22")
    image = np.stack([image[names.index(band)] for band in bands])
    mask = np.where(label < 0, UNLABELLED, label).astype(np.uint8)
    rule = mndwi(image[1], image[4]) > 0
    return Task("water", sensor.id, bands, ("other", "water"), image, mask, rule, "MNDWI above 0")


def _cloud(setup: Setup) -> Task:
    with np.load(setup.data / "s2-cloudmask" / "sentinel2.npz", allow_pickle=False) as held:
        image = np.moveaxis(held["img"], 2, 0).astype(np.float32)
        given = held["msk"][:, :, 0]
    mask = np.zeros(given.shape, np.uint8)
    mask[given == 4], mask[given == 0] = 1, 2
    found = classify_by_spectrum(dict(zip(CLOUD_BANDS, image, strict=True)))
    return Task(
        "cloud and shadow",
        "s2-l2a",
        CLOUD_BANDS,
        ("other", "cloud", "shadow"),
        image,
        mask,
        found == CLOUD,
        "spectral test (cloud only)",
    )


def fit_task(task: Task, folder: Path) -> Iterator[tuple[str, TrainedPixelModel]]:
    """Fit one network after the other to the chips that `write_task` wrote."""
    fit = {
        "epochs": task.epochs,
        "batch": task.batch,
        "early_stop": task.epochs * 3 // 8,
        "learning_rate": 2e-3,
    }
    fits: dict[str, PixelOptions] = {"U-Net, width 8": UNetOptions(width=8, **fit)}
    if "nir" in task.bands:
        fits["U-Net, width 8, with NDWI and NDVI"] = UNetOptions(
            width=8, indices=("ndwi", "ndvi"), **fit
        )
    fits["SegFormer-B0"] = SegFormerOptions(**{**fit, "learning_rate": 5e-4})
    for number, (name, options) in enumerate(fits.items()):
        out = folder.with_name(f"{folder.name}-fit-{number}")
        yield name, train_pixel_model(folder, out, options, naming(number))


def write_task(task: Task, folder: Path) -> list[tuple[int, int]]:
    """Write the chips; (row, column) of those to test."""
    about = DatasetAbout(
        name=task.name, bands=task.bands, sensor=task.sensor, gsd_m=10, classes=task.classes
    )
    writer, tested = DatasetWriter(folder, about), []
    height, width = (side // _SIDE for side in task.mask.shape)
    for row in range(height):
        for col in range(width):
            place = np.s_[row * _SIDE : (row + 1) * _SIDE, col * _SIDE : (col + 1) * _SIDE]
            if _LEARN <= col < _LEARN + task.gap:
                continue
            split = (
                "test"
                if col >= _LEARN
                else ("train", "train", "val", "train", "cal")[(row + 2 * col) % 5]
            )
            if split == "test":
                tested.append((row, col))
            writer.add(f"r{row}c{col}", task.image[:, *place], None, task.mask[place], split=split)
    writer.finish()
    return tested


def judge_rule(task: Task, tested: list[tuple[int, int]]) -> PixelReport:
    """Figures of the plain rule on the chips to test."""
    counts = []
    for row, col in tested:
        place = np.s_[row * _SIDE : (row + 1) * _SIDE, col * _SIDE : (col + 1) * _SIDE]
        found = task.rule[place].astype(np.float32)
        rest = [np.zeros_like(found)] * (len(task.classes) - 2)
        counts.append(count_pixels(np.stack([1 - found, found, *rest]), task.mask[place], 0.5))
    groups = np.array([f"r{row}c{col}" for row, col in tested])
    return evaluate_pixels(counts, groups, task.classes, 0.5, model=task.rule_name, data=task.name)


def _row(task: Task, name: str, report: PixelReport) -> list[str]:
    by_class = ", ".join(f"{key} {estimate_text(iou)}" for key, iou in report.class_iou.items())
    return [task.name, name, estimate_text(report.iou), estimate_text(report.f1), by_class]
