"""The page on how well models judge labelled chips."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from sluice.app.judging import JudgedModel, Judgement
from sluice.app.products.picture_tones import grey_tones_of
from sluice.app.reports import charts, page
from sluice.app.reports.page import Html
from sluice.base.errors import DataError
from sluice.evaluation import metrics
from sluice.evaluation.bootstrap import Estimate, bootstrap_estimates, zero_aware
from sluice.evaluation.compare import FIGURES, ComparedFigures, Comparison, estimate_text
from sluice.evaluation.curves import (
    Confusion,
    confusion,
    precision_recall_curve,
    reliability,
    roc_curve,
)
from sluice.evaluation.report import CLEAR_THRESHOLD, NOT_NAMED, ChipFigures, ChipReport
from sluice.labels.chips import CHIP_BANDS, FULL_SCALE_REFLECTANCE
from sluice.labels.dataset import ChipDataset

WORST = 12
"""Pictures of each sort of mistake."""
_BINS = 10


def write_chip_report(judgement: Judgement, path: Path) -> None:
    """Write the page, whole or not at all.

    Args:
        judgement: Of one or several models.
        path: An `.html` file.

    Raises:
        DataError: The scored chips have one label only, so there is no curve to draw.
        SourceError: A sheet of chips cannot be read.
        OSError: The file cannot be written.
    """
    page.write(chip_report_html(judgement), path)


def chip_report_html(judgement: Judgement) -> str:
    """The page as text; the same judgement gives the same text.

    Raises:
        DataError: See `write_chip_report`.
        SourceError: A sheet of chips cannot be read.
    """
    first = judgement.models[0]
    if _scored(first)["label"].nunique() < 2:
        raise DataError(
            f"{first.report.data}: the scored chips are all of one label, so there is nothing to "
            "draw a curve of; choose chips of both, or leave --report out"
        )
    name = first.manifest.name
    others = [model.manifest.name for model in judgement.models[1:]]
    title = f"Model report: {name}" + (f" and {', '.join(others)}" if others else "")
    parts = [
        *_head(judgement, title),
        *_figures(first.report),
        *(_comparison(judgement.comparison) if judgement.comparison else ()),
        *_curves(judgement),
        *_confusion(judgement),
    ]
    for number, model in enumerate(judgement.models):
        parts += _of_one_model(judgement, model, str(number))
    return page.page(title, [*parts, *_method(judgement)])


def _of_one_model(judgement: Judgement, model: JudgedModel, key: str) -> list[Html]:
    """What is shown of each model by itself.

    Args:
        judgement: Of all of them.
        model: The one.
        key: Tells its charts from those of others.
    """
    seen = _scored(model)
    of = f" of {model.manifest.name}" if len(judgement.models) > 1 else ""
    return [
        *_reliability(model, seen, of, key),
        *_kinds(model.report.overall, of),
        *_sources(model.report.overall, of),
        *_mistakes(judgement.dataset, model, seen, of),
        *_map(model, seen, of, key),
    ]


def _scored(model: JudgedModel) -> pd.DataFrame:
    return model.table[model.table["score"].notna()]


def _head(judgement: Judgement, title: str) -> list[Html]:
    report = judgement.models[0].report
    overall = report.overall
    unseen = f" {overall.not_observed:,} more hold too little data." if overall.not_observed else ""
    parts = [
        Html(f"<h1>{page.escape(title)}</h1>"),
        page.paragraph(
            f"{report.data}: {overall.chips:,} scored chips, {overall.mines:,} of them mines, in "
            f"{overall.blocks:,} blocks that share no ground.{unseen}",
            "lead",
        ),
        page.paragraph(report.disclaimer, "box"),
    ]
    if judgement.warning is not None:
        parts.append(page.paragraph(judgement.warning, "box"))
    return parts


def _figures(report: ChipReport) -> list[Html]:
    overall, at = report.overall, f"at {report.threshold:.3f}"
    names = {
        "average_precision": "average precision",
        "roc_auc": "ROC AUC",
        "f1": f"F1 {at}",
        "precision": f"precision {at}",
        "recall": f"recall {at}",
        "false_alarm_rate": f"false-alarm rate {at}",
        "brier": "Brier score",
        "calibration_error": "calibration error",
    }
    shown = [key for key in names if getattr(overall, key) is not None]
    parts = [
        page.heading(f"Figures of {report.model}"),
        page.cards([estimate_card(names[key], getattr(overall, key)) for key in shown]),
    ]
    clear = report.clear
    if clear is not None and clear.chips < overall.chips:
        columns = (overall, clear)
        hint = clear.mines == overall.mines
        rows = [
            (names[key], [estimate_cell(getattr(column, key)) for column in columns])
            for key in shown
        ]
        heads = ("", f"all {overall.chips:,} chips", f"{clear.chips:,} clear chips")
        parts += [
            page.paragraph(
                f"{'Hazy chips hold no mine here, so haze gives the label away. ' if hint else ''}"
                f"On chips composed of looks at least {CLEAR_THRESHOLD} clear alone:"
            ),
            page.table("", heads, rows),
        ]
    return parts


def estimate_card(name: str, estimate: Estimate) -> tuple[str, str, str]:
    """A figure for `page.cards`."""
    if estimate.value is None:
        return name, "–", "has no meaning here"
    if estimate.low is None or estimate.high is None:
        return name, f"{estimate.value:.3f}", "no interval"
    return name, f"{estimate.value:.3f}", f"{estimate.low:.3f} to {estimate.high:.3f}"


def estimate_cell(estimate: Estimate | None, *, signed: bool = False) -> Html:
    """A figure with its interval as a cell; of a difference with its sign."""
    figure, _, interval = estimate_text(estimate, signed=signed).partition(" ")
    return page.figure_cell(figure, interval)


def _comparison(comparison: Comparison) -> list[Html]:
    first, *others = comparison.models
    heads = ("model", *FIGURES.values())

    def cells(figures: ComparedFigures, *, signed: bool) -> list[Html]:
        return [estimate_cell(getattr(figures, key), signed=signed) for key in FIGURES]

    left_out = f", {comparison.left_out:,} that not all scored left out"
    return [
        page.heading("Models compared"),
        page.paragraph(
            f"On the same {comparison.chips:,} chips"
            f"{left_out if comparison.left_out else ''}, each at its own threshold. Differences "
            "are taken chip by chip on the same resamples; where the interval of one holds 0, it "
            "may be chance. Of the Brier score less is better."
        ),
        page.table(
            "Figures",
            heads,
            [
                (f"{model.name} at {model.threshold:.3f}", cells(model.figures, signed=False))
                for model in comparison.models
            ],
        ),
        page.table(
            f"Difference from {first.name}",
            heads,
            [
                (model.name, cells(model.less_reference, signed=True))
                for model in others
                if model.less_reference is not None
            ],
        ),
    ]


def _curves(judgement: Judgement) -> list[Html]:
    # Curves of chips that only some models scored could not be laid over each other.
    seen = np.logical_and.reduce([model.table["score"].notna() for model in judgement.models])
    drawn, areas = [], []
    for model in judgement.models:
        chips = model.table[seen]
        labels, scores = chips["label"].to_numpy(), chips["score"].to_numpy(np.float32)
        drawn.append(
            charts.ModelCurves(
                name=model.manifest.name,
                roc=roc_curve(labels, scores),
                precision_recall=precision_recall_curve(labels, scores),
                threshold=model.report.threshold,
            )
        )
        areas.append((metrics.average_precision(labels, scores), metrics.roc_auc(labels, scores)))
    dot = "The dot is the model's own threshold."
    return [
        page.heading("Curves"),
        page.side_by_side(
            [
                page.figure(
                    charts.precision_recall_svg(drawn, [f"{ap:.3f}" for ap, _ in areas], "pr"),
                    f"How many alarms are mines, for how many of the mines are found. {dot}",
                ),
                page.figure(
                    charts.roc_svg(drawn, [f"{auc:.3f}" for _, auc in areas], "roc"),
                    f"How many mines are found, for how many false alarms. {dot}",
                ),
            ]
        ),
    ]


def _confusion(judgement: Judgement) -> list[Html]:
    tables = []
    for model in judgement.models:
        seen = _scored(model)
        scores = seen["score"].to_numpy(np.float32)
        counts = confusion(seen["label"].to_numpy(), scores, model.report.threshold)
        title = f"{model.manifest.name} at {counts.threshold:.3f}"
        tables.append(page.table(title, ("", "alarm", "no alarm"), _confusion_rows(counts)))
    return [page.heading("Right and wrong"), page.side_by_side(tables)]


def _confusion_rows(counts: Confusion) -> list[tuple[str, Sequence[Html]]]:
    return [
        ("mine", (page.cell(f"{counts.hits:,}", "good"), page.cell(f"{counts.misses:,}", "bad"))),
        (
            "other place",
            (page.cell(f"{counts.alarms:,}", "bad"), page.cell(f"{counts.rejections:,}", "good")),
        ),
    ]


def _reliability(model: JudgedModel, seen: pd.DataFrame, of: str, key: str) -> list[Html]:
    calibration = model.manifest.calibration
    if calibration is None:
        return [
            page.heading(f"Reliability{of}"),
            page.paragraph(
                f"{model.manifest.name} has no calibration: its scores are no probabilities."
            ),
        ]
    prior = calibration.training_prior
    labels, groups = seen["label"].to_numpy(), seen["group"].to_numpy()
    stated = calibration.probability(seen["score"].to_numpy(np.float32), prior)
    bins = reliability(labels, stated, bins=_BINS)
    members = [bins.bin_of == k for k in range(bins.chips.size)]
    found = bootstrap_estimates(
        {str(k): partial(metrics.share, labels == 1, of) for k, of in enumerate(members)},
        groups,
        resamples=model.report.resamples,
        seed=model.report.seed,
    )
    shares = [zero_aware(found[str(k)], np.unique(groups[of]).size) for k, of in enumerate(members)]
    rows = [
        (f"{100 * bins.stated[k]:.1f} %", (f"{bins.chips[k]:,}", estimate_cell(share)))
        for k, share in enumerate(shares)
    ]
    chart = page.figure(
        charts.reliability_svg(bins, shares, f"reliability-{key}"),
        "On the dotted line a probability keeps its word. Each dot stands for as many chips, with "
        "its 95 % interval.",
    )
    return [
        page.heading(f"Reliability{of}"),
        page.paragraph(
            f"Probabilities are those with the prior of the calibration, {prior:.3f}. Where mines "
            "are commoner or rarer among these chips, the dots lie above or below the line."
        ),
        page.side_by_side([chart, page.table("", ("stated", "chips", "share of mines"), rows)]),
    ]


def _kinds(overall: ChipFigures, of: str) -> list[Html]:
    if not overall.false_alarms:
        return []
    highest = max(row.rate.value or 0.0 for row in overall.false_alarms) or 1.0
    rows: list[tuple[str, Sequence[Html | str]]] = [
        (
            row.kind,
            (
                f"{row.alarms:,} of {row.chips:,}",
                estimate_cell(row.rate),
                page.bar((row.rate.value or 0.0) / highest),
            ),
        )
        for row in overall.false_alarms
    ]
    return [
        page.heading(f"False alarms by kind of place{of}"),
        page.paragraph("Where a set's name tells no kind, the set's own name stands."),
        page.table("", ("kind of place", "alarms", "share", ""), rows),
    ]


def _sources(overall: ChipFigures, of: str) -> list[Html]:
    if [row.source for row in overall.sources] in ([], [NOT_NAMED]):
        return []
    rows: list[tuple[str, Sequence[Html | str]]] = [
        (
            row.source,
            (
                f"{row.found:,} of {row.mines:,}",
                estimate_cell(row.recall),
                page.bar(row.recall.value or 0.0),
                estimate_cell(row.average_precision),
            ),
        )
        for row in overall.sources
    ]
    heads = ("source", "found", "share", "", "average precision")
    return [
        page.heading(f"Mines found by source{of}"),
        page.paragraph("Average precision is of sources that have other places, too."),
        page.table("", heads, rows),
    ]


def _mistakes(dataset: ChipDataset, model: JudgedModel, seen: pd.DataFrame, of: str) -> list[Html]:
    detected = seen["score"].to_numpy(np.float32) >= model.report.threshold
    mine = seen["label"].to_numpy() == 1
    order = {"kind": "stable", "ignore_index": False}
    alarms = seen[detected & ~mine].sort_values("score", ascending=False, **order)
    misses = seen[~detected & mine].sort_values("score", **order)
    parts = [page.heading(f"Worst mistakes{of}")]
    sorts = (("False alarms with the highest scores", alarms),)
    for title, rows in (*sorts, ("Missed mines with the lowest scores", misses)):
        parts.append(page.heading(title, 3))
        if rows.empty:
            parts.append(page.paragraph("None."))
            continue
        worst = rows.head(WORST)
        pictures = chip_pictures(dataset, worst)
        parts.append(
            page.thumbnails(
                [
                    (pixels, f"score {row['score']:.3f}", chip_lines(row))
                    for pixels, (_, row) in zip(pictures, worst.iterrows(), strict=True)
                ]
            )
        )
        if len(rows) > WORST:
            parts.append(page.paragraph(f"The first {WORST} of {len(rows):,}.", "note"))
    return parts


def chip_pictures(dataset: ChipDataset, chips: pd.DataFrame) -> list[npt.NDArray[np.uint8]]:
    """Chips in colour, as sheets hold them; of bands without colour the first one, in grey.

    Args:
        dataset: That they are of.
        chips: Rows of its table.

    Returns:
        (H, W, 3) of each.
    """
    images, bands = dataset.images(chips.index.to_numpy()), dataset.about.bands
    if all(band in bands for band in CHIP_BANDS):
        colours = images[:, [bands.index(band) for band in CHIP_BANDS]]
        shades = 255 * np.clip(np.nan_to_num(colours) / FULL_SCALE_REFLECTANCE, 0, 1)
        return list(np.round(shades).astype(np.uint8).transpose(0, 2, 3, 1))
    # One scale for all, so that dark and bright chips can be told from each other.
    tones = grey_tones_of(np.concatenate(list(images[:, 0])))
    return [np.repeat(tones.apply(image[0])[..., None], 3, axis=2) for image in images]


def chip_lines(row: pd.Series) -> list[str]:
    """What is known of a chip of a data set's table: its kind, place and time."""
    lines = [str(row["kind"])]
    if pd.notna(row["lon"]) and pd.notna(row["lat"]):
        lines.append(f"{row['lat']:.4f}, {row['lon']:.4f}")
    if pd.notna(row["start"]) and pd.notna(row["end"]):
        lines.append(f"{row['start']:%Y-%m} to {row['end']:%Y-%m}")
    return lines


def _map(model: JudgedModel, seen: pd.DataFrame, of: str, key: str) -> list[Html]:
    placed = seen[seen["lon"].notna() & seen["lat"].notna()]
    detected = placed["score"].to_numpy(np.float32) >= model.report.threshold
    mine = placed["label"].to_numpy() == 1
    # Rightly quiet places would hide the rest.
    shown = mine | detected
    if not shown.any():
        return []
    verdict = np.where(mine, np.where(detected, "found", "missed"), "alarm")
    without = len(seen) - len(placed)
    lon, lat = (placed[axis].to_numpy(np.float64)[shown] for axis in ("lon", "lat"))
    unplaced = f" {without:,} chips have no place on record." if without else ""
    return [
        page.heading(f"Where {model.manifest.name if of else 'it'} errs"),
        page.figure(
            charts.error_map_svg(lon, lat, verdict[shown], f"map-{key}"),
            f"Chips by longitude and latitude.{unplaced}",
        ),
    ]


def _method(judgement: Judgement) -> list[Html]:
    report = judgement.models[0].report
    thresholds = ", ".join(
        f"{model.report.threshold:.4f} for {model.report.model}" for model in judgement.models
    )
    return [
        page.heading("How this was made"),
        page.paragraph(
            "A chip raises an alarm where its score is at or above the model's own threshold, "
            f"which is {thresholds}. Intervals are of 95 %: "
            f"{report.resamples:,} bootstrap resamples of whole blocks of chips that share ground "
            f"or pixels (seed {report.seed}), exact binomial where a share is 0 or 1."
        ),
    ]
