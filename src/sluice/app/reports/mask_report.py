"""The page on how well models of pixels draw masks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sluice.app.judging_masks import (
    JudgedMasks,
    MaskJudgement,
    choose_classes,
    classified_chips,
    order_classes,
)
from sluice.app.products.class_map import sought_colour
from sluice.app.reports import page
from sluice.app.reports.chip_report import (
    WORST,
    chip_lines,
    chip_pictures,
    estimate_card,
    estimate_cell,
)
from sluice.app.reports.page import Html
from sluice.base.records import DISCLAIMER
from sluice.evaluation.mask_comparison import MaskComparison
from sluice.evaluation.masks import FIGURES, UNLABELLED, ClassFigures, MaskFigures, MaskReport

_TITLES = {"iou": "IoU", "f1": "F1", "boundary_f1": "boundary F1"}
_SIDE = 128
"""Longest side of a picture in pixels; larger chips are thinned out."""
_GAP = 2
_REST = (60, 60, 60)
_NOTHING = (255, 255, 255)

Picture = npt.NDArray[np.uint8]


def write_mask_report(judgement: MaskJudgement, path: Path) -> None:
    """Write the page, whole or not at all.

    Args:
        judgement: Of one or several models.
        path: An `.html` file.

    Raises:
        SourceError: A chip cannot be read.
        OSError: The file cannot be written.
    """
    page.write(mask_report_html(judgement), path)


def mask_report_html(judgement: MaskJudgement) -> str:
    """The page as text; the same judgement gives the same text.

    Raises:
        SourceError: A chip cannot be read.
    """
    first = judgement.models[0]
    title = f"Model report: {' and '.join(model.name for model in judgement.models)}"
    report = first.report
    parts = [
        Html(f"<h1>{page.escape(title)}</h1>"),
        page.paragraph(
            f"{first.inputs.data}: {report.chips:,} chips of {report.blocks:,} groups, compared "
            "with their masks pixel by pixel.",
            "lead",
        ),
        page.paragraph(DISCLAIMER, "box"),
    ]
    parts += [page.paragraph(s, "box") for s in (judgement.warning, judgement.note) if s]
    for model in judgement.models:
        parts += _figures(model)
    if judgement.comparison is not None:
        parts += _comparison(judgement.comparison)
    names = order_classes(first.inputs).named
    parts += [
        page.heading("Worst chips"),
        page.paragraph(
            "Those with the most wrong pixels: the image, the truth, and what the model draws. "
            "What does not count is white: nobody labelled it, or a model did not observe it."
        ),
        page.thumbnails([(_swatch(k), name, ()) for k, name in enumerate(names)]),
    ]
    for model in judgement.models:
        parts += _worst(model, judgement.models, names)
    return page.page(title, [*parts, *_method(judgement)])


def _figures(model: JudgedMasks) -> list[Html]:
    report = model.report
    mean = [estimate_card(f"{_title(key)}, mean", getattr(report.mean, key)) for key in FIGURES]
    return [
        page.heading(f"Figures of {model.name}"),
        page.cards(mean),
        _table(f"At {model.inputs.manifest.thresholds.t_main:.3f}", report.classes, report.mean),
    ]


def _comparison(comparison: MaskComparison) -> list[Html]:
    parts = [
        page.heading("Models compared"),
        page.paragraph(
            "On the pixels that all models observed, each at its own threshold, and on the same "
            "resamples. Where the interval of a difference holds 0, it may be chance."
        ),
    ]
    for one in comparison.less_reference:
        title = f"{one.name} less {comparison.reference}"
        parts.append(_table(title, one.classes, one.mean, signed=True))
    return parts


def _table(
    title: str, classes: Sequence[ClassFigures], mean: MaskFigures, *, signed: bool = False
) -> Html:
    def cells(figures: MaskFigures) -> list[Html]:
        return [estimate_cell(getattr(figures, key), signed=signed) for key in FIGURES]

    rows = [(f"{c.name} ({c.pixels:,} px)", cells(c.figures)) for c in classes]
    return page.table(title, ("", *map(_title, FIGURES)), [*rows, ("mean", cells(mean))])


def _title(key: str) -> str:
    return _TITLES.get(key, key)


def _worst(model: JudgedMasks, models: Sequence[JudgedMasks], names: Sequence[str]) -> list[Html]:
    chips = model.counts.groupby("chip")[["hits", "misses"]].sum()
    # A wrong pixel is missed by one class, whatever it was called.
    wrong = chips["misses"].sort_values(ascending=False, kind="stable")
    wrong = wrong[wrong > 0]
    title = page.heading(f"Of {model.name}", 3)
    if wrong.empty:
        return [title, page.paragraph("No pixel is wrong.")]
    places = wrong.index[:WORST].to_numpy()
    labelled = chips.sum(axis=1)
    table = model.inputs.table.iloc[places]
    order = order_classes(model.inputs)
    colours = _colours(order.named, names)
    images = chip_pictures(model.inputs.dataset, table)
    pictures = []
    for place, image, (truth, drawn), (_, row) in zip(
        places, images, _masks(model, models, places), table.iterrows(), strict=True
    ):
        picture = _beside(image, colours[truth], colours[drawn])
        told = f"{wrong[place]:,} of {labelled[place]:,} pixels wrong"
        pictures.append((picture, told, chip_lines(row)))
    parts = [title, page.thumbnails(pictures)]
    if len(wrong) > WORST:
        parts.append(page.paragraph(f"The first {WORST} of {len(wrong):,}.", "note"))
    return parts


def _masks(
    model: JudgedMasks, models: Sequence[JudgedMasks], places: npt.NDArray[np.int64]
) -> Iterator[tuple[Picture, Picture]]:
    """Truth and what a model draws of some chips, (H, W) each, as they were counted.

    Args:
        model: Whose classes and order.
        models: All that are judged: what one did not observe counts for none.
        places: Of the chips among those judged.
    """
    others = [other for other in models if other is not model]
    parts = [
        classified_chips(replace(one.inputs, table=one.inputs.table.iloc[places]), one.predictor)
        for one in (model, *others)
    ]
    threshold = model.inputs.manifest.thresholds.t_main
    for (found, truths), *seen in zip(*parts, strict=True):
        drawn = choose_classes(found, threshold)
        for _, known in seen:
            truths[known == UNLABELLED] = UNLABELLED
        drawn[truths == UNLABELLED] = UNLABELLED
        yield from zip(truths, drawn, strict=True)


def _colours(own: Sequence[str], shown: Sequence[str]) -> Picture:
    """(256, 3) colours of a model's classes, the same for the same names."""
    colours = np.full((256, 3), _NOTHING, np.uint8)
    for k, name in enumerate(own):
        colours[k] = _colour(shown.index(name) if name in shown else k)
    return colours


def _colour(number: int) -> tuple[int, int, int]:
    return _REST if number == 0 else sought_colour(number)


def _swatch(number: int) -> Picture:
    return np.full((12, 36, 3), _colour(number), np.uint8)


def _beside(*pictures: Picture) -> Picture:
    step = max(1, -(-max(pictures[0].shape[:2]) // _SIDE))
    thin = [picture[::step, ::step] for picture in pictures]
    gap = np.full((len(thin[0]), _GAP, 3), 255, np.uint8)
    first, *others = thin
    return np.concatenate([first, *(part for other in others for part in (gap, other))], axis=1)


def _method(judgement: MaskJudgement) -> list[Html]:
    report: MaskReport = judgement.models[0].report
    return [
        page.heading("How this was made"),
        page.paragraph(
            "A pixel is of what is sought where its score reaches the model's own threshold, and "
            "then of the most probable of these classes. Outlines up to "
            f"{report.tolerance_px:g} px apart are the same. Intervals are of 95 %: "
            f"{report.resamples:,} bootstrap resamples of groups of chips (seed {report.seed})."
        ),
    ]
