"""The area of workings, beside two readings by eye and beside the whole window."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import shapely
from affine import Affine
from PIL import Image
from rasterio.features import rasterize
from scipy import ndimage

from proof.markdown import to_table
from proof.setup import REPOSITORY, Setup
from sluice.app.config import models_folder
from sluice.app.outlining import USUAL_MODEL
from sluice.evaluation.bootstrap import Statistic, bootstrap_estimates
from sluice.evaluation.compare import estimate_text
from sluice.labels.dataset import read_dataset
from sluice.labels.patch_masks import mask_from_cues, spread_fields
from sluice.models.local_scores import LocalScorer
from sluice.models.package import load_package
from sluice.models.pixels import PixelPredictor

OUTLINES = REPOSITORY / "proof" / "outlines"
_SETS = {
    "first": "first chips, seen while the model was made",
    "second": "second chips, compared once it was final",
}
_FINE = 10
"""Parts of a pixel's side in which outlines are burnt."""

MasksNHW = npt.NDArray[np.bool_]


def prove_workings(setup: Setup) -> str:
    """Areas and overlaps of the model's outlines and the readers', with intervals over chips."""
    dataset, table = read_dataset(setup.chips), []
    package = load_package(USUAL_MODEL, models_folder())
    for name, title in _SETS.items():
        readers = [read_outlines(path) for path in sorted(OUTLINES.glob(f"{name}-reader-*.json"))]
        ids = sorted(readers[0])
        rows = dataset.table.reset_index().set_index("chip_id").loc[ids, "index"].to_numpy()
        images = dataset.images(rows)
        found = PixelPredictor(package).classify_chips(images, dataset.about.bands)
        model = 1 - found[:, 0] >= package.manifest.thresholds.t_main
        read = [
            np.stack([burn(reader[chip]["polygons"], images.shape[-1]) for chip in ids])
            for reader in readers
        ]
        held_out = dataset.table["split"].iloc[rows].to_numpy() == "test_caroni"
        _write_pictures(setup.pictures / f"workings-{name}.png", images, (model, *read))
        for part, chosen in {
            title: np.ones(len(ids), bool),
            "… of test_caroni": held_out,
            "… of the pool": ~held_out,
        }.items():
            figures = _figures(model[chosen], [masks[chosen] for masks in read])
            table.append([f"{part} ({int(chosen.sum())})", *figures])
        cues = _mark_by_cues(images, dataset.about.bands, setup)
        table.append(["… the cues in the model's place", *_figures(cues, read)])
    heads = [
        "chips",
        "readers: IoU",
        "model and readers: IoU",
        "readers: difference of area",
        "model: error of area",
        "model: bias",
        "whole window: bias",
    ]
    return to_table(heads, table) + (
        "\n\nIoU pooled over chips, of the model the mean with either reader. Difference and error "
        "are mean absolute ones of a chip, of 23 ha; the model's is from the readers' mean. Bias "
        "is the sum over chips less the readers', as a share of it: what a total of many sites "
        "would be off. [ ] 95 % intervals over chips."
    )


def _mark_by_cues(
    images: npt.NDArray[np.float32], bands: tuple[str, ...], setup: Setup
) -> MasksNHW:
    """What the model learnt from, without the model."""
    fields = LocalScorer(setup.package).score_fields(images, bands)
    red, green, side = bands.index("red"), bands.index("green"), images.shape[-1]
    return np.stack(
        [
            mask_from_cues(
                image[red],
                image[green],
                spread_fields(scores, fields.first_px, fields.step_px, side),
            )
            == 1
            for image, scores in zip(images, fields.scores_nhw, strict=True)
        ]
    )


def read_outlines(path: Path) -> dict[str, dict[str, list[list[list[list[float]]]]]]:
    """What a reader outlined: by chip, polygons of rings of pixel coordinates."""
    found: dict[str, dict[str, list[list[list[list[float]]]]]] = json.loads(path.read_text())
    return found


def burn(polygons: list[list[list[list[float]]]], side: int) -> npt.NDArray[np.bool_]:
    """Pixels of which at least half is inside."""
    shapes = [shapely.make_valid(shapely.Polygon(rings[0], rings[1:])) for rings in polygons]
    if not shapes:
        return np.zeros((side, side), bool)
    fine = rasterize(
        shapes, out_shape=(side * _FINE, side * _FINE), transform=Affine.scale(1 / _FINE)
    )
    shares = fine.reshape(side, _FINE, side, _FINE).mean(axis=(1, 3))
    inside: npt.NDArray[np.bool_] = shares >= 0.5
    return inside


def _figures(model: MasksNHW, readers: list[MasksNHW]) -> list[str]:
    def sums(masks: MasksNHW) -> npt.NDArray[np.float64]:
        return masks.sum(axis=(1, 2)).astype(float)

    areas, m, hectare = [sums(masks) for masks in readers], sums(model), 0.01
    mean = np.mean(areas, axis=0)

    def iou(left: MasksNHW, right: MasksNHW) -> Statistic:
        both, either = sums(left & right), sums(left | right)
        return lambda w: (w @ both) / (w @ either)

    def average(values: npt.NDArray[np.float64]) -> Statistic:
        return lambda w: (w @ values) / w.sum(axis=-1)

    def share(values: npt.NDArray[np.float64]) -> Statistic:
        return lambda w: (w @ values) / (w @ mean) - 1

    overlaps = [iou(model, masks) for masks in readers]
    whole = np.full(len(m), float(model[0].size))
    statistics: dict[str, Statistic] = {
        "model": lambda w: np.mean([overlap(w) for overlap in overlaps], axis=0),
        "error": average(np.abs(m - mean) * hectare),
        "bias": share(m),
        "window": share(whole),
    }
    if len(readers) == 2:
        statistics["readers"] = iou(*readers)
        statistics["difference"] = average(np.abs(areas[0] - areas[1]) * hectare)
    found = bootstrap_estimates(statistics, np.arange(len(m)))
    units = {"difference": " ha", "error": " ha"}
    order = ("readers", "model", "difference", "error", "bias", "window")
    return [
        estimate_text(found[name]) + units.get(name, "") if name in found else "-" for name in order
    ]


def _write_pictures(
    path: Path, images: npt.NDArray[np.float32], masks: tuple[MasksNHW, ...]
) -> None:
    """Chips with the model's outline in magenta, the readers' in yellow and cyan."""
    tiles = []
    for k, image in enumerate(np.nan_to_num(images).transpose(0, 2, 3, 1)):
        dark = np.percentile(image.reshape(-1, 3), 2, axis=0) * 0.92
        bright = np.percentile((image - dark).max(axis=-1), 99.3)
        shown = (np.clip((image - dark) / bright, 0, 1) ** 0.65 * 255).astype(np.uint8)
        shown = np.kron(shown, np.ones((6, 6, 1), np.uint8))
        for mask, colour in zip(masks, ((255, 0, 255), (255, 255, 0), (0, 255, 255)), strict=False):
            large = np.kron(mask[k], np.ones((6, 6), bool))
            shown[large & ~ndimage.binary_erosion(large)] = colour
        tiles.append(np.pad(shown, ((3, 3), (3, 3), (0, 0)), constant_values=255))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet = np.concatenate(
        [np.concatenate(tiles[row : row + 6], axis=1) for row in range(0, len(tiles), 6)]
    )
    Image.fromarray(sheet).save(path)
