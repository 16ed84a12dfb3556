"""`sluice evaluate`: how good a model is, on labels that it never saw."""

from __future__ import annotations

from pathlib import Path

import typer

from sluice.app.cli import options

app = typer.Typer(help="Judge models on labelled data, and detections by the truth.")


@app.command("chips")
def chips(
    folder: Path = options.DATASET,
    model: list[str] = typer.Option(
        ["default"],
        "--model",
        help="A model's name, or its folder; again for others to compare with the first.",
    ),
    split: str | None = options.SPLIT,
    scores: Path | None = typer.Option(None, "--scores", help="Write each chip's score here, CSV."),
    report: Path | None = typer.Option(
        None, "--report", help="Write a page with curves, mistakes and a map here, HTML."
    ),
    json: bool = typer.Option(False, "--json", help="For machines."),
) -> None:
    """Score labelled chips and print figures with intervals."""
    import json as json_module

    from sluice.app.judging import judge_models, write_judged_scores
    from sluice.app.products.landing import telling_disk_errors
    from sluice.evaluation.compare import render_comparison
    from sluice.evaluation.report import render_report

    judgement = judge_models(folder, model, split)
    if judgement.warning is not None:
        typer.echo(judgement.warning, err=True)
    if scores is not None:
        with telling_disk_errors(scores.parent):
            write_judged_scores(judgement, scores)
    if report is not None:
        from sluice.app.reports.chip_report import write_chip_report

        with telling_disk_errors(report.parent):
            write_chip_report(judgement, report)
    reports = [judged.report for judged in judgement.models]
    if judgement.comparison is None:
        told = reports[0].model_dump(mode="json")
        text = render_report(reports[0])
    else:
        told = {
            "reports": [each.model_dump(mode="json") for each in reports],
            "comparison": judgement.comparison.model_dump(mode="json"),
            "warning": judgement.warning,
        }
        text = "\n\n".join([*map(render_report, reports), render_comparison(judgement.comparison)])
    if json:
        typer.echo(json_module.dumps(told, indent=2))
    else:
        typer.echo(text)
    if report is not None and not json:
        typer.echo(f"\nReport: {report}")


@app.command("sites")
def sites(
    detections: Path = typer.Argument(
        help="A file with polygons, or a result folder of `sluice scan`."
    ),
    truth: Path = typer.Argument(help="A file with the outlines of all mines in the area."),
    area: str | None = typer.Option(
        None,
        "--area",
        help="What was looked at: west,south,east,north in degrees, or a file. Of a scan, all "
        "that it observed if left out.",
    ),
    truth_layer: str | None = options.TRUTH_LAYER,
    found_share: float = typer.Option(
        0.0,
        "--found-share",
        help="Share of a mine that detections must cover for it to be found; 0: any part.",
    ),
    block_km: float = typer.Option(
        25.0, "--block-km", help="Side of the blocks that the intervals resample."
    ),
    json: bool = typer.Option(False, "--json", help="For machines."),
) -> None:
    """Compare detected polygons with the true ones: found by size, and false alarms."""
    from sluice.app.judging import evaluate_sites_of_files
    from sluice.evaluation.site_figures import render_sites

    report = evaluate_sites_of_files(
        detections,
        truth,
        area,
        truth_layer=truth_layer,
        found_share=found_share,
        block_km=block_km,
    )
    typer.echo(report.model_dump_json(indent=2) if json else render_sites(report))


@app.command("masks")
def masks(
    folder: Path = typer.Argument(help="A data set with masks: dataset.json and index.csv."),
    model: list[str] = typer.Option(
        ...,
        "--model",
        help="A model that judges pixels, or its folder; again for others to compare with the "
        "first.",
    ),
    split: str | None = options.SPLIT,
    report: Path | None = typer.Option(
        None, "--report", help="Write a page with figures and the worst chips here, HTML."
    ),
    json: bool = typer.Option(False, "--json", help="For machines."),
) -> None:
    """Compare a model's classes with masks, pixel by pixel: area and outline, by class."""
    import json as json_module

    from sluice.app.judging_masks import judge_masks
    from sluice.app.products.landing import telling_disk_errors
    from sluice.evaluation.mask_comparison import render_mask_comparison
    from sluice.evaluation.masks import render_masks

    judgement = judge_masks(folder, model, split)
    for said in (judgement.warning, judgement.note):
        if said is not None:
            typer.echo(said, err=True)
    if report is not None:
        from sluice.app.reports.mask_report import write_mask_report

        with telling_disk_errors(report.parent):
            write_mask_report(judgement, report)
    data = f"{folder.resolve().name}, {f'split {split}' if split else 'all chips'}"
    also = {"warning": judgement.warning, "note": judgement.note}
    reports = [one.report.model_dump(mode="json") for one in judgement.models]
    texts = [render_masks(one.report, model=one.name, data=data) for one in judgement.models]
    if judgement.comparison is None:
        told: dict[str, object] = {**reports[0], **also}
    else:
        told = {
            "reports": [
                {"model": one.name, **figures}
                for one, figures in zip(judgement.models, reports, strict=True)
            ],
            "comparison": judgement.comparison.model_dump(mode="json"),
            **also,
        }
        texts.append(render_mask_comparison(judgement.comparison))
    typer.echo(json_module.dumps(told, indent=2) if json else "\n\n".join(texts))
    if report is not None and not json:
        typer.echo(f"\nReport: {report}")
