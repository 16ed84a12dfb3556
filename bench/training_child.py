"""Short trainings in a process of their own: `python -m bench.training_child JSON`.

JSON is a list of jobs: `[NAME, {ARGUMENT: VALUE, ...}]`, arguments as the functions below take
them. Prints a line of JSON for each: what it took, and the package that it left.
"""

from __future__ import annotations

import csv
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.images import BANDS

Took = dict[str, Any]
_LICENCE, _BY = "CC0-1.0", "Sluice"


def main() -> None:
    """Do the jobs one after another."""
    for name, arguments in json.loads(sys.argv[1]):
        print(json.dumps(JOBS[name](**arguments)), flush=True)


def _use_threads(threads: int) -> None:
    import torch  # noqa: PLC0415 - an extra, and slow

    torch.set_num_threads(threads)


def train_pixels(family: str, data: str, out: str, threads: int, **options: Any) -> Took:
    """`sluice train unet` or `segformer`."""
    from sluice.training.naming import Naming  # noqa: PLC0415 - needs torch
    from sluice.training.options import SegFormerOptions, UNetOptions  # noqa: PLC0415
    from sluice.training.pixel_model import train_pixel_model  # noqa: PLC0415

    _use_threads(threads)
    kind = UNetOptions if family == "unet" else SegFormerOptions
    trained = train_pixel_model(
        Path(data), Path(out), kind(**options), Naming(family, _LICENCE, _BY)
    )
    parts: Any = trained.package.manifest.training["chips"]
    return {
        "package": str(trained.package.folder),
        "chips": parts["train"],
        "in_set": sum(parts.values()),
        "epoch_s": _last_epoch_s(Path(out) / "work" / f"{family}-curves.csv"),
    }


def train_windows(architecture: str, data: str, out: str, threads: int, **options: Any) -> Took:
    """`sluice train cnn`."""
    from sluice.training.naming import Naming  # noqa: PLC0415 - needs torch
    from sluice.training.options import CnnOptions  # noqa: PLC0415
    from sluice.training.window_model import train_window_model  # noqa: PLC0415

    _use_threads(threads)
    asked = CnnOptions(architecture=architecture, **options)
    trained = train_window_model(Path(data), Path(out), asked, Naming(architecture, _LICENCE, _BY))
    in_set = len(trained.out_of_fold)
    return {
        "package": str(trained.package.folder),
        "chips": round(asked.bootstrap_share * in_set),
        "in_set": in_set,
        "epoch_s": _last_epoch_s(Path(out) / "work" / f"{architecture}-whole-0-curves.csv"),
    }


def fit_detector(chips: str, epochs: int, threads: int, **settings: Any) -> Took:
    """One network of `sluice train chip-detector`."""
    from sluice.labels.chips import FULL_SCALE_REFLECTANCE  # noqa: PLC0415
    from sluice.training.fit import EpochReport, FitSettings, fit_network  # noqa: PLC0415
    from sluice.training.members import chip_set  # noqa: PLC0415

    _use_threads(threads)
    images, labels = _arrays(chips)
    counts = np.rint(255 * np.clip(images / FULL_SCALE_REFLECTANCE, 0, 1)).astype(np.uint8)
    index = np.arange(len(labels))
    ready = chip_set(counts.transpose(0, 2, 3, 1), labels, index)
    seconds: list[float] = []

    def note(report: EpochReport) -> None:
        seconds.append(report.seconds)

    fit_network(ready, index, FitSettings(epochs=epochs, **settings), note)
    # Seconds are told since the fit began; the first epoch also warms up.
    return {"chips": len(labels), "epoch_s": seconds[-1] - seconds[-2]}


def train_features(chips: str, out: str, name: str, count: int, **settings: Any) -> Took:
    """`sluice train random-features`, with chips from memory."""
    from sluice.training.feature_detector import (  # noqa: PLC0415 - needs scikit-learn
        FeatureSettings,
        LabelledImages,
        train_random_features,
    )

    images, labels = (array[:count] for array in _arrays(chips))
    table = pd.DataFrame({"label": labels, "group": np.arange(count), "split": "pool"})
    # By label, so that every fold has both.
    table["source"] = table["label"].map({0: "phantom", 1: "phantom mines"})
    labelled = LabelledImages(
        lambda index: images[index], table, BANDS, gsd_m=10, name="phantom", sensor="s2-l2a"
    )
    began = time.perf_counter()
    trained = train_random_features(
        labelled,
        Path(out),
        name=name,
        licence=_LICENCE,
        attribution=_BY,
        settings=FeatureSettings(**settings),
    )
    seconds = time.perf_counter() - began
    return {"package": str(trained.package.folder), "chips": count, "seconds": seconds}


def train_table(labels: str, features: str, out: str) -> Took:
    """`sluice train feature-table`."""
    import sluice.training.feature_table  # noqa: F401, PLC0415 - slow, and not what is timed
    from sluice.app.cell_maps import train_cells  # noqa: PLC0415

    began = time.perf_counter()
    train_cells(Path(labels), Path(features), Path(out))
    return {"seconds": time.perf_counter() - began}


def _arrays(path: str) -> tuple[np.ndarray, np.ndarray]:
    with np.load(path) as arrays:
        return arrays["images"], arrays["labels"]


def _last_epoch_s(curves: Path) -> float:
    """Of a fit's last epoch, with its validation; the first also warms up."""
    with curves.open(newline="") as file:
        return float([*csv.DictReader(file)][-1]["seconds"])


JOBS: dict[str, Callable[..., Took]] = {
    "pixels": train_pixels,
    "windows": train_windows,
    "detector": fit_detector,
    "features": train_features,
    "table": train_table,
}

if __name__ == "__main__":
    main()
