"""Small data sets with masks, and a small fit that a test can kill: shared by tests of training."""

import sys
import time
from pathlib import Path

import numpy as np

from sluice.labels.dataset import ChipDataset, DatasetAbout, DatasetWriter

FOREST = {"blue": 0.03, "green": 0.05, "red": 0.04, "nir": 0.35, "vv": -8.0}
POND = {"blue": 0.12, "green": 0.16, "red": 0.18, "nir": 0.08, "vv": -20.0}


def write_masked_chips(
    folder: Path,
    *,
    chips: int = 40,
    side: int = 32,
    bands: tuple[str, ...] = ("red", "green", "nir"),
    classes: tuple[str, ...] = ("other", "mine"),
    splits: bool = False,
    group_of: int = 1,
    everywhere: bool = False,
    seed: int = 5,
) -> ChipDataset:
    """Forest with noise; a rectangular pond in every second chip, or in each.

    Pixels are told by colour. With three classes, every second pond is of the third, and half as
    bright.
    """
    about = DatasetAbout(
        name="ponds", bands=bands, sensor="s2-l2a", gsd_m=10, classes=classes, licence="CC0-1.0"
    )
    writer = DatasetWriter(folder, about)
    rng = np.random.default_rng(seed)
    names = ("train", "train", "train", "train", "val", "val", "cal", "cal", "test", "test")
    for k in range(chips):
        mask = np.zeros((side, side), np.uint8)
        if k % 2 or everywhere:
            top, left = rng.integers(0, side // 2, 2)
            kind = 1 + (k // 2) % (len(classes) - 1)
            mask[top : top + side // 3, left : left + side // 2] = kind
        image = np.empty((len(bands), side, side), np.float32)
        for b, band in enumerate(bands):
            plain = np.where(mask > 0, POND[band] / np.maximum(mask, 1), FOREST[band])
            image[b] = plain + rng.normal(0, 0.02 * abs(FOREST[band]) + 0.005, (side, side))
        image[:, 0, 0] = np.nan
        mask[side - 1] = 255
        split = names[(k // 2) % 10] if splits else ""
        writer.add(f"c{k}", image, None, mask, group=f"g{k // group_of}", split=split)
    return writer.finish()


def tiny_fit(work_dir: Path, *, hang_in_epoch: int = 0, **changes: object):
    """Fit a small network with batch norm and dropout to noise, from seeds alone.

    Args:
        work_dir: Of the fit.
        hang_in_epoch: In which to stop and wait for death, a file `hanging` beside.
        changes: Of the options.
    """
    import torch
    from torch import nn

    from sluice.training.loop import fit
    from sluice.training.options import FitOptions

    class Task:
        figure = "negative error"
        steps = 4

        def batches(self, epoch):
            for k in range(self.steps):
                generator = torch.Generator().manual_seed(1000 * epoch + k)
                images = torch.randn(4, 2, 8, 8, generator=generator)
                if epoch == hang_in_epoch and k == 2:
                    (work_dir / "hanging").touch()
                    time.sleep(60)
                yield images, images.mean(dim=1, keepdim=True)

        def loss(self, logits, target):
            return (logits - target).square().mean()

        def validate(self, score):
            images = torch.randn(4, 2, 8, 8, generator=torch.Generator().manual_seed(7))
            return -float(self.loss(score(images), images.mean(dim=1, keepdim=True)))

    def build():
        return nn.Sequential(
            nn.Conv2d(2, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Dropout2d(0.2),
            nn.Conv2d(8, 1, 1),
        )

    torch.set_num_threads(1)
    options = FitOptions(**{"epochs": 5, "warmup_steps": 3, "learning_rate": 0.01, **changes})
    return fit(build, Task(), options, work_dir=work_dir, name="tiny", identity="same")


if __name__ == "__main__":
    tiny_fit(Path(sys.argv[1]), hang_in_epoch=3, schedule=sys.argv[2])
